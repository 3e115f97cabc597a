//! What a user can want of references, what is kept of them, and what is seen. Plain values.
//!
//! The decisions are in [`crate::references`]; keys and bytes in [`homing_base::reference`].

use std::time::Duration;

use homing_base::{IpnsName, NodeId, Reference, ReferenceName, Wall};

use super::{Kind, Slot};

/// Which reference is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceKey {
    /// By whose it is and what they call it.
    Bound {
        /// Its owner.
        owner: NodeId,
        /// Its name.
        name: ReferenceName,
    },
    /// By its IPNS name.
    Ipns(IpnsName),
}

impl ReferenceKey {
    /// Its place in the DHT.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Bound { owner, name } => Slot { kind: Kind::Bound, key: name.point(owner) },
            Self::Ipns(name) => Slot { kind: Kind::Reference, key: name.point() },
        }
    }
}

impl std::fmt::Display for ReferenceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bound { owner, name } => write!(f, "{}/{name}", owner.fmt_short()),
            Self::Ipns(name) => name.fmt(f),
        }
    }
}

/// What the local user can want.
#[derive(Clone, Debug)]
pub enum ReferenceCommand {
    /// Point a reference of ours somewhere.
    Publish {
        /// Which.
        name: ReferenceName,
        /// A content path.
        value: String,
        /// How long the record is valid; `None`: as before, or the default.
        lifetime: Option<Duration>,
        /// How long readers may keep it without asking; `None`: as before, or the default.
        ttl: Option<Duration>,
        /// Who is asked to keep it alive; `None`: as before.
        keepers: Option<Vec<NodeId>>,
    },
    /// Sign and announce it anew now.
    Renew(ReferenceName),
    /// Take it back for good: its key is not used again.
    Withdraw(ReferenceName),
    /// Keep a reference of another alive, or no longer.
    Keep {
        /// Which.
        key: ReferenceKey,
        /// Keep it.
        keep: bool,
    },
    /// A verified record from a registry's clients: keep it for a while and store it in the DHT.
    Offer(Box<Reference>),
}

/// A change of what is kept. Durable.
#[derive(Clone, Debug, PartialEq)]
pub enum ReferenceWrite {
    /// A reference of ours, in place of what was known of it.
    Own(Box<OwnReference>),
    /// A further version of it.
    Version {
        /// Which.
        name: ReferenceName,
        /// What it says.
        version: Version,
    },
    /// The newest known of another's.
    Known(Box<KnownReference>),
    /// Nothing is known of another's any more.
    Forget(Slot),
}

/// A reference of this identity.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnReference {
    /// How often its name was used for a new key.
    pub generation: u32,
    /// How long each record is valid.
    pub lifetime: Duration,
    /// How long readers may keep it.
    pub ttl: Duration,
    /// Who is asked to keep it alive.
    pub keepers: Vec<NodeId>,
    /// The newest record, bound.
    pub reference: Reference,
    /// What it pointed to, oldest first, at most [`crate::references::limits::HISTORY_MAX`].
    pub history: Vec<Version>,
}

/// What a reference pointed to, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its sequence.
    pub sequence: u64,
    /// The content path.
    pub value: String,
    /// The path before; `None`: it was the first.
    pub previous: Option<String>,
    /// When it was published, by our clock.
    pub at: Wall,
    /// The IPNS name that it was published under.
    pub ipns: IpnsName,
    /// It is the end: the reference was withdrawn.
    pub withdrawn: bool,
}

/// What is known of another's reference.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownReference {
    /// Where it is found.
    pub slot: Slot,
    /// The newest; `None`: it is to be kept, and nothing was found yet.
    pub reference: Option<Reference>,
    /// Since when this version is known.
    pub since: Wall,
    /// Who wants it kept alive here; `None`: nobody, it was only looked up.
    pub kept: Option<Keep>,
}

/// Why a reference of another is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// What it is called.
    pub key: ReferenceKey,
    /// Its owner asked, not the local user.
    pub asked: bool,
}

/// What is read back at start.
#[derive(Clone, Debug, Default)]
pub struct StoredReferences {
    /// References of this identity.
    pub own: Vec<OwnReference>,
    /// What is known of others'.
    pub known: Vec<KnownReference>,
}

