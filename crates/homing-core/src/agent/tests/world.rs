//! A few agents on a perfect network with 5 ms of delay, in memory; every message crosses the
//! codec, every `Persist` is applied, and a crash may strike after any output.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{IdentityKey, InstanceId, Mono, NodeId, Now, RelayRef, Wall};

use crate::Agent;
use crate::audit::witness::WitnessWrite;
use crate::io::*;
use crate::message::{ByeReason, Message};
use crate::view::PeerView;

const DELAY: Duration = Duration::from_millis(5);
const REFUSED_AFTER: Duration = Duration::from_millis(20);
pub(super) const WALL: u64 = 1_795_230_000_000;

pub(super) struct Node {
    pub agent: Agent,
    pub settings: Settings,
    run: u64,
}

#[derive(Clone)]
enum What {
    Input(Box<Input>),
    Wake,
}

pub(super) struct World {
    pub now: Mono,
    pub nodes: BTreeMap<u8, Node>,
    pub disks: BTreeMap<u8, Stored>,
    /// Our clock minus the true one, in ms.
    pub skew: BTreeMap<u8, i64>,
    /// Outputs of every node, oldest first.
    pub log: Vec<(u8, Output)>,
    pub replies: BTreeMap<u64, Result<Answer, Failure>>,
    /// Dials to these nodes hang for 10 s and fail; their links are silent.
    pub dark: BTreeSet<u8>,
    /// What is sent over these links vanishes.
    pub stuck: BTreeSet<LinkId>,
    /// Kill this node right after its n-th output from now.
    pub crash_after: Option<(u8, usize)>,
    queue: BTreeMap<(Mono, u64), (u8, u64, What)>,
    links: BTreeMap<LinkId, (u8, u64, LinkId)>,
    next: u64,
}

pub(super) fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed([n; 32])
}

pub(super) fn id(n: u8) -> NodeId {
    key(n).node_id()
}

pub(super) fn instance(n: u8, run: u64, door: u8) -> InstanceId {
    let mut bytes = [door; 32];
    bytes[0] = n;
    bytes[1..9].copy_from_slice(&run.to_be_bytes());
    InstanceId(bytes)
}

pub(super) fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 4433))
}

pub(super) fn relay(n: u8) -> RelayRef {
    format!("https://relay-{n}.test/").parse().unwrap()
}

pub(super) fn settings(n: u8, run: u64) -> Settings {
    Settings {
        name: Some(format!("agent-{n}").parse().unwrap()),
        instance: instance(n, run, 1),
        main: instance(n, run, 1),
        relays: Vec::new(),
        peers: Vec::new(),
        public: false,
        services: Vec::new(),
        software: "test".into(),
        record_lifetime: Duration::from_secs(24 * 3_600),
        takeover: false,
        dht: None,
        gossip: None,
        references: Default::default(),
        port_prediction: false,
    }
}

