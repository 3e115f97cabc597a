//! What goes wrong: crashes, moves, cuts, dead relays, wrong clocks; and what puts it right.
//!
//! Everything here is what an operator, a cloud or a cable could do. Messages that lie are in
//! [`crate::hostile`].

use std::time::Duration;

use homing_core::io::Command;

use crate::link::{Frame, LinkIx, RelayIx};
use crate::nat::NatKind;
use crate::network::HostIx;
use crate::run::{About, AgentIx, Mind, RunIx};
use crate::world::{Event, World};

/// Something to do later.
pub struct Plan(pub(crate) Box<dyn FnOnce(&mut World) + Send>);

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plan")
    }
}

/// What comes along when an agent moves to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    /// The whole home.
    Home,
    /// `identity.json` and the configuration; the store is lost.
    IdentityOnly,
}

impl World {
    /// kill −9: the newest run of an agent is gone; nobody is told.
    pub fn kill(&mut self, agent: AgentIx) {
        self.kill_run(self.run_of(agent));
    }

    /// kill −9 of one run.
    pub fn kill_run(&mut self, run: RunIx) {
        if !self.runs[run.0].alive() {
            return;
        }
        self.bury(run);
        let silent = crate::link::IDLE_TIMEOUT;
        for ix in 0..self.streams.len() {
            for side in [0, 1] {
                if self.streams[ix].runs[side] == run && self.streams[ix].open[side] {
                    self.streams[ix].open[side] = false;
                    self.later(silent, Event::StreamEnd(ix, 1 - side));
                }
            }
        }
        let links: Vec<_> = std::mem::take(&mut self.runs[run.0].links).into_iter().collect();
        for (id, ix) in links {
            let side = self.links[ix.0].side_of(run, id).expect("the run's own link");
            self.links[ix.0].ends[side].open = false;
            self.inspect(ix);
        }
    }

    /// Whether any run of an agent goes on.
    #[must_use]
    pub fn any_run(&self, agent: AgentIx) -> bool {
        self.runs.iter().any(|run| run.agent == agent && run.alive())
    }

    /// Starts an agent for the first time or again, after `delay`, unless it runs by then.
    pub fn start_later(&mut self, agent: AgentIx, delay: Duration) {
        self.plan(delay, move |world| world.start_if_down(agent));
    }

    /// Starts an agent on its host unless its newest run goes on; an older one, elsewhere, has given
    /// way and does not count.
    pub fn start_if_down(&mut self, agent: AgentIx) {
        let newest = self.identities[agent.0].run;
        if !newest.is_some_and(|run| self.runs[run.0].alive()) {
            self.start(agent);
        }
    }

    /// The newest run of an agent dies before its nth output from now and starts again.
    pub fn crash_soon(&mut self, agent: AgentIx, outputs: u64, pause: Duration) {
        let run = self.run_of(agent);
        self.runs[run.0].crash_at = Some(self.runs[run.0].outputs + outputs);
        self.plan(Duration::from_secs(2), move |world| {
            world.runs[run.0].crash_at = None;
            world.start_later(agent, pause);
        });
    }

    /// Moves an agent and loses its store, unless a peer of it has lost its own.
    pub fn wipe_and_move(&mut self, agent: AgentIx, kind: NatKind) {
        let peers = self.pairs.iter().filter_map(|pair| match pair {
            pair if pair.a == agent => Some(pair.b),
            pair if pair.b == agent => Some(pair.a),
            _ => None,
        });
        let lonely = peers.into_iter().any(|peer| self.wiped.contains(&peer));
        if lonely || !self.any_run(agent) {
            return;
        }
        self.wiped.insert(agent);
        // What it has taken back and told nobody is lost with the store.
        self.pairs.retain(|pair| !(pair.ended && (pair.a == agent || pair.b == agent)));
        self.move_to_new_ip(agent, kind, Carry::IdentityOnly);
    }

