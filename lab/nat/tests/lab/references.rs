//! References between agents that no packet reaches unasked: how soon others see a new version.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use homing_lab::agent::Agent;
use homing_lab::nat::Nat::{PortRestricted, Symmetric};
use homing_lab::topology::Place::Behind;

use crate::harness::{Notes, Scenario};
use crate::world::{World, introduce, ms};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a_published_reference_is_resolved_behind_another_nat",
    limit_s: 90,
    needs_binary: true,
    run: published,
}];

/// From the start of `publish` to the answer of a `resolve` that has the new value.
const LIMIT: Duration = Duration::from_secs(1);
const VERSIONS: usize = 9;
/// Beyond it, something is broken rather than slow.
const PATIENCE: Duration = Duration::from_secs(20);

fn published(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let owner = world.running(Behind(Symmetric), "owner")?;
    let friend = world.running(Behind(PortRestricted), "friend")?;
    let stranger = world.running(Behind(Symmetric), "stranger")?;
    introduce(&friend.agent, &owner.agent)?;
    let id = owner.agent.node_id()?;
    for (reader, who) in [(&friend.agent, "a trusted peer"), (&stranger.agent, "a stranger")] {
        let mut times = Vec::new();
        for version in 0..VERSIONS {
            let value = format!("/{}/{version}", reader.name());
            times.push(seen_after(&owner.agent, reader, &id, &value)?);
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        notes.add(format!(
            "publish to resolved by {who} behind another NAT: median {}, worst {}",
            ms(median),
            ms(worst)
        ));
        ensure!(median < LIMIT, "{who} sees it after {}", ms(median));
    }
    Ok(())
}

fn seen_after(owner: &Agent, reader: &Agent, id: &str, value: &str) -> Result<Duration> {
    let began = Instant::now();
    owner.json(&["publish", "planner/checkpoint", value])?;
    loop {
        let found = reader.run(&["resolve", &format!("{id}/planner/checkpoint"), "-o", "name"])?;
        if found.stdout.trim() == value {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "{} does not see {value}: {found:?}", reader.name());
    }
}
