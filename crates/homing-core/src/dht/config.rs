//! What may be chosen about one DHT node, and the intervals that follow from the churn it sees.

use std::time::Duration;

use super::limits::{ALPHA, ALPHA_LAST, K, K_MAX, PATHS_MAX};
use super::store::Quota;
use crate::cluster::{Bounds, Unbounded};

/// How failures are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// On timers only: a failure marks a contact and nothing else.
    Periodic,
    /// For comparison: a failure evicts at once, starts a lookup, pushes the leafset.
    Reactive,
}

/// How far a node's leafset reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To the k closest.
    #[default]
    Kademlia,
    /// To all members of its cluster ([`crate::cluster`]).
    Cluster(Bounds),
}

/// Settings that no node can run with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unworkable {
    /// Answers and leafset listings are sized for [`K_MAX`].
    #[error("k is {k}: a node works with 2 to {K_MAX}")]
    Width {
        /// What was asked for.
        k: usize,
    },
    /// Nobody to ask, or more than a lookup is wide.
    #[error("{what} is {value}: between 1 and k, which is {k}")]
    Parallelism {
        /// Which setting.
        what: &'static str,
        /// What was asked for.
        value: usize,
        /// The k it belongs to.
        k: usize,
    },
    /// Too many or no paths.
    #[error("paths is {paths}: between 1 and {PATHS_MAX}")]
    Paths {
        /// What was asked for.
        paths: usize,
    },
    /// Clusters too small to merge, or too large for one listing.
    #[error(transparent)]
    Cluster(#[from] Unbounded),
    /// Intervals would be zero, negative or no number.
    #[error("pace is {pace}: a positive number is needed")]
    Pace {
        /// What was asked for.
        pace: f64,
    },
}

/// The settings of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Replicas, bucket size, width of lookups: 2 to [`K_MAX`].
    pub k: usize,
    /// Requests in flight per lookup.
    pub alpha: usize,
    /// Requests in flight once a lookup gets no closer.
    pub alpha_last: usize,
    /// Disjoint paths of value lookups, 1–8.
    pub paths: usize,
    /// Disjoint paths of the lookup before a value is stored, 1–8. Storing is rare, and a copy at the wrong nodes
    /// cannot be found on any number of paths.
    pub put_paths: usize,
    /// A value lookup that finds nothing is done once more, on 8 disjoint paths that begin elsewhere: what
    /// is found at once costs no more, what liars hide is found late.
    pub second_search: bool,
    /// Plain Kademlia or clusters.
    pub mode: Mode,
    /// How failures are dealt with.
    pub recovery: Recovery,
    /// Proximity neighbour selection: prefer fast contacts where several would do.
    pub proximity: bool,
    /// Caps per IP neighbourhood.
    pub ip_caps: bool,
    /// Region query when the closest answers are too close together.
    pub region_query: bool,
    /// Own values are stored anew this often.
    pub republish: Duration,
    /// No copy of another's value is held longer, whatever its origin says.
    pub expiry: Duration,
    /// Expired values are dropped this often.
    pub sweep: Duration,
    /// All churn-dependent intervals are multiplied by this. 1 unless an experiment says so.
    pub pace: f64,
    /// Bounds of the values held for others.
    pub quota: Quota,
    /// Trace every step of a lookup in its report.
    pub trace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            k: K,
            alpha: ALPHA,
            alpha_last: ALPHA_LAST,
            paths: 1,
            put_paths: PATHS_MAX,
            second_search: true,
            mode: Mode::Kademlia,
            recovery: Recovery::Periodic,
            proximity: true,
            ip_caps: true,
            region_query: true,
            republish: Duration::from_secs(3_600),
            expiry: Duration::from_secs(24 * 3_600),
            sweep: Duration::from_secs(600),
            pace: 1.0,
            quota: Quota::default(),
            trace: false,
        }
    }
}

impl Config {
    /// Whether a node can run with this.
    ///
    /// # Errors
    /// [`Unworkable`], naming the first setting that is out of bounds.
    pub fn check(&self) -> Result<(), Unworkable> {
        if !(2..=K_MAX).contains(&self.k) {
            return Err(Unworkable::Width { k: self.k });
        }
        for (what, value) in [("alpha", self.alpha), ("alpha_last", self.alpha_last)] {
            if !(1..=self.k).contains(&value) {
                return Err(Unworkable::Parallelism { what, value, k: self.k });
            }
        }
        for paths in [self.paths, self.put_paths] {
            if !(1..=PATHS_MAX).contains(&paths) {
                return Err(Unworkable::Paths { paths });
            }
        }
        if let Mode::Cluster(bounds) = self.mode {
            bounds.check()?;
        }
        if !(self.pace.is_finite() && self.pace > 0.0) {
            return Err(Unworkable::Pace { pace: self.pace });
        }
        Ok(())
    }
}

/// How often what is done, given the mean session `T̂`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intervals {
    /// Leafset exchange.
    pub exchange: Duration,
    /// One round of probes.
    pub probe: Duration,
    /// An entry not heard of for so long is probed.
    pub stale: Duration,
    /// Bucket refresh.
    pub refresh: Duration,
    /// Value sync with one sibling.
    pub sync: Duration,
}

impl Intervals {
    /// The share of a session within which an entry is confirmed: 2·p with p = 10 % dead entries.
    const STALE_SHARE: f64 = 0.2;

    /// Exchanges in a cluster are so many times rarer than those of a leafset: all its members watch each other, and
    /// one exchange carries what many of them found.
    const SHARED: f64 = 1.6;

    /// For `entries` that nobody else watches and sessions of mean `session`.
    #[must_use]
    pub fn of(session: Duration, entries: usize, config: &Config) -> Self {
        let s = session.as_secs_f64() * config.pace;
        let within = |seconds: f64, low: f64, high: f64| {
            Duration::from_secs_f64(
                seconds.clamp(low * config.pace.min(1.0), high * config.pace.max(1.0)),
            )
        };
        let stale = within(s * Self::STALE_SHARE, 20.0, 7_200.0);
        let exchange = s / (4.0 * config.k.max(1) as f64);
        Self {
            exchange: within(exchange, 4.0, 60.0),
            probe: within(stale.as_secs_f64() / entries.max(1) as f64, 0.5, 100.0),
            stale,
            refresh: within(s / 50.0, 10.0, 600.0),
            sync: within(s / 10.0, 30.0, 3_600.0),
        }
    }

    /// As above, for a member of a cluster larger than k.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { exchange: self.exchange.mul_f64(Self::SHARED), ..self }
    }
}
