//! `status`, `ping`, `resolve`, `peers`, aliases.

use std::collections::BTreeSet;
use std::time::Duration;

use homing_api::agent::Done;
use homing_api::cards::CardFacts;
use homing_api::peers::{
    AddPeerRequest, AliasEntry, AliasKind, AliasRequest, Aliases, LayerTime, Path, PathKind,
    PeerStatus, PingRequest, Pong, Resolution, ResolveRequest, Status,
};
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::{Address, Name, NodeId};
use homing_core::io::{Layer, LinkId, Resolution as Resolved, TrustState};
use homing_core::view::{DhtView, PeerView};
use homing_core::{Answer, Command};

use super::{explained, millis, status_of, view_of};
use crate::config::keys::nearest;
use crate::config::peer_hint;
use crate::events::summary;
use crate::node::{Node, peer_ref, unexpected};
use crate::paths;

/// The longest that a request may make a caller wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

impl Node {
    /// The peers of this agent, or one of them.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`.
    pub async fn status(&self, peer: Option<&str>) -> Result<Status, ApiError> {
        let views = match peer {
            Some(peer) => vec![self.view(peer).await?],
            None => self.views().await?,
        };
        let (now, shared) = (self.now(), &self.shared);
        let in_table: BTreeSet<NodeId> =
            self.query(move |agent| agent.dht_view(now).map(ids)).await?.unwrap_or_default();
        let status = |view: &PeerView| PeerStatus {
            dht: in_table.contains(&view.node_id),
            ..status_of(shared, view, now)
        };
        Ok(Status {
            schema: Schema::new(),
            agent: self.myself(),
            online: shared.transport.facts().online,
            peers: views.iter().map(status).collect(),
            health: self.health(),
            tun: shared.tun.as_ref().map(|tun| tun.facts()),
        })
    }

    /// One round trip to a trusted peer.
    ///
    /// # Errors
    /// `peer_not_trusted`, `trust_expired`, `peer_offline`, `no_route`, `not_found`, `timeout`.
    pub async fn ping(&self, request: PingRequest) -> Result<Pong, ApiError> {
        let timeout = within(request.timeout_ms)?;
        let command = Command::Ping { peer: peer_ref(&request.peer)?, timeout };
        match self.command(&request.peer, command).await? {
            Answer::Pinged { peer, rtt, link } => Ok(Pong {
                schema: Schema::new(),
                peer: self.summary(peer).await?,
                rtt_ms: millis(rtt),
                path: self.path_of(peer, link).await?,
            }),
            other => Err(unexpected(&other)),
        }
    }

    async fn path_of(&self, peer: NodeId, link: LinkId) -> Result<Path, ApiError> {
        let offline = Path::new(PathKind::Connecting, None);
        let path = self.shared.transport.path(link).map_or(offline, |view| paths::of_view(&view));
        let now = self.now();
        let view = self.query(move |agent| view_of(agent, peer, now)).await?;
        Ok(match view {
            Some(view) => explained(&self.shared, &view, now, path),
            None => path,
        })
    }

    /// The current, proven record of an agent.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`, `name_taken`, `timeout`.
    pub async fn resolve(&self, request: ResolveRequest) -> Result<Resolution, ApiError> {
        let timeout = within(request.timeout_ms)?;
        let command = Command::Resolve { peer: peer_ref(&request.what)?, timeout };
        match self.command(&request.what, command).await? {
            Answer::Resolved(resolved) => self.resolution(&resolved).await,
            other => Err(unexpected(&other)),
        }
    }

    async fn resolution(&self, resolved: &Resolved) -> Result<Resolution, ApiError> {
        let record = &resolved.record;
        let mut peer = self.summary(record.node_id()).await?;
        peer.name = peer.name.or_else(|| record.name.clone());
        let answered_by = match resolved.from {
            Some(neighbour) => Some(self.summary(neighbour).await?),
            None => None,
        };
        let spent = resolved.spent.iter().map(|(layer, elapsed)| LayerTime {
            layer: layer_name(*layer).to_owned(),
            elapsed_ms: millis(*elapsed),
        });
        Ok(Resolution {
            schema: Schema::new(),
            peer,
            public_key: record.public_key,
            instance: record.instance,
            sequence: record.sequence.0,
            issued: Stamp(record.issued),
            expires: Stamp(record.expires),
            relays: record.relays.clone(),
            direct: record.direct.clone(),
            services: record.services.clone(),
            layer: layer_name(resolved.layer).to_owned(),
            answered_by,
            age_ms: u64::try_from(resolved.age.as_millis()).unwrap_or(u64::MAX),
            spent: spent.collect(),
            card: record.card.as_ref().map(|card| CardFacts {
                url: card.url.clone(),
                sha256: data_encoding::HEXLOWER.encode(&card.sha256),
            }),
            replicas: resolved.replicas,
        })
    }

