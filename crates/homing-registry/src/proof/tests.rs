//! Owner proofs and heartbeats: pinned bytes, round trips, perturbed bytes.

use homing_base::{IdentityKey, Mono, Now, Wall};

use super::*;

const HOUR: u64 = 3_600_000;

fn now(ms: u64) -> Now {
    Now { mono: Mono(0), wall: Wall(ms) }
}

fn key(seed: u8) -> IdentityKey {
    IdentityKey::from_seed([seed; 32])
}

fn proof() -> OwnerProof {
    OwnerProof {
        owner: key(1).public(),
        agent: key(2).node_id(),
        name: Some("planner".parse().unwrap()),
        issued: Wall(HOUR),
        expires: Wall(2 * HOUR),
    }
}

#[test]
fn a_proof_is_worth_something_only_for_the_agent_it_names() {
    let bytes = proof().sign(&key(1)).unwrap();
    assert_eq!(OwnerProof::verify(&bytes, &key(2).node_id(), now(HOUR + 1)), Ok(proof()));
    let stolen = OwnerProof::verify(&bytes, &key(3).node_id(), now(HOUR + 1));
    assert!(matches!(stolen, Err(ProofError::OtherAgent { .. })), "{stolen:?}");
    let late = OwnerProof::verify(&bytes, &key(2).node_id(), now(2 * HOUR));
    assert!(matches!(late, Err(ProofError::Expired { .. })), "{late:?}");
    assert_eq!(proof().sign(&key(3)), Err(ProofError::Key));
}

#[test]
fn a_proof_does_not_live_for_ever() {
    let expires =
        Wall(HOUR).after(OWNER_PROOF_LIFETIME_MAX).after(std::time::Duration::from_secs(1));
    let refused = OwnerProof { expires, ..proof() }.sign(&key(1));
    assert!(matches!(refused, Err(ProofError::Lifetime { .. })));
}

#[test]
fn a_heartbeat_is_fresh_or_nothing() {
    let bytes = Heartbeat::sign(&key(2), Wall(HOUR));
    for inside in [HOUR - 60_000, HOUR, HOUR + 60_000] {
        assert_eq!(Heartbeat::verify(&bytes, now(inside)).unwrap().agent, key(2).public());
    }
    for outside in [HOUR - 60_001, HOUR + 60_001] {
        let refused = Heartbeat::verify(&bytes, now(outside));
        assert!(matches!(refused, Err(ProofError::Clock { .. })), "{refused:?}");
    }
}

#[test]
fn one_object_does_not_pass_for_the_other_and_no_changed_byte_verifies() {
    let (agent, at) = (key(2).node_id(), now(HOUR));
    let heartbeat = Heartbeat::sign(&key(2), Wall(HOUR));
    assert!(OwnerProof::verify(&heartbeat, &agent, at).is_err());
    let proof = proof().sign(&key(1)).unwrap();
    assert!(Heartbeat::verify(&proof, at).is_err());
    for n in 0..proof.len() {
        for bit in 0..8 {
            let mut bytes = proof.clone();
            bytes[n] ^= 1 << bit;
            assert!(OwnerProof::verify(&bytes, &agent, at).is_err(), "byte {n}, bit {bit}");
        }
    }
    for n in 0..heartbeat.len() {
        let mut bytes = heartbeat.clone();
        bytes[n] ^= 1;
        assert!(Heartbeat::verify(&bytes, at).is_err(), "byte {n}");
    }
}

#[test]
fn the_bytes_are_those_of_the_vectors() {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let heartbeat = Heartbeat::sign(&key(2), Wall(HOUR));
    let vectors = serde_json::json!({
        "schema": "homing.vectors/v1",
        "about": "spec/10-registry.md",
        "valid": [
            {
                "object": "owner proof",
                "signer_seed": hex(&[1; 32]),
                "agent": key(2).node_id(),
                "name": "planner",
                "issued": HOUR,
                "expires": 2 * HOUR,
                "bytes": hex(&proof().sign(&key(1)).unwrap()),
            },
            {
                "object": "heartbeat",
                "signer_seed": hex(&[2; 32]),
                "issued": HOUR,
                "bytes": hex(&heartbeat),
            },
        ],
        "invalid": [{
            "object": "owner proof",
            "name": "a heartbeat is no proof",
            "bytes": hex(&heartbeat),
            "error": "Encoding.Shape",
        }],
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/registry.json");
    if std::env::var_os("HOMING_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "HOMING_BLESS=1 writes it anew");
}
