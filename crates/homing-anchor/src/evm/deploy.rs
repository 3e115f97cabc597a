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

/// What a contract may cost, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The chain that the node must be of.
    pub chain_id: u64,
    /// Most that is paid per gas, in wei.
    pub max_fee: u128,
    /// Most gas of the transaction.
    pub max_gas: u64,
}

/// A contract that was put on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its address.
    pub contract: [u8; 20],
    /// Who paid for it.
    pub account: [u8; 20],
    /// The transaction that created it.
    pub transaction: [u8; 32],
    /// The block that holds the transaction.
    pub block: u64,
    /// What it took.
    pub gas: u64,
}

/// Creates the contract from `account`, and waits until it is included.
///
/// # Errors
/// [`AnchorError`]: the node is away, of another chain, or refuses; fee or gas are above the terms; nothing was included within
/// five minutes.
pub async fn deploy(
    rpc_url: &str,
    account: &Account,
    terms: &Terms,
) -> Result<Deployed, AnchorError> {
    let chain = Chain {
        rpc: Rpc::new(rpc_url)?,
        contract: Address::ZERO,
        owner: account.address(),
        origin: B256::ZERO,
    };
    let nonce = chain.nonce("pending").await?;
    let transaction = creation(&chain, nonce, terms).await?;
    let (raw, hash) = account.sign(transaction)?;
    chain.send(&raw).await?;
    for _ in 0..ASK_MAX {
        match chain.receipt(hash).await? {
            Some(receipt) if receipt.succeeded() => {
                return Ok(Deployed {
                    contract: chain.owner.create(nonce).into_array(),
                    account: chain.owner.into_array(),
                    transaction: hash.0,
                    block: receipt.block(),
                    gas: receipt.gas(),
                });
            }
            Some(_) => return Err(AnchorError::Reverted { hash: hash.to_string() }),
            None => tokio::time::sleep(ASK_EVERY).await,
        }
    }
    let found: Option<Value> = chain.rpc.call("eth_getTransactionByHash", json!([hash])).await?;
    let place = if found.is_some() { "still waits" } else { "is lost" };
    Err(AnchorError::Setting(format!("transaction {hash} {place} after five minutes")))
}

/// The transaction, priced within the terms.
async fn creation(chain: &Chain, nonce: u64, terms: &Terms) -> Result<TxEip1559, AnchorError> {
    let (found, wanted) = (chain.chain_id().await?, terms.chain_id);
    if found != wanted {
        return Err(AnchorError::Setting(format!(
            "the node is of chain {found}, `audit.anchor.chain_id` is {wanted}"
        )));
    }
    let (head, priority) = (chain.head().await?, chain.priority_fee().await?);
    let base: u128 = head.base_fee_per_gas.map_or(0, |fee| fee.to());
    let (asked, ceiling) = (base.saturating_add(priority), terms.max_fee);
    if asked > ceiling {
        return Err(AnchorError::Fee { asked, ceiling });
    }
    let input = contract::creation_code();
    let estimate = json!([{ "from": chain.owner, "input": input }]);
    let needed: u64 = chain.rpc.call::<U64>("eth_estimateGas", estimate).await?.to();
    if needed > terms.max_gas {
        return Err(AnchorError::Gas { needed, ceiling: terms.max_gas });
    }
    Ok(TxEip1559 {
        chain_id: found,
        nonce,
        gas_limit: (needed + needed / 5).min(terms.max_gas),
        max_fee_per_gas: ceiling.min(base.saturating_mul(2).saturating_add(priority)),
        max_priority_fee_per_gas: priority,
        to: TxKind::Create,
        value: U256::ZERO,
        access_list: Default::default(),
        input,
    })
}
