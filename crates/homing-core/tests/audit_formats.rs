//! The audit log's formats from outside: entries, heads and proof bundles, pinned in `spec/vectors/audit.json`.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use data_encoding::{BASE64, HEXLOWER};
use homing_base::derived::Delegation;
use homing_base::sign1::{self, Domain};
use homing_base::{IdentityKey, NodeId, Wall};
use homing_core::audit::bundle::BUNDLE_SCHEMA;
use homing_core::audit::checkpoint::Cosignature;
use homing_core::audit::entry::{
    EvidenceVerdict, KeyEvent, RecordChange, ReferenceUpdate, RoleChange, TrustChange,
};
use homing_core::audit::note::KeyType;
use homing_core::audit::tree::inclusion_proof;
use homing_core::audit::{
    Checkpoint, Entry, Fact, Frontier, Hash, Inclusion, NoteKey, NoteSigner, PURPOSE_COSIGNER,
    PURPOSE_LOG, ProofBundle, SignedEntry, SignedNote, TlogProof, UnverifiedEntry, cosigner_name,
    origin,
};
use serde_json::{Value, json};

use vectors_file::{compare, kind};

const BEGUN: Wall = Wall(1_795_230_000_000);

fn owner() -> IdentityKey {
    IdentityKey::from_seed([7; 32])
}

fn witness() -> IdentityKey {
    IdentityKey::from_seed([8; 32])
}

fn log_name() -> String {
    origin(&owner().node_id(), BEGUN)
}

fn facts() -> Vec<Fact> {
    let digest = |what: &str| Hash::digest(what.as_bytes());
    vec![
        Fact::Record(RecordChange {
            sequence: BEGUN.0,
            old: None,
            new: digest("endpoints"),
            record: digest("record"),
            withdrawn: None,
        }),
        Fact::Reference(ReferenceUpdate {
            name: "k51qzi5uqu5dh9p5dfx29l4iqxlkwlfesji9bh500cgr8ic0wqkavenbuwzkon".into(),
            sequence: 1,
            previous: Some("/ipfs/bafkqaaa".into()),
            value: "/ipfs/bafkqaaz".into(),
            timestamp: BEGUN,
            signature: vec![0x55; 64],
            record: digest("reference"),
        }),
        Fact::Trust(TrustChange {
            peer: NodeId([0x22; 32]),
            from: "pending".into(),
            to: "mutual".into(),
            ours: Some(digest("ours")),
            theirs: None,
        }),
        Fact::Key(KeyEvent {
            event: "superseded at sequence 2".into(),
            purpose: "instance".into(),
            key: None,
            digest: Some(digest("instance")),
        }),
        Fact::Evidence(EvidenceVerdict {
            subject: NodeId([0x33; 32]),
            evidence: "log_fork".into(),
            digest: digest("both heads"),
            verdict: "two histories".into(),
        }),
        Fact::Role(RoleChange { role: "relay".into(), on: true }),
    ]
}

fn entries() -> Vec<SignedEntry> {
    let mut signed: Vec<SignedEntry> = Vec::new();
    for (sequence, fact) in (0..).zip(facts()) {
        let entry = Entry {
            log: Hash::digest(log_name().as_bytes()),
            author: owner().public(),
            sequence,
            previous: signed.last().map(SignedEntry::leaf),
            time: Wall(BEGUN.0 + sequence),
            fact,
        };
        signed.push(entry.sign(&owner()).expect("signs"));
    }
    signed
}

fn signer(key: &IdentityKey, name: &str, kind: KeyType, purpose: &str) -> NoteSigner {
    NoteSigner::new(name, kind, key.derive(purpose)).expect("a plain name")
}

fn delegation(key: &IdentityKey, name: &str, purpose: &str, at: Wall) -> Delegation {
    key.delegate(key.derive(purpose).public(), purpose, name, at)
}

/// The head of all entries, cosigned by the witness a minute later.
fn head() -> SignedNote {
    let mut frontier = Frontier::default();
    entries().iter().for_each(|entry| frontier.push(entry.leaf()));
    let log = signer(&owner(), &log_name(), KeyType::Ed25519, PURPOSE_LOG);
    let mut note = Checkpoint::new(&log_name(), frontier.size(), frontier.root()).sign(&log);
    let name = cosigner_name(&witness().node_id());
    let cosigner = signer(&witness(), &name, KeyType::CosignatureV1, PURPOSE_COSIGNER);
    let cosigned = Cosignature::sign(&note.text, &cosigner, BEGUN.0 / 1_000 + 60);
    note.signatures.push(cosigned.line);
    note
}

