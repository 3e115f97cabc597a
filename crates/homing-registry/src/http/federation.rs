//! Federated search: other registries are asked in parallel, and nothing they say is believed.
//!
//! ```text
//! own tables ──────────────┐
//! registry A ─► verify ────┼─► merge by node ID, newest record wins ─► rank ─► page
//! registry B ─► verify ────┘        (until the deadline; who did not answer is named)
//! ```
//! Of a remote hit only the signed record counts, and the card if its digest is in that record: title, summary, score, price
//! and endpoint are derived here again from what the agent signed. A hit that does not verify, has expired or has none of
//! the query's words is dropped and counted. Peers are asked not to ask others: one hop, no loops.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures_util::stream::{FuturesUnordered, StreamExt};
use homing_base::{NodeId, Now, Record, UnverifiedRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{self, Peer};
use super::problem::{Outcome, Problem};
use super::search::{self, HitView, HitsView, MatchView, ScoreView, SearchBody};
use super::views::{EntityView, Known, SourceView, StatusView};
use super::{App, clock, describe};
use crate::entity::StoredCard;
use crate::limits::HITS_MAX;
use crate::listing::{EntityKind, Listing};
use crate::storage::{Filter, Query};

/// Registries asked in one search.
const PEERS_MAX: usize = 16;
/// How long they may take, unless asked otherwise.
const TIMEOUT: Duration = Duration::from_millis(2_000);
/// How long they may take at most, in milliseconds.
const TIMEOUT_MAX_MS: i64 = 10_000;

/// What became of one registry that was asked.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "PeerAnswer")]
pub(super) struct PeerView {
    /// Its node ID or URL.
    pub(super) peer: String,
    /// What became of the question.
    pub(super) state: PeerState,
    /// Hits that were verified.
    pub(super) hits: u64,
    /// Hits that were dropped: not verifiable, expired, or no match.
    pub(super) dropped: u64,
    /// How long it took.
    pub(super) elapsed_ms: u64,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) why: Option<String>,
}

/// What became of a question to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PeerState {
    /// It answered.
    Answered,
    /// Not before the deadline.
    Timeout,
    /// It cannot be reached.
    Unreachable,
    /// It answered something else.
    Refused,
}

/// What is read of a remote answer: the signed parts.
#[derive(Deserialize)]
struct RemoteAnswer {
    hits: Vec<RemoteHit>,
}

#[derive(Deserialize)]
struct RemoteHit {
    entity: RemoteEntity,
    #[serde(default)]
    card: Option<String>,
}

#[derive(Deserialize)]
struct RemoteEntity {
    record: String,
}

/// A remote hit that was verified.
struct Verified {
    record: Record,
    listing: Listing,
    card: Option<StoredCard>,
    score: ScoreView,
}

/// Searches here and elsewhere.
pub(super) async fn search(app: &App, body: &SearchBody) -> Outcome<HitsView> {
    let query = body.query()?;
    let timeout = match body.timeout_ms {
        None => TIMEOUT,
        Some(ms @ 1..=TIMEOUT_MAX_MS) => Duration::from_millis(ms.unsigned_abs()),
        Some(_) => {
            return Err(Problem::usage(format!("timeout_ms is 1 to {TIMEOUT_MAX_MS}")).into());
        }
    };
    let wanted = query.limit.saturating_add(query.offset).min(HITS_MAX);
    let whole = Query { limit: wanted, offset: 0, ..query.clone() };
    let peers = peers(app).await;
    let mut asked: FuturesUnordered<_> =
        peers.iter().map(|peer| one(app, peer, body, wanted, timeout)).collect();
    let mut local = search::here(app, body, &whole).await?;
    let now = clock::now();
    let mut merged: HashMap<NodeId, (Record, HitView)> = HashMap::new();
    for hit in local.hits.drain(..) {
        let Some(record) = own_record(&hit) else { continue };
        merged.insert(record.node_id(), (record, hit));
    }
    while let Some((peer, mut view, bytes)) = asked.next().await {
        if let Some(answer) = bytes {
            for hit in answer.hits.into_iter().take(HITS_MAX as usize) {
                let kept = match verify(now, hit, &query) {
                    Some(verified) => merge(&mut merged, verified, now, &peer, body.enrich),
                    None => false,
                };
                if kept { view.hits += 1 } else { view.dropped += 1 }
            }
        }
        local.partial |= view.state != PeerState::Answered;
        local.peers.push(view);
    }
    local.peers.sort_by(|a, b| a.peer.cmp(&b.peer));
    local.hits = page(merged, &query);
    Ok(local)
}

async fn peers(app: &App) -> Vec<Peer> {
    let me = app.network.node_id();
    let urls = app.settings.peers.iter().cloned().map(Peer::Url);
    let nodes = app.network.registries().await.into_iter().filter(|id| *id != me).map(Peer::Node);
    urls.chain(nodes).take(PEERS_MAX).collect()
}

fn own_record(hit: &HitView) -> Option<Record> {
    let bytes = BASE64URL_NOPAD.decode(hit.entity.record.as_bytes()).ok()?;
    UnverifiedRecord::parse(&bytes).ok()?.verify_signature().ok()
}

