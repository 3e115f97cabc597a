//! `POST /v1/search`: by words, tags, skills, protocols, status; here, or at other registries too.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entities::{self, uncached};
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params};
use super::views::{EntityView, KindView, StatusView};
use super::{App, clock, federation};
use crate::limits::{HITS_MAX, QUERY_BYTES_MAX};
use crate::storage::{Filter, Hit, Query, Score};

/// Bytes of a search request.
pub(super) const SEARCH_BYTES_MAX: usize = 16 * 1_024;
/// Hits, unless asked otherwise.
const HITS_DEFAULT: u32 = 20;
/// Hits that may be skipped.
const OFFSET_MAX: u32 = 10_000;
/// Bytes of cards in one answer; hits after that come without theirs.
const CARDS_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// A search. Everything is optional; without words the filters alone decide.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(title = "SearchRequest")]
pub(super) struct SearchBody {
    /// Words to look for in titles, names, summaries, tags, skills.
    #[schema(max_length = 512, nullable = false)]
    pub(super) query: Option<String>,
    /// Exactly this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub(super) category: Option<String>,
    /// All of these tags.
    #[schema(max_items = 20, required = false)]
    pub(super) tags: Vec<String>,
    /// All of these skills, by identifier or word.
    #[schema(max_items = 20, required = false)]
    pub(super) skills: Vec<String>,
    /// One of these protocols.
    #[schema(max_items = 20, required = false)]
    pub(super) protocols: Vec<String>,
    /// This kind.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) kind: Option<KindView>,
    /// This status; active and inactive ones unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) status: Option<StatusView>,
    /// Vouched for by this identity: a node ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    pub(super) owner: Option<String>,
    /// Hits at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 100)]
    pub(super) max_results: Option<i64>,
    /// Hits to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0, maximum = 10000)]
    pub(super) offset: Option<i64>,
    /// Whether other registries are asked too.
    #[schema(required = false)]
    pub(super) federated: bool,
    /// Whether hits carry their agent card.
    #[schema(required = false)]
    pub(super) enrich: bool,
    /// How long other registries may take; 2,000 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 10000)]
    pub(super) timeout_ms: Option<i64>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
#[schema(title = "SearchAnswer")]
pub(super) struct HitsView {
    /// `homing.hits/v1`.
    pub(super) schema: &'static str,
    /// Best first.
    pub(super) hits: Vec<HitView>,
    /// How many there are in this registry, counted up to 10,000.
    pub(super) total: u64,
    /// Whether a registry that was asked did not answer in full.
    pub(super) partial: bool,
    /// The registries that were asked.
    pub(super) peers: Vec<federation::PeerView>,
}

/// One hit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Hit")]
pub(super) struct HitView {
    /// What was found; its record was verified.
    pub(super) entity: EntityView,
    /// Why it stands where it stands.
    pub(super) score: ScoreView,
    /// `local`, or the registry that had the newest record: a node ID or URL.
    pub(super) origin: String,
    /// The agent card, base64url of its bytes, if asked for and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) card: Option<String>,
}

/// The parts of a score, each 0–1.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(title = "Score")]
pub(super) struct ScoreView {
    /// The weighted sum, 0–1.
    pub(super) total: f64,
    /// How well the words match.
    pub(super) text: f64,
    /// Share of the words that are its name, tags or skills exactly.
    pub(super) exact: f64,
    /// How fresh the record is.
    pub(super) freshness: f64,
    /// 1 if active.
    pub(super) active: f64,
    /// Words that were found, and where.
    pub(super) matched: Vec<MatchView>,
}

/// One word and the field that has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Match")]
pub(super) struct MatchView {
    /// The word as asked.
    pub(super) word: String,
    /// The field.
    pub(super) field: String,
}

impl From<&Score> for ScoreView {
    fn from(score: &Score) -> Self {
        let view =
            |m: &crate::storage::Match| MatchView { word: m.word.clone(), field: m.field.clone() };
        Self {
            total: score.total,
            text: score.text,
            exact: score.exact,
            freshness: score.freshness,
            active: score.active,
            matched: score.matched.iter().map(view).collect(),
        }
    }
}

impl SearchBody {
    /// Checks every bound.
    pub(super) fn query(&self) -> Outcome<Query> {
        let text = self.query.clone().unwrap_or_default();
        if text.len() > QUERY_BYTES_MAX {
            let len = text.len();
            return Err(Problem::usage(format!(
                "the query has {len} bytes, at most {QUERY_BYTES_MAX} are allowed"
            ))
            .into());
        }
        let lower = |words: &[String]| -> Outcome<Vec<String>> {
            let words: Vec<String> = words.iter().map(|w| w.trim().to_lowercase()).collect();
            request::check_words(&words)?;
            Ok(words)
        };
        let filter = Filter {
            category: self.category.as_deref().map(entities::category).transpose()?,
            tags: lower(&self.tags)?,
            skills: lower(&self.skills)?,
            protocols: lower(&self.protocols)?,
            kind: self.kind.map(Into::into),
            status: self.status.map(Into::into),
            owner: self.owner.as_deref().map(entities::owner).transpose()?,
        };
        let limit = request::page_limit(self.max_results, HITS_DEFAULT, HITS_MAX)?;
        let offset = match self.offset.map(u32::try_from) {
            None => 0,
            Some(Ok(offset)) if offset <= OFFSET_MAX => offset,
            Some(_) => {
                return Err(Problem::usage(format!("the offset is 0 to {OFFSET_MAX}")).into());
            }
        };
        Ok(Query { text, filter, limit, offset })
    }
}

/// `POST /v1/search`.
pub(super) async fn search(
    State(app): State<App>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let time = app.settings.body_timeout;
    let body: SearchBody = request::json(&headers, body, SEARCH_BYTES_MAX, time).await?;
    let view = if body.federated {
        federation::search(&app, &body).await?
    } else {
        here(&app, &body, &body.query()?).await?
    };
    Ok(uncached(&view))
}

/// In the own tables.
pub(super) async fn here(app: &App, body: &SearchBody, query: &Query) -> Outcome<HitsView> {
    let now = clock::now();
    let found = app.storage.search(now, query).await?;
    let mut room = CARDS_BYTES_MAX;
    let hits = found.hits.iter().map(|hit| {
        let card = hit.entity.card.as_ref().filter(|_| body.enrich);
        let card = card.filter(|c| c.bytes.len() <= room).map(|c| {
            room -= c.bytes.len();
            BASE64URL_NOPAD.encode(&c.bytes)
        });
        local_hit(hit, now, card)
    });
    Ok(HitsView {
        schema: "homing.hits/v1",
        hits: hits.collect(),
        total: found.total,
        partial: false,
        peers: Vec::new(),
    })
}

fn local_hit(hit: &Hit, now: homing_base::Now, card: Option<String>) -> HitView {
    HitView {
        entity: EntityView::of(&hit.entity, now),
        score: ScoreView::from(&hit.score),
        origin: "local".into(),
        card,
    }
}
