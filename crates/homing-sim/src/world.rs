//! The world: hosts, runs and links, and the loop that makes things happen in order.
//!
//! ```text
//! queue ─pop─► event ─► input ─► the real core ─► outputs ─► shell ─► new events
//!                                   │                          │
//!                                   └──────── trace ───────────┴──► checkers
//! ```
//! One seed decides everything. Not here: how hosts are built and moved ([`crate::build`]), what
//! outputs do ([`crate::shell`]), which route a connection takes ([`crate::dial`]), what must hold
//! ([`crate::check`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homing_base::{IdentityKey, InstanceId, Name, NodeId, Now, RelayRef};
use homing_core::io::{
    DhtSettings, DialId, Door, GossipSettings, Input, LinkUp, LogNews, PeerHint,
};

use crate::audit::AuditLog;
use crate::chance::Chance;
use crate::check::{Checks, Finding};
use crate::clock::WorldTime;
use crate::converge::Pair;
use crate::disk::Disk;
use crate::fault::Plan;
use crate::hostile::Archive;
use crate::link::{Frame, Link, LinkIx, Loss, RelayIx};
use crate::network::{HostIx, Network, Socket};
use crate::run::{AgentIx, Mind, Run, RunIx};
use crate::stream::Stream;
use crate::trace::Trace;

/// A rule that the world breaks on purpose, to see whether the checkers notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The store lets an older record replace a newer one.
    AcceptOlderRecords,
    /// The shell sends before it has written, and a crash comes between.
    ForgetPersist,
    /// The shell leaves streams open when trust ends.
    KeepStreamsAfterRevoke,
}

/// What holds for a whole world.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How links lose packets.
    pub loss: Loss,
    /// Tell the core about a link's end even when the core itself closed it.
    pub echo_close: bool,
    /// Connections that only the acceptor believes in, per thousand.
    pub ghosts: u32,
    /// Users approve requests by themselves.
    pub approve: bool,
    /// Break a rule.
    pub canary: Option<Canary>,
    /// How agents that start from now on take part in the DHT; `None`: not at all.
    pub dht: Option<DhtSettings>,
    /// How agents that start from now on take part in gossip; `None`: not at all.
    pub gossip: Option<GossipSettings>,
    /// Agents that start from now on keep an audit log.
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            loss: Loss::NONE,
            echo_close: false,
            ghosts: 0,
            approve: true,
            canary: None,
            dht: None,
            gossip: None,
            audit: false,
        }
    }
}

