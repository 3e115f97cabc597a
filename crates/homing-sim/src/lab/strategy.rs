//! The strategies that can be set beside each other.

use std::fmt::{self, Display};
use std::str::FromStr;

use homing_core::cluster::Bounds;
use homing_core::dht::{Config, Mode, Recovery};
use serde::{Deserialize, Serialize};

/// One way to keep addresses found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The daemon's default.
    #[default]
    Kademlia,
    /// The daemon's default without proximity neighbour selection.
    KademliaNoPns,
    /// Kademlia that repairs at once whatever fails.
    Reactive,
    /// The daemon's `dht.mode = cluster`.
    Cluster,
    /// A ring with fingers and successor lists, after Stoica et al.
    Chord,
    /// A reference that nobody but its owner republishes.
    Ipns,
    /// A reference that peers keep alive.
    IpnsKept,
}

impl Strategy {
    /// All of them, in the order in which tables show them.
    pub const ALL: [Strategy; 7] = [
        Strategy::Kademlia,
        Strategy::KademliaNoPns,
        Strategy::Reactive,
        Strategy::Cluster,
        Strategy::Chord,
        Strategy::Ipns,
        Strategy::IpnsKept,
    ];

    /// Its one text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Kademlia => "kademlia",
            Strategy::KademliaNoPns => "kademlia-no-pns",
            Strategy::Reactive => "reactive",
            Strategy::Cluster => "cluster",
            Strategy::Chord => "chord",
            Strategy::Ipns => "ipns",
            Strategy::IpnsKept => "ipns-kept",
        }
    }

    /// Whether it keeps references, whose worlds are weeks of one reference.
    #[must_use]
    pub fn is_reference(self) -> bool {
        matches!(self, Strategy::Ipns | Strategy::IpnsKept)
    }

    /// What a node of this strategy runs with; Chord takes `k` only.
    pub(crate) fn config(self, base: Config, split_above: u16) -> Config {
        let mode = match self {
            Strategy::Cluster => Mode::Cluster(Bounds { split_above }),
            _ => Mode::Kademlia,
        };
        let recovery = match self {
            Strategy::Reactive => Recovery::Reactive,
            _ => Recovery::Periodic,
        };
        Config { mode, recovery, proximity: self != Strategy::KademliaNoPns, ..base }
    }
}

impl Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|s| s.name()).collect();
            format!("{text:?} is no strategy; there are {}", all.join(", "))
        })
    }
}
