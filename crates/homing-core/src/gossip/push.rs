//! The tree: push to eager links, announce to lazy ones.
//!
//! A record that came for the first time makes its sender eager; one that came again makes it lazy, at both ends
//! (Plumtree, SRDS 2007 §3.4). Other than there, whoever took a record says so once, a push is
//! followed by an announcement unless that was heard, and announcements are repeated a few times, ever
//! more rarely: a lost message costs a second, not a round.

use homing_base::limits::RECORDS_PER_MESSAGE_MAX;
use homing_base::{Mono, NodeId, Now};

use super::Gossip;
use super::accept::Heard;
use super::limits::{HAVE_AGAIN, HAVE_DELAY, HAVE_QUEUE_MAX, HAVES_MAX, ITEMS_MAX};
use super::message::{Carried, Item, Message};
use super::peer::{Announcement, Peer};
use super::value::{Value, prefix};
use super::wire::carried_len;

impl<W> Peer<W> {
    fn announce(&mut self, prefix: u64, announcement: Announcement) {
        if self.have.len() < HAVE_QUEUE_MAX || self.have.contains_key(&prefix) {
            self.have_at = Some(self.have_at.unwrap_or(Mono::MAX).min(announcement.due));
            self.have.insert(prefix, announcement);
        }
    }

    /// Announcements that are due, those of reconciled records apart: at most a message of each.
    fn due_announcements(&mut self, now: Mono) -> [Vec<u64>; 2] {
        let mut due = [Vec::new(), Vec::new()];
        let (mut gone, mut next) = (Vec::new(), None);
        for (prefix, waiting) in &mut self.have {
            let list = &mut due[usize::from(waiting.sync)];
            if waiting.due <= now && list.len() < ITEMS_MAX {
                list.push(*prefix);
                waiting.made += 1;
                if waiting.made >= waiting.most {
                    gone.push(*prefix);
                    continue;
                }
                waiting.due = now.after(HAVE_AGAIN * (1 << (waiting.made - 1)));
            }
            next = Some(next.unwrap_or(Mono::MAX).min(waiting.due));
        }
        gone.iter().for_each(|prefix| self.shown(*prefix));
        self.have_at = next;
        due
    }
}

impl<V: Value> Gossip<V> {
    /// Tells everybody; `from`, who told us, hears once that it arrived. `eager`: push it where the tree
    /// goes.
    pub(super) fn spread(
        &mut self,
        now: Now,
        value: &V,
        hops: u8,
        from: Option<NodeId>,
        eager: bool,
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
            let teller = Some(*id) == from;
            let budget = &mut peer.budget;
            let pushed = eager
                && peer.eager
                && !teller
                && budget.bytes_out.left(now.mono) >= len as f32
                && budget.pushes_out.take(1, now.mono)
                && budget.bytes_out.take(len, now.mono);
            if pushed {
                peer.pushing.push(carried.clone());
            }
            let wait = if pushed { HAVE_AGAIN } else { HAVE_DELAY };
            let due = now.mono.after(wait);
            let most = if teller { 1 } else { HAVES_MAX };
            peer.announce(place, Announcement { due, made: 0, most, sync: !eager });
        }
    }

    /// Values of this node that lie beyond its own horizon are no part of any reconciliation.
    pub(super) fn announce_strays(&mut self, now: Now, peer: &NodeId) {
        let strays = self.table.local().filter(|(id, _)| !self.table.covers(prefix(id)));
        let strays: Vec<u64> = strays.map(|(id, _)| prefix(id)).take(ITEMS_MAX).collect();
        let Some(peer) = self.peers.get_mut(peer) else { return };
        let due = now.mono.after(HAVE_DELAY);
        for place in strays {
            peer.announce(place, Announcement { due, made: 0, most: HAVES_MAX, sync: true });
        }
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
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if fresh > 0 && fresh >= again {
            peer.eager = true;
        } else if again > 0 {
            // Also when the link is lazy here: the peer does not know yet.
            peer.prune = true;
            self.stats.prunes += u64::from(peer.eager);
            peer.eager = false;
        }
    }

    /// Sends what was collected during one input.
    pub(super) fn flush_pushes(&mut self) {
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
            let due = peer.due_announcements(now.mono);
            for (sync, prefixes) in [false, true].into_iter().zip(due) {
                let items = prefixes.iter().filter_map(|place| self.item(now, *place)).collect();
                self.tell_have(now, id, sync, items);
            }
        }
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
