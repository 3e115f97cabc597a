//! Conditions that last: what is wrong, since when, what to try. The same list in `status`, over
//! HTTP and in `doctor`.
//!
//! [`ITEMS`] declares every condition. One becomes visible when it has lasted `time_to_visible`
//! (what heals by itself in a second is not news), and stays hidden while a condition that explains
//! it (`depends_on`) is visible.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homing_api::Stamp;
use homing_api::agent::{HealthItem, Severity};
use homing_base::{Mono, Wall};
use homing_core::io::{EndpointFacts, Event};
use homing_core::view::DhtView;

use crate::clock;
use crate::transport::health::RelayHealth;

/// A condition as declared.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Stable.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
    /// What to try.
    pub advice: &'static str,
    /// Hidden while this one is visible.
    pub depends_on: Option<&'static str>,
    /// Hidden until it has lasted this long.
    pub time_to_visible: Duration,
}

macro_rules! items {
    ($($code:literal $severity:ident after $seconds:literal, $depends:expr, $title:literal, $advice:literal;)*) => {
        /// Every condition, worst first.
        pub const ITEMS: &[Item] = &[$(Item {
            code: $code, severity: Severity::$severity, title: $title, advice: $advice,
            depends_on: $depends, time_to_visible: Duration::from_secs($seconds),
        }),*];
    };
}

items! {
    "store_failed" Error after 0, None,
        "the store cannot be written", "free space or repair the disk, then start the daemon again";
    "identity_in_use" Error after 0, None,
        "a newer instance of this identity runs elsewhere",
        "stop one of the two: homing down. One identity has one home";
    "clock_skew" Error after 0, None,
        "the clock of this machine or of a peer is wrong", "set the clock by NTP: timedatectl set-ntp true";
    "relay_unreachable" Warning after 3, None,
        "no relay answers", "check the relay and the way to it: homing netcheck";
    "relay_degraded" Info after 10, Some("relay_unreachable"),
        "one of the relays does not answer", "check it: homing netcheck";
    "udp_blocked" Warning after 5, None,
        "UDP is blocked on this network", "everything goes through relays; let UDP out for direct paths";
    "no_relay" Info after 0, None,
        "no relay is configured",
        "agents behind NATs cannot reach this one; run `homing relay serve` on a public host, then --relay";
    "dht_slow" Warning after 30, None,
        "the DHT around this node does not settle",
        "many nodes come and go, or the network loses packets: homing dht stats, homing dht peers";
    "dht_alone" Info after 60, None,
        "this node serves the DHT and knows nobody else in it",
        "join through any agent that runs: homing up --peer TICKET (from homing info --ticket)";
    "store_damaged" Warning after 0, None,
        "parts of the store could not be read",
        "what was damaged was left out; peers give trust statements back by themselves";
    "content_damaged" Warning after 0, None,
        "content on this disk has changed and is not served any more",
        "check the disk; homing fetch CID repairs it from a peer, homing content rm CID forgets it";
    "equivocation" Warning after 0, None,
        "an identity signed two different records with one sequence",
        "two machines may hold one key: see homing events";
    "services_not_exposed" Warning after 0, None,
        "services of the previous run are not exposed",
        "see homing expose list, repair services.json in the home, then: homing down, then homing up with the flags you started it with";
    "gateway_off" Warning after 0, None,
        "programs on this machine have no gateway",
        "choose a free port: homing config set gateway.listen 127.0.0.1:0, then: homing down, then homing up with the flags you started it with";
    "reference_expired" Warning after 0, None,
        "a reference has expired: nobody can resolve it any more",
        "its owner must sign it anew: homing ref renew NAME there; homing ref list shows which";
    "reference_expiring" Warning after 0, None,
        "a reference has less than half of its life left where others look",
        "its owner must come back, or reach others: homing ref list, homing netcheck";
    "reference_alone" Warning after 60, None,
        "nobody else holds a reference of this agent: it is dark while this agent is away",
        "ask a trusted peer: homing publish NAME VALUE --keepers PEER; or join others: homing up --peer TICKET";
    "reference_unkept" Warning after 60, None,
        "this agent is away for long, and nobody keeps its references alive meanwhile",
        "copies fade with the nodes that hold them: homing publish NAME VALUE --keepers PEER, or a longer --lifetime";
    "audit_failed" Warning after 0, None,
        "the audit log does not take everything",
        "see homing audit verify; free space or raise audit.bytes_max, then: homing down, then homing up";
    "audit_fork" Warning after 0, None,
        "an audit log shows two histories",
        "both signed heads are kept: its owner signed two histories, or its home was copied and runs twice";
    "audit_rolled_back" Error after 0, None,
        "witnesses know a longer history of this audit log",
        "the home was restored from an old copy: put the newest audit directory back, or move it aside to begin a new log";
    "dns_off" Warning after 0, None,
        "names of agents are not answered by DNS",
        "choose a free port: homing config set dns.listen 127.0.0.1:5355, then: homing down, then homing up with the flags you started it with";
    "tun_off" Error after 0, None,
        "the network interface of agents' addresses is gone",
        "somebody removed the device: homing down, then homing up with the flags you started it with";
    "anchor_off" Warning after 0, None,
        "the audit log is not anchored",
        "set what is missing: see homing config list and docs/anchoring.md; then: homing down, then homing up";
    "anchor_late" Warning after 300, None,
        "the audit log waits to be anchored",
        "nothing is lost: see homing audit anchor status; check audit.anchor.url, the account's balance and the fee ceiling";
    "name_moved" Warning after 0, None,
        "a name is claimed by another agent than before",
        "the first one still counts here; homing name alias decides otherwise";
    "key_permissions" Error after 0, None,
        "others than its owner can read the key", "chmod 600 identity.json, and consider the key stolen";
    "key_missing" Error after 0, None,
        "the key file is gone", "restore identity.json from your backup before this daemon stops";
    "key_not_backed_up" Info after 0, None,
        "the key exists on this machine only",
        "copy identity.json to a safe place, then: touch key-backed-up beside it";
}

