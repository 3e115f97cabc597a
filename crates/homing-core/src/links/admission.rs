//! Which endpoint speaks for whom: the main door's guest list, and what authorizes a stream.
//!
//! An endpoint is on it once its peer has proven it on a link or named it with a proof. Only
//! peers with mutual trust are *admitted* (told to the transport). After a peer moved, the old
//! run's endpoints stay for [`DRAIN`], so that streams may finish, unless it was silent already.

use std::collections::BTreeMap;

use homing_base::{InstanceId, Mono, NodeId};

use crate::limits::{DRAIN, LINKS_MAX};

#[derive(Clone, Copy, Debug)]
struct Guest {
    peer: NodeId,
    admitted: bool,
    leaves: Option<Mono>,
}

/// The guest list.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    guests: BTreeMap<InstanceId, Guest>,
}

impl Admission {
    /// Whose endpoint it is.
    pub(crate) fn owner(&self, endpoint: InstanceId) -> Option<NodeId> {
        self.guests.get(&endpoint).map(|g| g.peer)
    }

    /// Notes a proven endpoint. `true`: it is to be admitted now.
    pub(crate) fn note(&mut self, endpoint: InstanceId, peer: NodeId, trusted: bool) -> bool {
        // Two endpoints per link at most: beyond that somebody invents them.
        if self.guests.len() >= 2 * LINKS_MAX && !self.guests.contains_key(&endpoint) {
            return false;
        }
        let guest =
            self.guests.entry(endpoint).or_insert(Guest { peer, admitted: false, leaves: None });
        guest.leaves = None;
        let fresh = trusted && !guest.admitted;
        guest.admitted |= trusted;
        fresh
    }

    /// Trust became mutual: the endpoints to admit.
    pub(crate) fn admit(&mut self, peer: NodeId) -> Vec<InstanceId> {
        let theirs = self.guests.iter_mut().filter(|(_, g)| g.peer == peer && !g.admitted);
        theirs
            .map(|(endpoint, guest)| {
                guest.admitted = true;
                *endpoint
            })
            .collect()
    }

    /// Trust ended: the endpoints to expel.
    pub(crate) fn expel(&mut self, peer: NodeId) -> Vec<InstanceId> {
        let theirs = self.guests.iter_mut().filter(|(_, g)| g.peer == peer && g.admitted);
        theirs
            .map(|(endpoint, guest)| {
                guest.admitted = false;
                *endpoint
            })
            .collect()
    }

    /// The peer runs elsewhere now: all its endpoints but `kept` leave after [`DRAIN`], or at once where no link
    /// `stands`: a run that was given up before its successor came is dead, and so are its streams.
    pub(crate) fn drain(
        &mut self,
        now: Mono,
        peer: NodeId,
        kept: InstanceId,
        stands: impl Fn(InstanceId) -> bool,
    ) {
        for (endpoint, guest) in &mut self.guests {
            if guest.peer == peer && *endpoint != kept && guest.leaves.is_none() {
                guest.leaves = Some(if stands(*endpoint) { now.after(DRAIN) } else { now });
            }
        }
    }

    /// A link's endpoint is gone; unless admitted there is no reason to remember it.
    pub(crate) fn on_link_gone(&mut self, endpoint: InstanceId) {
        if self.guests.get(&endpoint).is_some_and(|g| !g.admitted) {
            self.guests.remove(&endpoint);
        }
    }

    /// Drained endpoints, each with whether it was admitted.
    pub(crate) fn leave(&mut self, now: Mono) -> Vec<(InstanceId, bool)> {
        let due = |g: &Guest| g.leaves.is_some_and(|at| at <= now);
        let gone: Vec<_> =
            self.guests.iter().filter(|(_, g)| due(g)).map(|(e, g)| (*e, g.admitted)).collect();
        for (endpoint, _) in &gone {
            self.guests.remove(endpoint);
        }
        gone
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.guests.values().filter_map(|g| g.leaves).min()
    }
}
