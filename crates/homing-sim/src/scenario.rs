//! Scenarios: what may go wrong in a world, how often, and how fast it must heal.
//!
//! Built in, or a TOML file with the same fields; see `scenarios/` for examples. A scenario with
//! `swarm = true` takes a random subset of its faults and networks for each seed: combinations that
//! nobody thought of appear, and rare ones are not drowned by common ones.

use serde::Deserialize;

use crate::nat::NatKind;

/// One way for things to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// kill −9, started again on the same host.
    Kill,
    /// kill −9 before one of the next outputs is performed, started again.
    CrashBetweenOutputs,
    /// A clean stop, started again.
    Stop,
    /// kill −9, started on another host with its home.
    Move,
    /// kill −9, started on another host with nothing but its identity.
    MoveIdentityOnly,
    /// A second run with the same key on another host; the first goes on.
    Twin,
    /// A second run that takes over, make before break.
    Takeover,
    /// A relay dies and comes back.
    RelayRestart,
    /// A relay dies until the end of misfortune.
    RelayDeath,
    /// Half the world cannot talk to the other half for some time.
    Partition,
    /// As [`Fault::Partition`], in one direction only.
    OneWay,
    /// A live host gets another address.
    Address,
    /// A cable is out for some time.
    Unplug,
    /// A clock is some minutes off for some time.
    ClockMinutes,
    /// A clock is an hour off for some time.
    ClockHour,
    /// An adversary joins.
    Hostile,
    /// Trust is taken back.
    Revoke,
    /// Trust is given for a short time only.
    Expire,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 18] = [
        Fault::Kill,
        Fault::CrashBetweenOutputs,
        Fault::Stop,
        Fault::Move,
        Fault::MoveIdentityOnly,
        Fault::Twin,
        Fault::Takeover,
        Fault::RelayRestart,
        Fault::RelayDeath,
        Fault::Partition,
        Fault::OneWay,
        Fault::Address,
        Fault::Unplug,
        Fault::ClockMinutes,
        Fault::ClockHour,
        Fault::Hostile,
        Fault::Revoke,
        Fault::Expire,
    ];
}

/// How links lose packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weather {
    /// Not at all.
    Calm,
    /// As on bad wireless.
    Wireless,
    /// One of the two, by seed.
    Either,
}

/// A kind of world.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: String,
    /// Agents, beside those that serve relays.
    pub agents: usize,
    /// Relays; every agent is configured with two of them.
    pub relays: usize,
    /// Take a random subset of `faults` and `networks` for each seed.
    pub swarm: bool,
    /// What may go wrong; empty: everything.
    pub faults: Vec<Fault>,
    /// Faults per hundred agents.
    pub faults_per_hundred: u32,
    /// Networks that agents live in; empty: all.
    pub networks: Vec<NatKind>,
    /// How links lose packets.
    pub weather: Weather,
    /// Agents take part in the DHT.
    pub dht: bool,
    /// Agents take part in gossip.
    pub gossip: bool,
    /// How long things go wrong, in seconds of the world's time.
    pub misfortune_s: u64,
    /// How long the world may take to heal, in seconds of the world's time.
    pub bound_s: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "swarm".into(),
            agents: 200,
            relays: 3,
            swarm: true,
            faults: Vec::new(),
            faults_per_hundred: 30,
            networks: Vec::new(),
            weather: Weather::Either,
            dht: false,
            gossip: false,
            misfortune_s: 8,
            bound_s: 60,
        }
    }
}

/// Scenarios that come with the program, as TOML.
const BUILT_IN: [(&str, &str); 6] = [
    ("swarm", include_str!("../../../scenarios/swarm.toml")),
    ("calm", include_str!("../../../scenarios/calm.toml")),
    ("spot-fleet", include_str!("../../../scenarios/spot-fleet.toml")),
    ("hostile", include_str!("../../../scenarios/hostile.toml")),
    ("dht-fleet", include_str!("../../../scenarios/dht-fleet.toml")),
    ("gossip-fleet", include_str!("../../../scenarios/gossip-fleet.toml")),
];

impl Scenario {
    /// A scenario by name, or from a TOML file's text.
    ///
    /// # Errors
    /// When there is none of that name, or the text is no scenario.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let known = || BUILT_IN.map(|(name, _)| name).join(", ");
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) =
            found.ok_or_else(|| anyhow::anyhow!("no scenario {name:?}; there are: {}", known()))?;
        Self::parse(text)
    }

    /// A scenario from a TOML file's text.
    ///
    /// # Errors
    /// When the text is no scenario, or its numbers make no world.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        anyhow::ensure!(scenario.agents >= 2, "a world has at least 2 agents");
        anyhow::ensure!((1..=8).contains(&scenario.relays), "a world has 1 to 8 relays");
        Ok(scenario)
    }

    /// What may go wrong.
    #[must_use]
    pub fn possible_faults(&self) -> Vec<Fault> {
        if self.faults.is_empty() && self.swarm { Fault::ALL.to_vec() } else { self.faults.clone() }
    }

    /// Networks that agents may live in.
    #[must_use]
    pub fn possible_networks(&self) -> Vec<NatKind> {
        if self.networks.is_empty() { NatKind::ALL.to_vec() } else { self.networks.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_parses_and_knows_its_name() {
        for (name, _) in BUILT_IN {
            assert_eq!(Scenario::named(name).unwrap().name, name);
        }
        assert!(Scenario::named("no-such").unwrap_err().to_string().contains("spot-fleet"));
    }

    #[test]
    fn unknown_fields_are_errors() {
        assert!(Scenario::parse("agnets = 3").is_err());
        assert!(Scenario::parse("agents = 1").is_err());
    }
}
