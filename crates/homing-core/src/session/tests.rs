//! Two sides over a stream that breaks anywhere: nothing is lost, doubled or reordered.

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::Mono;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const PATIENCE: Duration = limits::DETACHED_MAX;

/// A side and the program behind it.
struct End {
    session: Session,
    says: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
    heard_end: bool,
}

impl End {
    fn new(session: Session, says: Vec<u8>) -> Self {
        Self { session, says, said: 0, heard: Vec::new(), heard_end: false }
    }

    fn say(&mut self, most: usize) {
        let count = most.min(self.session.room()).min(self.says.len() - self.said);
        self.session.write(&self.says[self.said..self.said + count]);
        self.said += count;
        if self.said == self.says.len() {
            self.session.finish();
        }
    }

    fn hear(&mut self) {
        match self.session.poll_delivery() {
            Some(Delivery::Bytes(bytes)) => self.heard.extend(bytes),
            Some(Delivery::End) => {
                assert!(!self.heard_end, "the end comes once");
                self.heard_end = true;
            }
            None => {}
        }
    }
}

/// Both ends and the bytes under way.
struct World {
    chance: ChaCha8Rng,
    now: Mono,
    opener: End,
    host: Option<End>,
    host_says: Vec<u8>,
    to_host: VecDeque<u8>,
    to_opener: VecDeque<u8>,
    /// The host has read the `open` of the stream of now.
    greeted: bool,
    up: bool,
    cuts: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut program = |max: u32| {
            let mut bytes = vec![0; (chance.next_u32() % max) as usize];
            chance.fill_bytes(&mut bytes);
            bytes
        };
        let (opener_says, host_says) = (program(3_000_000), program(200_000));
        let id = SessionId([seed as u8; 16]);
        let opener = End::new(Session::opener(Mono(0), id, PATIENCE), opener_says);
        Self {
            chance,
            now: Mono(0),
            opener,
            host: None,
            host_says,
            to_host: VecDeque::new(),
            to_opener: VecDeque::new(),
            greeted: false,
            up: false,
            cuts: 0,
        }
    }

    fn below(&mut self, most: usize) -> usize {
        self.chance.next_u64() as usize % most
    }

    fn step(&mut self) {
        self.now = self.now.after(Duration::from_millis(1));
        let amount = self.below(100_000);
        match self.below(64) {
            0 if self.up => self.cut(),
            0..=3 if !self.up => self.connect(),
            4..=13 => self.opener.say(amount),
            14..=23 => self.host.iter_mut().for_each(|host| host.say(amount)),
            24..=31 => self.opener.hear(),
            32..=39 => self.host.iter_mut().for_each(End::hear),
            40..=47 => self.transmit(),
            48..=55 => self.arrive_at_host(amount),
            _ => self.arrive_at_opener(amount),
        }
    }

    fn connect(&mut self) {
        self.opener.session.attach(self.now);
        (self.up, self.greeted) = (true, false);
    }

    /// The opener notices at once, the host perhaps only when the next stream comes.
    fn cut(&mut self) {
        self.cuts += 1;
        self.opener.session.detach(self.now);
        if self.below(2) == 0 {
            self.host.iter_mut().for_each(|host| host.session.detach(self.now));
        }
        self.to_host.clear();
        self.to_opener.clear();
        (self.up, self.greeted) = (false, false);
    }

    fn transmit(&mut self) {
        self.to_host.extend(self.opener.session.poll_transmit().unwrap_or_default());
        if self.greeted {
            let host = self.host.as_mut().expect("greeted");
            self.to_opener.extend(host.session.poll_transmit().unwrap_or_default());
        }
    }

    fn arrive_at_host(&mut self, amount: usize) {
        if !self.greeted {
            if self.to_host.len() < OPEN_BYTES {
                return;
            }
            let first: Vec<u8> = self.to_host.drain(..OPEN_BYTES).collect();
            let open = frame::read_open(&first.try_into().unwrap()).unwrap();
            let (now, says) = (self.now, &self.host_says);
            let host = self.host.get_or_insert_with(|| {
                End::new(Session::host(now, &open, PATIENCE).unwrap(), says.clone())
            });
            assert!(host.session.accept(now, &open));
            self.greeted = true;
        }
        let amount = amount.min(self.to_host.len());
        let bytes: Vec<u8> = self.to_host.drain(..amount).collect();
        self.host.as_mut().expect("greeted").session.receive(self.now, &bytes);
    }

    fn arrive_at_opener(&mut self, amount: usize) {
        let amount = amount.min(self.to_opener.len());
        let bytes: Vec<u8> = self.to_opener.drain(..amount).collect();
        self.opener.session.receive(self.now, &bytes);
    }

    fn is_done(&self) -> bool {
        self.opener.session.is_complete()
            && self.host.as_ref().is_some_and(|h| h.session.is_complete())
    }
}

/// Prints what repeats a failure.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}", self.0);
        }
    }
}

#[test]
fn cuts_anywhere_lose_double_and_reorder_nothing() {
    let mut cuts = 0;
    for seed in 0..100 {
        let _shown = Seed(seed);
        let mut world = World::new(seed);
        let mut steps = 0;
        while !world.is_done() {
            world.step();
            steps += 1;
            let host_ending = world.host.as_ref().and_then(|h| h.session.ending());
            assert_eq!((world.opener.session.ending(), host_ending), (None, None));
            assert!(steps < 2_000_000, "no progress");
        }
        let host = world.host.as_ref().unwrap();
        assert!(world.opener.heard == host.says, "host to opener");
        assert!(host.heard == world.opener.says, "opener to host");
        assert!(host.heard_end && world.opener.heard_end);
        cuts += world.cuts;
    }
    assert!(cuts > 300, "only {cuts} cuts");
}

