//! The main job: an agent moves, dies, is reborn, changes networks, and its peer notices only a gap.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::agent::Agent;
use homing_lab::nat::Nat::{FullCone, PortRestricted, Symmetric};
use homing_lab::topology::{Host, Place, Place::*, Router};

use crate::harness::{Notes, Scenario};
use crate::world::{Pings, Seat, World, ms, trust, until, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "eleven_moves", limit_s: 90, needs_binary: true, run: eleven_moves },
    Scenario {
        name: "address_change_under_a_live_connection",
        limit_s: 60,
        needs_binary: true,
        run: address_change,
    },
    Scenario { name: "cut_cable_heals", limit_s: 40, needs_binary: true, run: cut_cable },
    Scenario { name: "takeover_loses_nothing", limit_s: 40, needs_binary: true, run: takeover },
    Scenario {
        name: "silent_death_is_noticed",
        limit_s: 40,
        needs_binary: true,
        run: silent_death,
    },
];

/// The floor for a move; the aim is a median below half a second.
const MOVE_LIMIT: Duration = Duration::from_secs(2);

/// How long it is dead: not even noticed, noticed, and long enough for its peer to try seldom.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(2_500), Duration::from_millis(5_000)];

/// Where the agent lives next: eleven times another machine, another network, another kind of NAT.
const STATIONS: [Place; 11] = [
    Behind(PortRestricted),
    Public,
    Behind(Symmetric),
    Carrier(PortRestricted),
    Behind(FullCone),
    Public,
    Behind(PortRestricted),
    Carrier(Symmetric),
    Behind(Symmetric),
    Public,
    Behind(PortRestricted),
];

fn eleven_moves(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(FullCone))?;
    let stations: Vec<(Host, Vec<Router>)> =
        STATIONS.iter().map(|place| world.lab.host_at(*place)).collect::<Result<_>>()?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    let Seat { agent: mut wanderer, .. } = b;
    let mut times = Vec::new();
    for (turn, (host, _)) in stations.iter().enumerate() {
        let mut next = wanderer.copied_to(host)?;
        wanderer.kill()?;
        thread::sleep(PAUSES[turn % PAUSES.len()]);
        let born = Instant::now();
        next.spawn(&world.all_relays(), &[])?;
        let answered = pings.answered_after(born, Duration::from_secs(15));
        times.push(answered.with_context(|| context(&a.agent, &next))?);
        wanderer = next;
    }
    let states = (trust(&a.agent, &wanderer)?, trust(&wanderer, &a.agent)?);
    ensure!(states == ("mutual".into(), "mutual".into()), "trust after the moves: {states:?}");
    let each: Vec<String> = times.iter().map(|time| time.as_millis().to_string()).collect();
    times.sort();
    notes.add(format!("median {}, each {} ms", ms(times[5]), each.join(" ")));
    ensure!(times[10] < MOVE_LIMIT, "a move took {}", ms(times[10]));
    Ok(())
}

fn context(a: &Agent, b: &Agent) -> String {
    format!("after a move\n{}\n{}", a.log_tail(), b.log_tail())
}

fn address_change(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let other = world.lab.router(PortRestricted, world.lab.public())?;
    let (a, mut b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    // 35 took 0.41 to 0.61 s, beside the simulator's tests.
    let bound = Duration::from_secs(1);
    gap(notes, &mut pings, "new address in the same network", bound, || b.host.readdress())?;
    gap(notes, &mut pings, "another network", bound, || b.host.move_to(other.lan()))?;
    gap(notes, &mut pings, "public network", bound, || b.host.move_to(world.lab.public()))?;
    gap(notes, &mut pings, "new address, public", bound, || b.host.readdress())?;
    let router = &mut b.routers[0];
    gap(notes, &mut pings, "back", bound, || b.host.move_to(router.lan()))?;
    // Nobody tells the host: only silence does, and its relay connections are lost as well.
    let silence = Duration::from_secs(6);
    gap(notes, &mut pings, "NAT rebinding, nobody is told", silence, || router.rebind())
}

/// Changes something under running pings and measures the longest silence around it.
fn gap(
    notes: &mut Notes,
    pings: &mut Pings,
    what: &str,
    limit: Duration,
    change: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = Instant::now();
    change()?;
    pings.answered_after(Instant::now(), Duration::from_secs(15)).context(what.to_owned())?;
    pings.run_for(Duration::from_secs(3));
    let gap = pings.gap_since(before);
    notes.add(format!("{what}: gap {}", ms(gap)));
    ensure!(gap < limit, "{what}: silent for {}", ms(gap));
    Ok(())
}

fn cut_cable(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    b.host.cable(false)?;
    pings.run_for(Duration::from_secs(5));
    let repaired = Instant::now();
    b.host.cable(true)?;
    let answered = pings.answered_after(repaired, Duration::from_secs(15))?;
    notes.add(format!("cut for 5 s: answers {} after the repair", ms(answered)));
    ensure!(answered < Duration::from_secs(3), "took {}", ms(answered));
    Ok(())
}

fn takeover(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    let (host, _router) = world.lab.host_at(Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    let (lost, before) = (pings.lost(), Instant::now());
    let mut next = b.agent.copied_to(&host)?;
    next.start(&world.all_relays(), &["--takeover"])?;
    let noticed = until("the old one reports identity_in_use", Duration::from_secs(5), || {
        let status = b.agent.json(&["status"])?;
        let health = status["health"].as_array().context("health")?;
        Ok(health.iter().any(|item| item["code"] == "identity_in_use"))
    })?;
    pings.run_for(Duration::from_secs(2));
    let (lost, gap) = (pings.lost() - lost, pings.gap_since(before));
    notes.add(format!("pings lost {lost}, gap {}, noticed after {}", ms(gap), ms(noticed)));
    let (old, new) = (b.agent.json(&["info"])?, next.json(&["info"])?);
    let seen = a.agent.json(&["status", "agent-b"])?;
    let instance = &seen["peers"][0]["instance"];
    ensure!(*instance == new["instance"] && *instance != old["instance"], "still the old instance");
    ensure!(lost == 0, "{lost} pings lost");
    ensure!(gap < Duration::from_millis(500), "silent for {}", ms(gap));
    Ok(())
}

fn silent_death(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, mut b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let events = a.agent.stream(&["events"])?;
    thread::sleep(Duration::from_millis(300));
    b.agent.kill()?;
    let killed = Instant::now();
    loop {
        let left = Duration::from_secs(6).saturating_sub(killed.elapsed());
        let (at, line) = events.next(left).context("no peer_disconnected event within 6 s")?;
        if line.contains("peer_disconnected") {
            notes.add(format!("noticed after {}", ms(at - killed)));
            ensure!(at - killed < Duration::from_millis(2_600), "too late");
            return Ok(());
        }
    }
}
