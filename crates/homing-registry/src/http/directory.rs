//! What a registry says about itself and about words: categories, tags, names, the network, info.

use axum::extract::State;
use axum::response::Response;
use homing_base::Address;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entities::uncached;
use super::problem::{Candidate, Problem, Refusal};
use super::request::{self, Nothing, Params, Segments};
use super::{App, clock, lookup};
use crate::entity::EntityKey;
use crate::network::NetworkPeer;
use crate::storage::Count;

/// Words on one list.
const WORDS_DEFAULT: u32 = 100;
/// Words on one list at most.
const WORDS_MAX: u32 = 1_000;

/// Parameters of lists of words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WordsParams {
    limit: Option<i64>,
}

/// Words and how many active entities have them, most frequent first.
#[derive(Serialize, ToSchema)]
#[schema(title = "Words")]
pub(super) struct WordsView {
    /// `homing.words/v1`.
    schema: &'static str,
    /// Most frequent first.
    items: Vec<WordView>,
}

/// One word.
#[derive(Serialize, ToSchema)]
#[schema(title = "Word")]
pub(super) struct WordView {
    /// The word.
    name: String,
    /// Active entities with it.
    count: u64,
}

fn words(items: Vec<Count>) -> Response {
    let items = items.into_iter().map(|c| WordView { name: c.name, count: c.count }).collect();
    uncached(&WordsView { schema: "homing.words/v1", items })
}

/// `GET /v1/categories`.
pub(super) async fn categories(
    State(app): State<App>,
    Params(params): Params<WordsParams>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.limit, WORDS_DEFAULT, WORDS_MAX)?;
    let items = app.storage.categories(clock::now(), limit).await;
    Ok(words(items.map_err(Box::<Problem>::from)?))
}

/// `GET /v1/tags`.
pub(super) async fn tags(
    State(app): State<App>,
    Params(params): Params<WordsParams>,
) -> Result<Response, Refusal> {
    let limit = request::page_limit(params.limit, WORDS_DEFAULT, WORDS_MAX)?;
    let items = app.storage.tags(clock::now(), limit).await;
    Ok(words(items.map_err(Box::<Problem>::from)?))
}

/// Who claims a name.
#[derive(Serialize, ToSchema)]
#[schema(title = "Name")]
pub(super) struct NameView {
    /// `homing.name/v1`.
    schema: &'static str,
    /// The name.
    name: String,
    /// Whether nobody claims it here. No promise: a name is a claim, and anybody may make it.
    available: bool,
    /// Agents whose valid records claim it, oldest registration first, at most 32.
    claimants: Vec<Candidate>,
}

/// `GET /v1/names/{name}`.
pub(super) async fn name(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(text): Segments<String>,
) -> Result<Response, Refusal> {
    let EntityKey::Name(name) = lookup::key(&text)? else {
        return Err(Problem::usage("this is a node ID or an address, not a name").into());
    };
    let entities = app.storage.by_name(clock::now(), &name).await.map_err(Box::<Problem>::from)?;
    Ok(uncached(&NameView {
        schema: "homing.name/v1",
        name: name.to_string(),
        available: entities.is_empty(),
        claimants: entities.iter().map(lookup::candidate).collect(),
    }))
}

/// The node whose role this registry is.
#[derive(Serialize, ToSchema)]
#[schema(title = "NetworkStatus")]
pub(super) struct NetworkStatusView {
    /// `homing.network/v1`.
    schema: &'static str,
    /// The registry's node.
    node_id: String,
    /// Its address.
    address: String,
    /// Whether it has peers.
    connected: bool,
    /// Connected peers.
    peers: u64,
    /// Registries that federated searches ask.
    registries: u64,
}

/// `GET /v1/network/status`.
pub(super) async fn network_status(
    State(app): State<App>,
    _: Params<Nothing>,
) -> Result<Response, Refusal> {
    let id = app.network.node_id();
    let peers = app.network.stats().await.peers;
    let registries = app.network.registries().await.len() + app.settings.peers.len();
    Ok(uncached(&NetworkStatusView {
        schema: "homing.network/v1",
        node_id: id.to_string(),
        address: Address::of(&id).to_string(),
        connected: peers > 0,
        peers,
        registries: registries as u64,
    }))
}