/// Asks one registry.
async fn one(
    app: &App,
    peer: &Peer,
    body: &SearchBody,
    wanted: u32,
    timeout: Duration,
) -> (Peer, PeerView, Option<RemoteAnswer>) {
    let began = clock::mono();
    let question = SearchBody {
        federated: false,
        enrich: true,
        max_results: Some(wanted.into()),
        offset: None,
        timeout_ms: None,
        ..body.clone()
    };
    let json = Bytes::from(serde_json::to_vec(&question).expect("plain values serialise"));
    let exchange = exchange::post(&*app.network, peer, "/v1/search", json);
    let (state, why, answer) = match tokio::time::timeout(timeout, exchange).await {
        Err(_) => (PeerState::Timeout, None, None),
        Ok(Err(why)) => (PeerState::Unreachable, Some(why), None),
        Ok(Ok((200, bytes))) => match serde_json::from_slice::<RemoteAnswer>(&bytes) {
            Ok(answer) => (PeerState::Answered, None, Some(answer)),
            Err(error) => (PeerState::Refused, Some(error.to_string()), None),
        },
        Ok(Ok((status, _))) => (PeerState::Refused, Some(format!("status {status}")), None),
    };
    let elapsed_ms = u64::try_from(clock::mono().since(began).as_millis()).unwrap_or(u64::MAX);
    let peer_text = peer.to_string();
    let view = PeerView { peer: peer_text, state, hits: 0, dropped: 0, elapsed_ms, why };
    (peer.clone(), view, answer)
}

fn verify(now: Now, hit: RemoteHit, query: &Query) -> Option<Verified> {
    let bytes = BASE64URL_NOPAD.decode(hit.entity.record.as_bytes()).ok()?;
    let record = UnverifiedRecord::parse(&bytes).ok()?.verify(now).ok()?;
    if record.is_withdrawn() {
        return None;
    }
    let card = hit.card.and_then(|text| {
        let card = describe::stored(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?, now);
        (record.card.as_ref()?.sha256 == card.sha256).then_some(card)
    });
    let listing = describe::listing(now, &record, card.as_ref().map(|c| c.bytes.as_slice()));
    let score = fits(&listing, &query.filter).then(|| score(&record, &listing, query, now))??;
    Some(Verified { record, listing, card, score })
}

/// Whether what was derived here passes the filter that the peer was asked to apply.
fn fits(listing: &Listing, filter: &Filter) -> bool {
    let skill = |word: &String| {
        listing.skills.iter().any(|s| {
            s.id.to_lowercase() == *word
                || contains(&s.name, word)
                || s.tags.iter().any(|t| t.to_lowercase() == *word)
        })
    };
    filter.category.as_ref().is_none_or(|c| listing.category.to_lowercase() == *c)
        && filter.tags.iter().all(|t| listing.tags.contains(t))
        && filter.skills.iter().all(skill)
        && (filter.protocols.is_empty()
            || filter.protocols.iter().any(|p| listing.protocols.contains(p)))
        && filter.kind.is_none_or(|k: EntityKind| listing.kind == k)
        && filter.owner.as_ref().is_none_or(|o| listing.owner.as_ref() == Some(o))
}

fn contains(text: &str, word: &str) -> bool {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|w| w.starts_with(word))
}

/// Scores by words alone: there is no index of what others have. `None`: none of the words is there.
fn score(record: &Record, listing: &Listing, query: &Query, now: Now) -> Option<ScoreView> {
    let words: Vec<String> = query
        .text
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    let name = record.name.as_ref().map(|n| n.as_str()).unwrap_or_default();
    let (mut matched, mut exact) = (Vec::new(), 0_u32);
    for word in &words {
        let in_tags = listing.tags.contains(word);
        exact += u32::from(in_tags || name == word);
        let in_skills = |s: &crate::listing::Skill| {
            contains(&s.id, word) || contains(&s.name, word) || contains(&s.description, word)
        };
        let field = if contains(&listing.title, word) {
            "title"
        } else if contains(name, word) {
            "name"
        } else if in_tags {
            "tags"
        } else if listing.skills.iter().any(in_skills) {
            "skills"
        } else if contains(&listing.summary, word) {
            "summary"
        } else {
            continue;
        };
        matched.push(MatchView { word: word.clone(), field: field.into() });
    }
    if matched.is_empty() && !words.is_empty() {
        return None;
    }
    let share = |n: u32| if words.is_empty() { 0.0 } else { f64::from(n) / words.len() as f64 };
    let text = share(u32::try_from(matched.len()).unwrap_or(u32::MAX));
    let life = record.expires.since(record.issued).as_secs_f64().max(1.0);
    let freshness = (record.life_left(now).as_secs_f64() / life).clamp(0.0, 1.0);
    let exact = share(exact);
    let total = 0.6 * text + 0.2 * exact + 0.1 * freshness + 0.1;
    Some(ScoreView { total, text, exact, freshness, active: 1.0, matched })
}

/// Whether the hit is new or newer than what is there.
fn merge(
    merged: &mut HashMap<NodeId, (Record, HitView)>,
    verified: Verified,
    now: Now,
    peer: &Peer,
    enrich: bool,
) -> bool {
    let Verified { record, listing, card, score } = verified;
    let id = record.node_id();
    if merged.get(&id).is_some_and(|(have, _)| have.precedence(&record).is_ge()) {
        return true;
    }
    let known = Known {
        status: StatusView::Active,
        source: SourceView::Federation,
        registered: now.wall,
        updated: now.wall,
        heartbeat: None,
        card_stored: false,
    };
    let hit = HitView {
        entity: EntityView::build(&record, &listing, &known),
        score,
        origin: peer.to_string(),
        card: card.filter(|_| enrich).map(|c| BASE64URL_NOPAD.encode(&c.bytes)),
    };
    merged.insert(id, (record, hit));
    true
}

fn page(merged: HashMap<NodeId, (Record, HitView)>, query: &Query) -> Vec<HitView> {
    let mut hits: Vec<HitView> = merged.into_values().map(|(_, hit)| hit).collect();
    hits.sort_by(|a, b| {
        let by_score = b.score.total.total_cmp(&a.score.total);
        by_score.then_with(|| a.entity.node_id.cmp(&b.entity.node_id))
    });
    hits.into_iter().skip(query.offset as usize).take(query.limit as usize).collect()
}
