//! Putting the contract on a chain, once per chain.

use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, TxKind, U64, U256};
use serde_json::{Value, json};

use super::chain::Chain;
use super::rpc::Rpc;
use super::{Account, contract};
use crate::AnchorError;

/// How often, and how long at most, inclusion is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ASK_MAX: u32 = 600;

/// Creates the contract from `account` for at most `max_fee` wei per gas, waits until it is included, and returns its address.
///
/// # Errors
/// [`AnchorError`]: the node is away or refuses, the fee is too high, or nothing was included within five minutes.
pub async fn deploy(
    rpc_url: &str,
    account: &Account,
    max_fee: u128,
) -> Result<[u8; 20], AnchorError> {
    let chain = Chain {
        rpc: Rpc::new(rpc_url)?,
        contract: Address::ZERO,
        owner: account.address(),
        origin: B256::ZERO,
    };
    let (chain_id, nonce) = (chain.chain_id().await?, chain.nonce("pending").await?);
    let (head, priority) = (chain.head().await?, chain.priority_fee().await?);
    let base: u128 = head.base_fee_per_gas.map_or(0, |fee| fee.to());
    if base + priority > max_fee {
        let text = format!(
            "the chain asks for {} wei per gas, at most {max_fee} are allowed",
            base + priority
        );
        return Err(AnchorError::Setting(text));
    }
    let code = contract::creation_code();
    let estimate = json!([{ "from": chain.owner, "input": code }]);
    let needed: u64 = chain.rpc.call::<U64>("eth_estimateGas", estimate).await?.to();
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: needed + needed / 5,
        max_fee_per_gas: max_fee.min(base * 2 + priority),
        max_priority_fee_per_gas: priority,
        to: TxKind::Create,
        value: U256::ZERO,
        access_list: Default::default(),
        input: code,
    };
    let (raw, hash) = account.sign(transaction)?;
    chain.send(&raw).await?;
    for _ in 0..ASK_MAX {
        match chain.outcome(hash).await? {
            Some((true, _)) => return Ok(chain.owner.create(nonce).into_array()),
            Some((false, _)) => return Err(AnchorError::Reverted { hash: hash.to_string() }),
            None => tokio::time::sleep(ASK_EVERY).await,
        }
    }
    let found: Option<Value> = chain.rpc.call("eth_getTransactionByHash", json!([hash])).await?;
    let place = if found.is_some() { "still waits" } else { "is lost" };
    Err(AnchorError::Setting(format!("transaction {hash} {place} after five minutes")))
}