pub(super) fn name(text: &str) -> PeerRef {
    PeerRef::Name(text.parse().unwrap())
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Mono(1_000_000),
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            skew: BTreeMap::new(),
            log: Vec::new(),
            replies: BTreeMap::new(),
            dark: BTreeSet::new(),
            stuck: BTreeSet::new(),
            crash_after: None,
            queue: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn clock(&self, n: u8) -> Now {
        let true_ms = WALL + self.now.0 / 1_000;
        let skew = self.skew.get(&n).copied().unwrap_or(0);
        Now { mono: self.now, wall: Wall(true_ms.saturating_add_signed(skew)) }
    }

    /// Starts a run of node `n` with what its disk holds.
    pub(super) fn start(&mut self, n: u8, settings: Settings) {
        self.next += 1;
        let stored = self.disks.entry(n).or_default().clone();
        let mut seed = [n; 32];
        seed[1..9].copy_from_slice(&self.next.to_be_bytes());
        let agent = Agent::new(settings.clone(), key(n), stored, seed, self.clock(n));
        let has_relay = !settings.relays.is_empty();
        self.nodes.insert(n, Node { agent, settings: settings.clone(), run: self.next });
        let facts = EndpointFacts {
            relays: settings.relays,
            direct: vec![addr(n)],
            publish_direct: !has_relay || settings.public,
            online: true,
            network: crate::message::Network::default(),
        };
        self.input(n, Input::Endpoint(Box::new(facts)));
    }

    /// Two nodes that know each other by hints, and nothing else.
    pub(super) fn pair() -> Self {
        let mut world = Self::new();
        let hint = |n| PeerHint::At { peer: Some(PeerRef::NodeId(id(n))), direct: vec![addr(n)] };
        world.start(1, Settings { peers: vec![hint(2)], ..settings(1, 1) });
        world.start(2, Settings { peers: vec![hint(1)], ..settings(2, 1) });
        world.run_for(millis(500));
        world
    }

    /// The same, with trust.
    pub(super) fn friends() -> Self {
        let mut world = Self::pair();
        world.shake_hands(1, 2);
        world
    }

    /// A public relay node 9 and any number of private nodes behind it.
    pub(super) fn fleet(members: &[u8]) -> Self {
        let mut world = Self::new();
        world.start(9, Settings { public: true, relays: vec![relay(9)], ..settings(9, 1) });
        world.run_for(millis(100));
        for n in members {
            world.start(*n, member(*n, 1));
        }
        world.run_for(secs(1));
        world
    }

    pub(super) fn shake_hands(&mut self, a: u8, b: u8) {
        assert!(self.command(a, handshake(b)).is_ok());
        self.run_for(secs(1));
        assert!(self.command(b, approve(a)).is_ok());
        self.run_for(secs(1));
        assert_eq!(self.states(a, b), (TrustState::Mutual, TrustState::Mutual));
    }

    /// A command and its answer, waiting up to 20 s.
    pub(super) fn command(&mut self, n: u8, command: Command) -> Result<Answer, Failure> {
        let request = self.begin(n, command);
        for _ in 0..20_000 {
            if let Some(answer) = self.replies.remove(&request) {
                return answer;
            }
            self.run_for(millis(1));
        }
        panic!("a command was never answered");
    }

    pub(super) fn begin(&mut self, n: u8, command: Command) -> u64 {
        self.next += 1;
        let request = self.next;
        self.input(n, Input::Command { request: RequestId(request), command });
        request
    }

    pub(super) fn input(&mut self, n: u8, input: Input) {
        let now = self.clock(n);
        let Some(node) = self.nodes.get_mut(&n) else { return };
        node.agent.handle(now, input);
        while let Some(output) = self.nodes.get_mut(&n).and_then(|node| node.agent.poll_output()) {
            self.perform(n, output);
            if let Some((victim, left)) = &mut self.crash_after
                && *victim == n
            {
                *left -= 1;
                if *left == 0 {
                    self.crash_after = None;
                    return self.kill(n);
                }
            }
        }
        let node = &self.nodes[&n];
        if let Some(at) = node.agent.next_wakeup() {
            assert!(at > now.mono, "a wakeup in the past is a hot loop");
            let run = node.run;
            self.queue.retain(|_, (who, _, what)| *who != n || !matches!(what, What::Wake));
            self.push(at, n, run, What::Wake);
        }
    }

    fn push(&mut self, at: Mono, n: u8, run: u64, what: What) {
        self.next += 1;
        self.queue.insert((at, self.next), (n, run, what));
    }

    fn perform(&mut self, n: u8, output: Output) {
        self.log.push((n, output.clone()));
        match output {
            Output::Persist(batch) => {
                let disk = self.disks.entry(n).or_default();
                batch.into_iter().for_each(|write| apply(disk, write));
            }
            Output::Dial { dial, target } => self.dial(n, dial, &target),
            Output::Send { link, message } => {
                let Some((to, run, theirs)) = self.links.get(&link).copied() else { return };
                let lost = self.stuck.contains(&link) || self.stuck.contains(&theirs);
                if lost || self.dark.contains(&to) || self.dark.contains(&n) {
                    return;
                }
                let message = Message::decode(&message.encode()).expect("own messages decode");
                let input = Input::Message { link: theirs, message: Box::new(message) };
                self.push(self.now.after(DELAY), to, run, What::Input(Box::new(input)));
            }
            Output::Close { link, .. } => self.cut(link),
            Output::Heard { .. } | Output::Audit { .. } | Output::AuditLog(_) => {}
            Output::Ports(_) => {}
            Output::Reply { request, answer } => {
                let twice = self.replies.insert(request.0, answer);
                assert!(twice.is_none(), "a command was answered twice");
            }
            Output::Sever { .. }
            | Output::Confine { .. }
            | Output::Admit { .. }
            | Output::Expel { .. }
            | Output::Notify(_) => {}
        }
    }

    fn cut(&mut self, link: LinkId) {
        let Some((to, run, theirs)) = self.links.remove(&link) else { return };
        self.links.remove(&theirs);
        let reason = "closed by the peer".to_owned();
        let input = Input::LinkDown { link: theirs, reason };
        self.push(self.now.after(DELAY), to, run, What::Input(Box::new(input)));
    }

    fn dial(&mut self, n: u8, dial: DialId, target: &DialTarget) {
        let run = self.nodes[&n].run;
        let from = match target {
            DialTarget::Endpoint { from: Door::Front, .. } | DialTarget::Relay(_) => Door::Front,
            _ => Door::Main,
        };
        let found = self.nodes.iter().find_map(|(m, node)| {
            let s = &node.settings;
            let door = match target {
                DialTarget::Endpoint { endpoint, .. } if *endpoint == s.main => Some(Door::Main),
                DialTarget::Endpoint { endpoint, .. } => {
                    (*endpoint == s.instance).then_some(Door::Front)
                }
                DialTarget::Sockets { direct } => direct.contains(&addr(*m)).then_some(Door::Main),
                DialTarget::Relay(url) => (*url == relay(*m)).then_some(Door::Front),
            };
            door.map(|door| (*m, door))
        });
        let Some((to, there)) = found.filter(|(to, _)| !self.dark.contains(to)) else {
            let error = DialError::Unreachable("nobody there".into());
            let is_dark = found.is_some();
            let after = if is_dark { secs(10) } else { REFUSED_AFTER };
            let input = Input::DialFailed { dial, error };
            return self.push(self.now.after(after), n, run, What::Input(Box::new(input)));
        };
        self.next += 1;
        let (here_id, there_id) = (LinkId(2 * self.next), LinkId(2 * self.next + 1));
        let to_run = self.nodes[&to].run;
        self.links.insert(here_id, (to, to_run, there_id));
        self.links.insert(there_id, (n, run, here_id));
        let key_of = |s: &Settings, d: Door| if d == Door::Main { s.main } else { s.instance };
        let mine = key_of(&self.nodes[&n].settings, from);
        let theirs = key_of(&self.nodes[&to].settings, there);
        let up = LinkUp { link: here_id, dial: Some(dial), remote: theirs, door: from };
        let back = LinkUp { link: there_id, dial: None, remote: mine, door: there };
        let at = self.now.after(DELAY);
        self.push(at, to, to_run, What::Input(Box::new(Input::LinkUp(back))));
        self.push(at, n, run, What::Input(Box::new(Input::LinkUp(up))));
    }

    /// From now on nothing passes over any link between these two.
    pub(super) fn block(&mut self, a: u8, b: u8) {
        let view = self.view(a, b).expect("they are linked");
        self.stuck.extend(view.links.iter().map(|link| link.link));
    }

    /// The process is gone; the network notices at once.
    pub(super) fn kill(&mut self, n: u8) {
        self.nodes.remove(&n);
        let theirs: Vec<LinkId> =
            self.links.iter().filter(|(_, (to, ..))| *to == n).map(|(id, _)| *id).collect();
        for link in theirs {
            if let Some((_, _, dead)) = self.links.get(&link).copied() {
                self.cut(dead);
            }
        }
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        let mut steps = 0;
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= end) {
            let ((at, _), (n, run, what)) = entry.remove_entry();
            self.now = self.now.max(at);
            steps += 1;
            assert!(steps < 400_000, "the world never comes to rest");
            if self.nodes.get(&n).is_none_or(|node| node.run != run) {
                continue;
            }
            match what {
                What::Input(input) => self.input(n, *input),
                What::Wake => self.input(n, Input::Wakeup),
            }
        }
        self.now = end;
    }

    pub(super) fn agent(&self, n: u8) -> &Agent {
        &self.nodes[&n].agent
    }

    pub(super) fn view(&self, n: u8, of: u8) -> Option<PeerView> {
        let views = self.agent(n).peers(self.clock(n));
        views.into_iter().find(|view| view.node_id == id(of))
    }

    pub(super) fn state(&self, n: u8, of: u8) -> TrustState {
        self.view(n, of).map_or(TrustState::None, |view| view.trust.state)
    }

    pub(super) fn states(&self, a: u8, b: u8) -> (TrustState, TrustState) {
        (self.state(a, b), self.state(b, a))
    }

    pub(super) fn links(&self, n: u8, of: u8) -> usize {
        self.view(n, of).map_or(0, |view| view.links.len())
    }

    pub(super) fn events(&self, n: u8) -> Vec<&Event> {
        let events = self.log.iter().filter_map(|(who, output)| match output {
            Output::Notify(event) if *who == n => Some(event),
            _ => None,
        });
        events.collect()
    }

    /// A hand-made link to node `n`, spoken to by the test.
    pub(super) fn stranger(&mut self, n: u8, remote: InstanceId) -> LinkId {
        self.next += 1;
        let link = LinkId(1_000_000 + self.next);
        let up = LinkUp { link, dial: None, remote, door: Door::Front };
        self.input(n, Input::LinkUp(up));
        link
    }

    pub(super) fn say(&mut self, n: u8, link: LinkId, message: Message) {
        self.input(n, Input::Message { link, message: Box::new(message) });
    }

    /// What node `n` said over a hand-made link.
    pub(super) fn heard(&self, n: u8, over: LinkId) -> Vec<&Message> {
        let sent = self.log.iter().filter_map(|(who, output)| match output {
            Output::Send { link, message } if *who == n && *link == over => Some(message),
            _ => None,
        });
        sent.collect()
    }

    pub(super) fn was_closed(&self, n: u8, over: LinkId) -> Option<ByeReason> {
        self.log.iter().find_map(|(who, output)| match output {
            Output::Close { link, reason } if *who == n && *link == over => Some(*reason),
            _ => None,
        })
    }
}