fn bundle(index: u64) -> ProofBundle {
    let leaves: Vec<Hash> = entries().iter().map(SignedEntry::leaf).collect();
    let path = inclusion_proof(&mut &leaves[..], index, leaves.len() as u64).expect("in memory");
    let proof = TlogProof { extra: None, inclusion: Inclusion { index, path }, checkpoint: head() };
    let name = cosigner_name(&witness().node_id());
    let log = signer(&owner(), &log_name(), KeyType::Ed25519, PURPOSE_LOG);
    let cosigner = signer(&witness(), &name, KeyType::CosignatureV1, PURPOSE_COSIGNER);
    let said = [
        delegation(&owner(), &log_name(), PURPOSE_LOG, BEGUN),
        delegation(&witness(), &name, PURPOSE_COSIGNER, Wall(0)),
    ];
    ProofBundle {
        schema: BUNDLE_SCHEMA.into(),
        entry: BASE64.encode(entries()[index as usize].bytes()),
        proof: proof.to_string(),
        log_key: log.key().to_string(),
        delegations: said.iter().map(|said| BASE64.encode(said.bytes())).collect(),
        witnesses: vec![cosigner.key().to_string()],
        anchors: Vec::new(),
    }
}

fn valid() -> Vec<Value> {
    let mut cases = Vec::new();
    for (index, entry) in (0..).zip(entries()) {
        let read = UnverifiedEntry::parse(entry.bytes()).and_then(UnverifiedEntry::verify);
        assert_eq!(read.as_ref(), Ok(&entry));
        let bundle = bundle(index);
        let verified = bundle.verify().expect("our own proof holds");
        assert_eq!((verified.index, verified.cosignatures.len()), (index, 1));
        cases.push(json!({
            "name": entry.fact.kind(),
            "identity_secret_key": HEXLOWER.encode(&[7; 32]),
            "witness_secret_key": HEXLOWER.encode(&[8; 32]),
            "origin": log_name(),
            "entry": HEXLOWER.encode(entry.bytes()),
            "leaf": HEXLOWER.encode(&entry.leaf().0),
            "checkpoint": head().to_string(),
            "bundle": bundle,
        }));
    }
    cases
}

/// Bundles that prove nothing, each for a reason of its own.
fn wrong_bundles() -> Vec<(&'static str, ProofBundle)> {
    let good = bundle(1);
    let with = |change: &dyn Fn(&mut ProofBundle)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let other = IdentityKey::from_seed([9; 32]);
    let stolen = delegation(&other, &log_name(), PURPOSE_LOG, BEGUN);
    let foreign = Entry { log: Hash::digest(b"another log"), ..(*entries()[1]).clone() };
    let foreign = foreign.sign(&owner()).expect("signs");
    let mut forged = entries()[1].bytes().to_vec();
    *forged.last_mut().expect("not empty") ^= 1;
    vec![
        ("another schema", with(&|b| b.schema.push('2'))),
        ("nobody delegates", with(&|b| drop(b.delegations.remove(0)))),
        ("another identity's name", with(&|b| b.delegations[0] = BASE64.encode(stolen.bytes()))),
        ("an unknown witness", with(&|b| drop(b.delegations.pop()))),
        ("an entry of another log", with(&|b| b.entry = BASE64.encode(foreign.bytes()))),
        ("a forged entry", with(&|b| b.entry = BASE64.encode(&forged))),
        ("the entry before it", with(&|b| b.entry = BASE64.encode(entries()[0].bytes()))),
        ("another size", with(&|b| b.proof = b.proof.replace("\n6\n", "\n7\n"))),
        ("not base64", with(&|b| b.entry.insert(0, '*'))),
    ]
}

fn invalid() -> Vec<Value> {
    let entry = entries()[0].bytes().to_vec();
    let mut flipped = entry.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    let (payload, _) = sign1::parse(&entry, 4_096).expect("our own");
    let entries = [
        ("a changed signature", flipped),
        ("signed as something else", sign1::sign(&owner(), Domain::TrustStatement, payload)),
        ("signed by another", sign1::sign(&witness(), Domain::AuditEntry, payload)),
        ("a byte too many", [&entry[..], &[0]].concat()),
        ("no entry", sign1::sign(&owner(), Domain::AuditEntry, &[0xa0])),
        ("empty", Vec::new()),
    ];
    let entries = entries.map(|(name, bytes)| {
        let error = UnverifiedEntry::parse(&bytes).and_then(UnverifiedEntry::verify);
        let error = kind(&error.expect_err(name));
        json!({ "name": name, "entry": HEXLOWER.encode(&bytes), "error": error })
    });
    let bundles = wrong_bundles().into_iter().map(|(name, bundle)| {
        let error = kind(&bundle.verify().expect_err(name));
        json!({ "name": name, "bundle": bundle, "error": error })
    });
    entries.into_iter().chain(bundles).collect()
}

#[test]
fn entries_heads_and_proofs_are_pinned() {
    let key: NoteKey = bundle(0).log_key.parse().expect("a vkey");
    assert!(Checkpoint::verify(&head(), &key).is_ok());
    compare(
        "audit.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/14-audit.md", "valid": valid(), "invalid": invalid(),
        }),
    );
}
