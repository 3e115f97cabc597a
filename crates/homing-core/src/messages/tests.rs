//! Two machines and a wire between them that the test holds in its hand.

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::cbor;
use homing_base::{InstanceId, Mono, NodeId, Now, Wall};

use super::limits::*;
use super::*;
use crate::io::FileOffer;

const WALL: u64 = 1_795_230_000_000;
const ALL: Rights = Rights { trusted: true, message: true, topic: true };

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn at(seconds: u64) -> Now {
    Now { mono: Mono(seconds * 1_000_000), wall: Wall(WALL + seconds * 1_000) }
}

fn draft(text: &str) -> Draft {
    let body = text.as_bytes().to_vec();
    Draft { kind: MessageKind::Text, body, source: None, lifetime: LIFETIME }
}

fn file(size: u64) -> Draft {
    let offer = FileOffer { name: "x".into(), size, sha256: [7; 32] };
    Draft { kind: MessageKind::File, body: cbor::encode(&offer), source: None, lifetime: LIFETIME }
}

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

/// Two agents; what they persist and what they notice.
struct Two {
    now: Now,
    ends: [Messages; 2],
    wire: VecDeque<(usize, Mail)>,
    events: [Vec<MessageEvent>; 2],
    rights: Rights,
    cut: bool,
}

impl Two {
    fn new() -> Self {
        let end = |n: u8| Messages::new(id(n), [n; 32], StoredMessages::default(), at(0));
        let mut two = Self {
            now: at(0),
            ends: [end(0), end(1)],
            wire: VecDeque::new(),
            events: [Vec::new(), Vec::new()],
            rights: ALL,
            cut: false,
        };
        two.link();
        two
    }

    fn link(&mut self) {
        for side in [0, 1] {
            let peer = id(1 - side as u8);
            let instance = InstanceId([9; 32]);
            self.ends[side].handle(self.now, MessagesInput::PeerUp { peer, instance });
        }
        self.settle();
    }

    fn send(&mut self, draft: Draft) -> Result<MessageId, SendError> {
        let sent = self.ends[0].send(self.now, id(1), draft);
        self.settle();
        sent
    }

    /// Carries everything until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            for side in [0, 1] {
                while let Some(output) = self.ends[side].poll_output() {
                    match output {
                        MessagesOutput::Persist(_) => {}
                        MessagesOutput::Send { mail, .. } => self.wire.push_back((side, mail)),
                        MessagesOutput::Notify(event) => self.events[side].push(event),
                    }
                }
            }
            let Some((side, mail)) = self.wire.pop_front() else { return };
            if self.cut {
                continue;
            }
            let mail = wire::decode(&wire::encode(&mail)).expect("own mail decodes");
            let input = MessagesInput::Mail { from: id(side as u8), mail, rights: self.rights };
            self.ends[1 - side].handle(self.now, input);
        }
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now.mono.after(Duration::from_secs(seconds));
        loop {
            let next = self.ends.iter().filter_map(Messages::next_wakeup).min();
            let next = next.unwrap_or(end).max(self.now.mono.after(Duration::from_millis(1)));
            if next > end {
                break;
            }
            let passed = next.since(self.now.mono);
            self.now = Now { mono: next, wall: self.now.wall.after(passed) };
            for end in &mut self.ends {
                end.handle(self.now, MessagesInput::Wakeup);
            }
            self.settle();
        }
        let passed = end.since(self.now.mono);
        self.now = Now { mono: end, wall: self.now.wall.after(passed) };
    }

    fn inbox(&self) -> Vec<String> {
        let text = |m: &Incoming| String::from_utf8(m.parcel.body.clone()).unwrap_or_default();
        self.ends[1].inbox().map(text).collect()
    }

    fn read_all(&mut self) -> usize {
        let all: Vec<_> = self.ends[1].inbox().map(|m| (m.from, m.parcel.id)).collect();
        let consumed = self.ends[1].consume(&all);
        self.settle();
        consumed
    }
}

#[test]
fn a_message_is_durable_before_it_leaves_and_before_its_receipt() {
    let mut two = Two::new();
    two.ends[0].send(two.now, id(1), draft("hi")).unwrap();
    let first = two.ends[0].poll_output();
    assert!(matches!(first, Some(MessagesOutput::Persist(MessageWrite::Outgoing(_)))));
    let Some(MessagesOutput::Send { mail, .. }) = two.ends[0].poll_output() else { panic!() };
    two.ends[1].handle(two.now, MessagesInput::Mail { from: id(0), mail, rights: ALL });
    let order: Vec<_> = std::iter::from_fn(|| two.ends[1].poll_output()).collect();
    let is_row =
        |o: &MessagesOutput| matches!(o, MessagesOutput::Persist(MessageWrite::Incoming(_)));
    let is_receipt = |o: &MessagesOutput| matches!(o, MessagesOutput::Send { .. });
    assert!(order.iter().position(is_row).unwrap() < order.iter().position(is_receipt).unwrap());
}

