//! One method per operation. Every error is as [`super`] says.

use std::time::Duration;

use hyper::Method;

use super::{
    Client, EventStream, RawStream, SocketStream, internal, percent_encode, read_body, read_error,
    with_query,
};
use crate::agent::{ConfigView, Done, Info, Version};
use crate::cards::{PublishCardRequest, PublishedCard};
use crate::dht::{DhtLookup, DhtLookupRequest, DhtPeers, DhtStats};
use crate::error::ApiError;
use crate::exposures::{ExposeRequest, Exposed, Services, UnexposeRequest};
use crate::find::{FindRequest, Found};
use crate::gossip::GossipStats;
use crate::network::{Doctor, Netcheck};
use crate::operations as op;
use crate::peers::{
    AddPeerRequest, AliasRequest, Aliases, PingRequest, Pong, Resolution, ResolveRequest, Status,
};
use crate::streams::{ListenRequest, StreamOutcome};
use crate::trust::{
    ApproveRequest, HandshakeRequest, PeerRequest, Pending, TrustChange, TrustList, TrustShow,
};

/// One method per operation; the paths are those of [`crate::operations`].
impl Client {
    /// Program and API version.
    ///
    /// # Errors
    /// See the module.
    pub async fn version(&self) -> Result<Version, ApiError> {
        self.fetch(op::VERSION).await
    }

    /// Who and where this agent is.
    ///
    /// # Errors
    /// See the module.
    pub async fn info(&self) -> Result<Info, ApiError> {
        self.fetch(op::INFO).await
    }

    /// The peers, or one of them.
    ///
    /// # Errors
    /// See the module.
    pub async fn status(&self, peer: Option<&str>) -> Result<Status, ApiError> {
        self.fetch(&with_query(op::STATUS, &[("peer", peer)])).await
    }

    /// One round trip.
    ///
    /// # Errors
    /// See the module.
    pub async fn ping(&self, peer: &str, timeout: Duration) -> Result<Pong, ApiError> {
        self.post(op::PING, &PingRequest { peer: peer.into(), timeout_ms: millis(timeout) }).await
    }

    /// Ask for trust.
    ///
    /// # Errors
    /// See the module.
    pub async fn handshake(&self, request: &HandshakeRequest) -> Result<TrustChange, ApiError> {
        self.post(op::HANDSHAKE, request).await
    }

    /// Requests that wait for a decision.
    ///
    /// # Errors
    /// See the module.
    pub async fn pending(&self) -> Result<Pending, ApiError> {
        self.fetch(op::PENDING).await
    }

    /// Say yes.
    ///
    /// # Errors
    /// See the module.
    pub async fn approve(&self, request: &ApproveRequest) -> Result<TrustChange, ApiError> {
        self.post(op::APPROVE, request).await
    }

    /// Say no.
    ///
    /// # Errors
    /// See the module.
    pub async fn reject(&self, peer: &str) -> Result<TrustChange, ApiError> {
        self.post(op::REJECT, &PeerRequest { peer: peer.into() }).await
    }

    /// Where trust stands with everybody.
    ///
    /// # Errors
    /// See the module.
    pub async fn trust_list(&self) -> Result<TrustList, ApiError> {
        self.fetch(op::TRUST).await
    }

    /// Where trust stands with one peer.
    ///
    /// # Errors
    /// See the module.
    pub async fn trust_show(&self, peer: &str) -> Result<TrustShow, ApiError> {
        self.fetch(&op::TRUST_ONE.replace("{peer}", &percent_encode(peer))).await
    }

    /// Take trust back.
    ///
    /// # Errors
    /// See the module.
    pub async fn revoke(&self, peer: &str) -> Result<TrustChange, ApiError> {
        self.post(op::REVOKE, &PeerRequest { peer: peer.into() }).await
    }

    /// The current, proven record of an agent.
    ///
    /// # Errors
    /// See the module.
    pub async fn resolve(&self, what: &str, timeout: Duration) -> Result<Resolution, ApiError> {
        let timeout_ms = millis(timeout);
        self.post(op::RESOLVE, &ResolveRequest { what: what.into(), timeout_ms }).await
    }

