//! Agentic Resource Discovery (ARD, draft 0.5): `/.well-known/ai-catalog.json`, `POST /search`, `GET /agents`.
//!
//! Entries are entities in the words of the AI Catalog: a URN, a name, a media type, and either the card's URL at this
//! registry or, for an agent without a card, its signed record. Failures are problems like everywhere here. Source:
//! ards-project/ard-spec, `spec/schemas/ard.openapi.yaml` and `ai-catalog.schema.json`.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::entities::uncached;
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params};
use super::search::{self, SEARCH_BYTES_MAX, SearchBody};
use super::views::EntityView;
use super::{App, clock, federation};
use crate::storage::Filter;

const CARD_TYPE: &str = "application/a2a-agent-card+json";
const RECORD_TYPE: &str = "application/vnd.homing.entity+json";
const REGISTRY_TYPE: &str = "application/ai-registry+json";
/// Entities in the catalogue; the rest is found by search.
const CATALOG_MAX: u32 = 100;
const PAGE_DEFAULT: u32 = 20;
const PAGE_MAX: u32 = 100;

/// `/.well-known/ai-catalog.json`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Catalog {
    /// `1.0`.
    spec_version: &'static str,
    /// Who publishes it.
    host: CatalogHost,
    /// The registry itself, and its first agents.
    entries: Vec<CatalogEntry>,
}

/// Who publishes a catalogue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CatalogHost {
    /// For people.
    display_name: String,
    /// The registry's node ID as a URN.
    identifier: String,
}

/// One resource: with `url` or with `data`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CatalogEntry {
    /// A URN.
    #[schema(pattern = "^urn:air:[a-zA-Z0-9.-]+(:[a-zA-Z0-9._-]+)+$")]
    identifier: String,
    /// For people.
    display_name: String,
    /// Media type of what `url` or `data` has.
    #[serde(rename = "type")]
    kind: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    data: Option<serde_json::Value>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    description: String,
    /// Words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    tags: Vec<String>,
    /// Skills.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    capabilities: Vec<String>,
    /// When its record came here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    updated_at: Option<String>,
    /// Address, node ID and record, by which it can be verified and dialled.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    metadata: BTreeMap<String, String>,
}

/// The publisher part of a URN: the host of the public URL.
fn publisher(app: &App) -> String {
    let host = url::Url::parse(&app.settings.public_url).ok();
    let host = host.and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if host.is_empty() || !host.chars().all(plain) { "homing".into() } else { host }
}

fn entry(app: &App, view: &EntityView) -> CatalogEntry {
    let id = &view.node_id;
    let card = view.card.is_some();
    let url = format!("{}/v1/entities/{id}/card", app.settings.public_url);
    let data = json!({"schema": view.schema, "node_id": id, "address": view.address, "record": view.record});
    let metadata = [
        ("homing.nodeId", id.clone()),
        ("homing.address", view.address.clone()),
        ("homing.record", view.record.clone()),
    ];
    CatalogEntry {
        identifier: format!("urn:air:{}:agent:{id}", publisher(app)),
        display_name: if view.title.is_empty() { id.clone() } else { view.title.clone() },
        kind: if card { CARD_TYPE } else { RECORD_TYPE }.into(),
        url: card.then_some(url),
        data: (!card).then_some(data),
        description: view.summary.clone(),
        tags: view.tags.clone(),
        capabilities: view.skills.iter().map(|s| s.id.clone()).filter(|s| !s.is_empty()).collect(),
        updated_at: Some(view.updated.clone()),
        metadata: metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

/// `GET /.well-known/ai-catalog.json`.
pub(super) async fn catalog(
    State(app): State<App>,
    _: Params<Nothing>,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let page = app.storage.page(now, &Filter::default(), None, CATALOG_MAX).await;
    let page = page.map_err(Box::<Problem>::from)?;
    let registry = CatalogEntry {
        identifier: format!("urn:air:{}:registry:search", publisher(&app)),
        display_name: app.settings.title.clone(),
        kind: REGISTRY_TYPE.into(),
        url: Some(format!("{}/search", app.settings.public_url)),
        data: None,
        description: "Search of every agent of this registry, and of others".into(),
        tags: Vec::new(),
        capabilities: Vec::new(),
        updated_at: None,
        metadata: BTreeMap::new(),
    };
    let agents = page.items.iter().map(|e| entry(&app, &EntityView::of(e, now)));
    Ok(uncached(&Catalog {
        spec_version: "1.0",
        host: CatalogHost {
            display_name: app.settings.title.clone(),
            identifier: format!("urn:homing:node:{}", app.network.node_id()),
        },
        entries: std::iter::once(registry).chain(agents).collect(),
    }))
}

/// A search in the words of ARD.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ArdSearch {
    /// What to look for.
    query: ArdQuery,
    /// Whether other registries are asked (`auto`), named (`referrals`) or neither (`none`).
    #[serde(default)]
    #[schema(required = false)]
    federation: ArdFederation,
    /// Results at most.
    #[serde(default)]
    #[schema(nullable = false, minimum = 1, maximum = 100)]
    page_size: Option<i64>,
    /// The token of the page before.
    #[serde(default)]
    #[schema(nullable = false)]
    page_token: Option<String>,
}

/// What to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ArdQuery {
    /// Words.
    #[schema(max_length = 512)]
    text: String,
    /// By field: `type`, `tags`, `capabilities`; a value or a list of values.
    #[serde(default)]
    #[schema(required = false)]
    filter: BTreeMap<String, OneOrMany>,
}