#[test]
fn what_is_said_while_the_link_is_dead_arrives_in_order_and_once() {
    let mut two = Two::new();
    two.cut = true;
    let texts: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    for text in &texts {
        two.send(draft(text)).unwrap();
    }
    two.wait(20);
    assert!(two.inbox().is_empty());
    two.cut = false;
    two.wait(120);
    assert_eq!(two.inbox(), texts);
    assert_eq!(two.ends[0].view().outbox, 0);
}

#[test]
fn a_lost_receipt_costs_a_copy_that_nobody_sees() {
    let mut two = Two::new();
    two.ends[0].send(two.now, id(1), draft("once")).unwrap();
    let mail = std::iter::from_fn(|| two.ends[0].poll_output()).find_map(|o| match o {
        MessagesOutput::Send { mail, .. } => Some(mail),
        _ => None,
    });
    let mail = mail.unwrap();
    for _ in 0..3 {
        let input = MessagesInput::Mail { from: id(0), mail: mail.clone(), rights: ALL };
        two.ends[1].handle(two.now, input);
    }
    two.settle();
    assert_eq!(two.inbox(), ["once"]);
    assert_eq!(two.ends[1].view().duplicates, 2);
    // Read, and replayed much later: still known.
    assert_eq!(two.read_all(), 1);
    two.ends[1].handle(two.now, MessagesInput::Mail { from: id(0), mail, rights: ALL });
    assert!(two.inbox().is_empty());
}

#[test]
fn a_full_inbox_is_refused_and_the_sender_keeps_what_is_left() {
    let mut two = Two::new();
    let texts: Vec<String> = (0..INBOX_PEER_MAX + 40).map(|n| n.to_string()).collect();
    for text in &texts {
        two.send(draft(text)).unwrap();
    }
    assert_eq!(two.inbox().len(), INBOX_PEER_MAX);
    let (_, state) = two.ends[0].outbox().next().unwrap();
    assert_eq!(state, OutgoingState::Refused(Verdict::Full));
    assert_eq!(two.read_all(), INBOX_PEER_MAX);
    two.wait(120);
    assert_eq!(two.inbox(), texts[INBOX_PEER_MAX..]);
}

#[test]
fn the_outbox_is_bounded_per_peer_in_messages_and_bytes() {
    let mut two = Two::new();
    two.cut = true;
    let sent = (0..).take_while(|n| two.send(draft(&n.to_string())).is_ok()).count();
    assert_eq!(sent, OUTBOX_PEER_MAX);
    let mut two = Two::new();
    two.cut = true;
    let big = "x".repeat(BODY_BYTES_MAX);
    let sent = (0..).take_while(|_| two.send(draft(&big)).is_ok()).count();
    assert_eq!(sent, OUTBOX_PEER_BYTES_MAX / (BODY_BYTES_MAX + OVERHEAD_BYTES));
    assert_eq!(two.send(draft(&"x".repeat(BODY_BYTES_MAX + 1))), Err(SendError::Long(32_769)));
}

#[test]
fn a_message_that_waits_too_long_is_given_up_and_said_so() {
    let mut two = Two::new();
    two.cut = true;
    let sent = two.send(Draft { lifetime: Duration::from_secs(5), ..draft("soon") }).unwrap();
    two.wait(4);
    assert!(two.ends[0].outgoing(sent).is_some());
    two.wait(2);
    assert!(two.ends[0].outgoing(sent).is_none());
    let failed = MessageEvent::Failed { to: id(1), id: sent, why: "expired" };
    assert_eq!(two.events[0], [failed]);
    assert!(!two.ends[0].cancel(sent));
}

#[test]
fn without_the_right_nothing_is_taken_and_nothing_is_lost() {
    let mut two = Two::new();
    two.rights = Rights { message: false, ..ALL };
    two.send(draft("x")).unwrap();
    assert!(two.inbox().is_empty());
    let (_, state) = two.ends[0].outbox().next().unwrap();
    assert_eq!(state, OutgoingState::Refused(Verdict::ScopeDenied));
    two.rights = ALL;
    two.wait(120);
    assert_eq!(two.inbox(), ["x"]);
}

#[test]
fn a_file_is_shown_when_it_was_fetched_and_does_not_hold_up_the_rest() {
    let mut two = Two::new();
    let sent = two.send(file(10)).unwrap();
    two.send(draft("after")).unwrap();
    assert!(matches!(two.events[1][0], MessageEvent::Offered { id, .. } if id == sent));
    let shown: Vec<_> = two.ends[1].inbox().filter(|m| m.is_complete()).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(two.ends[0].outgoing(sent).unwrap().1, OutgoingState::Fetching);
    // Unfetched, it cannot be taken out of the inbox.
    assert_eq!(two.read_all(), 1);
    // The sender's new run asks again; the answer is the same.
    two.link();
    assert!(two.ends[1].fetched(id(0), sent, Ok("there".into())));
    assert!(!two.ends[1].fetched(id(0), sent, Ok("there".into())));
    two.settle();
    assert!(two.events[0].contains(&MessageEvent::Delivered { to: id(1), id: sent }));
    assert_eq!(two.read_all(), 1);
    assert_eq!(two.ends[0].view().outbox, 0);
}

