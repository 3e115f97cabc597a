//! Worlds as sentences: one file per theme, each test a property that a user would state.

mod canary;
mod clocks;
mod crash;
mod dht;
mod logs;
mod messages;
mod moves;
mod privacy;
mod references;
mod relays;
mod replay;
mod trust;
mod twins;

use std::time::Duration;

use homing_core::io::{Answer, Command};
use homing_sim::link::RelayIx;
use homing_sim::{AgentIx, NatKind, World, WorldTime};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two agents behind the given networks, relays of their own, and trust on both sides.
struct Two {
    world: World,
    a: AgentIx,
    b: AgentIx,
    relays: Vec<RelayIx>,
}

/// Two agents and a relay; nothing was asked yet.
fn strangers(seed: u64, a: NatKind, b: NatKind, relays: usize) -> Two {
    let mut world = World::new(seed);
    let relays: Vec<_> = (0..relays).map(|_| world.add_relay()).collect();
    world.run_for(ms(300));
    let a = world.agent(a, &relays);
    let b = world.agent(b, &relays);
    world.run_for(secs(2));
    Two { world, a, b, relays }
}

/// Two agents that trust each other and are linked.
fn friends(seed: u64, a: NatKind, b: NatKind, relays: usize) -> Two {
    let mut two = strangers(seed, a, b, relays);
    two.world.befriend(two.a, two.b);
    two.world.demand_convergence_of_friends(two.a, two.b);
    two
}

/// What tests ask of a world beyond its own interface.
trait Expectations {
    fn demand_convergence_of_friends(&mut self, a: AgentIx, b: AgentIx);
    fn holds(&self);
    fn first_ping(&mut self, from: AgentIx, to: AgentIx, limit: Duration) -> Option<Duration>;
    fn ping(&mut self, from: AgentIx, to: AgentIx) -> Result<Answer, String>;
}

impl Expectations for World {
    fn demand_convergence_of_friends(&mut self, a: AgentIx, b: AgentIx) {
        let mutual = self.run_until(secs(20), |w| w.says_mutual(a, b) && w.says_mutual(b, a));
        self.holds();
        assert!(mutual, "trust: {:?} and {:?}", self.trust_state(a, b), self.trust_state(b, a));
        self.run_for(secs(1));
        self.demand_convergence(secs(20));
        self.holds();
    }

    /// Nothing was found wrong.
    fn holds(&self) {
        let findings: Vec<_> = self.findings().iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "seed {:#x}: {findings:#?}", self.seed);
    }

    /// A user pings every 100 ms; how long until the first answer.
    fn first_ping(&mut self, from: AgentIx, to: AgentIx, limit: Duration) -> Option<Duration> {
        let start = self.now();
        let mut asked = Vec::new();
        while self.now().since(start) < limit {
            let (run, peer) = (self.run_of(from), self.peer(to));
            asked.push((run, self.command(run, Command::Ping { peer, timeout: secs(3) })));
            self.run_for(ms(100));
            let answers = asked.iter().filter_map(|(run, request)| {
                let answered = self.runs[run.0].answered.get(request)?;
                matches!(answered.answer, Ok(Answer::Pinged { .. })).then_some(answered.at)
            });
            if let Some(at) = answers.min() {
                return Some(at.since(start));
            }
        }
        None
    }

    fn ping(&mut self, from: AgentIx, to: AgentIx) -> Result<Answer, String> {
        let (run, peer) = (self.run_of(from), self.peer(to));
        let request = self.command(run, Command::Ping { peer, timeout: secs(3) });
        self.run_for(secs(4));
        let answered = self.runs[run.0].answered.get(&request);
        let answered = answered.ok_or("no answer at all".to_owned())?;
        assert!(answered.at > WorldTime(0));
        answered.answer.clone().map_err(|failure| format!("{failure:?}"))
    }
}