/// Carries everything between the two until neither has more to say.
fn exchange(opener: &mut Session, host: &mut Session) {
    loop {
        let (there, back) = (opener.poll_transmit(), host.poll_transmit());
        if there.is_none() && back.is_none() {
            return;
        }
        host.receive(Mono(1), &there.unwrap_or_default());
        opener.receive(Mono(1), &back.unwrap_or_default());
    }
}

fn connected() -> (Session, Session) {
    let mut opener = Session::opener(Mono(0), SessionId([7; 16]), PATIENCE);
    opener.attach(Mono(0));
    let first = opener.poll_transmit().unwrap();
    let open = frame::read_open(&first.try_into().unwrap()).unwrap();
    let mut host = Session::host(Mono(0), &open, PATIENCE).unwrap();
    assert!(host.accept(Mono(0), &open));
    exchange(&mut opener, &mut host);
    (opener, host)
}

#[test]
fn one_direction_may_end_long_before_the_other() {
    let (mut opener, mut host) = connected();
    opener.write(b"question");
    opener.finish();
    exchange(&mut opener, &mut host);
    assert_eq!(host.poll_delivery(), Some(Delivery::Bytes(b"question".to_vec())));
    assert_eq!(host.poll_delivery(), Some(Delivery::End));
    host.write(b"answer");
    exchange(&mut opener, &mut host);
    assert_eq!(opener.poll_delivery(), Some(Delivery::Bytes(b"answer".to_vec())));
    assert_eq!(opener.poll_delivery(), None);
    host.finish();
    exchange(&mut opener, &mut host);
    assert_eq!(opener.poll_delivery(), Some(Delivery::End));
    exchange(&mut opener, &mut host);
    assert!(opener.is_closed() && host.is_closed() && host.is_complete());
}

#[test]
fn a_program_waits_when_nothing_is_confirmed_and_goes_on_when_something_is() {
    let (mut opener, mut host) = connected();
    opener.write(&vec![1; limits::REPLAY_BYTES_MAX]);
    exchange(&mut opener, &mut host);
    assert_eq!(opener.room(), 0);
    assert!(matches!(host.poll_delivery(), Some(Delivery::Bytes(_))));
    exchange(&mut opener, &mut host);
    assert_eq!(opener.room(), limits::TRANSMIT_BYTES);
}

#[test]
fn a_silent_stream_is_probed_and_then_given_up() {
    let (mut opener, mut host) = connected();
    opener.write(b"x");
    opener.poll_transmit();
    let due = opener.next_wakeup();
    assert_eq!(opener.on_wakeup(due), Due::Nothing);
    assert_eq!(opener.poll_transmit().unwrap(), [5, 0, 0, 0, 0]);
    let due = opener.next_wakeup();
    assert_eq!(opener.on_wakeup(due), Due::HangUp);
    // A host that lives answers a probe by an ack.
    host.receive(Mono(1), &[5, 0, 0, 0, 0]);
    assert_eq!(host.poll_transmit().unwrap(), [3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn who_only_listens_notices_as_fast_and_probes_less_in_a_long_silence() {
    let (mut opener, mut host) = connected();
    host.write(b"x");
    exchange(&mut opener, &mut host);
    let first = opener.next_wakeup();
    assert_eq!(first, Mono(1).after(limits::SILENCE_BUSY));
    opener.on_wakeup(first);
    exchange(&mut opener, &mut host);
    assert_eq!(opener.next_wakeup(), Mono(1).after(limits::SILENCE_IDLE));
}

#[test]
fn without_a_stream_a_side_gives_up_in_the_end() {
    let (mut opener, _host) = connected();
    opener.write(b"x");
    opener.detach(Mono(5));
    let due = opener.next_wakeup();
    assert_eq!(due, Mono(5).after(PATIENCE));
    opener.on_wakeup(due);
    assert_eq!((opener.ending(), opener.is_closed()), (Some(Ending::Away), true));
}

#[test]
fn a_host_does_not_resume_what_it_does_not_know() {
    let session = SessionId([7; 16]);
    let open = Open { session, attempt: 3, received: 0, resumes: true };
    assert_eq!(Session::host(Mono(0), &open, PATIENCE).unwrap_err(), Reason::Unknown);
}

#[test]
fn an_older_stream_does_not_replace_a_newer_one() {
    let (_, mut host) = connected();
    let session = SessionId([7; 16]);
    let stale = Open { session, attempt: 1, received: 0, resumes: false };
    assert!(!host.accept(Mono(9), &stale));
    assert!(host.is_attached() && host.ending().is_none());
}

#[test]
fn impossible_positions_end_the_session_on_both_sides() {
    for bytes in [
        // Data that leaves a gap, an ack of what was never said, an end at the wrong place, frame 9.
        &[2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0][..],
        &[3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1],
        &[4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1],
        &[9, 0, 0, 0, 0],
    ] {
        let (mut opener, mut host) = connected();
        host.receive(Mono(2), bytes);
        assert!(matches!(host.ending(), Some(Ending::Violation(_))), "{bytes:?}");
        exchange(&mut opener, &mut host);
        assert_eq!(opener.ending(), Some(Ending::Reset(Reason::Protocol)));
    }
}

#[test]
fn a_program_that_dies_is_not_taken_for_one_that_ended() {
    let (mut opener, mut host) = connected();
    opener.write(b"half of it");
    opener.abandon();
    exchange(&mut opener, &mut host);
    assert_eq!(host.poll_delivery(), None);
    assert_eq!(host.ending(), Some(Ending::Reset(Reason::Gone)));
    assert!(opener.is_closed());
}
