//! Trust between two agents: given, refused, taken back, lost and found.

use super::world::*;
use crate::io::*;
use crate::message::{Message, TrustSync};
use homing_base::{Seq, Statement, StatementKind, Wall};

use TrustState::{Expired, Mutual, None as Nothing, Pending, RejectedByPeer, RejectedByUs};
use TrustState::{Requested, RevokedByPeer, RevokedByUs};

fn request(from: u8, to: u8, sequence: u64) -> Vec<u8> {
    let statement = Statement {
        kind: StatementKind::Request,
        from: key(from).public(),
        to: id(to),
        sequence: Seq(sequence),
        issued: Wall(WALL),
        expires: None,
        services: None,
        reason: None,
        name: None,
    };
    statement.sign(&key(from)).unwrap().bytes().to_vec()
}

#[test]
fn a_request_and_its_approval_make_trust_mutual_on_both_sides() {
    let mut world = World::pair();
    let asked = world.command(1, handshake(2)).unwrap();
    assert!(matches!(asked, Answer::Trust { state: Requested, changed: true, .. }));
    world.run_for(millis(100));
    assert_eq!(world.states(1, 2), (Requested, Pending));
    let given = world.command(2, approve(1)).unwrap();
    assert!(matches!(given, Answer::Trust { state: Mutual, changed: true, .. }));
    world.run_for(millis(100));
    assert_eq!(world.states(1, 2), (Mutual, Mutual));
    let view = world.view(2, 1).unwrap();
    assert!(!view.undelivered && view.record.is_some() && view.name.is_some());
}

#[test]
fn persists_before_it_tells_anybody() {
    let mut world = World::pair();
    world.log.clear();
    world.command(1, handshake(2)).unwrap();
    let statement = |o: &Output| matches!(o, Output::Persist(batch) if batch.iter().any(|w| matches!(w, Write::Statement(_))));
    let told = |o: &Output| {
        matches!(o, Output::Reply { .. } | Output::Send { message: Message::Trust(_), .. })
    };
    let mine: Vec<&Output> = world.log.iter().filter(|(n, _)| *n == 1).map(|(_, o)| o).collect();
    let persisted = mine.iter().position(|o| statement(o)).unwrap();
    let first_told = mine.iter().position(|o| told(o)).unwrap();
    assert!(persisted < first_told);
}

#[test]
fn commands_may_be_repeated() {
    let mut world = World::friends();
    let again = world.command(1, handshake(2)).unwrap();
    assert!(matches!(again, Answer::Trust { state: Mutual, changed: false, .. }));
    let again = world.command(2, approve(1)).unwrap();
    assert!(matches!(again, Answer::Trust { state: Mutual, changed: false, .. }));
    assert!(matches!(world.command(1, revoke(2)), Ok(Answer::Trust { changed: true, .. })));
    assert!(matches!(world.command(1, revoke(2)), Ok(Answer::Trust { changed: false, .. })));
}

#[test]
fn crossing_requests_become_mutual_by_themselves() {
    let mut world = World::pair();
    world.begin(1, handshake(2));
    world.begin(2, handshake(1));
    world.run_for(millis(200));
    assert_eq!(world.states(1, 2), (Mutual, Mutual));
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut world = World::pair();
    assert_eq!(world.command(1, handshake(1)).unwrap_err(), Failure::Myself);
    assert_eq!(world.command(1, approve(1)).unwrap_err(), Failure::Myself);
    assert!(matches!(world.command(1, approve(2)), Err(Failure::NoRequest { .. })));
    assert!(matches!(world.command(1, approve(77)), Err(Failure::NoRequest { .. })));
    assert!(matches!(world.command(1, revoke(77)), Err(Failure::NotFound { .. })));
    assert!(matches!(world.command(1, handshake(77)), Err(Failure::NotFound { .. })));
    let peer = PeerRef::NodeId(id(2));
    let wordy =
        Command::Handshake { peer, reason: Some("x".repeat(281)), services: None, lifetime: None };
    assert!(matches!(world.command(1, wordy), Err(Failure::Invalid(_))));
    assert_eq!(world.states(1, 2), (Nothing, Nothing));
}

