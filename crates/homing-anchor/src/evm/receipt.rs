//! From a transaction to something that can be checked without the chain: header → receipts root → receipt → event.

use alloy_consensus::{Header, Receipt, ReceiptWithBloom};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, LogData, U64, keccak256};
use alloy_rlp::{Decodable, Encodable};
use alloy_trie::proof::{ProofRetainer, verify_proof};
use alloy_trie::{HashBuilder, Nibbles};
use serde::Deserialize;

use super::contract;
use crate::evidence::Wanted;
use crate::journal::Subject;
use crate::limits::{EVIDENCE_BYTES_MAX, PROOF_NODES_MAX};
use crate::{EvidenceError, EvmEvidence, Finding, origin_hash};

/// A receipt as nodes tell it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcReceipt {
    #[serde(default, rename = "type")]
    kind: U64,
    #[serde(default)]
    status: U64,
    cumulative_gas_used: U64,
    logs_bloom: Bloom,
    logs: Vec<RpcReceiptLog>,
    transaction_hash: B256,
    #[serde(default)]
    block_number: U64,
    #[serde(default)]
    gas_used: U64,
}

#[derive(Clone, Debug, Deserialize)]
struct RpcReceiptLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

impl RpcReceipt {
    pub(crate) fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }

    pub(crate) fn block(&self) -> u64 {
        self.block_number.to()
    }

    /// What this transaction took.
    pub(crate) fn gas(&self) -> u64 {
        self.gas_used.to()
    }

    /// EIP-2718: the type's byte, unless it is 0, and the receipt in RLP.
    fn encoded(&self) -> Vec<u8> {
        let log = |log: &RpcReceiptLog| Log {
            address: log.address,
            data: LogData::new_unchecked(log.topics.clone(), log.data.clone()),
        };
        let receipt = Receipt {
            status: self.succeeded().into(),
            cumulative_gas_used: self.cumulative_gas_used.to(),
            logs: self.logs.iter().map(log).collect::<Vec<_>>(),
        };
        let mut bytes = Vec::new();
        if self.kind != U64::ZERO {
            bytes.push(self.kind.to());
        }
        ReceiptWithBloom { receipt, logs_bloom: self.logs_bloom }.encode(&mut bytes);
        bytes
    }
}

/// Evidence of one transaction in a block. `None`: the transaction is not in it.
pub(crate) fn prove(
    chain_id: u64,
    contract: Address,
    transaction: B256,
    hash: B256,
    (header, receipts): (&Header, &[RpcReceipt]),
    is_it: impl Fn(&contract::Said) -> bool,
) -> Result<Option<EvmEvidence>, EvidenceError> {
    let Some(place) = receipts.iter().position(|r| r.transaction_hash == transaction) else {
        return Ok(None);
    };
    let receipt = &receipts[place];
    let fits = |log: &RpcReceiptLog| {
        log.address == contract
            && contract::said(&log.topics, &log.data).is_some_and(|said| is_it(&said))
    };
    let Some(log) = receipt.logs.iter().position(fits) else { return Ok(None) };
    if header.hash_slow() != hash {
        return Err(proof(
            "the header does not hash to the block's hash: this chain has headers of its own",
        ));
    }
    let encoded: Vec<_> = receipts.iter().map(RpcReceipt::encoded).collect();
    let (root, nodes) = trie(&encoded, place);
    if root != header.receipts_root {
        return Err(proof(
            "the receipts do not hash to the header's root: this chain has receipts of its own",
        ));
    }
    let evidence = EvmEvidence {
        chain_id,
        contract: contract.into_array().into(),
        transaction: transaction.0.into(),
        header: alloy_rlp::encode(header).into(),
        place: place as u64,
        receipt: encoded[place].clone().into(),
        proof: nodes.into_iter().map(|node| node.to_vec().into()).collect(),
        log: log as u64,
    };
    match evidence.receipt.len() < EVIDENCE_BYTES_MAX / 2 {
        true => Ok(Some(evidence)),
        false => Err(proof("the receipt is longer than evidence may be")),
    }
}

