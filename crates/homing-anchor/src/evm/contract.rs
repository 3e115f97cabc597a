//! The contract, from its source: calls, events and the bytecode to deploy.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolEvent};
use serde::Deserialize;

use crate::journal::Subject;
use crate::{Point, Update};

mod source {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    alloy_sol_types::sol!("../../contracts/HomingAnchor.sol");
}
use source::HomingAnchor;

const COMPILED: &str = include_str!("../../../../contracts/HomingAnchor.json");

/// Input of a transaction that anchors a checkpoint.
pub(crate) fn anchor_call(origin: B256, point: &Point) -> Bytes {
    HomingAnchor::anchorCall { origin, size: point.size, root: point.root.into() }
        .abi_encode()
        .into()
}

/// Input of a transaction that anchors `updates`, the first of them with number `first`.
pub(crate) fn update_call(origin: B256, first: u64, updates: &[Update]) -> Bytes {
    let updates = updates.iter().map(|u| HomingAnchor::Update {
        previous: u.previous.into(),
        current: u.current.into(),
        time: U256::from(u.time_ms),
        signatureR: B256::from_slice(&u.signature[..32]),
        signatureS: B256::from_slice(&u.signature[32..]),
    });
    HomingAnchor::updateCall { origin, first, updates: updates.collect() }.abi_encode().into()
}

/// Input of the call that asks for the newest checkpoint.
pub(crate) fn tip_call(owner: Address, origin: B256) -> Bytes {
    HomingAnchor::tipCall { owner, origin }.abi_encode().into()
}

/// Size and the first 24 bytes of the root.
pub(crate) fn tip_answer(bytes: &[u8]) -> Option<(u64, [u8; 24])> {
    let tip = HomingAnchor::tipCall::abi_decode_returns(bytes).ok()?;
    Some((tip.size, tip.rootStart.0))
}

/// First topics of both events.
pub(crate) fn event_topics() -> [B256; 2] {
    [HomingAnchor::Checkpoint::SIGNATURE_HASH, HomingAnchor::Updated::SIGNATURE_HASH]
}

/// What one event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) owner: Address,
    pub(crate) origin: B256,
    pub(crate) subject: Subject,
    /// For an update: what it was.
    pub(crate) update: Option<Update>,
}

/// Reads an event of the contract; `None`: another event.
pub(crate) fn said(topics: &[B256], data: &[u8]) -> Option<Said> {
    let topics = || topics.iter().copied();
    if let Ok(event) = HomingAnchor::Checkpoint::decode_raw_log(topics(), data) {
        let point = Point { size: event.size, root: event.root.0 };
        let subject = Subject::Point(point);
        return Some(Said { owner: event.owner, origin: event.origin, subject, update: None });
    }
    let event = HomingAnchor::Updated::decode_raw_log(topics(), data).ok()?;
    let signature = [event.signatureR.0, event.signatureS.0].concat();
    let update = Update {
        previous: event.previous.0,
        current: event.current.0,
        time_ms: event.time,
        signature: signature.try_into().expect("32 + 32 = 64"),
    };
    let subject = Subject::Updates { first: event.index, last: event.index };
    Some(Said { owner: event.owner, origin: event.origin, subject, update: Some(update) })
}

#[derive(Deserialize)]
struct Compiled {
    bytecode: String,
    deployed: String,
}

fn compiled() -> Compiled {
    serde_json::from_str(COMPILED).expect("the compiled contract is part of this program")
}

/// Input of the transaction that creates the contract.
#[must_use]
pub fn creation_code() -> Bytes {
    Bytes::from(hex::decode(compiled().bytecode).expect("hexadecimal"))
}

/// What stands at the contract's address.
#[must_use]
pub fn deployed_code() -> Bytes {
    Bytes::from(hex::decode(compiled().deployed).expect("hexadecimal"))
}
