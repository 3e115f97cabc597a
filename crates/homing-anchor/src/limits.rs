//! Numbers that bound anchoring.

use std::time::Duration;

/// Updates in one transaction: 1,000 cost about 7.7 million gas, and EIP-7825 allows 16,777,216 per transaction.
pub const UPDATES_PER_TRANSACTION_MAX: usize = 1_000;

/// Updates that may wait in the journal: a year without the chain at 1.9 per minute. More are refused, and reported by the log.
pub const UPDATES_WAITING_MAX: u64 = 1_000_000;

/// Evidence of one mark. A receipt of 1,000 updates has 400 kB, a token 1 to 8 kB.
pub const EVIDENCE_BYTES_MAX: usize = 2 << 20;

/// Nodes of a receipt's Merkle-Patricia proof: 16^8 receipts fit into 8, and a leaf.
pub const PROOF_NODES_MAX: usize = 16;

/// An answer of a chain node: all receipts of a full block are a few MB.
pub const RPC_ANSWER_BYTES_MAX: usize = 32 << 20;

/// A time-stamp response with its certificates.
pub const TSA_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Time for one request to a chain node or an authority.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Blocks of one `eth_getLogs`: what public nodes commonly allow.
pub const LOG_BLOCKS_MAX: u64 = 10_000;

/// `eth_getLogs` calls in one round; the rest waits for the next.
pub const LOG_CALLS_PER_ROUND_MAX: usize = 100;

/// Marks that are looked at again in one round.
pub const OPEN_MARKS_PER_ROUND_MAX: usize = 500;

/// Transactions that may replace one another at one nonce, before only the newest are remembered.
pub const REPLACEMENTS_KEPT_MAX: usize = 32;

/// A key, keystore or passphrase file.
pub const SECRET_BYTES_MAX: u64 = 16 << 10;

/// Characters of a service's words that are kept.
pub const REASON_CHARS_MAX: usize = 200;

const _: () = assert!(UPDATES_PER_TRANSACTION_MAX * 2_000 <= EVIDENCE_BYTES_MAX);
