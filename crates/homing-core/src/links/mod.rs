//! Links: one transport connection each, from "somebody is there" to "it is this peer" to gone.
//!
//! ```text
//! LinkUp ──► greeting ──valid Hello──► proven ──silence, Bye, LinkDown──► gone
//!               └──5 s, bad Hello──────────────────────────────────────────┘
//! ```
//! This module keeps the table and answers questions about it: who has which links ([`Links`]), is
//! a [`hello`] valid, who is silent ([`liveness`]), which link is one too many ([`duplicates`]), when
//! to dial again ([`redial`]), who is too fast ([`rate`]), who may use the main door
//! ([`admission`]). Not here: what is said over links; that is composed in `agent`.

pub(crate) mod admission;
pub(crate) mod duplicates;
pub(crate) mod hello;
pub(crate) mod liveness;
pub(crate) mod rate;
pub(crate) mod redial;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use homing_base::{InstanceId, Mono, NodeId, Seq};

use crate::io::{DialId, Door, LinkId, LinkUp, Reach};
use crate::limits::{
    DHT_MESSAGES_BURST, DHT_MESSAGES_PER_SECOND, GOSSIP_MESSAGES_BURST, GOSSIP_MESSAGES_PER_SECOND,
    MAIL_BURST, MAIL_PER_SECOND, MESSAGES_BURST, MESSAGES_PER_SECOND, REFERENCES_BURST,
    REFERENCES_PER_SECOND, STATEMENTS_BURST, STATEMENTS_PER_MINUTE,
};
use crate::message::{Candidates, TrustSync};
use liveness::Pulse;
use rate::Bucket;

/// One transport connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub id: LinkId,
    /// The attempt that led to it; `None`: the peer dialled.
    pub dial: Option<DialId>,
    /// The endpoint key that the transport proved.
    pub remote: InstanceId,
    pub door: Door,
    /// It ends at our main door (or our only one).
    pub main_here: bool,
    pub up_at: Mono,
    pub proven: Option<Proven>,
    pub pulse: Pulse,
    pub messages: Bucket,
    pub statements: Bucket,
    pub told: Told,
    /// Keys whose changes the peer wants to hear of.
    pub watches: BTreeSet<NodeId>,
    /// Unreadable messages so far.
    pub garbage: u32,
    /// Since when nobody here needs it.
    pub idle_since: Option<Mono>,
    /// It is for a few DHT messages: it is neither probed nor anybody's neighbour.
    pub brief: bool,
    /// What the peer's `Hello` says of the DHT: it serves, it asks, or nothing.
    pub dht: Option<bool>,
    /// Where the peer's record says it is.
    pub place: Option<Reach>,
    /// The program version that the peer told, cut to what is shown.
    pub software: Option<String>,
    pub dht_messages: Bucket,
    pub gossip_messages: Bucket,
    pub mail: Bucket,
    /// Budget for what is said about references.
    pub references: Bucket,
    /// Its packets travel through a relay, as the shell says.
    pub relayed: bool,
    /// When the DHT last sent something over it.
    pub dht_sent: Mono,
    /// A DHT request left then, and nothing was heard since.
    pub dht_waits: Option<Mono>,
}

/// What a valid `Hello` showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proven {
    pub peer: NodeId,
    /// The peer's run.
    pub instance: InstanceId,
    /// It answers strangers' questions.
    pub public: bool,
    pub at: Mono,
    /// The peer has proven us, too: it sent what only follows our `Hello`.
    pub confirmed: bool,
}

/// What was last said over a link, so that nothing is said twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The sequence of the own record.
    pub record: Option<Seq>,
    pub trust: Option<TrustSync>,
    pub trust_at: Mono,
    pub trust_repeats: u32,
    pub candidates: Option<Candidates>,
    pub watch: Option<Vec<NodeId>>,
}

