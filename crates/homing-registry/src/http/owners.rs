//! `GET /v1/resolve/{owner}/{agent}`: the agent of that name for which that owner vouches.
//!
//! The answer rests on two signatures: the agent's record covers its card, and the card carries the owner's proof for
//! this very agent. Without a proof that verifies now there is no answer, however often the name is claimed.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use homing_api::Code;
use homing_base::{Name, NodeId, Now};
use serde::Serialize;
use utoipa::ToSchema;

use super::entities::uncached;
use super::problem::{Outcome, Problem, Refusal};
use super::request::{Nothing, Params, Segments};
use super::views::{EntityView, time};
use super::{App, card, clock, describe, lookup};
use crate::entity::{Entity, EntityKey};
use crate::proof::OwnerProof;

/// An agent and the proof that it is its owner's.
#[derive(Serialize, ToSchema)]
#[schema(title = "OwnedAgent")]
pub(super) struct OwnedView {
    /// `homing.owned/v1`.
    schema: &'static str,
    /// The identity that vouches.
    owner: String,
    /// The agent.
    entity: EntityView,
    /// Until when the owner vouches.
    #[schema(format = DateTime)]
    vouched_until: String,
    /// The signed proof, base64url of the COSE object.
    proof: String,
}

/// `GET /v1/resolve/{owner}/{agent}`.
pub(super) async fn resolve(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments((owner, agent)): Segments<(String, String)>,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let EntityKey::Name(name) = lookup::key(&agent)? else {
        let hint = "ask for it with GET /v1/entities/{id}";
        return Err(Problem::usage("the agent is named by node ID or address").hint(hint).into());
    };
    let owner_key = owner_id(&app, &owner, now).await?;
    let claimants = app.storage.by_name(now, &name).await.map_err(Box::<Problem>::from)?;
    let unproven = claimants.len();
    let mut owned = Vec::new();
    for entity in claimants {
        if let Some((proof, bytes)) = proven(&app, &entity, now).await
            && owner_key.matches(&proof)
        {
            owned.push((entity, proof, bytes));
        }
    }
    match owned.len() {
        1 => {}
        0 => return Err(unowned(&owner, &name, unproven).into()),
        n => {
            let candidates = owned.iter().map(|(e, _, _)| lookup::candidate(e)).collect();
            let detail = format!("{owner} vouches for {n} agents that claim {name}");
            return Err(Problem::new(Code::AmbiguousName, detail).candidates(candidates).into());
        }
    }
    let (entity, proof, bytes) = owned.swap_remove(0);
    Ok(uncached(&OwnedView {
        schema: "homing.owned/v1",
        owner: proof.owner.node_id().to_string(),
        entity: EntityView::of(&entity, now),
        vouched_until: time(proof.expires),
        proof: data_encoding::BASE64URL_NOPAD.encode(&bytes),
    }))
}

fn unowned(owner: &str, name: &Name, claimants: usize) -> Problem {
    let owner: String = owner.chars().take(80).collect();
    let problem = Problem::new(Code::NotFound, format!("{owner} vouches for no agent {name}"));
    if claimants == 0 {
        return problem.why("nobody claims that name here");
    }
    problem
        .why(format!("{claimants} claim that name; none shows a valid proof by this owner"))
        .hint("the owner signs a proof, the agent puts it into its card and registers again")
}

/// Whom the owner part of the path means.
enum OwnerKey {
    Exactly(NodeId),
    Address(homing_base::Address),
}

impl OwnerKey {
    fn matches(&self, proof: &OwnerProof) -> bool {
        let id = proof.owner.node_id();
        match self {
            Self::Exactly(owner) => *owner == id,
            Self::Address(address) => address.matches(&id),
        }
    }
}

/// An owner named by node ID or address needs no record here; one named by name must be the only claimant.
async fn owner_id(app: &App, text: &str, now: Now) -> Outcome<OwnerKey> {
    match lookup::key(text)? {
        EntityKey::NodeId(id) => Ok(OwnerKey::Exactly(id)),
        EntityKey::Address(address) => Ok(OwnerKey::Address(address)),
        key @ EntityKey::Name(_) => {
            let owner = lookup::local(app, &key, now).await?;
            let owner = owner.ok_or_else(|| {
                Box::new(Problem::not_found(text).hint("name the owner by its node ID or address"))
            })?;
            Ok(OwnerKey::Exactly(owner.node_id()))
        }
    }
}

/// The proof in an agent's card, verified now.
async fn proven(app: &App, entity: &Entity, now: Now) -> Option<(OwnerProof, Vec<u8>)> {
    entity.record.card.as_ref()?;
    let card = match &entity.card {
        Some(card) => card.clone(),
        None => card::bring(&Arc::clone(app), &entity.record).await.ok()?,
    };
    describe::vouched(now, &entity.record, &card.bytes)
}
