//! The only file that performs the core's outputs.
//!
//! ```text
//! loop: drain outputs in order (Persist is awaited) → wait for a command, an event or the deadline
//! ```
//! Local commands go before what peers send. A deadline that has passed is served after every
//! input, however busy the peers are. The first failed write ends the loop: a promise that cannot
//! be kept is not made.

use std::collections::BTreeMap;
use std::sync::Arc;

use homing_base::{Mono, Record};
use homing_core::io::{Event, LinkId, LogNews, PortNews, RequestId};
use homing_core::{Agent, Answer, Batch, Command, Failure, Input, Output};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::audit::AuditRoom;
use crate::clock::Clock;
use crate::dht_watch::DhtWatch;
use crate::events::Events;
use crate::health::Health;
use crate::mailroom::Mailroom;
use crate::reference_watch::ReferenceWatch;
use crate::relay_role::RelayRole;
use crate::store::{Deferred, Store, StoreCounts, StoreError};
use crate::streams::Streams;
use crate::transport::{Transport, TransportEvent, Via};

/// What a face asks of the agent.
pub(crate) enum Request {
    /// Something with effects.
    Command(Command, oneshot::Sender<Result<Answer, Failure>>),
    /// A look at the state.
    Query(Box<dyn FnOnce(&Agent) + Send>),
}

/// Everything that one agent's outputs need.
pub(crate) struct Driver {
    pub(crate) agent: Agent,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) transport: Transport,
    pub(crate) streams: Arc<Streams>,
    pub(crate) events: Arc<Events>,
    pub(crate) health: Arc<Health>,
    pub(crate) mailroom: Arc<Mailroom>,
    pub(crate) audit: Arc<AuditRoom>,
    pub(crate) relay: Option<Arc<RelayRole>>,
    pub(crate) store_counts: Arc<StoreCounts>,
    pub(crate) replies: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Failure>>>,
    pub(crate) next_request: u64,
    pub(crate) stopping: bool,
    pub(crate) deferred: Deferred,
    pub(crate) dht: DhtWatch,
    pub(crate) references: ReferenceWatch,
    /// Records that gossip brings, for whoever lists them.
    pub(crate) heard: broadcast::Sender<Record>,
}

/// Records that a slow listener may fall behind; after that it reads the table again.
pub(crate) const HEARD_MAX: usize = 4_096;