    /// Joins through one more peer.
    ///
    /// # Errors
    /// `usage` when the text is neither ticket nor place.
    pub async fn add_peer(&self, request: AddPeerRequest) -> Result<Done, ApiError> {
        let text = request.peer.trim().to_owned();
        // A host name is looked up, which blocks.
        let parsed = tokio::task::spawn_blocking(move || peer_hint(&text)).await;
        let hint = parsed.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
        let hint = hint.map_err(|why| {
            ApiError::new(Code::Usage, "that is neither a ticket nor a place to dial")
                .why(why)
                .hint("a ticket from homing info --ticket, or ADDRESS@HOST:PORT")
        })?;
        self.done("the peer", Command::AddPeer(hint)).await
    }

    /// What names mean here: aliases, pins and the names of trusted peers.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn aliases(&self) -> Result<Aliases, ApiError> {
        let now = self.now();
        let names = self
            .query(move |agent| {
                let mut names = Vec::new();
                let mut note = |name: Name, peer: NodeId, kind| {
                    let taken = names.iter().any(|entry: &AliasEntry| entry.name == name);
                    if !taken {
                        names.push(AliasEntry { name, peer: summary(agent, peer, now), kind });
                    }
                };
                agent.aliases().into_iter().for_each(|(n, p)| note(n, p, AliasKind::Alias));
                for view in agent.peers(now) {
                    if let (TrustState::Mutual, Some(name)) = (view.trust.state, view.name) {
                        note(name, view.node_id, AliasKind::Claim);
                    }
                }
                agent.pins().into_iter().for_each(|(n, p)| note(n, p, AliasKind::Pin));
                names
            })
            .await?;
        Ok(Aliases { schema: Schema::new(), names })
    }

    /// `error` about `what`, with the known name that was probably meant.
    pub(crate) async fn with_nearest_name(
        &self,
        what: &str,
        error: ApiError,
    ) -> Result<ApiError, ApiError> {
        let now = self.now();
        let names = self
            .query(move |agent| {
                let claimed = agent.peers(now).into_iter().filter_map(|view| view.name);
                let given = agent.aliases().into_iter().map(|(name, _)| name);
                given.chain(claimed).collect::<Vec<Name>>()
            })
            .await?;
        let nearest = nearest(what, names.iter().map(Name::as_str));
        Ok(match nearest.filter(|name| *name != what) {
            Some(name) => error.hint(format!("did you mean {name}?")),
            None => error,
        })
    }

    /// Calls a peer by a local name, or stops doing so.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`.
    pub async fn set_alias(&self, request: AliasRequest) -> Result<Done, ApiError> {
        let AliasRequest { name, peer } = request;
        let what = peer.clone().unwrap_or_else(|| name.to_string());
        let peer = peer.as_deref().map(peer_ref).transpose()?;
        self.done(&what, Command::Alias { name, peer }).await
    }

    pub(super) async fn done(&self, what: &str, command: Command) -> Result<Done, ApiError> {
        match self.command(what, command).await? {
            Answer::Done { changed } => Ok(Done { schema: Schema::new(), changed }),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn myself(&self) -> homing_api::peers::PeerSummary {
        let node_id = self.node_id();
        let name = self.shared.config.name.clone();
        homing_api::peers::PeerSummary { name, address: Address::of(&node_id), node_id }
    }
}

pub(super) fn within(timeout_ms: u64) -> Result<Duration, ApiError> {
    match Duration::from_millis(timeout_ms) {
        Duration::ZERO => Err(ApiError::new(Code::Usage, "a timeout is longer than nothing")),
        timeout if timeout > TIMEOUT_MAX => Err(ApiError::new(
            Code::Usage,
            format!("a timeout is at most {} ms", TIMEOUT_MAX.as_millis()),
        )),
        timeout => Ok(timeout),
    }
}

/// Everybody in the routing table.
fn ids(view: DhtView) -> BTreeSet<NodeId> {
    view.contacts.iter().map(|entry| entry.contact.id).collect()
}

pub(super) fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Local => "local",
        Layer::Neighbours => "neighbours",
        Layer::Gossip => "gossip",
        Layer::Dht => "dht",
    }
}