/// A complaint about clocks is repeated every minute while it holds.
const COMPLAINT_LASTS: Duration = Duration::from_secs(90);

#[derive(Clone, Debug)]
struct Active {
    since: Wall,
    text: String,
    /// When it ends unless raised again.
    until: Mono,
}

/// What is wrong now.
#[derive(Debug, Default)]
pub struct Health {
    active: Mutex<BTreeMap<&'static str, Active>>,
}

impl Health {
    /// A condition holds (still).
    ///
    /// # Panics
    /// When `code` is not declared in [`ITEMS`].
    pub fn raise(&self, code: &'static str, text: impl Into<String>) {
        assert!(ITEMS.iter().any(|item| item.code == code), "{code} is not declared");
        self.raise_until(code, text.into(), Mono::MAX);
    }

    /// [`Health::raise`] for a condition that is only ever reported, never reported as over.
    fn raise_until(&self, code: &'static str, text: String, until: Mono) {
        let mut table = self.table();
        let fresh = || Active { since: clock::wall(), text: String::new(), until };
        let active = table.entry(code).or_insert_with(fresh);
        (active.text, active.until) = (text, until);
    }

    /// A condition is over.
    pub fn clear(&self, code: &'static str) {
        self.table().remove(code);
    }

    /// [`Health::raise`] or [`Health::clear`].
    pub fn set(&self, code: &'static str, holds: bool, text: impl FnOnce() -> String) {
        if holds { self.raise(code, text()) } else { self.clear(code) }
    }

    /// The visible conditions, worst first.
    #[must_use]
    pub fn visible(&self) -> Vec<HealthItem> {
        let (mut table, now) = (self.table(), clock::wall());
        table.retain(|_, active| active.until > clock::since_boot());
        let shows = |item: &&Item| {
            table.get(item.code).is_some_and(|a| now.since(a.since) >= item.time_to_visible)
        };
        let explained = |item: &Item| {
            item.depends_on.is_some_and(|code| {
                ITEMS.iter().find(|other| other.code == code).is_some_and(|other| shows(&other))
            })
        };
        let visible = ITEMS.iter().filter(|item| shows(item) && !explained(item));
        visible.map(|item| describe(item, &table[item.code])).collect()
    }

    /// Whether a condition holds, visible or not.
    #[must_use]
    pub fn holds(&self, code: &str) -> bool {
        self.table().contains_key(code)
    }

    /// What is said about a condition that holds.
    pub(crate) fn text_of(&self, code: &str) -> Option<String> {
        let table = self.table();
        let active = table.get(code).filter(|active| active.until > clock::since_boot());
        active.map(|active| active.text.clone())
    }

    pub(crate) fn on_facts(&self, facts: &EndpointFacts) {
        let network = facts.network;
        let blocked = network.udp_v4 == Some(false) && network.udp_v6 != Some(true);
        self.set("udp_blocked", blocked, String::new);
    }

