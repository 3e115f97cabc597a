//! What is announced and unknown is asked for: of one peer at a time, in a window, at a pace that this
//! node's own budget for signature checks sets. What does not come is asked of the next who has it.

use homing_base::limits::RECORDS_PER_MESSAGE_MAX;
use homing_base::{Mono, NodeId, Now, Seq};

use super::Gossip;
use super::accept::Heard;
use super::limits::{
    BUDGET_TICK, BULK_MIN, GRAFT_DELAY, SERVE_QUEUE_MAX, SOURCES_MAX, TRIES_MAX, WANT_MAX,
    WANT_TIMEOUT, WANTED_MAX, WINDOW,
};
use super::message::{Carried, Item, Message};
use super::value::Value;
use super::wire::carried_len;

/// A record that somebody has and we have not.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    sequence: Seq,
    /// Who announced it, next to ask first.
    sources: Vec<NodeId>,
    pub(super) asked: Option<NodeId>,
    tries: u8,
    /// Found by reconciliation.
    pub(super) sync: bool,
}

impl<V: Value> Gossip<V> {
    // ---- wanting

    pub(super) fn on_have(&mut self, now: Now, from: NodeId, sync: bool, items: &[Item]) {
        for item in items {
            let mine = self.version(now, item.prefix);
            let known = mine.is_some_and(|(sequence, _)| sequence <= item.sequence);
            if known && let Some(peer) = self.peers.get_mut(&from) {
                peer.heard_of(now.mono, item.prefix);
            }
            if mine != Some((item.sequence, item.mark)) {
                self.want(now, from, *item, sync, !sync);
            }
        }
        self.ask(now, from);
    }

    /// Notes that `from` has `item`, if that is news and within the horizon. `later`: it may be
    /// on its way.
    pub(super) fn want(&mut self, now: Now, from: NodeId, item: Item, sync: bool, later: bool) {
        let Item { prefix, sequence, mark } = item;
        if !self.table.covers(prefix) || self.knows(prefix, sequence, mark) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if let Some(wanted) = self.wanted.get_mut(&prefix) {
            if sequence > wanted.sequence {
                wanted.sequence = sequence;
            }
            if wanted.sources.len() < SOURCES_MAX && !wanted.sources.contains(&from) {
                wanted.sources.push(from);
                if !later && peer.offered.len() < WANTED_MAX {
                    peer.offered.push_back(prefix);
                }
            }
        } else if self.wanted.len() < WANTED_MAX {
            let sources = vec![from];
            self.wanted.insert(prefix, Wanted { sequence, sources, asked: None, tries: 0, sync });
            if !later {
                peer.offered.push_back(prefix);
            } else {
                self.delayed.push_back((now.mono.after(GRAFT_DELAY), prefix, from));
            }
        }
    }

    /// Asks `of` for what it offers, as far as window and budgets allow.
    pub(super) fn ask(&mut self, now: Now, of: NodeId) {
        let affordable = self.verifies.left(now.mono) as usize;
        let mut room = affordable.saturating_sub(self.asked.len());
        let Some(peer) = self.peers.get_mut(&of) else { return };
        let mut batches: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
        while peer.asked < WINDOW && room > 0 {
            let Some(prefix) = peer.offered.pop_front() else { break };
            let Some(wanted) = self.wanted.get_mut(&prefix) else { continue };
            if wanted.asked.is_some() {
                continue;
            }
            wanted.asked = Some(of);
            peer.asked += 1;
            room -= 1;
            self.asked.push_back((now.mono.after(WANT_TIMEOUT), prefix, of));
            batches[usize::from(!wanted.sync)].push(prefix);
        }
        if room == 0 && !peer.offered.is_empty() {
            self.tick(now);
        }
        for (graft, prefixes) in [false, true].into_iter().zip(batches) {
            if graft && !prefixes.is_empty() {
                self.graft(&of);
            }
            for chunk in prefixes.chunks(WANT_MAX) {
                self.send(of, Message::Want { graft, prefixes: chunk.to_vec() });
            }
        }
    }

    fn graft(&mut self, peer: &NodeId) {
        if let Some(peer) = self.peers.get_mut(peer)
            && !peer.eager
        {
            (peer.eager, peer.pruned) = (true, None);
            self.stats.grafts += 1;
        }
    }

    fn tick(&mut self, now: Now) {
        let at = now.mono.after(BUDGET_TICK);
        self.tick_at = Some(self.tick_at.unwrap_or(Mono::MAX).min(at));
    }

