//! Properties of the machine, without links and DHT.

mod gossip;

use homing_base::reference::Binding;
use homing_base::{IdentityKey, ReferenceName, Seq};

use super::*;
use crate::io::{OwnReference, ReferenceKey};

const HOUR: u64 = 3_600_000;

fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed([n; 32])
}

fn at(hours: u64) -> Now {
    Now { mono: Mono(1 + hours * HOUR * 1_000), wall: Wall(1_000_000_000_000 + hours * HOUR) }
}

fn name() -> ReferenceName {
    "planner/checkpoint".parse().unwrap()
}

fn agent(n: u8, public: bool, stored: StoredReferences, now: Now) -> References {
    References::new(ReferenceSettings::default(), key(n), public, stored, [n; 32], now)
}

fn new(n: u8) -> References {
    agent(n, false, StoredReferences::default(), at(0))
}

fn publish(value: &str, keepers: &[u8]) -> ReferenceCommand {
    ReferenceCommand::Publish {
        name: name(),
        value: value.into(),
        lifetime: None,
        ttl: None,
        keepers: (!keepers.is_empty()).then(|| keepers.iter().map(|n| key(*n).node_id()).collect()),
    }
}

fn trusted() -> Standing {
    Standing { trusted: true, public: false }
}

fn up(references: &mut References, now: Now, peer: u8) {
    let input = ReferencesInput::PeerUp { peer: key(peer).node_id(), standing: trusted() };
    references.handle(now, input);
}

fn outputs(references: &mut References) -> Vec<ReferencesOutput> {
    std::iter::from_fn(|| references.poll_output()).collect()
}

fn notes(references: &mut References) -> Vec<(NodeId, Note)> {
    let note = |output| match output {
        ReferencesOutput::Send { to, note } => Some((to, note)),
        _ => None,
    };
    outputs(references).into_iter().filter_map(note).collect()
}

/// Carries notes between two agents until both are silent.
fn talk(now: Now, a: (u8, &mut References), b: (u8, &mut References)) {
    loop {
        let (to_b, to_a) = (notes(a.1), notes(b.1));
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        for (_, note) in to_b {
            b.1.handle(now, ReferencesInput::Note { from: key(a.0).node_id(), note });
        }
        for (_, note) in to_a {
            a.1.handle(now, ReferencesInput::Note { from: key(b.0).node_id(), note });
        }
    }
}

fn view(references: &References, now: Now) -> ReferenceView {
    references.views(now).pop().expect("one reference")
}

fn of(n: u8) -> ReferenceKey {
    ReferenceKey::Bound { owner: key(n).node_id(), name: name() }
}

fn resolve(references: &mut References, now: Now, key: ReferenceKey) {
    references.resolve(now, RequestId(7), key, Duration::from_secs(5));
}

fn reply(references: &mut References) -> Result<Answer, Failure> {
    let answer = |output| match output {
        ReferencesOutput::Reply { answer, .. } => Some(answer),
        _ => None,
    };
    outputs(references).into_iter().find_map(answer).expect("an answer")
}

fn found(slot: Slot, values: Vec<Reference>, agreed: u32) -> ReferencesInput {
    let replicas = agreed;
    ReferencesInput::Found { slot, values, replicas, agreed }
}

#[test]
fn persists_before_anybody_is_told() {
    let mut owner = new(1);
    up(&mut owner, at(0), 2);
    outputs(&mut owner);
    owner.command(at(0), publish("/a", &[2])).unwrap();
    let outputs = outputs(&mut owner);
    let persist =
        outputs.iter().position(|o| matches!(o, ReferencesOutput::Persist(ReferenceWrite::Own(_))));
    let told = outputs
        .iter()
        .position(|o| matches!(o, ReferencesOutput::Send { .. } | ReferencesOutput::Put(_)));
    assert!(persist.unwrap() < told.unwrap());
}

#[test]
fn a_new_value_raises_the_sequence_and_the_same_one_keeps_it() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let first = view(&owner, at(0)).reference.unwrap();
    owner.command(at(1), publish("/a", &[])).unwrap();
    let again = view(&owner, at(1)).reference.unwrap();
    assert_eq!(again.record.sequence, first.record.sequence);
    assert!(again.record.ends() > first.record.ends() && again.precedence(&first).is_gt());
    owner.command(at(1), publish("/b", &[])).unwrap();
    let moved = view(&owner, at(1));
    assert!(moved.reference.unwrap().record.sequence > first.record.sequence);
    let history: Vec<_> =
        moved.history.iter().map(|v| (&*v.value, v.previous.as_deref())).collect();
    assert_eq!(history, [("/a", None), ("/b", Some("/a"))]);
}

