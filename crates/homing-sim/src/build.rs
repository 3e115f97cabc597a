//! Building a world: relays, agents, and the start of a run.
//!
//! An agent with relays hides its addresses behind two doors; one that serves a relay, or has none,
//! has one door and publishes them. Not here: what goes wrong later ([`crate::fault`]).

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::limits::RECORD_LIFETIME_MAX;
use homing_base::{Address, IdentityKey, InstanceId, NodeId, RelayRef, Ticket};
use homing_core::Agent;
use homing_core::io::{Door, PeerHint, PeerRef, ReferenceSettings, Settings};

use crate::clock::{HostClock, WorldTime};
use crate::hostile::Hostile;
use crate::link::RelayIx;
use crate::nat::NatKind;
use crate::network::{HostIx, Socket};
use crate::run::{AgentIx, Mind, Run, RunIx};
use crate::world::{Event, Identity, Relay, World};

/// Port of the main door of agents that keep one.
const PORT: u16 = 41_641;

impl World {
    /// A new host on a network of its own.
    pub fn add_host(&mut self, kind: NatKind) -> HostIx {
        let region = u8::try_from(self.chance.below(4)).expect("small");
        let drift_ppm = i64::try_from(self.chance.below(201)).expect("small") - 100;
        let site = self.network.add_site(kind);
        self.network.add_host(site, region, HostClock { drift_ppm, ..HostClock::default() })
    }

    /// A new agent on a host; nothing runs yet.
    pub fn add_agent(&mut self, host: HostIx, relays: &[RelayIx]) -> AgentIx {
        let key = IdentityKey::from_seed(self.chance.bytes());
        let ix = AgentIx(self.identities.len());
        let node_id = key.node_id();
        self.by_node.insert(node_id, ix);
        self.identities.push(Identity {
            node_id,
            key,
            name: format!("agent-{}", ix.0).parse().expect("a label"),
            relays: relays.to_vec(),
            serves: None,
            hints: Vec::new(),
            hostile: false,
            run: None,
            host,
            port: PORT,
        });
        ix
    }

    /// A public host whose agent serves a relay; it runs at once.
    pub fn add_relay(&mut self) -> RelayIx {
        let host = self.add_host(NatKind::Public);
        let ix = RelayIx(self.relays.len());
        let agent = self.add_agent(host, &[ix]);
        let pin = Some(self.chance.bytes());
        let url = format!("https://relay-{}.test:3340/", ix.0);
        self.identities[agent.0].serves = Some(ix);
        self.relays.push(Relay { agent, reference: RelayRef { url, pin, quic_port: None } });
        self.start(agent);
        ix
    }

    /// A new agent on a new host behind `kind`; it runs at once.
    pub fn agent(&mut self, kind: NatKind, relays: &[RelayIx]) -> AgentIx {
        let host = self.add_host(kind);
        let agent = self.add_agent(host, relays);
        self.start(agent);
        agent
    }

    /// The node ID of an agent.
    #[must_use]
    pub fn id(&self, agent: AgentIx) -> NodeId {
        self.identities[agent.0].node_id
    }

    /// The permanent address of an agent.
    #[must_use]
    pub fn address(&self, agent: AgentIx) -> Address {
        Address::of(&self.id(agent))
    }

    /// An agent as a user would name it.
    #[must_use]
    pub fn peer(&self, agent: AgentIx) -> PeerRef {
        PeerRef::NodeId(self.id(agent))
    }

    /// The newest run of an agent.
    ///
    /// # Panics
    /// When the agent was never started.
    #[must_use]
    pub fn run_of(&self, agent: AgentIx) -> RunIx {
        self.identities[agent.0].run.expect("the agent was started")
    }

    /// The core of the newest run of an agent, while it runs.
    #[must_use]
    pub fn core(&self, agent: AgentIx) -> Option<&Agent> {
        self.runs[self.identities[agent.0].run?.0].core()
    }

    /// What `agent` would give away to be joined through.
    #[must_use]
    pub fn ticket(&mut self, agent: AgentIx) -> Option<PeerHint> {
        let record = self.core(agent)?.own_record()?.clone();
        let socket = self.runs[self.run_of(agent).0].socket;
        let direct = self.network.candidates(self.now(), socket);
        let text = Ticket { record: record.bytes().to_vec(), direct }.to_string();
        let ticket: Ticket = text.parse().ok()?;
        Some(PeerHint::Ticket { record: Box::new(record), direct: ticket.direct })
    }

    /// Starts an agent on its host, with the home that is there.
    pub fn start(&mut self, agent: AgentIx) -> RunIx {
        self.start_on(agent, self.identities[agent.0].host, false)
    }