#[test]
fn a_rejected_or_revoked_peer_may_ask_again() {
    let mut world = World::pair();
    world.command(1, handshake(2)).unwrap();
    world.run_for(millis(100));
    world.command(2, Command::Reject { peer: PeerRef::NodeId(id(1)) }).unwrap();
    world.run_for(millis(100));
    assert_eq!(world.states(1, 2), (RejectedByPeer, RejectedByUs));
    world.shake_hands(1, 2);
    world.command(2, revoke(1)).unwrap();
    world.run_for(secs(1));
    assert_eq!(world.states(1, 2), (RevokedByPeer, RevokedByUs));
    world.shake_hands(1, 2);
}

#[test]
fn approve_takes_an_address_a_name_or_a_prefix() {
    let address = PeerRef::Address(homing_base::Address::of(&id(1)));
    let prefix = name(&id(1).to_string()[..8]);
    for peer in [address, name("agent-1"), prefix] {
        let mut world = World::pair();
        world.command(1, handshake(2)).unwrap();
        world.run_for(millis(100));
        let given = world.command(2, Command::Approve { peer, services: None, lifetime: None });
        assert!(matches!(given, Ok(Answer::Trust { state: Mutual, .. })), "{given:?}");
    }
}

#[test]
fn an_offline_peer_gets_the_request_when_it_returns() {
    let mut world = World::pair();
    world.kill(2);
    world.run_for(secs(5));
    let asked = world.command(1, handshake(2)).unwrap();
    assert!(matches!(asked, Answer::Trust { state: Requested, changed: true, .. }));
    world.run_for(secs(60));
    world.start(2, settings(2, 2));
    world.run_for(secs(40));
    assert_eq!(world.states(1, 2), (Requested, Pending));
}

#[test]
fn a_revocation_is_durable_then_severs_then_is_told() {
    let mut world = World::friends();
    world.log.clear();
    world.command(1, revoke(2)).unwrap();
    let mine: Vec<&Output> = world.log.iter().filter(|(n, _)| *n == 1).map(|(_, o)| o).collect();
    let Output::Persist(batch) = mine[0] else { panic!("first: {:?}", mine[0]) };
    assert!(
        batch.iter().any(|w| matches!(w, Write::Statement(s) if s.kind == StatementKind::Revoke))
    );
    assert!(batch.iter().any(|w| matches!(w, Write::OwnRecord(r) if r.trust_floor.is_some())));
    assert!(matches!(mine[1], Output::Audit { .. }));
    assert!(matches!(mine[2], Output::Sever { .. }));
    assert!(matches!(mine[3], Output::Expel { .. }));
    world.run_for(secs(2));
    assert_eq!(world.states(1, 2), (RevokedByUs, RevokedByPeer));
    assert!(matches!(
        world.command(2, ping(1)),
        Err(Failure::NotTrusted { state: RevokedByPeer, .. })
    ));
}

#[test]
fn grants_that_stay_are_signed_anew_above_the_floor() {
    let mut world = World::fleet(&[1, 2, 3]);
    world.shake_hands(1, 2);
    world.shake_hands(1, 3);
    world.command(1, revoke(2)).unwrap();
    world.run_for(secs(2));
    assert_eq!(world.states(1, 3), (Mutual, Mutual));
    let floor = world.agent(1).own_record().unwrap().trust_floor.unwrap();
    let kept = world.view(3, 1).unwrap().trust.theirs.unwrap();
    assert!(kept.issued >= floor);
}

#[test]
fn a_crash_after_any_output_leaves_old_or_new_trust_never_half() {
    for victim in [1, 2] {
        for after in 1..40 {
            let mut world = World::pair();
            world.begin(1, handshake(2));
            world.run_for(millis(100));
            world.crash_after = Some((victim, after));
            world.begin(2, approve(1));
            world.run_for(secs(1));
            world.crash_after = None;
            let run = 2;
            let hint =
                |n| PeerHint::At { peer: Some(PeerRef::NodeId(id(n))), direct: vec![addr(n)] };
            world.kill(victim);
            let other = 3 - victim;
            world.start(victim, Settings { peers: vec![hint(other)], ..settings(victim, run) });
            world.run_for(secs(3));
            let both = world.states(1, 2);
            assert!(
                both == (Mutual, Mutual) || both == (Requested, Pending),
                "{victim} {after} {both:?}"
            );
        }
    }
}

#[test]
fn an_agent_that_lost_its_store_gets_its_word_back() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.kill(1);
    world.disks.remove(&1);
    world.run_for(secs(3));
    world.log.clear();
    world.start(1, member(1, 2));
    world.run_for(secs(3));
    assert_eq!(world.states(1, 2), (Mutual, Mutual));
    assert!(world.events(1).iter().any(|e| matches!(e, Event::TrustRestored { .. })));
    assert!(matches!(world.command(2, ping(1)), Ok(Answer::Pinged { .. })));
}

