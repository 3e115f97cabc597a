//! Audit logs of a world: leaves in memory, heads and proofs by the real formats, and owners that show two histories.
//!
//! A home keeps its log when its run ends. Entries are not signed one by one: witnesses never see them. Not here:
//! files (`homing-audit`), what is logged and who witnesses (the core).

use std::time::Duration;

use homing_base::derived::Delegation;
use homing_base::{IdentityKey, NodeId, Wall, cbor};
use homing_core::audit::note::KeyType;
use homing_core::audit::tree::consistency_proof;
use homing_core::audit::{
    Checkpoint, Consistency, Fact, Frontier, Hash, NoteSigner, PURPOSE_LOG, SignedNote, origin,
};
use homing_core::io::{Input, LogNews, LogOrder};

use crate::run::{AgentIx, RunIx};
use crate::world::{Event, World};

/// What a write to the log takes.
const WRITE: Duration = Duration::from_millis(1);

/// The log of one home.
#[derive(Debug)]
pub struct AuditLog {
    signer: NoteSigner,
    delegation: Delegation,
    leaves: Vec<Hash>,
    /// Another history, and to whom it is shown.
    forged: Option<(Vec<Hash>, Vec<NodeId>)>,
}

impl AuditLog {
    fn begin(key: &IdentityKey, now: Wall) -> Self {
        let name = origin(&key.node_id(), now);
        let signer = NoteSigner::new(&name, KeyType::Ed25519, key.derive(PURPOSE_LOG));
        let signer = signer.expect("an origin has no white space and no plus");
        let delegation = key.delegate(signer.key().key, PURPOSE_LOG, &name, now);
        Self { signer, delegation, leaves: Vec::new(), forged: None }
    }

    fn push(&mut self, fact: &[u8]) {
        self.leaves.push(Hash::leaf(fact));
        if let Some((forged, _)) = &mut self.forged {
            forged.push(Hash::leaf(&[fact, b"forged"].concat()));
        }
    }

    fn head(&self, leaves: &[Hash]) -> SignedNote {
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        let name = &self.signer.key().name;
        Checkpoint::new(name, frontier.size(), frontier.root()).sign(&self.signer)
    }

    /// The history that this witness is shown.
    fn shown_to(&self, witness: NodeId) -> &[Hash] {
        match &self.forged {
            Some((forged, to)) if to.contains(&witness) => forged,
            _ => &self.leaves,
        }
    }

    fn prove(&self, witness: NodeId, old: u64) -> Option<LogNews> {
        let leaves = self.shown_to(witness);
        let size = leaves.len() as u64;
        if old > size {
            return None;
        }
        let path = consistency_proof(&mut &leaves[..], old, size).ok()?;
        Some(LogNews::Proof { witness, head: self.head(leaves), proof: Consistency { old, path } })
    }
}

impl World {
    /// Tells a run that its log is open, if it keeps one.
    pub(crate) fn open_log(&mut self, run: RunIx) {
        let agent = self.runs[run.0].agent;
        let identity = &self.identities[agent.0];
        if !self.options.audit || identity.hostile {
            return;
        }
        let (host, key, now) = (identity.host, identity.key.clone(), self.now_of(run).wall);
        let log = self.audits.entry((agent, host)).or_insert_with(|| AuditLog::begin(&key, now));
        let head = log.head(&log.leaves);
        let news = LogNews::Opened { delegation: log.delegation.clone(), head };
        self.later(WRITE, Event::Log(run, Box::new(news)));
    }

    fn log_of(&mut self, run: RunIx) -> Option<&mut AuditLog> {
        let home = (self.runs[run.0].agent, self.runs[run.0].socket.host);
        self.audits.get_mut(&home)
    }

    pub(crate) fn log_fact(&mut self, run: RunIx, time: Wall, fact: &Fact) {
        let Some(log) = self.log_of(run) else { return };
        log.push(&[&time.0.to_be_bytes()[..], &cbor::encode(fact)].concat());
        let news = LogNews::Head(log.head(&log.leaves));
        self.later(WRITE, Event::Log(run, Box::new(news)));
    }

    pub(crate) fn order_log(&mut self, run: RunIx, order: LogOrder) {
        let LogOrder::Prove { witness, old } = order else { return };
        let news = self.log_of(run).and_then(|log| log.prove(witness, old));
        if let Some(news) = news {
            self.later(WRITE, Event::Log(run, Box::new(news)));
        }
    }

    pub(crate) fn on_log(&mut self, run: RunIx, news: Box<LogNews>) {
        if self.runs[run.0].alive() {
            self.feed(run, Input::Audit(news));
        }
    }

    /// From now on the owner shows these witnesses another history than everybody else.
    ///
    /// # Panics
    /// When the agent keeps no log.
    pub fn forge_log(&mut self, owner: AgentIx, to: &[AgentIx]) {
        let to = to.iter().map(|agent| self.id(*agent)).collect();
        let run = self.run_of(owner);
        let log = self.log_of(run).expect("the agent keeps a log");
        log.forged = Some((log.leaves.clone(), to));
    }

    /// Something happens that the agent logs.
    pub fn log_something(&mut self, agent: AgentIx) {
        let run = self.run_of(agent);
        let time = self.now_of(run).wall;
        let change = homing_core::audit::entry::RoleChange { role: "relay".into(), on: true };
        self.log_fact(run, time, &Fact::Role(change));
    }
}