/// Connected peers.
#[derive(Serialize, ToSchema)]
#[schema(title = "NetworkPeers")]
pub(super) struct NetworkPeersView {
    /// `homing.network_peers/v1`.
    schema: &'static str,
    /// At most 1,000.
    items: Vec<NetworkPeerView>,
}

/// One peer. Where it is, is not told to strangers.
#[derive(Serialize, ToSchema)]
#[schema(title = "NetworkPeer")]
pub(super) struct NetworkPeerView {
    /// Who.
    node_id: String,
    /// The name it claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// `relay`, `registry`, `dht`.
    roles: Vec<String>,
    /// `direct`, `relay` or `none`.
    path: String,
}

impl From<NetworkPeer> for NetworkPeerView {
    fn from(peer: NetworkPeer) -> Self {
        let NetworkPeer { node_id, name, roles, path } = peer;
        Self { node_id: node_id.to_string(), name, roles, path }
    }
}

/// `GET /v1/network/peers`.
pub(super) async fn network_peers(
    State(app): State<App>,
    _: Params<Nothing>,
) -> Result<Response, Refusal> {
    let peers = app.network.peers().await;
    let items = peers.into_iter().take(1_000).map(Into::into).collect();
    Ok(uncached(&NetworkPeersView { schema: "homing.network_peers/v1", items }))
}

/// Counts.
#[derive(Serialize, ToSchema)]
#[schema(title = "NetworkStats")]
pub(super) struct NetworkStatsView {
    /// `homing.network_stats/v1`.
    schema: &'static str,
    /// Active and inactive entities.
    entities: u64,
    /// Tombstones kept.
    withdrawn: u64,
    /// Cards kept.
    cards: u64,
    /// Changes so far.
    changes: u64,
    /// Pairs of records that contradict each other, kept as evidence.
    evidence: u64,
    /// Connected peers.
    peers: u64,
    /// Records that gossip brought.
    gossip_entries: u64,
    /// Contacts of the DHT table; absent: the DHT is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dht_contacts: Option<u64>,
    /// Values that the DHT keeps here; absent: the DHT is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dht_values: Option<u64>,
}

/// `GET /v1/network/stats`.
pub(super) async fn network_stats(
    State(app): State<App>,
    _: Params<Nothing>,
) -> Result<Response, Refusal> {
    let totals = app.storage.totals(clock::now()).await.map_err(Box::<Problem>::from)?;
    let stats = app.network.stats().await;
    Ok(uncached(&NetworkStatsView {
        schema: "homing.network_stats/v1",
        entities: totals.entities,
        withdrawn: totals.withdrawn,
        cards: totals.cards,
        changes: totals.changes,
        evidence: totals.evidence,
        peers: stats.peers,
        gossip_entries: stats.gossip_entries,
        dht_contacts: stats.dht_contacts,
        dht_values: stats.dht_values,
    }))
}

/// What this registry is.
#[derive(Serialize, ToSchema)]
#[schema(title = "Info")]
pub(super) struct InfoView {
    /// `homing.info/v1`.
    schema: &'static str,
    /// `homing`.
    name: &'static str,
    /// The program's version.
    version: &'static str,
    /// What its operator calls it.
    title: String,
    /// The registry's node.
    node_id: String,
    /// Its address.
    address: String,
    /// Where programs reach it.
    public_url: String,
    /// `open`: whoever signs may register.
    onboarding: &'static str,
    /// Interfaces that it offers.
    interfaces: [&'static str; 3],
}

/// `GET /v1/info`.
pub(super) async fn info(State(app): State<App>, _: Params<Nothing>) -> Result<Response, Refusal> {
    let id = app.network.node_id();
    Ok(uncached(&InfoView {
        schema: "homing.info/v1",
        name: "homing",
        version: env!("CARGO_PKG_VERSION"),
        title: app.settings.title.clone(),
        node_id: id.to_string(),
        address: Address::of(&id).to_string(),
        public_url: app.settings.public_url.clone(),
        onboarding: "open",
        interfaces: ["homing/v1", "ard/0.5", "mcp-registry/v0.1"],
    }))
}