#[test]
fn the_floor_keeps_a_revoked_grant_from_coming_back() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.kill(2);
    // The revocation never reaches 2, and then 1 loses everything but its key.
    world.command(1, revoke(2)).unwrap();
    world.run_for(secs(2));
    world.kill(1);
    world.disks.remove(&1);
    world.run_for(secs(1));
    world.start(2, member(2, 2));
    world.run_for(secs(1));
    assert_eq!(world.state(2, 1), Mutual);
    world.start(1, member(1, 2));
    world.run_for(secs(5));
    assert_eq!(world.states(1, 2), (RevokedByUs, RevokedByPeer));
}

#[test]
fn an_expired_grant_behaves_as_revoked() {
    let mut world = World::pair();
    let peer = PeerRef::NodeId(id(2));
    let brief = Command::Handshake { peer, reason: None, services: None, lifetime: Some(secs(5)) };
    world.command(1, brief).unwrap();
    world.run_for(millis(100));
    world.command(2, approve(1)).unwrap();
    world.run_for(secs(1));
    assert_eq!(world.states(1, 2), (Mutual, Mutual));
    let endpoint = world.nodes[&1].settings.instance;
    world.log.clear();
    world.run_for(secs(5));
    assert_eq!(world.states(1, 2), (Expired, Expired));
    assert!(world.log.iter().any(|(n, o)| *n == 2 && matches!(o, Output::Sever { .. })));
    let service = "ssh".parse().unwrap();
    let may = world.command(2, Command::Authorize { endpoint, service });
    assert!(may.is_err());
    assert!(matches!(world.command(1, ping(2)), Err(Failure::NotTrusted { state: Expired, .. })));
    world.shake_hands(1, 2);
}

#[test]
fn a_scope_covers_what_it_names_and_nothing_else() {
    let mut world = World::pair();
    world.command(1, handshake(2)).unwrap();
    world.run_for(millis(100));
    let (mcp, ssh): (homing_base::Service, homing_base::Service) =
        ("mcp".parse().unwrap(), "ssh".parse().unwrap());
    let peer = PeerRef::NodeId(id(1));
    let services = Some(vec![mcp.clone()]);
    world.command(2, Command::Approve { peer, services, lifetime: None }).unwrap();
    world.run_for(secs(1));
    let endpoint = world.nodes[&1].settings.instance;
    let may = world.command(2, Command::Authorize { endpoint, service: mcp.clone() });
    assert!(matches!(may, Ok(Answer::Authorized { peer }) if peer == id(1)));
    let may = world.command(2, Command::Authorize { endpoint, service: ssh.clone() });
    assert!(matches!(may, Err(Failure::ScopeDenied { .. })));
    let connect = |service| {
        let peer = PeerRef::NodeId(id(2));
        Command::Connect { peer, service, timeout: secs(2) }
    };
    assert!(matches!(world.command(1, connect(ssh)), Err(Failure::ScopeDenied { .. })));
    assert!(matches!(world.command(1, connect(mcp.clone())), Ok(Answer::Connected { .. })));
    // What is open outside a scope that became narrower ends; the grant is durable first.
    world.log.clear();
    let peer = PeerRef::NodeId(id(1));
    let narrower = Some(vec!["web".parse().unwrap()]);
    world.command(2, Command::Approve { peer, services: narrower, lifetime: None }).unwrap();
    let theirs: Vec<&Output> = world.log.iter().filter(|(n, _)| *n == 2).map(|(_, o)| o).collect();
    let at = |f: fn(&Output) -> bool| theirs.iter().position(|o| f(o)).expect("it comes");
    let confined = at(|o| matches!(o, Output::Confine { scope, .. } if scope.to_string() == "web"));
    assert!(at(|o| matches!(o, Output::Persist(_))) < confined);
    let may = world.command(2, Command::Authorize { endpoint, service: mcp.clone() });
    assert!(matches!(may, Err(Failure::ScopeDenied { .. })));
    // A ping is a service like others.
    let refusal = crate::message::Refusal::ScopeDenied;
    let pinged = world.command(1, ping(2));
    assert!(
        matches!(&pinged, Err(Failure::Refused { refusal: r, .. }) if *r == refusal),
        "{pinged:?}"
    );
    assert!(matches!(world.command(2, ping(1)), Ok(Answer::Pinged { .. })));
    let endpoint = instance(9, 1, 1);
    let may = world.command(2, Command::Authorize { endpoint, service: mcp });
    assert!(matches!(may, Err(Failure::Unproven { endpoint: e }) if e == endpoint), "{may:?}");
}