impl Driver {
    /// Runs until the agent was stopped, every handle to it is gone, or the store failed.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut wire: mpsc::Receiver<TransportEvent>,
    ) -> Result<(), StoreError> {
        if let Some(opened) = self.audit.opened() {
            self.agent.handle(self.clock.now(), Input::Audit(Box::new(opened)));
        }
        let ended = self.turn(&mut requests, &mut wire).await;
        if let Err(failure) = &ended {
            error!(error = %failure, "the store failed; stopping");
            self.health.raise("store_failed", failure.to_string());
        }
        self.streams.end_all();
        self.transport.close().await;
        ended
    }

    async fn turn(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        wire: &mut mpsc::Receiver<TransportEvent>,
    ) -> Result<(), StoreError> {
        let mut head = self.audit.head();
        loop {
            self.perform_all().await?;
            if self.stopping {
                let rest = self.deferred.take(self.clock.mono());
                return self.store_all(rest.into_iter().collect()).await;
            }
            let due = self.deferred.take_due(self.clock.mono());
            self.store_all(due).await?;
            tokio::select! { biased;
                request = requests.recv() => match request {
                    Some(request) => self.on_request(request),
                    None => self.command(Command::Stop, None),
                },
                // Before what peers say of it: the core must not be behind its own log.
                Ok(()) = head.changed() => {
                    if let Some(note) = head.borrow_and_update().clone() {
                        let news = Box::new(LogNews::Head(note));
                        self.agent.handle(self.clock.now(), Input::Audit(news));
                    }
                }
                Some(event) = wire.recv() => self.on_event(event),
                () = self.clock.until(self.next_deadline()) => {}
            }
            self.wake();
            self.watch_dht();
            self.references.look(&self.agent, &self.health, self.clock.now());
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let deadlines = [self.agent.next_wakeup(), self.deferred.due()];
        deadlines.into_iter().flatten().min()
    }

    /// Conditions and events of the DHT, looked at now and then: its own timers wake this loop.
    fn watch_dht(&mut self) {
        let now = self.clock.now();
        let Some(view) = self.dht.look(&self.agent, now) else { return };
        self.health.on_dht(&view);
        self.dht.tell(&view, &self.events);
    }

    /// Serves a deadline that has passed.
    fn wake(&mut self) {
        let now = self.clock.now();
        if self.agent.next_wakeup().is_some_and(|deadline| deadline <= now.mono) {
            self.agent.handle(now, Input::Wakeup);
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command(command, reply) => self.command(command, Some(reply)),
            Request::Query(look) => look(&self.agent),
        }
    }

    fn command(
        &mut self,
        command: Command,
        reply: Option<oneshot::Sender<Result<Answer, Failure>>>,
    ) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.stopping |= matches!(command, Command::Stop);
        if let Some(reply) = reply {
            self.replies.insert(request, reply);
        }
        self.agent.handle(self.clock.now(), Input::Command { request, command });
    }

    fn on_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Input(input) => {
                if let Input::Endpoint(facts) = &input {
                    self.health.on_facts(facts);
                }
                let reachability = matches!(input, Input::Endpoint(_));
                let link = if let Input::LinkUp(up) = &input { Some(up.link) } else { None };
                self.agent.handle(self.clock.now(), input);
                if let Some(link) = link {
                    self.tell_path(link);
                }
                if reachability {
                    self.introduce();
                }
            }
            TransportEvent::Stream(stream) => self.streams.on_incoming(stream),
            TransportEvent::RelayDown { relay, error } => {
                warn!(relay = %relay.authority(), %error, "relay does not answer");
                self.health.on_relays(&self.transport.relays());
                self.events.relay(&relay, Some(&error));
            }
            TransportEvent::RelayUp { relay } => {
                info!(relay = %relay.authority(), "relay answers");
                self.health.on_relays(&self.transport.relays());
                self.events.relay(&relay, None);
            }
            TransportEvent::PathChanged { link } => self.on_path(link),
            TransportEvent::NetworkChanged => self.command(Command::NetworkChanged, None),
        }
    }

    /// The core wants to know whom a relay carries.
    fn tell_path(&mut self, link: LinkId) {
        let Some(path) = self.transport.path(link) else { return };
        let relayed = matches!(path.via, Via::Relay(_));
        let news = Input::Ports(PortNews::Relayed { link, relayed });
        self.agent.handle(self.clock.now(), news);
    }

    fn on_path(&mut self, link: LinkId) {
        self.tell_path(link);
        if !self.events.is_heard() {
            return;
        }
        let peers = self.agent.peers(self.clock.now());
        let of_link = |p: &&homing_core::view::PeerView| p.links.iter().any(|l| l.link == link);
        if let (Some(peer), Some(path)) = (peers.iter().find(of_link), self.transport.path(link)) {
            self.events.path(peer, &path);
        }
    }

    async fn perform_all(&mut self) -> Result<(), StoreError> {
        while let Some(output) = self.agent.poll_output() {
            self.perform(output).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, output: Output) -> Result<(), StoreError> {
        match output {
            Output::Persist(batch) => {
                let batch = self.deferred.sort(batch, self.clock.mono());
                self.store_all(batch).await?;
            }
            Output::Dial { dial, target } => self.transport.dial(dial, target),
            Output::Send { link, message } => self.transport.send(link, &message),
            Output::Close { link, reason } => self.transport.close_link(link, reason),
            Output::Sever { peer } => {
                self.streams.sever(peer);
                self.transport.sever(&self.transport.endpoints_of(peer));
            }
            Output::Confine { peer, scope } => self.streams.confine(peer, scope),
            Output::Admit { endpoint, peer } => self.transport.admit(endpoint, peer),
            Output::Expel { endpoint } => self.transport.expel(endpoint),
            Output::Reply { request, answer } => {
                if let Some(reply) = self.replies.remove(&request) {
                    let _ = reply.send(answer);
                }
            }
            Output::Notify(event) => self.on_notice(event),
            // Nobody listens on most nodes.
            Output::Heard { record, .. } => drop(self.heard.send(*record)),
            Output::Ports(order) => self.transport.ports(order),
            Output::AuditLog(order) => {
                if let Some(news) = self.audit.perform(order) {
                    self.agent.handle(self.clock.now(), Input::Audit(Box::new(news)));
                }
            }
            Output::Audit { time, fact } => self.audit.record(time, *fact).await,
        }
        Ok(())
    }

    async fn store_all(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() { Ok(()) } else { self.store.persist(batch).await }
    }

    /// Keeps the relay's answer to "who runs this?" current.
    fn introduce(&self) {
        if let (Some(relay), Some(record)) = (&self.relay, self.agent.own_record()) {
            relay.publish(record, &self.transport.facts().direct);
        }
    }

    fn on_notice(&self, event: Event) {
        if matches!(event, Event::Published { .. }) {
            self.introduce();
        }
        if !matches!(event, Event::Message(_)) {
            debug!(target: "homing::event", ?event, "notice");
        }
        self.health.on_notice(&event);
        if let Event::Message(event) = &event {
            self.mailroom.on_event(event);
        }
        self.events.notice(&event, &self.agent, self.clock.now());
    }
}
