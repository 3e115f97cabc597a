//! The DHT as this agent uses it: what is stored there, what is asked of it, what it asks of us.
//!
//! ```text
//! Message::Dht ─► on_dht_message ─┐                       ┌─► dht_links   carry, dial, pool
//! own record, lookups, joins ─────┼─► Dht::handle ─► pump ┼─► on_dht_done lookups, joins, puts
//! wakeups, unreachable peers ─────┘                       └─► Persist     contacts for the next start
//! ```
//! Everything goes through one inbox, so that an output which needs another input (nobody can be
//! reached there) cannot reenter the machine. Not here: who serves and when to join
//! ([`super::dht_joining`]), links ([`super::dht_links`]), the order of the layers ([`super::lookups`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Record, Wall};
use tracing::debug;

use super::Agent;
use super::dht_errands::Guests;
use super::dht_joining::{Joining, Settling};
use super::dht_links::Calls;
use super::waits::Stage;
use crate::dht::{
    CommandId, Config, Contact, Dht, DhtCommand, DhtInput, DhtOutput, Distance, Item, Mode,
    Outcome, Reach, Report, Slot, wire,
};
use crate::io::{
    Answer, DhtContactView, DhtKey, DhtLookup, DhtSettings, DhtView, Failure, LinkId, RequestId,
    Settings, Write,
};
use crate::limits::{
    COMMANDS_MAX, DHT_CONTACTS_MAX, DHT_MISS_MEMORY, DHT_PUT_INTERVAL, LOOKUP_DHT_TIMEOUT,
    MISSES_MAX,
};
use crate::message::{Ask, AskKey, Message};

/// What a command to the DHT was for.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// The resolver's last layer.
    Resolve(AskKey),
    /// A user's question.
    Lookup { request: RequestId, key: DhtKey },
    /// To enter the network.
    Join,
    /// The own record at its place.
    Put,
    /// A reference at its place.
    PutReference(Slot),
    /// The newest of a reference.
    FindReference(Slot),
    /// A neighbour's question.
    Errand { link: LinkId, ask: Ask },
    /// Nobody waits.
    Nothing,
}

/// This agent's part of the DHT.
pub(super) struct Finding {
    pub(super) dht: Dht<Reach, Item>,
    pub(super) settings: DhtSettings,
    pub(super) serving: bool,
    pub(super) calls: Calls,
    pub(super) joining: Joining,
    pub(super) settling: Settling,
    pub(super) guests: Guests,
    inbox: VecDeque<DhtInput<Reach, Item>>,
    pumping: bool,
    wants: BTreeMap<CommandId, Want>,
    next_command: u64,
    /// Keys whose lookup waits for the network to be entered.
    held: Vec<AskKey>,
    /// What the network did not know, for those who ask again and again.
    misses: BTreeMap<AskKey, Mono>,
    /// When the own record is to be stored next.
    put_at: Option<Mono>,
    put_last: Option<Mono>,
}

impl Finding {
    pub(super) fn new(
        settings: &Settings,
        me: NodeId,
        stored: Vec<Contact<Reach>>,
        seed: [u8; 32],
        now: Now,
    ) -> Option<Box<Self>> {
        let chosen = settings.dht?;
        let place = Reach { instance: settings.instance, direct: None, relay: None };
        let dht = Dht::new(config(&chosen), Contact { id: me, place }, false, seed, now);
        Some(Box::new(Self {
            dht,
            settings: chosen,
            serving: false,
            calls: Calls::default(),
            joining: Joining::new(stored),
            settling: Settling::default(),
            guests: Guests::default(),
            inbox: VecDeque::new(),
            pumping: false,
            wants: BTreeMap::new(),
            next_command: 0,
            held: Vec::new(),
            misses: BTreeMap::new(),
            put_at: None,
            put_last: None,
        }))
    }

    /// Queues an input; [`Agent::pump_dht`] hands it over.
    pub(super) fn tell(&mut self, input: DhtInput<Reach, Item>) {
        self.inbox.push_back(input);
    }

    /// Commands of the kind that `is` tells.
    pub(super) fn wanting(&self, is: impl Fn(&Want) -> bool) -> usize {
        self.wants.values().filter(|want| is(want)).count()
    }

    pub(super) fn want(&mut self, want: Want, command: DhtCommand<Reach, Item>) -> CommandId {
        self.next_command += 1;
        let id = CommandId(self.next_command);
        self.wants.insert(id, want);
        self.tell(DhtInput::Command { id, command });
        id
    }

    /// The own record is to be stored, not sooner than the last time allows.
    pub(super) fn put_soon(&mut self, now: Mono) {
        let earliest = self.put_last.map_or(now, |last| last.after(DHT_PUT_INTERVAL));
        self.put_at = Some(earliest.max(now));
    }

