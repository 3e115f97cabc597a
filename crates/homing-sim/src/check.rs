//! What must hold at every moment.
//!
//! * Nothing accepted is taken back ([`crate::disk::Regression`]); nothing is said before it is durable.
//! * A private agent's addresses reach trusted peers only: in records, candidates, dials and paths.
//! * A stream is open only while trust covers it; every command is answered once and in time.
//! * Outputs per input and links per run are bounded.
//!
//! What must hold in the end is in [`crate::converge`].

use std::collections::BTreeMap;

use homing_base::cbor;
use homing_base::limits::RECORD_BYTES_MAX;
use homing_base::{AgentRecord, NodeId, StatementKind, UnverifiedRecord, sign1};
use homing_core::Message;
use homing_core::io::{Answer, DialTarget, Door, Event as Notice, Failure, Write};

use crate::clock::WorldTime;
use crate::link::LinkIx;
use crate::run::RunIx;
use crate::world::{Canary, World};

/// Outputs that one input may cause, beside [`OUTPUTS_PER_LINK_MAX`] for every link.
const OUTPUTS_MAX: u64 = 160;
/// Outputs that one input may cause per link.
const OUTPUTS_PER_LINK_MAX: u64 = 8;
/// Links of one run; the core's own bound.
const LINKS_MAX: usize = 1_024;
/// Links of one run with one other run: the core's bound and those that have not proven themselves yet,
/// of which many come at once when a partition ends.
const LINKS_PER_PEER_MAX: usize = 16;
/// How late an expiry may be noticed, in seconds; a link is looked at every 0.8 s.
const EXPIRY_SECONDS_MAX: u32 = 3;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// When.
    pub at: WorldTime,
    /// At which run.
    pub run: Option<RunIx>,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.run {
            Some(run) => write!(f, "at {} in run {}: {}", self.at, run.0, self.what),
            None => write!(f, "at {}: {}", self.at, self.what),
        }
    }
}

/// The checkers' memory.
#[derive(Debug, Default)]
pub struct Checks {
    findings: Vec<Finding>,
    notices: BTreeMap<&'static str, u64>,
    /// The run that is being drained has written a statement.
    pub(crate) trust_touched: bool,
    /// Streams without trust, by index and side, and for how many seconds.
    untrusted: BTreeMap<(usize, usize), u32>,
    /// Most outputs that one input caused.
    pub burst_max: u64,
    /// Streams let in.
    pub authorized: u64,
    /// DHT messages sent.
    pub dht_messages: u64,
    /// Messages of gossip.
    pub gossip_messages: u64,
}

impl Checks {
    /// What was found, first things first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How often cores notified of something, by kind.
    #[must_use]
    pub fn notices(&self, kind: &str) -> u64 {
        self.notices.get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn count_notice(&mut self, notice: &Notice) {
        let kind = match notice {
            Notice::PeerConnected { .. } => "peer_connected",
            Notice::PeerDisconnected { .. } => "peer_disconnected",
            Notice::PeerMoved { .. } => "peer_moved",
            Notice::TrustChanged { .. } => "trust_changed",
            Notice::TrustRestored { .. } => "trust_restored",
            Notice::Published { .. } => "published",
            Notice::Superseded { .. } => "superseded",
            Notice::Equivocation { .. } => "equivocation",
            Notice::NameMoved { .. } => "name_moved",
            Notice::LogForked { .. } => "log_forked",
            Notice::ClockSkew { .. } => "clock_skew",
            Notice::Misbehaviour { .. } => "misbehaviour",
            _ => "other",
        };
        *self.notices.entry(kind).or_default() += 1;
    }
}

impl World {
    /// Notes something that must not be; the world stops.
    pub fn found(&mut self, run: RunIx, what: String) {
        let at = self.now();
        self.checks.findings.push(Finding { at, run: Some(run), what });
    }

    /// Notes something that must not be, at no run in particular.
    pub fn found_anywhere(&mut self, what: String) {
        let at = self.now();
        self.checks.findings.push(Finding { at, run: None, what });
    }

    /// Whether a run's own store says that it and `peer` trust each other.
    #[must_use]
    pub fn trusts(&self, run: RunIx, peer: NodeId) -> bool {
        let now = self.now_of(run);
        let state = &self.runs[run.0];
        let home = self.homes.get(&(state.agent, state.socket.host));
        home.is_some_and(|disk| disk.mutual(state.node_id, peer, now))
    }

    pub(crate) fn check_burst(&mut self, run: RunIx, outputs: u64) {
        let links = self.runs[run.0].links.len() as u64;
        self.checks.burst_max = self.checks.burst_max.max(outputs);
        if outputs > OUTPUTS_MAX + OUTPUTS_PER_LINK_MAX * links {
            self.found(run, format!("one input caused {outputs} outputs with {links} links"));
        }
        if std::mem::take(&mut self.checks.trust_touched) {
            self.check_streams_of(run);
        }
    }

