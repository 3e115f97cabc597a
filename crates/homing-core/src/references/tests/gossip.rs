//! References that trusted peers tell each other.

use super::super::gossip::tell;
use super::*;

/// Agents that trust their neighbours in a row, without any DHT.
struct Row(Vec<(u8, References)>);

impl Row {
    fn new(agents: u8) -> Self {
        let mut row: Vec<_> = (1..=agents).map(|n| (n, new(n))).collect();
        for at_ in 1..row.len() {
            let (left, right) = (row[at_ - 1].0, row[at_].0);
            up(&mut row[at_ - 1].1, at(0), right);
            up(&mut row[at_].1, at(0), left);
        }
        Self(row)
    }

    /// Carries notes until all are silent; how many.
    fn talk(&mut self, now: Now) -> usize {
        let mut carried = 0;
        loop {
            let mut under_way = Vec::new();
            for (n, references) in &mut self.0 {
                let from = key(*n).node_id();
                under_way.extend(notes(references).into_iter().map(|(to, note)| (from, to, note)));
            }
            if under_way.is_empty() {
                return carried;
            }
            carried += under_way.len();
            for (from, to, note) in under_way {
                let (_, there) = self.0.iter_mut().find(|(n, _)| key(*n).node_id() == to).unwrap();
                let note = wire::decode(&wire::encode(&note)).unwrap();
                there.handle(now, ReferencesInput::Note { from, note });
            }
        }
    }

