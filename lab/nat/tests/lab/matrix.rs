//! Every kind of place with every kind of place: 28 pairs. All connect; whoever can go direct does, 4 of them by
//! guessing ports; everybody else says why not, the same from both ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::nat::Nat::{FullCone, PortRestricted, Symmetric, UdpBlocked};
use homing_lab::topology::Place::{self, Behind, Carrier, Public};

use crate::harness::{Notes, Scenario};
use crate::world::{Seat, World, introduce, ms, ping_until_direct, status};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "matrix_of_all_places", limit_s: 150, needs_binary: true, run: matrix }];

/// Within which a pair that can be punched must be direct.
const DIRECT_LIMIT: Duration = Duration::from_secs(8);

/// How long all relayed pairs together are watched for a direct path that should not be there.
const RELAYED_WATCH: Duration = Duration::from_secs(4);

/// Within which both ends must know the reason: facts are measured once, then told.
const REASON_LIMIT: Duration = Duration::from_secs(10);

const PLACES: [(&str, Place); 7] = [
    ("public", Public),
    ("fullcone", Behind(FullCone)),
    ("prc", Behind(PortRestricted)),
    ("sym", Behind(Symmetric)),
    ("cgnat", Carrier(PortRestricted)),
    ("cgnatsym", Carrier(Symmetric)),
    ("blocked", Behind(UdpBlocked)),
];

fn matrix(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let here = seats(&world, "")?;
    let there = seats(&world, "2")?;
    let mut wrong = Vec::new();
    let mut relayed = Vec::new();
    for (a, first) in here.iter().zip(PLACES) {
        for (b, second) in there.iter().zip(PLACES).skip_while(|(_, place)| place.0 != first.0) {
            let reasons = reasons(first.1, second.1);
            if reasons[0] != reasons[1] || !DIRECT.contains(&reasons[0]) {
                introduce(&a.agent, &b.agent)?;
                relayed.push((a, b, reasons));
                continue;
            }
            match goes_direct(a, b, reasons[0]) {
                Ok(text) => notes.add(format!("{} {text}", pair(a, b))),
                Err(error) => wrong.push(format!("{}: {error:#}", pair(a, b))),
            }
        }
    }
    wrong.extend(stay_relayed(notes, &relayed));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    Ok(())
}

/// The codes of a direct path.
const DIRECT: [&str; 2] = ["direct", crate::ports::CODE];

fn seats(world: &World, suffix: &str) -> Result<Vec<Seat>> {
    PLACES.iter().map(|(name, place)| world.running(*place, &format!("{name}{suffix}"))).collect()
}

fn pair(a: &Seat, b: &Seat) -> String {
    format!("{:>8} × {:<9}", a.agent.name(), b.agent.name())
}

/// The code that each of the two must name, `direct` where the theory of RFC 4787 has a path, and prediction's where
/// one of the two ports is known.
fn reasons(here: Place, there: Place) -> [&'static str; 2] {
    let blocked = |place| place == Behind(UdpBlocked);
    let symmetric = |place| matches!(place, Behind(Symmetric) | Carrier(Symmetric));
    // Lets in whom it never wrote to: then the other side's port may be any.
    let open = |place| matches!(place, Public | Behind(FullCone));
    match (blocked(here), blocked(there), symmetric(here), symmetric(there)) {
        (true, true, ..) => ["udp_blocked_both"; 2],
        (true, ..) => ["udp_blocked_local", "udp_blocked_remote"],
        (_, true, ..) => ["udp_blocked_remote", "udp_blocked_local"],
        (_, _, true, true) => ["symmetric_nat_both"; 2],
        (_, _, true, _) if !open(there) => [crate::ports::CODE; 2],
        (_, _, _, true) if !open(here) => [crate::ports::CODE; 2],
        _ => ["direct"; 2],
    }
}

/// Introduces the two; the time counts from the approval on, two commands included.
pub(crate) fn goes_direct(a: &Seat, b: &Seat, code: &str) -> Result<String> {
    let approved = introduce(&a.agent, &b.agent)?;
    let report = ping_until_direct(&a.agent, b.agent.name(), DIRECT_LIMIT)?;
    let took = approved.elapsed();
    ensure!(report["direct_after_ms"].is_number(), "not direct within {DIRECT_LIMIT:?}: {report}");
    ensure!(report["path"]["reason"] == code, "the ping's path: {}", report["path"]);
    // The other end may see its first packet a moment later.
    agree(a, b, "direct", [code; 2])?;
    Ok(format!("direct {} after the approval", ms(took)))
}

/// All at once: every ping is answered, none directly, and both ends name their reason.
fn stay_relayed(notes: &mut Notes, pairs: &[(&Seat, &Seat, [&'static str; 2])]) -> Vec<String> {
    let watched = Instant::now();
    let mut wrong = Vec::new();
    for (a, b, codes) in pairs {
        match explained(a, b, *codes) {
            Ok(text) => notes.add(format!("{} {text}", pair(a, b))),
            Err(error) => wrong.push(format!("{}: {error:#}", pair(a, b))),
        }
    }
    std::thread::sleep(RELAYED_WATCH.saturating_sub(watched.elapsed()));
    for (a, b, codes) in pairs {
        if let Err(error) = both_say(a, b, "relay", *codes) {
            wrong.push(format!("{} later: {error:#}", pair(a, b)));
        }
    }
    wrong
}

/// Every ping is answered, by a relay, and both ends name their reason.
pub(crate) fn explained(a: &Seat, b: &Seat, codes: [&str; 2]) -> Result<String> {
    let report = a.agent.json(&["ping", b.agent.name(), "-c", "3", "--interval", "50ms"])?;
    ensure!(report["received"] == 3, "{report}");
    agree(a, b, "relay", codes)?;
    let checked = a.agent.json(&["netcheck", b.agent.name()])?;
    let peer = &checked["peer"];
    ensure!(peer["path"]["reason"] == codes[0] && peer["hint"].is_string(), "netcheck: {peer}");
    Ok(format!("relayed: {} | {}", codes[0], codes[1]))
}

/// Waits until both ends see the path so, each with its own code.
fn agree(a: &Seat, b: &Seat, kind: &str, codes: [&str; 2]) -> Result<()> {
    let end = Instant::now() + REASON_LIMIT;
    loop {
        let said = both_say(a, b, kind, codes);
        if said.is_ok() || Instant::now() > end {
            return said;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn both_say(a: &Seat, b: &Seat, kind: &str, codes: [&str; 2]) -> Result<()> {
    says(a, b, kind, codes[0])?;
    says(b, a, kind, codes[1])
}

/// What `status` of one says about the path to the other.
fn says(me: &Seat, peer: &Seat, kind: &str, reason: &str) -> Result<()> {
    let seen = status(&me.agent, peer.agent.name())?;
    let path = seen.get("path").context("path")?;
    let right = path["kind"] == kind && path["reason"] == reason;
    ensure!(right, "{} sees {path}, not {kind} {reason}", me.agent.name());
    ensure!(path["reason_text"].is_string(), "no text in {path}");
    Ok(())
}
