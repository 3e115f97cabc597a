//! Messages between agents that crash, move and lose their links: accepted ones arrive, once, in order.

use homing_base::{MessageId, NodeId};
use homing_core::io::{Answer, Command, Draft, MessageCommand, MessageKind, TrustState};
use homing_core::messages::limits::LIFETIME;
use homing_sim::link::Loss;
use homing_sim::{AgentIx, Carry, NatKind, World};

use crate::{Expectations, Two, friends, ms, secs};

/// Chance of a test: splitmix64 (Steele, Lea & Flood, OOPSLA 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn draft(body: Vec<u8>) -> Draft {
    Draft { kind: MessageKind::Text, body, source: None, lifetime: LIFETIME }
}

/// The ID of a message that was accepted: its sender's user has been told so.
fn send(world: &mut World, from: AgentIx, to: AgentIx, body: Vec<u8>) -> Option<MessageId> {
    let (run, peer) = (world.run_of(from), world.peer(to));
    if !world.runs[run.0].alive() {
        return None;
    }
    let request = world.command(run, Command::Send { peer, draft: draft(body) });
    match world.runs[run.0].answered.get(&request).map(|answered| &answered.answer) {
        Some(Ok(Answer::Sent { id, .. })) => Some(*id),
        _ => None,
    }
}

/// The user of an agent reads what is there.
fn read(world: &mut World, agent: AgentIx) {
    let run = world.run_of(agent);
    let Some(core) = world.runs[run.0].core() else { return };
    let all: Vec<_> = core.inbox().map(|message| (message.from, message.parcel.id)).collect();
    if !all.is_empty() {
        world.command(run, Command::Messages(MessageCommand::Consume(all)));
    }
}

/// What became durable at `to` of `from`'s messages, in order, copies included.
fn arrived(world: &World, from: NodeId, to: AgentIx) -> Vec<MessageId> {
    let host = world.identities[to.0].host;
    let all = &world.homes[&(to, host)].mailbox.arrived;
    all.iter().filter(|(sender, _)| *sender == from).map(|(_, id)| *id).collect()
}

fn demand(world: &World, from: AgentIx, to: AgentIx, accepted: &[MessageId]) {
    let arrived = arrived(world, world.id(from), to);
    let mut once = arrived.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), arrived.len(), "seed {:#x}: something arrived twice", world.seed);
    // What was durable but not answered for when the sender died may arrive, too.
    let known: Vec<_> = arrived.into_iter().filter(|id| accepted.contains(id)).collect();
    assert_eq!(known, accepted, "seed {:#x}: from {from:?} to {to:?}", world.seed);
}

fn is_settled(world: &World, agents: [AgentIx; 2]) -> bool {
    let empty = |agent: AgentIx| world.core(agent).is_some_and(|core| core.outbox().count() == 0);
    agents.into_iter().all(empty)
}

fn put_right(world: &mut World, agents: [AgentIx; 2]) {
    world.heal();
    for agent in agents {
        let run = world.run_of(agent);
        world.runs[run.0].crash_at = None;
        world.start_if_down(agent);
    }
    let settled = (0..300).any(|_| {
        world.run_for(secs(1));
        agents.into_iter().for_each(|agent| read(world, agent));
        is_settled(world, agents)
    });
    world.holds();
    assert!(settled, "seed {:#x}: the outboxes are not empty", world.seed);
}

/// A minute of everything at once.
fn trouble(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let Two { mut world, a, b, .. } = friends(seed, NatKind::PortRestricted, NatKind::Symmetric, 1);
    world.options.loss = Loss::WIRELESS;
    let mut accepted = [Vec::new(), Vec::new()];
    for step in 0..240 {
        let side = dice.below(2) as usize;
        let (from, to) = if side == 0 { (a, b) } else { (b, a) };
        match dice.below(24) {
            0 => world.crash_soon(from, 1 + dice.below(12), ms(300)),
            1 => {
                world.kill(from);
                world.start_later(from, ms(dice.below(2_000)));
            }
            2 if step % 3 == 0 => world.partition(dice.below(2) == 0, seed + step, secs(4)),
            3 if step % 4 == 0 => {
                world.kill(from);
                world.move_to_new_ip(from, NatKind::PortRestricted, Carry::Home);
            }
            4..8 => read(&mut world, from),
            _ => {
                let size = 1 + dice.below(3_000) as usize;
                accepted[side].extend(send(&mut world, from, to, vec![b'x'; size]));
            }
        }
        world.run_for(ms(dice.below(500)));
    }
    put_right(&mut world, [a, b]);
    demand(&world, a, b, &accepted[0]);
    demand(&world, b, a, &accepted[1]);
    accepted.iter().map(Vec::len).sum()
}

#[test]
fn what_was_accepted_arrives_once_and_in_order_whatever_happens() {
    let sent: usize = (0..12).map(|n| trouble(0x4d41_494c + n)).sum();
    assert!(sent > 600, "only {sent} messages were sent at all");
}

/// One message, with one side dying before its nth output from then on.
fn dies_after(sender: bool, outputs: u64) -> u64 {
    let Two { mut world, a, b, .. } = friends(31, NatKind::Public, NatKind::PortRestricted, 1);
    let dying = if sender { a } else { b };
    let run = world.run_of(dying);
    let before = world.runs[run.0].outputs;
    world.runs[run.0].crash_at = Some(before + outputs);
    let accepted: Vec<_> = (0..3).filter_map(|n| send(&mut world, a, b, vec![b'0' + n])).collect();
    world.run_for(secs(1));
    let made = world.runs[run.0].outputs - before;
    world.kill(dying);
    world.run_for(ms(200));
    world.start(dying);
    put_right(&mut world, [a, b]);
    demand(&world, a, b, &accepted);
    made
}

#[test]
fn either_side_may_die_between_any_two_outputs() {
    for sender in [true, false] {
        let mut outputs = 0;
        while dies_after(sender, outputs) == outputs && outputs < 60 {
            outputs += 1;
        }
        assert!(outputs > 4, "a message has more than {outputs} outputs");
    }
}

#[test]
fn after_trust_ended_nothing_more_is_taken() {
    let Two { mut world, a, b, .. } = friends(32, NatKind::Public, NatKind::Public, 1);
    assert!(send(&mut world, a, b, b"before".to_vec()).is_some());
    world.run_for(secs(2));
    world.revoke(b, a);
    world.run_until(secs(10), |w| w.trust_state(a, b) == TrustState::RevokedByPeer);
    assert_eq!(send(&mut world, a, b, b"after".to_vec()), None);
    world.run_for(secs(5));
    assert_eq!(arrived(&world, world.id(a), b).len(), 1);
    world.holds();
}

#[test]
fn a_stranger_is_answered_with_no_and_nothing_is_kept() {
    let two = crate::strangers(33, NatKind::Public, NatKind::Public, 1);
    let Two { mut world, a, b, .. } = two;
    assert_eq!(send(&mut world, a, b, b"hello".to_vec()), None);
    world.run_for(secs(2));
    assert!(arrived(&world, world.id(a), b).is_empty());
    world.holds();
}
