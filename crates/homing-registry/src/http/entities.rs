//! `/v1/entities`: registering, replacing, withdrawing, reading.
//!
//! A record comes as it was signed (`application/cose`), or in JSON with the card it names. It is verified before
//! anything else is done with it, and stored durably before the answer.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homing_api::Code;
use homing_base::limits::RECORD_BYTES_MAX;
use homing_base::{NodeId, Now, Record, UnverifiedRecord};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answers::Rendered;
use super::lookup::{self, Found};
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params, Segments};
use super::views::{EntityPage, EntityView, FoundView, HistoryPage, KindView, StatusView};
use super::{App, Shared, clock, describe};
use crate::entity::{EntityKey, Source, StoredCard};
use crate::limits::{CARD_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::storage::{Filter, Put, Registration};

/// The media type of signed objects (RFC 9052 §11.3.1).
pub(super) const COSE: &str = "application/cose";
/// A record and a card in base64url, and the braces around them.
const JSON_BYTES_MAX: usize = (RECORD_BYTES_MAX + CARD_BYTES_MAX) / 3 * 4 + 4_096;
/// An answer may be kept for this long without asking again, in seconds.
const FRESH_SECONDS: u64 = 5;

/// A record, and the card whose digest it names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(title = "Registration")]
pub(super) struct RegistrationBody {
    /// The signed record, base64url of the COSE object.
    #[schema(min_length = 1, max_length = 1400)]
    record: String,
    /// The agent card, base64url of its bytes. Its SHA-256 must be the one in the record.
    #[serde(default)]
    #[schema(nullable = false)]
    card: Option<String>,
}

/// What a body brought, verified.
struct Incoming {
    record: Record,
    card: Option<StoredCard>,
}

async fn incoming(app: &Shared, now: Now, headers: &HeaderMap, body: Body) -> Outcome<Incoming> {
    let time = app.settings.body_timeout;
    let (record, card) = match request::media_type(headers).as_str() {
        COSE => (request::whole(body, RECORD_BYTES_MAX, time).await?.to_vec(), None),
        "application/json" => {
            let bytes = request::whole(body, JSON_BYTES_MAX, time).await?;
            let read: RegistrationBody = request::from_json(&bytes)?;
            let card = read.card.map(|c| request::base64url("card", &c)).transpose()?;
            (request::base64url("record", &read.record)?, card)
        }
        other => {
            return Err(request::wrong_media_type(other, "application/cose or application/json"));
        }
    };
    let record = UnverifiedRecord::parse(&record)?.verify(now)?;
    let card = card.map(|bytes| accepted_card(now, &record, bytes)).transpose()?;
    Ok(Incoming { record, card })
}

/// A card is taken if and only if the agent has signed its digest.
fn accepted_card(now: Now, record: &Record, bytes: Vec<u8>) -> Outcome<StoredCard> {
    let Some(named) = &record.card else {
        return Err(Problem::usage("a card came along, the record names none").into());
    };
    let card = describe::stored(bytes, now);
    if card.sha256 != named.sha256 {
        let hex = |digest: &[u8; 32]| data_encoding::HEXLOWER.encode(digest);
        return Err(Problem::usage("this is not the card that the record names")
            .why(format!("its SHA-256 is {}, signed is {}", hex(&card.sha256), hex(&named.sha256)))
            .hint("send the card's bytes exactly as they were hashed")
            .into());
    }
    match crate::cards::Card::parse(&card.bytes) {
        Ok(_) => Ok(card),
        Err(why) => Err(Problem::usage("the card is no agent card").why(why.to_string()).into()),
    }
}

/// `POST /v1/entities`.
pub(super) async fn register(
    State(app): State<App>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let incoming = incoming(&app, now, &headers, body).await?;
    Ok(keep(&app, now, incoming).await?)
}

/// `PUT /v1/entities/{id}`.
pub(super) async fn replace(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let incoming = incoming(&app, now, &headers, body).await?;
    matches_path(&id, &incoming.record)?;
    Ok(keep(&app, now, incoming).await?)
}

/// `DELETE /v1/entities/{id}`.
pub(super) async fn withdraw(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let incoming = incoming(&app, now, &headers, body).await?;
    matches_path(&id, &incoming.record)?;
    if !incoming.record.is_withdrawn() {
        return Err(Problem::usage("to withdraw takes a record that says so, signed by the agent")
            .hint("sign a record with the withdrawn flag and a higher sequence")
            .into());
    }
    Ok(keep(&app, now, incoming).await?)
}

/// The path names the record's identity, by node ID or address.
fn matches_path(text: &str, record: &Record) -> Outcome<()> {
    let id = record.node_id();
    let same = match lookup::key(text)? {
        EntityKey::NodeId(asked) => asked == id,
        EntityKey::Address(asked) => asked.matches(&id),
        EntityKey::Name(name) => {
            return Err(Problem::usage(format!("{name} is a name, a change names its identity"))
                .hint("put the node ID or the address into the path")
                .into());
        }
    };
    if same {
        return Ok(());
    }
    let text: String = text.chars().take(80).collect();
    Err(Problem::usage(format!("the record is that of {id}, the path names {text}")).into())
}

async fn keep(app: &App, now: Now, incoming: Incoming) -> Outcome {
    let Incoming { record, card } = incoming;
    let id = record.node_id();
    if let Some(limiter) = &app.per_key {
        limiter.check(id, 1, now.mono).map_err(|ms| too_many("changes of this identity", ms))?;
    }
    let listing = describe::listing(now, &record, card.as_ref().map(|c| c.bytes.as_slice()));
    let has_card = card.is_some();
    let source = Source::Registered;
    let registration = Registration { record: record.clone(), listing, card, source };
    let put = app.storage.put(now, registration).await?;
    app.metrics.put(&put);
    let status = match put {
        Put::Created => StatusCode::CREATED,
        Put::Updated | Put::Same => StatusCode::OK,
        Put::Stale { current } => return Err(stale(&record, current.0)),
        Put::Equivocation => {
            app.changed(&id, record.name.as_ref());
            return Err(Problem::new(Code::StaleSequence, "another record has this sequence")
                .why("both are signed: both are kept as evidence, the one with the smaller digest is served")
                .hint("sign with a higher sequence; if you did not sign both, somebody else has the key")
                .into());
        }
        Put::Full => {
            return Err(Problem::new(Code::LimitReached, "this registry takes no more agents")
                .hint("known agents still renew; register elsewhere")
                .into());
        }
    };
    if put != Put::Same {
        // A replayed record changes nothing and costs its signer nothing.
        if let Some(limiter) = &app.per_key {
            let _ = limiter.take(id, 1, now.mono);
        }
        settle(app, record, has_card);
    }
    answer(app, &id, status).await
}

/// What follows from a change, after it is durable.
fn settle(app: &App, record: Record, has_card: bool) {
    app.changed(&record.node_id(), record.name.as_ref());
    app.flights.forget_misses(&record);
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let wants_card = record.card.is_some() && !has_card && !record.is_withdrawn();
        app.network.announce(record.clone()).await;
        if wants_card {
            let _ = super::card::bring(&app, &record).await;
        }
    });
}