    /// Agents by what they do.
    ///
    /// # Errors
    /// See the module.
    pub async fn find(&self, request: &FindRequest) -> Result<Found, ApiError> {
        self.post(op::FIND, request).await
    }

    /// The published card.
    ///
    /// # Errors
    /// See the module.
    pub async fn card(&self) -> Result<PublishedCard, ApiError> {
        self.fetch(op::CARD).await
    }

    /// Publish a card, or withdraw it.
    ///
    /// # Errors
    /// See the module.
    pub async fn publish_card(&self, request: &PublishCardRequest) -> Result<Done, ApiError> {
        self.post(op::CARD_SET, request).await
    }

    /// A stream to a service of a trusted peer.
    ///
    /// # Errors
    /// See the module.
    pub async fn connect(
        &self,
        peer: &str,
        service: &str,
        timeout: Duration,
    ) -> Result<RawStream, ApiError> {
        self.upgrade(&connect_path(peer, service, timeout)).await
    }

    /// The same for a socket that is to be handed over.
    ///
    /// # Errors
    /// See the module.
    pub async fn connect_socket(
        &self,
        peer: &str,
        service: &str,
        timeout: Duration,
    ) -> Result<SocketStream, ApiError> {
        self.upgrade_socket(&connect_path(peer, service, timeout)).await
    }

    /// Expose a service; its streams arrive as events until the answer is dropped.
    ///
    /// # Errors
    /// See the module.
    pub async fn listen(&self, request: &ListenRequest) -> Result<EventStream, ApiError> {
        let body = serde_json::to_vec(request).map_err(|e| internal("the request", &e))?;
        self.stream_events(op::LISTEN, Some(body)).await
    }

    /// Carry one accepted stream.
    ///
    /// # Errors
    /// See the module.
    pub async fn take_stream(&self, id: u64) -> Result<RawStream, ApiError> {
        self.upgrade(&op::STREAM_TAKE.replace("{id}", &id.to_string())).await
    }

    /// The same for a socket that is to be handed over.
    ///
    /// # Errors
    /// See the module; `not_found` when it waits no longer.
    pub async fn take_stream_socket(&self, id: u64) -> Result<SocketStream, ApiError> {
        self.upgrade_socket(&op::STREAM_TAKE.replace("{id}", &id.to_string())).await
    }

    /// What became of a stream.
    ///
    /// # Errors
    /// See the module.
    pub async fn stream_outcome(&self, id: u64) -> Result<StreamOutcome, ApiError> {
        self.fetch(&op::STREAM.replace("{id}", &id.to_string())).await
    }

    /// Put a program behind this agent's address.
    ///
    /// # Errors
    /// See the module; `already_exists` when the name means something else.
    pub async fn expose(&self, request: &ExposeRequest) -> Result<Exposed, ApiError> {
        self.post(op::EXPOSE, request).await
    }

    /// The same as long as the events are read; the first one, `exposed`, says that it holds.
    ///
    /// # Errors
    /// See the module; `already_exists` when the name means something else.
    pub async fn expose_held(&self, request: &ExposeRequest) -> Result<EventStream, ApiError> {
        let body = serde_json::to_vec(request).map_err(|e| internal("the request", &e))?;
        self.stream_events(op::EXPOSE_HELD, Some(body)).await
    }

    /// What is exposed.
    ///
    /// # Errors
    /// See the module.
    pub async fn services(&self) -> Result<Services, ApiError> {
        self.fetch(op::SERVICES).await
    }

    /// Expose a service no longer.
    ///
    /// # Errors
    /// See the module; `not_found`.
    pub async fn unexpose(&self, request: &UnexposeRequest) -> Result<Done, ApiError> {
        self.post(op::UNEXPOSE, request).await
    }

