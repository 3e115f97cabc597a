//! How packets reach a peer, and *why* not more directly: from what both sides measured.
//!
//! Each end tells the other what it knows of its own network (`Candidates`, mesh message 7), so both
//! ends name the same cause, each from its own side: `symmetric_nat_local` here is
//! `symmetric_nat_remote` there. The codes are stable; `docs/paths.md` has the table.

use std::time::Duration;

use homing_api::network::NetworkFacts;
use homing_api::peers::{Path, PathKind};
use homing_base::Mono;
use homing_core::io::{Door, TrustState};
use homing_core::message::Network;
use homing_core::view::{LinkView, PeerView};

use crate::transport::{PathView, Transport, Via};

/// How long hole punching may take before it counts as failed.
const PUNCHING_MAX: Duration = Duration::from_secs(10);
/// The same where one side's NAT is symmetric: the other side's decides, and it has answered by then or
/// never will.
const PUNCHING_SYMMETRIC_MAX: Duration = Duration::from_secs(2);

/// The best path of a peer.
#[derive(Clone, Debug)]
pub(crate) struct BestPath {
    pub(crate) path: Path,
    pub(crate) rtt: Option<Duration>,
    pub(crate) link: Option<LinkView>,
}

/// The best path among a peer's links: direct before relayed, main door before front.
pub(crate) fn best(peer: &PeerView, transport: &Transport) -> BestPath {
    let candidates = peer.links.iter().filter_map(|link| Some((link, transport.path(link.link)?)));
    let rank = |link: &LinkView, view: &PathView| {
        (!matches!(view.via, Via::Relay(_)), link.door == Door::Main, link.last_heard)
    };
    match candidates.max_by_key(|(link, view)| rank(link, view)) {
        Some((link, view)) => BestPath {
            path: of_view(&view),
            rtt: Some(link.rtt.unwrap_or(view.rtt)),
            link: Some(*link),
        },
        None => {
            let kind = if peer.links.is_empty() { PathKind::Offline } else { PathKind::Connecting };
            BestPath { path: Path::new(kind, None), rtt: None, link: None }
        }
    }
}

/// A transport path in API form.
pub(crate) fn of_view(view: &PathView) -> Path {
    match &view.via {
        Via::Direct(addr) => Path::new(PathKind::Direct, Some(addr.to_string())),
        Via::Predicted(addr) => {
            let Reason { code, text, .. } = Reason::predicted();
            Path {
                reason: Some(code.to_owned()),
                reason_text: Some(text),
                ..Path::new(PathKind::Direct, Some(addr.to_string()))
            }
        }
        Via::Relay(relay) => Path::new(PathKind::Relay, Some(relay.authority().to_owned())),
    }
}

/// `directly at 203.0.113.7:41641`.
pub(crate) fn words(path: &Path) -> String {
    let remote = path.remote.as_deref().unwrap_or("an unknown place");
    match path.kind {
        PathKind::Direct if is_predicted(path) => {
            format!("directly at {remote}, by port prediction")
        }
        PathKind::Direct => format!("directly at {remote}"),
        PathKind::Relay => format!("through relay {remote}"),
        PathKind::Connecting => "soon: the path is being made".into(),
        PathKind::Offline => "not at all".into(),
    }
}

/// It is direct only since a port was guessed.
pub(crate) fn is_predicted(path: &Path) -> bool {
    path.reason.as_deref() == Some(PORT_PREDICTION)
}

/// The code of a direct path through a port that was guessed.
const PORT_PREDICTION: &str = "port_prediction";

/// Why a path is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Stable, e.g. `symmetric_nat_both`.
    pub(crate) code: &'static str,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

impl Reason {
    fn new(code: &'static str, text: impl Into<String>, hint: Option<&str>) -> Self {
        Self { code, text: text.into(), hint: hint.map(str::to_owned) }
    }

    /// The reason of a direct path.
    pub(crate) fn direct() -> Self {
        Self::new("direct", "packets go from address to address", None)
    }

    /// The reason of one that was found by port prediction.
    pub(crate) fn predicted() -> Self {
        let text = "packets go from address to address, through a port found by prediction";
        Self::new(PORT_PREDICTION, text, None)
    }
}

/// What a reason is made from.
pub(crate) struct Circumstances<'a> {
    /// The peer's name or short node ID.
    pub(crate) peer: &'a str,
    pub(crate) trust: TrustState,
    pub(crate) ours: Network,
    pub(crate) theirs: Option<Network>,
    /// Age of the link; `None`: no link.
    pub(crate) age: Option<Duration>,
}

impl Circumstances<'_> {
    /// The link is younger than `time`, or not there yet.
    fn is_young(&self, time: Duration) -> bool {
        self.age.is_none_or(|age| age < time)
    }
}

/// The reason of a path that is not direct.
pub(crate) fn why_relayed(c: &Circumstances<'_>) -> Reason {
    let peer = c.peer;
    if c.trust != TrustState::Mutual {
        let text = format!("without mutual trust {peer} and this agent meet at a relay only");
        return Reason::new("relay_forced", text, Some("homing handshake and homing approve"));
    }
    let Some(theirs) = c.theirs else {
        let text = format!("{peer} has not told yet where it can be reached directly");
        return Reason::new("connecting", text, None);
    };
    blocked(peer, c.ours, theirs)
        .or_else(|| no_common_family(peer, c.ours, theirs))
        .or_else(|| symmetric(c, theirs))
        .unwrap_or_else(|| unpunched(c))
}

