//! Whether this agent serves the DHT, and when it enters the network (again).
//!
//! Role, with `auto`: a public node serves; so does one that publishes direct addresses, unless all of them
//! are private, nodes with public ones are known, and none of those ever came to us; one that can only be
//! reached through a relay serves while fewer than k nodes with addresses are known. What no longer fits is
//! given up after a minute, what fits is taken at once.
//!
//! Joining: through whoever is connected and serves, or through the stored contacts, until somebody
//! answers. Later every newcomer that a lasting link shows, or that belongs among our k closest, is a
//! stranger to the DHT, which asks it where it comes from: so two networks that meet become one.

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now};
use tracing::debug;

use super::Agent;
use super::finding::Want;
use crate::dht::contact::ip_group;
use crate::dht::{Contact, Dht, DhtCommand, DhtInput, Item, Outcome, Reach, Report};
use crate::io::{Convergence, DhtRole, LinkId};
use crate::limits::{
    DHT_NEWCOMERS_INTERVAL, DHT_NEWCOMERS_MAX, DHT_REJOIN_FIRST, DHT_REJOIN_MAX, DHT_ROLE_PATIENCE,
};

/// Ways in, and when to take them.
#[derive(Debug)]
pub(super) struct Joining {
    /// Contacts of this or the last run.
    pub(super) stored: Vec<Contact<Reach>>,
    /// Nodes that serve and are not in the table.
    newcomers: Vec<Contact<Reach>>,
    under_way: bool,
    /// When to try the stored contacts, while nobody is known.
    retry_at: Option<Mono>,
    retry_after: Duration,
    /// When newcomers may be asked again.
    newcomers_at: Option<Mono>,
    /// Since when the role does not fit.
    misfit_since: Option<Mono>,
    /// Somebody with a public address has reached us.
    reached: bool,
}

impl Joining {
    pub(super) fn new(stored: Vec<Contact<Reach>>) -> Self {
        Self {
            stored,
            newcomers: Vec::new(),
            under_way: false,
            retry_at: None,
            retry_after: DHT_REJOIN_FIRST,
            newcomers_at: None,
            misfit_since: None,
            reached: false,
        }
    }

    /// A first join runs: answers may come.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let meet = self.newcomers_at.filter(|_| !self.newcomers.is_empty() && !self.under_way);
        let role = self.misfit_since.map(|at| at.after(DHT_ROLE_PATIENCE));
        let retry = self.retry_at.filter(|_| !self.under_way);
        [meet, role, retry].into_iter().flatten().min()
    }

    fn welcome(&mut self, contact: Contact<Reach>) {
        self.newcomers.retain(|c| c.id != contact.id);
        if self.newcomers.len() == DHT_NEWCOMERS_MAX {
            self.newcomers.remove(0);
        }
        self.newcomers.push(contact);
    }
}

impl Agent {
    // ---- role

    /// Takes the role that fits; whoever is linked hears of it.
    pub(super) fn tend_role(&mut self, now: Now) {
        let fits = self.should_serve();
        let first = self.own.record().is_none();
        let Some(finding) = self.finding() else { return };
        if finding.serving == fits {
            finding.joining.misfit_since = None;
            return;
        }
        let since = *finding.joining.misfit_since.get_or_insert(now.mono);
        let waits = finding.serving && !first && now.mono.since(since) < DHT_ROLE_PATIENCE;
        if waits {
            return;
        }
        finding.joining.misfit_since = None;
        finding.serving = fits;
        finding.dht.set_server(fits);
        debug!(serving = fits, "role in the DHT");
        self.audit_role(now, "dht_server", fits);
        let told = self.links.iter().filter(|l| l.told.record.is_some());
        let told: Vec<LinkId> = told.map(|l| l.id).collect();
        told.into_iter().for_each(|id| self.greet(id));
    }