    fn last(&mut self, now: Now) -> Result<(String, crate::io::Layer), Failure> {
        let (_, reader) = self.0.last_mut().unwrap();
        resolve(reader, now, of(1));
        reader.handle(now, found(of(1).slot(), Vec::new(), 0));
        // Its peers do not answer.
        let later = Now { mono: now.mono.after(Duration::from_secs(6)), ..now };
        reader.handle(later, ReferencesInput::Wakeup);
        match reply(reader)? {
            Answer::ReferenceResolved(found) => {
                Ok((found.reference.record.value_text(), found.layer))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn gossip_carries_news_and_tombstones_over_peers_that_know_nothing_of_each_other() {
    let mut row = Row::new(5);
    assert_eq!(row.talk(at(0)), 8, "both ends of each link say that they hold nothing");
    row.0[0].1.command(at(0), publish("/a", &[])).unwrap();
    assert_eq!(row.talk(at(0)), 4, "each link carries it once");
    let known = row.0[4].1.newest(&of(1).slot()).unwrap();
    assert_eq!(known.record.value_text(), "/a");
    // Nobody need answer: the reader knows it, and says from where.
    row.0[4].1.handle(at(0), ReferencesInput::PeerDown { peer: key(4).node_id() });
    resolve(&mut row.0[4].1, at(0), of(1));
    row.0[4].1.handle(at(0), found(of(1).slot(), Vec::new(), 0));
    match reply(&mut row.0[4].1) {
        Ok(Answer::ReferenceResolved(found)) => assert_eq!(found.layer, crate::io::Layer::Gossip),
        other => panic!("{other:?}"),
    }
    up(&mut row.0[4].1, at(0), 4);
    row.talk(at(0));
    row.0[0].1.command(at(1), publish("/b", &[])).unwrap();
    row.talk(at(1));
    assert_eq!(row.last(at(1)).unwrap().0, "/b");
    row.0[0].1.command(at(2), ReferenceCommand::Withdraw(name())).unwrap();
    row.talk(at(2));
    assert!(matches!(row.last(at(2)), Err(Failure::ReferenceOver { ends: None, .. })));
}

/// A row of three to which `/a` was published before a fourth is linked to its end.
fn three_that_know_and_a_fourth() -> Row {
    let mut row = Row::new(3);
    row.0[0].1.command(at(0), publish("/a", &[])).unwrap();
    row.talk(at(0));
    row.0.push((4, new(4)));
    up(&mut row.0[3].1, at(1), 3);
    up(&mut row.0[2].1, at(1), 4);
    row
}

#[test]
fn who_was_away_gets_what_it_missed_when_a_link_comes_up() {
    let mut row = three_that_know_and_a_fourth();
    // What both hold; what is wanted; the reference, told and asked for.
    assert_eq!(row.talk(at(1)), 5);
    assert_eq!(row.last(at(1)).unwrap().0, "/a");
    // Again, nothing is missing.
    for (here, there) in [(2, 4), (3, 3)] {
        row.0[here].1.handle(at(2), ReferencesInput::PeerDown { peer: key(there).node_id() });
        up(&mut row.0[here].1, at(2), there);
    }
    assert_eq!(row.talk(at(2)), 2, "both say what they have, nobody wants anything");
}

#[test]
fn one_end_that_speaks_before_the_other_listens_is_enough() {
    for deaf in [3, 4] {
        let mut row = three_that_know_and_a_fourth();
        // What the ready one said is lost: the other end was not.
        let (_, ready) = row.0.iter_mut().find(|(n, _)| *n == 7 - deaf).unwrap();
        assert_eq!(notes(ready).len(), 1);
        row.talk(at(1));
        assert_eq!(row.last(at(1)).unwrap().0, "/a", "{deaf}");
    }
}

#[test]
fn a_burst_of_versions_is_passed_on_as_its_newest() {
    let mut row = Row::new(3);
    for n in 0..50 {
        row.0[0].1.command(at(0), publish(&format!("/{n}"), &[])).unwrap();
    }
    row.talk(at(0));
    let later = Now { mono: at(0).mono.after(limits::PASS_WAIT), ..at(0) };
    row.0[1].1.handle(later, ReferencesInput::Wakeup);
    assert_eq!(row.talk(later), 1);
    let known = row.0[2].1.newest(&of(1).slot()).unwrap();
    assert_eq!(known.record.value_text(), "/49");
}

#[test]
fn a_stranger_and_a_peer_that_tells_too_much_do_not_fill_the_memory() {
    let (mut reader, told) = (new(9), 600_u32);
    let standing = Standing { trusted: false, public: true };
    reader.handle(at(0), ReferencesInput::PeerUp { peer: key(3).node_id(), standing });
    up(&mut reader, at(0), 4);
    for n in 0..told {
        let mut seed = [5; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let (owner, settings) = (IdentityKey::from_seed(seed), ReferenceSettings::default());
        let stored = StoredReferences::default();
        let mut owner = References::new(settings, owner, false, stored, seed, at(0));
        owner.command(at(0), publish("/a", &[])).unwrap();
        let note = tell(&view(&owner, at(0)).reference.unwrap());
        for from in [3, 4] {
            let (from, note) = (key(from).node_id(), note.clone());
            reader.handle(at(0), ReferencesInput::Note { from, note });
        }
    }
    assert_eq!(reader.known.len(), limits::HEARD_PER_PEER_MAX);
    assert_eq!(reader.refused(), u64::from(told));
    // Forged: one bit of the record.
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let mut bytes = view(&owner, at(0)).reference.unwrap().to_bytes();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let note = Note::Tell(wire::Tell { reference: bytes.into() });
    reader.handle(at(0), ReferencesInput::Note { from: key(4).node_id(), note });
    assert_eq!((reader.known.len(), reader.refused()), (512, u64::from(told) + 1));
}

#[test]
fn notes_of_gossip_have_these_bytes_and_whatever_comes_is_bounded() {
    let item = wire::Item { prefix: 1, binding: 2, sequence: 3, ends: Wall(4) };
    let have = wire::encode(&Note::Have(wire::Have::of(&[item])));
    let words = [1_u64, 2, 3, 4].map(u64::to_be_bytes).concat();
    assert_eq!(have, [&[0x82, 6, 0x81, 0xa1, 1, 0x58, 32], words.as_slice()].concat());
    let want = wire::encode(&Note::Want(wire::Want::of(&[1])));
    assert_eq!(want, [0x82, 7, 0x81, 0xa1, 1, 0x48, 0, 0, 0, 0, 0, 0, 0, 1]);
    let told = wire::encode(&Note::Tell(wire::Tell { reference: vec![9].into() }));
    assert_eq!(told, [0x82, 5, 0x81, 0xa1, 1, 0x41, 9]);
    for bytes in [&have, &want, &told] {
        let note = wire::decode(bytes).unwrap();
        assert_eq!(wire::encode(&note), *bytes);
        for at in 0..bytes.len() {
            let mut perturbed = bytes.clone();
            perturbed[at] ^= 0x11;
            if let Ok(Note::Have(have)) = wire::decode(&perturbed) {
                assert!(have.items().is_none_or(|items| items.len() <= 1));
            }
        }
    }
    let crowd = vec![item; limits::HAVE_MAX + 1];
    assert_eq!(wire::Have::of(&crowd[1..]).items().map(|i| i.len()), Some(limits::HAVE_MAX));
    assert_eq!(wire::Have::of(&crowd).items(), None);
    assert_eq!(wire::Want::of(&vec![7; limits::WANT_MAX + 1]).prefixes(), None);
    let long = Note::Tell(wire::Tell {
        reference: vec![0; homing_base::limits::REFERENCE_BYTES_MAX + 1].into(),
    });
    assert!(wire::decode(&wire::encode(&long)).is_err());
}

#[test]
fn an_owner_follows_its_delegate_and_nobody_else() {
    let mut owner = new(1);
    up(&mut owner, at(0), 2);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let first = view(&owner, at(0)).reference.unwrap();
    // The delegate has this reference's key, and no other.
    let signed = |key: &IdentityKey, value: &str| {
        let content = homing_base::ipns::IpnsContent {
            value: value.into(),
            sequence: first.record.sequence + 1,
            validity: homing_base::ipns::validity_text(first.record.ends()),
            ttl: limits::TTL_DEFAULT,
        };
        Reference { record: content.sign(key).unwrap(), binding: first.binding.clone() }
    };
    let say = |owner: &mut References, reference: &Reference| {
        let note = tell(reference);
        owner.handle(at(1), ReferencesInput::Note { from: key(2).node_id(), note });
    };
    // A record under another key does not fit to the owner's word.
    say(&mut owner, &signed(&key(2), "/stolen"));
    assert_eq!((view(&owner, at(1)).reference.as_ref(), owner.refused()), (Some(&first), 1));
    say(&mut owner, &signed(&name().derive_key(&key(1), 0), "/b"));
    let moved = view(&owner, at(1));
    assert_eq!(moved.reference.unwrap().record.value_text(), "/b");
    assert_eq!(moved.history.last().unwrap().previous.as_deref(), Some("/a"));
    // It signs that version anew, and ends it when it likes.
    owner.command(at(2), ReferenceCommand::Renew(name())).unwrap();
    let renewed = view(&owner, at(2)).reference.unwrap();
    assert_eq!(renewed.record.value_text(), "/b");
    owner.command(at(3), ReferenceCommand::Withdraw(name())).unwrap();
    let over = view(&owner, at(3)).reference.unwrap();
    assert!(over.precedence(&signed(&name().derive_key(&key(1), 0), "/c")).is_gt());
}

#[test]
fn an_owner_hears_of_its_delegate_from_the_dht_and_publishes_above_it() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let first = view(&owner, at(0)).reference.unwrap();
    let content = homing_base::ipns::IpnsContent {
        value: "/b".into(),
        sequence: first.record.sequence + 7,
        validity: homing_base::ipns::validity_text(first.record.ends()),
        ttl: limits::TTL_DEFAULT,
    };
    let record = content.sign(&name().derive_key(&key(1), 0)).unwrap();
    let theirs = Reference { record, binding: first.binding.clone() };
    let slot = Slot::reference(&first);
    let found =
        ReferencesInput::Found { slot, values: vec![theirs.clone()], replicas: 1, agreed: 1 };
    owner.handle(at(1), found);
    assert_eq!(view(&owner, at(1)).reference.unwrap().record.value_text(), "/b");
    owner.command(at(2), publish("/c", &[])).unwrap();
    assert!(view(&owner, at(2)).reference.unwrap().precedence(&theirs).is_gt());
}