    /// A relay dies; it comes back after `back`, or when the world heals.
    pub fn kill_relay(&mut self, relay: RelayIx, back: Option<Duration>) {
        let agent = self.relays[relay.0].agent;
        self.kill(agent);
        if let Some(back) = back {
            self.start_later(agent, back);
        }
    }

    /// Some hosts cannot send to the rest, or neither to the other, for some time.
    pub fn partition(&mut self, one_way: bool, seed: u64, length: Duration) {
        let mut chance = crate::chance::Chance::new(seed);
        let share = 100 + u32::try_from(chance.below(400)).expect("small");
        for host in self.network.hosts() {
            self.network.host_mut(host).island = u8::from(chance.happens(share));
        }
        self.block(0, 1);
        if !one_way {
            self.block(1, 0);
        }
        self.plan(length, |world| {
            world.network.blocked.clear();
            world.paths_changed((0..world.runs.len()).map(RunIx).collect());
        });
    }

    /// Asks the newest run of an agent to stop; it says goodbye.
    pub fn stop(&mut self, agent: AgentIx) {
        let run = self.run_of(agent);
        if self.runs_agent(run) {
            self.command_about(run, Command::Stop, About::Stop);
        }
    }

    /// The core has said goodbye: the transport closes and the process ends.
    pub(crate) fn stopped(&mut self, run: RunIx) {
        if !self.runs[run.0].alive() {
            return;
        }
        self.end_all_streams(run);
        let links: Vec<_> = std::mem::take(&mut self.runs[run.0].links).into_iter().collect();
        for (id, ix) in links {
            let side = self.links[ix.0].side_of(run, id).expect("the run's own link");
            self.push_frame(run, ix, Frame::Close("stopping".into()));
            self.links[ix.0].ends[side].open = false;
            self.inspect(ix);
        }
        self.bury(run);
    }

    fn bury(&mut self, run: RunIx) {
        self.runs[run.0].mind = Mind::Over;
        self.runs[run.0].dials.clear();
        self.runs[run.0].waiting.clear();
        let socket = self.runs[run.0].socket;
        self.sockets.remove(&socket);
        let agent = self.runs[run.0].agent;
        if let Some(relay) = self.identities[agent.0].serves {
            self.relay_lost(relay);
        }
    }

    /// The agent's newest run dies now and starts again on the same host after `pause`.
    pub fn restart(&mut self, agent: AgentIx, pause: Duration) {
        self.kill(agent);
        self.start_later(agent, pause);
    }

    /// Kills an agent and starts it with the same key on a new host behind `kind`.
    pub fn move_to_new_ip(&mut self, agent: AgentIx, kind: NatKind, carry: Carry) -> RunIx {
        self.kill(agent);
        let host = self.new_home(agent, kind, carry);
        self.start_on(agent, host, false)
    }

    /// Starts a second run of an agent on a new host while the first goes on.
    pub fn start_twin(&mut self, agent: AgentIx, kind: NatKind, takeover: bool) -> RunIx {
        let host = self.new_home(agent, kind, Carry::Home);
        self.start_on(agent, host, takeover)
    }

    fn new_home(&mut self, agent: AgentIx, kind: NatKind, carry: Carry) -> HostIx {
        let old = self.identities[agent.0].host;
        let host = self.add_host(kind);
        let skew = self.network.host(old).clock.skew_ms;
        self.network.host_mut(host).clock.skew_ms = skew;
        if carry == Carry::Home {
            let home = self.homes.get(&(agent, old)).cloned().unwrap_or_default();
            self.homes.insert((agent, host), home);
        }
        host
    }

    /// A live host gets another address, as a laptop does that changes networks.
    pub fn change_address(&mut self, host: HostIx, kind: NatKind) {
        let site = self.network.add_site(kind);
        self.network.replug(host, site);
        let runs: Vec<_> = self.runs_on(host).collect();
        for run in runs {
            for ix in self.runs[run.0].links.values().copied().collect::<Vec<_>>() {
                self.links[ix.0].paths.direct = false;
                self.inspect(ix);
                let found = Duration::from_millis(300 + self.chance.below(300));
                self.later(found, Event::Punch(ix));
            }
            self.attach(run, Duration::from_millis(250));
            self.plan(Duration::from_millis(350), move |world| world.network_changed(run));
        }
    }