/// A private node behind relay 9.
pub(super) fn member(n: u8, run: u64) -> Settings {
    let main = instance(n, run, 2);
    Settings { relays: vec![relay(9)], main, ..settings(n, run) }
}

pub(super) fn handshake(with: u8) -> Command {
    let peer = PeerRef::NodeId(id(with));
    Command::Handshake { peer, reason: None, services: None, lifetime: None }
}

pub(super) fn approve(whom: u8) -> Command {
    Command::Approve { peer: PeerRef::NodeId(id(whom)), services: None, lifetime: None }
}

pub(super) fn revoke(whom: u8) -> Command {
    Command::Revoke { peer: PeerRef::NodeId(id(whom)) }
}

pub(super) fn ping(whom: u8) -> Command {
    Command::Ping { peer: PeerRef::NodeId(id(whom)), timeout: millis(1_900) }
}

fn apply(disk: &mut Stored, write: Write) {
    match write {
        Write::OwnRecord(record) => disk.own_record = Some(record),
        Write::Record(record) => {
            disk.records.retain(|r| r.node_id() != record.node_id());
            disk.records.push(record);
        }
        Write::Statement(statement) => {
            let pair = (statement.from, statement.to);
            disk.statements.retain(|s| (s.from, s.to) != pair);
            disk.statements.push(statement);
        }
        Write::Alias { name, peer } => {
            disk.aliases.retain(|(n, _)| *n != name);
            disk.aliases.extend(peer.map(|peer| (name, peer)));
        }
        Write::Pin { name, peer } => disk.pins.push((name, peer)),
        Write::LastAddresses { peer, direct } => {
            disk.last_addresses.retain(|(p, _)| *p != peer);
            disk.last_addresses.push((peer, direct));
        }
        Write::LastSeen { peer, at } => {
            disk.last_seen.retain(|(p, _)| *p != peer);
            disk.last_seen.push((peer, at));
        }
        Write::ForgetRecord(peer) => disk.records.retain(|r| r.node_id() != peer),
        Write::Evidence { .. } => {}
        Write::DhtContacts(contacts) => disk.dht_contacts = contacts,
        Write::GossipEntry { record, local } => {
            disk.gossip.retain(|(r, _)| r.node_id() != record.node_id());
            disk.gossip.push((record, local));
        }
        Write::ForgetGossip(peer) => disk.gossip.retain(|(r, _)| r.node_id() != peer),
        Write::Message(write) => apply_message(&mut disk.messages, write),
        Write::Reference(write) => disk.references.apply(write),
        Write::Witness(WitnessWrite::Head { held, .. }) => disk.heads.push(held),
        Write::Witness(WitnessWrite::Fork(fork)) => disk.forks.push(fork),
    }
}

fn apply_message(disk: &mut StoredMessages, write: MessageWrite) {
    match write {
        MessageWrite::Outgoing(message) => disk.outgoing.push(message),
        MessageWrite::ForgetOutgoing(number) => disk.outgoing.retain(|m| m.number != number),
        MessageWrite::Incoming(message) => {
            disk.incoming.retain(|m| m.number != message.number);
            disk.incoming.push(message);
        }
        MessageWrite::ForgetIncoming(number) => disk.incoming.retain(|m| m.number != number),
        MessageWrite::Seen(seen) => {
            disk.seen.retain(|s| (s.from, s.id) != (seen.from, seen.id));
            disk.seen.push(seen);
        }
        MessageWrite::ForgetSeen(from, id) => disk.seen.retain(|s| (s.from, s.id) != (from, id)),
        MessageWrite::Subscriber(peer, topic) => disk.subscribers.push((peer, topic)),
        MessageWrite::ForgetSubscriber(peer, topic) => {
            disk.subscribers.retain(|s| *s != (peer, topic.clone()));
        }
    }
}
