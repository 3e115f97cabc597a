//! `netcheck` and `doctor`.

use std::net::{IpAddr, SocketAddr};

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
        let (global_v4, global_v6) = self.shared.transport.seen_from_outside();
        Ok(Netcheck {
            schema: Schema::new(),
            network: network_of(&self.shared),
            global_v4,
            global_v6,
            nat: nat(facts.network, global_v4, crate::transport::own_v4()).to_owned(),
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

/// `own`: where packets to the internet leave from.
fn nat(network: Network, seen: Option<SocketAddr>, own: Option<IpAddr>) -> &'static str {
    match network {
        Network { udp_v4: Some(false), .. } => "udp blocked",
        _ if seen.is_some_and(|seen| Some(seen.ip()) == own) => "none",
        Network { udp_v4: None, .. } | Network { mapping_varies: None, .. } => "unknown",
        Network { mapping_varies: Some(true), .. } => "symmetric",
        Network { mapping_varies: Some(false), .. } => "cone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nat_is_named_by_what_was_seen_of_it() {
        let own: IpAddr = "192.0.2.7".parse().unwrap();
        let at = |ip: &str| Some(SocketAddr::new(ip.parse().unwrap(), 4_000));
        let measured = |udp_v4, mapping_varies| Network { udp_v4, mapping_varies, udp_v6: None };
        for (network, seen, expected) in [
            (measured(Some(true), None), at("192.0.2.7"), "none"),
            (measured(Some(true), Some(false)), at("198.51.100.1"), "cone"),
            (measured(Some(true), Some(true)), at("198.51.100.1"), "symmetric"),
            (measured(Some(true), None), at("198.51.100.1"), "unknown"),
            (measured(Some(false), None), None, "udp blocked"),
            (measured(None, None), None, "unknown"),
        ] {
            assert_eq!(nat(network, seen, Some(own)), expected, "{network:?}");
        }
    }
}
