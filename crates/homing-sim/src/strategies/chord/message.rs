//! What nodes of the ring say to each other, and what it would weigh.

use homing_base::NodeId;

use super::ring::Peer;
use crate::dht::value::Token;
use homing_core::dht::Value;

/// Request number, kind, framing.
const HEAD_BYTES: usize = 8;
/// ID, instance key, address, framing: as a contact of the daemon's DHT.
const PEER_BYTES: usize = 76;
/// A position or an ID.
const KEY_BYTES: usize = 34;

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(super) id: u32,
    pub(super) body: Body,
}

/// What it says.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Who is next on the way to `key`, not counting these.
    Step { key: u64, avoid: Vec<u32> },
    /// Done: the nodes that hold it, first the owner. Otherwise whom to ask.
    Next { done: bool, peers: Vec<Peer> },
    /// The record of an agent, please.
    Fetch { agent: NodeId },
    /// Here it is, or not.
    Value { record: Option<Token> },
    /// Keep this.
    Store { record: Token },
    /// Kept.
    Stored,
    /// Who is around you?
    AskLinks,
    /// These.
    Links { predecessor: Option<Peer>, successors: Vec<Peer> },
    /// I may be your predecessor.
    Notify,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

impl Body {
    pub(super) fn is_answer(&self) -> bool {
        matches!(
            self,
            Body::Next { .. } | Body::Value { .. } | Body::Stored | Body::Links { .. } | Body::Pong
        )
    }
}

impl Message {
    pub(super) fn wire_len(&self) -> usize {
        let record = |r: &Token| Token::wire_len(r);
        HEAD_BYTES
            + match &self.body {
                Body::Step { avoid, .. } => KEY_BYTES + avoid.len() * KEY_BYTES,
                Body::Next { peers, .. } => 1 + peers.len() * PEER_BYTES,
                Body::Fetch { .. } => KEY_BYTES,
                Body::Value { record: held } => held.as_ref().map_or(1, record),
                Body::Store { record: held } => record(held),
                Body::Links { predecessor, successors } => {
                    (usize::from(predecessor.is_some()) + successors.len()) * PEER_BYTES
                }
                Body::Stored | Body::AskLinks | Body::Notify | Body::Ping | Body::Pong => 0,
            }
    }
}
