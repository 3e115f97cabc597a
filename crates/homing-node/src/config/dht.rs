//! `[dht]`: whether and how this node takes part in the distributed hash table.
//!
//! What each number means is told in `docs/design/dht.md`. Not here: intervals that follow from the
//! measured churn, which nobody has to choose.

use std::time::Duration;

use homing_base::NodeId;
use homing_core::cluster::Bounds;
use homing_core::dht::Mode;
use homing_core::dht::limits::{ALPHA_LAST, K, K_MAX};
use homing_core::io::{DhtRole, DhtSettings};

use super::{Config, ConfigError, Layers};

/// Shorter intervals would make every node a flood of its own making.
const REPUBLISH_SECONDS_MIN: u64 = 60;
/// A copy never outlives what its origin signed, and that is at most 24 h.
const EXPIRY_SECONDS_MAX: u64 = 86_400;

/// The distributed hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhtConfig {
    /// Whether this node takes part. Default `true`: without it only neighbours are asked.
    pub enabled: bool,
    /// How far the neighbourhood reaches. Default `kademlia`: to the k closest.
    pub mode: Mode,
    /// Whose choice of a mode is followed; `None` unless `dht.mode` is `auto`.
    pub network_key: Option<NodeId>,
    /// On the agent of `network_key`: whether it chooses by what it measures, and how long a reason must hold
    /// (10 s to 24 h, default 10 min). Default `None`: its owner publishes the choice.
    pub decide_after: Option<Duration>,
    /// Whether it serves others. Default `auto`.
    pub server: DhtServer,
    /// Replicas of a record, size of a bucket, width of a lookup; 2–40. Default 20, Kademlia's.
    pub k: usize,
    /// Requests in flight per lookup; 1–10, and not above k. Default 3, Kademlia's.
    pub alpha: usize,
    /// The own record is stored anew this often; at least 60 s. Default 1 h.
    pub republish: Duration,
    /// The longest that a record of others is kept here; at most 24 h. Default 24 h.
    pub expiry: Duration,
}

/// Whether a node answers others' questions and keeps their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhtServer {
    /// When it can be reached by anybody.
    Auto,
    /// Always: for networks whose nodes all see each other, and relayed fleets.
    Always,
    /// Never: it asks, and stores its own record at others.
    Never,
}

impl DhtConfig {
    /// For the core; `None`: this node takes no part.
    #[must_use]
    pub fn settings(&self) -> Option<DhtSettings> {
        let role = match self.server {
            DhtServer::Auto => DhtRole::Auto,
            DhtServer::Always => DhtRole::Server,
            DhtServer::Never => DhtRole::Client,
        };
        let Self { k, alpha, republish, expiry, mode, .. } = *self;
        self.enabled.then_some(DhtSettings { k, alpha, republish, expiry, role, mode })
    }
}

impl DhtServer {
    /// As it is configured.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl Layers {
    pub(super) fn dht(&self) -> Result<DhtConfig, ConfigError> {
        let k = self.number("dht.k", 2, K_MAX as u64)?;
        let republish = self.number(REPUBLISH, REPUBLISH_SECONDS_MIN, EXPIRY_SECONDS_MAX)?;
        let expiry =
            self.number("dht.expiry_seconds", REPUBLISH_SECONDS_MIN, EXPIRY_SECONDS_MAX)?;
        if republish > expiry {
            let why = format!("it is longer than dht.expiry_seconds = {expiry}");
            return Err(self.refuse(REPUBLISH, why));
        }
        Ok(DhtConfig {
            enabled: self.bool("dht.enabled"),
            mode: self.mode()?,
            network_key: self.network_key()?,
            decide_after: self.decide_after()?,
            server: self.one("dht.server", server)?,
            k: k as usize,
            alpha: self.alpha(k)? as usize,
            republish: Duration::from_secs(republish),
            expiry: Duration::from_secs(expiry),
        })
    }

    fn mode(&self) -> Result<Mode, ConfigError> {
        let (min, max) = (u64::from(Bounds::MIN), u64::from(Bounds::MAX));
        let split_above = self.number("dht.cluster_size", min, max)? as u16;
        Ok(match self.one("dht.mode", form)? {
            // Until the choice is known.
            Form::Kademlia | Form::Auto => Mode::Kademlia,
            Form::Cluster => Mode::Cluster(Bounds { split_above }),
        })
    }

    fn network_key(&self) -> Result<Option<NodeId>, ConfigError> {
        let key = self.optional(NETWORK_KEY)?;
        match (self.one("dht.mode", form)?, key) {
            (Form::Auto, None) => {
                Err(self
                    .refuse("dht.mode", format!("it needs {NETWORK_KEY}: whose choice to follow")))
            }
            (Form::Auto, key) => Ok(key),
            (_, _) => Ok(None),
        }
    }

    /// Nobody else can sign the choice of the identity that `dht.network_key` names.
    pub(crate) fn check_owner(&self, config: &Config, me: NodeId) -> Result<(), ConfigError> {
        match (config.dht.decide_after, config.dht.network_key) {
            (Some(_), Some(owner)) if owner != me => {
                Err(self.refuse(DECIDE, format!("{NETWORK_KEY} is not this agent's ID, {me}")))
            }
            _ => Ok(()),
        }
    }

    fn decide_after(&self) -> Result<Option<Duration>, ConfigError> {
        let after = self.number("dht.decide_after_seconds", 10, EXPIRY_SECONDS_MAX)?;
        match (self.bool(DECIDE), self.one("dht.mode", form)?) {
            (true, Form::Auto) => Ok(Some(Duration::from_secs(after))),
            (true, _) => Err(self.refuse(DECIDE, "it needs dht.mode = auto")),
            (false, _) => Ok(None),
        }
    }

    /// A small k brings the default down with it; a number that somebody chose is not bent.
    fn alpha(&self, k: u64) -> Result<u64, ConfigError> {
        match self.is_set("dht.alpha") {
            true => self.number("dht.alpha", 1, k.min(ALPHA_LAST as u64)),
            false => Ok(self.number("dht.alpha", 1, K as u64)?.min(k)),
        }
    }
}

const DECIDE: &str = "dht.decide";
const NETWORK_KEY: &str = "dht.network_key";
const REPUBLISH: &str = "dht.republish_interval_seconds";

enum Form {
    Kademlia,
    Cluster,
    Auto,
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "kademlia" => Ok(Form::Kademlia),
        "cluster" => Ok(Form::Cluster),
        "auto" => Ok(Form::Auto),
        _ => Err("expected kademlia, cluster or auto".into()),
    }
}

fn server(text: &str) -> Result<DhtServer, String> {
    match text {
        "auto" => Ok(DhtServer::Auto),
        "always" => Ok(DhtServer::Always),
        "never" => Ok(DhtServer::Never),
        _ => Err("expected auto, always or never".into()),
    }
}