#[test]
fn a_lost_store_does_not_lower_the_sequence() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    owner.command(at(0), publish("/b", &[])).unwrap();
    let before = view(&owner, at(0)).reference.unwrap();
    let mut again = agent(1, false, StoredReferences::default(), at(1));
    again.command(at(1), publish("/c", &[])).unwrap();
    assert!(view(&again, at(1)).reference.unwrap().precedence(&before).is_gt());
}

#[test]
fn it_is_signed_anew_long_before_it_ends() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    outputs(&mut owner);
    for hour in 1..=30 * 24 {
        owner.handle(at(hour), ReferencesInput::Wakeup);
        for output in outputs(&mut owner) {
            if let ReferencesOutput::Put(reference) = output {
                let slot = Slot::reference(&reference);
                owner.handle(at(hour), ReferencesInput::Stored { slot, replicas: 20, asked: 20 });
            }
        }
        let left = view(&owner, at(hour)).remaining(at(hour).wall);
        assert!(left > Duration::from_secs(6 * 24 * 3_600), "{left:?} at hour {hour}");
    }
}

#[test]
fn what_nobody_took_is_announced_again_soon_and_counts_as_dark() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let slot = of(1).slot();
    owner.handle(at(0), ReferencesInput::Stored { slot, replicas: 0, asked: 0 });
    outputs(&mut owner);
    assert_eq!(view(&owner, at(0)).remaining(at(0).wall), Duration::ZERO);
    let soon = owner.next_wakeup().unwrap().since(at(0).mono);
    assert!(soon <= limits::RETRY_FIRST, "{soon:?}");
    owner.handle(at(1), ReferencesInput::Wakeup);
    owner.handle(at(1), ReferencesInput::Stored { slot, replicas: 3, asked: 4 });
    let later = owner.next_wakeup().unwrap().since(at(1).mono);
    assert!(later > Duration::from_secs(30 * 60), "{later:?}");
}

