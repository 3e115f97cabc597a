//! Reads without effect.

use std::collections::BTreeSet;

use homing_base::{NodeId, Now};

use super::Agent;
use crate::view::{LinkView, PeerView, TrustView};

impl Agent {
    pub(super) fn peer_views(&self, now: Now) -> Vec<PeerView> {
        let shown = self.links.peers().filter(|peer| self.links.has_lasting(*peer));
        let seeds = self.seeds.iter().filter_map(|seed| seed.peer);
        let all: BTreeSet<NodeId> = self.related().into_iter().chain(shown).chain(seeds).collect();
        all.into_iter().filter(|peer| *peer != self.me).map(|p| self.peer_view(now, p)).collect()
    }

    pub(super) fn peer_view(&self, now: Now, peer: NodeId) -> PeerView {
        let pair = self.trust.pair(peer).cloned().unwrap_or_default();
        PeerView {
            node_id: peer,
            alias: self.names.alias_of(peer).cloned(),
            name: self.claimed_name(peer),
            trust: TrustView {
                state: pair.state(now),
                ours: pair.ours.clone(),
                theirs: pair.theirs.clone(),
            },
            record: self.known.record(peer).cloned(),
            links: self.link_views(peer),
            last_seen: self.last_seen.get(&peer).copied(),
            network: self.candidates.get(&peer).map(|door| door.network),
            software: self.links.of(peer).find_map(|link| link.software.clone()),
            undelivered: crate::trust::is_undelivered(now, &pair),
            neighbour: self.is_neighbour(peer),
        }
    }

    fn link_views(&self, peer: NodeId) -> Vec<LinkView> {
        let view = |link: &crate::links::Link| {
            link.proven.map(|proven| LinkView {
                link: link.id,
                door: link.door,
                endpoint: link.remote,
                proven_at: proven.at,
                last_heard: link.pulse.heard,
                rtt: link.pulse.rtt,
            })
        };
        self.links.of(peer).filter_map(view).collect()
    }
}
