//! Nodes that do not play by the rules. They keep their own tables like everybody (so that they are
//! found), answer pings honestly (so that they stay), and lie where it hurts.

use homing_base::{NodeId, Wall};
use homing_core::cluster::Leaf;
use homing_core::dht::contact::id_prefix;
use homing_core::dht::table::descend;
use homing_core::dht::{Body, Contact, Value, Verdict};

use super::value::{Mint, SimPlace};

/// Contacts in a lie.
const LIE_CONTACTS: usize = 20;

/// What a node does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows the protocol.
    Honest,
    /// Holds nothing back but values: names the closest colluders, says "kept" and drops.
    Liar,
    /// Like [`Role::Liar`], and shows forged values.
    Forger,
    /// Answers truly, after a long while.
    Slow,
}

impl Role {
    /// Whether it lies.
    #[must_use]
    pub fn lies(self) -> bool {
        matches!(self, Role::Liar | Role::Forger)
    }
}

/// The adversary's nodes, who know each other.
#[derive(Clone, Debug, Default)]
pub struct Colluders {
    keys: Vec<u64>,
    contacts: Vec<Contact<SimPlace>>,
}

impl Colluders {
    /// One more.
    pub fn add(&mut self, contact: &Contact<SimPlace>) {
        let key = id_prefix(&contact.id);
        let at = self.keys.partition_point(|k| *k < key);
        self.keys.insert(at, key);
        self.contacts.insert(at, contact.clone());
    }

    fn closest(&self, target: &NodeId) -> Vec<Contact<SimPlace>> {
        let mut found = Vec::new();
        descend(&self.keys, 0..self.keys.len(), id_prefix(target), &mut |i| {
            found.push(self.contacts[i].clone());
            found.len() < LIE_CONTACTS
        });
        found
    }

    /// The lie, if this request deserves one.
    #[must_use]
    pub fn answer<V: Mint>(
        &self,
        role: Role,
        key: &V::Key,
        body: &Body<SimPlace, V::Wire>,
        wall: Wall,
    ) -> Option<Body<SimPlace, <V as Value>::Wire>> {
        match body {
            Body::FindNode { target } => Some(Body::Nodes { contacts: self.closest(target) }),
            Body::FindValue { slot } => {
                let forged = (role == Role::Forger).then(|| V::forge(slot.key, key, wall));
                let values = forged.into_iter().collect();
                Some(Body::Values { values, contacts: self.closest(&slot.key) })
            }
            Body::Store { .. } => Some(Body::Stored { verdict: Verdict::Kept }),
            // Whoever is listed is called dead, and the cluster much smaller than it is.
            Body::Exchange { known, session_s, leaf: Some(leaf), .. } => {
                let lie = Leaf { depth: leaf.depth.saturating_add(4), members: 1 };
                let (contacts, doubted, leaf) = (Vec::new(), known.clone(), Some(lie));
                Some(Body::Siblings { contacts, doubted, session_s: *session_s, leaf })
            }
            Body::Offer { .. } => Some(Body::Wanted { digests: Vec::new() }),
            _ => None,
        }
    }
}
