//! What breaks on its own: relays, cables, sleep. Each time one number: how long the peer's user waits.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::nat::Nat::{PortRestricted, Symmetric};
use homing_lab::topology::Place::{self, Behind};

use crate::harness::{Notes, Scenario};
use crate::world::{Pings, Seat, World, introduce, ms, path_kind, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_only_relay_restarts_under_a_relayed_pair",
        limit_s: 60,
        needs_binary: true,
        run: relay_restarts,
    },
    Scenario {
        name: "both_relays_die_and_a_direct_pair_does_not_notice",
        limit_s: 90,
        needs_binary: true,
        run: both_relays_die,
    },
    Scenario {
        name: "cables_cut_for_10_and_30_s_heal",
        limit_s: 90,
        needs_binary: true,
        run: long_cuts,
    },
    Scenario {
        name: "a_suspended_agent_answers_as_it_wakes",
        limit_s: 90,
        needs_binary: true,
        run: suspend,
    },
];

/// From the end of a fault to the first answer.
const HEAL_LIMIT: Duration = Duration::from_secs(1);

/// The same for a cable cut so long that the relay was given up as well. The aim is a second; the kernel may take that
/// long to ask for its neighbour again.
const LONG_CUT_LIMIT: Duration = Duration::from_secs(2);

/// The longest silence of a direct pair, whether its relays live or die: what a busy machine may cost a ping.
const UNNOTICED_LIMIT: Duration = Duration::from_millis(500);

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn relay_restarts(notes: &mut Notes) -> Result<()> {
    let mut world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(Symmetric), Behind(Symmetric))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    let killed = Instant::now();
    world.relays[0].kill();
    pings.run_for(Duration::from_secs(2));
    let back = Instant::now();
    world.relays[0].restart()?;
    let answered = pings.answered_after(back, PATIENCE).with_context(|| logs(&a, &b))?;
    pings.run_for(Duration::from_secs(2));
    let gap = pings.gap_since(killed);
    notes.add(format!("down for 2 s: answers {} after the start, gap {}", ms(answered), ms(gap)));
    ensure!(answered < Duration::from_secs(3), "took {}", ms(answered));
    Ok(())
}

fn both_relays_die(notes: &mut Notes) -> Result<()> {
    let mut world = World::with_relays(2)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    let quiet = Instant::now();
    pings.run_for(Duration::from_secs(20));
    let (before, lost_before) = (pings.gap_since(quiet), pings.lost());
    notes.add(format!("20 s with relays: gap {}, pings lost {lost_before}", ms(before)));
    let killed = Instant::now();
    world.relays.iter_mut().for_each(|relay| relay.kill());
    // Longer than QUIC keeps an idle path.
    pings.run_for(Duration::from_secs(20));
    let (gap, lost) = (pings.gap_since(killed), pings.lost() - lost_before);
    let at = pings.gap_began(killed);
    notes.add(format!("20 s without: gap {} after {}, pings lost {lost}", ms(gap), ms(at)));
    ensure!(before < UNNOTICED_LIMIT, "gap {} with both relays, lost {lost_before}", ms(before));
    ensure!(gap < UNNOTICED_LIMIT, "gap {} without relays, lost {lost}", ms(gap));
    ensure!(path_kind(&b.agent, "agent-a")? == "direct", "no longer direct");
    Ok(())
}

/// One pair whose far end's cable will be cut.
struct Cut {
    what: String,
    time: Duration,
    far: Seat,
    near: Seat,
    pings: Pings,
}

impl Cut {
    fn lay(world: &World, turn: usize, place: Place, kind: &str, seconds: u64) -> Result<Self> {
        let near = world.running(place, &format!("near-{turn}"))?;
        let far = world.running(place, &format!("far-{turn}"))?;
        introduce(&near.agent, &far.agent)?;
        if kind == "direct" {
            until_direct(&near.agent, far.agent.name(), Duration::from_secs(8))?;
        }
        let pings = Pings::start(&near.agent, far.agent.name())?;
        let what = format!("{kind} pair cut for {seconds} s");
        Ok(Self { what, time: Duration::from_secs(seconds), far, near, pings })
    }

    fn repair(&mut self, notes: &mut Notes) -> Result<Duration> {
        let repaired = Instant::now();
        self.far.host.cable(true)?;
        let answered = self.pings.answered_after(repaired, PATIENCE);
        let answered = answered.with_context(|| logs(&self.near, &self.far))?;
        notes.add(format!("{}: answers {} after the repair", self.what, ms(answered)));
        Ok(answered)
    }
}

fn long_cuts(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (cone, symmetric) = (Behind(PortRestricted), Behind(Symmetric));
    let mut cuts = [
        Cut::lay(&world, 0, cone, "direct", 10)?,
        Cut::lay(&world, 1, symmetric, "relayed", 10)?,
        Cut::lay(&world, 2, cone, "direct", 30)?,
        Cut::lay(&world, 3, symmetric, "relayed", 30)?,
    ];
    let cut_at = Instant::now();
    for cut in &cuts {
        cut.far.host.cable(false)?;
    }
    for cut in &mut cuts {
        thread::sleep((cut_at + cut.time).saturating_duration_since(Instant::now()));
        let took = cut.repair(notes)?;
        let limit = if cut.time.as_secs() > 10 { LONG_CUT_LIMIT } else { HEAL_LIMIT };
        ensure!(took < limit, "{}: took {}", cut.what, ms(took));
    }
    Ok(())
}

fn suspend(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    for seconds in [1, 5, 35] {
        b.agent.suspend(true)?;
        pings.run_for(Duration::from_secs(seconds));
        let awake = Instant::now();
        b.agent.suspend(false)?;
        let answered = pings.answered_after(awake, PATIENCE).with_context(|| logs(&a, &b))?;
        notes.add(format!("asleep for {seconds} s: answers {} after waking", ms(answered)));
        ensure!(answered < HEAL_LIMIT, "asleep for {seconds} s: took {}", ms(answered));
        until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    }
    Ok(())
}

fn logs(a: &Seat, b: &Seat) -> String {
    format!("{}\n{}", a.agent.log_tail(), b.agent.log_tail())
}
