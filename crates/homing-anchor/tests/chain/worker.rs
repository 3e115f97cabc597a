//! A worker as the daemon runs it: an anchor and its journal, round after round.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_anchor::evm::{Account, EvmAnchor, EvmConfig, Finality, KeySource, Mode, Terms, deploy};
use homing_anchor::{Anchor, AnchorError, Journal, Point, Round, Update};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::anvil::{Anvil, CHAIN_ID, KEY};

pub(crate) const ORIGIN: &str = "homing.example/log/1";
pub(crate) const GWEI: u128 = 1_000_000_000;

pub(crate) struct Worker {
    pub(crate) anchor: EvmAnchor,
    pub(crate) journal: Journal,
    /// The worker's clock, milliseconds; it jumps where a test wants time to pass.
    pub(crate) now_ms: u64,
}

/// A file with the account's key, readable by its owner alone.
pub(crate) fn key_file(dir: &Path) -> PathBuf {
    let path = dir.join("account.key");
    std::fs::write(&path, KEY).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(crate) async fn contract(chain: &Anvil, dir: &Path) -> [u8; 20] {
    let account = Account::open(&KeySource::File(key_file(dir))).unwrap();
    let terms = Terms { chain_id: CHAIN_ID, max_fee: 100 * GWEI, max_gas: 1_000_000 };
    deploy(&chain.url(), &account, &terms).await.unwrap().contract
}

pub(crate) fn config(url: &str, contract: [u8; 20], dir: &Path, mode: Mode) -> EvmConfig {
    EvmConfig {
        rpc_url: url.into(),
        contract,
        chain_id: CHAIN_ID,
        key: KeySource::File(key_file(dir)),
        mode,
        max_fee: 100 * GWEI,
        max_gas: 16_000_000,
        finality: Finality::Depth(3),
        start_block: 0,
        interval: Duration::ZERO,
        poll: Duration::from_millis(1),
        replace_after: Duration::from_secs(60),
    }
}

impl Worker {
    pub(crate) fn new(config: EvmConfig, journal: &Path) -> Self {
        let anchor = EvmAnchor::new(config, ORIGIN).unwrap();
        Self { anchor, journal: Journal::open(journal, ORIGIN).unwrap(), now_ms: 1_795_000_000_000 }
    }

    pub(crate) async fn round(&mut self) -> Result<Round, AnchorError> {
        self.now_ms += 1;
        self.anchor.round(&mut self.journal, self.now_ms).await
    }

    /// Rounds and blocks until nothing waits and everything is final; an error ends the test.
    pub(crate) async fn finish(&mut self, chain: &Anvil, points: bool) {
        for _ in 0..200_000 {
            let round = self.round().await.unwrap();
            if self.journal.waiting(points).unwrap().entries == 0 {
                return;
            }
            if round.sent == 0 && round.confirmed == 0 {
                chain.mine(1).await;
            }
        }
        panic!("still waiting: {:?}", self.journal.waiting(points));
    }
}

/// The log's root at `size`.
pub(crate) fn point(size: u64) -> Point {
    Point { size, root: Sha256::digest(size.to_be_bytes()).into() }
}

/// What update `number` says: digests as they are, not mostly zeros, because zeros are cheaper.
pub(crate) fn update(number: u64) -> Update {
    let digest = |what: &str, n: u64| -> [u8; 32] { Sha256::digest(format!("{what} {n}")).into() };
    let signature = [digest("r", number), digest("s", number)].concat().try_into().unwrap();
    Update {
        previous: digest("cid", number),
        current: digest("cid", number + 1),
        time_ms: 1_795_230_000_000 + number,
        signature,
    }
}

pub(crate) fn updates(first: u64, count: u64) -> Vec<Update> {
    (first..first + count).map(update).collect()
}

/// Gas of every transaction to `contract`, and how many there were, by the chain's own receipts.
pub(crate) async fn gas(chain: &Anvil, contract: [u8; 20]) -> (u64, u64) {
    let wanted = format!("0x{}", data_encoding::HEXLOWER.encode(&contract));
    let (mut gas, mut count) = (0, 0);
    for block in 0..=chain.height().await {
        let receipts = chain.ask("eth_getBlockReceipts", json!([format!("{block:#x}")])).await;
        for receipt in receipts.as_array().into_iter().flatten() {
            if receipt["to"] == json!(wanted) {
                gas += crate::anvil::number(&receipt["gasUsed"]);
                count += 1;
            }
        }
    }
    (gas, count)
}

/// Numbers of all updates that the chain holds, in its order.
async fn numbers(chain: &Anvil, contract: [u8; 20]) -> Vec<u64> {
    let address = format!("0x{}", data_encoding::HEXLOWER.encode(&contract));
    let filter = json!([{ "address": address, "fromBlock": "0x0", "toBlock": "latest" }]);
    let logs = chain.ask("eth_getLogs", filter).await;
    let topics = logs.as_array().unwrap().iter().filter_map(|log| log["topics"].get(3).cloned());
    topics.map(|topic| number_of_word(&topic)).collect()
}

/// Sizes of all checkpoints that the chain holds, in its order.
pub(crate) async fn sizes(chain: &Anvil, contract: [u8; 20]) -> Vec<u64> {
    let address = format!("0x{}", data_encoding::HEXLOWER.encode(&contract));
    let filter = json!([{ "address": address, "fromBlock": "0x0", "toBlock": "latest" }]);
    let logs = chain.ask("eth_getLogs", filter).await;
    let words =
        logs.as_array().unwrap().iter().map(|log| json!(log["data"].as_str().unwrap()[..66]));
    words.map(|word| number_of_word(&word)).collect()
}

fn number_of_word(word: &serde_json::Value) -> u64 {
    u64::from_str_radix(&word.as_str().unwrap()[50..], 16).unwrap()
}

/// The chain holds exactly updates `0..count`, each once and in order.
pub(crate) async fn assert_numbers(chain: &Anvil, contract: [u8; 20], count: u64) {
    let found = numbers(chain, contract).await;
    let wrong = found.iter().zip(0..).find(|(number, at)| *number != at);
    assert_eq!((found.len() as u64, wrong), (count, None), "each once and in order");
}
