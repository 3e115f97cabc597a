//! The tree: push to eager links, announce to lazy ones.
//!
//! A record that came for the first time makes its sender eager; one that came again makes it lazy, at both ends
//! (Plumtree, SRDS 2007 §3.4). Other than there, not every repetition does: several records under way
//! would each cut a cycle elsewhere, and no tree would ever settle. And whoever took a record says so
//! once; until that is heard, the record is sent once more and then announced a few times, ever more
//! rarely: a lost message costs half a second, not a round.

use homing_base::limits::RECORDS_PER_MESSAGE_MAX;
use homing_base::{Mono, NodeId, Now};
use rand_core::Rng;

use super::Gossip;
use super::accept::Heard;
use super::announcements::{Announcement, Due};
use super::limits::{
    BULK_MIN, HAVE_DELAY, HAVES_MAX, ITEMS_MAX, PRUNE_PART, PRUNE_SETTLES, SERVE_QUEUE_MAX, SETTLED,
};
use super::message::{Carried, Item, Message};
use super::peer::Peer;
use super::value::{Value, prefix};
use super::wire::carried_len;

impl<W> Peer<W> {
    pub(super) fn announce(&mut self, prefix: u64, announcement: Announcement) {
        self.have_at = Some(self.have_at.unwrap_or(Mono::MAX).min(announcement.due));
        self.have.put(prefix, announcement);
    }

    /// What a comparison showed that it lacks. Many are followed by another comparison.
    pub(super) fn offer(&mut self, due: Mono, prefixes: Vec<u64>) {
        let most = if prefixes.len() < BULK_MIN { HAVES_MAX } else { 1 };
        for prefix in prefixes {
            self.announce(prefix, Announcement { due, made: 0, most, sync: true, pushed: None });
        }
    }

    /// It is told once that something arrived, so that it does not repeat it.
    pub(super) fn acknowledge(&mut self, now: Mono, prefix: u64) {
        let due = now.after(HAVE_DELAY);
        self.announce(prefix, Announcement { due, made: 0, most: 1, sync: false, pushed: None });
    }

    /// What is due; what is announced for the first time goes along.
    fn take_due(&mut self, now: Mono) -> Due {
        let due = self.have.take_due(now, self.returns.timeout());
        self.have_at = self.have.next_due();
        if !due.resend.is_empty() {
            self.returns.missed();
        }
        due
    }
}

impl<V: Value> Gossip<V> {
    /// Tells everybody; `from`, who told us, hears once that it arrived. `sync`: a reconciliation
    /// brought it, so that others may have it; over settled links the tree goes on all the same.
    pub(super) fn spread(
        &mut self,
        now: Now,
        value: &V,
        hops: u8,
        from: Option<NodeId>,
        sync: bool,
    ) {
        let place = prefix(&value.signer());
        let carried = Carried { hops: hops.saturating_add(1), wire: value.wire() };
        let len = carried_len::<V>(&carried);
        let offenders = &self.offenders;
        for (id, peer) in &mut self.peers {
            let muted = offenders.get(id).is_some_and(|o| o.muted_until > now.mono);
            if muted {
                continue;
            }
            if Some(*id) == from {
                peer.acknowledge(now.mono, place);
                self.peers_at = self.peers_at.min(peer.next_due());
                continue;
            }
            let settled = now.mono.since(peer.since) >= SETTLED;
            let eager = peer.eager && (settled || !sync);
            let budget = &mut peer.budget;
            let pushed = eager
                && budget.bytes_out.left(now.mono) >= len as f32
                && budget.pushes_out.take(1, now.mono)
                && budget.bytes_out.take(len, now.mono);
            if pushed {
                peer.pushing.push(carried.clone());
                self.unflushed = true;
                self.stats.pushed += 1;
            }
            let wait = if pushed { peer.returns.timeout() } else { HAVE_DELAY };
            let due = now.mono.after(wait);
            let (most, pushed) = (HAVES_MAX, pushed.then_some(now.mono));
            peer.announce(place, Announcement { due, made: 0, most, sync, pushed });
            self.peers_at = self.peers_at.min(peer.next_due());
        }
    }

