//! What happens to clusters from outside: most of one dies, a crowd comes, the network changes its mode.
//!
//! Nothing is repaired before the questions begin. Each is skipped unless the scenario asks for it.

use std::time::Duration;

use homing_base::Mono;
use homing_core::dht::contact::id_prefix;
use homing_core::dht::{Mode, setting};

use super::report::Choice;
use super::run::Play;
use super::value::Mint;

/// How long a crowd is watched after it has come.
const AFTER_CROWD_SECONDS: f64 = 60.0;

impl<V: Mint> Play<'_, V> {
    /// A share of one cluster dies; whoever lives looks for what was stored there. One member at least remains.
    pub(super) fn lose_cluster(&mut self) {
        let share = self.scenario.kill_cluster;
        if share == 0.0 {
            return;
        }
        let published = self.honest();
        let one = self.world.any();
        let node = &self.world.nodes[one as usize];
        let leaf = node.dht.as_ref().and_then(|d| d.leaf());
        let depth = leaf.map_or(0, |l| u32::from(l.depth));
        let bits = id_prefix(&node.contact.id);
        let within = |prefix: u64| (prefix ^ bits).leading_zeros() >= depth;
        let id_of = |h: &u32| id_prefix(&self.world.nodes[*h as usize].contact.id);
        let all = self.world.alive.handles().iter();
        let members: Vec<u32> = all.filter(|h| within(id_of(h))).copied().collect();
        let agent_of = |h: &u32| id_prefix(&self.world.nodes[*h as usize].agent);
        let stored: Vec<u32> = published.into_iter().filter(|h| within(agent_of(h))).collect();
        let dying = ((members.len() as f64 * share).ceil() as usize).min(members.len() - 1);
        for _ in 0..dying {
            let left: Vec<u32> = members.iter().copied().filter(|h| self.lives(*h)).collect();
            let victim = left[self.world.below(left.len())];
            self.world.kill(victim);
        }
        self.measured.cluster_loss = Some(self.find_values(&stored));
    }

    fn lives(&self, node: u32) -> bool {
        self.world.nodes[node as usize].dht.is_some()
    }

    /// All of a record's k closest die but few; it is looked for, and counted one repair period later.
    pub(super) fn lose_holders(&mut self) {
        let spared = self.scenario.spared_holders;
        if spared == 0 {
            return;
        }
        let published = self.honest();
        let whom = published[self.world.below(self.scenario.publishers.max(1))];
        let agent = self.world.nodes[whom as usize].agent;
        let mut holders = self.world.alive.closest(&agent, self.scenario.k, None);
        // Who stored it would store it anew.
        self.world.kill(whom);
        holders.retain(|h| *h != whom);
        while holders.len() > spared {
            let at = self.world.below(holders.len());
            self.world.kill(holders.swap_remove(at));
        }
        self.measured.holder_loss = Some(self.find_values(&[whom]));
        self.run(self.scenario.repair_seconds);
        self.measured.holder_repaired = Some(self.placement(&[whom]));
    }

    /// Many come at once, and everybody goes on looking things up.
    pub(super) fn crowd(&mut self) {
        let alive = self.world.alive.len() as f64;
        let births = (alive * self.scenario.crowd) as usize;
        if births == 0 {
            return;
        }
        self.ended();
        self.world.work(true);
        for _ in 0..births {
            self.world.birth_anyone();
            self.run(self.scenario.crowd_seconds / births as f64);
        }
        self.run(AFTER_CROWD_SECONDS);
        self.world.work(false);
        let ended = self.ended();
        self.measured.crowd = Some(self.judge(&ended, |_| true));
    }

    /// Before sample `nth` of `samples`: is it time to change the mode?
    pub(super) fn migrate(&mut self, nth: usize, samples: usize) {
        if self.scenario.auto {
            return self.advise();
        }
        let migrations = self.scenario.migrations;
        let due = (1..=migrations).find(|m| 1 + m * samples / (migrations + 1) == nth);
        if let Some(due) = due {
            let mode = if due % 2 == 1 { self.scenario.clustered() } else { Mode::Kademlia };
            self.world.migrate(mode, Duration::from_secs_f64(self.scenario.migrate_seconds));
        }
    }

    /// The network's owner looks at what its node measures.
    fn advise(&mut self) {
        let Some(dht) = self.world.oldest().and_then(|node| node.dht.as_ref()) else { return };
        let (size, session) = (dht.estimates().size(), dht.estimates().session());
        let measured = setting::Measured { size, session, deaths: dht.stats().evicted };
        let (current, now) = (self.world.nature.config.mode, self.world.now().mono);
        if let Some(mode) = self.advisor.observe(&measured, current, now) {
            self.measured.choices.push(Choice {
                at_s: now.since(Mono::default()).as_secs_f64(),
                mode: mode.setting(),
            });
            self.world.migrate(mode, Duration::from_secs_f64(self.scenario.migrate_seconds));
        }
    }
}