    pub(crate) fn check_links(&mut self) {
        for ix in (0..self.runs.len()).map(RunIx) {
            let run = &self.runs[ix.0];
            if !self.runs_agent(ix) {
                continue;
            }
            let mut by_peer: BTreeMap<RunIx, usize> = BTreeMap::new();
            for (id, link) in &run.links {
                let link = &self.links[link.0];
                let side = link.side_of(ix, *id).expect("the run's own link");
                *by_peer.entry(link.ends[1 - side].run).or_default() += 1;
            }
            let most = by_peer.values().copied().max().unwrap_or(0);
            if run.links.len() > LINKS_MAX || most > LINKS_PER_PEER_MAX {
                let what = format!("{} links, {most} of them with one peer", run.links.len());
                self.found(ix, what);
            }
        }
    }

    pub(crate) fn check_deadlines(&mut self) {
        let now = self.now();
        let late: Vec<_> = (0..self.runs.len())
            .map(RunIx)
            .flat_map(|ix| self.runs[ix.0].waiting.iter().map(move |(r, w)| (ix, *r, *w)))
            .filter(|(_, _, waiting)| waiting.until < now)
            .collect();
        for (run, request, waiting) in late {
            let what = format!("{request:?} of {} is not answered in time", waiting.since);
            self.found(run, what);
        }
    }

    /// Once a second: no side of a run keeps a stream with a peer that its own store does not trust, for
    /// longer than a core may need to notice that the time has run out, or that its clock was set.
    pub(crate) fn check_streams(&mut self) {
        let before = std::mem::take(&mut self.checks.untrusted);
        for (ix, side) in self.untrusted_streams(None) {
            let seconds = before.get(&(ix, side)).map_or(1, |seconds| seconds + 1);
            self.checks.untrusted.insert((ix, side), seconds);
            if seconds > EXPIRY_SECONDS_MAX {
                let (run, peer) = (self.streams[ix].runs[side], self.streams[ix].peers[1 - side]);
                self.found(run, format!("a stream with {peer:?} stays open without trust"));
            }
        }
    }

    /// At the end of an input that changed trust: not a moment longer.
    fn check_streams_of(&mut self, run: RunIx) {
        if let Some((ix, side)) = self.untrusted_streams(Some(run)).first().copied() {
            let peer = self.streams[ix].peers[1 - side];
            self.found(run, format!("a stream with {peer:?} is open without trust"));
        }
    }

    /// Open ends of streams, of one run or of all, whose own store does not trust the other end.
    fn untrusted_streams(&self, of: Option<RunIx>) -> Vec<(usize, usize)> {
        let ends = self.streams.iter().enumerate().flat_map(|(ix, _)| [(ix, 0), (ix, 1)]);
        ends.filter(|(ix, side)| {
            let (stream, run) = (&self.streams[*ix], self.streams[*ix].runs[*side]);
            let open = stream.open[*side] && stream.since.is_some() && self.runs_agent(run);
            let asked = of.is_none_or(|of| of == run);
            open && asked && !self.trusts(run, stream.peers[1 - *side])
        })
        .collect()
    }

    pub(crate) fn check_authorized(
        &mut self,
        run: RunIx,
        stream: usize,
        answer: &Result<Answer, Failure>,
    ) {
        let Ok(Answer::Authorized { peer }) = answer else { return };
        self.checks.authorized += 1;
        let opener = self.streams[stream].peers[0];
        let service = self.streams[stream].service.clone();
        let me = self.runs[run.0].node_id;
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        let ours = self.homes.get(&home).and_then(|disk| disk.statements.get(&(me, *peer)));
        let covered = ours.is_some_and(|ours| ours.scope().covers(&service));
        if *peer != opener || !self.trusts(run, *peer) || !covered {
            self.found(
                run,
                format!("{opener:?} was let in as {peer:?} without trust for {service}"),
            );
        }
    }

    /// Whether an identity hides its addresses behind a relay.
    fn is_private(&self, peer: NodeId) -> bool {
        let Some(agent) = self.by_node.get(&peer) else { return false };
        let identity = &self.identities[agent.0];
        !identity.relays.is_empty() && identity.serves.is_none()
    }

    pub(crate) fn check_message(&mut self, run: RunIx, ix: LinkIx, message: &Message) {
        match message {
            Message::Hello(hello) => self.check_record(run, &hello.record),
            Message::Records(records) => {
                records.iter().for_each(|record| self.check_record(run, record));
            }
            Message::Answer(answer) => {
                answer.records.iter().for_each(|record| self.check_record(run, record));
            }
            Message::Trust(sync) => {
                if let Some(mine) = &sync.mine {
                    self.check_statement(run, mine);
                }
            }
            Message::Dht(_) => {
                self.checks.dht_messages += 1;
                if self.options.dht.is_none() {
                    self.found(run, "a DHT message although the DHT is off".into());
                }
            }
            Message::Gossip(_) => {
                self.checks.gossip_messages += 1;
                if self.options.gossip.is_none() {
                    self.found(run, "a gossip message although gossip is off".into());
                }
            }
            Message::Candidates(_) => {
                let link = &self.links[ix.0];
                let other = link.ends.iter().find(|end| end.run != run).expect("two runs");
                let peer = self.runs[other.run.0].node_id;
                if self.is_private(self.runs[run.0].node_id) && !self.trusts(run, peer) {
                    self.found(run, format!("direct addresses told to {peer:?} without trust"));
                }
            }
            _ => {}
        }
    }

