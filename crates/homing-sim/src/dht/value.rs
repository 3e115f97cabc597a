//! Values and places of simulated nodes.
//!
//! [`Token`] stands in for a signed record at 10,000 nodes: 72 bytes, a keyed 64-bit seal instead of
//! Ed25519. It is checked wherever a record would be, and can be forged badly, which is found out.
//! Security scenarios use the real [`Record`]; [`Mint`] is what both have in common.

use std::cmp::Ordering;
use std::time::Duration;

use homing_base::{AgentRecord, IdentityKey, InstanceId, Name, NodeId, Now, Record, Seq, Wall};
use homing_core::dht::contact::id_prefix;
use homing_core::dht::value::id_fits;
use homing_core::dht::{Kind, Place, Slot, Unbelievable, Value};
use rand_core::Rng;

/// A signed record of an agent with a name, a relay and a few tags, in bytes.
const RECORD_BYTES_TYPICAL: usize = 350;
/// Instance key and IPv4 address of a contact, in bytes.
const PLACE_BYTES: usize = 34 + 7;
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A simulated node's handle and its /24 (0: exempt from caps).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimPlace {
    /// Index of the node in its world.
    pub handle: u32,
    /// Its IP neighbourhood.
    pub group: u32,
}

impl Place for SimPlace {
    fn group(&self) -> Option<u64> {
        (self.group != 0).then(|| u64::from(self.group))
    }

    fn wire_len(&self) -> usize {
        PLACE_BYTES
    }
}

/// Values that a simulation can make, well and badly.
pub trait Mint: Value {
    /// What signs.
    type Key: Clone;
    /// A fresh key; `near`: the ID shall share its first bits (0 for real keys' sake).
    fn key(random: &mut impl Rng) -> Self::Key;
    /// A key whose ID shares the first `bits` bits with `near`. Real keys are ground for it.
    fn key_near(near: &NodeId, bits: usize, random: &mut impl Rng) -> Self::Key;
    /// The ID of a key.
    fn id(key: &Self::Key) -> NodeId;
    /// A value signed by `key`.
    fn mint(key: &Self::Key, sequence: Seq, wall: Wall) -> Self;
    /// As [`Mint::mint`], and claims a name.
    fn claim(key: &Self::Key, name: &Name, sequence: Seq, wall: Wall) -> Self;
    /// What somebody without the key would send in the name of `id`.
    fn forge(id: NodeId, attacker: &Self::Key, wall: Wall) -> Self::Wire;
}

/// A cheap value: who, which version, from when to when, and a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    signer: NodeId,
    sequence: Seq,
    issued: Wall,
    expires: Wall,
    /// The first bytes of the key of the name's slot; zero: claims none.
    claims: u64,
    seal: u64,
}

impl Token {
    fn seal_of(&self) -> u64 {
        let head = |at: usize| {
            u64::from_be_bytes(self.signer.0[at..at + 8].try_into().expect("eight bytes"))
        };
        let parts = [head(0), head(8), head(16), head(24), self.sequence.0, self.issued.0];
        parts.into_iter().chain([self.expires.0, self.claims]).fold(
            0x5851_f42d_4c95_7f2d,
            |seal, part| {
                let mixed = (seal ^ part).wrapping_mul(0x2545_f491_4f6c_dd1d);
                mixed ^ (mixed >> 31)
            },
        )
    }
}

impl Value for Token {
    type Wire = Token;

    fn verify(wire: &Token, now: Now) -> Result<Self, Unbelievable> {
        if wire.seal != wire.seal_of() {
            return Err(Unbelievable::Forged);
        }
        if wire.is_current(now) { Ok(*wire) } else { Err(Unbelievable::Untimely) }
    }

    fn wire(&self) -> Token {
        *self
    }

    fn wire_len(_: &Token) -> usize {
        RECORD_BYTES_TYPICAL
    }

    fn signer(&self) -> NodeId {
        self.signer
    }

    fn fits(&self, slot: &Slot) -> bool {
        match slot.kind {
            Kind::Name => self.claims != 0 && self.claims == id_prefix(&slot.key),
            _ => id_fits(&self.signer, slot),
        }
    }

    fn sequence(&self) -> Seq {
        self.sequence
    }

    fn expires(&self) -> Wall {
        self.expires
    }

    fn is_current(&self, now: Now) -> bool {
        self.expires > now.wall && self.issued <= now.wall.after(Duration::from_secs(600))
    }

    fn precedence(&self, other: &Self) -> Ordering {
        self.sequence.cmp(&other.sequence)
    }
}

fn random_id(random: &mut impl Rng) -> NodeId {
    let mut id = [0; 32];
    random.fill_bytes(&mut id);
    NodeId(id)
}

fn share_bits(id: &mut NodeId, near: &NodeId, bits: usize) {
    for bit in 0..bits {
        let mask = 0x80 >> (bit % 8);
        id.0[bit / 8] = (id.0[bit / 8] & !mask) | (near.0[bit / 8] & mask);
    }
}

impl Mint for Token {
    type Key = NodeId;

    fn key(random: &mut impl Rng) -> NodeId {
        random_id(random)
    }

    fn key_near(near: &NodeId, bits: usize, random: &mut impl Rng) -> NodeId {
        let mut id = random_id(random);
        share_bits(&mut id, near, bits);
        id
    }

    fn id(key: &NodeId) -> NodeId {
        *key
    }

    fn mint(key: &NodeId, sequence: Seq, wall: Wall) -> Self {
        let expires = wall.after(LIFE);
        let token = Self { signer: *key, sequence, issued: wall, expires, claims: 0, seal: 0 };
        Self { seal: token.seal_of(), ..token }
    }

    fn claim(key: &NodeId, name: &Name, sequence: Seq, wall: Wall) -> Self {
        let claims = id_prefix(&Slot::name(name).key);
        let token = Self { claims, ..Self::mint(key, sequence, wall) };
        Self { seal: token.seal_of(), ..token }
    }

    fn forge(id: NodeId, _: &NodeId, wall: Wall) -> Token {
        let honest = Self::mint(&id, Seq(u64::MAX), wall);
        Self { seal: honest.seal ^ 1, ..honest }
    }
}

impl Mint for Record {
    type Key = IdentityKey;

    fn key(random: &mut impl Rng) -> IdentityKey {
        IdentityKey::from_seed(random_id(random).0)
    }

    fn key_near(near: &NodeId, bits: usize, random: &mut impl Rng) -> IdentityKey {
        loop {
            let key = Self::key(random);
            let id = key.node_id();
            let mut wished = id;
            share_bits(&mut wished, near, bits);
            if wished == id {
                return key;
            }
        }
    }

    fn id(key: &IdentityKey) -> NodeId {
        key.node_id()
    }

    fn mint(key: &IdentityKey, sequence: Seq, wall: Wall) -> Self {
        let record = AgentRecord::new(key.public(), InstanceId([7; 32]), sequence, wall);
        record.sign(key).expect("a minimal record is within bounds")
    }

    fn claim(key: &IdentityKey, name: &Name, sequence: Seq, wall: Wall) -> Self {
        let mut record = AgentRecord::new(key.public(), InstanceId([7; 32]), sequence, wall);
        record.name = Some(name.clone());
        record.sign(key).expect("a record with a name is within bounds")
    }

    /// The victim's ID cannot be put under another signature; the closest an attacker gets is a
    /// record of the victim's key with the signature bytes of another record.
    fn forge(_: NodeId, attacker: &IdentityKey, wall: Wall) -> Self::Wire {
        let mut bytes = Self::mint(attacker, Seq(u64::MAX), wall).bytes().to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        bytes.into()
    }
}