/// One value or several.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    /// One.
    One(String),
    /// Any of these, or all of these tags.
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// Whether other registries take part.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ArdFederation {
    /// They are asked.
    #[default]
    Auto,
    /// They are named.
    Referrals,
    /// Neither.
    None,
}

/// What was found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArdResults {
    /// Best first.
    results: Vec<ArdResult>,
    /// Registries to ask, for `referrals`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    referrals: Vec<ArdReferral>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_token: Option<String>,
}

/// One result.
#[derive(Serialize, ToSchema)]
pub(super) struct ArdResult {
    #[serde(flatten)]
    entry: CatalogEntry,
    /// How well it fits, 0–100. Not a measure of trust.
    #[schema(minimum = 0, maximum = 100)]
    score: u8,
    /// The registry that had it.
    source: String,
}

/// Another registry.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArdReferral {
    /// A URN.
    identifier: String,
    /// For people.
    display_name: String,
    /// `application/ai-registry+json`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its search.
    url: String,
}

fn token(offset: u32) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("o{offset}").as_bytes())
}

fn offset(text: Option<&str>) -> Outcome<u32> {
    let Some(text) = text else { return Ok(0) };
    let read = || {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        String::from_utf8(bytes).ok()?.strip_prefix('o')?.parse().ok().filter(|n| *n <= 10_000)
    };
    read().ok_or_else(|| Problem::usage("the page token is not one of this search").into())
}

impl ArdSearch {
    fn body(&self, limit: u32, offset: u32) -> Outcome<SearchBody> {
        let mut body = SearchBody {
            query: Some(self.query.text.clone()),
            max_results: Some(limit.into()),
            offset: Some(offset.into()),
            federated: self.federation == ArdFederation::Auto,
            ..SearchBody::default()
        };
        for (field, values) in &self.query.filter {
            match field.as_str() {
                "tags" => body.tags = values.list(),
                "capabilities" => body.skills = values.list(),
                // Checked on what was found: the index knows no media types.
                "type" => {}
                _ => return Err(unknown_field(field)),
            }
        }
        Ok(body)
    }
}

fn unknown_field(field: &str) -> Box<Problem> {
    let field: String = field.chars().take(64).collect();
    let problem = Problem::usage(format!("no filter is called {field:?}"));
    problem.hint("filters are type, tags and capabilities").into()
}