    /// Values of this node that lie beyond its own horizon are no part of any reconciliation.
    pub(super) fn announce_strays(&mut self, now: Now, peer: &NodeId) {
        let strays = self.table.local().filter(|(id, _)| !self.table.covers(prefix(id)));
        let strays: Vec<u64> = strays.map(|(id, _)| prefix(id)).take(ITEMS_MAX).collect();
        let Some(peer) = self.peers.get_mut(peer) else { return };
        peer.offer(now.mono.after(HAVE_DELAY), strays);
    }

    pub(super) fn on_push(&mut self, now: Now, from: NodeId, list: Vec<Carried<V::Wire>>) {
        let (mut fresh, mut again) = (0, 0);
        for carried in list {
            match self.hear(now, from, carried) {
                Heard::Fresh => fresh += 1,
                Heard::Again => again += 1,
                Heard::Refused => {}
            }
        }
        let others = self.peers.iter().any(|(id, p)| *id != from && p.eager);
        let drawn = again > 0 && self.chance.next_u32().is_multiple_of(PRUNE_PART);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let in_flight = peer.pruned.is_some_and(|at| now.mono.since(at) < PRUNE_SETTLES);
        if fresh > 0 && fresh >= again {
            // What was pushed before the peer heard of its pruning is no reason to take it back.
            peer.eager |= !in_flight;
        } else if again > 0 && others && !in_flight && (drawn || !peer.eager) {
            // When the link is lazy here already, the peer does not know yet.
            (peer.prune, peer.pruned) = (true, Some(now.mono));
            self.unflushed = true;
            self.stats.prunes += u64::from(peer.eager);
            peer.eager = false;
        }
    }

    /// Sends what was collected during one input.
    pub(super) fn flush_pushes(&mut self) {
        if !std::mem::take(&mut self.unflushed) {
            return;
        }
        let mut messages = Vec::new();
        for (id, peer) in &mut self.peers {
            if std::mem::take(&mut peer.prune) {
                messages.push((*id, Message::Prune));
            }
            let mut rest = std::mem::take(&mut peer.pushing);
            while !rest.is_empty() {
                let tail = rest.split_off(rest.len().min(RECORDS_PER_MESSAGE_MAX));
                messages.push((*id, Message::Push(std::mem::replace(&mut rest, tail))));
            }
        }
        messages.into_iter().for_each(|(to, message)| self.send(to, message));
    }

    /// Sends announcements that are due.
    pub(super) fn flush_haves(&mut self, now: Now) {
        let is_due = |p: &Peer<V::Wire>| p.have_at.is_some_and(|at| at <= now.mono);
        let due: Vec<NodeId> =
            self.peers.iter().filter(|(_, p)| is_due(p)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let due = peer.take_due(now.mono);
            self.resend(now, id, due.resend);
            for (sync, prefixes) in [false, true].into_iter().zip(due.announce) {
                let items = prefixes.iter().filter_map(|place| self.item(now, *place)).collect();
                self.tell_have(now, id, sync, items);
            }
        }
    }

    /// As answers, not as pushes: whoever has it by now does not prune the link.
    fn resend(&mut self, now: Now, to: NodeId, prefixes: Vec<u64>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let room = SERVE_QUEUE_MAX.saturating_sub(peer.serve.len());
        self.stats.resent += prefixes.len().min(room) as u64;
        peer.serve.extend(prefixes.into_iter().take(room));
        self.serve(now, to);
    }

    fn item(&self, now: Now, place: u64) -> Option<Item> {
        let (value, _) = self.held(now, place)?;
        Some(Item::of(&value.signer(), value.sequence(), value.mark()))
    }

    /// One `Have` of at most [`ITEMS_MAX`] items, if the budget allows; reconciliation repairs the rest.
    pub(super) fn tell_have(&mut self, now: Now, to: NodeId, sync: bool, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let message = Message::Have { sync, items };
        let len = message.wire_len::<V>();
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if peer.budget.bytes_out.take(len, now.mono) {
            self.send(to, message);
        } else {
            self.stats.shed += 1;
        }
    }
}
