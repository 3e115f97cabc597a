//! One agent home on one host: what survives a crash.
//!
//! A batch is atomic, and durable once it was performed. Because the core's outputs are ordered, the
//! only interesting crashes lie between two of them, and the world can cut there. Not here: the
//! real store; `homing-node` keeps the same rows in SQLite.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use homing_base::statement::SignedStatement;
use homing_base::{Name, NodeId, Now, Record, Seq, Wall};
use homing_core::audit::witness::{Fork, Held, WitnessWrite};
use homing_core::dht::{Contact, Reach};
use homing_core::io::{Batch, Stored, StoredReferences, Write};

use crate::mailbox::Mailbox;

/// The durable rows of one agent home.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The own newest record.
    pub own: Option<Record>,
    /// Newest known records of others.
    pub records: BTreeMap<NodeId, Record>,
    /// Newest statements by (from, to).
    pub statements: BTreeMap<(NodeId, NodeId), SignedStatement>,
    /// Pairs of records with one sequence.
    pub evidence: Vec<(Record, Record)>,
    aliases: BTreeMap<Name, NodeId>,
    pins: BTreeMap<Name, NodeId>,
    last_addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
    last_seen: BTreeMap<NodeId, Wall>,
    dht_contacts: Vec<Contact<Reach>>,
    gossip: BTreeMap<NodeId, (Record, bool)>,
    /// Messages between agents.
    pub mailbox: Mailbox,
    /// References, own and others'.
    pub references: StoredReferences,
    heads: BTreeMap<String, Held>,
    /// Evidence of forked audit logs.
    pub forks: Vec<Fork>,
}

/// A write that takes something back that was already durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Regression {
    /// An own record that is not newer than the one before.
    #[error("own record {got:?} written over {have:?}")]
    OwnRecord {
        /// Stored.
        have: Seq,
        /// Written.
        got: Seq,
    },
    /// A record of another that is older than the stored one.
    #[error("record {got:?} of {peer:?} written over {have:?}")]
    Record {
        /// Whose.
        peer: NodeId,
        /// Stored.
        have: Seq,
        /// Written.
        got: Seq,
    },
    /// A statement that is older than the stored one.
    #[error("statement {got:?} of {from:?} about {to:?} written over {have:?}")]
    Statement {
        /// Who said it.
        from: NodeId,
        /// About whom.
        to: NodeId,
        /// Stored.
        have: Seq,
        /// Written.
        got: Seq,
    },
}

impl Disk {
    /// Performs a batch.
    ///
    /// # Errors
    /// [`Regression`] when the batch replaces something by an older thing; it is written all the same,
    /// as a real disk would.
    pub fn write(&mut self, batch: Batch) -> Result<(), Regression> {
        let mut outcome = Ok(());
        for write in batch {
            outcome = outcome.and(self.write_one(write));
        }
        outcome
    }

    fn write_one(&mut self, write: Write) -> Result<(), Regression> {
        match write {
            Write::OwnRecord(record) => return self.write_own(record),
            Write::Record(record) => return self.write_record(record),
            Write::Statement(statement) => return self.write_statement(statement),
            Write::Evidence { first, second } => self.evidence.push((first, second)),
            Write::Alias { name, peer: Some(peer) } => {
                self.aliases.insert(name, peer);
            }
            Write::Alias { name, peer: None } => {
                self.aliases.remove(&name);
            }
            Write::Pin { name, peer } => {
                self.pins.insert(name, peer);
            }
            Write::LastAddresses { peer, direct } => {
                self.last_addresses.insert(peer, direct);
            }
            Write::LastSeen { peer, at } => {
                self.last_seen.insert(peer, at);
            }
            Write::ForgetRecord(peer) => {
                self.records.remove(&peer);
                self.last_addresses.remove(&peer);
                self.last_seen.remove(&peer);
            }
            Write::DhtContacts(contacts) => self.dht_contacts = contacts,
            Write::GossipEntry { record, local } => {
                self.gossip.insert(record.node_id(), (record, local));
            }
            Write::ForgetGossip(peer) => {
                self.gossip.remove(&peer);
            }
            Write::Message(write) => self.mailbox.write(write),
            Write::Reference(write) => self.references.apply(write),
            Write::Witness(WitnessWrite::Head { origin, held }) => {
                self.heads.insert(origin, held);
            }
            Write::Witness(WitnessWrite::Fork(fork)) => self.forks.push(fork),
        }
        Ok(())
    }

    /// The own record only rises; a run that stands back keeps the newer run's record, which may have
    /// the same sequence.
    fn write_own(&mut self, record: Record) -> Result<(), Regression> {
        let got = record.sequence;
        let Some(old) = self.own.replace(record.clone()) else { return Ok(()) };
        let reused = old.equivocates(&record) && old.instance == record.instance;
        if reused || record.precedence(&old).is_lt() {
            return Err(Regression::OwnRecord { have: old.sequence, got });
        }
        Ok(())
    }

    fn write_record(&mut self, record: Record) -> Result<(), Regression> {
        let (peer, got) = (record.node_id(), record.sequence);
        let older = self.records.get(&peer).filter(|old| record.precedence(old).is_lt());
        let have = older.map(|old| old.sequence);
        self.records.insert(peer, record);
        have.map_or(Ok(()), |have| Err(Regression::Record { peer, have, got }))
    }

    fn write_statement(&mut self, statement: SignedStatement) -> Result<(), Regression> {
        let (from, to, got) = (statement.from.node_id(), statement.to, statement.sequence);
        match self.statements.insert((from, to), statement) {
            Some(old) if old.sequence > got => {
                Err(Regression::Statement { from, to, have: old.sequence, got })
            }
            _ => Ok(()),
        }
    }

    /// What a new run reads back.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            own_record: self.own.clone(),
            records: self.records.values().cloned().collect(),
            statements: self.statements.values().cloned().collect(),
            aliases: self.aliases.iter().map(|(n, p)| (n.clone(), *p)).collect(),
            pins: self.pins.iter().map(|(n, p)| (n.clone(), *p)).collect(),
            last_addresses: self.last_addresses.iter().map(|(p, d)| (*p, d.clone())).collect(),
            last_seen: self.last_seen.iter().map(|(p, at)| (*p, *at)).collect(),
            dht_contacts: self.dht_contacts.clone(),
            gossip: self.gossip.values().cloned().collect(),
            messages: self.mailbox.stored(),
            references: self.references.clone(),
            heads: self.heads.values().cloned().collect(),
            forks: self.forks.clone(),
        }
    }

    /// Whether the newest statements here say that `me` and `peer` trust each other.
    #[must_use]
    pub fn mutual(&self, me: NodeId, peer: NodeId, now: Now) -> bool {
        let consents = |from, to| {
            self.statements.get(&(from, to)).is_some_and(|statement| statement.consents(now))
        };
        consents(me, peer) && consents(peer, me)
    }
}
