//! The mode as a whole network's choice: what the reference says that carries it.
//!
//! ```text
//! /homing/dht/kademlia        /homing/dht/cluster/S        S: members above which a cluster splits
//! ```
//! The choice is a bound reference ([`homing_base::Reference`]) called [`SETTING_NAME`] of an identity that the
//! network's nodes are configured with. So it is signed, numbered, ends, and is kept and found like every
//! reference; nothing here has to be proven once more. Normative: `spec/08-dht.md`.
//!
//! What to choose, [`Advisor`] says from the size and the mean session that the owner's node measures:
//!
//! ```text
//! turnover = 3,600 s / mean session, per hour
//!            0 ......... CALM ................. BUSY .........
//!            kademlia  │  as it is             │  clusters of 16, from 256 nodes on of 64
//! ```
//! Between the two nothing changes, nor before the same answer has held for the owner's patience: so churn
//! that wavers does not make a network waver. Why there: from one turnover per hour on lookups in clusters
//! run into a quarter fewer dead nodes, below it nothing was found between the two (`docs/design/dht.md`);
//! and under such churn the measured session is two to three times too long, since whoever is dead counts
//! as living until somebody finds out.

use std::time::Duration;

use homing_base::Mono;

use super::Mode;
use crate::cluster::Bounds;

/// What its owner calls the reference.
pub const SETTING_NAME: &str = "dht-setting";
const PATH: &str = "/homing/dht/";
/// Measured turnovers per hour from which on clusters are chosen.
const BUSY: f64 = 0.75;
/// Measured turnovers per hour below which they are given up.
const CALM: f64 = 0.4;
/// Nodes from which on clusters are of 64; below half as many they are of 16 again.
const MANY: f64 = 256.0;

/// Deaths that a node must have seen before churn is a reason: without any, what it tells is its prior.
const DEATHS_MIN: u64 = 3;

/// What the owner's node measures.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Nodes in the network; `None`: too early to tell.
    pub size: Option<f64>,
    /// Mean session of a node.
    pub session: Duration,
    /// Contacts that it found dead since its start.
    pub deaths: u64,
}

/// Chooses a mode for the whole network.
#[derive(Clone, Debug)]
pub struct Advisor {
    patience: Duration,
    /// The choice that differs from what is, and since when it has been the answer.
    leaning: Option<(Mode, Mono)>,
}

impl Advisor {
    /// Changes nothing before the same answer has held for `patience`.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, leaning: None }
    }

    /// What is measured while the network is in a mode. `Some`: it is time to choose this one.
    pub fn observe(&mut self, measured: &Measured, current: Mode, now: Mono) -> Option<Mode> {
        let wanted = wanted(measured, current);
        if wanted == current {
            self.leaning = None;
            return None;
        }
        let since = match self.leaning {
            Some((mode, since)) if mode == wanted => since,
            _ => now,
        };
        self.leaning = Some((wanted, since));
        if now.since(since) < self.patience {
            return None;
        }
        self.leaning = None;
        Some(wanted)
    }
}

fn wanted(measured: &Measured, current: Mode) -> Mode {
    let Some(size) = measured.size else { return current };
    let turnover = 3_600.0 / measured.session.as_secs_f64().max(1.0);
    let grown = matches!(current, Mode::Cluster(bounds) if bounds.split_above >= 64);
    let many = if grown { MANY / 2.0 } else { MANY };
    let split_above = if size >= many { 64 } else { 16 };
    match current {
        Mode::Kademlia if turnover < BUSY || measured.deaths < DEATHS_MIN => current,
        Mode::Cluster(_) if turnover < CALM => Mode::Kademlia,
        _ => Mode::Cluster(Bounds { split_above }),
    }
}

impl Mode {
    /// The value of the reference.
    #[must_use]
    pub fn setting(self) -> String {
        match self {
            Self::Kademlia => format!("{PATH}kademlia"),
            Self::Cluster(Bounds { split_above }) => format!("{PATH}cluster/{split_above}"),
        }
    }

