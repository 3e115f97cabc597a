//! The simulated shell: hands inputs to the core and performs its outputs, in order.
//!
//! A run may be told to die instead of performing its nth output; nothing behind that output happens.
//! Everything that crosses a link is encoded and decoded, so the codec sees real traffic.

use std::time::Duration;

use homing_core::Message;
use homing_core::io::{
    Answer, Batch, Command, DialId, DialTarget, Door, EndpointFacts, Event as Notice, Failure,
    Input, LinkId, Output, RequestId, TrustState, Write,
};
use homing_core::message::Network as Measured;

use crate::link::{Frame, LinkIx};
use crate::run::{About, Answered, Attempt, Mind, RunIx, Waiting};
use crate::world::{Canary, Event, World};

/// Answers may come this much later than the command's own timeout.
const ANSWER_GRACE: Duration = Duration::from_millis(250);
/// Commands without a timeout of their own may look a peer up first.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// From `Expel` to the end of links that the core did not close.
const EXPEL_GRACE: Duration = Duration::from_secs(2);

impl World {
    /// One input and everything that follows from it.
    pub(crate) fn feed(&mut self, run: RunIx, input: Input) {
        let now = self.now_of(run);
        self.trace_input(run, &input);
        match &mut self.runs[run.0].mind {
            Mind::Agent(agent) => {
                agent.handle(now, input);
                self.drain(run);
                self.schedule_wake(run);
            }
            Mind::Hostile(_) => self.feed_hostile(run, input),
            Mind::Over => {}
        }
    }

    fn drain(&mut self, run: RunIx) {
        let mut performed = 0;
        loop {
            let state = &mut self.runs[run.0];
            let Mind::Agent(agent) = &mut state.mind else { return };
            let Some(output) = agent.poll_output() else { break };
            if state.crash_at.is_some_and(|at| state.outputs >= at) {
                self.kill_run(run);
                return;
            }
            self.runs[run.0].outputs += 1;
            performed += 1;
            self.perform(run, output);
        }
        self.check_burst(run, performed);
    }

    /// Performs one output.
    pub(crate) fn perform(&mut self, run: RunIx, output: Output) {
        if !matches!(output, Output::Send { .. }) {
            self.trace_output(run, &output);
        }
        match output {
            Output::Persist(batch) => self.persist(run, batch),
            Output::Dial { dial, target } => self.start_dial(run, dial, target),
            Output::Send { link, message } => {
                let bytes = message.encode();
                self.trace_sent(run, link, &message, &bytes);
                self.send(run, link, &message, bytes);
            }
            Output::Close { link, reason } => self.close(run, link, &format!("{reason:?}")),
            Output::Sever { peer } => self.sever(run, peer),
            // The streams of worlds are all for one service.
            Output::Confine { .. } => {}
            Output::Admit { endpoint, peer } => {
                self.runs[run.0].admitted.insert(endpoint, peer);
            }
            Output::Expel { endpoint } => self.expel(run, endpoint),
            Output::Reply { request, answer } => self.reply(run, request, answer),
            Output::Notify(notice) => self.notice(run, &notice),
            // Worlds have no registries.
            Output::Heard { .. } => {}
            Output::Audit { time, fact } => self.log_fact(run, time, &fact),
            Output::AuditLog(order) => self.order_log(run, order),
            // Its NATs are passed or not; ports are not modelled.
            Output::Ports(_) => {}
        }
    }

    fn persist(&mut self, run: RunIx, batch: Batch) {
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        let touches_trust = batch.iter().any(|write| matches!(write, Write::Statement(_)));
        if self.options.canary == Some(Canary::ForgetPersist) && self.chance.happens(300) {
            return;
        }
        let disk = self.homes.get_mut(&home).expect("every run has a home");
        if let Err(regression) = disk.write(batch) {
            self.found(run, format!("an accepted thing was taken back: {regression}"));
        }
        self.checks.trust_touched |= touches_trust;
    }

