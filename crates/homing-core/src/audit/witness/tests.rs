//! Owners and witnesses, joined by hand.

use super::*;
use crate::audit::tree::{Frontier, consistency_proof};

/// A node: its machine, and its own log as a list of leaves.
struct Node {
    key: IdentityKey,
    machine: Witness,
    leaves: Vec<Hash>,
    said: Vec<WitnessOutput>,
}

const START: Now = Now { mono: Mono(0), wall: Wall(1_700_000_000_000) };

fn later(seconds: u64) -> Now {
    let by = Duration::from_secs(seconds);
    Now { mono: START.mono.after(by), wall: START.wall.after(by) }
}

impl Node {
    fn new(seed: u8) -> Self {
        let key = IdentityKey::from_seed([seed; 32]);
        let machine = Witness::new(&key, Vec::new(), Vec::new());
        Self { key, machine, leaves: Vec::new(), said: Vec::new() }
    }

    fn id(&self) -> NodeId {
        self.key.node_id()
    }

    fn signer(&self) -> NoteSigner {
        let origin = super::super::origin(&self.id(), Wall(1));
        NoteSigner::new(&origin, KeyType::Ed25519, self.key.derive(PURPOSE_LOG)).unwrap()
    }

    fn head(&self) -> SignedNote {
        let mut frontier = Frontier::default();
        self.leaves.iter().for_each(|leaf| frontier.push(*leaf));
        let signer = self.signer();
        Checkpoint::new(&signer.key().name, frontier.size(), frontier.root()).sign(&signer)
    }

    fn open(&mut self, now: Now) {
        let signer = self.signer();
        let (key, name) = (signer.key().key, &signer.key().name);
        let delegation = self.key.delegate(key, PURPOSE_LOG, name, Wall(1));
        self.machine.open(now, &delegation, self.head());
    }

    fn append(&mut self, now: Now, what: &str) {
        self.leaves.push(Hash::leaf(what.as_bytes()));
        self.machine.commit(now, self.head());
    }

    fn refused(&self) -> bool {
        self.said.iter().any(|output| matches!(output, WitnessOutput::Refuse(_)))
    }

    fn released(&self) -> bool {
        self.said.iter().any(|output| matches!(output, WitnessOutput::Release))
    }

    fn cosigners(&self) -> usize {
        let last = self.said.iter().rev().find_map(|output| match output {
            WitnessOutput::Cosigned(note, _) => Some(note.signatures.len() - 1),
            _ => None,
        });
        last.unwrap_or(0)
    }
}

/// Delivers everything that is said until nobody says anything.
fn settle(now: Now, nodes: &mut [Node]) {
    loop {
        let mut quiet = true;
        for at in 0..nodes.len() {
            while let Some(output) = nodes[at].machine.poll_output() {
                quiet = false;
                let from = nodes[at].id();
                nodes[at].said.push(output.clone());
                match output {
                    WitnessOutput::Send(to, word) => {
                        let word = Word::decode(&word.encode()).unwrap();
                        if let Some(to) = nodes.iter_mut().find(|node| node.id() == to) {
                            to.machine.on_word(now, from, word);
                        }
                    }
                    WitnessOutput::Prove { witness, old } => {
                        let (leaves, note) = (nodes[at].leaves.clone(), nodes[at].head());
                        let size = leaves.len() as u64;
                        let path = consistency_proof(&mut &leaves[..], old, size).unwrap();
                        nodes[at].machine.on_proof(witness, &note, Consistency { old, path });
                    }
                    _ => {}
                }
            }
        }
        if quiet {
            return;
        }
    }
}

fn join(nodes: &mut [Node]) {
    let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    for node in nodes {
        let me = node.id();
        ids.iter().filter(|id| **id != me).for_each(|id| node.machine.peer_up(*id));
    }
}

fn wake(now: Now, nodes: &mut [Node]) {
    nodes.iter_mut().for_each(|node| node.machine.wake(now));
    settle(now, nodes);
}

#[test]
fn heads_are_cosigned_by_every_trusted_peer_as_the_log_grows() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    assert!(nodes[0].released());
    for round in 1..6 {
        let now = later(round * 10);
        nodes[0].append(now, &format!("entry {round}"));
        wake(later(round * 10 + 3), &mut nodes);
        assert_eq!(nodes[0].cosigners(), 2, "round {round}");
    }
}

