//! `handshake`, `pending`, `approve`, `reject`, `trust list|show|revoke`.

use std::time::Duration;

use homing_api::trust::{
    ApproveRequest, HandshakeRequest, Pending, PendingRequest, StatementFacts, TrustChange,
    TrustEntry, TrustList, TrustShow,
};
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::statement::SignedStatement;
use homing_base::{NodeId, StatementKind};
use homing_core::io::TrustState;
use homing_core::view::PeerView;
use homing_core::{Answer, Command};

use super::{state_of, trust_facts, view_of};
use crate::events::summary_of;
use crate::node::{Node, peer_ref, unexpected};
use crate::problem;

/// How long an answer waits for the peer's confirmation, when the peer is connected.
const DELIVERY_WAIT: Duration = Duration::from_millis(400);
const DELIVERY_POLL: Duration = Duration::from_millis(20);
const TRUST_POLL: Duration = Duration::from_millis(100);

impl Node {
    /// Asks a peer for trust and gives ours.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`, `usage`.
    pub async fn handshake(&self, request: HandshakeRequest) -> Result<TrustChange, ApiError> {
        let HandshakeRequest { peer, reason, services, lifetime_s } = request;
        let lifetime = lifetime_s.map(Duration::from_secs).or(self.shared.config.trust.lifetime);
        let command = Command::Handshake { peer: peer_ref(&peer)?, reason, services, lifetime };
        self.trust_command(&peer, command).await
    }

    /// Says yes to a request.
    ///
    /// # Errors
    /// `not_found` when there is no request of this peer.
    pub async fn approve(&self, request: ApproveRequest) -> Result<TrustChange, ApiError> {
        let ApproveRequest { peer, services, lifetime_s } = request;
        let lifetime = lifetime_s.map(Duration::from_secs).or(self.shared.config.trust.lifetime);
        let command = Command::Approve { peer: peer_ref(&peer)?, services, lifetime };
        self.trust_command(&peer, command).await
    }

    /// Says no to a request.
    ///
    /// # Errors
    /// `not_found` when there is no request of this peer.
    pub async fn reject(&self, peer: &str) -> Result<TrustChange, ApiError> {
        self.trust_command(peer, Command::Reject { peer: peer_ref(peer)? }).await
    }

