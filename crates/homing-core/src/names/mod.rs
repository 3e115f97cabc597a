//! Names: what a reference means. Alias > pin > a trusted peer's name > claims; never a guess.
//!
//! Anybody can claim any name, so a claim decides only while it is the only one. Its first use pins
//! it: from then on it means that peer, and if the peer stops claiming it while somebody else does,
//! that is an error to show, not a redirect to follow. An alias settles every dispute.
//! Not here: who claims what (records), and asking others (`resolve`).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use homing_base::{Name, NodeId};

use crate::io::Failure;
use crate::limits::PREFIX_DIGITS_MIN;

/// Aliases and pins of one user.
#[derive(Debug, Default)]
pub(crate) struct Names {
    aliases: BTreeMap<Name, NodeId>,
    pins: BTreeMap<Name, NodeId>,
}

/// Who claims a name, as far as is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Peers with mutual trust.
    pub trusted: Vec<NodeId>,
    /// Everybody, trusted or not.
    pub all: Vec<NodeId>,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub peer: NodeId,
    /// Local knowledge is enough: nobody else's claim could change it.
    pub settled: bool,
    /// It is to be pinned at its first use.
    pub pin: bool,
}

impl Names {
    pub(crate) fn new(aliases: Vec<(Name, NodeId)>, pins: Vec<(Name, NodeId)>) -> Self {
        Self { aliases: aliases.into_iter().collect(), pins: pins.into_iter().collect() }
    }

    pub(crate) fn aliases(&self) -> &BTreeMap<Name, NodeId> {
        &self.aliases
    }

    pub(crate) fn pins(&self) -> &BTreeMap<Name, NodeId> {
        &self.pins
    }

    pub(crate) fn alias_of(&self, peer: NodeId) -> Option<&Name> {
        self.aliases.iter().find(|(_, id)| **id == peer).map(|(name, _)| name)
    }

    /// Whether the user has named or used this peer.
    pub(crate) fn mentions(&self, peer: NodeId) -> bool {
        self.aliases.values().chain(self.pins.values()).any(|id| *id == peer)
    }

    /// After it was persisted.
    pub(crate) fn keep_alias(&mut self, name: Name, peer: Option<NodeId>) {
        match peer {
            Some(peer) => self.aliases.insert(name, peer),
            None => self.aliases.remove(&name),
        };
    }

    /// After it was persisted.
    pub(crate) fn keep_pin(&mut self, name: Name, peer: NodeId) {
        self.pins.insert(name, peer);
    }

    /// What `name` means; `None`: nobody claims it.
    pub(crate) fn meaning(&self, name: &Name, claims: &Claims) -> Result<Option<Meaning>, Failure> {
        let settled = |peer| Ok(Some(Meaning { peer, settled: true, pin: false }));
        if let Some(peer) = self.aliases.get(name) {
            return settled(*peer);
        }
        if let Some(pinned) = self.pins.get(name) {
            return match claims.all.first() {
                Some(claimant) if !claims.all.contains(pinned) => Err(Failure::NameMoved {
                    name: name.clone(),
                    pinned: *pinned,
                    claimant: *claimant,
                }),
                _ => settled(*pinned),
            };
        }
        match (claims.trusted.as_slice(), claims.all.as_slice()) {
            ([peer], _) => Ok(Some(Meaning { peer: *peer, settled: true, pin: true })),
            ([], []) => Ok(None),
            ([], [peer]) => Ok(Some(Meaning { peer: *peer, settled: false, pin: true })),
            ([], claimants) | (claimants, _) => {
                Err(Failure::Ambiguous { name: name.clone(), claimants: claimants.to_vec() })
            }
        }
    }
}

/// The node among `known` that a hexadecimal prefix stands for; `None` when it is no prefix.
pub(crate) fn by_prefix(
    text: &Name,
    known: impl Iterator<Item = NodeId>,
) -> Option<Result<NodeId, Failure>> {
    let digits = text.as_str();
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if digits.len() < PREFIX_DIGITS_MIN || !is_hex {
        return None;
    }
    let matching: Vec<NodeId> = known.filter(|id| id.to_string().starts_with(digits)).collect();
    match matching.as_slice() {
        [] => None,
        [one] => Some(Ok(*one)),
        _ => Some(Err(Failure::Ambiguous { name: text.clone(), claimants: matching })),
    }
}