impl Link {
    pub(crate) fn new(now: Mono, up: LinkUp, main_here: bool) -> Self {
        Self {
            id: up.link,
            dial: up.dial,
            remote: up.remote,
            door: up.door,
            main_here,
            up_at: now,
            proven: None,
            pulse: Pulse::new(now),
            messages: Bucket::new(now, MESSAGES_BURST, MESSAGES_PER_SECOND * 60),
            statements: Bucket::new(now, STATEMENTS_BURST, STATEMENTS_PER_MINUTE),
            told: Told::default(),
            watches: BTreeSet::new(),
            garbage: 0,
            idle_since: None,
            brief: false,
            dht: None,
            place: None,
            software: None,
            dht_messages: Bucket::new(now, DHT_MESSAGES_BURST, DHT_MESSAGES_PER_SECOND * 60),
            gossip_messages: Bucket::new(
                now,
                GOSSIP_MESSAGES_BURST,
                GOSSIP_MESSAGES_PER_SECOND * 60,
            ),
            mail: Bucket::new(now, MAIL_BURST, MAIL_PER_SECOND * 60),
            references: Bucket::new(now, REFERENCES_BURST, REFERENCES_PER_SECOND * 60),
            relayed: false,
            dht_sent: now,
            dht_waits: None,
        }
    }

    /// When it was last of use to the DHT.
    pub(crate) fn dht_used(&self) -> Mono {
        self.dht_sent.max(self.pulse.heard)
    }

    pub(crate) fn peer(&self) -> Option<NodeId> {
        self.proven.map(|p| p.peer)
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.proven.is_some_and(|p| p.confirmed)
    }
}

/// Every link of an agent.
#[derive(Debug, Default)]
pub(crate) struct Links {
    table: BTreeMap<LinkId, Link>,
    by_peer: BTreeMap<NodeId, BTreeSet<LinkId>>,
}

impl Links {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn insert(&mut self, link: Link) {
        self.table.insert(link.id, link);
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.table.get(&id)
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.table.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.table.remove(&id)?;
        if let Some(peer) = link.peer()
            && let Some(ids) = self.by_peer.get_mut(&peer)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        Some(link)
    }

    /// Marks a link as proven.
    pub(crate) fn prove(&mut self, id: LinkId, proven: Proven) {
        if let Some(link) = self.table.get_mut(&id) {
            link.proven = Some(proven);
            self.by_peer.entry(proven.peer).or_default().insert(id);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.table.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.table.values_mut()
    }

    pub(crate) fn proven(&self) -> impl Iterator<Item = (&Link, Proven)> {
        self.table.values().filter_map(|l| l.proven.map(|p| (l, p)))
    }

    /// The proven links with a peer, oldest first.
    pub(crate) fn of(&self, peer: NodeId) -> impl Iterator<Item = &Link> {
        self.by_peer.get(&peer).into_iter().flatten().filter_map(|id| self.table.get(id))
    }

    pub(crate) fn ids_of(&self, peer: NodeId) -> Vec<LinkId> {
        self.of(peer).map(|l| l.id).collect()
    }

    pub(crate) fn is_connected(&self, peer: NodeId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Whether there is a link with the peer that is not doubted.
    pub(crate) fn carries(&self, peer: NodeId) -> bool {
        self.of(peer).any(|link| !link.pulse.is_doubted())
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.by_peer.keys().copied()
    }

    /// Whether there is a link that is not only for the DHT.
    pub(crate) fn has_lasting(&self, peer: NodeId) -> bool {
        self.of(peer).any(|l| !l.brief)
    }

    /// Links that are not only for the DHT.
    pub(crate) fn lasting(&self) -> usize {
        self.iter().filter(|l| !l.brief).count()
    }

    pub(crate) fn unproven_inbound(&self) -> usize {
        self.iter().filter(|l| l.proven.is_none() && l.dial.is_none()).count()
    }

    /// The link to talk to a peer over: doubted ones last, then brief ones; main door first, then the one
    /// heard last.
    pub(crate) fn best(&self, peer: NodeId, main_there: Option<InstanceId>) -> Option<&Link> {
        self.of(peer).max_by_key(|l| {
            let main = l.main_here && main_there == Some(l.remote);
            (!l.pulse.is_doubted(), main, !l.brief, l.is_confirmed(), l.pulse.heard, l.id)
        })
    }
}
