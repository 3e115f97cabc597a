//! Relays vanish, or there never was one.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::agent::Agent;
use homing_lab::nat::Nat::Symmetric;
use homing_lab::topology::Place::{Behind, Public};

use crate::harness::{Notes, Scenario};
use crate::world::{Pings, World, approve, ms, path_kind, status, trust};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "home_relay_killed", limit_s: 60, needs_binary: true, run: home_relay_killed },
    Scenario {
        name: "without_a_relay_old_acquaintances_reconnect",
        limit_s: 60,
        needs_binary: true,
        run: old_acquaintances,
    },
    Scenario {
        name: "without_anything_failures_are_quick_and_name_what_is_missing",
        limit_s: 40,
        needs_binary: true,
        run: quick_failures,
    },
];

/// Left to itself the transport needs up to 52 s.
const RELAY_LOSS_LIMIT: Duration = Duration::from_secs(3);

fn home_relay_killed(notes: &mut Notes) -> Result<()> {
    let mut world = World::with_relays(2)?;
    let (a, b) = world.pair(Behind(Symmetric), Behind(Symmetric))?;
    thread::sleep(Duration::from_secs(1));
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    let seen = status(&a.agent, "agent-b")?;
    let remote = seen["path"]["remote"].as_str().context("path.remote")?.to_owned();
    let used = world.relays.iter().position(|relay| relay.url().contains(&remote));
    let used = used.with_context(|| format!("no relay is {remote}: {seen}"))?;
    let before = Instant::now();
    world.relays[used].kill();
    let answered =
        pings.answered_after(before + Duration::from_millis(100), Duration::from_secs(40));
    answered.with_context(|| format!("{}\n{}", a.agent.log_tail(), b.agent.log_tail()))?;
    pings.run_for(Duration::from_secs(10));
    let gap = pings.gap_since(before);
    notes.add(format!("relayed pair, its relay killed: gap {}", ms(gap)));
    ensure!(gap < RELAY_LOSS_LIMIT, "silent for {}", ms(gap));
    ensure!(path_kind(&a.agent, "agent-b")? == "relay", "symmetric pairs have no direct path");
    Ok(())
}

fn old_acquaintances(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(0)?;
    let (mut a, mut b) = (world.seat(Public, "agent-a")?, world.seat(Public, "agent-b")?);
    a.agent.start(&[], &[])?;
    let ticket = ticket(&a.agent)?;
    b.agent.start(&[], &["--peer", &ticket])?;
    let a_id = a.agent.node_id()?;
    b.agent.json(&["handshake", &a_id])?;
    approve(&b.agent, &a.agent)?;
    b.agent.json(&["ping", "agent-a", "-c", "2"])?;
    a.agent.kill()?;
    b.agent.kill()?;
    a.agent.start(&[], &[])?;
    let born = Instant::now();
    b.agent.start(&[], &[])?;
    b.agent.json(&["ping", &a_id, "-c", "1"])?;
    let took = born.elapsed();
    a.agent.json(&["ping", "agent-b", "-c", "1"])?;
    ensure!(trust(&b.agent, &a.agent)? == "mutual", "trust outlives both restarts");
    notes.add(format!("both restarted, no relay: first ping {} after the start", ms(took)));
    ensure!(took < Duration::from_secs(2), "took {}", ms(took));
    Ok(())
}

fn ticket(agent: &Agent) -> Result<String> {
    let info = agent.json(&["info"])?;
    info["ticket"].as_str().map(str::to_owned).with_context(|| format!("ticket in {info}"))
}

/// Nobody to ask and nowhere to go: each question fails within 2 s, with a code and a reason.
fn quick_failures(notes: &mut Notes) -> Result<()> {
    let mut world = World::with_relays(1)?;
    let mut lonely = world.seat(Public, "lonely")?;
    lonely.agent.start(&[], &[])?;
    let stranger = "5".repeat(64);
    for arguments in [["ping", "nobody"], ["resolve", "nobody"], ["handshake", "nobody"]] {
        let (code, _) = quick(notes, &lonely.agent, &arguments)?;
        ensure!(code == "not_found", "{arguments:?}: {code}");
    }
    for arguments in [["ping", &stranger], ["resolve", &stranger]] {
        quick(notes, &lonely.agent, &arguments)?;
    }
    world.relays[0].kill();
    let (a, mut b) = (&mut lonely, world.seat(Behind(Symmetric), "shut-off")?);
    b.agent.spawn(&world.all_relays(), &[])?;
    a.agent.stop()?;
    a.agent.spawn(&world.all_relays(), &[])?;
    thread::sleep(Duration::from_millis(1_500));
    let relay = world.relays[0].url();
    let authority = relay.split('/').nth(2).context("authority")?;
    for agent in [&a.agent, &b.agent] {
        let (code, text) = quick(notes, agent, &["ping", "nobody"])?;
        ensure!(text.contains(authority), "{code} does not name the dead relay: {text}");
    }
    Ok(())
}

/// Runs a command that must fail within 2 s with a reason; its code and the whole error.
fn quick(notes: &mut Notes, agent: &Agent, arguments: &[&str]) -> Result<(String, String)> {
    let (error, exit, took) = agent.failure(arguments)?;
    let code = error["code"].as_str().context("code")?.to_owned();
    let why = error["why"].as_str().unwrap_or_default();
    let hint = error["hint"].as_str().unwrap_or_default();
    let first = &arguments[1][..arguments[1].len().min(8)];
    notes.add(format!("{} {first}: {code} (exit {exit}) in {}", arguments[0], ms(took)));
    ensure!(took < Duration::from_secs(2), "{arguments:?} took {}", ms(took));
    ensure!(!why.is_empty() || !hint.is_empty(), "{arguments:?} names nothing: {error}");
    Ok((code, error.to_string()))
}
