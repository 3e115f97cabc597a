//! Every operation: method, path, parameters, bodies, answers, handler. One thing: the table from which both the router
//! and `/openapi.json` are made.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::openapi::{self, SchemaOf, of};
use super::{
    App, ard, card, directory, entities, events, health, heartbeat, ipns, mcp, metrics, owners,
    page, search, views, witness,
};

/// One operation.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) detail: &'static str,
    pub(super) params: Vec<Param>,
    pub(super) body: Vec<(&'static str, SchemaOf)>,
    pub(super) answers: Vec<Answer>,
    more_problems: Vec<u16>,
    route: MethodRouter<App>,
}

/// One parameter.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    /// JSON.
    pub(super) schema: &'static str,
    pub(super) about: &'static str,
}

/// One answer that is no problem.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) content: Vec<(&'static str, SchemaOf)>,
}

const JSON: &str = "application/json";
const COSE: &str = entities::COSE;

impl Operation {
    fn new(method: Method, path: &'static str, id: &'static str, route: MethodRouter<App>) -> Self {
        let (tag, summary, detail) = ("", "", "");
        let (params, body, answers) = (Vec::new(), Vec::new(), Vec::new());
        let more_problems = Vec::new();
        Self { method, path, id, tag, summary, detail, params, body, answers, more_problems, route }
    }

    fn get(path: &'static str, id: &'static str, route: MethodRouter<App>) -> Self {
        Self::new(Method::GET, path, id, route)
    }

    fn about(mut self, tag: &'static str, summary: &'static str) -> Self {
        (self.tag, self.summary) = (tag, summary);
        self
    }

    fn detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    fn params(mut self, params: &[Param]) -> Self {
        self.params.extend_from_slice(params);
        self
    }

    fn takes(mut self, media: &'static str, schema: SchemaOf) -> Self {
        self.body.push((media, schema));
        self
    }

    fn answers(
        mut self,
        status: u16,
        about: &'static str,
        media: &'static str,
        schema: SchemaOf,
    ) -> Self {
        let content = vec![(media, schema)];
        self.answers.push(Answer { status, about, headers: Vec::new(), content });
        self
    }

    /// Another media type, or headers, of the last answer.
    fn or(mut self, media: &'static str, schema: SchemaOf) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.content.push((media, schema));
        }
        self
    }

    fn with(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.extend_from_slice(headers);
        }
        self
    }

    fn unchanged(mut self) -> Self {
        let about = "Nothing has changed since the ETag of If-None-Match";
        self.answers.push(Answer { status: 304, about, headers: Vec::new(), content: Vec::new() });
        self
    }

    fn refuses(mut self, statuses: &[u16]) -> Self {
        self.more_problems.extend_from_slice(statuses);
        self
    }

    /// Statuses of problems: those that every operation has, and its own.
    pub(super) fn problems(&self) -> Vec<u16> {
        let mut all = vec![400, 421, 429, 500, 503, 504];
        if !self.body.is_empty() {
            all.extend([408, 413, 415]);
        }
        all.extend(&self.more_problems);
        all.sort_unstable();
        all.dedup();
        all
    }
}

const fn query(name: &'static str, schema: &'static str, about: &'static str) -> Param {
    Param { name, place: "query", schema, about }
}

const fn segment(name: &'static str, about: &'static str) -> Param {
    Param {
        name,
        place: "path",
        schema: r#"{"type":"string","minLength":1,"maxLength":255}"#,
        about,
    }
}

