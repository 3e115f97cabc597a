//! Port prediction: a symmetric NAT against one that lets in only whom it wrote to.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::agent::{Agent, Lines};
use homing_lab::exec;
use homing_lab::nat::Nat::{PortRestricted, Symmetric};
use homing_lab::topology::Host;
use homing_lab::topology::Place::{self, Behind, Carrier};

use crate::harness::{Notes, Scenario};
use crate::matrix::{both_say, explained, goes_direct};
use crate::world::{Pings, Seat, World, introduce, ms, path_kind, status};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ports_are_predicted_against_a_symmetric_nat",
        limit_s: 120,
        needs_binary: true,
        run: predicted,
    },
    Scenario {
        name: "port_prediction_off_at_one_end_is_off",
        limit_s: 60,
        needs_binary: true,
        run: switched_off,
    },
    Scenario {
        name: "a_predicted_path_that_dies_falls_back_and_comes_again",
        limit_s: 120,
        needs_binary: true,
        run: falls_back,
    },
];

/// The reason of both ends.
pub(crate) const CODE: &str = "port_prediction";

/// Sent each way over the direct path.
const BYTES: usize = 4_000_000;

/// How long a pair without prediction is watched: an attempt would begin after two seconds.
const OFF_WATCH: Duration = Duration::from_secs(5);

/// The silence that a path may cost that nobody says is gone.
const FALL_BACK_LIMIT: Duration = Duration::from_secs(6);

fn predicted(notes: &mut Notes) -> Result<()> {
    let pairs: [(Place, Place, &str); 4] = [
        (Behind(PortRestricted), Behind(Symmetric), "port-restricted × symmetric"),
        (Behind(Symmetric), Behind(PortRestricted), "symmetric × port-restricted"),
        (Carrier(PortRestricted), Behind(Symmetric), "CGNAT × symmetric"),
        (Carrier(Symmetric), Behind(PortRestricted), "symmetric CGNAT × port-restricted"),
    ];
    for (here, there, name) in pairs {
        let world = World::with_relays(1)?;
        let (a, b) = world.strangers(here, there)?;
        let text = goes_direct(&a, &b, CODE)?;
        for (me, peer) in [(&a, &b), (&b, &a)] {
            let path = status(&me.agent, peer.agent.name())?["path"].clone();
            let outside = outside(peer)?.to_string();
            let remote = path["remote"].to_string();
            ensure!(remote.contains(&outside), "{} sees {path}, not {outside}", me.agent.name());
        }
        // Over a path whose packets do not pass the relay's host.
        let both = (send(&a, &b)?, send(&b, &a)?);
        notes.add(format!("{name}: {text}, {BYTES} bytes in {} and {}", ms(both.0), ms(both.1)));
        ensure!(path_kind(&a.agent, "agent-b")? == "direct", "not direct any more");
        revoked(&a, &b)?;
    }
    Ok(())
}

/// Where packets of a host come from.
fn outside(seat: &Seat) -> Result<Ipv4Addr> {
    Ok(seat.routers.last().context("behind a router")?.wan())
}

/// Bytes through a `forward`; whoever receives them answers with their digest.
fn send(from: &Seat, to: &Seat) -> Result<Duration> {
    let probe = env!("CARGO_BIN_EXE_lab-probe");
    let mut digest = to.host.namespace().command(probe);
    digest.args(["digest", "127.0.0.1:9000"]);
    let _digest = Lines::start(digest)?;
    let _listener = Lines::listen(&to.agent, &["backup", "--to", "9000"])?;
    let target = format!("{}:backup", to.agent.name());
    let forward = Lines::start(from.agent.command(&["forward", "0", &target, "-o", "name"])?)?;
    let (_, place) = forward.next(Duration::from_secs(10)).context("forward says no place")?;
    let mut pour = from.host.namespace().command(probe);
    pour.args(["pour", &place, &BYTES.to_string()]);
    let poured = exec::run(pour, "", Duration::from_secs(30))?;
    ensure!(poured.ok(), "{}", poured.stderr);
    Ok(poured.elapsed)
}

/// Once trust ends, not a packet passes between the two places.
fn revoked(a: &Seat, b: &Seat) -> Result<()> {
    a.agent.json(&["trust", "revoke", "agent-b", "--yes"])?;
    // What the core has not closed itself, the transport closes two seconds later.
    thread::sleep(Duration::from_secs(3));
    count(&b.host, outside(a)?)?;
    thread::sleep(Duration::from_secs(3));
    let passed = b.host.namespace().counted("seen")?;
    ensure!(passed == 0, "{passed} packets after the revocation");
    Ok(())
}

fn count(host: &Host, other: Ipv4Addr) -> Result<()> {
    let rules = format!(
        "table ip watch {{
  counter seen {{}}
  chain arriving {{ type filter hook prerouting priority raw; policy accept; ip saddr {other} counter name seen; }}
  chain leaving {{ type filter hook output priority raw; policy accept; ip daddr {other} counter name seen; }}
}}
"
    );
    host.namespace().nft(&rules).map(drop)
}

fn switched_off(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let a = world.running(Behind(PortRestricted), "agent-a")?;
    let mut b = world.seat(Behind(Symmetric), "agent-b")?;
    b.agent.json(&["config", "set", "transport.port_prediction", "false"])?;
    b.agent.start(&world.all_relays(), &[])?;
    introduce(&a.agent, &b.agent)?;
    let codes = ["symmetric_nat_remote", "symmetric_nat_local"];
    let text = explained(&a, &b, codes)?;
    thread::sleep(OFF_WATCH);
    both_say(&a, &b, "relay", codes)?;
    for agent in [&a.agent, &b.agent] {
        let tried = attempts(agent)?;
        ensure!(tried == "0", "{} tried {tried} times", agent.name());
    }
    notes.add(text);
    Ok(())
}

/// A counter of the daemon.
fn attempts(agent: &Agent) -> Result<String> {
    let metrics = agent.run(&["metrics"])?.stdout;
    let line = metrics.lines().find_map(|l| l.strip_prefix("homing_port_predictions_total "));
    line.map(str::to_owned).with_context(|| format!("no counter in {metrics}"))
}

fn falls_back(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, mut b) = world.strangers(Behind(PortRestricted), Behind(Symmetric))?;
    goes_direct(&a, &b, CODE)?;
    let mut pings = Pings::start(&a.agent, "agent-b")?;
    for (what, limit) in [("NAT rebinding", FALL_BACK_LIMIT), ("new address", FALL_BACK_LIMIT)] {
        let changed = Instant::now();
        match what {
            "NAT rebinding" => b.routers[0].rebind()?,
            _ => b.host.readdress()?,
        }
        pings.run_for(Duration::from_secs(8));
        let gap = pings.gap_since(changed);
        notes.add(format!("{what}: gap {}", ms(gap)));
        ensure!(gap < limit, "{what}: {} without an answer", ms(gap));
        until_predicted(&a, &b)?;
        notes.add(format!("{what}: direct again {} after it", ms(changed.elapsed())));
    }
    Ok(())
}

fn until_predicted(a: &Seat, b: &Seat) -> Result<()> {
    let said = || Ok(both_say(a, b, "direct", [CODE; 2]).is_ok());
    crate::world::until("direct again", Duration::from_secs(40), said).map(drop)
}
