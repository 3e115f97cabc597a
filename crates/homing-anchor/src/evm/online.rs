//! What a node adds to evidence: that the block is part of the chain, final, and that the contract is this one.

use alloy_primitives::{Address, B256, Bytes};
use serde_json::json;

use super::chain::Chain;
use super::contract;
use super::rpc::Rpc;
use crate::{AnchorError, EvidenceError, Finding};

/// How a finding stands on the chain of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the chain's consensus calls the block final.
    pub is_final: bool,
    /// Blocks on top of it.
    pub depth: u64,
}

/// Asks the node at `rpc_url` about `finding`. `contract`: the address that the auditor expects.
///
/// # Errors
/// [`AnchorError::Evidence`] when the chain says otherwise, any other when it could not be asked.
pub async fn standing(
    rpc_url: &str,
    finding: &Finding,
    contract: [u8; 20],
) -> Result<Standing, AnchorError> {
    let Finding::Chain { chain_id, contract: said_by, owner, block, block_hash, .. } = finding
    else {
        return Err(AnchorError::Setting(
            "only an anchor on a chain can be looked up there".into(),
        ));
    };
    let other = |text: String| Err(AnchorError::Evidence(EvidenceError::Subject(text)));
    if *said_by != contract {
        return other(format!("the evidence is of contract {}", Address::from(*said_by)));
    }
    let chain = Chain {
        rpc: Rpc::new(rpc_url)?,
        contract: contract.into(),
        owner: Address::from(*owner),
        origin: B256::ZERO,
    };
    let found = chain.chain_id().await?;
    if found != *chain_id {
        return other(format!("the evidence is of chain {chain_id}, the node is of chain {found}"));
    }
    match chain.hash_at(*block).await? {
        Some(hash) if hash.0 == *block_hash => {}
        Some(_) => return other(format!("block {block} of the chain is another one")),
        None => return other(format!("the chain has no block {block}")),
    }
    let code: Bytes = chain.rpc.call("eth_getCode", json!([chain.contract, "latest"])).await?;
    if code != contract::deployed_code() {
        return other(format!("at {} stands another contract", chain.contract));
    }
    let head: u64 = chain.head().await?.number.to();
    let last_final: u64 = chain.block("finalized").await?.map_or(0, |b| b.number.to());
    Ok(Standing { is_final: last_final >= *block, depth: head.saturating_sub(*block) })
}