fn blocked(peer: &str, ours: Network, theirs: Network) -> Option<Reason> {
    let blocked = |n: Network| n.udp_v4 == Some(false) && n.udp_v6 != Some(true);
    let (code, text) = match (blocked(ours), blocked(theirs)) {
        (true, true) => {
            ("udp_blocked_both", format!("UDP is blocked on this network and at {peer}"))
        }
        (true, false) => ("udp_blocked_local", "UDP is blocked on this network".to_owned()),
        (false, true) => ("udp_blocked_remote", format!("UDP is blocked at {peer}")),
        (false, false) => return None,
    };
    let hint = "let UDP out on that network, or leave it relayed: it works, only slower";
    Some(Reason::new(code, text, Some(hint)))
}

fn no_common_family(peer: &str, ours: Network, theirs: Network) -> Option<Reason> {
    let only_v4 = |n: Network| n.udp_v4 == Some(true) && n.udp_v6 == Some(false);
    let only_v6 = |n: Network| n.udp_v6 == Some(true) && n.udp_v4 == Some(false);
    let (here, there) = match () {
        () if only_v4(ours) && only_v6(theirs) => ("IPv4", "IPv6"),
        () if only_v6(ours) && only_v4(theirs) => ("IPv6", "IPv4"),
        () => return None,
    };
    let text = format!("this network has {here} only, that of {peer} {there} only");
    Some(Reason::new("no_common_family", text, Some("enable IPv6 on the network that lacks it")))
}

fn symmetric(c: &Circumstances<'_>, theirs: Network) -> Option<Reason> {
    let (peer, varies) = (c.peer, |n: Network| n.mapping_varies == Some(true));
    let (code, text) = match (varies(c.ours), varies(theirs)) {
        (true, true) => ("symmetric_nat_both", format!("symmetric NAT here and at {peer}")),
        (false, false) => return None,
        _ if c.is_young(PUNCHING_SYMMETRIC_MAX) => return Some(punching()),
        (true, false) => {
            ("symmetric_nat_local", format!("symmetric NAT here, and {peer} is not public"))
        }
        (false, true) => (
            "symmetric_nat_remote",
            format!("symmetric NAT at {peer}, and this agent is not public"),
        ),
    };
    let hint = "forward one UDP port to one of the two and set listen to it";
    Some(Reason::new(code, text, Some(hint)))
}

fn unpunched(c: &Circumstances<'_>) -> Reason {
    if c.is_young(PUNCHING_MAX) {
        return punching();
    }
    let text = format!("a firewall between this agent and {} drops direct packets", c.peer);
    Reason::new("firewall", text, Some("let UDP through, or set listen to a port that is open"))
}

fn punching() -> Reason {
    Reason::new("punching", "a direct path is being looked for", None)
}

/// The age of a link at `now`.
pub(crate) fn age(link: Option<LinkView>, now: Mono) -> Option<Duration> {
    link.map(|link| now.since(link.proven_at))
}

/// Network facts in API form.
pub(crate) fn facts_of(network: Network) -> NetworkFacts {
    let Network { udp_v4, udp_v6, mapping_varies } = network;
    NetworkFacts { udp_v4, udp_v6, mapping_varies }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONE: Network =
        Network { udp_v4: Some(true), udp_v6: Some(false), mapping_varies: Some(false) };
    const SYMMETRIC: Network = Network { mapping_varies: Some(true), ..CONE };
    const BLOCKED: Network = Network { udp_v4: Some(false), ..CONE };
    const V6: Network = Network { udp_v4: Some(false), udp_v6: Some(true), ..CONE };

    fn code(ours: Network, theirs: impl Into<Option<Network>>) -> &'static str {
        at_age(Duration::from_secs(60), ours, theirs)
    }

    fn at_age(age: Duration, ours: Network, theirs: impl Into<Option<Network>>) -> &'static str {
        let (theirs, trust) = (theirs.into(), TrustState::Mutual);
        why_relayed(&Circumstances { peer: "p", trust, ours, theirs, age: Some(age) }).code
    }

    #[test]
    fn the_reason_follows_from_what_both_sides_measured() {
        assert_eq!(code(CONE, V6), "no_common_family");
        assert_eq!(code(CONE, CONE), "firewall");
        assert_eq!(code(CONE, None), "connecting");
    }

    #[test]
    fn both_ends_name_the_same_cause_each_from_its_side() {
        let seen = [
            (SYMMETRIC, SYMMETRIC, "symmetric_nat_both", "symmetric_nat_both"),
            (SYMMETRIC, CONE, "symmetric_nat_local", "symmetric_nat_remote"),
            (BLOCKED, SYMMETRIC, "udp_blocked_local", "udp_blocked_remote"),
            (BLOCKED, BLOCKED, "udp_blocked_both", "udp_blocked_both"),
        ];
        for (a, b, from_a, from_b) in seen {
            assert_eq!((code(a, b), code(b, a)), (from_a, from_b));
        }
    }

    #[test]
    fn a_young_link_is_being_punched() {
        let second = Duration::from_secs(1);
        assert_eq!(at_age(second, CONE, CONE), "punching");
        assert_eq!(at_age(second, SYMMETRIC, CONE), "punching");
        assert_eq!(at_age(second, SYMMETRIC, SYMMETRIC), "symmetric_nat_both");
    }

    #[test]
    fn strangers_are_relayed_on_purpose() {
        let (ours, theirs, trust) = (CONE, Some(CONE), TrustState::Pending);
        let reason = why_relayed(&Circumstances { peer: "p", trust, ours, theirs, age: None });
        assert_eq!(reason.code, "relay_forced");
    }
}
