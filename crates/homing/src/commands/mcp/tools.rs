//! The tools of `mcp serve`: one per operation of the local API, with its JSON as structured content.
//!
//! Arguments are checked by their types before the daemon sees them; what they mean, the daemon checks.

use std::path::Path;
use std::time::Duration;

use homing_api::exposures::{ExposeRequest, Exposed, Target, UnexposeRequest};
use homing_api::find::FindRequest;
use homing_api::trust::{ApproveRequest, HandshakeRequest};
use homing_api::{ApiError, Client, Code};
use homing_base::Service;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::Deserialize;

use super::serve::{Agent, answer};

/// For operations that ask a peer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    /// Name, address (fd…) or node ID of the peer
    peer: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaybePeer {
    /// Only this peer: name, address or node ID
    peer: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Find {
    /// What the agent does, in words
    query: String,
    /// It has all of these tags
    tags: Vec<String>,
    /// It has all of these skills
    skills: Vec<String>,
    /// It speaks one of these, such as mcp or a2a
    protocols: Vec<String>,
    /// Hits at most, 1 to 100 [default: 20]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Handshake {
    /// Name, address or node ID of the peer
    peer: String,
    /// Why, for its owner to read
    reason: Option<String>,
    /// What the peer may use here: services and ports; left out: all
    services: Option<Vec<String>>,
    /// For how many seconds; left out: until revoked
    lifetime_s: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    /// Name, address or node ID of the peer that asked
    peer: String,
    /// What it may use here: services and ports; left out: what it asked for
    services: Option<Vec<String>>,
    /// For how many seconds; left out: as asked for
    lifetime_s: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expose {
    /// A port, HOST:PORT, a URL, unix:/PATH or the absolute path of a directory
    target: String,
    /// What peers call it; left out: the port, or what the path is called
    name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unexpose {
    /// The service
    name: String,
}

#[tool_router(router = reading, vis = "pub(super)")]
impl Agent {
    #[tool(
        description = "Who and where this agent is: address, name, node ID, relays, services, health",
        annotations(title = "This agent", read_only_hint = true, open_world_hint = false)
    )]
    async fn info(&self) -> CallToolResult {
        answer(self.client.info().await)
    }

    #[tool(
        description = "The peers of this agent: path, round trip, trust, traffic, and why a path is relayed",
        annotations(title = "Peers", read_only_hint = true, open_world_hint = false)
    )]
    async fn status(&self, Parameters(of): Parameters<MaybePeer>) -> CallToolResult {
        answer(self.client.status(of.peer.as_deref()).await)
    }

    #[tool(
        description = "The current, signed record of a peer and how it was found",
        annotations(title = "Resolve a peer", read_only_hint = true, open_world_hint = true)
    )]
    async fn resolve(&self, Parameters(of): Parameters<Peer>) -> CallToolResult {
        answer(self.client.resolve(&of.peer, TIMEOUT).await)
    }

    #[tool(
        description = "Agents by what they do, from registries and neighbours; every record was verified",
        annotations(title = "Find agents", read_only_hint = true, open_world_hint = true)
    )]
    async fn find(&self, Parameters(what): Parameters<Find>) -> CallToolResult {
        let request = FindRequest {
            query: what.query,
            tags: what.tags,
            skills: what.skills,
            protocols: what.protocols,
            limit: what.limit,
            timeout_ms: None,
        };
        answer(self.client.find(&request).await)
    }

    #[tool(
        description = "One round trip to a trusted peer",
        annotations(title = "Ping a peer", read_only_hint = true, open_world_hint = true)
    )]
    async fn ping(&self, Parameters(of): Parameters<Peer>) -> CallToolResult {
        answer(self.client.ping(&of.peer, TIMEOUT).await)
    }

    #[tool(
        description = "Requests for trust that wait for a decision",
        annotations(title = "Pending requests", read_only_hint = true, open_world_hint = false)
    )]
    async fn pending(&self) -> CallToolResult {
        answer(self.client.pending().await)
    }

    #[tool(
        description = "Whom this agent trusts and who trusts it, and for which services",
        annotations(title = "Trust", read_only_hint = true, open_world_hint = false)
    )]
    async fn trust(&self) -> CallToolResult {
        answer(self.client.trust_list().await)
    }

    #[tool(
        description = "What the network does to this agent: NAT, relays, and the path with one peer",
        annotations(title = "Network check", read_only_hint = true, open_world_hint = true)
    )]
    async fn netcheck(&self, Parameters(of): Parameters<MaybePeer>) -> CallToolResult {
        answer(self.client.netcheck(of.peer.as_deref()).await)
    }

    #[tool(
        description = "What this agent exposes to trusted peers",
        annotations(title = "Services", read_only_hint = true, open_world_hint = false)
    )]
    async fn services(&self) -> CallToolResult {
        answer(self.client.services().await)
    }

    #[tool(
        description = "What is wrong with this agent, if anything, and what to try",
        annotations(title = "Doctor", read_only_hint = true, open_world_hint = false)
    )]
    async fn doctor(&self) -> CallToolResult {
        answer(self.client.doctor().await)
    }
}