    fn start_dial(&mut self, run: RunIx, dial: DialId, target: DialTarget) {
        self.check_dial(run, &target);
        let since = self.now();
        let before = self.runs[run.0].dials.insert(dial, Attempt { target, since });
        if before.is_some() {
            self.found(run, format!("{dial:?} was used twice"));
        }
        let setup = Duration::from_micros(300 + self.chance.below(700));
        self.later(setup, Event::Attempt(run, dial, 0));
    }

    /// Sends over a link; one that is gone swallows it.
    fn send(&mut self, run: RunIx, link: LinkId, message: &Message, bytes: Vec<u8>) {
        self.runs[run.0].messages += 1;
        let Some(ix) = self.runs[run.0].links.get(&link).copied() else { return };
        self.check_message(run, ix, message);
        self.push_frame(run, ix, Frame::Message(bytes));
    }

    /// Sends bytes that need not be a message.
    pub(crate) fn push_frame(&mut self, run: RunIx, ix: LinkIx, frame: Frame) {
        let (now, loss) = (self.now(), self.options.loss);
        let [a, b] = [0, 1].map(|side| self.links[ix.0].ends[side].run);
        let one_way = self.one_way(a, b, self.links[ix.0].paths);
        let link = &mut self.links[ix.0];
        let side = usize::from(link.ends[0].run != run);
        let lane = &mut link.lanes[side];
        let due = lane.push(now, one_way, loss, &mut self.chance, frame);
        if lane.frames.len() == 1 {
            self.queue.push(due, Event::Deliver(ix, side));
        }
    }

    /// Closes a link from this side, after what was sent before.
    pub(crate) fn close(&mut self, run: RunIx, link: LinkId, why: &str) {
        let Some(ix) = self.runs[run.0].links.remove(&link) else { return };
        self.push_frame(run, ix, Frame::Close(why.to_owned()));
        let side = self.links[ix.0].side_of(run, link).expect("the run's own link");
        self.links[ix.0].ends[side].open = false;
        if !self.links[ix.0].alive() {
            self.live_links.remove(&ix);
        }
        if self.options.echo_close {
            self.later(Duration::from_micros(10), Event::LinkDown(ix, side, "closed here"));
        }
    }

    fn expel(&mut self, run: RunIx, endpoint: homing_base::InstanceId) {
        self.runs[run.0].admitted.remove(&endpoint);
        self.end_streams_with(run, endpoint);
        let links: Vec<_> = self.runs[run.0].links.iter().map(|(id, ix)| (*id, *ix)).collect();
        for (id, ix) in links {
            let side = self.links[ix.0].side_of(run, id).expect("the run's own link");
            let ours = self.links[ix.0].ends[side];
            if ours.door == Door::Main && self.links[ix.0].ends[1 - side].endpoint == endpoint {
                self.plan(EXPEL_GRACE, move |world| world.cut_expelled(run, id, endpoint));
            }
        }
    }

    /// A link that the core has not closed itself ends some time after its peer was expelled.
    fn cut_expelled(&mut self, run: RunIx, link: LinkId, endpoint: homing_base::InstanceId) {
        if self.runs[run.0].admitted.contains_key(&endpoint) {
            return;
        }
        let Some(ix) = self.runs[run.0].links.get(&link).copied() else { return };
        let side = self.links[ix.0].side_of(run, link).expect("the run's own link");
        self.push_frame(run, ix, Frame::Close("expelled".into()));
        self.link_down(ix, side, "expelled");
    }

    /// Bytes arrive.
    pub(crate) fn receive(&mut self, run: RunIx, link: LinkId, bytes: &[u8]) {
        let input = match Message::decode(bytes) {
            Ok(message) => {
                self.play_canary(run, &message);
                Input::Message { link, message: Box::new(message) }
            }
            Err(_) => Input::Garbage { link },
        };
        self.feed(run, input);
    }