    fn should_serve(&self) -> bool {
        let Some(finding) = self.finding.as_deref() else { return false };
        let Some(facts) = self.facts.as_ref() else { return false };
        match finding.settings.role {
            DhtRole::Server => true,
            DhtRole::Client => false,
            DhtRole::Auto if !facts.online => finding.serving,
            DhtRole::Auto => {
                let addressed = facts.publish_direct && self.is_reachable(&facts.direct);
                self.settings.public || addressed || (self.is_relayed() && self.lacks_servers())
            }
        }
    }

    /// Whether others can be expected to reach these addresses: public ones, or private ones while nobody
    /// outside is known, or somebody outside got through.
    fn is_reachable(&self, direct: &[SocketAddr]) -> bool {
        let public = |a: &SocketAddr| ip_group(a.ip()).is_some();
        let Some(finding) = self.finding.as_deref() else { return false };
        let entries = finding.dht.table().entries();
        let outside =
            || entries.iter().any(|e| e.contact.place.direct.as_ref().is_some_and(public));
        let inside = !direct.is_empty() && (finding.joining.reached || !outside());
        direct.iter().any(public) || inside
    }

    /// A peer dialled us: that proves something, if it comes from outside.
    pub(super) fn note_reached(&mut self, id: LinkId) {
        let Some(link) = self.links.link(id).filter(|l| l.dial.is_none() && l.main_here) else {
            return;
        };
        let from = link.place.as_ref().and_then(|place| place.direct);
        let outside = from.is_some_and(|a| ip_group(a.ip()).is_some());
        if let Some(finding) = self.finding() {
            finding.joining.reached |= outside;
        }
    }

    /// Fewer than k nodes with addresses are known; whoever serves for that reason needs a quarter
    /// more before it stops.
    fn lacks_servers(&self) -> bool {
        let Some(finding) = self.finding.as_deref() else { return false };
        let k = finding.settings.k;
        let enough = if finding.serving { k + k / 4 } else { k };
        let entries = finding.dht.table().entries();
        entries.iter().filter(|e| e.contact.place.direct.is_some()).count() < enough
    }

    /// What our `Hello` says of the DHT.
    pub(super) fn dht_word(&self) -> Option<bool> {
        self.finding.as_deref().filter(|_| self.active()).map(|f| f.serving)
    }

    // ---- joining

    /// A peer says that it serves. Over a lasting link everybody counts, over a brief one whoever
    /// belongs among our k closest: the others find their way by being asked.
    pub(super) fn meet_server(&mut self, id: LinkId, peer: NodeId) {
        let Some(link) = self.links.link(id).filter(|l| l.dht == Some(true)) else { return };
        let Some(place) = link.place.clone() else { return };
        let lasting = !link.brief;
        let Some(finding) = self.finding() else { return };
        let table = finding.dht.table();
        if table.entry(&peer).is_none() && (lasting || table.is_sibling(&peer)) {
            finding.joining.welcome(Contact { id: peer, place });
            if lasting {
                finding.joining.newcomers_at = None;
            }
            self.dirty = true;
        }
    }

    pub(super) fn tend_joining(&mut self, now: Now) {
        let Some(finding) = self.finding().filter(|f| !f.joining.under_way) else { return };
        let table = finding.dht.table();
        if !table.is_empty() {
            return self.ask_newcomers(now);
        }
        let mut seeds = std::mem::take(&mut finding.joining.newcomers);
        if finding.joining.retry_at.is_none_or(|at| at <= now.mono) {
            finding.calls.forget_unreachable();
            seeds.extend(finding.joining.stored.iter().cloned());
        }
        if seeds.is_empty() {
            // Whoever comes is welcomed by `meet_server`; there is nothing to wait for.
            finding.joining.retry_at = finding.joining.retry_at.filter(|at| *at > now.mono);
            return;
        }
        debug!(seeds = seeds.len(), "joining the DHT");
        finding.joining.under_way = true;
        finding.want(Want::Join, DhtCommand::Join { seeds });
        self.pump_dht(now);
    }

