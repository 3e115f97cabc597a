//! Owners and witnesses, joined by hand.

use super::*;
use crate::audit::tree::{Frontier, Hash, consistency_proof};

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

const LINK: LinkId = LinkId(1);

fn join(nodes: &mut [Node]) {
    let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    for node in nodes {
        let me = node.id();
        ids.iter().filter(|id| **id != me).for_each(|id| node.machine.peer_up(*id, LINK));
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
    nodes[0].machine.peer_up(witness, LINK);
    settle(later(20), &mut nodes);
    assert!(nodes[0].refused() && !nodes[0].released());
    wake(later(60), &mut nodes);
    assert!(!nodes[0].released());
}

#[test]
fn what_a_closed_link_swallowed_is_asked_again_over_the_next_one() {
    let mut nodes = [Node::new(1), Node::new(2)];
    nodes[0].leaves.push(Hash::leaf(b"entry"));
    nodes[0].open(START);
    let witness = nodes[1].id();
    nodes[0].machine.peer_up(witness, LINK);
    while nodes[0].machine.poll_output().is_some() {}
    nodes[0].machine.peer_up(witness, LINK);
    assert!(nodes[0].machine.poll_output().is_none(), "the same link is no news");
    let owner = nodes[0].id();
    nodes[1].machine.peer_up(owner, LINK);
    nodes[0].machine.peer_up(witness, LinkId(2));
    settle(later(1), &mut nodes);
    wake(later(10), &mut nodes);
    assert_eq!(nodes[0].cosigners(), 1);
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

/// `owner`'s word for its log key, under the name of `named`'s log.
fn delegation_named(owner: &Node, named: NodeId) -> (String, Vec<u8>) {
    let name = super::super::origin(&named, Wall(1));
    let key = owner.signer().key().key;
    (name.clone(), owner.key.delegate(key, PURPOSE_LOG, &name, Wall(1)).bytes().to_vec())
}

#[test]
fn a_log_named_after_another_identity_is_no_log() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].leaves.push(Hash::leaf(b"entry"));
    let (owner, other) = (nodes[0].id(), nodes[2].id());
    let submission = |named: NodeId, node: &Node| {
        let (name, delegation) = delegation_named(node, named);
        let signer =
            NoteSigner::new(&name, KeyType::Ed25519, node.key.derive(PURPOSE_LOG)).unwrap();
        let mut frontier = Frontier::default();
        node.leaves.iter().for_each(|leaf| frontier.push(*leaf));
        let note = Checkpoint::new(&name, frontier.size(), frontier.root()).sign(&signer);
        Submission { delegation, note: note.to_string(), old: 0, proof: Vec::new() }
    };
    // Its own name is taken, so the other one is refused for the name.
    let (own, foreign) = (submission(owner, &nodes[0]), submission(other, &nodes[0]));
    nodes[1].machine.on_word(START, owner, Word::Submit(foreign));
    assert_eq!(nodes[1].machine.poll_output(), None, "a log under another's name");
    nodes[1].machine.on_word(START, owner, Word::Submit(own));
    assert!(matches!(nodes[1].machine.poll_output(), Some(WitnessOutput::Persist(_))));
}

#[test]
fn an_old_copy_that_grew_beyond_what_its_witness_saw_is_refused() {
    let mut nodes = [Node::new(1), Node::new(2)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    (0..3).for_each(|n| nodes[0].append(later(n), &format!("entry {n}")));
    wake(later(10), &mut nodes);
    assert_eq!(nodes[0].cosigners(), 1);
    // Restored, nobody to ask: it signs, and grows to more entries than the witness ever saw.
    let mut restored = Node::new(1);
    restored.leaves = nodes[0].leaves[..2].to_vec();
    restored.open(later(20));
    restored.machine.wake(later(40));
    (0..5).for_each(|n| restored.append(later(41), &format!("another entry {n}")));
    nodes[0] = restored;
    settle(later(41), &mut nodes);
    assert!(nodes[0].released());
    // The witness comes back: its three entries are not the first three of these seven.
    let witness = nodes[1].id();
    nodes[0].machine.peer_up(witness, LINK);
    settle(later(50), &mut nodes);
    wake(later(60), &mut nodes);
    assert!(nodes[0].refused() && nodes[0].cosigners() == 0);
}

#[test]
fn a_cosignature_counts_for_the_witness_that_it_was_asked_of() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    nodes[0].append(later(1), "entry");
    nodes[0].machine.wake(later(4));
    // What node 2 would answer, said by a stranger and by another witness.
    let (owner, witness, other) = (nodes[0].id(), nodes[1].id(), nodes[2].id());
    let mut said = None;
    while let Some(output) = nodes[0].machine.poll_output() {
        if let WitnessOutput::Prove { witness: asking, old } = output {
            let (leaves, note) = (nodes[0].leaves.clone(), nodes[0].head());
            let path = consistency_proof(&mut &leaves[..], old, 1).unwrap();
            nodes[0].machine.on_proof(asking, &note, Consistency { old, path });
        } else if let WitnessOutput::Send(to, Word::Submit(submission)) = output
            && to == witness
        {
            nodes[1].machine.on_word(later(4), owner, Word::Submit(submission));
            while let Some(answer) = nodes[1].machine.poll_output() {
                if let WitnessOutput::Send(_, word @ Word::Cosigned(_)) = answer {
                    said = Some(word);
                }
            }
        }
    }
    let said = said.expect("the witness cosigns");
    for from in [NodeId([9; 32]), other] {
        nodes[0].machine.on_word(later(5), from, said.clone());
        assert_eq!(nodes[0].machine.poll_output(), None, "said by {from}");
    }
    nodes[0].machine.on_word(later(5), witness, said);
    assert!(matches!(nodes[0].machine.poll_output(), Some(WitnessOutput::Cosigned(..))));
}

