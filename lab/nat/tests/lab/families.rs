//! IPv6: alone, beside IPv4, and against IPv4 alone. The relay speaks both.

use anyhow::{Context, Result, ensure};
use homing_lab::ipv6::Families::{self, Both, V4, V6};

use crate::harness::{Notes, Scenario};
use crate::matrix::{explained, goes_direct};
use crate::world::{Seat, World, introduce, status};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "ipv6_alone_beside_ipv4_and_against_ipv4",
    limit_s: 90,
    needs_binary: true,
    run: families,
}];

fn families(notes: &mut Notes) -> Result<()> {
    let world = World::with_both_families()?;
    let seat = |families: Families, name: &str| world.speaking(families, name);
    let (first, second) = (seat(V6, "only6")?, seat(V6, "only6b")?);
    let (both, old) = (seat(Both, "both")?, seat(V4, "only4")?);
    for (a, b, v6) in [(&first, &second, true), (&first, &both, true), (&both, &old, false)] {
        let text = goes_direct(a, b, "direct")?;
        let remote = remote(a, b)?;
        notes.add(format!("{} × {}: {text}, at {remote}", a.agent.name(), b.agent.name()));
        ensure!(remote.starts_with('[') == v6, "the wrong family: {remote}");
    }
    introduce(&first.agent, &old.agent)?;
    let text = explained(&first, &old, ["no_common_family"; 2])?;
    notes.add(format!("{} × {}: {text}", first.agent.name(), old.agent.name()));
    Ok(())
}

fn remote(me: &Seat, peer: &Seat) -> Result<String> {
    let seen = status(&me.agent, peer.agent.name())?;
    let remote = seen["path"]["remote"].as_str();
    remote.map(str::to_owned).with_context(|| format!("path.remote in {seen}"))
}