#[test]
fn what_became_of_a_file_is_learnt_although_the_word_was_lost() {
    let mut two = Two::new();
    let sent = two.send(file(10)).unwrap();
    two.cut = true;
    assert!(two.ends[1].fetched(id(0), sent, Err(Verdict::Changed)));
    two.settle();
    two.cut = false;
    two.wait(OFFER_AGAIN.as_secs() + 1);
    let failed = MessageEvent::Failed { to: id(1), id: sent, why: "file_changed" };
    assert_eq!(two.events[0], [failed]);
}

#[test]
fn events_reach_those_who_listen_now_and_those_who_keep() {
    let mut two = Two::new();
    let publish = |two: &mut Two, text: &str| {
        let told = two.ends[0].publish(two.now, &topic("t"), text.as_bytes(), |_| true);
        two.settle();
        told.unwrap()
    };
    assert_eq!(publish(&mut two, "nobody"), 0);
    assert_eq!(two.ends[1].listen(vec![topic("t")]), Ok(true));
    two.settle();
    assert_eq!(publish(&mut two, "live"), 1);
    assert!(matches!(&two.events[1][..], [MessageEvent::Arrived(m)] if m.parcel.body == b"live"));
    assert!(two.inbox().is_empty(), "nobody keeps it");
    assert_eq!(two.ends[1].listen(vec![]), Ok(true));
    two.settle();
    assert_eq!(publish(&mut two, "over"), 0);

    assert_eq!(two.ends[1].keep(topic("t"), true), Ok(true));
    two.settle();
    two.ends[0].handle(two.now, MessagesInput::PeerDown { peer: id(1) });
    assert_eq!(publish(&mut two, "away"), 1);
    two.link();
    assert_eq!(two.inbox(), ["away"]);
    assert_eq!(two.ends[1].keep(topic("t"), false), Ok(true));
    two.settle();
    assert!(two.ends[0].subscribers().is_empty());
}

#[test]
fn a_flood_of_topics_and_of_events_is_bounded() {
    let mut two = Two::new();
    let many = |n: usize| (0..n).map(|n| topic(&format!("t{n}"))).collect::<Vec<_>>();
    assert!(two.ends[1].listen(many(TOPICS_MAX + 1)).is_err());
    assert_eq!(two.ends[1].listen(many(TOPICS_MAX)), Ok(true));
    two.settle();
    two.cut = true;
    let told: usize = (0..LIVE_EVENTS_PEER_MAX + 10)
        .map(|_| two.ends[0].publish(two.now, &topic("t0"), b"x", |_| true).unwrap())
        .sum();
    assert_eq!(told, LIVE_EVENTS_PEER_MAX);
    two.settle();
    two.wait(LIVE_EVENT_LIFETIME.as_secs() + 61);
    assert_eq!(two.ends[0].view().outbox, 0, "nobody hears of them any more");
}

#[test]
fn an_event_that_nobody_asked_for_is_answered_and_told_so() {
    let mut two = Two::new();
    let parcel = Parcel {
        id: MessageId([1; 16]),
        created: two.now.wall,
        kind: MessageKind::Event,
        topic: Some(topic("t")),
        body: b"x".to_vec(),
    };
    let mail = Mail::Deliver(vec![parcel]);
    two.ends[1].handle(two.now, MessagesInput::Mail { from: id(0), mail, rights: ALL });
    let said: Vec<_> = std::iter::from_fn(|| two.ends[1].poll_output()).collect();
    assert!(said.iter().any(
        |o| matches!(o, MessagesOutput::Send { mail: Mail::Topics(list), .. } if list.is_empty())
    ));
    assert!(two.inbox().is_empty());
}

#[test]
fn answers_are_remembered_within_their_bound() {
    let mut two = Two::new();
    for n in 0..SEEN_PEER_MAX + 10 {
        two.send(draft(&n.to_string())).unwrap();
        two.read_all();
    }
    let mut memory = inbox::Memory::default();
    let mut forgotten = 0;
    for n in 0..(SEEN_PEER_MAX as u32 + 10) {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let (_, old) = memory.put(id(0), MessageId(bytes), Verdict::Accepted);
        forgotten += usize::from(old.is_some());
    }
    assert_eq!(forgotten, 10);
    assert_eq!(memory.verdict(id(0), MessageId([0; 16])), None);
    assert_eq!(two.ends[0].view().delivered, SEEN_PEER_MAX as u64 + 10);
}
