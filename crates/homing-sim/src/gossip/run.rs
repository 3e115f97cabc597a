//! Plays a scenario.

use std::time::Duration;

use super::graph::{below, some_below};
use super::report::{Idle, Join, Measured, Spread};
use super::scenario::Scenario;
use super::world::{Role, World};

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

/// Plays `scenario` with `seed`.
#[must_use]
pub fn play(scenario: &Scenario, seed: u64) -> Measured {
    let s = scenario;
    let latency = (s.latency_ms_min, s.latency_ms_max);
    let mut world = World::new(s.config(), s.loss, latency, seed);
    settle(&mut world, s);
    let mut measured = Measured::default();
    if s.records > 0 {
        measured.publish = Some(publish(&mut world, s));
    }
    if s.attack_seconds > 0.0 {
        measured.attack = Some(attack(&mut world, s));
        measured.harm = Some(world.harm);
    }
    if s.idle_seconds > 0.0 {
        measured.idle = Some(idle(&mut world, s));
    }
    if s.partition_seconds > 0.0 {
        measured.heal = Some(partition(&mut world, s));
    }
    if s.joiners > 0 {
        measured.join = Some(join(&mut world, s));
    }
    measured.honest = world.honest();
    measured.links = world.links_up();
    measured.events = world.events;
    let honest = world.nodes.iter().filter(|node| node.role == Role::Honest);
    honest.for_each(|node| measured.repair.add(node.gossip.stats()));
    measured
}

/// Everybody is born and linked; adversaries stand anywhere.
fn settle(world: &mut World, s: &Scenario) {
    let hostile = [
        (Role::Forger, s.forgers),
        (Role::Replayer, s.replayers),
        (Role::Flooder, s.flooders),
        (Role::Withholder, s.withholders),
    ];
    let hostile = hostile.into_iter().flat_map(|(role, count)| std::iter::repeat_n(role, count));
    let mut roles: Vec<Role> = hostile.collect();
    roles.resize(s.nodes, Role::Honest);
    for last in (1..roles.len()).rev() {
        let other = below(world.chance(), last + 1);
        roles.swap(last, other);
    }
    let handles: Vec<u32> = roles.into_iter().map(|role| world.birth(role)).collect();
    for (a, b) in s.graph.edges(s.nodes, s.links, world.chance()) {
        world.link(handles[a], handles[b]);
    }
    world.run_for(Duration::from_secs(5));
}

/// A random honest node among the first `n`, not below `from`.
fn honest(world: &mut World, from: usize, n: usize) -> u32 {
    loop {
        let node = from + below(world.chance(), n - from);
        if world.nodes[node].role == Role::Honest {
            return u32::try_from(node).expect("a handle");
        }
    }
}

fn publish(world: &mut World, s: &Scenario) -> Spread {
    world.take_traffic();
    for i in 0..s.records {
        let node = honest(world, 0, s.nodes);
        world.publish_later(node, seconds(s.publish_seconds * i as f64 / s.records as f64));
    }
    world.run_for(seconds(s.publish_seconds));
    let took = world.run_until(seconds(s.patience_seconds), |w| w.missing() == 0);
    spread(world, took, s.records)
}

fn spread(world: &mut World, took: Duration, records: usize) -> Spread {
    let traffic = world.take_traffic();
    let state = (world.missing(), world.wrong());
    Spread::of(state, took, &world.times(), traffic, records * world.honest())
}

/// Half of the records change, so that there is something to replay; then the adversaries act.
fn attack(world: &mut World, s: &Scenario) -> Spread {
    world.take_traffic();
    let (signers, pause) = (world.signers(), seconds(1.0 / s.attack_per_second));
    for signer in signers.iter().step_by(2) {
        let node = honest(world, 0, s.nodes);
        world.publish_note(node, *signer, Duration::from_secs(1));
    }
    world.run_for(Duration::from_secs(2));
    world.attack_for(seconds(s.attack_seconds), pause);
    let changed = signers.len().div_ceil(2);
    let took = world.run_until(seconds(s.attack_seconds), |w| w.missing() == 0);
    world.run_for(seconds(s.attack_seconds).saturating_sub(took));
    spread(world, took, changed)
}

fn idle(world: &mut World, s: &Scenario) -> Idle {
    // What is still under way is not idleness.
    world.run_for(Duration::from_secs(60));
    world.take_traffic();
    world.run_for(seconds(s.idle_seconds));
    let traffic = world.take_traffic();
    let per_node_second = traffic.bytes as f64 / traffic.node_seconds;
    let peers_per_node = 2.0 * world.links_up() as f64 / world.nodes.len() as f64;
    Idle {
        bytes_per_node_second: per_node_second,
        bytes_per_peer_30s: per_node_second * 30.0 / peers_per_node,
    }
}

fn partition(world: &mut World, s: &Scenario) -> Spread {
    let border = s.nodes / 2;
    let cut = world.crossing(u32::try_from(border).expect("a handle"));
    cut.iter().for_each(|(a, b)| world.unlink(*a, *b));
    for i in 0..s.partition_records {
        let share = i as f64 / s.partition_records as f64;
        let (from, to) = if i % 2 == 0 { (0, border) } else { (border, s.nodes) };
        let node = honest(world, from, to);
        world.publish_later(node, seconds(s.partition_seconds * share));
    }
    world.run_for(seconds(s.partition_seconds));
    world.take_traffic();
    cut.iter().for_each(|(a, b)| world.link(*a, *b));
    let took = world.run_until(seconds(s.patience_seconds), |w| w.missing() == 0);
    spread(world, took, s.partition_records)
}

fn join(world: &mut World, s: &Scenario) -> Join {
    world.run_for(seconds(s.join_after_seconds));
    let joiners: Vec<u32> = (0..s.joiners).map(|_| world.birth(Role::Honest)).collect();
    for joiner in &joiners {
        for other in some_below(s.nodes, s.join_links, world.chance()) {
            world.link(*joiner, u32::try_from(other).expect("a handle"));
        }
    }
    let took = world.run_until(seconds(s.patience_seconds), |w| w.missing() == 0);
    let all = world.signers().len();
    let complete = joiners.iter().filter(|j| world.nodes[**j as usize].current == all).count();
    // Every link begins one comparison by itself; only what comes after those is another round.
    let rounds = joiners.iter().map(|j| world.nodes[*j as usize].gossip.stats().timed_rounds);
    let rounds_max = 1 + u32::try_from(rounds.max().unwrap_or(0)).unwrap_or(u32::MAX);
    Join { complete, seconds: took.as_secs_f64(), rounds_max }
}