impl StoredReferences {
    /// Performs one change, as a store would.
    pub fn apply(&mut self, write: ReferenceWrite) {
        match write {
            ReferenceWrite::Own(own) => {
                let place = |o: &OwnReference| o.reference.point();
                self.own.retain(|o| place(o) != place(&own));
                self.own.push(*own);
            }
            // It is in the history of what was written before.
            ReferenceWrite::Version { .. } => {}
            ReferenceWrite::Known(known) => {
                self.known.retain(|k| k.slot != known.slot);
                self.known.push(*known);
            }
            ReferenceWrite::Forget(slot) => self.known.retain(|k| k.slot != slot),
        }
    }
}

/// A resolved reference, and who said so.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceResolution {
    /// The newest that was found.
    pub reference: Reference,
    /// The layer that gave it.
    pub layer: super::Layer,
    /// Replicas in the DHT that were asked and had one.
    pub replicas: u32,
    /// Of these, the ones that had the newest.
    pub agreed: u32,
    /// Peers that were asked directly and had the newest.
    pub peers: Vec<NodeId>,
    /// From command to answer.
    pub elapsed: Duration,
}

/// One reference, as its owner or keeper sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceView {
    /// Which.
    pub key: ReferenceKey,
    /// The newest; `None`: it is to be kept, and nothing was found yet.
    pub reference: Option<Reference>,
    /// It is this identity's.
    pub own: bool,
    /// How long a record of it is valid, from its signature (own) or from when it was first seen.
    pub lifetime: Duration,
    /// Who is asked to keep it alive, and until when what they hold is valid.
    pub keepers: Vec<(NodeId, Option<Wall>)>,
    /// Nodes of the DHT that took the last copy, of so many that were asked; `None`: not stored yet.
    pub replicas: Option<(usize, usize)>,
    /// End of the newest record that somebody else holds; `None`: nobody is known to.
    pub outside: Option<Wall>,
    /// When it will be signed anew (own) or announced again.
    pub next: Option<Wall>,
    /// Versions so far, oldest first (own only).
    pub history: Vec<Version>,
    /// So long was its owner away before the last start, and nobody keeps it alive (own only).
    pub away: Option<Duration>,
    /// It is too early to say that nobody else holds it (own only).
    pub settling: bool,
}

impl ReferenceView {
    /// How long others can still resolve it if nothing more happens.
    #[must_use]
    pub fn remaining(&self, now: Wall) -> Duration {
        self.outside.map_or(Duration::ZERO, |ends| ends.since(now))
    }

    /// Whether its owner has taken it back.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.reference.as_ref().is_some_and(Reference::is_withdrawn)
    }
}

/// What a user would notice about references.
#[derive(Clone, Debug, PartialEq)]
pub enum ReferenceEvent {
    /// A reference of ours points to something else. The record and the version say all.
    Updated {
        /// Which.
        name: ReferenceName,
        /// What it says now.
        version: Version,
        /// The signed record.
        reference: Box<Reference>,
    },
    /// A reference of ours was signed anew, or is held elsewhere again.
    Renewed {
        /// Which.
        name: ReferenceName,
        /// Its new end.
        ends: Wall,
    },
    /// A reference that we keep for another moved on.
    Moved {
        /// Which.
        key: ReferenceKey,
        /// Its sequence.
        sequence: u64,
    },
}

/// How references are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceSettings {
    /// Trusted peers may ask this agent to keep theirs alive.
    pub keep_for_trusted: bool,
    /// How often own records are signed anew, at most; shorter for short lifetimes.
    pub renew: Duration,
    /// How often what is kept is announced.
    pub announce: Duration,
    /// Lifetime of a record when the user names none.
    pub lifetime: Duration,
    /// References travel between trusted peers; the agent sets it as it takes part in gossip or not.
    pub gossip: bool,
}

impl Default for ReferenceSettings {
    fn default() -> Self {
        Self {
            keep_for_trusted: true,
            renew: Duration::from_secs(4 * 3_600),
            announce: Duration::from_secs(3_600),
            lifetime: Duration::from_secs(7 * 24 * 3_600),
            gossip: true,
        }
    }
}