/// Root of the trie that maps RLP(place) to each receipt, and the nodes on the way to `place`, from the root on.
fn trie(receipts: &[Vec<u8>], place: usize) -> (B256, Vec<Bytes>) {
    let key = |place: usize| Nibbles::unpack(alloy_rlp::encode(place));
    let mut leaves: Vec<_> =
        receipts.iter().enumerate().map(|(place, bytes)| (key(place), bytes)).collect();
    leaves.sort();
    let mut builder =
        HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![key(place)]));
    for (key, bytes) in leaves {
        builder.add_leaf(key, bytes);
    }
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    (root, nodes.into_iter().map(|(_, node)| node).collect())
}

/// Everything about `evidence` that needs no network.
pub(crate) fn confirm(
    evidence: &EvmEvidence,
    origin: &str,
    wanted: Wanted<'_>,
) -> Result<Finding, EvidenceError> {
    let header = Header::decode(&mut &evidence.header[..]).map_err(|e| format("header", &e))?;
    if alloy_rlp::encode(&header) != evidence.header[..] {
        return Err(EvidenceError::Format("the header has fields that are not known here".into()));
    }
    if evidence.proof.len() > PROOF_NODES_MAX {
        return Err(EvidenceError::Format("a receipt's proof has fewer nodes".into()));
    }
    let nodes: Vec<Bytes> =
        evidence.proof.iter().map(|node| Bytes::copy_from_slice(node)).collect();
    let key = Nibbles::unpack(alloy_rlp::encode(evidence.place));
    verify_proof(header.receipts_root, key, Some(evidence.receipt.to_vec()), &nodes)
        .map_err(|e| proof(&format!("the receipt is not in the block: {e}")))?;
    let receipt = receipt(&evidence.receipt)?;
    if !receipt.status.coerce_status() {
        return Err(proof("the transaction had no effect"));
    }
    let owner = owner_of(evidence, &receipt, origin, wanted)?;
    Ok(Finding::Chain {
        chain_id: evidence.chain_id,
        contract: *evidence.contract,
        owner: owner.into_array(),
        transaction: *evidence.transaction,
        block: header.number,
        block_hash: keccak256(&evidence.header[..]).0,
        time_ms: header.timestamp.saturating_mul(1_000),
    })
}

/// The account that said what is wanted, in one of the receipt's logs.
fn owner_of(
    evidence: &EvmEvidence,
    receipt: &Receipt,
    origin: &str,
    wanted: Wanted<'_>,
) -> Result<Address, EvidenceError> {
    let contract = Address::from(*evidence.contract);
    let first = usize::try_from(evidence.log).unwrap_or(usize::MAX);
    let logs = receipt.logs.get(first..).unwrap_or_default();
    let said = logs.iter().filter(|log| log.address == contract);
    let said: Vec<_> =
        said.filter_map(|log| contract::said(log.topics(), &log.data.data)).collect();
    let ours = said.iter().filter(|said| said.origin == B256::from(origin_hash(origin)));
    let fits = |said: &&contract::Said| match wanted {
        Wanted::Point(point) => said.subject == Subject::Point(*point),
        Wanted::Update(number, update) => {
            said.subject == Subject::Updates { first: number, last: number }
                && said.update == Some(*update)
        }
    };
    let found = ours.clone().find(fits).map(|said| said.owner);
    found.ok_or_else(|| {
        EvidenceError::Subject(match ours.count() {
            0 => "the contract said nothing about this log there".into(),
            _ => "the contract said something else about this log there".into(),
        })
    })
}

fn receipt(bytes: &[u8]) -> Result<Receipt, EvidenceError> {
    // A byte below 0x80 is a type; a list of RLP starts at 0xc0 (EIP-2718).
    let mut rlp = match bytes.first() {
        Some(0..0x80) => &bytes[1..],
        _ => bytes,
    };
    let decoded =
        ReceiptWithBloom::<Receipt>::decode(&mut rlp).map_err(|e| format("receipt", &e))?;
    match rlp.is_empty() {
        true => Ok(decoded.receipt),
        false => Err(EvidenceError::Format("bytes follow the receipt".into())),
    }
}

fn format(what: &str, error: &alloy_rlp::Error) -> EvidenceError {
    EvidenceError::Format(format!("the {what} is no RLP: {error}"))
}

fn proof(what: &str) -> EvidenceError {
    EvidenceError::Proof(what.into())
}