#[test]
fn a_keeper_keeps_what_a_trusted_owner_asks_and_serves_it_when_the_owner_is_gone() {
    let (mut owner, mut keeper, mut reader) = (new(1), new(2), new(3));
    up(&mut owner, at(0), 2);
    up(&mut keeper, at(0), 1);
    owner.command(at(0), publish("/a", &[2])).unwrap();
    talk(at(0), (1, &mut owner), (2, &mut keeper));
    let ends = view(&owner, at(0)).reference.unwrap().record.ends();
    assert_eq!(view(&owner, at(0)).keepers, [(key(2).node_id(), Some(ends))]);
    assert_eq!(view(&keeper, at(0)).key, of(1));

    up(&mut reader, at(1), 2);
    up(&mut keeper, at(1), 3);
    resolve(&mut reader, at(1), of(1));
    reader.handle(at(1), found(of(1).slot(), Vec::new(), 0));
    let asks = notes(&mut reader);
    for (_, note) in asks {
        keeper.handle(at(1), ReferencesInput::Note { from: key(3).node_id(), note });
    }
    let mut answers = notes(&mut keeper);
    let (_, note) = answers.pop().expect("an answer");
    reader.handle(at(1), ReferencesInput::Note { from: key(2).node_id(), note });
    match reply(&mut reader) {
        Ok(Answer::ReferenceResolved(r)) => {
            assert_eq!(r.reference.record.value_text(), "/a");
            assert_eq!((r.peers, r.replicas), (vec![key(2).node_id()], 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stranger_or_another_than_the_owner_cannot_make_anybody_keep() {
    let (mut owner, mut other) = (new(1), new(2));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let reference = view(&owner, at(0)).reference.unwrap();
    let show = |reference: &Reference| {
        let reference = reference.to_bytes().into();
        Note::Show(wire::Show { reference, keep: Some(true) })
    };
    // Not the owner.
    up(&mut other, at(0), 3);
    let note = show(&reference);
    other.handle(at(0), ReferencesInput::Note { from: key(3).node_id(), note });
    assert!(other.views(at(0)).is_empty());
    // The owner, but nobody whom we trust: not even remembered by a private node.
    let standing = Standing { trusted: false, public: true };
    other.handle(at(0), ReferencesInput::PeerUp { peer: key(1).node_id(), standing });
    let note = show(&reference);
    other.handle(at(0), ReferencesInput::Note { from: key(1).node_id(), note });
    assert!(other.views(at(0)).is_empty());
    assert_eq!(other.refused(), 1);
}

#[test]
fn the_newest_wins_over_more_replicas_of_an_older_one() {
    let (mut owner, mut reader) = (new(1), new(3));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let old = view(&owner, at(0)).reference.unwrap();
    owner.command(at(0), publish("/b", &[])).unwrap();
    let new = view(&owner, at(0)).reference.unwrap();
    resolve(&mut reader, at(0), of(1));
    reader.handle(at(0), found(of(1).slot(), vec![old.clone(), new], 1));
    assert!(matches!(reply(&mut reader), Ok(Answer::ReferenceResolved(r))
        if r.reference.record.value_text() == "/b" && r.agreed == 1));
    // And the older one is not believed afterwards, however many show it.
    resolve(&mut reader, at(1), of(1));
    reader.handle(at(1), found(of(1).slot(), vec![old], 5));
    assert!(matches!(reply(&mut reader), Ok(Answer::ReferenceResolved(r))
        if r.reference.record.value_text() == "/b" && r.agreed == 0 && r.replicas == 5));
}

#[test]
fn what_has_expired_is_not_served_and_says_when() {
    let (mut owner, mut reader) = (new(1), new(3));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let reference = view(&owner, at(0)).reference.unwrap();
    resolve(&mut reader, at(0), of(1));
    reader.handle(at(0), found(of(1).slot(), vec![reference.clone()], 5));
    reply(&mut reader).unwrap();
    let late = at(7 * 24);
    resolve(&mut reader, late, of(1));
    reader.handle(late, found(of(1).slot(), Vec::new(), 0));
    let ends = Some(reference.record.ends());
    assert!(matches!(reply(&mut reader), Err(Failure::ReferenceOver { ends: e, .. }) if e == ends));
}

#[test]
fn a_withdrawn_reference_is_over_and_comes_back_under_another_key() {
    let (mut owner, mut reader) = (new(1), new(3));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let first = view(&owner, at(0)).reference.unwrap();
    owner.command(at(1), ReferenceCommand::Withdraw(name())).unwrap();
    let tombstone = view(&owner, at(1)).reference.unwrap();
    assert!(tombstone.precedence(&first).is_gt() && tombstone.record.ends() > first.record.ends());
    resolve(&mut reader, at(1), of(1));
    reader.handle(at(1), found(of(1).slot(), vec![first.clone(), tombstone.clone()], 1));
    assert!(matches!(reply(&mut reader), Err(Failure::ReferenceOver { ends: None, .. })));
    owner.command(at(2), publish("/b", &[])).unwrap();
    let again = view(&owner, at(2)).reference.unwrap();
    assert!(again.precedence(&tombstone).is_gt());
    assert_ne!(again.record.name(), first.record.name());
    resolve(&mut reader, at(2), of(1));
    reader.handle(at(2), found(of(1).slot(), vec![again], 1));
    assert!(reply(&mut reader).is_ok());
}

#[test]
fn a_restart_signs_anew_what_is_old_and_keeps_on_keeping() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let reference = view(&owner, at(0)).reference.unwrap();
    let own = OwnReference {
        generation: 0,
        lifetime: Duration::from_secs(7 * 24 * 3_600),
        ttl: limits::TTL_DEFAULT,
        keepers: Vec::new(),
        reference: reference.clone(),
        history: Vec::new(),
    };
    let stored = StoredReferences { own: vec![own], known: Vec::new() };
    let mut again = agent(1, false, stored, at(23));
    let soon = again.next_wakeup().unwrap();
    assert!(soon.since(at(23).mono) <= limits::START_WAIT);
    again.handle(Now { mono: soon, wall: at(23).wall }, ReferencesInput::Wakeup);
    let renewed = view(&again, at(23)).reference.unwrap();
    assert_eq!(renewed.record.sequence, reference.record.sequence);
    assert!(renewed.record.ends() > reference.record.ends());
}

#[test]
fn a_keeper_announces_the_newest_that_the_network_has() {
    let (mut owner, mut keeper) = (new(1), new(2));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let old = view(&owner, at(0)).reference.unwrap();
    owner.command(at(0), publish("/b", &[])).unwrap();
    let newest = view(&owner, at(0)).reference.unwrap();
    keeper.command(at(0), ReferenceCommand::Keep { key: of(1), keep: true }).unwrap();
    keeper.handle(at(0), found(of(1).slot(), vec![old], 1));
    outputs(&mut keeper);
    keeper.handle(at(1), ReferencesInput::Wakeup);
    assert!(outputs(&mut keeper).iter().any(|o| matches!(o, ReferencesOutput::Find(_))));
    keeper.handle(at(1), found(of(1).slot(), vec![newest.clone()], 1));
    let put = |o: &ReferencesOutput| matches!(o, ReferencesOutput::Put(r) if **r == newest);
    assert!(outputs(&mut keeper).iter().any(put));
    let stop = ReferenceCommand::Keep { key: of(1), keep: false };
    assert!(matches!(keeper.command(at(1), stop), Ok(Answer::Done { changed: true })));
    assert!(keeper.views(at(1)).is_empty() && keeper.next_wakeup().is_none());
}

#[test]
fn a_public_node_asks_the_dht_for_a_neighbour() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let reference = view(&owner, at(0)).reference.unwrap();
    let mut relay = agent(9, true, StoredReferences::default(), at(0));
    let standing = Standing::default();
    relay.handle(at(0), ReferencesInput::PeerUp { peer: key(3).node_id(), standing });
    let Slot { kind, key: point } = of(1).slot();
    let note = Note::Ask(wire::Ask { id: 5, kind: kind as u8, key: point });
    relay.handle(at(0), ReferencesInput::Note { from: key(3).node_id(), note });
    assert!(outputs(&mut relay).iter().any(|o| matches!(o, ReferencesOutput::Find(_))));
    relay.handle(at(0), found(of(1).slot(), vec![reference.clone()], 3));
    let answers = notes(&mut relay);
    let bytes = match &answers[..] {
        [(_, Note::Answer(wire::Answer { id: 5, reference: Some(bytes) }))] => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(Reference::verify(&bytes, at(0)), Ok(reference));
}

#[test]
fn bounds_are_refused_and_change_nothing() {
    let mut owner = new(1);
    let command = |value: &str, lifetime: u64| ReferenceCommand::Publish {
        name: name(),
        value: value.into(),
        lifetime: Some(Duration::from_secs(lifetime)),
        ttl: None,
        keepers: None,
    };
    for bad in [command("x", 3_600), command("/x", 1), command("/x", 400 * 86_400)] {
        assert!(matches!(owner.command(at(0), bad), Err(Failure::Invalid(_))));
    }
    assert!(owner.views(at(0)).is_empty() && owner.poll_output().is_none());
    assert!(owner.command(at(0), ReferenceCommand::Renew(name())).is_err());
}

#[test]
fn a_binding_of_another_owner_does_not_take_the_place() {
    // Somebody claims our IPNS name as a reference of its own: it lands in its own slot, not in ours.
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    let ours = view(&owner, at(0)).reference.unwrap();
    let claim = Binding {
        owner: key(6).public(),
        name: name(),
        key: ours.record.name().key(),
        sequence: Seq(u64::MAX),
        issued: at(0).wall,
        withdrawn: None,
    };
    let stolen = Reference { record: ours.record.clone(), binding: Some(claim.sign(&key(6))) };
    assert_ne!(Slot::reference(&stolen), Slot::reference(&ours));
    assert_eq!(Slot::reference(&stolen.unbound()), Slot::reference(&ours.unbound()));
}

#[test]
fn what_was_resolved_is_remembered_whatever_strangers_show_afterwards() {
    let (mut owner, mut reader) = (new(1), agent(9, true, StoredReferences::default(), at(0)));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let old = view(&owner, at(0)).reference.unwrap();
    owner.command(at(0), publish("/b", &[])).unwrap();
    let newest = view(&owner, at(0)).reference.unwrap();
    resolve(&mut reader, at(0), of(1));
    reader.handle(at(0), found(of(1).slot(), vec![newest], 1));
    let mut disk = StoredReferences::default();
    for output in outputs(&mut reader) {
        if let ReferencesOutput::Persist(write) = output {
            disk.apply(write);
        }
    }
    flood(&mut reader, at(1));
    let read_old = |reader: &mut References| {
        resolve(reader, at(2), of(1));
        reader.handle(at(2), found(of(1).slot(), vec![old.clone()], 5));
        match reply(reader) {
            Ok(Answer::ReferenceResolved(found)) => found.reference.record.value_text(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read_old(&mut reader), "/b");
    // And so it is after a restart.
    let mut again = agent(9, true, disk, at(1));
    flood(&mut again, at(1));
    assert_eq!(read_old(&mut again), "/b");
}

/// More records than are remembered of strangers, each of another one.
fn flood(reader: &mut References, now: Now) {
    for n in 0..limits::KNOWN_MAX as u32 + 10 {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let key = IdentityKey::from_seed(seed);
        let (peer, settings) = (key.node_id(), ReferenceSettings::default());
        let stored = StoredReferences::default();
        let mut stranger = References::new(settings, key, false, stored, seed, now);
        stranger.command(now, publish("/noise", &[])).unwrap();
        let reference = view(&stranger, now).reference.unwrap().to_bytes().into();
        let standing = Standing::default();
        reader.handle(now, ReferencesInput::PeerUp { peer, standing });
        let note = Note::Show(wire::Show { reference, keep: None });
        reader.handle(now, ReferencesInput::Note { from: peer, note });
        reader.handle(now, ReferencesInput::PeerDown { peer });
        outputs(reader);
    }
    assert!(reader.known.len() <= limits::KNOWN_MAX + 1);
}

#[test]
fn a_stranger_s_binding_is_not_handed_out_for_an_ipns_name() {
    let (mut owner, mut reader) = (new(1), agent(9, true, StoredReferences::default(), at(0)));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let ours = view(&owner, at(0)).reference.unwrap();
    let claim = Binding {
        owner: key(6).public(),
        name: name(),
        key: ours.record.name().key(),
        sequence: Seq(at(0).wall.0),
        issued: at(0).wall,
        withdrawn: None,
    };
    let stolen = Reference { record: ours.record.clone(), binding: Some(claim.sign(&key(6))) };
    resolve(&mut reader, at(0), of(6));
    reader.handle(at(0), found(of(6).slot(), vec![stolen], 1));
    reply(&mut reader).unwrap();
    let by_name = ReferenceKey::Ipns(*ours.record.name());
    assert_eq!(reader.newest(&by_name.slot()), Some(ours.unbound()));
}

#[test]
fn whatever_can_be_published_can_be_logged() {
    use crate::audit::entry::{Fact, ReferenceUpdate};
    use crate::audit::{Hash, limits::ENTRY_BYTES_MAX};
    use homing_base::limits::IPNS_VALUE_BYTES_MAX;
    let mut owner = new(1);
    let long = |c: char| format!("/{}", c.to_string().repeat(IPNS_VALUE_BYTES_MAX - 1));
    owner.command(at(0), publish(&long('a'), &[])).unwrap();
    owner.command(at(0), publish(&long('b'), &[])).unwrap();
    let view = view(&owner, at(0));
    let (record, version) = (view.reference.unwrap().record, view.history.last().unwrap().clone());
    let update = ReferenceUpdate {
        name: version.ipns.to_string(),
        sequence: version.sequence,
        previous: version.previous,
        value: version.value,
        timestamp: version.at,
        signature: record.signature().to_vec(),
        record: Hash::digest(record.bytes()),
    };
    let fact = Fact::Reference(update);
    assert_eq!(fact.check(), Ok(()));
    assert!(homing_base::cbor::encode(&fact).len() + 512 < ENTRY_BYTES_MAX);
    // And what cannot be logged cannot be published.
    for bad in ["/a\nb".to_owned(), long('c') + "c"] {
        assert!(matches!(owner.command(at(0), publish(&bad, &[])), Err(Failure::Invalid(_))));
    }
}

#[test]
fn one_neighbour_has_only_its_share_of_errands() {
    let mut relay = agent(9, true, StoredReferences::default(), at(0));
    for peer in [3, 4] {
        let (peer, standing) = (key(peer).node_id(), Standing::default());
        relay.handle(at(0), ReferencesInput::PeerUp { peer, standing });
    }
    let mut ask = |from: u8, id: u32| {
        let note =
            Note::Ask(wire::Ask { id, kind: Kind::Bound as u8, key: NodeId([id as u8; 32]) });
        relay.handle(at(0), ReferencesInput::Note { from: key(from).node_id(), note });
        outputs(&mut relay).iter().any(|o| matches!(o, ReferencesOutput::Find(_)))
    };
    let asked = (0..32).filter(|id| ask(3, *id)).count();
    assert_eq!(asked, limits::ERRANDS_PER_PEER_MAX);
    assert!(ask(4, 99), "another neighbour still has its share");
}

#[test]
fn nobody_holds_what_it_was_not_told() {
    let mut owner = new(1);
    up(&mut owner, at(0), 2);
    owner.command(at(0), publish("/a", &[2])).unwrap();
    let Slot { kind, key: point } = of(1).slot();
    let ends = view(&owner, at(0)).reference.unwrap().record.ends();
    let mut held = |from: u8, ends: Wall| {
        let held = wire::Held { kind: kind as u8, key: point, ends, keeps: true };
        up(&mut owner, at(0), from);
        let note = Note::Held(held);
        owner.handle(at(0), ReferencesInput::Note { from: key(from).node_id(), note });
        view(&owner, at(0)).outside
    };
    // Another end than the one it was told.
    assert_eq!(held(2, Wall(ends.0 + 1_000_000)), None);
    assert_eq!(held(2, ends), Some(ends));
}

#[test]
fn after_a_lost_store_a_withdrawn_reference_is_newer_under_its_first_key_and_leaves_it_if_asked() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[])).unwrap();
    owner.command(at(1), ReferenceCommand::Withdraw(name())).unwrap();
    let tombstone = view(&owner, at(1)).reference.unwrap();
    let mut again = agent(1, false, StoredReferences::default(), at(2));
    again.command(at(2), publish("/b", &[])).unwrap();
    let first = view(&again, at(2)).reference.unwrap();
    assert_eq!(first.record.name(), tombstone.record.name());
    assert!(first.precedence(&tombstone).is_gt());
    again.command(at(2), ReferenceCommand::Withdraw(name())).unwrap();
    again.command(at(2), publish("/b", &[])).unwrap();
    assert_ne!(view(&again, at(2)).reference.unwrap().record.name(), tombstone.record.name());
}

#[test]
fn an_owner_that_was_away_is_told_that_nobody_keeps_it() {
    let mut owner = new(1);
    owner.command(at(0), publish("/a", &[2])).unwrap();
    let writes = outputs(&mut owner).into_iter().filter_map(|output| match output {
        ReferencesOutput::Persist(write) => Some(write),
        _ => None,
    });
    let mut disk = StoredReferences::default();
    writes.for_each(|write| disk.apply(write));
    assert_eq!(view(&owner, at(0)).away, None);
    let soon = agent(1, false, disk.clone(), at(1));
    assert_eq!(view(&soon, at(1)).away, None);
    let mut late = agent(1, false, disk, at(23));
    assert_eq!(view(&late, at(23)).away, Some(Duration::from_secs(23 * 3_600)));
    // A keeper says that it has it.
    let mut keeper = new(2);
    up(&mut late, at(23), 2);
    up(&mut keeper, at(23), 1);
    talk(at(23), (1, &mut late), (2, &mut keeper));
    assert_eq!(view(&late, at(23)).away, None);
}

#[test]
fn replicas_of_an_ipns_name_agree_with_what_is_known_under_the_owner_s_name() {
    let (mut owner, mut reader) = (new(1), new(3));
    owner.command(at(0), publish("/a", &[])).unwrap();
    let bound = view(&owner, at(0)).reference.unwrap();
    resolve(&mut reader, at(0), of(1));
    reader.handle(at(0), found(of(1).slot(), vec![bound.clone()], 4));
    reply(&mut reader).unwrap();
    let by_name = ReferenceKey::Ipns(*bound.record.name());
    resolve(&mut reader, at(0), by_name.clone());
    reader.handle(at(0), found(by_name.slot(), vec![bound.unbound()], 4));
    match reply(&mut reader) {
        Ok(Answer::ReferenceResolved(found)) => assert_eq!((found.agreed, found.replicas), (4, 4)),
        other => panic!("{other:?}"),
    }
}
