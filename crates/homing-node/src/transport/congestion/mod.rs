//! How fast a sender sends: the congestion controller of every QUIC connection.
//!
//! A controller belongs to the sender; the receiver need not know it. Which is the default, and by which
//! figures, is told in `docs/decisions/009-bbr3.md`; `cargo xtask bench congestion` measures.
//!
//! BBR is not used as it is, but [`steered`]: left alone it takes a conversation for a slow path, and on a near path it
//! costs more than it brings.

mod steered;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use noq::congestion::{ControllerFactory, CubicConfig, NewRenoConfig};

use steered::SteeredConfig;

/// A congestion controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Each path by its distance: CUBIC where a round trip takes a millisecond at most, BBR version 3 elsewhere.
    #[default]
    Auto,
    /// BBR version 3 (draft-ietf-ccwg-bbr): models the path, so that a lost packet is not yet congestion.
    Bbr3,
    /// CUBIC (RFC 9438): what most of the internet runs; every loss is congestion.
    Cubic,
    /// `NewReno` (RFC 9002 §7): the simplest.
    NewReno,
}

impl Congestion {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Bbr3, Self::Cubic, Self::NewReno];

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bbr3 => "bbr3",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
        }
    }

    /// Makes a controller for each path.
    #[must_use]
    pub fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Auto => Arc::new(SteeredConfig::by_distance()),
            Self::Bbr3 => Arc::new(SteeredConfig::everywhere()),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::NewReno => Arc::new(NewRenoConfig::default()),
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for Congestion {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.word() == word);
        found.ok_or_else(|| "expected auto, bbr3, cubic or newreno".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_one_word() {
        for one in Congestion::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert!("bbr".parse::<Congestion>().unwrap_err().contains("bbr3"));
    }
}