/// What can be due.
#[derive(Debug)]
pub enum Event {
    /// A core's deadline.
    Wake(RunIx),
    /// The frame at the head of a lane, by the sending side.
    Deliver(LinkIx, usize),
    /// A connection stands at this side.
    LinkUp(LinkIx, usize),
    /// A side learns that its link is gone.
    LinkDown(LinkIx, usize, &'static str),
    /// A link may have been without a path for too long.
    Idle(LinkIx),
    /// The audit log of a run has something to say.
    Log(RunIx, Box<LogNews>),
    /// A link may find a direct path now.
    Punch(LinkIx),
    /// The next packet of an attempt to connect.
    Attempt(RunIx, DialId, u32),
    /// A run learns about its own reachability.
    Facts(RunIx),
    /// Paths of a run may have come back.
    Inspect(RunIx),
    /// A stream's first bytes reach the acceptor.
    StreamKnock(usize),
    /// The end of a stream reaches a side.
    StreamEnd(usize, usize),
    /// A user looks at the pending requests.
    Review(RunIx),
    /// Something that a scenario planned.
    Plan(Plan),
    /// Once a second: deadlines of commands, streams.
    Tick,
}

/// One identity and how its owner runs it.
pub struct Identity {
    /// The key.
    pub key: IdentityKey,
    /// Its node ID.
    pub node_id: NodeId,
    /// The name it claims.
    pub name: Name,
    /// Relays in its configuration.
    pub relays: Vec<RelayIx>,
    /// The relay it serves, if that is its role.
    pub serves: Option<RelayIx>,
    /// Peers in its configuration.
    pub hints: Vec<PeerHint>,
    /// An adversary instead of an agent.
    pub hostile: bool,
    /// The newest run that was started.
    pub run: Option<RunIx>,
    /// The host of that run.
    pub host: HostIx,
    /// The UDP port of that run; a moved home keeps it.
    pub port: u16,
}

/// A relay: forwards packets while the agent that serves it runs.
pub struct Relay {
    /// Who serves it.
    pub agent: AgentIx,
    /// How others refer to it.
    pub reference: RelayRef,
}

/// A seeded world.
pub struct World {
    /// What made it.
    pub seed: u64,
    /// What holds in it.
    pub options: Options,
    /// Where everything is.
    pub network: Network,
    /// All identities.
    pub identities: Vec<Identity>,
    /// All runs, also those that are over.
    pub runs: Vec<Run>,
    /// All links, also dead ones.
    pub links: Vec<Link>,
    /// All relays.
    pub relays: Vec<Relay>,
    /// All streams.
    pub streams: Vec<Stream>,
    /// Agent homes.
    pub homes: BTreeMap<(AgentIx, HostIx), Disk>,
    /// Audit logs of homes.
    pub audits: BTreeMap<(AgentIx, HostIx), AuditLog>,
    /// What must hold, and what did not.
    pub checks: Checks,
    /// The history.
    pub trace: Trace,
    pub(crate) chance: Chance,
    pub(crate) endpoints: BTreeMap<InstanceId, (RunIx, Door)>,
    pub(crate) sockets: BTreeMap<Socket, RunIx>,
    pub(crate) live_links: BTreeSet<LinkIx>,
    pub(crate) by_node: BTreeMap<NodeId, AgentIx>,
    /// Signed things seen on the wire, for adversaries to replay.
    pub(crate) archive: Archive,
    /// Agents that have lost their store once.
    pub(crate) wiped: BTreeSet<AgentIx>,
    /// Pairs that asked for trust.
    pub pairs: Vec<Pair>,
    pub(crate) queue: crate::queue::Queue<Event>,
    now: WorldTime,
    events: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            options: Options::default(),
            network: Network::default(),
            identities: Vec::new(),
            runs: Vec::new(),
            links: Vec::new(),
            relays: Vec::new(),
            streams: Vec::new(),
            homes: BTreeMap::new(),
            audits: BTreeMap::new(),
            checks: Checks::default(),
            trace: Trace::default(),
            chance: Chance::new(seed),
            endpoints: BTreeMap::new(),
            sockets: BTreeMap::new(),
            live_links: BTreeSet::new(),
            by_node: BTreeMap::new(),
            archive: Archive::default(),
            pairs: Vec::new(),
            wiped: BTreeSet::new(),
            queue: crate::queue::Queue::new(),
            now: WorldTime::default(),
            events: 0,
        };
        world.later(Duration::from_secs(1), Event::Tick);
        world
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> WorldTime {
        self.now
    }

    /// Events that have happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Both clocks of the host of a run.
    #[must_use]
    pub fn now_of(&self, run: RunIx) -> Now {
        self.network.host(self.runs[run.0].socket.host).clock.now(self.now)
    }