    /// A record arrived, this version or a later one: nobody need be asked for it.
    pub(super) fn finish_want(&mut self, prefix: u64, sequence: Seq) {
        let Some(wanted) = self.wanted.get(&prefix) else { return };
        let asked = wanted.asked;
        if sequence >= wanted.sequence {
            self.wanted.remove(&prefix);
        } else if let Some(wanted) = self.wanted.get_mut(&prefix) {
            wanted.asked = None;
        }
        if let Some(peer) = asked.and_then(|id| self.peers.get_mut(&id)) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    pub(super) fn on_records(&mut self, now: Now, from: NodeId, list: Vec<Carried<V::Wire>>) {
        let fresh = list
            .into_iter()
            .filter_map(|carried| (self.hear(now, from, carried) == Heard::Fresh).then_some(()));
        let fresh = fresh.count();
        self.ask(now, from);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.pulled += fresh;
        if peer.pulled >= BULK_MIN && peer.asked == 0 && peer.offered.is_empty() {
            self.begin(now, from);
        }
    }

    // ---- deadlines

    pub(super) fn pull_due(&mut self, now: Now) {
        while self.delayed.front().is_some_and(|(at, ..)| *at <= now.mono) {
            let Some((_, prefix, from)) = self.delayed.pop_front() else { break };
            if self.wanted.get(&prefix).is_some_and(|w| w.asked.is_none())
                && let Some(peer) = self.peers.get_mut(&from)
            {
                peer.offered.push_back(prefix);
            }
        }
        while self.asked.front().is_some_and(|(at, ..)| *at <= now.mono) {
            let Some((_, prefix, of)) = self.asked.pop_front() else { break };
            if self.wanted.get(&prefix).is_some_and(|w| w.asked == Some(of)) {
                if let Some(peer) = self.peers.get_mut(&of) {
                    peer.asked = peer.asked.saturating_sub(1);
                }
                self.next_source(prefix, of, false);
            }
        }
        let waiting =
            self.peers.iter().filter(|(_, p)| !p.offered.is_empty() || !p.serve.is_empty());
        let waiting: Vec<NodeId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.ask(now, id);
            self.serve(now, id);
        }
    }

    /// `of` did not send it: the next one who has it, or nobody. `gone`: never ask `of` again.
    fn next_source(&mut self, prefix: u64, of: NodeId, gone: bool) {
        let Some(wanted) = self.wanted.get_mut(&prefix) else { return };
        wanted.sources.retain(|id| *id != of);
        if !gone {
            wanted.sources.push(of);
        }
        wanted.asked = None;
        wanted.tries += u8::from(!gone);
        let next = wanted.sources.first().copied().filter(|_| wanted.tries < TRIES_MAX);
        match next.and_then(|id| self.peers.get_mut(&id)) {
            Some(peer) => peer.offered.push_front(prefix),
            None => drop(self.wanted.remove(&prefix)),
        }
    }

    /// A peer went away, or is not listened to any more: what was asked of it is asked of others.
    pub(super) fn forsake(&mut self, now: Now, peer: &NodeId) {
        let mentions = self.wanted.iter().filter(|(_, w)| w.sources.contains(peer));
        let mentions: Vec<(u64, bool)> =
            mentions.map(|(prefix, w)| (*prefix, w.asked == Some(*peer))).collect();
        for (prefix, asked) in mentions {
            let alone = self.wanted.get(&prefix).is_some_and(|w| w.sources.len() == 1);
            if asked || alone {
                self.next_source(prefix, *peer, true);
            } else if let Some(wanted) = self.wanted.get_mut(&prefix) {
                wanted.sources.retain(|id| id != peer);
            }
        }
        self.tick(now);
    }

    // ---- serving

    pub(super) fn on_want(&mut self, now: Now, from: NodeId, graft: bool, prefixes: Vec<u64>) {
        if graft {
            self.graft(&from);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        for prefix in prefixes {
            peer.shown(now.mono, prefix);
            if peer.serve.len() < SERVE_QUEUE_MAX {
                peer.serve.push_back(prefix);
            }
        }
        self.serve(now, from);
    }

    /// Sends what is wanted, as far as the budget allows.
    pub(super) fn serve(&mut self, now: Now, to: NodeId) {
        loop {
            let mut batch = Vec::new();
            let mut starved = false;
            while batch.len() < RECORDS_PER_MESSAGE_MAX {
                let Some(prefix) = self.peers.get(&to).and_then(|p| p.serve.front().copied())
                else {
                    break;
                };
                let carried = self.held(now, prefix).map(|(value, hops)| Carried {
                    hops: hops.saturating_add(1),
                    wire: value.wire(),
                });
                let len = carried.as_ref().map_or(0, carried_len::<V>);
                let Some(peer) = self.peers.get_mut(&to) else { return };
                starved = !peer.budget.bytes_out.take(len, now.mono);
                if starved {
                    break;
                }
                peer.serve.pop_front();
                batch.extend(carried);
            }
            if starved {
                self.tick(now);
            }
            if batch.is_empty() {
                return;
            }
            self.send(to, Message::Records(batch));
        }
    }
}
