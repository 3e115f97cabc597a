//! The mode as a whole network's choice: what the reference says that carries it.
//!
//! ```text
//! /homing/dht/kademlia        /homing/dht/cluster/S        S: members above which a cluster splits
//! ```
//! The choice is a bound reference ([`homing_base::Reference`]) called [`SETTING_NAME`] of an identity that the
//! network's nodes are configured with. So it is signed, numbered, ends, and is kept and found like every
//! reference; nothing here has to be proven once more. Normative: `spec/08-dht.md`.

use super::Mode;
use crate::cluster::Bounds;

/// What its owner calls the reference.
pub const SETTING_NAME: &str = "dht-setting";
const PATH: &str = "/homing/dht/";

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