    /// When anything of it is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let own = [self.dht.next_wakeup(), self.calls.deadline(), self.joining.deadline()];
        own.into_iter().flatten().chain(self.put_at).chain(self.guests.deadline()).min()
    }
}

/// The settings of a node of this agent. What no node can run with is replaced by what all others
/// use: the shell refuses it with a better message.
fn config(chosen: &DhtSettings) -> Config {
    let default = Config { trace: true, ..Config::default() };
    let wanted = Config {
        k: chosen.k,
        alpha: chosen.alpha,
        alpha_last: default.alpha_last.clamp(1, chosen.k.max(1)),
        republish: chosen.republish.max(Duration::from_secs(1)),
        expiry: chosen.expiry,
        mode: chosen.mode,
        ..default.clone()
    };
    if wanted.check().is_ok() { wanted } else { default }
}

impl Agent {
    /// The DHT, while this agent may use it.
    pub(super) fn finding(&mut self) -> Option<&mut Finding> {
        let active = self.active();
        self.finding.as_deref_mut().filter(|_| active)
    }

    /// Hands over what is in the inbox, and does what comes out, until nothing is left.
    pub(super) fn pump_dht(&mut self, now: Now) {
        let Some(finding) = self.finding().filter(|f| !f.pumping) else { return };
        finding.pumping = true;
        while let Some(finding) = self.finding() {
            if let Some(output) = finding.dht.poll_output() {
                self.perform_dht(now, output);
            } else if let Some(input) = finding.inbox.pop_front() {
                finding.dht.handle(now, input);
            } else {
                break;
            }
        }
        if let Some(finding) = self.finding.as_deref_mut() {
            finding.pumping = false;
            finding.settling.observe(now.mono, &finding.dht);
            if let Some(at) = finding.deadline() {
                self.wake_by(at);
            }
        }
    }

    fn perform_dht(&mut self, now: Now, output: DhtOutput<Reach, Item>) {
        match output {
            DhtOutput::Send { to, message, class } => self.carry_dht(now, to, &message, class),
            DhtOutput::Done { id, outcome, report } => self.on_dht_done(now, id, outcome, report),
            DhtOutput::Newer { value: Item::Agent(record), .. } => self.learn_found(now, record),
            DhtOutput::Newer { value: Item::Reference(reference), .. } => {
                let slot = Slot::reference(&reference);
                let newer = vec![Item::Reference(reference)];
                self.on_reference_found(now, slot, newer, &Report::default());
            }
            DhtOutput::Persist { mut contacts } => {
                contacts.truncate(DHT_CONTACTS_MAX);
                if let Some(finding) = self.finding() {
                    finding.joining.stored = contacts.clone();
                }
                self.persist(vec![Write::DhtContacts(contacts)]);
            }
        }
    }

    pub(super) fn on_dht_message(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        let Some(link) = self.links.link_mut(id) else { return };
        link.dht_waits = None;
        let from = link.place.clone().map(|place| Contact { id: peer, place });
        let takes_part = link.dht.is_some();
        let Some(finding) = self.finding().filter(|_| takes_part) else {
            self.counters.dht_ignored += 1;
            return;
        };
        match (wire::decode(bytes), from) {
            (Ok(message), Some(from)) => {
                finding.tell(DhtInput::Message { from, message });
                self.pump_dht(now);
            }
            _ => {
                self.counters.dht_shed += 1;
                self.on_garbage(now, id);
            }
        }
    }

    /// Everything that has become due.
    pub(super) fn tend_dht(&mut self, now: Now) {
        if self.finding().is_none() || self.own.record().is_none() {
            return;
        }
        self.tend_role(now);
        self.tend_calls(now);
        self.tend_joining(now);
        self.put_if_due(now);
        self.put_guests(now);
        let Some(finding) = self.finding() else { return };
        if finding.dht.next_wakeup().is_some_and(|at| at <= now.mono) {
            finding.tell(DhtInput::Wakeup);
        }
        self.pump_dht(now);
        self.trim_dht_links(now);
    }

    // ---- the own record

    /// A new own record is to be found where others look for it.
    pub(super) fn publish_in_dht(&mut self, now: Now) {
        if let Some(finding) = self.finding() {
            finding.put_soon(now.mono);
        }
    }

    fn put_if_due(&mut self, now: Now) {
        let Some(record) = self.own.record().cloned() else { return };
        let Some(finding) = self.finding() else { return };
        if finding.put_at.is_none_or(|at| at > now.mono) {
            return;
        }
        // An empty table has no place to store it; whoever enters it later is a reason to try again.
        (finding.put_at, finding.put_last) = (None, Some(now.mono));
        let agent = Slot::agent(record.node_id());
        for slot in [Some(agent), record.name.as_ref().map(Slot::name)].into_iter().flatten() {
            let put = DhtCommand::Put { slot, value: record.clone().into(), keep: true };
            finding.want(Want::Put, put);
        }
    }