pub(super) fn too_many(what: &str, retry_after_ms: u64) -> Box<Problem> {
    Problem::new(Code::RateLimited, format!("too many {what}"))
        .retry_after_ms(retry_after_ms)
        .into()
}

fn stale(record: &Record, current: u64) -> Box<Problem> {
    let sequence = record.sequence.0;
    Problem::new(Code::StaleSequence, "a newer record is known")
        .why(format!("sequence {current} is known, this record has {sequence}"))
        .hint(format!("sign with a sequence above {current}"))
        .into()
}

async fn answer(app: &App, id: &NodeId, status: StatusCode) -> Outcome {
    let now = clock::now();
    let entity = app.storage.entity(id).await?;
    // Swept between write and read: only possible for what had just expired.
    let entity = entity.ok_or_else(|| Box::new(Problem::not_found(&id.to_string())))?;
    let rendered = Rendered::of(&entity, now);
    let mut json = rendered.json.to_vec();
    json.push(b'}');
    let mut response = (status, json).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ETAG, rendered.json_etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = HeaderValue::try_from(format!("/v1/entities/{id}")).expect("hexadecimal digits");
    headers.insert(header::LOCATION, location);
    Ok(response)
}

/// Parameters of `GET /v1/entities/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadParams {
    #[serde(default)]
    local: bool,
}

const LAYER: HeaderName = HeaderName::from_static("homing-layer");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// `GET /v1/entities/{id}`.
pub(super) async fn read(
    State(app): State<App>,
    Params(params): Params<ReadParams>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let raw = wants_raw(&headers)?;
    let found = lookup::find(&app, &id, !params.local).await?;
    Ok(found_response(&found, raw, &headers))
}

/// Whether the signed record alone is asked for.
pub(super) fn wants_raw(headers: &HeaderMap) -> Outcome<bool> {
    Ok(request::accepted(headers, &["application/json", COSE])? == 1)
}