    /// A user of this run wants something.
    pub fn command(&mut self, run: RunIx, command: Command) -> RequestId {
        self.command_about(run, command, About::Other)
    }

    pub(crate) fn command_about(
        &mut self,
        run: RunIx,
        command: Command,
        about: About,
    ) -> RequestId {
        let since = self.now();
        let limit = match &command {
            Command::Resolve { timeout, .. }
            | Command::Ping { timeout, .. }
            | Command::Connect { timeout, .. }
            | Command::DhtLookup { timeout, .. } => *timeout + ANSWER_GRACE,
            Command::Handshake { .. } | Command::Alias { .. } | Command::Send { .. } => {
                ANSWER_LIMIT
            }
            _ => ANSWER_GRACE,
        };
        let state = &mut self.runs[run.0];
        let request = RequestId(state.fresh_number());
        if !state.alive() {
            // It died over the command before this one: nobody is there to answer.
            return request;
        }
        state.waiting.insert(request, Waiting { since, until: since.after(limit), about });
        self.feed(run, Input::Command { request, command });
        request
    }

    fn reply(&mut self, run: RunIx, request: RequestId, answer: Result<Answer, Failure>) {
        let at = self.now();
        let Some(waiting) = self.runs[run.0].waiting.remove(&request) else {
            self.found(run, format!("{request:?} was answered twice or never asked"));
            return;
        };
        match (waiting.about, &answer) {
            (About::Authorize { stream }, answer) => {
                let yes = answer.is_ok();
                self.check_authorized(run, stream, answer);
                self.stream_decided(stream, yes);
            }
            (About::Connect, Ok(Answer::Connected { peer, target, .. })) => {
                self.open_stream(run, *peer, target.clone());
            }
            (About::Stop, _) => self.plan(Duration::ZERO, move |world| world.stopped(run)),
            _ => {}
        }
        let answered = Answered { asked: waiting.since, at, answer };
        self.runs[run.0].answered.insert(request, answered);
    }

    fn notice(&mut self, run: RunIx, notice: &Notice) {
        self.checks.count_notice(notice);
        let pending = matches!(notice, Notice::TrustChanged { to: TrustState::Pending, .. });
        if pending && self.options.approve {
            let thinks = Duration::from_millis(50 + self.chance.below(700));
            self.later(thinks, Event::Review(run));
        }
    }

    /// The user of an agent looks at the pending requests and approves them.
    pub fn review_now(&mut self, agent: crate::run::AgentIx) {
        self.review(self.run_of(agent));
    }

    /// A user approves whatever is pending.
    pub(crate) fn review(&mut self, run: RunIx) {
        let now = self.now_of(run);
        let Some(core) = self.runs[run.0].core() else { return };
        let pending = core.peers(now).into_iter();
        let pending: Vec<_> =
            pending.filter(|p| p.trust.state == TrustState::Pending).map(|p| p.node_id).collect();
        for peer in pending {
            let peer = homing_core::io::PeerRef::NodeId(peer);
            self.command(run, Command::Approve { peer, services: None, lifetime: None });
        }
    }

    /// Tells a run what it would have measured by now.
    pub(crate) fn tell_facts(&mut self, run: RunIx) {
        if !self.runs[run.0].alive() {
            return;
        }
        let facts = self.facts(run);
        self.feed(run, Input::Endpoint(Box::new(facts)));
    }

