//! Which pairs get a direct path, which stay on the relay, and whether the agent says why.

use std::time::Duration;

use anyhow::{Result, ensure};
use homing_lab::agent::Agent;
use homing_lab::nat::Nat::{PortRestricted, Symmetric, UdpBlocked};
use homing_lab::topology::Place::{self, Behind};

use crate::harness::{Notes, Scenario};
use crate::world::{World, introduce, ms, path_kind, ping_until_direct, status, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "port_restricted_pair_goes_direct",
        limit_s: 40,
        needs_binary: true,
        run: port_restricted_pair,
    },
    Scenario {
        name: "symmetric_pair_stays_relayed_and_says_why",
        limit_s: 40,
        needs_binary: true,
        run: |notes| relayed_pair(notes, Behind(Symmetric), Behind(Symmetric)),
    },
    Scenario {
        name: "udp_blocked_works_by_relay_and_says_why",
        limit_s: 40,
        needs_binary: true,
        run: |notes| relayed_pair(notes, Behind(UdpBlocked), Behind(PortRestricted)),
    },
    Scenario {
        name: "one_home_goes_direct_inside",
        limit_s: 40,
        needs_binary: true,
        run: one_home,
    },
    Scenario {
        name: "two_homes_with_the_same_private_network_go_direct",
        limit_s: 40,
        needs_binary: true,
        run: same_private_network,
    },
];

/// How long a pair that cannot be punched is watched before it counts as relayed.
const RELAYED_WATCH: Duration = Duration::from_secs(3);

/// Within which a pair that can be punched must be direct.
const DIRECT_LIMIT: Duration = Duration::from_secs(8);

fn port_restricted_pair(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.strangers(Behind(PortRestricted), Behind(PortRestricted))?;
    notes.add(direct(&a.agent, &b.agent)?);
    let remote = status(&a.agent, "agent-b")?["path"]["remote"].to_string();
    let outside = b.routers[0].wan().to_string();
    ensure!(remote.contains(&outside), "direct to {remote}, but the peer's NAT is {outside}");
    Ok(())
}

/// The router does not send packets back inside: only the inside addresses connect.
fn one_home(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let router = world.lab.router(Symmetric, world.lab.public())?;
    let a = world.running_in(router.lan(), "agent-a")?;
    let b = world.running_in(router.lan(), "agent-b")?;
    let text = direct(&a.agent, &b.agent)?;
    let remote = status(&a.agent, "agent-b")?["path"]["remote"].to_string();
    notes.add(format!("{text} to {remote}"));
    let inside = b.host.address().to_string();
    ensure!(remote.contains(&inside), "direct to {remote}, but the peer is at {inside}");
    Ok(())
}

/// Both hosts have one and the same private address, so the peer's is one's own.
fn same_private_network(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let here = world.lab.common_router(PortRestricted)?;
    let there = world.lab.common_router(PortRestricted)?;
    let a = world.running_in(here.lan(), "agent-a")?;
    let b = world.running_in(there.lan(), "agent-b")?;
    ensure!(a.host.address() == b.host.address(), "the scenario wants equal addresses");
    notes.add(direct(&a.agent, &b.agent)?);
    Ok(())
}

/// Introduces two agents and pings until the path is direct. Counts from the approval on, two commands
/// included.
fn direct(a: &Agent, b: &Agent) -> Result<String> {
    let approved = introduce(a, b)?;
    until_direct(a, b.name(), DIRECT_LIMIT)?;
    Ok(format!("direct {} after the approval", ms(approved.elapsed())))
}

fn relayed_pair(notes: &mut Notes, here: Place, there: Place) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(here, there)?;
    stays_relayed(&a.agent, &b.agent)?;
    for (me, peer) in [(&a.agent, "agent-b"), (&b.agent, "agent-a")] {
        let seen = status(me, peer)?;
        let why = seen["why"].as_str().unwrap_or_default();
        notes.add(format!("{}: relayed, why: {why}", me.name()));
        ensure!(!why.is_empty(), "status does not say why: {seen}");
    }
    Ok(())
}

/// Pings all the while: every answer comes, none directly.
fn stays_relayed(a: &Agent, b: &Agent) -> Result<()> {
    let report = ping_until_direct(a, b.name(), RELAYED_WATCH)?;
    ensure!(report["direct_after_ms"].is_null(), "{} to {}: {report}", a.name(), b.name());
    let (sent, received) = (&report["sent"], &report["received"]);
    ensure!(sent == received, "{} to {}: {received} of {sent}", a.name(), b.name());
    let kind = path_kind(a, b.name())?;
    ensure!(kind == "relay", "{} to {}: {kind}, not relay", a.name(), b.name());
    Ok(())
}