    /// Says goodbye to the siblings, before the links are closed.
    pub(super) fn leave_dht(&mut self, now: Now) {
        if let Some(finding) = self.finding() {
            finding.want(Want::Nothing, DhtCommand::Leave);
            self.pump_dht(now);
        }
    }

    // ---- what the network answered

    fn on_dht_done(
        &mut self,
        now: Now,
        id: CommandId,
        outcome: Outcome<Reach, Item>,
        report: Report,
    ) {
        let Some(want) = self.finding().and_then(|f| f.wants.remove(&id)) else { return };
        self.dirty = true;
        match want {
            Want::Resolve(key) => self.on_dht_resolved(now, &key, outcome, &report),
            // Whoever was told that it takes too long is not told again.
            Want::Lookup { request, key } if self.waits.contains_key(&request) => {
                self.reply(request, looked_up(&key, outcome, report));
            }
            Want::Join => self.on_joined(now, &outcome, &report),
            Want::Put => self.on_put(now, &outcome),
            Want::Errand { link, ask } => self.on_errand_done(now, link, &ask, outcome),
            Want::PutReference(slot) => self.on_reference_put(now, slot, &outcome),
            Want::FindReference(slot) => {
                let values = match outcome {
                    Outcome::Values(values) => values,
                    _ => Vec::new(),
                };
                self.on_reference_found(now, slot, values, &report);
            }
            Want::Lookup { .. } | Want::Nothing => {}
        }
    }

    fn on_put(&mut self, now: Now, outcome: &Outcome<Reach, Item>) {
        debug!(?outcome, "own record stored in the DHT");
        let Some(finding) = self.finding() else { return };
        let failed = !matches!(outcome, Outcome::Stored { replicas: 1.., .. });
        if failed && !finding.dht.table().is_empty() {
            finding.put_soon(now.mono);
        }
    }

    fn on_dht_resolved(
        &mut self,
        now: Now,
        key: &AskKey,
        outcome: Outcome<Reach, Item>,
        report: &Report,
    ) {
        let values: Vec<Record> = match outcome {
            Outcome::Values(values) => values.into_iter().filter_map(Item::agent).collect(),
            _ => Vec::new(),
        };
        let is_news = |r: &Record| key.is_about(r) && self.is_answer(key, r);
        let found = values.iter().any(is_news);
        self.resolver.on_dht(key, found.then_some(report.holders));
        if !found {
            self.remember_dht_miss(now, key.clone());
        }
        for value in values {
            self.learn_found(now, value);
        }
    }

    /// A verified record that the DHT gave; every layer above remembers it.
    pub(super) fn learn_found(&mut self, now: Now, record: Record) {
        if record.node_id() == self.me {
            self.on_own_seen(now, &record);
        } else {
            self.absorb(now, record, None);
        }
    }

    // ---- questions

    /// The resolver's last layer: asks the network. `None`: there is nobody to ask, or it did not know a
    /// while ago and only we ask again.
    pub(super) fn ask_dht(&mut self, now: Now, key: &AskKey) -> Option<Duration> {
        if !self.may_ask_dht(now, key) {
            return None;
        }
        let finding = self.finding()?;
        if finding.dht.table().is_empty() && finding.joining.is_under_way() {
            finding.held.push(key.clone());
        } else {
            finding.want(Want::Resolve(key.clone()), DhtCommand::FindValue { slot: slot(key) });
        }
        Some(LOOKUP_DHT_TIMEOUT)
    }

    pub(super) fn may_ask_dht(&self, now: Now, key: &AskKey) -> bool {
        let Some(finding) = self.finding.as_deref().filter(|_| self.active()) else { return false };
        let joined = !finding.dht.table().is_empty() || finding.joining.is_under_way();
        let has_network = joined || self.errand_links().next().is_some();
        let missed =
            finding.misses.get(key).is_some_and(|at| now.mono.since(*at) < DHT_MISS_MEMORY);
        has_network && (!missed || self.is_awaited(key))
    }

    /// The network was entered (or not): lookups that waited for it begin.
    pub(super) fn ask_held(&mut self) {
        let Some(finding) = self.finding() else { return };
        for key in std::mem::take(&mut finding.held) {
            let command = DhtCommand::FindValue { slot: slot(&key) };
            finding.want(Want::Resolve(key), command);
        }
    }

    fn remember_dht_miss(&mut self, now: Now, key: AskKey) {
        let Some(finding) = self.finding() else { return };
        if finding.misses.len() >= MISSES_MAX {
            finding.misses.retain(|_, at| now.mono.since(*at) < DHT_MISS_MEMORY);
        }
        if finding.misses.len() < MISSES_MAX {
            finding.misses.insert(key, now.mono);
        }
    }

