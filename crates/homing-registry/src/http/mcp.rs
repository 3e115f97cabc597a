//! The read side of the MCP registry API v0.1: `GET /v0.1/servers` and its versions.
//!
//! A server is an entity that speaks MCP at a public URL. Its name is `homing.<node ID>/<name>`: the part before the slash is
//! the identity, so that no two agents can have one name. Its version is the record's sequence, `0.0.<sequence>`; the list
//! has the newest. Of older ones the history keeps the records, not their cards: those that name the present card are
//! served as versions. Source: modelcontextprotocol/registry, `docs/reference/api/openapi.yaml` of 2025-12-01.

use axum::extract::State;
use axum::response::Response;
use homing_base::{NodeId, Record, Wall};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entities::uncached;
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Params, Segments};
use super::views::time;
use super::{App, clock};
use crate::entity::{Entity, Status};
use crate::limits::{HISTORY_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::storage::{Filter, Version};

/// A list of servers.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerList {
    /// Servers.
    servers: Vec<ServerResponse>,
    /// Where the next page begins.
    metadata: ServerListMetadata,
}

/// About a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerListMetadata {
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Servers on this page.
    count: u64,
}

/// One server, and what the registry knows about it.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerResponse {
    /// The server.
    server: ServerDetail,
    /// What the registry knows.
    #[serde(rename = "_meta")]
    meta: ServerMeta,
}

/// One server.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerDetail {
    /// The format.
    #[serde(rename = "$schema")]
    schema: &'static str,
    /// `homing.<node ID>/<name>`.
    name: String,
    /// For people.
    description: String,
    /// For people.
    title: String,
    /// `0.0.<sequence>`.
    version: String,
    /// Where it is served.
    remotes: Vec<ServerRemote>,
}

/// Where a server is served.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerRemote {
    /// `streamable-http`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its URL.
    url: String,
}

/// What the registry knows.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerMeta {
    /// In the words of the official registry.
    #[serde(rename = "io.modelcontextprotocol.registry/official")]
    official: OfficialMeta,
    /// In ours.
    #[serde(rename = "dev.homing/entity")]
    entity: EntityMeta,
}

/// In the words of the official registry.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfficialMeta {
    /// `active` or `deleted`.
    status: &'static str,
    /// When its first record came here.
    #[schema(format = DateTime)]
    published_at: String,
    /// When this record came here.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Whether nothing newer is known.
    is_latest: bool,
}

/// By which it can be verified and dialled.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntityMeta {
    /// Who.
    node_id: String,
    /// The signed record, base64url.
    record: String,
}

const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";

fn server(entity: &Entity) -> Option<ServerResponse> {
    described(entity, true)
}

/// An older version, if its record says what the present one says of name and card.
fn older(entity: &Entity, version: &Version) -> Option<ServerResponse> {
    let (present, past) = (&entity.record, &version.record);
    let card = |record: &Record| record.card.as_ref().map(|card| card.sha256);
    let same = present.name == past.name && card(present) == card(past) && !past.is_withdrawn();
    let then = Entity { record: past.clone(), updated: version.received, ..entity.clone() };
    same.then(|| described(&then, false)).flatten()
}

fn described(entity: &Entity, is_latest: bool) -> Option<ServerResponse> {
    let url = entity.listing.service_url.clone()?;
    if !entity.listing.protocols.iter().any(|p| p == "mcp") {
        return None;
    }
    let id = entity.node_id();
    let short = entity.record.name.as_ref().map_or("agent".to_owned(), ToString::to_string);
    let cut = |text: &str| text.chars().take(100).collect::<String>();
    let title = match entity.listing.title.as_str() {
        "" => short.clone(),
        title => cut(title),
    };
    let description = match entity.listing.summary.as_str() {
        "" => title.clone(),
        summary => cut(summary),
    };
    Some(ServerResponse {
        server: ServerDetail {
            schema: SCHEMA,
            name: format!("homing.{id}/{short}"),
            description,
            title,
            version: version(entity),
            remotes: vec![ServerRemote { kind: "streamable-http", url }],
        },
        meta: ServerMeta {
            official: OfficialMeta {
                status: if entity.record.is_withdrawn() { "deleted" } else { "active" },
                published_at: time(entity.registered),
                updated_at: time(entity.updated),
                is_latest,
            },
            entity: EntityMeta {
                node_id: id.to_string(),
                record: data_encoding::BASE64URL_NOPAD.encode(entity.record.bytes()),
            },
        },
    })
}

