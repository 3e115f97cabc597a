//! Peers, paths, trust and sizes in words.

use homing_api::peers::{Path, PathKind};
use homing_api::trust::{TrustFacts, TrustState};
use homing_base::Service;

use crate::render::time;

/// `direct 203.0.113.7:41641`, `relay  eu-1:3340`, `offline`.
pub(crate) fn path(path: &Path) -> String {
    let remote = path.remote.as_deref().unwrap_or("");
    let kind = match path.kind {
        PathKind::Direct => "direct",
        PathKind::Relay => "relay",
        PathKind::Connecting => "connecting",
        PathKind::Offline => "offline",
    };
    let how = match path.reason.as_deref() {
        Some("port_prediction") => " (port prediction)",
        _ => "",
    };
    format!("{kind} {remote}{how}").trim_end().to_owned()
}

/// As a sentence part of `ping`: `via relay eu-1`, `direct 203.0.113.7:41641`.
pub(crate) fn via(path: &Path) -> String {
    match path.kind {
        PathKind::Relay => format!("via {}", self::path(path)),
        _ => self::path(path),
    }
}

/// A trust state as tables show it.
pub(crate) fn trust_state(state: TrustState) -> &'static str {
    match state {
        TrustState::None => "none",
        TrustState::Requested => "requested",
        TrustState::Pending => "asks for trust",
        TrustState::Mutual => "mutual",
        TrustState::Expired => "expired",
        TrustState::RejectedByUs => "rejected by us",
        TrustState::RejectedByPeer => "rejected by peer",
        TrustState::RevokedByUs => "revoked by us",
        TrustState::RevokedByPeer => "revoked by peer",
    }
}

/// `mutual (mcp), 21d left`.
pub(crate) fn trust(facts: &TrustFacts) -> String {
    let mut text = trust_state(facts.state).to_owned();
    let granted = facts.allowed.as_ref().filter(|services| !services.is_empty());
    if let Some(services) = granted {
        text.push_str(&format!(" ({})", list(services)));
    }
    if let (TrustState::Mutual, Some(end)) = (facts.state, facts.expires) {
        text.push_str(&format!(", {}", time::left(end)));
    }
    text
}

/// `mcp, ssh`, or `all`.
pub(crate) fn services(services: &Option<Vec<Service>>) -> String {
    services.as_ref().map_or_else(|| "all".to_owned(), |s| list(s))
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(count: u64, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("{count} {what}"),
        (_, Some(start)) => format!("{count} {start}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

fn list(services: &[Service]) -> String {
    let texts: Vec<_> = services.iter().map(Service::as_str).collect();
    texts.join(", ")
}

/// `3 in (1.2K bytes), 4 out (900 bytes)`: messages and their bytes.
pub(crate) fn messages(received: (u64, u64), sent: (u64, u64)) -> String {
    let one = |(count, size): (u64, u64)| (count, bytes(size));
    let ((ins, in_bytes), (outs, out_bytes)) = (one(received), one(sent));
    format!("{ins} in ({in_bytes} bytes), {outs} out ({out_bytes} bytes)")
}

/// `92K`, `4.1M`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1_000.0 && unit < UNITS.len() - 1 {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_names_services_only_where_there_are_some() {
        let facts =
            |state, allowed| TrustFacts { state, allowed, allowed_by_peer: None, expires: None };
        assert_eq!(trust(&facts(TrustState::None, Some(Vec::new()))), "none");
        assert_eq!(trust(&facts(TrustState::Mutual, None)), "mutual");
        let mcp = Some(vec!["mcp".parse().unwrap()]);
        assert_eq!(trust(&facts(TrustState::Mutual, mcp)), "mutual (mcp)");
    }

    #[test]
    fn sizes_have_at_most_three_digits() {
        let cases = [(0, "0"), (999, "999"), (4_100, "4.1K"), (92_000, "92K"), (4_120_000, "4.1M")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }
}