    /// Takes trust back. When this returns, every stream with the peer is closed.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn revoke(&self, peer: &str) -> Result<TrustChange, ApiError> {
        self.trust_command(peer, Command::Revoke { peer: peer_ref(peer)? }).await
    }

    async fn trust_command(&self, what: &str, command: Command) -> Result<TrustChange, ApiError> {
        match self.command(what, command).await? {
            Answer::Trust { peer, state, changed } => Ok(TrustChange {
                schema: Schema::new(),
                peer: self.summary(peer).await?,
                state: state_of(state),
                changed,
                delivered: self.delivered(peer).await?,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the peer confirmed our newest statement; waits a moment when it is connected.
    async fn delivered(&self, peer: NodeId) -> Result<bool, ApiError> {
        let started = self.shared.clock.mono();
        loop {
            let now = self.now();
            let view = self.query(move |agent| view_of(agent, peer, now)).await?;
            let connected = view.as_ref().is_some_and(|v| !v.links.is_empty());
            let undelivered = view.is_some_and(|v| v.undelivered);
            if !undelivered || !connected || now.mono.since(started) > DELIVERY_WAIT {
                return Ok(!undelivered);
            }
            tokio::time::sleep(DELIVERY_POLL).await;
        }
    }

    /// Requests that wait for a decision.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn pending(&self) -> Result<Pending, ApiError> {
        let views = self.views().await?;
        let mut requests: Vec<_> = views.iter().filter_map(pending_of).collect();
        requests.sort_by_key(|request| request.asked);
        Ok(Pending { schema: Schema::new(), requests })
    }

    /// Where trust stands with everybody.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn trust_list(&self) -> Result<TrustList, ApiError> {
        let views = self.views().await?;
        let said = |v: &&PeerView| v.trust.ours.is_some() || v.trust.theirs.is_some();
        let entries = views.iter().filter(said).map(entry_of).collect();
        Ok(TrustList { schema: Schema::new(), entries })
    }

    /// Where trust stands with one peer.
    ///
    /// # Errors
    /// `not_found`, `ambiguous_name`.
    pub async fn trust_show(&self, peer: &str) -> Result<TrustShow, ApiError> {
        let view = self.view(peer).await?;
        Ok(TrustShow { schema: Schema::new(), entry: entry_of(&view) })
    }

    /// Waits until trust with a peer is mutual.
    ///
    /// # Errors
    /// `timeout`, saying where trust stands; `not_found`, `ambiguous_name`.
    pub async fn trusted(&self, peer: &str, timeout: Duration) -> Result<(), ApiError> {
        let mut events = self.events();
        let mutual = async {
            while self.view(peer).await?.trust.state != TrustState::Mutual {
                // Every change is an event; the clock is for those that were missed.
                let _ = tokio::time::timeout(TRUST_POLL, events.recv()).await;
            }
            Ok(())
        };
        match tokio::time::timeout(timeout, mutual).await {
            Ok(ended) => ended,
            Err(_) => {
                let state = self.view(peer).await?.trust.state;
                Err(ApiError::new(Code::Timeout, format!("trust with {peer} is not mutual yet"))
                    .why(format!("it stands at: {}", words(state)))
                    .hint("homing trust show says who has to act"))
            }
        }
    }

    /// Every peer.
    pub(super) async fn views(&self) -> Result<Vec<PeerView>, ApiError> {
        let now = self.now();
        self.query(move |agent| agent.peers(now)).await
    }

    /// One peer, by what is known here.
    pub(super) async fn view(&self, what: &str) -> Result<PeerView, ApiError> {
        let (now, reference) = (self.now(), peer_ref(what)?);
        let found = self
            .query(move |agent| agent.find_known(&reference).map(|peer| view_of(agent, peer, now)))
            .await?;
        let error = match found {
            Ok(Some(view)) => return Ok(view),
            Ok(None) => {
                ApiError::new(Code::NotFound, format!("there is nothing about {what} here"))
                    .hint(format!("homing resolve {what}"))
            }
            Err(failure) => problem::of_failure(what, &failure, now.wall),
        };
        match error.code {
            Code::NotFound => Err(self.with_nearest_name(what, error).await?),
            _ => Err(error),
        }
    }
}

fn words(state: TrustState) -> &'static str {
    match state {
        TrustState::None => "nobody said anything",
        TrustState::Requested => "asked, no answer yet",
        TrustState::Pending => "the peer asks and waits for you",
        TrustState::Mutual => "mutual",
        TrustState::Expired => "expired",
        TrustState::RejectedByUs => "rejected here",
        TrustState::RejectedByPeer => "rejected by the peer",
        TrustState::RevokedByUs => "revoked here",
        TrustState::RevokedByPeer => "revoked by the peer",
    }
}

fn pending_of(view: &PeerView) -> Option<PendingRequest> {
    if view.trust.state != TrustState::Pending {
        return None;
    }
    let asked = view.trust.theirs.as_ref()?;
    Some(PendingRequest {
        peer: summary_of(view),
        services: asked.services.clone(),
        expires: asked.expires.map(Stamp),
        reason: asked.reason.clone(),
        asked: Stamp(asked.issued),
        seen_before: view.trust.ours.is_some() || view.alias.is_some(),
    })
}

fn entry_of(view: &PeerView) -> TrustEntry {
    TrustEntry {
        peer: summary_of(view),
        trust: trust_facts(&view.trust),
        ours: view.trust.ours.as_ref().map(statement_facts),
        theirs: view.trust.theirs.as_ref().map(statement_facts),
    }
}

fn statement_facts(statement: &SignedStatement) -> StatementFacts {
    let kind = match statement.kind {
        StatementKind::Request => "request",
        StatementKind::Grant => "grant",
        StatementKind::Reject => "reject",
        StatementKind::Revoke => "revoke",
    };
    StatementFacts {
        kind: kind.to_owned(),
        sequence: statement.sequence.0,
        issued: Stamp(statement.issued),
        expires: statement.expires.map(Stamp),
        services: statement.services.clone(),
        reason: statement.reason.clone(),
    }
}
