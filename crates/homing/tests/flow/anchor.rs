//! The audit log of a real daemon, anchored on a real development chain, and an auditor who has the proof alone.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chain::{Chain, KEY, KEYSTORE, PASSPHRASE, file};
use crate::support::{Home, relay};

const PATIENCE: Duration = Duration::from_secs(120);
/// What `contracts/HomingAnchor.json` takes, as docs/anchoring.md says.
const DEPLOY_GAS: u64 = 304_779;

/// A CID of its own for every number.
fn cid(n: usize) -> String {
    format!("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk{}", ["u", "e", "a", "q"][n])
}

fn set(home: &Home, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        home.json(&["config", "set", &format!("audit.anchor.{key}"), value]);
    }
}

/// Everything but account and contract.
fn configure(home: &Home, chain: &Chain) {
    set(
        home,
        &[
            ("kind", "evm"),
            ("url", &chain.url()),
            ("chain_id", "31337"),
            ("confirmations", "2"),
            ("interval", "1s"),
        ],
    );
}

/// The contract of this home's account; the chain has it from here on.
fn deploy(home: &Home) -> String {
    let deployed = home.json(&["audit", "anchor", "deploy"]);
    assert_eq!(deployed["schema"], "homing.audit_contract/v1");
    assert_eq!(deployed["gas"], DEPLOY_GAS, "{deployed}");
    let contract = deployed["contract"].as_str().unwrap().to_owned();
    set(home, &[("contract", &contract)]);
    contract
}

fn run_daemon(home: &mut Home, relay: &str) {
    home.start(&["--hostname", "owner", "--listen", "127.0.0.1:0", "--relay", relay]);
}