    fn check_record(&mut self, run: RunIx, bytes: &[u8]) {
        if !self.runs_agent(run) {
            return;
        }
        let Some(record) = content(bytes) else {
            self.found(run, "a record that is none was sent".into());
            return;
        };
        let owner = record.public_key.node_id();
        if self.is_private(owner) && !record.direct.is_empty() {
            self.found(run, format!("a record shows the addresses of {owner:?}"));
        }
        if owner == self.runs[run.0].node_id {
            self.check_own_record(run, &record, bytes);
        }
    }

    /// An own record is durable before anybody sees it; a superseded run may pass the newer one on.
    fn check_own_record(&mut self, run: RunIx, record: &AgentRecord, bytes: &[u8]) {
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        let durable = self.homes[&home].own.as_ref();
        let mine = [self.runs[run.0].front, self.runs[run.0].main].contains(&record.instance);
        if mine && durable.is_none_or(|own| own.sequence < record.sequence) {
            self.found(run, format!("own record {:?} sent before it was durable", record.sequence));
        }
        self.archive.keep_record(bytes);
    }

    fn check_statement(&mut self, run: RunIx, bytes: &[u8]) {
        if !self.runs_agent(run) {
            return;
        }
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        let durable = self.homes[&home].statements.values().any(|s| s.bytes() == bytes);
        self.archive.keep_statement(bytes);
        if !durable {
            self.found(run, "a statement was sent before it was durable".into());
        }
    }

    pub(crate) fn check_dial(&mut self, run: RunIx, target: &DialTarget) {
        let DialTarget::Endpoint { endpoint, from: Door::Main, .. } = target else { return };
        if !self.runs[run.0].two_doors() {
            return;
        }
        let Some((to, _)) = self.endpoints.get(endpoint) else { return };
        let peer = self.runs[to.0].node_id;
        if !self.trusts(run, peer) {
            self.found(run, format!("the main door dials {peer:?}, who is not trusted"));
        }
    }

    /// Whether a run trusts a peer, or did: one that lost the trust while a connection was being made has
    /// seen the addresses before.
    fn ever_trusted(&self, run: RunIx, peer: NodeId) -> bool {
        let state = &self.runs[run.0];
        let disk = &self.homes[&(state.agent, state.socket.host)];
        let ours = disk.statements.get(&(state.node_id, peer));
        ours.is_some_and(|ours| ours.kind != StatementKind::Reject)
    }

    /// A punched link shows each side's address to the other.
    pub(crate) fn check_introduction(&mut self, ix: LinkIx) {
        let link = &self.links[ix.0];
        if !link.paths.direct || link.paths.relay.is_none() {
            return;
        }
        let [a, b] = [0, 1].map(|side| link.ends[side].run);
        for (run, other) in [(a, b), (b, a)] {
            let peer = self.runs[other.0].node_id;
            let private = self.runs[run.0].two_doors() && self.runs_agent(run);
            if private && self.links[ix.0].alive() && !self.ever_trusted(run, peer) {
                self.found(run, format!("a direct path shows its address to {peer:?}"));
            }
        }
    }

    /// Plays a core that believes older records.
    pub(crate) fn play_canary(&mut self, run: RunIx, message: &Message) {
        if self.options.canary != Some(Canary::AcceptOlderRecords) {
            return;
        }
        let Message::Records(records) = message else { return };
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        for bytes in records {
            let parsed =
                UnverifiedRecord::parse(bytes).and_then(UnverifiedRecord::verify_signature);
            let Ok(record) = parsed else { continue };
            let disk = self.homes.get_mut(&home).expect("every run has a home");
            let stored = disk.records.get(&record.node_id());
            if stored.is_none_or(|stored| record.precedence(stored).is_ge()) {
                continue;
            }
            if let Err(regression) = disk.write(vec![Write::Record(record)]) {
                self.found(run, format!("an accepted thing was taken back: {regression}"));
            }
        }
    }
}

/// What a record says; the signature is not looked at, the receivers do that.
fn content(bytes: &[u8]) -> Option<AgentRecord> {
    let (payload, _) = sign1::parse(bytes, RECORD_BYTES_MAX).ok()?;
    cbor::decode(payload, RECORD_BYTES_MAX).ok()
}