    /// A user's question: the answer comes when the lookup ends.
    pub(super) fn look_up_in_dht(
        &mut self,
        now: Now,
        request: RequestId,
        key: DhtKey,
        timeout: Duration,
    ) {
        if self.waits.len() >= COMMANDS_MAX {
            let failure = Failure::Limit { what: "commands in progress", max: COMMANDS_MAX };
            return self.reply(request, Err(failure));
        }
        let superseded = self.superseded_by().map(|by| Failure::Superseded { by });
        let Some(finding) = self.finding() else {
            let off = Failure::Disabled { what: "the DHT" };
            return self.reply(request, Err(superseded.unwrap_or(off)));
        };
        let command = match key.slot() {
            Some(slot) => DhtCommand::FindValue { slot },
            None => DhtCommand::FindNode { target: key.point() },
        };
        finding.want(Want::Lookup { request, key }, command);
        self.wait(now, request, Stage::DhtLookup, now.mono.after(timeout));
        self.pump_dht(now);
    }

    // ---- reading

    /// Plain Kademlia or clusters, from now on; without a DHT, and where nothing changes, nothing happens.
    pub(super) fn set_dht_mode(&mut self, now: Now, mode: Mode) -> Answer {
        let other = |f: &&mut Finding| f.dht.mode() != mode;
        let Some(finding) = self.finding.as_deref_mut().filter(other) else {
            return Answer::Done { changed: false };
        };
        finding.dht.set_mode(mode, now);
        Answer::Done { changed: true }
    }

    pub(super) fn view_of_dht(&self, now: Now) -> Option<DhtView> {
        let finding = self.finding.as_deref()?;
        let dht = &finding.dht;
        let contact = |entry: &crate::dht::table::Entry<Reach>| DhtContactView {
            contact: entry.contact.clone(),
            bucket: Distance::between(&self.me, &entry.contact.id).common_bits().min(255),
            rtt: entry.rtt.smoothed(),
            heard: Wall(now.wall.0.saturating_sub(millis(now.mono.since(entry.heard)))),
            failures: entry.failures,
            linked: self.links.is_connected(entry.contact.id),
        };
        Some(DhtView {
            role: finding.settings.role,
            mode: finding.dht.mode(),
            serving: finding.serving,
            joined: !dht.table().is_empty(),
            contacts: dht.table().entries().iter().map(contact).collect(),
            network_size: dht.estimates().size(),
            session: dht.estimates().session(),
            intervals: dht.intervals(),
            leaf: dht.leaf(),
            changes: dht.cluster_changes(),
            values: dht.values().len(),
            value_bytes: dht.values().bytes(),
            stats: dht.stats(),
            links: self.links.iter().filter(|l| l.brief).count(),
            convergence: finding.settling.view(now.mono, dht),
        })
    }
}

pub(super) fn slot(key: &AskKey) -> Slot {
    match key {
        AskKey::NodeId(id) => Slot::agent(*id),
        AskKey::Address(prefix) => {
            let mut point = [0; 32];
            point[..15].copy_from_slice(prefix);
            Slot { kind: crate::dht::Kind::Address, key: NodeId(point) }
        }
        AskKey::Name(name) => Slot::name(name),
    }
}

fn looked_up(
    key: &DhtKey,
    outcome: Outcome<Reach, Item>,
    report: Report,
) -> Result<Answer, Failure> {
    let point = key.point();
    let (mut nodes, values) = match outcome {
        Outcome::Nodes(contacts) => (contacts.into_iter().map(|c| c.id).collect(), Vec::new()),
        Outcome::Values(values) => {
            (Vec::new(), values.into_iter().filter_map(Item::agent).collect())
        }
        Outcome::Refused => {
            let max = crate::dht::limits::LOOKUPS_MAX;
            return Err(Failure::Limit { what: "lookups in the DHT", max });
        }
        _ => (Vec::new(), Vec::new()),
    };
    if nodes.is_empty() {
        nodes = report.steps.iter().filter(|s| s.answered).map(|s| s.peer).collect();
        nodes.sort_by_key(|id| Distance::between(id, &point));
        nodes.dedup();
    }
    Ok(Answer::DhtLookup(Box::new(DhtLookup {
        point,
        nodes,
        values,
        holders: report.holders,
        hops: report.hops,
        requests: report.requests,
        timeouts: report.timeouts,
        elapsed: report.elapsed,
        steps: report.steps,
    })))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The wire form of a message to a peer.
pub(super) fn envelope(message: &wire::RealMessage) -> Message {
    Message::Dht(wire::encode(message))
}
