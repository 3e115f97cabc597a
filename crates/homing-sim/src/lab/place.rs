//! Where agents are: regions and the way between them, translators in front of them, lost packets.
//!
//! Without regions agents are points of a square whose median round trip is `rtt`. An agent behind a translator
//! serves the DHT only where fewer than k others can, as the daemon's `dht.server = auto` decides; a message
//! between two symmetric translators goes by way of a relay, all others directly: punching is the transport's
//! business and is taken as done.

use std::time::Duration;

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::dht::latency::Latency;

/// A part of the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// What people call it.
    pub name: String,
    /// Share of the agents that live there; all shares are weighed against each other.
    pub share: f64,
    /// Round trip within it.
    pub rtt: Span,
}

/// The way between two regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// One end.
    pub from: String,
    /// The other; routes are the same both ways.
    pub to: String,
    /// Round trip.
    pub rtt: Span,
}

impl Route {
    /// Whether these are its ends, either way round.
    #[must_use]
    pub fn joins(&self, a: &str, b: &str) -> bool {
        (self.from == a && self.to == b) || (self.from == b && self.to == a)
    }
}

/// What stands between agents and the internet: shares, weighed against each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatMix {
    /// Anybody can reach them.
    pub public: f64,
    /// Translators that can be punched through.
    pub mapped: f64,
    /// Translators that give each peer another port.
    pub symmetric: f64,
}

impl Default for NatMix {
    fn default() -> Self {
        Self { public: 1.0, mapped: 0.0, symmetric: 0.0 }
    }
}

impl NatMix {
    /// Whether it is a mix at all.
    pub(crate) fn is_sound(&self) -> bool {
        let all = [self.public, self.mapped, self.symmetric];
        all.iter().all(|s| s.is_finite() && *s >= 0.0) && self.sum() > 0.0
    }

    fn sum(&self) -> f64 {
        self.public + self.mapped + self.symmetric
    }

    /// Share that anybody can reach.
    pub(crate) fn public_share(&self) -> f64 {
        self.public / self.sum()
    }
}

/// What stands in front of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Public,
    Mapped,
    Symmetric,
}

/// Where one agent is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    region: u16,
    at: [f32; 2],
    pub(crate) door: Door,
}

/// The whole map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    shares: Vec<f64>,
    /// Round trips in milliseconds, region by region; empty: a square.
    ways: Vec<Vec<f64>>,
    rtt_ms: f64,
    nat: NatMix,
    relay_ms: f64,
    pub(crate) loss: f64,
    plane: bool,
}

impl Map {
    pub(crate) fn new(fleet: &super::Fleet) -> Self {
        let ms = |span: Span| span.as_seconds() * 1e3;
        let between = |a: &Region, b: &Region| {
            let joins = |r: &&Route| r.joins(&a.name, &b.name);
            let route = fleet.routes.iter().find(joins).map_or(fleet.rtt, |r| r.rtt);
            ms(if a.name == b.name { a.rtt } else { route })
        };
        let row = |a| fleet.regions.iter().map(|b| between(a, b)).collect();
        Self {
            shares: fleet.regions.iter().map(|r| r.share).collect(),
            ways: fleet.regions.iter().map(row).collect(),
            rtt_ms: ms(fleet.rtt),
            nat: fleet.nat,
            relay_ms: ms(fleet.relay_rtt),
            loss: fleet.loss,
            plane: fleet.plane,
        }
    }

    pub(crate) fn spot(&self, chance: &mut impl Rng) -> Spot {
        let mut unit = || f64::from(chance.next_u32()) / 4_294_967_296.0;
        let region = pick(&self.shares, unit());
        let doors = [self.nat.public, self.nat.mapped, self.nat.symmetric];
        let door = [Door::Public, Door::Mapped, Door::Symmetric][pick(&doors, unit())];
        let at = [unit() as f32, unit() as f32];
        Spot { region: u16::try_from(region).unwrap_or(0), at, door }
    }

    /// One way; `wobble` in −1..1.
    pub(crate) fn one_way(&self, a: &Spot, b: &Spot, wobble: f64) -> Duration {
        let square = if self.plane { Latency::Plane } else { Latency::Constant };
        let way = match self.ways.get(usize::from(a.region)) {
            Some(row) => {
                let rtt = row[usize::from(b.region)];
                Latency::Constant.one_way(a.at, b.at, rtt, wobble)
            }
            None => square.one_way(a.at, b.at, self.rtt_ms, wobble),
        };
        let relayed = a.door == Door::Symmetric && b.door == Door::Symmetric;
        if relayed { way + Duration::from_secs_f64(self.relay_ms / 2e3) } else { way }
    }
}

/// Which of these weights `u` in 0..1 falls on.
fn pick(weights: &[f64], u: f64) -> usize {
    let mut at = u * weights.iter().sum::<f64>();
    let found = weights.iter().position(|w| {
        at -= w;
        at < 0.0
    });
    found.unwrap_or(weights.len().saturating_sub(1))
}