/// Makes blocks until everything is anchored and final.
fn until_anchored(home: &Home, chain: &Chain, least: u64) -> Value {
    let began = Instant::now();
    loop {
        chain.mine(1);
        let status = home.json(&["audit", "anchor", "status"]);
        if status["waiting"] == 0 && status["anchored"].as_u64() >= Some(least) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "{status}: {}", home.run(&["status"]).stdout);
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn prove(home: &Home, id: u64, name: &str) -> String {
    let proof = home.path(name).to_str().unwrap().to_owned();
    home.json(&["audit", "prove", &id.to_string(), "--to", &proof]);
    proof
}

#[test]
fn what_is_missing_or_wrong_is_named_before_anything_is_sent() {
    let Some(chain) = Chain::start("anchor settings") else { return };
    let home = Home::new();
    let refused = |code: &str, words: &str| {
        let error = home.failure(&["audit", "anchor", "deploy"]);
        assert_eq!(error["code"], code, "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    };
    refused("config_invalid", "audit.anchor.kind");
    set(&home, &[("kind", "evm")]);
    refused("config_invalid", "audit.anchor.url");
    set(&home, &[("url", "http://127.0.0.1:1")]);
    refused("config_invalid", "audit.anchor.chain_id");
    set(&home, &[("chain_id", "31338")]);
    refused("config_invalid", "audit.anchor.key_file or audit.anchor.keystore");
    let open = file(&home.path("open.key"), KEY, 0o644);
    set(&home, &[("key_file", &open)]);
    refused("config_invalid", "chmod 600");
    let key = file(&home.path("account.key"), KEY, 0o600);
    set(&home, &[("key_file", &key)]);
    refused("peer_offline", "127.0.0.1:1");
    set(&home, &[("url", &chain.url())]);
    refused("config_invalid", "the node is of chain 31337, `audit.anchor.chain_id` is 31338");
    set(&home, &[("chain_id", "31337"), ("max_gas", "100000")]);
    refused("limit_reached", "needs 304779 gas");
    set(&home, &[("max_gas", "1000000")]);
    // An account without money.
    let poor = file(&home.path("poor.key"), &"17".repeat(32), 0o600);
    set(&home, &[("key_file", &poor)]);
    refused("agent_failed", "nsufficient funds");
    set(&home, &[("key_file", &key)]);
    // No log: nothing to anchor, and it is said.
    assert_eq!(home.failure(&["audit", "anchor", "now"])["code"], "not_found");
    deploy(&home);
    refused("already_exists", "0x");
}

#[test]
fn a_daemon_anchors_with_a_keystore_and_an_auditor_needs_the_proof_alone() {
    let Some(chain) = Chain::start("a daemon that anchors") else { return };
    let (_relay, url) = relay();
    let mut owner = Home::new();
    configure(&owner, &chain);
    let keystore = file(&owner.path("keystore.json"), KEYSTORE, 0o600);
    let wrong = file(&owner.path("wrong"), "another horse", 0o600);
    let passphrase = file(&owner.path("passphrase"), &format!("{PASSPHRASE}\n"), 0o600);
    set(&owner, &[("keystore", &keystore)]);
    let error = owner.failure(&["audit", "anchor", "deploy"]);
    assert!(error.to_string().contains("audit.anchor.passphrase_file is not set"), "{error}");
    set(&owner, &[("passphrase_file", &wrong)]);
    let error = owner.failure(&["audit", "anchor", "deploy"]);
    assert_eq!(error["code"], "config_invalid", "{error}");
    assert!(!error.to_string().contains("another horse"), "{error}");
    set(&owner, &[("passphrase_file", &passphrase)]);
    let contract = deploy(&owner);

    run_daemon(&mut owner, &url);
    (0..3).for_each(|n| drop(owner.json(&["publish", "planner/checkpoint", &cid(n)])));
    let listed = owner.json(&["audit", "log", "--kind", "reference"]);
    let updates: Vec<u64> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["index"].as_u64().unwrap())
        .collect();
    assert_eq!(updates.len(), 3, "{listed}");
    let status = until_anchored(&owner, &chain, updates[2] + 1);
    assert_eq!((&status["duplicates"], &status["reverted"]), (&0.into(), &0.into()), "{status}");
    let proof = prove(&owner, updates[1], "update.json");
    owner.kill();

    // An auditor: another home, no daemon, no network.
    let auditor = Home::new();
    let verified = auditor.json(&["verify", &proof]);
    let anchor = &verified["anchors"][0];
    assert_eq!((&anchor["type"], &verified["owner"]), (&"evm".into(), &owner.node_id().into()));
    let by = anchor["by"].as_str().unwrap();
    assert!(by.contains("chain 31337") && by.contains(&contract), "{verified}");
    assert_eq!(verified["entry"]["fact"]["value"], format!("/ipfs/{}", cid(1)));
    // The contract's address, and a node of the auditor's choice.
    let rpc = chain.url();
    let online = ["verify", &proof, "--rpc", &rpc, "--contract", &contract];
    let checked = auditor.json(&online)["anchors"][0]["checked"].as_str().unwrap().to_owned();
    assert!(checked.starts_with("on its chain"), "{checked}");
    let other = format!("0x{}", "07".repeat(20));
    let error = auditor.failure(&["verify", &proof, "--rpc", &rpc, "--contract", &other]);
    assert_eq!(error["code"], "audit_chain_broken", "{error}");
    let elsewhere = Chain::start("another chain").unwrap();
    let error =
        auditor.failure(&["verify", &proof, "--rpc", &elsewhere.url(), "--contract", &contract]);
    assert_eq!(error["code"], "audit_chain_broken", "{error}");
    drop(chain);
    assert_eq!(auditor.failure(&online)["code"], "peer_offline");
    assert_eq!(auditor.json(&["verify", &proof])["anchors"][0]["type"], "evm");
}

#[test]
fn every_update_alone_and_now_without_a_daemon() {
    let Some(chain) = Chain::start("update mode and `anchor now`") else { return };
    let (_relay, url) = relay();
    let mut owner = Home::new();
    configure(&owner, &chain);
    let key = file(&owner.path("account.key"), KEY, 0o600);
    set(&owner, &[("key_file", &key), ("mode", "update")]);
    deploy(&owner);
    // The daemon does not anchor: the chain it knows is not there.
    set(&owner, &[("url", "http://127.0.0.1:1")]);
    run_daemon(&mut owner, &url);
    (0..2).for_each(|n| drop(owner.json(&["publish", "planner/checkpoint", &cid(n)])));
    owner.kill();
    let away = owner.failure(&["audit", "anchor", "now"]);
    assert_eq!((&away["code"], &away["exit"]), (&"peer_offline".into(), &7.into()), "{away}");
    let status = owner.json(&["audit", "anchor", "status"]);
    assert_eq!((&status["waiting"], &status["anchored"]), (&2.into(), &0.into()), "{status}");

    set(&owner, &[("url", &chain.url())]);
    let sent = owner.json(&["audit", "anchor", "now"]);
    assert_eq!(sent["mode"], "update");
    assert!(sent["sent"].as_u64() >= Some(1), "{sent}");
    let done = std::thread::scope(|scope| {
        let waits = scope.spawn(|| owner.json(&["audit", "anchor", "now", "--wait", "2m"]));
        while !waits.is_finished() {
            chain.mine(1);
            std::thread::sleep(Duration::from_millis(200));
        }
        waits.join().unwrap()
    });
    assert_eq!((&done["waiting"], &done["anchored"]), (&0.into(), &2.into()), "{done}");
    assert_eq!(owner.json(&["audit", "anchor", "now"])["anchored"], 2, "nothing waits");
    let listed = owner.json(&["audit", "log", "--kind", "reference"]);
    for entry in listed["entries"].as_array().unwrap() {
        let proof = prove(&owner, entry["index"].as_u64().unwrap(), "update.json");
        let verified = owner.json(&["verify", &proof]);
        assert_eq!(verified["anchors"][0]["type"], "evm", "{verified}");
    }
}