pub(super) fn found_response(found: &Found, raw: bool, headers: &HeaderMap) -> Response {
    let answer = &found.answer;
    let now = clock::now().wall;
    let etag = if raw { &answer.record_etag } else { &answer.json_etag };
    let unchanged = etag.to_str().is_ok_and(|etag| request::none_match(headers, etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else if raw {
        answer.record.clone().into_response()
    } else {
        Bytes::from(found_json(found, now)).into_response()
    };
    let media = if raw { COSE } else { "application/json" };
    let fresh = (answer.expires.since(now).as_secs()).min(FRESH_SECONDS);
    let out = response.headers_mut();
    if unchanged {
        out.remove(header::CONTENT_TYPE);
    } else {
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    out.insert(header::ETAG, etag.clone());
    out.insert(header::CACHE_CONTROL, cache_control(fresh));
    out.insert(header::VARY, HeaderValue::from_static("accept"));
    out.insert(LAYER, HeaderValue::from_static(found.layer.as_str()));
    if let Ok(value) = HeaderValue::try_from(server_timing(found)) {
        out.insert(SERVER_TIMING, value);
    }
    response
}

fn cache_control(fresh: u64) -> HeaderValue {
    // Written out: this is on the hot path.
    match fresh {
        FRESH_SECONDS.. => HeaderValue::from_static("public, max-age=5, must-revalidate"),
        _ => HeaderValue::try_from(format!("public, max-age={fresh}, must-revalidate"))
            .expect("digits"),
    }
}

fn server_timing(found: &Found) -> String {
    let mut text = String::with_capacity(48);
    for spent in &found.spent {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let (ms, us) = (spent.us / 1_000, spent.us % 1_000);
        text.push_str(spent.layer.as_str());
        text.push_str(&format!(";dur={ms}.{us:03}"));
    }
    text
}

fn found_json(found: &Found, now: homing_base::Wall) -> Vec<u8> {
    let answer = &found.answer;
    let age_ms = u64::try_from(now.since(answer.issued).as_millis()).unwrap_or(u64::MAX);
    let view = FoundView { layer: found.layer, age_ms, spent: found.spent.clone() };
    let mut json = Vec::with_capacity(answer.json.len() + 128);
    json.extend_from_slice(&answer.json);
    json.extend_from_slice(b",\"found\":");
    serde_json::to_writer(&mut json, &view).expect("writing to memory cannot fail");
    json.push(b'}');
    json
}

/// Parameters of `GET /v1/entities`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    limit: Option<i64>,
    cursor: Option<String>,
    category: Option<String>,
    tags: Option<String>,
    skills: Option<String>,
    protocols: Option<String>,
    #[serde(rename = "type")]
    kind: Option<KindView>,
    status: Option<StatusView>,
    owner: Option<String>,
}

impl ListParams {
    fn filter(&self) -> Outcome<Filter> {
        Ok(Filter {
            category: self.category.as_deref().map(category).transpose()?,
            tags: request::words(self.tags.as_deref())?,
            skills: request::words(self.skills.as_deref())?,
            protocols: request::words(self.protocols.as_deref())?,
            kind: self.kind.map(Into::into),
            status: self.status.map(Into::into),
            owner: self.owner.as_deref().map(owner).transpose()?,
        })
    }
}

/// A category as filters take it.
pub(super) fn category(text: &str) -> Outcome<String> {
    let text = text.trim().to_lowercase();
    request::check_words(std::slice::from_ref(&text))?;
    Ok(text)
}

/// An owner as filters take it.
pub(super) fn owner(text: &str) -> Outcome<String> {
    let id: Result<NodeId, _> = text.parse();
    let refused = |e: homing_base::node_id::NodeIdParseError| {
        Box::new(Problem::usage("the owner is no node ID").why(e.to_string()))
    };
    id.map(|id| id.to_string()).map_err(refused)
}

/// `GET /v1/entities`.
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.limit, PAGE_DEFAULT, PAGE_MAX)?;
    let cursor = request::cursor(params.cursor.as_deref())?;
    let filter = params.filter()?;
    let now = clock::now();
    let page = app.storage.page(now, &filter, cursor.as_ref(), limit).await;
    let page = page.map_err(Box::<Problem>::from)?;
    let view = EntityPage {
        schema: "homing.entities/v1",
        items: page.items.iter().map(|e| EntityView::of(e, now)).collect(),
        next: page.next.as_ref().map(request::cursor_text),
    };
    Ok(uncached(&view))
}

/// JSON that changes with every change.
pub(super) fn uncached<T: serde::Serialize>(view: &T) -> Response {
    let mut response = axum::Json(view).into_response();
    let value = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

/// Parameters of `GET /v1/entities/{id}/history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryParams {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /v1/entities/{id}/history`: what the agent said before, a withdrawn one too.
pub(super) async fn history(
    State(app): State<App>,
    Params(params): Params<HistoryParams>,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.limit, PAGE_DEFAULT, PAGE_MAX)?;
    let cursor = request::cursor(params.cursor.as_deref())?;
    let entity = lookup::known(&app, &id, clock::now()).await?;
    let whose = entity.node_id();
    let page = app.storage.history(&whose, cursor.as_ref(), limit).await;
    let page = page.map_err(Box::<Problem>::from)?;
    let view = HistoryPage {
        schema: "homing.history/v1",
        node_id: whose.to_string(),
        items: page.items.iter().map(Into::into).collect(),
        next: page.next.as_ref().map(request::cursor_text),
    };
    Ok(uncached(&view))
}
