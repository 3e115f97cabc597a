//! `netcheck` and `doctor`.

use std::net::SocketAddr;

use homing_api::network::{Check, Doctor, Netcheck, Outcome, PeerDiagnosis};
use homing_api::peers::PathKind;
use homing_api::{ApiError, Schema};
use homing_core::message::Network;

use super::{explained, network_of, reason_if_asked};
use crate::events::summary_of;
use crate::health::ITEMS;
use crate::node::Node;
use crate::paths;

impl Node {
    /// What the network does to this agent, and to the path with one peer.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`.
    pub async fn netcheck(&self, peer: Option<&str>) -> Result<Netcheck, ApiError> {
        let diagnosis = match peer {
            Some(peer) => Some(self.diagnosis(peer).await?),
            None => None,
        };
        let facts = self.shared.transport.facts();
        let global = |v4| facts.direct.iter().copied().find(|a| a.is_ipv4() == v4 && is_global(a));
        Ok(Netcheck {
            schema: Schema::new(),
            network: network_of(&self.shared),
            global_v4: global(true),
            global_v6: global(false),
            nat: nat(facts.network, global(true), &self.shared.transport.bound()).to_owned(),
            relays: self.relay_links(),
            direct: facts.direct,
            peer: diagnosis,
        })
    }

    async fn diagnosis(&self, peer: &str) -> Result<PeerDiagnosis, ApiError> {
        let (view, now) = (self.view(peer).await?, self.now());
        let reason = reason_if_asked(&self.shared, &view, now);
        let path = paths::best(&view, &self.shared.transport).path;
        let path = explained(&self.shared, &view, now, path);
        let direct = match path.kind {
            PathKind::Direct => path.remote.as_deref().and_then(|a| a.parse().ok()),
            _ => None,
        };
        let published = view.record.iter().flat_map(|record| record.direct.iter().copied());
        Ok(PeerDiagnosis {
            peer: summary_of(&view),
            path,
            why: reason.as_ref().map(|r| r.text.clone()),
            why_code: reason.as_ref().map(|r| r.code.to_owned()),
            hint: reason.and_then(|r| r.hint),
            their_network: view.network.map(paths::facts_of),
            candidates: direct.into_iter().chain(published).collect(),
        })
    }

    /// What the daemon finds wrong with itself: every condition that can be, and whether it is.
    #[must_use]
    pub fn doctor(&self) -> Doctor {
        let visible = self.health();
        let checks =
            ITEMS.iter().map(|item| match visible.iter().find(|found| found.code == item.code) {
                None => Check::new(item.code, Outcome::Ok, "not the case"),
                Some(found) => Check::new(
                    item.code,
                    outcome(found.severity),
                    format!("{}: {}", found.title, found.text),
                )
                .hint(item.advice),
            });
        Doctor { schema: Schema::new(), checks: checks.collect() }
    }
}

fn outcome(severity: homing_api::agent::Severity) -> Outcome {
    use homing_api::agent::Severity;
    match severity {
        // What is worth knowing in `status` is worth a look in `doctor`.
        Severity::Info | Severity::Warning => Outcome::Warn,
        Severity::Error => Outcome::Fail,
    }
}

fn nat(network: Network, global: Option<SocketAddr>, bound: &[SocketAddr]) -> &'static str {
    match network {
        Network { udp_v4: Some(false), .. } => "udp blocked",
        Network { mapping_varies: Some(true), .. } => "symmetric",
        Network { udp_v4: None, .. } => "unknown",
        _ if global.is_some_and(|g| bound.iter().any(|b| b.ip() == g.ip())) => "none",
        _ => "cone",
    }
}

/// Neither loopback nor private nor link-local.
fn is_global(addr: &SocketAddr) -> bool {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified())
        }
        std::net::IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}