#[test]
fn requests_beyond_the_bound_are_refused_and_the_old_ones_stay() {
    let mut world = World::pair();
    let mut trust = crate::trust::Trust::default();
    let now = world.clock(1);
    let mut keys: Vec<homing_base::IdentityKey> = Vec::new();
    for n in 0..=crate::limits::PENDING_MAX {
        let mut seed = [200; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        keys.push(homing_base::IdentityKey::from_seed(seed));
    }
    let mut refused = 0;
    for key in &keys {
        let statement = Statement { from: key.public(), ..sample(1) }.sign(key).unwrap();
        let sync = TrustSync { mine: Some(statement.bytes().to_vec()), yours: None };
        let lesson = trust.learn(now, id(1), key.node_id(), &sync, None);
        refused += lesson.refused.len();
        if let Some(theirs) = lesson.theirs {
            trust.keep_theirs(key.node_id(), theirs);
        }
    }
    assert_eq!(refused, 1);
    world.run_for(millis(1));
}

fn sample(to: u8) -> Statement {
    Statement {
        kind: StatementKind::Request,
        from: key(1).public(),
        to: id(to),
        sequence: Seq(WALL),
        issued: Wall(WALL),
        expires: None,
        services: None,
        reason: None,
        name: None,
    }
}

#[test]
fn a_stranger_may_ask_for_trust_and_for_nothing_else() {
    let mut world = World::pair();
    let link = world.stranger(1, instance(5, 1, 1));
    let record = homing_base::AgentRecord::new(
        key(5).public(),
        instance(5, 1, 1),
        Seq(WALL),
        world.clock(5).wall,
    );
    let record = record.sign(&key(5)).unwrap().bytes().to_vec();
    let hello = crate::message::Hello {
        version: 1,
        record,
        proof: None,
        public: None,
        software: None,
        dht: None,
        brief: None,
    };
    world.say(1, link, Message::Hello(hello));
    world.log.clear();
    let key = crate::message::AskKey::NodeId(id(2));
    let ask = crate::message::Ask { id: 1, key, errand: None };
    world.say(1, link, Message::Ask(ask));
    world.say(1, link, Message::Watch(vec![id(2)]));
    assert!(world.heard(1, link).is_empty());
    world.say(1, link, Message::Echo(7));
    let refused = Some(crate::message::Refusal::NotTrusted);
    let reply = Message::EchoReply(crate::message::EchoReply { token: 7, refused });
    assert_eq!(world.heard(1, link), [&reply]);
    let mine = Some(request(5, 1, WALL));
    world.say(1, link, Message::Trust(TrustSync { mine, yours: None }));
    assert_eq!(world.state(1, 5), Pending);
    assert!(!world.heard(1, link).iter().any(|m| matches!(m, Message::Candidates(_))));
}

#[test]
fn a_forged_or_foreign_statement_changes_nothing() {
    let mut world = World::pair();
    let link = world.view(1, 2).unwrap().links[0].link;
    let mut forged = request(2, 1, WALL);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for bytes in [forged, request(5, 1, WALL), request(2, 3, WALL), request(2, 1, u64::MAX)] {
        let sync = TrustSync { mine: Some(bytes), yours: None };
        world.say(1, link, Message::Trust(sync));
    }
    assert_eq!(world.state(1, 2), Nothing);
    let complaints =
        world.events(1).iter().filter(|e| matches!(e, Event::Misbehaviour { .. })).count();
    assert_eq!(complaints, 4);
}

#[test]
fn a_word_given_while_the_clock_was_wrong_is_dated_anew_when_it_is_right() {
    let mut world = World::pair();
    world.skew.insert(1, 3_600_000);
    world.command(1, handshake(2)).unwrap();
    world.run_for(secs(3));
    assert_eq!(world.state(2, 1), Nothing);
    assert!(world.events(2).iter().any(|e| matches!(e, Event::ClockSkew { .. })));
    world.skew.insert(1, 0);
    world.run_for(secs(3));
    assert_eq!(world.states(1, 2), (Requested, Pending));
}