fn version(entity: &Entity) -> String {
    format!("0.0.{}", entity.record.sequence.0)
}

/// Parameters of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServersParams {
    cursor: Option<String>,
    limit: Option<i64>,
    search: Option<String>,
    updated_since: Option<String>,
    version: Option<String>,
    // Part of the format; withdrawn agents have no server to list, so both values mean the same.
    #[serde(default)]
    #[allow(dead_code)]
    include_deleted: bool,
}

/// `GET /v0.1/servers`.
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ServersParams>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.limit, PAGE_DEFAULT, PAGE_MAX)?;
    let cursor = request::cursor(params.cursor.as_deref())?;
    let since = params.updated_since.as_deref().map(str::parse::<Wall>).transpose();
    let since = since.map_err(|e| Problem::usage("updated_since is no time").why(e.to_string()))?;
    let now = clock::now();
    let filter = Filter { protocols: vec!["mcp".into()], ..Filter::default() };
    let page = app.storage.page(now, &filter, cursor.as_ref(), limit).await;
    let page = page.map_err(Box::<Problem>::from)?;
    let wanted = |s: &ServerResponse| {
        let name = params.search.as_ref().is_none_or(|text| s.server.name.contains(text.as_str()));
        let version = params.version.as_ref();
        name && version.is_none_or(|v| v == "latest" || *v == s.server.version)
    };
    let fresh = page.items.iter().filter(|e| since.is_none_or(|at| e.updated >= at));
    let servers: Vec<_> = fresh.filter_map(server).filter(wanted).collect();
    let count = servers.len() as u64;
    let next_cursor = page.next.as_ref().map(request::cursor_text);
    Ok(uncached(&ServerList { servers, metadata: ServerListMetadata { next_cursor, count } }))
}

/// Parameters of one server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerParams {
    #[serde(default)]
    #[allow(dead_code)]
    include_deleted: bool,
}

/// The server of a name, `homing.<node ID>/<name>`.
async fn named(app: &App, name: &str) -> Outcome<(Entity, ServerResponse)> {
    let shown: String = name.chars().take(160).collect();
    let missing = || Box::new(Problem::not_found(&shown).hint("names are those of /v0.1/servers"));
    let id = name.strip_prefix("homing.").and_then(|rest| rest.split_once('/'));
    let id: NodeId = id.and_then(|(id, _)| id.parse().ok()).ok_or_else(missing)?;
    let entity = app.storage.entity(&id).await?.ok_or_else(missing)?;
    let alive = matches!(entity.status(clock::now()), Status::Active | Status::Inactive);
    let server = server(&entity).filter(|s| alive && s.server.name == name);
    server.map(|s| (entity, s)).ok_or_else(missing)
}

/// Its versions, newest first, at most [`HISTORY_MAX`].
async fn all_versions(app: &App, name: &str) -> Outcome<Vec<ServerResponse>> {
    let (entity, newest) = named(app, name).await?;
    let history = app.storage.history(&entity.node_id(), None, HISTORY_MAX).await?;
    let before = |version: &&Version| version.record.sequence < entity.record.sequence;
    let past = history.items.iter().filter(before).filter_map(|version| older(&entity, version));
    Ok(std::iter::once(newest).chain(past).collect())
}

/// `GET /v0.1/servers/{name}/versions`.
pub(super) async fn versions(
    State(app): State<App>,
    Params(_): Params<ServerParams>,
    Segments(name): Segments<String>,
) -> Result<Response, Refusal> {
    let servers = all_versions(&app, &name).await?;
    let metadata = ServerListMetadata { next_cursor: None, count: servers.len() as u64 };
    Ok(uncached(&ServerList { servers, metadata }))
}

/// `GET /v0.1/servers/{name}/versions/{version}`.
pub(super) async fn one_version(
    State(app): State<App>,
    Params(_): Params<ServerParams>,
    Segments((name, asked)): Segments<(String, String)>,
) -> Result<Response, Refusal> {
    if asked == "latest" {
        return Ok(uncached(&named(&app, &name).await?.1));
    }
    let versions = all_versions(&app, &name).await?;
    let found = versions.into_iter().find(|s| s.server.version == asked);
    let missing = || Problem::not_found(&name).hint("its versions are those of …/versions");
    Ok(uncached(&found.ok_or_else(missing)?))
}