    /// Starts an agent on any host, with the home that is there; an earlier run elsewhere goes on.
    /// One home has one daemon: a run that is there already is returned.
    pub fn start_on(&mut self, agent: AgentIx, host: HostIx, takeover: bool) -> RunIx {
        let here = |run: &Run| run.alive() && run.agent == agent && run.socket.host == host;
        if let Some(there) = self.runs.iter().position(here) {
            return RunIx(there);
        }
        let ix = RunIx(self.runs.len());
        let identity = &mut self.identities[agent.0];
        identity.run = Some(ix);
        identity.host = host;
        let run = self.new_run(agent, takeover);
        self.endpoints
            .insert(run.front, (ix, if run.two_doors() { Door::Front } else { Door::Main }));
        self.endpoints.insert(run.main, (ix, Door::Main));
        self.sockets.insert(run.socket, ix);
        self.runs.push(run);
        self.attach(ix, Duration::from_millis(20));
        self.later(Duration::from_millis(2), Event::Facts(ix));
        self.later(Duration::from_millis(1_500), Event::Review(ix));
        self.open_log(ix);
        if let Some(relay) = self.identities[agent.0].serves {
            self.relay_returns(relay);
        }
        ix
    }

    fn new_run(&mut self, agent: AgentIx, takeover: bool) -> Run {
        let front = InstanceId(self.chance.bytes());
        let identity = &self.identities[agent.0];
        let one_door = identity.relays.is_empty() || identity.serves.is_some();
        let main = if one_door { front } else { InstanceId(self.chance.bytes()) };
        let settings = self.settings(agent, front, main, takeover);
        let seed = self.chance.bytes();
        let identity = &self.identities[agent.0];
        let (host, port, key) = (identity.host, identity.port, identity.key.clone());
        let stored = self.homes.entry((agent, host)).or_default().stored();
        let now = self.network.host(host).clock.now(self.now());
        let mind = if identity.hostile {
            Mind::Hostile(Box::new(Hostile::new(key, front)))
        } else {
            Mind::Agent(Box::new(Agent::new(settings, key, stored, seed, now)))
        };
        Run {
            agent,
            node_id: self.id(agent),
            socket: self.free_socket(host, port),
            mind,
            since: self.now(),
            front,
            main,
            public: self.identities[agent.0].serves.is_some(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            admitted: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answered: BTreeMap::new(),
            attached: BTreeMap::new(),
            wake: WorldTime(u64::MAX),
            outputs: 0,
            messages: 0,
            crash_at: None,
            next_number: 0,
        }
    }

    fn free_socket(&self, host: HostIx, port: u16) -> Socket {
        let mut socket = Socket { host, port };
        while self.sockets.get(&socket).is_some_and(|run| self.runs[run.0].alive()) {
            socket.port += 1;
        }
        socket
    }

    fn settings(
        &self,
        agent: AgentIx,
        instance: InstanceId,
        main: InstanceId,
        takeover: bool,
    ) -> Settings {
        let identity = &self.identities[agent.0];
        let relays = match identity.serves {
            Some(_) => Vec::new(),
            None => identity.relays.iter().map(|r| self.relays[r.0].reference.clone()).collect(),
        };
        Settings {
            name: Some(identity.name.clone()),
            instance,
            main,
            relays,
            peers: identity.hints.clone(),
            public: identity.serves.is_some(),
            services: vec![crate::stream::service()],
            software: "sim".into(),
            record_lifetime: RECORD_LIFETIME_MAX,
            takeover,
            dht: self.options.dht,
            gossip: self.options.gossip,
            references: ReferenceSettings::default(),
            port_prediction: false,
        }
    }

    /// Connects a run to its relays; each begins to carry packets after some round trips.
    pub(crate) fn attach(&mut self, run: RunIx, at_least: Duration) {
        let (agent, host) = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        for relay in self.identities[agent.0].relays.clone() {
            let own = self.identities[agent.0].serves == Some(relay);
            let trips = self.network.latency(host, self.relay_host(relay)) * 6;
            let jitter = Duration::from_micros(self.chance.below(15_000));
            let delay = if own { Duration::ZERO } else { at_least + trips + jitter };
            let since = self.now().after(delay);
            self.runs[run.0].attached.insert(relay, since);
            self.later(delay + Duration::from_millis(1), Event::Inspect(run));
            self.later(delay + Duration::from_millis(2), Event::Facts(run));
        }
        if self.identities[agent.0].relays.is_empty() {
            self.later(at_least + Duration::from_millis(2), Event::Facts(run));
        }
    }
}
