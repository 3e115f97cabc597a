//! Finding an entity: the own tables, then the network, whose finds are remembered.
//!
//! ```text
//! key ─► answers ─► storage ─ miss ─► one flight per key ─► Network::resolve ─► verified, stored, answered
//!                      └ withdrawn: 410, whatever the network says
//! ```
//! A miss is remembered for [`MISS_LIFE`], so that asking for what is not there does not flood the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homing_api::Code;
use homing_base::{Address, Mono, Name, NodeId, Now, Record};

use super::answers::Rendered;
use super::problem::{Candidate, Outcome, Problem};
use super::views::{LayerView, SpentView, StatusView, time};
use super::{App, Shared, clock, describe};
use crate::entity::{Entity, EntityKey, Source};
use crate::network::{Layer, NetworkError};
use crate::storage::{Put, Registration};

/// How long a miss is believed.
const MISS_LIFE: Duration = Duration::from_secs(2);
/// Misses that are remembered.
const MISSES_MAX: usize = 16_384;

/// An entity, where it was found, and what that took.
pub(super) struct Found {
    pub(super) answer: Arc<Rendered>,
    pub(super) layer: LayerView,
    pub(super) spent: Vec<SpentView>,
}

/// Lookups under way and lookups that failed lately.
#[derive(Default)]
pub(super) struct Flights {
    state: Mutex<FlightState>,
}

#[derive(Default)]
struct FlightState {
    under_way: BTreeMap<EntityKey, Arc<tokio::sync::Mutex<()>>>,
    missed: BTreeMap<EntityKey, Mono>,
}

impl Flights {
    fn of(&self, key: &EntityKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.state.lock().expect("no holder panics");
        Arc::clone(state.under_way.entry(key.clone()).or_default())
    }

    fn land(&self, key: &EntityKey, missed: Option<Mono>) {
        let mut state = self.state.lock().expect("no holder panics");
        if state.under_way.get(key).is_some_and(|f| Arc::strong_count(f) <= 2) {
            state.under_way.remove(key);
        }
        if let Some(at) = missed {
            if state.missed.len() >= MISSES_MAX {
                state.missed.clear();
            }
            state.missed.insert(key.clone(), at);
        }
    }

    fn missed_lately(&self, key: &EntityKey, now: Mono) -> bool {
        let mut state = self.state.lock().expect("no holder panics");
        match state.missed.get(key) {
            Some(at) if now.since(*at) < MISS_LIFE => true,
            Some(_) => {
                state.missed.remove(key);
                false
            }
            None => false,
        }
    }

    /// A record came in: what was missing may be there now.
    pub(super) fn forget_misses(&self, record: &Record) {
        let mut state = self.state.lock().expect("no holder panics");
        let id = record.node_id();
        state.missed.remove(&EntityKey::NodeId(id));
        state.missed.remove(&EntityKey::Address(Address::of(&id)));
        if let Some(name) = &record.name {
            state.missed.remove(&EntityKey::Name(name.clone()));
        }
    }
}

/// Parses a key as the path has it.
pub(super) fn key(text: &str) -> Outcome<EntityKey> {
    text.parse().map_err(|e: homing_base::name::LabelError| {
        let shown: String = text.chars().take(80).collect();
        Problem::usage(format!("{shown:?} is no node ID, address or name"))
            .why(e.to_string())
            .hint("a node ID has 64 hexadecimal digits, an address begins with fd, a name is a DNS label")
            .into()
    })
}

/// What the own tables say about a key: at most one entity, active, inactive, expired or withdrawn.
pub(super) async fn local(app: &Shared, key: &EntityKey, now: Now) -> Outcome<Option<Entity>> {
    let mut entities = match key {
        EntityKey::NodeId(id) => app.storage.entity(id).await?.into_iter().collect(),
        EntityKey::Address(address) => app.storage.by_address(address).await?,
        EntityKey::Name(name) => app.storage.by_name(now, name).await?,
    };
    match entities.len() {
        0 => Ok(None),
        1 => Ok(entities.pop()),
        _ => Err(ambiguous(key, &entities)),
    }
}

fn ambiguous(key: &EntityKey, entities: &[Entity]) -> Box<Problem> {
    let what = match key {
        EntityKey::NodeId(id) => id.to_string(),
        EntityKey::Address(address) => address.to_string(),
        EntityKey::Name(name) => name.to_string(),
    };
    let candidates = entities.iter().map(candidate).collect();
    Problem::new(Code::AmbiguousName, format!("{} agents claim {what}", entities.len()))
        .why("a name is a claim that anybody may make; this registry does not choose")
        .hint("ask by node ID or address")
        .candidates(candidates)
        .into()
}

/// One claimant.
pub(super) fn candidate(entity: &Entity) -> Candidate {
    let id = entity.node_id();
    Candidate {
        node_id: id.to_string(),
        address: Address::of(&id).to_string(),
        name: entity.record.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        registered: time(entity.registered),
    }
}

/// What is rendered already, of an entity that is not withdrawn.
pub(super) fn rendered(app: &App, text: &str, began: Now) -> Option<Found> {
    let answer = app.answers.find(text, began)?;
    finish(answer, LayerView::Local, vec![spent(LayerView::Local, began)]).ok()
}

