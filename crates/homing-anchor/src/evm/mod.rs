//! Anchoring on an EVM chain: one small contract, one account, one transaction at a time.
//!
//! ```text
//! round:  newest block H ─► marks whose block is gone: removed ─► events up to H: marks ─► final blocks: evidence
//!         nonce n after H ─► signed before with n?  yes: send the same again, or replace it with a higher fee
//!                                                   no:  sign the next with n, write it down, send it
//! ```
//! **The nonce is the lock.** What comes next and the nonce are read after the same block H, and the chain takes one transaction
//! per nonce. So however many workers share the account, and wherever one of them dies, two transactions for the same thing have the
//! same nonce, and one of them happens. For checkpoints the contract refuses repetitions besides. A nonce whose transaction held
//! updates is used for the same updates again after a reorganisation, whatever the node kept of the first.
//!
//! A mark counts when its block is final: by the chain's own `finalized`, or below a configured depth. Sources: the Execution
//! APIs of Ethereum; EIP-155 (chain id), EIP-1559 (fees), EIP-2718 (envelopes).

mod chain;
mod contract;
mod deploy;
mod online;
mod receipt;
mod round;
mod rpc;
mod send;
mod signer;

use std::time::Duration;

use alloy_primitives::Address;

pub use contract::{creation_code, deployed_code};
pub use deploy::{Deployed, Terms, deploy};
pub use online::{Standing, standing};
pub(crate) use receipt::confirm;
pub use signer::{Account, KeySource};

use crate::limits::UPDATES_PER_TRANSACTION_MAX;
use crate::{AnchorError, origin_hash};
use chain::Chain;
use rpc::Rpc;

/// What goes on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The newest checkpoint; it covers all before.
    Checkpoint,
    /// Every update of a reference as an event of its own, up to `batch` of them in one transaction.
    Update {
        /// 1 to 1,000.
        batch: usize,
    },
}

/// When a block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// As the chain's consensus says, by the block tag `finalized`.
    Finalized,
    /// With this many blocks on top, where a chain has no such tag.
    Depth(u64),
}

/// What is configured.
#[derive(Clone, Debug)]
pub struct EvmConfig {
    /// JSON-RPC endpoint of a node.
    pub rpc_url: String,
    /// The contract.
    pub contract: [u8; 20],
    /// The chain that the node must be of.
    pub chain_id: u64,
    /// The account's key.
    pub key: KeySource,
    /// What goes on the chain.
    pub mode: Mode,
    /// Most that is paid per gas, in wei.
    pub max_fee: u128,
    /// Most gas of one transaction.
    pub max_gas: u64,
    /// When a block counts.
    pub finality: Finality,
    /// Block of the contract's creation, or any before the log's first mark: where a search begins.
    pub start_block: u64,
    /// Least time between two new transactions.
    pub interval: Duration,
    /// Time between two looks at the chain while something is under way.
    pub poll: Duration,
    /// After this time a transaction that was not included is replaced by one with a higher fee.
    pub replace_after: Duration,
}

/// A contract on a chain, and the account that writes to it.
#[derive(Debug)]
pub struct EvmAnchor {
    chain: Chain,
    account: Account,
    config: EvmConfig,
    /// The node said that it is of the right chain.
    is_checked: bool,
    /// Since when a transaction that this journal does not know is under way.
    foreign_since_ms: Option<u64>,
    /// The newest block when a nonce of ours was first found used by nothing of ours.
    unexplained: Option<u64>,
}

impl EvmAnchor {
    /// Reads the key; nothing is contacted yet.
    ///
    /// # Errors
    /// [`AnchorError::Setting`] naming what is wrong.
    pub fn new(config: EvmConfig, origin: &str) -> Result<Self, AnchorError> {
        if let Mode::Update { batch } = config.mode
            && !(1..=UPDATES_PER_TRANSACTION_MAX).contains(&batch)
        {
            let most = UPDATES_PER_TRANSACTION_MAX;
            return Err(AnchorError::Setting(format!("one transaction takes 1 to {most} updates")));
        }
        let account = Account::open(&config.key)?;
        let chain = Chain {
            rpc: Rpc::new(&config.rpc_url)?,
            contract: Address::from(config.contract),
            owner: account.address(),
            origin: origin_hash(origin).into(),
        };
        Ok(Self {
            chain,
            account,
            config,
            is_checked: false,
            foreign_since_ms: None,
            unexplained: None,
        })
    }

    /// The account's address.
    #[must_use]
    pub fn owner(&self) -> [u8; 20] {
        self.chain.owner.into_array()
    }
}