    /// End a stream so that the peer sees a break, not an end: what closing the socket cannot say.
    ///
    /// # Errors
    /// See the module.
    pub async fn abort_stream(&self, id: u64) -> Result<Done, ApiError> {
        self.post(&op::STREAM_ABORT.replace("{id}", &id.to_string()), &()).await
    }

    /// Join through one more peer.
    ///
    /// # Errors
    /// See the module.
    pub async fn add_peer(&self, peer: &str) -> Result<Done, ApiError> {
        self.post(op::PEERS, &AddPeerRequest { peer: peer.into() }).await
    }

    /// The routing table of the DHT.
    ///
    /// # Errors
    /// See the module; `dht_disabled`.
    pub async fn dht_peers(&self) -> Result<DhtPeers, ApiError> {
        self.fetch(op::DHT_PEERS).await
    }

    /// A lookup in the DHT, step by step.
    ///
    /// # Errors
    /// See the module; `dht_disabled`.
    pub async fn dht_lookup(&self, key: &str, timeout: Duration) -> Result<DhtLookup, ApiError> {
        let timeout_ms = millis(timeout);
        self.post(op::DHT_LOOKUP, &DhtLookupRequest { key: key.into(), timeout_ms }).await
    }

    /// Role, estimates, intervals and counts of the DHT.
    ///
    /// # Errors
    /// See the module; `dht_disabled`.
    pub async fn dht_stats(&self) -> Result<DhtStats, ApiError> {
        self.fetch(op::DHT_STATS).await
    }

    /// Peers, records, comparisons and traffic of gossip.
    ///
    /// # Errors
    /// See the module.
    pub async fn gossip_stats(&self) -> Result<GossipStats, ApiError> {
        self.fetch(op::GOSSIP_STATS).await
    }

    /// What names mean here.
    ///
    /// # Errors
    /// See the module.
    pub async fn aliases(&self) -> Result<Aliases, ApiError> {
        self.fetch(op::ALIASES).await
    }

    /// Set or remove an alias.
    ///
    /// # Errors
    /// See the module.
    pub async fn set_alias(&self, request: &AliasRequest) -> Result<Done, ApiError> {
        self.post(op::ALIAS_SET, request).await
    }

    /// The effective configuration.
    ///
    /// # Errors
    /// See the module.
    pub async fn config(&self) -> Result<ConfigView, ApiError> {
        self.fetch(op::CONFIG).await
    }

    /// What the network does to this agent.
    ///
    /// # Errors
    /// See the module.
    pub async fn netcheck(&self, peer: Option<&str>) -> Result<Netcheck, ApiError> {
        self.fetch(&with_query(op::NETCHECK, &[("peer", peer)])).await
    }

    /// What the daemon finds wrong with itself.
    ///
    /// # Errors
    /// See the module.
    pub async fn doctor(&self) -> Result<Doctor, ApiError> {
        self.fetch(op::DOCTOR).await
    }

    /// Counters in the Prometheus text format.
    ///
    /// # Errors
    /// See the module.
    pub async fn metrics(&self) -> Result<String, ApiError> {
        let response = self.send(Method::GET, op::METRICS, None).await?;
        if !response.status().is_success() {
            return Err(read_error(response).await);
        }
        String::from_utf8(read_body(response).await?).map_err(|e| internal("the metrics", &e))
    }

    /// What happens, as it happens.
    ///
    /// # Errors
    /// See the module.
    pub async fn events(&self) -> Result<EventStream, ApiError> {
        self.stream_events(op::EVENTS, None).await
    }

    /// Stop the daemon.
    ///
    /// # Errors
    /// See the module.
    pub async fn stop(&self) -> Result<Done, ApiError> {
        self.post(op::STOP, &serde_json::json!({})).await
    }
}

fn connect_path(peer: &str, service: &str, timeout: Duration) -> String {
    let timeout = millis(timeout).to_string();
    let query = [("peer", Some(peer)), ("service", Some(service)), ("timeout_ms", Some(&*timeout))];
    with_query(op::CONNECT, &query)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
