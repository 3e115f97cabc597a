//! The contract, run by an EVM inside this process: what it refuses, what it says, and what it costs.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod machine;

use std::io::Write as _;

use homing_anchor::evm::{creation_code, deployed_code};
use machine::{Machine, anchor, update};

const ORIGIN: [u8; 32] = [0xa1; 32];

/// Gas per operation that was measured when the contract was designed; see `docs/anchoring.md`.
const ANCHOR_NEXT_GAS_MAX: u64 = 32_171;
const ANCHOR_FIRST_GAS_MAX: u64 = 69_397;
const UPDATE_GAS_MAX: u64 = 30_000;
const DEPLOY_GAS_MAX: u64 = 873_031;

#[test]
fn a_checkpoint_is_kept_and_said() {
    let mut machine = Machine::with_contract();
    let owner = machine.account(1);
    let said = machine.call(owner, anchor(ORIGIN, 7, [9; 32])).expect("accepted");
    assert_eq!(said.logs.len(), 1);
    let log = &said.logs[0];
    assert_eq!(log.topics()[1].as_slice()[12..], owner.into_array(), "who");
    assert_eq!(log.topics()[2].0, ORIGIN, "which log");
    assert_eq!(log.data.data[24..32], 7u64.to_be_bytes(), "how many entries");
    assert_eq!(log.data.data[32..64], [9; 32], "which root");
    assert_eq!(machine.tip(owner, ORIGIN), (7, [9; 24]));
}

#[test]
fn a_log_cannot_shrink_nor_say_another_root_at_the_same_size() {
    let mut machine = Machine::with_contract();
    let owner = machine.account(1);
    machine.call(owner, anchor(ORIGIN, 7, [9; 32])).expect("accepted");
    for size in [0, 6, 7] {
        assert!(machine.call(owner, anchor(ORIGIN, size, [8; 32])).is_err(), "size {size} after 7");
    }
    assert_eq!(machine.tip(owner, ORIGIN), (7, [9; 24]), "nothing changed");
    machine.call(owner, anchor(ORIGIN, 8, [8; 32])).expect("a larger one is accepted");
}

#[test]
fn nobody_can_squat_an_origin() {
    let mut machine = Machine::with_contract();
    let (owner, other) = (machine.account(1), machine.account(2));
    machine.call(other, anchor(ORIGIN, 1_000, [6; 32])).expect("into his own column");
    machine
        .call(owner, anchor(ORIGIN, 7, [9; 32]))
        .expect("the owner is not in the way of anybody");
    assert_eq!(machine.tip(owner, ORIGIN), (7, [9; 24]));
    assert_eq!(machine.tip(other, ORIGIN), (1_000, [6; 24]));
}

#[test]
fn updates_are_said_in_order_with_everything_that_was_given() {
    let mut machine = Machine::with_contract();
    let owner = machine.account(1);
    let said = machine.call(owner, update(ORIGIN, 41, 3)).expect("accepted");
    assert_eq!(said.logs.len(), 3);
    for (i, log) in (0u8..).zip(&said.logs) {
        assert_eq!(log.topics()[3].0[24..], (41 + u64::from(i)).to_be_bytes(), "number");
        let words: Vec<&[u8]> = log.data.data.chunks(32).collect();
        assert_eq!(words[0], [i + 1; 32], "previous");
        assert_eq!(words[1], [i + 2; 32], "current");
        assert_eq!(words[2][24..], machine::TIME_MS.to_be_bytes(), "time");
        assert_eq!([words[3], words[4]].concat(), [0xee; 64], "signature");
    }
}

#[test]
fn what_is_deployed_is_what_verifiers_compare_with() {
    let machine = Machine::with_contract();
    assert_eq!(machine.deployed, deployed_code());
    assert!(creation_code().len() > deployed_code().len());
}

#[test]
fn gas_stays_below_what_was_measured_before() {
    let mut machine = Machine::with_contract();
    let owner = machine.account(1);
    let first = machine.call(owner, anchor(ORIGIN, 70_000, [0xfe; 32])).expect("first").gas;
    let next = machine.call(owner, anchor(ORIGIN, 71_000, [0xfd; 32])).expect("next").gas;
    let one = machine.call(owner, update(ORIGIN, 1, 1)).expect("one").gas;
    let hundred = machine.call(owner, update(ORIGIN, 2, 100)).expect("hundred").gas;
    let thousand = machine.call(owner, update(ORIGIN, 102, 1_000)).expect("thousand").gas;
    println!("deploy                 {:>9} gas", machine.deploy_gas);
    println!("checkpoint, first      {first:>9} gas");
    println!("checkpoint, next       {next:>9} gas, whatever it covers");
    println!("update alone           {one:>9} gas");
    println!("update, 100 together   {:>9} gas each", hundred / 100);
    println!("update, 1000 together  {:>9} gas each", thousand / 1_000);
    println!(
        "1000 updates: one by one {}, together {thousand}, as one checkpoint {next}",
        one * 1_000
    );
    assert!(machine.deploy_gas <= DEPLOY_GAS_MAX);
    assert!(first <= ANCHOR_FIRST_GAS_MAX && next <= ANCHOR_NEXT_GAS_MAX && one <= UPDATE_GAS_MAX);
    assert!(thousand < 16_777_216, "EIP-7825 allows 2^24 gas in one transaction");
}

#[test]
fn the_compiled_contract_is_what_its_source_compiles_to() {
    let tools = std::env::var_os("HOMING_CHAIN_TOOLS").map(std::path::PathBuf::from);
    let Some(tools) = tools.filter(|t| t.join("node_modules/solc").is_dir()) else {
        let line = "SKIPPED: rebuilding the contract: HOMING_CHAIN_TOOLS names no folder with the compiler\n";
        return std::io::stdout().write_all(line.as_bytes()).unwrap();
    };
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/build.mjs");
    let mut node = std::process::Command::new("node");
    let ran =
        node.args([build, "--check"]).env("HOMING_CHAIN_TOOLS", tools).output().expect("node runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