    fn network_changed(&mut self, run: RunIx) {
        if self.runs_agent(run) {
            self.command(run, Command::NetworkChanged);
        }
    }

    fn runs_on(&self, host: HostIx) -> impl Iterator<Item = RunIx> + use<'_> {
        let here =
            move |run: &RunIx| self.runs[run.0].alive() && self.runs[run.0].socket.host == host;
        (0..self.runs.len()).map(RunIx).filter(here)
    }

    /// Pulls a cable, or plugs it back.
    pub fn unplug(&mut self, host: HostIx, out: bool) {
        self.network.host_mut(host).unplugged = out;
        self.paths_changed(self.runs_on(host).collect());
    }

    /// Packets from one island to another vanish from now on.
    pub fn block(&mut self, from: u8, to: u8) {
        self.network.blocked.insert((from, to));
        self.inspect_all();
    }

    /// Every packet passes again, every cable is plugged in, every clock is right.
    pub fn heal(&mut self) {
        self.network.blocked.clear();
        for host in self.network.hosts() {
            if self.network.host(host).clock.skew_ms != 0 {
                self.set_clock(host, 0);
            }
            let state = self.network.host_mut(host);
            state.island = 0;
            state.unplugged = false;
        }
        self.paths_changed((0..self.runs.len()).map(RunIx).collect());
    }

    fn paths_changed(&mut self, runs: Vec<RunIx>) {
        for run in runs.into_iter().filter(|run| self.runs[run.0].alive()).collect::<Vec<_>>() {
            self.attach(run, Duration::from_millis(100));
        }
        self.inspect_all();
    }

    /// Sets the wall clock of a host wrong by so much, or right.
    pub fn set_clock(&mut self, host: HostIx, skew_ms: i64) {
        let set_at = self.now();
        let clock = &mut self.network.host_mut(host).clock;
        clock.skew_ms = skew_ms;
        clock.set_at = set_at;
    }

    /// The relay is gone: what went through it is stuck, its clients find out within seconds.
    pub(crate) fn relay_lost(&mut self, relay: RelayIx) {
        self.links_through(relay);
        for run in self.clients_of(relay) {
            let notices = Duration::from_millis(800 + self.chance.below(1_500));
            self.later(notices, Event::Facts(run));
        }
    }

    /// The relay is back: its clients connect again one by one.
    pub(crate) fn relay_returns(&mut self, relay: RelayIx) {
        for run in self.clients_of(relay) {
            let back = Duration::from_millis(100 + self.chance.below(900));
            let at = self.now().after(back);
            let since = self.runs[run.0].attached.entry(relay).or_insert(at);
            *since = (*since).max(at);
            self.later(back + Duration::from_millis(1), Event::Inspect(run));
            self.later(back + Duration::from_millis(2), Event::Facts(run));
        }
        self.links_through(relay);
    }

    fn clients_of(&self, relay: RelayIx) -> Vec<RunIx> {
        let served_by = self.relays[relay.0].agent;
        let is_client = |run: &RunIx| {
            let run = &self.runs[run.0];
            let relays = &self.identities[run.agent.0].relays;
            run.alive() && run.agent != served_by && relays.contains(&relay)
        };
        (0..self.runs.len()).map(RunIx).filter(is_client).collect()
    }

    fn links_through(&mut self, relay: RelayIx) {
        let through = |ix: &LinkIx| self.links[ix.0].paths.relay == Some(relay);
        let links: Vec<_> = self.live_links.iter().copied().filter(through).collect();
        for ix in links {
            self.inspect(ix);
        }
    }
}