    fn facts(&mut self, run: RunIx) -> EndpointFacts {
        let now = self.now();
        let (agent, socket) = (self.runs[run.0].agent, self.runs[run.0].socket);
        let kind = self.network.kind(socket.host);
        let configured = &self.identities[agent.0].relays;
        let reached: Vec<_> =
            configured.iter().copied().filter(|relay| self.attached(run, *relay)).collect();
        // While none answers, those that are configured are the best guess.
        let first = self.runs[run.0].since.after(Duration::from_millis(20)) > now;
        let named = if reached.is_empty() { configured.clone() } else { reached.clone() };
        let relays = named.iter().map(|r| self.relays[r.0].reference.clone()).collect();
        let direct = match (kind.udp(), first) {
            (false, _) => Vec::new(),
            (true, true) => vec![self.network.local(socket)],
            (true, false) => self.network.candidates(now, socket),
        };
        let measured = |value| (!first).then_some(value);
        EndpointFacts {
            relays,
            direct,
            publish_direct: !self.runs[run.0].two_doors(),
            online: self.identities[agent.0].relays.is_empty() || !reached.is_empty(),
            network: Measured {
                udp_v4: measured(kind.udp()),
                udp_v6: measured(false),
                mapping_varies: measured(kind.mapping_varies()),
            },
        }
    }

    fn trace_input(&mut self, run: RunIx, input: &Input) {
        let (kind, number) = match input {
            Input::LinkUp(up) => (1, up.link.0),
            Input::LinkDown { link, .. } => (2, link.0),
            Input::Message { link, .. } => (3, link.0),
            Input::Garbage { link } => (4, link.0),
            Input::DialFailed { dial, .. } => (5, dial.0),
            Input::Endpoint(_) => (6, 0),
            Input::Command { request, .. } => (7, request.0),
            Input::Wakeup => (8, 0),
            Input::Audit(_) => (9, 0),
            Input::Ports(_) => (10, 0),
        };
        let at = self.now();
        let describe = || format!("<- {}", shortened(input));
        self.trace.step(at, run, kind, &number.to_be_bytes(), describe);
    }

    fn trace_sent(&mut self, run: RunIx, link: LinkId, message: &Message, bytes: &[u8]) {
        let at = self.now();
        let describe = || format!("-> {link:?} {}", shortened(message));
        self.trace.step(at, run, 34, bytes, describe);
    }

    fn trace_output(&mut self, run: RunIx, output: &Output) {
        let (kind, bytes) = match output {
            Output::Persist(batch) => (32, persisted_bytes(batch)),
            Output::Dial { dial, .. } => (33, dial.0.to_be_bytes().to_vec()),
            Output::Send { .. } => return,
            Output::Close { link, .. } => (35, link.0.to_be_bytes().to_vec()),
            Output::Sever { peer } => (36, peer.0.to_vec()),
            Output::Confine { .. } => return,
            Output::Admit { endpoint, .. } => (37, endpoint.0.to_vec()),
            Output::Expel { endpoint } => (38, endpoint.0.to_vec()),
            Output::Reply { request, .. } => (39, request.0.to_be_bytes().to_vec()),
            Output::Notify(_) => (40, Vec::new()),
            Output::Heard { record, .. } => (41, record.bytes().to_vec()),
            Output::Audit { fact, .. } => (42, homing_base::cbor::encode(fact)),
            Output::AuditLog(_) => (43, Vec::new()),
            Output::Ports(_) => (44, Vec::new()),
        };
        let at = self.now();
        self.trace.step(at, run, kind, &bytes, || format!("-> {}", shortened(output)));
    }
}

/// The signed bytes of a batch, which identify it.
fn persisted_bytes(batch: &Batch) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(batch.len()).unwrap_or(u8::MAX)];
    for write in batch {
        match write {
            Write::OwnRecord(record) | Write::Record(record) => bytes.extend(record.bytes()),
            Write::Statement(statement) => bytes.extend(statement.bytes()),
            Write::LastSeen { at, .. } => bytes.extend(at.0.to_be_bytes()),
            _ => bytes.push(0),
        }
    }
    bytes
}

fn shortened(thing: &impl std::fmt::Debug) -> String {
    let text = format!("{thing:?}");
    let cut = text.char_indices().nth(600).map_or(text.len(), |(at, _)| at);
    text[..cut].to_owned()
}
