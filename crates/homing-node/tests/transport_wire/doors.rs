//! Links, doors and whois.

use std::time::{Duration, Instant};

use homing_core::io::{DialId, DialTarget, Door, Input};
use homing_core::message::{ByeReason, Message};
use homing_node::transport::{Transport, TransportConfig, TransportError, Via};

use super::support::{Peer, Relay, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_meet_at_the_front_and_friends_directly() {
    let relay = Relay::start().await;
    let start = Instant::now();
    let (mut a, mut b) = (Peer::private(&[&relay]).await, Peer::private(&[&relay]).await);
    eprintln!("two private peers bound in {:?}", start.elapsed());
    let first = a.facts("the first facts", |_| true).await;
    assert_eq!(first.relays, std::slice::from_ref(&relay.known));
    assert_eq!(first.direct, [a.socket()]);
    assert!(!first.online && !first.publish_direct);
    a.online().await;
    eprintln!("online after {:?}", start.elapsed());
    b.online().await;

    let start = Instant::now();
    let target = b.target(Door::Front, &[&relay]);
    let (at_a, at_b) = connect(&mut a, &mut b, 1, target).await;
    eprintln!("front link and first message in {:?}", start.elapsed());
    assert_eq!((at_a.door, at_b.door), (Door::Front, Door::Front));
    assert_eq!(at_a.remote, b.transport.instance());
    assert_eq!(at_b.remote, a.transport.instance());
    b.transport.send(at_b.link, &Message::Pong(1));
    assert_eq!(a.message().await, Message::Pong(1));
    let path = a.transport.path(at_a.link).unwrap();
    assert_eq!(path.via, Via::Relay(relay.known.clone()));
    assert_eq!(path.others, [], "a stranger learns no direct path");

    b.admit(a.transport.main());
    let start = Instant::now();
    let target = b.target(Door::Main, &[&relay]);
    let (at_a, at_b) = connect(&mut a, &mut b, 2, target).await;
    eprintln!("main link and first message in {:?}", start.elapsed());
    assert_eq!((at_a.door, at_b.door), (Door::Main, Door::Main));
    assert_eq!(at_b.remote, a.transport.main());
    let mut via = a.transport.path(at_a.link).unwrap().via;
    for _ in 0..100 {
        if via == Via::Direct(b.socket()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        via = a.transport.path(at_a.link).unwrap().via;
    }
    assert_eq!(via, Via::Direct(b.socket()));

    // What is sent before a close arrives before the end.
    a.transport.send(at_a.link, &Message::Bye(ByeReason::Stopping));
    a.transport.close_link(at_a.link, ByeReason::Stopping);
    assert_eq!(b.message().await, Message::Bye(ByeReason::Stopping));
    let down = |i| matches!(i, Input::LinkDown { link, .. } if link == at_b.link).then_some(());
    b.input("the end of the main link", down).await;
    let start = Instant::now();
    a.transport.close().await;
    b.transport.close().await;
    eprintln!("closed in {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_door_refuses_a_relayed_stranger() {
    let relay = Relay::start().await;
    let (mut a, mut b) = (Peer::private(&[&relay]).await, Peer::private(&[&relay]).await);
    a.online().await;
    b.online().await;
    let relayed = DialTarget::Endpoint {
        endpoint: b.transport.main(),
        from: Door::Front,
        relays: vec![relay.known.clone()],
        direct: Vec::new(),
    };
    a.transport.dial(DialId(1), relayed.clone());
    let refused = a.outcome(DialId(1)).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");

    // The same knock, admitted a moment too late, is held and let in.
    a.transport.dial(DialId(2), relayed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    b.admit(a.transport.instance());
    a.outcome(DialId(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whois_finds_the_node_behind_a_socket_address() {
    let (mut a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let facts = a.facts("the first facts", |_| true).await;
    assert!(facts.online && facts.publish_direct, "without relays there is nothing to wait for");
    assert_eq!(a.transport.instance(), a.transport.main());
    let start = Instant::now();
    let target = DialTarget::Sockets { direct: vec![b.socket()] };
    let (at_a, at_b) = connect(&mut a, &mut b, 1, target).await;
    eprintln!("whois, dial and first message in {:?}", start.elapsed());
    assert_eq!(at_a.remote, b.transport.main());
    assert_eq!((at_a.door, at_b.door), (Door::Main, Door::Main));
    assert_eq!(a.transport.path(at_a.link).unwrap().via, Via::Direct(b.socket()));

    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = Instant::now();
    a.transport.dial(DialId(2), DialTarget::Sockets { direct: vec![nobody] });
    let error = a.outcome(DialId(2)).await.unwrap_err();
    assert!(error.contains("nobody answers"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
    a.transport.dial(DialId(3), DialTarget::Sockets { direct: Vec::new() });
    assert_eq!(a.outcome(DialId(3)).await.unwrap_err(), "NoAddress");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = TransportConfig { listen: vec![addr], ..TransportConfig::default() };
    let error = Transport::bind(config).await.err().unwrap();
    assert!(matches!(error, TransportError::PortInUse { addr: a } if a == addr), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_keep_up_loses_its_link() {
    let (mut a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let target = b.target(Door::Main, &[]);
    let (at_a, at_b) = connect(&mut a, &mut b, 1, target).await;
    // More than the queue, the windows and the peer's own queue take together.
    let long = Message::Records(vec![vec![0; 1_000].into(); 32]);
    for _ in 0..4_000 {
        a.transport.send(at_a.link, &long);
    }
    let down = |i| match i {
        Input::LinkDown { link, reason } if link == at_b.link => Some(reason),
        _ => None,
    };
    let reason = b.input("the end of the overloaded link", down).await;
    assert!(reason.contains("Overload"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_peer_that_does_not_read_closes_all_the_same() {
    let (mut a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let target = b.target(Door::Main, &[]);
    let (at_a, _) = connect(&mut a, &mut b, 1, target).await;
    // Enough to block the writer, not enough to overflow the queue; `b` reads no event any more.
    for _ in 0..1_300 {
        a.transport.send(at_a.link, &Message::Ping(0));
    }
    let long = Message::Records(vec![vec![0; 1_000].into(); 32]);
    for _ in 0..200 {
        a.transport.send(at_a.link, &long);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    a.transport.close_link(at_a.link, ByeReason::Idle);
    let down = |i| matches!(i, Input::LinkDown { link, .. } if link == at_a.link).then_some(());
    a.input("the end of the link", down).await;
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_the_door_gets_in_after_proving_its_address() {
    let (mut a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    for dial in 0..100 {
        a.transport.dial(DialId(dial), b.target(Door::Main, &[]));
    }
    for _ in 0..100 {
        let up = a.link_up().await;
        a.transport.send(up.link, &Message::Ping(1));
    }
    for _ in 0..100 {
        b.link_up().await;
    }
}