/// `POST /search`.
pub(super) async fn search(
    State(app): State<App>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let time = app.settings.body_timeout;
    let asked: ArdSearch = request::json(&headers, body, SEARCH_BYTES_MAX, time).await?;
    let limit = request::page_limit(asked.page_size, 10, PAGE_MAX)?;
    let skip = offset(asked.page_token.as_deref())?;
    let body = asked.body(limit, skip)?;
    let query = body.query()?;
    let found = match body.federated {
        true => federation::search(&app, &body).await?,
        false => search::here(&app, &body, &query).await?,
    };
    let more = found.hits.len() == limit as usize && skip + limit <= 10_000;
    let types = asked.query.filter.get("type").map(OneOrMany::list).unwrap_or_default();
    let public = &app.settings.public_url;
    let results = found.hits.iter().map(|hit| ArdResult {
        entry: entry(&app, &hit.entity),
        // In 0–100 by the clamp.
        score: (hit.score.total * 100.0).clamp(0.0, 100.0) as u8,
        source: match hit.origin.as_str() {
            "local" => public.clone(),
            origin if origin.contains("://") => origin.to_owned(),
            node_id => format!("urn:homing:node:{node_id}"),
        },
    });
    let results = results.filter(|r| types.is_empty() || types.contains(&r.entry.kind)).collect();
    let refer = asked.federation == ArdFederation::Referrals;
    let referrals = app.settings.peers.iter().filter(|_| refer).map(|url| ArdReferral {
        identifier: format!("urn:air:{}:registry:search", url.host_str().unwrap_or("homing")),
        display_name: url.to_string(),
        kind: REGISTRY_TYPE,
        url: format!("{}/search", url.as_str().trim_end_matches('/')),
    });
    let page_token = more.then(|| token(skip + limit));
    Ok(uncached(&ArdResults { results, referrals: referrals.collect(), page_token }))
}

/// Parameters of `GET /agents`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AgentsParams {
    filter: Option<String>,
    order_by: Option<String>,
    page_size: Option<i64>,
    page_token: Option<String>,
}

/// A page of the catalogue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArdPage {
    /// In the order of registration.
    items: Vec<CatalogEntry>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_token: Option<String>,
}

/// `GET /agents`.
pub(super) async fn agents(
    State(app): State<App>,
    Params(params): Params<AgentsParams>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.page_size, PAGE_DEFAULT, PAGE_MAX)?;
    let cursor = request::cursor(params.page_token.as_deref())?;
    if let Some(order) = params.order_by.as_deref().filter(|o| *o != "createdAt") {
        let order: String = order.chars().take(64).collect();
        let problem = Problem::usage(format!("the catalogue is not ordered by {order:?}"));
        return Err(problem.hint("its order is createdAt").into());
    }
    let (filter, kind) = filter(params.filter.as_deref())?;
    let now = clock::now();
    let page = app.storage.page(now, &filter, cursor.as_ref(), limit).await;
    let page = page.map_err(Box::<Problem>::from)?;
    let entries = page.items.iter().map(|e| entry(&app, &EntityView::of(e, now)));
    Ok(uncached(&ArdPage {
        items: entries.filter(|e| kind.as_ref().is_none_or(|k| *k == e.kind)).collect(),
        page_token: page.next.as_ref().map(request::cursor_text),
    }))
}

/// `field = 'value'` terms joined by `AND`; fields are `type`, `tags`, `capabilities`.
fn filter(text: Option<&str>) -> Outcome<(Filter, Option<String>)> {
    let (mut filter, mut kind) = (Filter::default(), None);
    let terms = text.map(|t| t.split(" AND ").collect::<Vec<_>>()).unwrap_or_default();
    for term in terms {
        let parsed = term.split_once('=').and_then(|(field, value)| {
            let value = value.trim();
            let value = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''))?;
            Some((field.trim(), value.to_owned()))
        });
        let Some((field, value)) = parsed else {
            return Err(Problem::usage("the filter cannot be read")
                .hint("terms are written field = 'value' and joined by AND")
                .into());
        };
        match field {
            "type" => kind = Some(value),
            "tags" => filter.tags.push(value.to_lowercase()),
            "capabilities" => filter.skills.push(value.to_lowercase()),
            _ => return Err(unknown_field(field)),
        }
    }
    request::check_words(&filter.tags)?;
    request::check_words(&filter.skills)?;
    Ok((filter, kind))
}