/// Finds what `text` means; asks the network only if the own tables have nothing valid and `outside` allows it.
pub(super) async fn find(app: &App, text: &str, outside: bool) -> Outcome<Found> {
    let began = clock::now();
    if let Some(answer) = app.answers.find(text, began) {
        app.metrics.answer_hit();
        return finish(answer, LayerView::Local, vec![spent(LayerView::Local, began)]);
    }
    app.metrics.answer_miss();
    let key = key(text)?;
    let ticket = app.answers.ticket();
    let mut taken = Vec::new();
    if let Some(entity) = local(app, &key, began).await? {
        let answer = Arc::new(Rendered::of(&entity, began));
        taken.push(spent(LayerView::Local, began));
        if answer.status != StatusView::Expired {
            let name = if let EntityKey::Name(name) = &key { Some(name) } else { None };
            app.answers.keep(ticket, text, name, &answer);
            return finish(answer, LayerView::Local, taken);
        }
    }
    taken.extend(taken.is_empty().then(|| spent(LayerView::Local, began)));
    if !outside || app.flights.missed_lately(&key, began.mono) {
        return Err(Problem::not_found(text).into());
    }
    beyond(app, text, &key, taken).await
}

/// Asks the network; one lookup per key at a time, the others wait for what it finds.
async fn beyond(app: &App, text: &str, key: &EntityKey, taken: Vec<SpentView>) -> Outcome<Found> {
    let flight = app.flights.of(key);
    let _alone = flight.lock().await;
    if app.flights.missed_lately(key, clock::mono()) {
        return Err(Problem::not_found(text).into());
    }
    let Ok(_slot) = app.outside.try_acquire() else {
        app.flights.land(key, None);
        return Err(Problem::busy("too many lookups in the network").into());
    };
    let outcome = ask(app, text, key, taken).await;
    app.flights.land(key, outcome.is_err().then(clock::mono));
    outcome
}

async fn ask(app: &App, text: &str, key: &EntityKey, mut taken: Vec<SpentView>) -> Outcome<Found> {
    let began = clock::now();
    // Somebody else's flight may have brought it.
    if let Some(entity) = local(app, key, began).await? {
        let answer = Arc::new(Rendered::of(&entity, began));
        if answer.status != StatusView::Expired {
            return finish(answer, LayerView::Local, taken);
        }
    }
    let resolved = app.network.resolve(key, app.settings.resolve_timeout).await;
    let found = match resolved {
        Ok(found) => found,
        Err(NetworkError::NotFound { .. } | NetworkError::Refused { .. }) => {
            return Err(Problem::not_found(text).into());
        }
        Err(NetworkError::Unreachable(why)) => {
            return Err(Problem::not_found(text).why(why).into());
        }
    };
    taken.extend(found.spent.iter().map(|(layer, time)| SpentView {
        layer: (*layer).into(),
        us: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
    }));
    for record in found.records {
        remember(app, key, record, found.layer).await?;
    }
    let now = clock::now();
    match local(app, key, now).await? {
        Some(entity) => {
            let answer = Arc::new(Rendered::of(&entity, now));
            if answer.status == StatusView::Expired {
                return Err(Problem::not_found(text).into());
            }
            finish(answer, found.layer.into(), taken)
        }
        None => Err(Problem::not_found(text).into()),
    }
}

/// Keeps what the network found, if it is an answer to what was asked.
async fn remember(app: &App, key: &EntityKey, record: Record, layer: Layer) -> Outcome<()> {
    let now = clock::now();
    let id = record.node_id();
    let fits = match key {
        EntityKey::NodeId(asked) => *asked == id,
        EntityKey::Address(asked) => asked.matches(&id),
        EntityKey::Name(asked) => record.name.as_ref() == Some(asked),
    };
    if !fits || record.check_lifetime(now).is_err() {
        return Ok(());
    }
    let listing = describe::listing(now, &record, None);
    let source = if layer == Layer::Dht { Source::Dht } else { Source::Gossip };
    let name = record.name.clone();
    let put = app.storage.put(now, Registration { record, listing, card: None, source }).await?;
    if matches!(put, Put::Created | Put::Updated) {
        app.changed(&id, name.as_ref());
    }
    Ok(())
}

fn finish(answer: Arc<Rendered>, layer: LayerView, taken: Vec<SpentView>) -> Outcome<Found> {
    if answer.status == StatusView::Withdrawn {
        return Err(Problem::withdrawn(&answer.node_id).into());
    }
    Ok(Found { answer, layer, spent: taken })
}

fn spent(layer: LayerView, began: Now) -> SpentView {
    let us = clock::mono().since(began.mono).as_micros();
    SpentView { layer, us: u64::try_from(us).unwrap_or(u64::MAX) }
}

impl Shared {
    /// An entity changed here and claims this name: answers and event streams must know at once.
    pub(super) fn changed(&self, id: &NodeId, name: Option<&Name>) {
        self.answers.forget(id, name);
        self.events.wake();
    }
}

/// The entity of a key, for operations that need more than its rendering; from the own tables only.
pub(super) async fn known(app: &App, text: &str, now: Now) -> Outcome<Entity> {
    let key = key(text)?;
    local(app, &key, now).await?.ok_or_else(|| Problem::not_found(text).into())
}
