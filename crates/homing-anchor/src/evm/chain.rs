//! What is asked of the chain: each answer typed, each read at a block that is named.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U64, U128};
use serde::Deserialize;
use serde_json::{Value, json};

use super::contract::{self, Said};
use super::receipt::RpcReceipt;
use super::rpc::Rpc;
use crate::AnchorError;

/// A chain node, and whose marks it is asked for.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) rpc: Rpc,
    pub(crate) contract: Address,
    pub(crate) owner: Address,
    pub(crate) origin: B256,
}

/// The newest block.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) number: U64,
    pub(crate) hash: B256,
    #[serde(default)]
    pub(crate) base_fee_per_gas: Option<U128>,
}

/// One event of the contract, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) said: Said,
    pub(crate) block: u64,
    pub(crate) block_hash: B256,
    pub(crate) transaction: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcLog {
    topics: Vec<B256>,
    data: Bytes,
    block_number: U64,
    block_hash: B256,
    transaction_hash: B256,
    #[serde(default)]
    removed: bool,
}

impl Chain {
    pub(crate) async fn chain_id(&self) -> Result<u64, AnchorError> {
        Ok(self.rpc.call::<U64>("eth_chainId", json!([])).await?.to())
    }

    /// Block `tag`: a number in hexadecimal, `latest` or `finalized`.
    pub(crate) async fn block(&self, tag: &str) -> Result<Option<Head>, AnchorError> {
        self.rpc.call("eth_getBlockByNumber", json!([tag, false])).await
    }

    pub(crate) async fn head(&self) -> Result<Head, AnchorError> {
        self.block("latest")
            .await?
            .ok_or_else(|| self.rpc.away("eth_getBlockByNumber", "no newest block"))
    }

    pub(crate) async fn hash_at(&self, number: u64) -> Result<Option<B256>, AnchorError> {
        Ok(self.block(&tag(number)).await?.map(|head| head.hash))
    }

    /// The owner's next nonce after block `tag`.
    pub(crate) async fn nonce(&self, tag: &str) -> Result<u64, AnchorError> {
        let nonce: U64 = self.rpc.call("eth_getTransactionCount", json!([self.owner, tag])).await?;
        Ok(nonce.to())
    }

    /// Size and start of the root of the newest checkpoint after block `number`.
    pub(crate) async fn tip(&self, number: u64) -> Result<(u64, [u8; 24]), AnchorError> {
        let call =
            json!({ "to": self.contract, "input": contract::tip_call(self.owner, self.origin) });
        let answer: Bytes = self.rpc.call("eth_call", json!([call, tag(number)])).await?;
        contract::tip_answer(&answer).ok_or_else(|| {
            AnchorError::Setting(format!(
                "there is no anchor contract at {} on this chain",
                self.contract
            ))
        })
    }

    /// What the contract said about this origin of this owner in blocks `from` to `to`.
    pub(crate) async fn events(&self, from: u64, to: u64) -> Result<Vec<Seen>, AnchorError> {
        let filter = json!([{
            "address": self.contract, "fromBlock": tag(from), "toBlock": tag(to),
            "topics": [contract::event_topics(), self.owner.into_word(), self.origin],
        }]);
        let logs: Vec<RpcLog> = self.rpc.call("eth_getLogs", filter).await?;
        let seen = logs.into_iter().filter(|log| !log.removed).filter_map(|log| {
            Some(Seen {
                said: contract::said(&log.topics, &log.data)?,
                block: log.block_number.to(),
                block_hash: log.block_hash,
                transaction: log.transaction_hash,
            })
        });
        Ok(seen.collect())
    }

    /// The header of block `hash` as the node tells it, and its receipts in order.
    pub(crate) async fn block_content(
        &self,
        hash: B256,
    ) -> Result<Option<(Header, Vec<RpcReceipt>)>, AnchorError> {
        let block: Option<Value> =
            self.rpc.call("eth_getBlockByHash", json!([hash, false])).await?;
        let receipts: Option<Vec<RpcReceipt>> =
            self.rpc.call("eth_getBlockReceipts", json!([{ "blockHash": hash }])).await?;
        let (Some(block), Some(receipts)) = (block, receipts) else { return Ok(None) };
        let header = serde_json::from_value(block);
        Ok(Some((
            header.map_err(|e| self.rpc.away("eth_getBlockByHash", &e.to_string()))?,
            receipts,
        )))
    }

    /// Whether transaction `hash` was included, and if so whether it had its effect, and in which block.
    pub(crate) async fn outcome(&self, hash: B256) -> Result<Option<(bool, u64)>, AnchorError> {
        Ok(self.receipt(hash).await?.map(|r| (r.succeeded(), r.block())))
    }

    /// The receipt of transaction `hash`, once it is included.
    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<RpcReceipt>, AnchorError> {
        self.rpc.call("eth_getTransactionReceipt", json!([hash])).await
    }

    /// Whether the node holds transaction `hash`, included or waiting.
    pub(crate) async fn knows(&self, hash: B256) -> Result<bool, AnchorError> {
        let found: Option<Value> = self.rpc.call("eth_getTransactionByHash", json!([hash])).await?;
        Ok(found.is_some())
    }

    /// Gas that a call of the contract with `input` takes.
    pub(crate) async fn estimate(&self, input: &Bytes) -> Result<u64, AnchorError> {
        let call = json!([{ "from": self.owner, "to": self.contract, "input": input }]);
        Ok(self.rpc.call::<U64>("eth_estimateGas", call).await?.to())
    }

    /// What block makers are commonly paid per gas, in wei.
    pub(crate) async fn priority_fee(&self) -> Result<u128, AnchorError> {
        Ok(self.rpc.call::<U128>("eth_maxPriorityFeePerGas", json!([])).await?.to())
    }

    pub(crate) async fn send(&self, raw: &[u8]) -> Result<(), AnchorError> {
        let raw = Bytes::copy_from_slice(raw);
        self.rpc.call::<B256>("eth_sendRawTransaction", json!([raw])).await.map(|_| ())
    }
}

/// A block number as JSON-RPC wants it.
pub(crate) fn tag(number: u64) -> String {
    format!("{number:#x}")
}
