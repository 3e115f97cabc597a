//! Positions on the ring.

use homing_core::dht::Contact;
use homing_core::dht::contact::id_prefix;

use crate::dht::value::SimPlace;

/// A node, as others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where on the ring.
    pub(super) at: u64,
    /// Which node of the world.
    pub(super) handle: u32,
}

impl Peer {
    pub(super) fn of(contact: &Contact<SimPlace>) -> Self {
        Self { at: id_prefix(&contact.id), handle: contact.place.handle }
    }
}

/// Whether `x` lies in (after, upto] on the ring; the whole ring if both are equal.
pub(super) fn between(x: u64, after: u64, upto: u64) -> bool {
    let (x, upto) =
        (x.wrapping_sub(after).wrapping_sub(1), upto.wrapping_sub(after).wrapping_sub(1));
    x <= upto
}