    /// What a checker found wrong, first things first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.checks.findings()
    }

    pub(crate) fn later(&mut self, delay: Duration, event: Event) {
        self.queue.push(self.now.after(delay), event);
    }

    /// Does something later.
    pub fn plan(&mut self, delay: Duration, what: impl FnOnce(&mut World) + Send + 'static) {
        self.later(delay, Event::Plan(Plan(Box::new(what))));
    }

    /// Lets time pass, or stops at the first finding.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while self.findings().is_empty() {
            match self.queue.next_at() {
                Some(at) if at <= until => self.step(),
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    /// Lets time pass until `done` says so, at most `limit`; looks every 10 ms of the world's time.
    /// Returns whether it was done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        while self.findings().is_empty() && self.now < end {
            if done(self) {
                return true;
            }
            self.run_for(Duration::from_millis(10));
        }
        done(self)
    }

    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        self.now = at;
        self.events += 1;
        match event {
            Event::Wake(run) => self.wake(run),
            Event::Deliver(link, side) => self.deliver(link, side),
            Event::LinkUp(link, side) => self.link_up(link, side),
            Event::LinkDown(link, side, why) => self.link_down(link, side, why),
            Event::Idle(link) => self.idle(link),
            Event::Punch(link) => self.punch(link),
            Event::Attempt(run, dial, number) => self.attempt(run, dial, number),
            Event::Facts(run) => self.tell_facts(run),
            Event::Log(run, news) => self.on_log(run, news),
            Event::Inspect(run) => self.inspect_run(run),
            Event::StreamKnock(stream) => self.stream_knock(stream),
            Event::StreamEnd(stream, side) => self.stream_end(stream, side),
            Event::Review(run) => self.review(run),
            Event::Plan(plan) => (plan.0)(self),
            Event::Tick => self.tick(),
        }
    }

    fn wake(&mut self, run: RunIx) {
        let now = self.now;
        let state = &mut self.runs[run.0];
        if state.wake != now {
            return;
        }
        state.wake = WorldTime(u64::MAX);
        let due = state.core().and_then(homing_core::Agent::next_wakeup);
        match due {
            Some(due) if due <= self.now_of(run).mono => self.feed(run, Input::Wakeup),
            Some(_) => self.schedule_wake(run),
            None => {}
        }
    }

    /// Keeps the earliest wake only: one that comes too early looks again.
    pub(crate) fn schedule_wake(&mut self, run: RunIx) {
        let clock = self.network.host(self.runs[run.0].socket.host).clock;
        let state = &mut self.runs[run.0];
        let Some(due) = state.core().and_then(homing_core::Agent::next_wakeup) else { return };
        let at = clock.when(due).max(self.now);
        if at.0 < u64::MAX && at < state.wake {
            state.wake = at;
            self.queue.push(at, Event::Wake(run));
        }
    }

    fn link_up(&mut self, ix: LinkIx, side: usize) {
        let link = &mut self.links[ix.0];
        let remote = link.ends[1 - side].endpoint;
        let end = &mut link.ends[side];
        let run = &mut self.runs[end.run.0];
        if !run.alive() {
            return;
        }
        end.open = true;
        run.links.insert(end.id, ix);
        if let Some(dial) = end.dial {
            run.dials.remove(&dial);
        }
        let up = LinkUp { link: end.id, dial: end.dial, remote, door: end.door };
        let run = end.run;
        self.live_links.insert(ix);
        self.check_introduction(ix);
        self.inspect(ix);
        self.feed(run, Input::LinkUp(up));
    }

    pub(crate) fn link_down(&mut self, ix: LinkIx, side: usize, why: &str) {
        let end = &mut self.links[ix.0].ends[side];
        let (run, id) = (end.run, end.id);
        end.open = false;
        self.runs[run.0].links.remove(&id);
        if !self.links[ix.0].alive() {
            self.live_links.remove(&ix);
        }
        if self.runs[run.0].alive() {
            self.feed(run, Input::LinkDown { link: id, reason: why.to_owned() });
        }
    }

    /// The head of a lane arrives, unless no path carries it: then the transport tries again.
    fn deliver(&mut self, ix: LinkIx, side: usize) {
        let receiver = self.links[ix.0].ends[1 - side];
        if !receiver.open || !self.runs[receiver.run.0].alive() {
            self.links[ix.0].lanes[side].frames.clear();
            return;
        }
        if !self.carries(ix, side) {
            if !self.runs[self.links[ix.0].ends[side].run.0].alive() {
                // What was on its way when its sender died is never sent again.
                self.links[ix.0].lanes[side].frames.clear();
                return;
            }
            let again = Duration::from_millis(150 + self.chance.below(150));
            self.later(again, Event::Deliver(ix, side));
            return;
        }
        let lane = &mut self.links[ix.0].lanes[side];
        let Some((_, frame)) = lane.frames.pop_front() else { return };
        if let Some((due, _)) = lane.frames.front() {
            self.queue.push((*due).max(self.now), Event::Deliver(ix, side));
        }
        match frame {
            Frame::Message(bytes) => self.receive(receiver.run, receiver.id, &bytes),
            Frame::Close(_) => self.link_down(ix, 1 - side, "closed by the peer"),
        }
    }

    fn idle(&mut self, ix: LinkIx) {
        let Some(since) = self.links[ix.0].broken_since else { return };
        let end = since.after(crate::link::IDLE_TIMEOUT);
        if end > self.now {
            self.queue.push(end, Event::Idle(ix));
            return;
        }
        for side in [0, 1] {
            if self.links[ix.0].ends[side].open {
                self.link_down(ix, side, "timed out");
            }
        }
    }

    fn tick(&mut self) {
        self.check_deadlines();
        self.check_streams();
        self.check_links();
        self.watch_pairs();
        self.later(Duration::from_secs(1), Event::Tick);
    }

    /// Whether a run exists, still runs and is an agent.
    #[must_use]
    pub fn runs_agent(&self, run: RunIx) -> bool {
        matches!(self.runs[run.0].mind, Mind::Agent(_))
    }
}
