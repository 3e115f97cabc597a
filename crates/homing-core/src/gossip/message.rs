//! What gossiping nodes say to each other. The byte form is in [`super::wire`].
//!
//! ```text
//! Push    {hops, record}…       fresh records, along the tree                → Prune when known already
//! Have    {sync, item…}         "I hold these"                               → Want
//! Want    {graft, prefix…}      "send me these"; graft: and push from now on → Records
//! Records {hops, record}…       what was wanted
//! Prune                         "announce to me, do not push"
//! Ranges  {salt, cut, depth, range…}   one step of a reconciliation          → Ranges, Have, Want
//! ```

use homing_base::{NodeId, Seq, Wall};

use super::value::{Value, prefix};

/// Bytes of an [`Item`]: prefix 8, sequence 8, mark 4.
pub const ITEM_BYTES: usize = 20;

/// One message; `W` is a value as it travels.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<W> {
    /// Fresh records, unasked.
    Push(Vec<Carried<W>>),
    /// "I hold these."
    Have {
        /// Found by reconciliation: take them at once, the tree is not at fault.
        sync: bool,
        /// What is held.
        items: Vec<Item>,
    },
    /// "Send me these."
    Want {
        /// The push should have come this way: make the link eager.
        graft: bool,
        /// Prefixes of node IDs.
        prefixes: Vec<u64>,
    },
    /// What was wanted.
    Records(Vec<Carried<W>>),
    /// "I get these from others: announce, do not push."
    Prune,
    /// One step of a reconciliation.
    Ranges(Ranges),
}

/// A record under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried<W> {
    /// Links it came over; told, not signed, and believed by nobody.
    pub hops: u8,
    /// The signed record.
    pub wire: W,
}

/// One version of one entry, short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// First 8 bytes of the node ID.
    pub prefix: u64,
    /// Which version.
    pub sequence: Seq,
    /// First 4 bytes of the record's hash.
    pub mark: u32,
}

impl Item {
    /// Of an entry.
    #[must_use]
    pub fn of(id: &NodeId, sequence: Seq, mark: u64) -> Self {
        Self { prefix: prefix(id), sequence, mark: (mark >> 32) as u32 }
    }
}

/// One step of a reconciliation.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// Drawn by whoever began; keys the fingerprints of this reconciliation.
    pub salt: u64,
    /// Entries that expire earlier are left out.
    pub cut: Wall,
    /// The sender's horizon: it keeps IDs that share this many first bits with its own.
    pub depth: u8,
    /// In ascending order, disjoint; none: nothing (more) differs.
    pub ranges: Vec<Range>,
}

/// A range of the ID space, both ends included, and what the sender holds in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first prefix.
    pub from: u64,
    /// The last prefix.
    pub to: u64,
    /// What is there.
    pub body: RangeBody,
}

/// What a node holds in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeBody {
    /// So many entries, with this sum.
    Summary {
        /// Entries.
        count: u32,
        /// See [`super::table`].
        fingerprint: u64,
    },
    /// Exactly these, ascending.
    List(Vec<Item>),
}

impl<W> Message<W> {
    /// Bytes of the wire form, without building it.
    #[must_use]
    pub fn wire_len<V: Value<Wire = W>>(&self) -> usize {
        super::wire::message_len::<V>(self)
    }
}
