//! An EVM with the contract in it, and calls to it.

use alloy_sol_types::SolCall;
use homing_anchor::evm::creation_code;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::InMemoryDB;
use revm::primitives::{Address, B256, Bytes, Log, TxKind, U256, hardfork::SpecId};
use revm::state::AccountInfo;
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};

pub(crate) use source::HomingAnchor;

mod source {
    #![allow(clippy::all, reason = "written by a macro")]
    alloy_sol_types::sol!("../../contracts/HomingAnchor.sol");
}

/// The time that updates carry here.
pub(crate) const TIME_MS: u64 = 1_795_230_000_000;

pub(crate) struct Machine {
    database: InMemoryDB,
    nonces: std::collections::BTreeMap<Address, u64>,
    contract: Address,
    pub(crate) deployed: Bytes,
    pub(crate) deploy_gas: u64,
}

/// What an accepted transaction did.
pub(crate) struct Did {
    pub(crate) logs: Vec<Log>,
    pub(crate) gas: u64,
}

impl Machine {
    pub(crate) fn with_contract() -> Self {
        let mut machine = Self {
            database: InMemoryDB::default(),
            nonces: Default::default(),
            contract: Address::ZERO,
            deployed: Bytes::new(),
            deploy_gas: 0,
        };
        let maker = machine.account(0xff);
        let result = machine.run(maker, TxKind::Create, creation_code());
        machine.deploy_gas = result.tx_gas_used();
        let ExecutionResult::Success { output: Output::Create(code, Some(address)), .. } = result
        else {
            panic!("the contract was not created: {result:?}")
        };
        machine.contract = address;
        machine.deployed = code;
        machine
    }

    /// An account with money.
    pub(crate) fn account(&mut self, number: u8) -> Address {
        let address = Address::repeat_byte(number);
        let rich =
            AccountInfo { balance: U256::from(10).pow(U256::from(20)), ..Default::default() };
        self.database.insert_account_info(address, rich);
        address
    }

    /// Sends `input` to the contract. `Err`: it reverted.
    pub(crate) fn call(&mut self, from: Address, input: Bytes) -> Result<Did, Bytes> {
        let result = self.run(from, TxKind::Call(self.contract), input);
        let gas = result.tx_gas_used();
        match result {
            ExecutionResult::Success { logs, .. } => Ok(Did { logs, gas }),
            ExecutionResult::Revert { output, .. } => Err(output),
            ExecutionResult::Halt { reason, .. } => panic!("halted: {reason:?}"),
        }
    }

    /// Size and start of the root that the contract keeps.
    pub(crate) fn tip(&mut self, owner: Address, origin: [u8; 32]) -> (u64, [u8; 24]) {
        let asker = Address::repeat_byte(0xff);
        let input = HomingAnchor::tipCall { owner, origin: B256::from(origin) }.abi_encode();
        let result = self.run(asker, TxKind::Call(self.contract), input.into());
        let output = result.output().expect("it answers");
        let tip = HomingAnchor::tipCall::abi_decode_returns(output).expect("two values");
        (tip.size, tip.rootStart.0)
    }

    fn run(&mut self, from: Address, kind: TxKind, data: Bytes) -> ExecutionResult {
        let nonce = self.nonces.entry(from).or_default();
        let transaction = TxEnv::builder()
            .caller(from)
            .kind(kind)
            .data(data)
            .nonce(*nonce)
            .gas_limit(16_000_000)
            .gas_price(1)
            .build()
            .expect("a whole transaction");
        *nonce += 1;
        let context = Context::mainnet()
            .with_db(&mut self.database)
            .modify_cfg_chained(|c| c.spec = SpecId::OSAKA);
        context.build_mainnet().transact_commit(transaction).expect("a valid transaction")
    }
}

pub(crate) fn anchor(origin: [u8; 32], size: u64, root: [u8; 32]) -> Bytes {
    HomingAnchor::anchorCall { origin: B256::from(origin), size, root: root.into() }
        .abi_encode()
        .into()
}

/// `count` updates from number `first` on; the n-th leads from `[n + 1; 32]` to `[n + 2; 32]`.
pub(crate) fn update(origin: [u8; 32], first: u64, count: usize) -> Bytes {
    let updates = (0..count).map(|i| HomingAnchor::Update {
        previous: B256::repeat_byte((i as u8).wrapping_add(1)),
        current: B256::repeat_byte((i as u8).wrapping_add(2)),
        time: U256::from(TIME_MS),
        signatureR: B256::repeat_byte(0xee),
        signatureS: B256::repeat_byte(0xee),
    });
    HomingAnchor::updateCall { origin: origin.into(), first, updates: updates.collect() }
        .abi_encode()
        .into()
}
