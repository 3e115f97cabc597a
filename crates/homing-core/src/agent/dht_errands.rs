//! The DHT for those who may not be seen: a node with two doors shows strangers no address, so it can ask
//! only contacts behind relays. A public node that serves does the rest for its neighbours.
//!
//! ```text
//! B (hidden) ── Ask {key, errand} ──► R (public, serves) ── FindValue ──► DHT
//! B (hidden) ── its record, on the link ──► R ── Store ──► DHT             (a guest's record)
//! ```
//! Records prove themselves, so it does not matter who stores or brings them.

use std::collections::{BTreeMap, VecDeque};

use homing_base::{Mono, NodeId, Now, Seq};

use super::Agent;
use super::finding::{Want, slot};
use crate::dht::{DhtCommand, Item, Outcome, Reach, Slot};
use crate::io::LinkId;
use crate::limits::{DHT_ERRANDS_ASKED, DHT_ERRANDS_MAX, DHT_GUEST_INTERVAL, LINKS_MAX};
use crate::message::{Ask, AskAnswer, AskKey, Message};

/// Neighbours whose records a public node stores for them.
#[derive(Debug, Default)]
pub(super) struct Guests {
    /// The sequence that was stored last.
    stored: BTreeMap<NodeId, Seq>,
    queue: VecDeque<NodeId>,
    next_at: Option<Mono>,
}

impl Guests {
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.next_at.filter(|_| !self.queue.is_empty())
    }
}

impl Agent {
    // ---- the one who may not be seen

    /// Neighbours that ask the DHT for us; none when we can do so ourselves.
    pub(super) fn errand_links(&self) -> impl Iterator<Item = LinkId> {
        let hides = self.settings.main != self.settings.instance && self.finding.is_some();
        let serving = self.links.proven().filter(move |(link, proven)| {
            hides && proven.public && !link.brief && link.dht == Some(true)
        });
        serving.map(|(link, _)| link.id)
    }

    pub(super) fn send_errands(&mut self, key: &AskKey) {
        let links: Vec<LinkId> = self.errand_links().take(DHT_ERRANDS_ASKED).collect();
        for link in links {
            if let Some(ask) = self.resolver.errand(key, link) {
                self.send(link, Message::Ask(ask));
            }
        }
    }

    // ---- the one who serves

    /// Nothing is known here: the DHT is asked for a neighbour, if that is our part. `true`: the answer
    /// comes later.
    pub(super) fn runs_errand(&mut self, now: Now, link: LinkId, ask: &Ask) -> bool {
        let public = self.settings.public && ask.errand == Some(true);
        let Some(finding) = self.finding().filter(|f| public && f.serving) else { return false };
        let running = finding.wanting(|want| matches!(want, Want::Errand { .. }));
        if finding.dht.table().is_empty() || running >= DHT_ERRANDS_MAX {
            return false;
        }
        let want = Want::Errand { link, ask: ask.clone() };
        finding.want(want, DhtCommand::FindValue { slot: slot(&ask.key) });
        self.pump_dht(now);
        true
    }

    pub(super) fn on_errand_done(
        &mut self,
        now: Now,
        link: LinkId,
        ask: &Ask,
        outcome: Outcome<Reach, Item>,
    ) {
        if let Outcome::Values(values) = outcome {
            values.into_iter().filter_map(Item::agent).for_each(|r| self.learn_found(now, r));
        }
        if self.links.link(link).is_some_and(|l| l.proven.is_some()) {
            let records = self.records_for(now, &ask.key);
            self.counters.asks_answered += 1;
            self.send(link, Message::Answer(AskAnswer { id: ask.id, records }));
        }
    }

    /// A neighbour that hides and takes part in the DHT has a new record: it is queued to be stored.
    pub(super) fn note_guest(&mut self, now: Now, peer: NodeId) {
        let public = self.settings.public;
        let takes_part = self.links.of(peer).any(|l| !l.brief && l.dht.is_some());
        let Some(record) = self.known.valid(now, peer) else { return };
        let (hides, sequence) = (record.direct.is_empty(), record.sequence);
        let Some(finding) = self.finding().filter(|_| public && takes_part && hides) else {
            return;
        };
        let guests = &mut finding.guests;
        let is_old = guests.stored.get(&peer).is_some_and(|stored| *stored >= sequence);
        if !is_old && guests.queue.len() < LINKS_MAX && !guests.queue.contains(&peer) {
            guests.queue.push_back(peer);
            guests.next_at = guests.next_at.max(Some(now.mono));
            self.dirty = true;
        }
    }

    /// Stores the record of one guest.
    pub(super) fn put_guests(&mut self, now: Now) {
        let Some(finding) = self.finding.as_deref_mut() else { return };
        let due = finding.guests.deadline().is_some_and(|at| at <= now.mono);
        if !due {
            return;
        }
        finding.guests.next_at = Some(now.mono.after(DHT_GUEST_INTERVAL));
        let Some(peer) = finding.guests.queue.pop_front() else { return };
        // Before the network is entered nobody could keep it; `on_joined` queues it again.
        let Some(record) = self.known.valid(now, peer).cloned() else { return };
        if finding.dht.table().is_empty() {
            return;
        }
        let linked = &self.links;
        finding.guests.stored.retain(|peer, _| linked.is_connected(*peer));
        finding.guests.stored.insert(peer, record.sequence);
        let name = record.name.as_ref().map(Slot::name);
        for slot in [Some(Slot::agent(peer)), name].into_iter().flatten() {
            let put = DhtCommand::Put { slot, value: record.clone().into(), keep: false };
            finding.want(Want::Nothing, put);
        }
    }
}