    /// Newcomers that are still strangers are asked where they come from.
    fn ask_newcomers(&mut self, now: Now) {
        let jitter = self.chance.jitter(DHT_NEWCOMERS_INTERVAL);
        let Some(finding) = self.finding() else { return };
        let (joining, table) = (&mut finding.joining, finding.dht.table());
        joining.retry_at = None;
        joining.newcomers.retain(|c| table.entry(&c.id).is_none());
        let due = joining.newcomers_at.is_none_or(|at| at <= now.mono);
        if joining.newcomers.is_empty() || !due {
            return;
        }
        joining.newcomers_at = Some(now.mono.after(jitter));
        for contact in std::mem::take(&mut finding.joining.newcomers) {
            finding.tell(DhtInput::Stranger { contact });
        }
        self.pump_dht(now);
    }

    pub(super) fn on_joined(&mut self, now: Now, outcome: &Outcome<Reach, Item>, report: &Report) {
        let jitter = self.chance.jitter(Duration::from_secs(1));
        let Some(finding) = self.finding() else { return };
        let contacts = finding.dht.table().len();
        debug!(?outcome, ?report, contacts, "joined the DHT");
        let joining = &mut finding.joining;
        joining.under_way = false;
        joining.newcomers_at = Some(now.mono.after(DHT_NEWCOMERS_INTERVAL));
        if contacts == 0 {
            joining.retry_at =
                Some(now.mono.after(joining.retry_after.mul_f64(jitter.as_secs_f64())));
            joining.retry_after = (joining.retry_after * 2).min(DHT_REJOIN_MAX);
        } else {
            (joining.retry_at, joining.retry_after) = (None, DHT_REJOIN_FIRST);
            finding.put_soon(now.mono);
        }
        self.ask_held();
        let linked: Vec<NodeId> = self.links.peers().collect();
        linked.into_iter().for_each(|peer| self.note_guest(now, peer));
    }
}

/// Watches the leafset come to rest; see [`Convergence`].
#[derive(Debug, Default)]
pub(super) struct Settling {
    leafset: Vec<NodeId>,
    began: Option<Mono>,
    changed: Mono,
    last: Option<(f64, Duration)>,
}

impl Settling {
    /// Looks at the leafset.
    pub(super) fn observe(&mut self, now: Mono, dht: &Dht<Reach, Item>) {
        let siblings = || dht.table().siblings().map(|e| e.contact.id);
        if siblings().eq(self.leafset.iter().copied()) {
            return;
        }
        self.close_if_quiet(now, dht);
        self.leafset.clear();
        self.leafset.extend(siblings());
        self.began.get_or_insert(now);
        self.changed = now;
    }

    /// A whole round without change ends the episode.
    fn close_if_quiet(&mut self, now: Mono, dht: &Dht<Reach, Item>) {
        let round = dht.intervals().exchange;
        if let Some(began) = self.began
            && now.since(self.changed) >= round
        {
            self.last = Some(self.measure(began, self.changed, round));
            self.began = None;
        }
    }

    fn measure(&self, from: Mono, to: Mono, round: Duration) -> (f64, Duration) {
        let took = to.since(from);
        (took.as_secs_f64() / round.as_secs_f64().max(0.001), took)
    }

    /// What it means now.
    pub(super) fn view(&self, now: Mono, dht: &Dht<Reach, Item>) -> Convergence {
        let round = dht.intervals().exchange;
        let quiet = now.since(self.changed) >= round;
        let until = |began| self.measure(began, self.changed, round);
        let last = self.began.filter(|_| quiet).map(until).or(self.last);
        let ongoing = self.began.filter(|_| !quiet).map(|b| self.measure(b, now, round).0);
        let size = dht.estimates().size().unwrap_or(1.0).max(dht.table().len() as f64 + 1.0);
        Convergence {
            last_rounds: last.map(|(rounds, _)| rounds),
            last: last.map(|(_, took)| took),
            ongoing_rounds: ongoing,
            bound_rounds: 2.0 + size.max(1.0).log2(),
        }
    }
}