#[test]
fn a_log_restored_from_an_old_copy_signs_nothing() {
    let mut nodes = [Node::new(1), Node::new(2)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    for n in 0..3 {
        nodes[0].append(later(n), "entry");
    }
    wake(later(10), &mut nodes);
    assert_eq!(nodes[0].cosigners(), 1);
    // The machine of before, with the files of before.
    let mut restored = Node::new(1);
    restored.leaves = nodes[0].leaves[..2].to_vec();
    restored.open(later(20));
    nodes[0] = restored;
    let witness = nodes[1].id();
    nodes[0].machine.peer_up(witness);
    settle(later(20), &mut nodes);
    assert!(nodes[0].refused() && !nodes[0].released());
    wake(later(60), &mut nodes);
    assert!(!nodes[0].released());
}

#[test]
fn without_a_reachable_witness_it_signs_after_a_while() {
    let mut nodes = [Node::new(1)];
    nodes[0].leaves.push(Hash::leaf(b"entry"));
    nodes[0].open(START);
    wake(later(9), &mut nodes);
    assert!(!nodes[0].released());
    wake(later(11), &mut nodes);
    assert!(nodes[0].released());
}

#[test]
fn two_histories_are_evidence_on_every_node() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    nodes[0].append(later(1), "what everybody saw");
    wake(later(5), &mut nodes);
    // The same log, another entry in the same place, shown to one witness.
    let mut liar = Node::new(1);
    liar.leaves.push(Hash::leaf(b"what nobody else saw"));
    let signer = liar.signer();
    let name = signer.key().name.clone();
    let delegation = liar.key.delegate(signer.key().key, PURPOSE_LOG, &name, Wall(1));
    let submission = Submission {
        delegation: delegation.bytes().to_vec(),
        note: liar.head().to_string(),
        old: 0,
        proof: Vec::new(),
    };
    let owner = liar.id();
    nodes[1].machine.on_word(later(6), owner, Word::Submit(submission));
    settle(later(6), &mut nodes);
    for node in &nodes {
        let fork = node.machine.forks().first().expect("everybody has the evidence");
        assert_eq!(proves_fork(fork), Some((owner, name.clone())));
    }
    // It is kept over a restart.
    let forks = nodes[2].machine.forks().to_vec();
    assert_eq!(Witness::new(&nodes[2].key, Vec::new(), forks).forks().len(), 1);
}

#[test]
fn nobody_submits_anothers_log_and_no_proof_is_taken_on_trust() {
    let mut nodes = [Node::new(1), Node::new(2)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    nodes[0].append(later(1), "one");
    nodes[0].append(later(1), "two");
    wake(later(5), &mut nodes);
    let signer = nodes[0].signer();
    let key = signer.key().key;
    let delegation = nodes[0].key.delegate(key, PURPOSE_LOG, &signer.key().name, Wall(1));
    nodes[0].leaves.push(Hash::leaf(b"three"));
    let submission = |old, proof| Submission {
        delegation: delegation.bytes().to_vec(),
        note: nodes[0].head().to_string(),
        old,
        proof,
    };
    let (owner, stranger) = (nodes[0].id(), NodeId([9; 32]));
    let good = consistency_proof(&mut &nodes[0].leaves[..], 2, 3).unwrap();
    let bad = vec![Hash::empty(); good.len()];
    let tries = [
        (stranger, submission(2, good.clone())),
        (owner, submission(2, bad)),
        (owner, submission(0, Vec::new())),
    ];
    let good = submission(2, good);
    for (from, submission) in tries {
        nodes[1].machine.on_word(later(6), from, Word::Submit(submission));
        while let Some(output) = nodes[1].machine.poll_output() {
            assert!(!matches!(output, WitnessOutput::Persist(_)), "{output:?}");
        }
    }
    nodes[1].machine.on_word(later(6), owner, Word::Submit(good));
    assert!(matches!(nodes[1].machine.poll_output(), Some(WitnessOutput::Persist(_))));
}
