//! Who may use the relay: everybody, or the node IDs on a list.
//!
//! The relay proves a client's endpoint key; a list names identities. So a client shows a
//! [`RelayPass`], and is in if the pass is valid for its endpoint and its holder is on the list.
//! Limits: somebody who dials *through* this relay to reach one of its clients is a client too, so both
//! must be on the list and must have this relay configured. A change of the list counts from the next
//! connection on; [`super::RelayServer::set_access`] also ends those that no longer may.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homing_base::{InstanceId, NodeId};
use iroh::EndpointId;
use iroh_relay::server::{Access, AccessControl, ClientRequest, ConnectionId};

use super::pass::RelayPass;

/// Who may use the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RelayAccess {
    /// Everybody.
    #[default]
    Open,
    /// These identities only.
    AllowList(BTreeSet<NodeId>),
}

/// The gate that iroh's relay asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    access: RwLock<RelayAccess>,
    inside: Mutex<HashMap<ConnectionId, Guest>>,
}

/// A client inside: its endpoint, and whose it said it was.
type Guest = (EndpointId, Option<NodeId>);

impl Gate {
    pub(super) fn new(access: RelayAccess) -> Self {
        let gate = Self::default();
        gate.set(access);
        gate
    }

    /// Replaces the rule; answers the endpoints inside that it no longer lets in.
    pub(super) fn set(&self, access: RelayAccess) -> Vec<EndpointId> {
        let inside = self.inside();
        let out = inside.values().filter(|(_, holder)| !allows(&access, *holder));
        let out = out.map(|(endpoint, _)| *endpoint).collect();
        *self.0.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        out
    }

    /// Connections inside now.
    pub(super) fn count(&self) -> usize {
        self.inside().len()
    }

    fn decide(&self, request: &ClientRequest) -> Result<Option<NodeId>, String> {
        let endpoint = InstanceId(*request.endpoint_id().as_bytes());
        let holder = match request.auth_token() {
            Some(token) => token
                .parse::<RelayPass>()
                .and_then(|pass| pass.holder(endpoint))
                .map(Some)
                .map_err(|e| e.to_string()),
            None => Err("this relay asks for a pass".to_owned()),
        };
        let access = self.0.access.read().unwrap_or_else(PoisonError::into_inner);
        match (&*access, holder) {
            (RelayAccess::Open, holder) => Ok(holder.unwrap_or(None)),
            (_, Err(reason)) => Err(reason),
            (access, Ok(holder)) if allows(access, holder) => Ok(holder),
            (_, Ok(_)) => Err("this identity is not on the relay's list".to_owned()),
        }
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, HashMap<ConnectionId, Guest>> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn allows(access: &RelayAccess, holder: Option<NodeId>) -> bool {
    match access {
        RelayAccess::Open => true,
        RelayAccess::AllowList(list) => holder.is_some_and(|h| list.contains(&h)),
    }
}

impl AccessControl for Gate {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        match self.decide(request) {
            Ok(holder) => {
                let guest = (request.endpoint_id(), holder);
                self.inside().insert(request.connection_id(), guest);
                Access::Allow
            }
            Err(reason) => {
                tracing::debug!(error = reason, "a client was denied");
                Access::Deny { reason: Some(reason) }
            }
        }
    }

    fn on_disconnect(&self, _endpoint: EndpointId, connection: ConnectionId) {
        self.inside().remove(&connection);
    }
}
