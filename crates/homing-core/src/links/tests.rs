//! Pieces of a link's life, one at a time.

use std::time::Duration;

use homing_base::{IdentityKey, InstanceId, Mono, NodeId};

use super::admission::Admission;
use super::duplicates::redundant;
use super::liveness::{Pulse, Verdict, probe_after};
use super::rate::Bucket;
use super::redial::{Redial, backoff};
use super::{Link, Links, Proven, hello};
use crate::io::{DialId, DialTarget, Door, LinkId, LinkUp};
use crate::limits::{DRAIN, PROBES_PER_SECOND_MAX, REDIAL_MAX};

fn at(millis: u64) -> Mono {
    Mono(millis * 1_000)
}

fn peer(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn endpoint(n: u8) -> InstanceId {
    InstanceId([n; 32])
}

fn link(id: u64, dial: Option<u64>, remote: u8) -> Link {
    let (link, remote, dial) = (LinkId(id), endpoint(remote), dial.map(DialId));
    let mut link = Link::new(at(0), LinkUp { link, dial, remote, door: Door::Main }, true);
    link.proven =
        Some(Proven { peer: peer(2), instance: remote, public: false, at: at(0), confirmed: true });
    link
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let mut bucket = Bucket::new(at(0), 3, 60);
    assert_eq!((0..5).filter(|_| bucket.take(at(0))).count(), 3);
    assert!(!bucket.take(at(999)));
    assert!(bucket.take(at(1_000)));
    assert!(!bucket.take(at(1_001)));
    assert_eq!((0..9).filter(|_| bucket.take(at(3_600_000))).count(), 3);
}

#[test]
fn after_a_move_a_link_must_answer_sooner() {
    let mut pulse = Pulse::new(at(0));
    pulse.put_on_trial(at(100));
    pulse.on_probe(at(100), 7);
    assert_eq!(pulse.deadline(1), at(350));
    assert_eq!(pulse.verdict(at(349), 1), Verdict::Fine);
    assert_eq!(pulse.verdict(at(350), 1), Verdict::Doubt);
    pulse.doubt();
    pulse.put_on_trial(at(351));
    assert!(pulse.is_doubted(), "a second word of the change prolongs nothing");
    assert_eq!(pulse.verdict(at(351), 1), Verdict::Fine);
    assert_eq!(pulse.deadline(1), at(600));
    assert_eq!(pulse.verdict(at(600), 1), Verdict::Dead);
    pulse.on_heard(at(599));
    assert!(pulse.is_doubted(), "that we hear does not say that we are heard");
    assert_eq!(pulse.verdict(at(600), 1), Verdict::Fine, "but its streams may come back");
    pulse.on_pong(at(700), 7);
    assert!(!pulse.is_doubted());

    pulse.rtt = Some(Duration::from_millis(300));
    pulse.put_on_trial(at(1_000));
    assert_eq!(pulse.verdict(at(1_899), 1), Verdict::Probe, "three long round trips");
    assert_eq!(pulse.verdict(at(1_900), 1), Verdict::Doubt);
    pulse.rtt = Some(Duration::from_secs(5));
    pulse.forgive(at(2_000));
    pulse.put_on_trial(at(2_000));
    assert_eq!(pulse.verdict(at(3_000), 1), Verdict::Doubt, "but a second at most");
}

#[test]
fn a_slow_move_does_not_make_the_next_one_slower() {
    let mut pulse = Pulse::new(at(0));
    pulse.put_on_trial(at(100));
    pulse.on_probe(at(100), 7);
    pulse.on_pong(at(530), 7);
    assert_eq!(pulse.rtt, None, "it waited behind what was lost with the old path");
    pulse.on_heard(at(5_000));
    pulse.put_on_trial(at(5_000));
    assert_eq!(pulse.verdict(at(5_250), 1), Verdict::Doubt);
}

#[test]
fn silence_is_probed_then_given_up() {
    let mut pulse = Pulse::new(at(0));
    assert_eq!(pulse.verdict(at(799), 1), Verdict::Fine);
    assert_eq!(pulse.verdict(at(800), 1), Verdict::Probe);
    pulse.on_probe(at(800), 7);
    assert_eq!(pulse.verdict(at(801), 1), Verdict::Fine);
    assert_eq!(pulse.deadline(1), at(2_000));
    assert_eq!(pulse.verdict(at(2_000), 1), Verdict::Dead);
    pulse.on_heard(at(900));
    pulse.on_pong(at(900), 7);
    assert_eq!(pulse.rtt, Some(Duration::from_millis(100)));
    assert_eq!(pulse.deadline(1), at(1_700));
}

#[test]
fn many_links_are_probed_more_slowly() {
    let links = 640;
    let per_second = links as u128 * 1_000 / probe_after(links).as_millis();
    assert!(per_second <= u128::from(PROBES_PER_SECOND_MAX));
    assert_eq!(probe_after(1), Duration::from_millis(800));
}

#[test]
fn both_sides_drop_the_same_duplicate() {
    // As 1 sees it: link 10 was dialled by us, link 11 by peer 2. As 2 sees it: the reverse.
    let (mine, theirs) = (link(10, Some(1), 7), link(11, None, 7));
    assert_eq!(redundant(at(1), &[&mine, &theirs], peer(1), peer(2), None), [LinkId(11)]);
    let (mine, theirs) = (link(20, None, 7), link(21, Some(1), 7));
    assert_eq!(redundant(at(1), &[&mine, &theirs], peer(2), peer(1), None), [LinkId(21)]);
}

#[test]
fn only_the_dialler_drops_what_it_dialled_twice() {
    let (first, second) = (link(10, Some(1), 7), link(11, Some(2), 7));
    assert_eq!(redundant(at(1), &[&first, &second], peer(2), peer(1), None), [LinkId(11)]);
    let (first, second) = (link(10, None, 7), link(11, None, 7));
    assert!(redundant(at(1), &[&first, &second], peer(1), peer(2), None).is_empty());
}

#[test]
fn a_late_twin_goes_whoever_dialled_it() {
    let (mine, mut theirs) = (link(10, Some(1), 7), link(11, None, 7));
    theirs.up_at = at(2_000);
    for (me, peer) in [(peer(1), peer(2)), (peer(2), peer(1))] {
        assert_eq!(redundant(at(1), &[&mine, &theirs], me, peer, None), [LinkId(11)]);
    }
}

#[test]
fn a_silent_winner_wins_nothing_yet() {
    let (mine, mut theirs) = (link(10, Some(1), 7), link(11, None, 7));
    theirs.pulse.on_heard(at(1_500));
    assert!(redundant(at(1_500), &[&mine, &theirs], peer(1), peer(2), None).is_empty());

    let (mut mine, theirs) = (link(10, Some(1), 7), link(11, None, 7));
    mine.pulse.put_on_trial(at(0));
    mine.pulse.doubt();
    assert!(redundant(at(1), &[&mine, &theirs], peer(1), peer(2), None).is_empty());
}

#[test]
fn a_link_that_is_doubted_is_not_talked_over_while_there_is_another() {
    let (mut front, mut main) = (link(10, Some(1), 7), link(11, None, 8));
    front.main_here = false;
    main.pulse.put_on_trial(at(0));
    let mut links = Links::default();
    for one in [front, main] {
        let proven = one.proven.expect("by `link`");
        let id = one.id;
        links.insert(one);
        links.prove(id, proven);
    }
    let best = |links: &Links| links.best(peer(2), Some(endpoint(8))).map(|l| l.id);
    assert_eq!(best(&links), Some(LinkId(11)), "main door first");
    links.link_mut(LinkId(11)).expect("put in").pulse.doubt();
    assert_eq!(best(&links), Some(LinkId(10)));
}

#[test]
fn a_main_door_link_makes_the_front_one_redundant() {
    let mut front = link(10, Some(1), 7);
    front.main_here = false;
    let main = link(11, None, 8);
    let both = [&front, &main];
    assert_eq!(redundant(at(1), &both, peer(2), peer(1), Some(endpoint(8))), [LinkId(10)]);
    assert!(redundant(at(1), &both, peer(2), peer(1), None).is_empty());
}

#[test]
fn attempts_come_ever_more_rarely() {
    assert_eq!(backoff(0), Duration::ZERO);
    assert_eq!(backoff(1), Duration::from_millis(200));
    assert_eq!(backoff(2), Duration::from_millis(400));
    assert_eq!(backoff(40), REDIAL_MAX);
}

#[test]
fn an_attempt_has_failed_when_all_its_dials_have() {
    let mut redial = Redial::due_at(at(0));
    let target = |n: u8| DialTarget::Sockets { direct: vec![([10, 0, 0, n], 1).into()] };
    let wait = Duration::from_millis(200);
    redial.on_attempt(at(0), vec![(DialId(1), target(1)), (DialId(2), target(2))], wait);
    assert!(redial.is_flying(&target(1)) && !redial.is_flying(&target(3)));
    redial.on_failed(at(10), DialId(1), wait);
    assert!(!redial.is_due(at(1_000)));
    redial.on_failed(at(20), DialId(2), wait);
    assert!(redial.is_due(at(220)));
    assert_eq!(redial.failures(), 1);
}

#[test]
fn a_good_link_is_replaced_at_once_and_a_bad_one_later() {
    let mut redial = Redial::default();
    redial.on_lost(at(0), true, Duration::from_secs(1));
    assert!(redial.is_due(at(0)));
    redial.on_lost(at(0), false, Duration::from_secs(1));
    assert!(!redial.is_due(at(999)) && redial.is_due(at(1_000)));
}

#[test]
fn the_old_runs_endpoints_drain_and_the_new_ones_stay() {
    let mut admission = Admission::default();
    assert!(admission.note(endpoint(1), peer(1), true));
    assert!(!admission.note(endpoint(1), peer(1), true), "admitted once");
    assert!(admission.note(endpoint(2), peer(1), true));
    admission.drain(at(0), peer(1), endpoint(2), |_| true);
    assert_eq!(admission.owner(endpoint(1)), Some(peer(1)));
    let end = at(0).after(DRAIN);
    assert_eq!(admission.deadline(), Some(end));
    assert_eq!(admission.leave(end), [(endpoint(1), true)]);
    assert_eq!(admission.owner(endpoint(1)), None);
    assert_eq!(admission.expel(peer(1)), [endpoint(2)]);
    assert_eq!(admission.admit(peer(1)), [endpoint(2)]);
}

#[test]
fn only_the_identity_can_bind_an_endpoint_to_its_run() {
    let (key, other) = (IdentityKey::from_seed([1; 32]), IdentityKey::from_seed([2; 32]));
    let (run, main) = (endpoint(1), endpoint(2));
    let proof = hello::sign_proof(&key, run, main);
    assert!(proof.len() < 200);
    assert!(hello::binds(&key.public(), run, main, Some(&proof)));
    assert!(hello::binds(&key.public(), run, run, None));
    assert!(!hello::binds(&key.public(), run, main, None));
    assert!(!hello::binds(&other.public(), run, main, Some(&proof)));
    assert!(!hello::binds(&key.public(), endpoint(3), main, Some(&proof)));
    assert!(!hello::binds(&key.public(), run, endpoint(3), Some(&proof)));
    assert!(!hello::binds(&key.public(), run, main, Some(&proof[1..])));
}

#[test]
fn a_peers_software_is_short_and_printable() {
    assert_eq!(hello::software("homing 0.1.0"), "homing 0.1.0");
    assert_eq!(hello::software("a\u{1b}[2Jb"), "a[2Jb");
    assert_eq!(hello::software(&"x".repeat(1_000)).len(), crate::limits::SOFTWARE_CHARS_MAX);
}
