//! Attacks and accidents: what a scenario does to its world on purpose.
//!
//! Forged and excessive stores, newcomers whose seeds lie, many claims of one name, a world cut in two,
//! a prefix that an adversary churns. Each is skipped unless the scenario asks for it.

use std::collections::{BTreeSet, VecDeque};

use homing_base::{Name, Seq};
use homing_core::dht::{Body, Class, Contact, DhtInput, Message, Outcome, Slot};
use rand_core::Rng;

use super::adversary::Role;
use super::report::{Attack, Claims};
use super::run::{Play, upkeep};
use super::value::{Mint, SimPlace};
use super::world::Op;

/// The name that everybody claims.
const NAME: &str = "planner";
/// Between two claims.
const CLAIM_SECONDS: f64 = 0.1;
/// First bits that a churned node's ID shares with the attacked key.
const CHURNED_BITS: usize = 12;

impl<V: Mint> Play<'_, V> {
    // ---- attacks by message

    pub(super) fn attack(&mut self) {
        let (forged, flood) = (self.scenario.forged_stores, self.scenario.flood_stores);
        if forged + flood == 0 {
            return;
        }
        let attacker = self.world.birth_anyone();
        self.run(5.0);
        let mut attack = Attack::default();
        let honest = self.honest();
        for whom in honest.iter().take(self.scenario.publishers) {
            attack.forged_sent += self.forge(attacker, *whom, forged);
        }
        attack.forged_kept = self.forged_kept();
        if flood > 0 {
            let victim = honest[0];
            let before = self.values_of(victim);
            self.flood(attacker, victim, flood);
            attack.flood_sent = flood;
            attack.flood_kept = self.values_of(victim) - before;
        }
        self.measured.attack = Some(attack);
        self.ended();
    }

    fn values_of(&self, handle: u32) -> usize {
        self.world.nodes[handle as usize].dht.as_ref().map_or(0, |d| d.values().len())
    }

    fn throw(&mut self, from: u32, to: u32, id: u32, slot: Slot, value: V::Wire) {
        let sender: Contact<SimPlace> = self.world.nodes[from as usize].contact.clone();
        let message = Message { id, server: true, body: Body::Store { slot, value } };
        self.world.inject(to, DhtInput::Message { from: sender, message }, Class::Command);
    }

    fn forge(&mut self, from: u32, whom: u32, count: usize) -> usize {
        let id = self.world.nodes[whom as usize].agent;
        let wall = self.world.now().wall;
        let key = V::key(self.world.chance());
        let victims = self.world.alive.closest(&id, count, Some(from));
        for victim in &victims {
            let value = V::forge(id, &key, wall);
            self.throw(from, *victim, 1, Slot::agent(id), value);
        }
        victims.len()
    }

    fn forged_kept(&self) -> usize {
        let nodes = self.world.nodes.iter().filter_map(|n| n.dht.as_ref());
        let forged = |v: &V| v.sequence() == Seq(u64::MAX);
        nodes.map(|d| d.values().iter().filter(|(_, h)| forged(&h.value)).count()).sum()
    }

    /// `count` valid records of throw-away keys, as fast as one second allows.
    fn flood(&mut self, from: u32, to: u32, count: usize) {
        let wall = self.world.now().wall;
        for i in 0..count {
            let key = V::key(self.world.chance());
            let value = V::mint(&key, Seq(wall.0), wall).wire();
            self.throw(from, to, 2, Slot::agent(V::id(&key)), value);
            if i % 1_000 == 999 {
                self.run(1_000.0 / count as f64);
            }
        }
    }

    // ---- poisoned seeds

    /// Late nodes join through seeds of which some lie, then look for values.
    pub(super) fn newcomers(&mut self) {
        let count = self.scenario.newcomers;
        if count == 0 {
            return;
        }
        let (honest, liars) = (self.honest(), self.liars());
        let mut born = Vec::new();
        for _ in 0..count {
            let poisoned = self.scenario.poisoned_seeds;
            let pick = |play: &mut Self, from: &[u32]| {
                let handle = from[play.world.below(from.len())];
                play.world.nodes[handle as usize].contact.clone()
            };
            let mut seeds: Vec<_> = (0..poisoned).map(|_| pick(self, &liars)).collect();
            let sound = self.scenario.seeds_per_join - poisoned;
            seeds.extend((0..sound).map(|_| pick(self, &honest)));
            let (key, group) = self.stranger();
            born.push(self.world.birth_through(key, group, Role::Honest, seeds));
            self.run(1.0 / self.scenario.join_per_second);
        }
        self.run(60.0);
        let found = self.find_values_by(&born, &honest);
        self.measured.newcomers = Some(found);
    }

    fn liars(&self) -> Vec<u32> {
        let lies = |h: &&u32| self.world.nodes[**h as usize].role.lies();
        self.world.alive.handles().iter().filter(lies).copied().collect()
    }

    // ---- names

    /// Honest agents and sybils claim one name; others look for it.
    pub(super) fn claims(&mut self) {
        let (claimants, flood) = (self.scenario.claimants, self.scenario.claim_flood);
        if claimants + flood == 0 {
            return;
        }
        let name: Name = NAME.parse().expect("a name");
        let honest = self.honest();
        if self.scenario.flood_first {
            self.claim_by_sybils(&name, flood);
        }
        for node in &honest[..claimants] {
            self.world.claim(*node, &name, None);
            self.run(CLAIM_SECONDS);
        }
        if !self.scenario.flood_first {
            self.claim_by_sybils(&name, flood);
        }
        self.run(self.scenario.heal_seconds);
        self.ended();
        for _ in 0..self.scenario.finds {
            let by = honest[claimants + self.world.below(honest.len() - claimants)];
            self.world.find_name(by, &name);
            self.run(self.scenario.find_window_seconds / self.scenario.finds as f64);
        }
        self.run(31.0);
        let agents = honest[..claimants].iter().map(|h| self.world.nodes[*h as usize].agent);
        let wanted: BTreeSet<_> = agents.collect();
        let ended = self.ended();
        let lookups: Vec<_> = ended.iter().filter(|e| e.op == Op::FindName).collect();
        let complete = lookups.iter().filter(|e| match &e.outcome {
            Outcome::Values(found) => {
                let signers: BTreeSet<_> = found.iter().map(V::signer).collect();
                wanted.is_subset(&signers)
            }
            _ => false,
        });
        self.measured.claims = Some(Claims {
            honest: claimants,
            flood,
            lookups: lookups.len(),
            complete: complete.count(),
            held_max: self.claims_held(&Slot::name(&name)),
        });
    }

    /// Each sybil claims with a key of its own, through some node.
    fn claim_by_sybils(&mut self, name: &Name, count: usize) {
        for _ in 0..count {
            let (key, _) = self.stranger();
            let by = self.world.any();
            self.world.claim(by, name, Some(&key));
            self.run(CLAIM_SECONDS);
        }
    }

    fn claims_held(&self, slot: &Slot) -> usize {
        let now = self.world.now();
        let nodes = self.world.nodes.iter().filter_map(|n| n.dht.as_ref());
        nodes.map(|d| d.values().find(slot, now).count()).max().unwrap_or(0)
    }

    // ---- a partition

    /// Half of the world cannot hear the other. Both sides store new records, and newer versions of
    /// records that both know; then the cut heals.
    pub(super) fn partition(&mut self) {
        if self.scenario.partition_seconds == 0.0 {
            return;
        }
        let honest = self.honest();
        self.world.parted = true;
        self.run(self.scenario.partition_seconds / 2.0);
        for (i, node) in honest.iter().enumerate() {
            // Every second record that is known is published by a twin on the other side.
            let other = honest[(i + 1) % honest.len()];
            let twin = if i % 2 == 1 { other } else { *node };
            self.world.publish_for(twin, *node, twin == *node);
            self.run(0.02);
        }
        self.run(self.scenario.partition_seconds / 2.0);
        self.world.parted = false;
        self.run(self.scenario.heal_seconds);
        let found = self.find_values(&honest);
        self.measured.healed = Some(found);
    }

    // ---- a churned prefix

    /// Short-lived nodes come and go around one record.
    pub(super) fn churned_prefix(&mut self) {
        let (count, life) = (self.scenario.churners, self.scenario.churner_seconds);
        if count == 0 {
            return;
        }
        let whom = self.honest()[0];
        let target = self.world.nodes[whom as usize].agent;
        let mut living = VecDeque::new();
        self.traffic();
        let births = (self.scenario.churned_seconds * count as f64 / life) as usize;
        for _ in 0..births {
            let key = V::key_near(&target, CHURNED_BITS, self.world.chance());
            let group = self.world.chance().next_u32() | 1;
            living.push_back(self.world.birth(key, group, Role::Honest));
            self.run(life / count as f64);
            if living.len() > count {
                let oldest = living.pop_front().expect("longer than count");
                self.world.kill(oldest);
            }
        }
        self.measured.churned_upkeep = Some(upkeep(self.traffic()));
        let found = self.find_values(&[whom]);
        self.measured.churned = Some(found);
        living.into_iter().for_each(|node| self.world.kill(node));
    }
}