const ID: Param = segment("id", "A node ID (64 hexadecimal digits), an address (fd…) or a name");
const OWN_ID: Param = segment("id", "The node ID or address of the identity that signed");
const NAME: Param = segment("name", "A name: a DNS label");
const IPNS_NAME: Param = segment("name", "An IPNS name: CIDv1 of an Ed25519 key, k51…");
const DELEGATION: Param = Param {
    name: "Homing-Delegation",
    place: "header",
    schema: r#"{"type":"string","maxLength":1400}"#,
    about: "The identity's delegation of the log's key, base64; needed once per log",
};
const LIMIT: Param = query(
    "limit",
    r#"{"type":"integer","minimum":1,"maximum":200}"#,
    "Items on the page; 50 unless given",
);
const WORDS: Param = query(
    "limit",
    r#"{"type":"integer","minimum":1,"maximum":1000}"#,
    "Words on the list; 100 unless given",
);
const CURSOR: Param =
    query("cursor", r#"{"type":"string","maxLength":400}"#, "The `next` of the page before");
const WORD_LIST: &str = r#"{"type":"string","minLength":1,"maxLength":1024}"#;
const FILTERS: [Param; 7] = [
    query(
        "category",
        r#"{"type":"string","minLength":1,"maxLength":128}"#,
        "Exactly this category",
    ),
    query("tags", WORD_LIST, "All of these tags, separated by commas"),
    query("skills", WORD_LIST, "All of these skills, separated by commas"),
    query("protocols", WORD_LIST, "One of these protocols, separated by commas"),
    query("type", r#"{"type":"string","enum":["agent","service"]}"#, "This kind"),
    query(
        "status",
        r#"{"type":"string","enum":["active","inactive","expired","withdrawn"]}"#,
        "This status; active and inactive ones unless given",
    ),
    query(
        "owner",
        r#"{"type":"string","pattern":"^[0-9a-f]{64}$"}"#,
        "Vouched for by this identity",
    ),
];
const DELETED: Param = query(
    "include_deleted",
    r#"{"type":"boolean"}"#,
    "Part of the format; withdrawn agents have no server",
);
const ETAG: (&str, &str) = ("ETag", "For If-None-Match");

/// The table.
pub(super) fn operations() -> Vec<Operation> {
    [entity_operations(), finding_operations(), registry_operations(), other_formats()].concat_all()
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Operation>;
}

impl<const N: usize> ConcatAll for [Vec<Operation>; N] {
    fn concat_all(self) -> Vec<Operation> {
        self.into_iter().flatten().collect()
    }
}

fn entity_operations() -> Vec<Operation> {
    let change = [409, 410, 422, 507];
    let entity: SchemaOf = of::<views::EntityView>;
    let body: SchemaOf = of::<entities::RegistrationBody>;
    vec![
        Operation::new(Method::POST, "/v1/entities", "register", post(entities::register))
            .about("entities", "Registers an agent, or renews it")
            .detail("The body is the record as its agent signed it. A card that comes along must have the SHA-256 that the record names. The answer comes after the record is durable.")
            .takes(COSE, openapi::bytes)
            .takes(JSON, body)
            .answers(201, "The first record of this identity", JSON, entity)
            .with(&[("Location", "Where the entity is"), ETAG])
            .answers(200, "It replaced an older one, or was there already", JSON, entity)
            .with(&[("Location", "Where the entity is"), ETAG])
            .refuses(&change),
        Operation::get("/v1/entities", "list", get(entities::list))
            .about("entities", "Lists agents in the order of registration")
            .params(&[LIMIT, CURSOR])
            .params(&FILTERS)
            .answers(200, "One page", JSON, of::<views::EntityPage>),
        Operation::get("/v1/entities/{id}", "read", get(entities::read))
            .about("entities", "Finds an agent")
            .detail("Asks this registry's tables, then neighbours, gossip and the DHT. With `Accept: application/cose` the answer is the signed record itself.")
            .params(&[
                ID,
                query("local", r#"{"type":"boolean"}"#, "Whether to leave the network alone"),
            ])
            .answers(200, "The agent", JSON, of::<views::FoundEntity>)
            .or(COSE, openapi::bytes)
            .with(&[
                ETAG,
                ("Cache-Control", "At most 5 s, and never past the record's expiry"),
                ("Homing-Layer", "The layer that had it"),
                ("Server-Timing", "Time spent in each layer that was asked"),
            ])
            .unchanged()
            .refuses(&[404, 406, 409, 410]),
        Operation::new(Method::PUT, "/v1/entities/{id}", "replace", put(entities::replace))
            .about("entities", "Renews an agent's record")
            .params(&[OWN_ID])
            .takes(COSE, openapi::bytes)
            .takes(JSON, body)
            .answers(201, "The first record of this identity", JSON, entity)
            .answers(200, "It replaced an older one, or was there already", JSON, entity)
            .refuses(&change),
        Operation::new(Method::DELETE, "/v1/entities/{id}", "withdraw", delete(entities::withdraw))
            .about("entities", "Withdraws an agent")
            .detail("The body is a record with the withdrawn flag and a higher sequence, signed by the agent.")
            .params(&[OWN_ID])
            .takes(COSE, openapi::bytes)
            .takes(JSON, body)
            .answers(201, "The agent was not known; its tombstone is kept", JSON, entity)
            .answers(200, "Withdrawn", JSON, entity)
            .refuses(&change),
        Operation::get("/v1/entities/{id}/card", "card", get(card::read))
            .about("entities", "The agent's card, byte for byte")
            .params(&[ID])
            .answers(200, "The card", JSON, openapi::object)
            .with(&[ETAG, ("Homing-Card-Signature", "verified, unsigned, invalid or unknown_key")])
            .unchanged()
            .refuses(&[404, 409, 410, 502]),
        Operation::get("/v1/entities/{id}/history", "history", get(entities::history))
            .about("entities", "Present and earlier records, newest first")
            .params(&[ID, LIMIT, CURSOR])
            .answers(200, "One page", JSON, of::<views::HistoryPage>)
            .refuses(&[404, 409]),
        Operation::new(Method::POST, "/v1/entities/{id}/heartbeat", "heartbeat", post(heartbeat::beat))
            .about("entities", "An agent says that it is alive")
            .detail("The body is a heartbeat signed by the agent, issued within 60 s of this registry's clock and later than the last one.")
            .params(&[OWN_ID])
            .takes(COSE, openapi::bytes)
            .answers(200, "Taken", JSON, of::<heartbeat::HeartbeatView>)
            .refuses(&[404, 409, 410, 422, 507]),
    ]
}

fn finding_operations() -> Vec<Operation> {
    let words: SchemaOf = of::<directory::WordsView>;
    vec![
        Operation::new(Method::POST, "/v1/search", "search", post(search::search))
            .about("finding", "Searches agents")
            .detail("With `federated`, other registries are asked in parallel; what they answer is verified here, and who did not answer in time is named.")
            .takes(JSON, of::<search::SearchBody>)
            .answers(200, "Best first", JSON, of::<search::HitsView>),
        Operation::get("/v1/categories", "categories", get(directory::categories))
            .about("finding", "Categories of active agents, most frequent first")
            .params(&[WORDS])
            .answers(200, "The list", JSON, words),
        Operation::get("/v1/tags", "tags", get(directory::tags))
            .about("finding", "Tags of active agents, most frequent first")
            .params(&[WORDS])
            .answers(200, "The list", JSON, words),
        Operation::get("/v1/names/{name}", "name", get(directory::name))
            .about("finding", "Who claims a name")
            .params(&[NAME])
            .answers(200, "Its claimants", JSON, of::<directory::NameView>),
        Operation::get("/v1/resolve/{owner}/{agent}", "resolve", get(owners::resolve))
            .about("finding", "The agent of that name for which that owner vouches")
            .params(&[
                segment("owner", "A node ID, an address, or the name of an identity"),
                segment("agent", "The agent's name"),
            ])
            .answers(200, "The agent and the proof", JSON, of::<owners::OwnedView>)
            .refuses(&[404, 409]),
        Operation::get("/v1/events", "events", get(events::stream))
            .about("finding", "What changes, as server-sent events")
            .detail("Resumes after `Last-Event-ID` or `after`. Events are registered, updated, withdrawn and expired; `gap` says that changes in between are no longer kept.")
            .params(&[query("after", r#"{"type":"integer","minimum":0}"#, "Continue after this number")])
            .answers(200, "A stream that does not end", "text/event-stream", openapi::text),
    ]
}

fn registry_operations() -> Vec<Operation> {
    let ok: SchemaOf = of::<health::HealthView>;
    vec![
        Operation::get("/v1/info", "info", get(directory::info))
            .about("registry", "What this registry is")
            .answers(200, "About it", JSON, of::<directory::InfoView>),
        Operation::get("/v1/network/status", "networkStatus", get(directory::network_status))
            .about("registry", "The node whose role this registry is")
            .answers(200, "Its state", JSON, of::<directory::NetworkStatusView>),
        Operation::get("/v1/network/peers", "networkPeers", get(directory::network_peers))
            .about("registry", "Connected peers")
            .answers(200, "The list", JSON, of::<directory::NetworkPeersView>),
        Operation::get("/v1/network/stats", "networkStats", get(directory::network_stats))
            .about("registry", "Counts")
            .answers(200, "Counts", JSON, of::<directory::NetworkStatsView>),
        Operation::get("/health", "health", get(health::ready))
            .about("registry", "Whether requests are welcome; the same as /healthz/ready")
            .answers(200, "They are", JSON, ok),
        Operation::get("/healthz/live", "live", get(health::live))
            .about("registry", "Whether the process answers")
            .answers(200, "It does", JSON, ok),
        Operation::get("/healthz/ready", "ready", get(health::ready))
            .about("registry", "Whether requests are welcome")
            .answers(200, "They are", JSON, ok),
        Operation::get("/metrics", "metrics", get(metrics::read))
            .about("registry", "Counters for Prometheus")
            .answers(200, "Text exposition format 0.0.4", "text/plain", openapi::text),
        Operation::get("/openapi.json", "openapi", get(openapi::read))
            .about("registry", "This description")
            .answers(200, "OpenAPI 3.1", JSON, openapi::object),
        Operation::get("/docs", "docs", get(page::html))
            .about("registry", "This description for people")
            .answers(200, "A page", "text/html", openapi::text),
        Operation::get("/docs/docs.js", "docsScript", get(page::script))
            .about("registry", "The page's script")
            .answers(200, "A script", "text/javascript", openapi::text),
        Operation::get("/docs/docs.css", "docsStyle", get(page::style))
            .about("registry", "The page's style")
            .answers(200, "A style sheet", "text/css", openapi::text),
    ]
}

fn other_formats() -> Vec<Operation> {
    let server = segment("name", "homing.<node ID>/<name>, the slash as %2F");
    let text = r#"{"type":"string","maxLength":512}"#;
    vec![
        Operation::get("/.well-known/ai-catalog.json", "aiCatalog", get(ard::catalog))
            .about("ARD", "The registry as an AI Catalog: itself, and its first 100 agents")
            .answers(200, "The catalogue", JSON, of::<ard::Catalog>),
        Operation::new(Method::POST, "/search", "ardSearch", post(ard::search))
            .about("ARD", "Searches agents")
            .takes(JSON, of::<ard::ArdSearch>)
            .answers(200, "Best first", JSON, of::<ard::ArdResults>),
        Operation::get("/agents", "ardAgents", get(ard::agents))
            .about("ARD", "Lists agents in the order of registration")
            .params(&[
                query(
                    "filter",
                    text,
                    "Terms field = 'value' joined by AND; fields are type, tags, capabilities",
                ),
                query("orderBy", r#"{"type":"string","enum":["createdAt"]}"#, "The order"),
                query(
                    "pageSize",
                    r#"{"type":"integer","minimum":1,"maximum":100}"#,
                    "Entries on the page; 20 unless given",
                ),
                query("pageToken", text, "The `pageToken` of the page before"),
            ])
            .answers(200, "One page", JSON, of::<ard::ArdPage>),
        Operation::get("/v0.1/servers", "mcpServers", get(mcp::list))
            .about("MCP registry", "Lists agents that speak MCP at a public URL")
            .params(&[
                CURSOR,
                LIMIT,
                query("search", text, "Part of the server's name"),
                query(
                    "updated_since",
                    r#"{"type":"string","format":"date-time"}"#,
                    "Not older than this",
                ),
                query("version", text, "`latest`, or exactly this version"),
                DELETED,
            ])
            .answers(200, "One page", JSON, of::<mcp::ServerList>),
        Operation::get("/v0.1/servers/{name}/versions", "mcpVersions", get(mcp::versions))
            .about(
                "MCP registry",
                "Versions of a server, newest first: those with the present card",
            )
            .params(&[server, DELETED])
            .answers(200, "The list", JSON, of::<mcp::ServerList>)
            .refuses(&[404]),
        Operation::get(
            "/v0.1/servers/{name}/versions/{version}",
            "mcpVersion",
            get(mcp::one_version),
        )
        .about("MCP registry", "One version of a server")
        .params(&[server, segment("version", "`latest`, or a version of the list"), DELETED])
        .answers(200, "The server", JSON, of::<mcp::ServerResponse>)
        .refuses(&[404]),
        Operation::get("/routing/v1/ipns/{name}", "ipnsRecord", get(ipns::read))
            .about("IPFS delegated routing", "The newest record of an IPNS name")
            .detail("Asks the node's references and the DHT. The answer is the signed record, verified here; verify it again against the name.")
            .params(&[IPNS_NAME])
            .answers(200, "The record", ipns::IPNS_RECORD, openapi::bytes)
            .with(&[
                ETAG,
                ("Cache-Control", "The record's TTL, never past its end"),
                ("Expires", "The record's end"),
            ])
            .unchanged()
            .refuses(&[404, 406]),
        Operation::new(Method::PUT, "/routing/v1/ipns/{name}", "putIpnsRecord", put(ipns::write))
            .about("IPFS delegated routing", "Takes the record of an IPNS name")
            .detail("Stored in the DHT. Only the key that the name contains can have signed it; an older record than the known one is refused.")
            .params(&[IPNS_NAME])
            .takes(ipns::IPNS_RECORD, openapi::bytes)
            .answers(200, "Taken", "text/plain", openapi::text)
            .refuses(&[406, 409]),
        Operation::new(Method::POST, "/add-checkpoint", "addCheckpoint", post(witness::add_checkpoint))
            .about("Audit logs", "Cosigns a checkpoint of a listed agent's audit log (C2SP tlog-witness)")
            .detail("The body is `old SIZE`, a consistency proof from there, an empty line, and the signed checkpoint. It is cosigned when it continues the one that was cosigned here before.")
            .params(&[DELEGATION])
            .takes("text/plain", openapi::text)
            .answers(200, "The signature line (cosignature/v1)", "text/plain", openapi::text)
            .answers(409, "Another size is held here: this one", witness::TREE_SIZE, openapi::text)
            .refuses(&[403, 404, 422]),
    ]
}

/// Every path template.
pub(super) fn paths() -> Vec<&'static str> {
    operations().iter().map(|o| o.path).collect()
}

/// The router of the table.
pub(super) fn router() -> Router<App> {
    operations().into_iter().fold(Router::new(), |router, o| router.route(o.path, o.route))
}
