//! The only door into the table: is it known, is there a budget, is it signed, is it true?

use homing_base::{NodeId, Now, Seq};

use super::limits::{FORGED_MAX, MUTE, OFFENDERS_MAX, PASSING_MAX};
use super::message::Carried;
use super::table::{Novelty, Put};
use super::value::{Claim, Unbelievable, Value, prefix};
use super::{Gossip, GossipOutput, Passing};

/// What became of a record that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// New, verified and passed on.
    Fresh,
    /// Known already.
    Again,
    /// Neither.
    Refused,
}

impl<V: Value> Gossip<V> {
    /// This node's own value, or one that was registered with it.
    pub(super) fn publish(&mut self, now: Now, value: V) {
        let id = value.signer();
        if value.expires() <= now.wall {
            return;
        }
        if let Put::Kept { contradicts } = self.table.put(now, value.clone(), 0, true) {
            self.outputs.push_back(GossipOutput::Persist { value: value.clone(), local: true });
            self.changed = Some(now.wall);
            self.report(contradicts, &value);
            self.shed(now);
            self.finish_want(prefix(&id), value.sequence());
            self.spread(now, &value, 0, None, false);
        }
    }

    pub(super) fn hear(&mut self, now: Now, from: NodeId, carried: Carried<V::Wire>) -> Heard {
        let Ok((unverified, claim)) = V::parse(&carried.wire) else {
            self.blame(now, from);
            return Heard::Refused;
        };
        let place = prefix(&claim.id);
        let asked = self.wanted.get(&place).filter(|w| w.asked == Some(from));
        let (solicited, sync) = (asked.is_some(), asked.is_some_and(|w| w.sync));
        let novelty = self.novelty(&claim, now);
        match novelty {
            Novelty::Same => {
                self.stats.duplicates += 1;
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.shown(now.mono, place);
                    peer.acknowledge(now.mono, place);
                }
                self.finish_want(place, claim.sequence);
                return Heard::Again;
            }
            Novelty::Stale => {
                self.stats.stale += 1;
                self.finish_want(place, claim.sequence);
                return Heard::Refused;
            }
            Novelty::Fresh { .. } | Novelty::Disputed => {}
        }
        let newcomer = novelty == Novelty::Fresh { newcomer: true };
        if !self.affords(now, &from, solicited, newcomer) {
            self.stats.shed += 1;
            return Heard::Refused;
        }
        match V::verify(unverified, now) {
            Ok(value) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.shown(now.mono, place);
                }
                self.finish_want(place, claim.sequence);
                self.take(now, value, from, carried.hops, sync, newcomer)
            }
            Err(Unbelievable::Untimely) => {
                self.stats.untimely += 1;
                self.finish_want(place, claim.sequence);
                Heard::Refused
            }
            Err(Unbelievable::Forged | Unbelievable::Malformed) => {
                self.blame(now, from);
                Heard::Refused
            }
        }
    }

    /// What is kept, or was passed on lately, counts as known.
    fn novelty(&self, claim: &Claim, now: Now) -> Novelty {
        match self.passing.get(&claim.id) {
            Some(p) if p.mark == claim.mark => Novelty::Same,
            Some(p) if p.value.sequence() >= claim.sequence => Novelty::Stale,
            _ => self.table.novelty(claim, now),
        }
    }

    fn affords(&mut self, now: Now, from: &NodeId, solicited: bool, newcomer: bool) -> bool {
        let Some(peer) = self.peers.get_mut(from) else { return false };
        (solicited || peer.budget.pushes_in.take(1, now.mono))
            && (!newcomer || peer.budget.newcomers_in.take(1, now.mono))
            && self.verifies.take(1, now.mono)
    }

    fn take(
        &mut self,
        now: Now,
        value: V,
        from: NodeId,
        hops: u8,
        sync: bool,
        newcomer: bool,
    ) -> Heard {
        let id = value.signer();
        let kept = match self.table.put(now, value.clone(), hops, false) {
            Put::Kept { contradicts } => {
                self.report(contradicts, &value);
                self.shed(now);
                if newcomer && self.table.is_full() {
                    self.table.drop_entry(&id);
                }
                self.table.entry(&id).is_some()
            }
            Put::Lost { winner, news } => {
                if news {
                    self.outputs
                        .push_back(GossipOutput::Equivocation { kept: winner, other: value });
                }
                return Heard::Refused;
            }
            Put::Outside => false,
        };
        self.stats.accepted += 1;
        self.changed = Some(now.wall);
        if kept {
            self.outputs.push_back(GossipOutput::Persist { value: value.clone(), local: false });
        } else {
            self.pass(id, &value, hops);
        }
        let told = GossipOutput::Accepted { value: value.clone(), from, hops, kept };
        self.outputs.push_back(told);
        if sync {
            self.stir(now);
        }
        self.spread(now, &value, hops, Some(from), sync);
        Heard::Fresh
    }

    fn report(&mut self, contradicts: Option<V>, kept: &V) {
        if let Some(other) = contradicts {
            self.outputs.push_back(GossipOutput::Equivocation { kept: kept.clone(), other });
        }
    }

    fn shed(&mut self, now: Now) {
        for id in self.table.shed(now) {
            self.stats.behind += 1;
            self.outputs.push_back(GossipOutput::Forget(id));
        }
    }

    fn pass(&mut self, id: NodeId, value: &V, hops: u8) {
        let passing = Passing { value: value.clone(), mark: value.mark(), hops };
        if self.passing.insert(id, passing).is_none() {
            self.passing_order.push_back(id);
        }
        if self.passing_order.len() > PASSING_MAX
            && let Some(first) = self.passing_order.pop_front()
        {
            self.passing.remove(&first);
        }
    }

    /// The peer sent something that its own checks must have refused.
    fn blame(&mut self, now: Now, peer: NodeId) {
        self.stats.forged += 1;
        if self.offenders.len() >= OFFENDERS_MAX && !self.offenders.contains_key(&peer) {
            let least = self.offenders.iter().min_by_key(|(_, o)| (o.muted_until, o.forged));
            let least = least.map(|(id, _)| *id).expect("there are many");
            self.offenders.remove(&least);
        }
        let offence = self.offenders.entry(peer).or_default();
        offence.forged += 1;
        if offence.forged >= FORGED_MAX {
            *offence = super::Offence { forged: 0, muted_until: now.mono.after(MUTE) };
            self.outputs.push_back(GossipOutput::Muted { peer });
            self.forsake(now, &peer);
            if let Some(state) = self.peers.get_mut(&peer) {
                *state = super::Peer::new(now.mono, now.mono.after(MUTE));
                state.eager = false;
            }
        }
    }

    /// The newest version at `prefix`, kept or passing, with its hops.
    pub(super) fn held(&self, now: Now, prefix: u64) -> Option<(&V, u8)> {
        let kept = self.table.at(prefix).map(|(_, e)| (&e.value, e.hops)).next();
        let passing = || {
            let mut ids = self.passing.iter().filter(|(id, _)| super::value::prefix(id) == prefix);
            ids.next().map(|(_, p)| (&p.value, p.hops))
        };
        kept.or_else(passing).filter(|(value, _)| value.expires() > now.wall)
    }

    /// The sequence and the short mark of the newest version at `prefix`, kept or passing.
    pub(super) fn version(&self, now: Now, prefix: u64) -> Option<(Seq, u32)> {
        let kept = self.table.at(prefix).next().filter(|(_, e)| e.value.expires() > now.wall);
        kept.map(|(_, e)| (e.value.sequence(), (e.mark >> 32) as u32)).or_else(|| {
            let passing = self.held(now, prefix)?.0;
            Some((passing.sequence(), (passing.mark() >> 32) as u32))
        })
    }

    /// Whether this version, or a later one, is or was known.
    pub(super) fn knows(&self, prefix: u64, sequence: Seq, mark: u32) -> bool {
        self.table.knows(prefix, sequence, mark)
    }
}