    pub(crate) fn on_dht(&self, view: &DhtView) {
        let c = &view.convergence;
        self.set("dht_slow", view.joined && c.is_slow(), || {
            let rounds = c.ongoing_rounds.or(c.last_rounds).unwrap_or_default();
            format!("{rounds:.1} exchange rounds, at most {:.1} are expected", c.bound_rounds)
        });
        self.set("dht_alone", view.serving && view.contacts.is_empty(), String::new);
    }

    pub(crate) fn on_relays(&self, relays: &[RelayHealth]) {
        let down: Vec<_> = relays.iter().filter(|relay| relay.error.is_some()).collect();
        let list = || {
            let say = |relay: &&RelayHealth| {
                let why = relay.error.as_deref().unwrap_or("no answer yet");
                format!("{}: {why}", relay.relay.authority())
            };
            down.iter().map(say).collect::<Vec<_>>().join("; ")
        };
        self.set("relay_unreachable", !relays.is_empty() && down.len() == relays.len(), list);
        self.set("relay_degraded", !down.is_empty() && down.len() < relays.len(), list);
    }

    pub(crate) fn on_notice(&self, event: &Event) {
        match event {
            Event::Superseded { by } => {
                self.raise("identity_in_use", format!("the newer instance is {by}"));
            }
            Event::ClockSkew { offset_ms, .. } => {
                let offset = match offset_ms {
                    Some(ms) => format!("this clock differs by {:.1} s", *ms as f64 / 1_000.0),
                    None => "a record lies in the future".to_owned(),
                };
                // A peer that refuses our clock lets us see its record first, so a connection
                // proves nothing: the condition ends when nobody complains any more.
                self.raise_until("clock_skew", offset, clock::since_boot().after(COMPLAINT_LASTS));
            }
            Event::LogForked { owner } => self.raise("audit_fork", format!("of {owner}")),
            Event::Equivocation { peer, .. } => self.raise("equivocation", format!("by {peer}")),
            Event::NameMoved { name, claimant, .. } => {
                self.raise("name_moved", format!("{name} is now claimed by {claimant}"));
            }
            _ => {}
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(item: &Item, active: &Active) -> HealthItem {
    let text = match active.text.is_empty() {
        true => item.advice.to_owned(),
        false => format!("{}. {}", active.text, item.advice),
    };
    HealthItem {
        code: item.code.to_owned(),
        severity: item.severity,
        title: item.title.to_owned(),
        text,
        since: Stamp(active.since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(health: &Health) -> Vec<String> {
        health.visible().into_iter().map(|item| item.code).collect()
    }

    #[test]
    fn a_condition_shows_after_its_time_and_ends_when_cleared() {
        let health = Health::default();
        health.raise("no_relay", "");
        health.raise("relay_unreachable", "r: refused");
        assert_eq!(codes(&health), ["no_relay"]);
        health.table().get_mut("relay_unreachable").unwrap().since = Wall(0);
        assert_eq!(codes(&health), ["relay_unreachable", "no_relay"]);
        health.clear("no_relay");
        assert_eq!(codes(&health), ["relay_unreachable"]);
        assert!(health.visible()[0].text.starts_with("r: refused. "));
    }

    #[test]
    fn what_another_condition_explains_is_hidden() {
        let health = Health::default();
        for code in ["relay_unreachable", "relay_degraded"] {
            health.raise(code, "");
            health.table().get_mut(code).unwrap().since = Wall(0);
        }
        assert_eq!(codes(&health), ["relay_unreachable"]);
    }

    #[test]
    fn raising_again_keeps_the_time() {
        let health = Health::default();
        health.raise("no_relay", "");
        health.table().get_mut("no_relay").unwrap().since = Wall(7);
        health.raise("no_relay", "still");
        assert_eq!(health.visible()[0].since, Stamp(Wall(7)));
    }

    #[test]
    fn a_complaint_about_clocks_survives_a_connection_and_ends_by_itself() {
        let health = Health::default();
        health.raise_until("clock_skew", "by an hour".into(), Mono::MAX);
        assert_eq!(codes(&health), ["clock_skew"]);
        health.raise_until("clock_skew", "by an hour".into(), Mono(0));
        assert!(codes(&health).is_empty());
    }

    #[test]
    fn every_dependency_is_declared() {
        for item in ITEMS {
            let known = |code| ITEMS.iter().any(|other| other.code == code);
            assert!(item.depends_on.is_none_or(known), "{}", item.code);
        }
    }
}