#[test]
fn forks_of_logs_that_concern_nobody_here_are_not_kept() {
    let stranger = Node::new(9);
    let signer = stranger.signer();
    let fork_of = |node: &Node| {
        let head = |leaf: &[u8]| {
            let mut frontier = Frontier::default();
            frontier.push(Hash::leaf(leaf));
            let signer = node.signer();
            Checkpoint::new(&signer.key().name, 1, frontier.root()).sign(&signer).to_string()
        };
        let signer = node.signer();
        let (key, name) = (signer.key().key, &signer.key().name);
        let delegation = node.key.delegate(key, PURPOSE_LOG, name, Wall(1)).bytes().to_vec();
        Fork { delegation, first: head(b"one"), second: head(b"other") }
    };
    let mut nodes = [Node::new(1), Node::new(2)];
    join(&mut nodes);
    settle(START, &mut nodes);
    let teller = nodes[1].id();
    nodes[0].machine.on_word(START, teller, Word::Fork(fork_of(&stranger)));
    assert!(nodes[0].machine.forks().is_empty(), "{}", signer.key().name);
    // Of a peer it is kept, whoever tells it; and two heads that agree are no fork.
    let mut agreeing = fork_of(&nodes[1]);
    agreeing.second = agreeing.first.clone();
    nodes[0].machine.on_word(START, teller, Word::Fork(agreeing));
    assert!(nodes[0].machine.forks().is_empty());
    let real = fork_of(&nodes[1]);
    nodes[0].machine.on_word(START, NodeId([9; 32]), Word::Fork(real));
    assert_eq!(nodes[0].machine.forks().len(), 1);
}

#[test]
fn witnesses_that_were_shown_different_heads_find_out_from_each_other() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    let owner = nodes[0].id();
    join(&mut nodes);
    settle(START, &mut nodes);
    // To each of the two another history; neither hears the other's from the owner.
    for (at, what) in [(1, "to one"), (2, "to the other")] {
        let mut liar = Node::new(1);
        liar.leaves.push(Hash::leaf(what.as_bytes()));
        let signer = liar.signer();
        let (key, name) = (signer.key().key, signer.key().name.clone());
        let delegation = liar.key.delegate(key, PURPOSE_LOG, &name, Wall(1)).bytes().to_vec();
        let note = liar.head().to_string();
        let submission = Submission { delegation, note, old: 0, proof: Vec::new() };
        nodes[at].machine.on_word(START, owner, Word::Submit(submission));
        settle(START, &mut nodes);
        assert!(nodes[at].machine.forks().is_empty());
    }
    wake(later(11), &mut nodes);
    for node in &nodes {
        let fork = node.machine.forks().first().expect("everybody has the evidence");
        assert_eq!(proves_fork(fork).map(|(who, _)| who), Some(owner));
    }
    // Heads that agree are no evidence, however often they are told.
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].open(START);
    join(&mut nodes);
    settle(START, &mut nodes);
    for round in 1..6 {
        nodes[0].append(later(round * 20), &format!("entry {round}"));
        wake(later(round * 20 + 3), &mut nodes);
        wake(later(round * 20 + 15), &mut nodes);
    }
    assert!(nodes.iter().all(|node| node.machine.forks().is_empty()));
}

#[test]
fn a_peer_that_comes_later_is_told_what_was_cosigned() {
    let mut nodes = [Node::new(1), Node::new(2), Node::new(3)];
    nodes[0].open(START);
    let (owner, witness, third) = (nodes[0].id(), nodes[1].id(), nodes[2].id());
    nodes[0].machine.peer_up(witness, LINK);
    nodes[1].machine.peer_up(owner, LINK);
    settle(START, &mut nodes);
    nodes[0].append(later(1), "entry");
    wake(later(4), &mut nodes);
    assert_eq!(nodes[0].cosigners(), 1);
    nodes[1].machine.peer_up(third, LINK);
    let told = std::iter::from_fn(|| nodes[1].machine.poll_output());
    let seen = |output| matches!(output, WitnessOutput::Send(to, Word::Seen(_)) if to == third);
    assert!(told.into_iter().any(seen));
}