#[tool_router(router = writing, vis = "pub(super)")]
impl Agent {
    #[tool(
        description = "Ask a peer for trust and give it ours; its owner decides. The peer may then use the services given here",
        annotations(
            title = "Ask for trust",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn handshake(&self, Parameters(what): Parameters<Handshake>) -> CallToolResult {
        let services = match services(what.services) {
            Ok(services) => services,
            Err(error) => return answer::<()>(Err(error)),
        };
        let request = HandshakeRequest {
            peer: what.peer,
            reason: what.reason,
            services,
            lifetime_s: what.lifetime_s,
        };
        answer(self.client.handshake(&request).await)
    }

    #[tool(
        description = "Let a peer in that asked for trust. Ask the user before: it may then use this agent's services",
        annotations(
            title = "Approve a request",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn approve(&self, Parameters(what): Parameters<Approve>) -> CallToolResult {
        let services = match services(what.services) {
            Ok(services) => services,
            Err(error) => return answer::<()>(Err(error)),
        };
        let request = ApproveRequest { peer: what.peer, services, lifetime_s: what.lifetime_s };
        answer(self.client.approve(&request).await)
    }

    #[tool(
        description = "Turn down a request for trust",
        annotations(
            title = "Reject a request",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn reject(&self, Parameters(of): Parameters<Peer>) -> CallToolResult {
        answer(self.client.reject(&of.peer).await)
    }

    #[tool(
        description = "Take trust back from a peer; its live streams close at once",
        annotations(
            title = "Revoke trust",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn revoke(&self, Parameters(of): Parameters<Peer>) -> CallToolResult {
        answer(self.client.revoke(&of.peer).await)
    }

    #[tool(
        description = "Offer a program of this machine to trusted peers, across restarts. Ask the user before",
        annotations(
            title = "Expose a service",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn expose(&self, Parameters(what): Parameters<Expose>) -> CallToolResult {
        answer(expose(&self.client, what).await)
    }

    #[tool(
        description = "Offer a service no longer; its streams end",
        annotations(
            title = "Stop exposing",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = true
        )
    )]
    async fn unexpose(&self, Parameters(what): Parameters<Unexpose>) -> CallToolResult {
        let rm = async |name| self.client.unexpose(&UnexposeRequest { name }).await;
        match service(&what.name) {
            Ok(name) => answer(rm(name).await),
            Err(error) => answer::<()>(Err(error)),
        }
    }
}

/// Commands are for people: a model may not choose what peers run here.
async fn expose(client: &Client, what: Expose) -> Result<Exposed, ApiError> {
    let target = Target::parse(&what.target, Path::new("/"))?;
    if matches!(target, Target::Unix { .. } | Target::Directory { .. }) {
        let path = what.target.strip_prefix("unix:").unwrap_or(&what.target);
        if !path.starts_with('/') {
            return Err(ApiError::new(Code::Usage, format!("{path} is not absolute")));
        }
    }
    target.check()?;
    let request = ExposeRequest::new(target);
    let request = match what.name {
        Some(name) => request.named(service(&name)?),
        None => request,
    };
    client.expose(&request).await
}

fn service(text: &str) -> Result<Service, ApiError> {
    text.parse().map_err(|e: homing_base::name::LabelError| {
        ApiError::new(Code::Usage, format!("{text:?} is no service")).why(e.to_string())
    })
}

fn services(texts: Option<Vec<String>>) -> Result<Option<Vec<Service>>, ApiError> {
    texts.map(|texts| texts.iter().map(|text| service(text)).collect()).transpose()
}