    /// Reads a value; `None`: it names no mode that this version has, or clusters that none works with.
    #[must_use]
    pub fn from_setting(value: &str) -> Option<Self> {
        let choice = value.strip_prefix(PATH)?;
        let mode = match choice.strip_prefix("cluster/") {
            Some(size) => Self::Cluster(Bounds { split_above: size.parse().ok()? }.check().ok()?),
            None => Self::Kademlia,
        };
        // One text per mode: no leading zeros, nothing behind.
        (mode.setting() == value).then_some(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SMALL: Mode = Mode::Cluster(Bounds { split_above: 16 });
    const LARGE: Mode = Mode::Cluster(Bounds { split_above: 64 });

    fn measured(size: f64, session_minutes: u32) -> Measured {
        Measured { size: Some(size), session: session_minutes * MINUTE, deaths: 3 }
    }

    /// What is chosen within an hour, and in which minute, of a network that stays the same.
    fn chosen(size: f64, session_minutes: u32, current: Mode) -> Option<(u64, Mode)> {
        let mut advisor = Advisor::new(10 * MINUTE);
        (0..60).find_map(|minute| {
            let now = Mono::default().after(Duration::from_secs(60 * minute));
            let choice = advisor.observe(&measured(size, session_minutes), current, now);
            choice.map(|mode| (minute, mode))
        })
    }

    #[test]
    fn churn_that_lasts_is_answered_by_clusters_and_calm_ends_them() {
        assert_eq!(chosen(40.0, 15, Mode::Kademlia), Some((10, SMALL)));
        assert_eq!(chosen(1_000.0, 15, Mode::Kademlia), Some((10, LARGE)));
        assert_eq!(chosen(1_000.0, 300, LARGE), Some((10, Mode::Kademlia)));
        assert_eq!(chosen(1_000.0, 300, Mode::Kademlia), None);
        assert_eq!(chosen(1_000.0, 15, LARGE), None);
    }

    #[test]
    fn between_the_two_all_stays_as_it_is() {
        for current in [Mode::Kademlia, SMALL] {
            assert_eq!(chosen(40.0, 100, current), None, "{current:?}");
        }
        assert_eq!(chosen(200.0, 15, LARGE), None);
        assert_eq!(chosen(200.0, 15, SMALL), None);
        assert_eq!(chosen(100.0, 15, LARGE), Some((10, SMALL)));
        assert_eq!(chosen(300.0, 15, SMALL), Some((10, LARGE)));
    }

    #[test]
    fn what_nobody_has_seen_is_no_reason() {
        let mut advisor = Advisor::new(Duration::ZERO);
        let busy = measured(40.0, 10);
        let now = Mono::default();
        for unseen in [Measured { deaths: 2, ..busy }, Measured { size: None, ..busy }] {
            assert_eq!(advisor.observe(&unseen, Mode::Kademlia, now), None);
        }
        assert_eq!(advisor.observe(&busy, Mode::Kademlia, now), Some(SMALL));
    }

    #[test]
    fn an_answer_that_wavers_is_none() {
        let mut advisor = Advisor::new(10 * MINUTE);
        for minute in 0..120 {
            let session = if minute % 9 == 8 { 100 } else { 10 };
            let now = Mono::default().after(Duration::from_secs(60 * minute));
            let choice = advisor.observe(&measured(40.0, session), Mode::Kademlia, now);
            assert_eq!(choice, None, "minute {minute}");
        }
    }

    #[test]
    fn each_mode_has_one_text_and_nothing_else_is_one() {
        for mode in [
            Mode::Kademlia,
            Mode::Cluster(Bounds { split_above: 8 }),
            Mode::Cluster(Bounds { split_above: 256 }),
        ] {
            assert_eq!(Mode::from_setting(&mode.setting()), Some(mode));
        }
        for text in [
            "",
            "kademlia",
            "/homing/dht/",
            "/homing/dht/chord",
            "/homing/dht/kademlia/",
            "/homing/dht/cluster",
            "/homing/dht/cluster/",
            "/homing/dht/cluster/7",
            "/homing/dht/cluster/257",
            "/homing/dht/cluster/064",
            "/homing/dht/cluster/+64",
            "/homing/dht/cluster/64/65",
            "/ipfs/bafkqaaa",
        ] {
            assert_eq!(Mode::from_setting(text), None, "{text}");
        }
    }
}
