//! Relays: trust, the node behind them, allow-lists, death and return.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use homing_base::{AgentRecord, IdentityKey, RelayRef, Seq};
use homing_core::io::{DialId, DialTarget, Door};
use homing_node::clock;
use homing_node::relay::RelayAccess;
use homing_node::transport::{TransportConfig, TransportEvent, Via, WellKnown};

use super::support::{Peer, Relay, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_with_another_certificate_than_pinned_is_not_used() {
    let relay = Relay::start().await;
    let wrong = RelayRef { pin: Some([7; 32]), ..relay.known.clone() };
    let unpinned = RelayRef { pin: None, ..relay.known.clone() };
    for known in [wrong, unpinned] {
        let config = TransportConfig { relays: vec![known.clone()], ..TransportConfig::default() };
        let mut peer = Peer::start(config).await;
        peer.transport.dial(DialId(1), DialTarget::Relay(known));
        let error = peer.outcome(DialId(1)).await.unwrap_err();
        assert!(error.contains("certificate"), "{error}");
        assert!(!peer.transport.facts().online);
    }
    assert_eq!(relay.server.counts().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_behind_a_relay_is_found_by_its_record() {
    let relay = Relay::start().await;
    let mut host = Peer::start(TransportConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        relays: vec![relay.known.clone()],
        public: true,
        ..TransportConfig::default()
    })
    .await;
    assert_eq!(host.transport.instance(), host.transport.main());
    let mut guest = Peer::private(&[&relay]).await;

    guest.transport.dial(DialId(1), DialTarget::Relay(relay.known.clone()));
    let error = guest.outcome(DialId(1)).await.unwrap_err();
    assert!(error.contains("no homing node behind it"), "{error}");

    let key = IdentityKey::from_seed([5; 32]);
    let wall = clock::wall();
    let mut record =
        AgentRecord::new(key.public(), host.transport.instance(), Seq::default().next(wall), wall);
    record.relays = vec![relay.known.clone()];
    let record = record.sign(&key).unwrap().bytes().to_vec();
    let answer = WellKnown { record, direct: vec![host.socket()] };
    relay.well_known.send_replace(homing_base::cbor::encode(&answer));
    host.online().await;
    let (at_guest, _) =
        connect(&mut guest, &mut host, 2, DialTarget::Relay(relay.known.clone())).await;
    assert_eq!(at_guest.remote, host.transport.instance());
    assert_eq!(at_guest.door, Door::Front);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_different_relays_meet_at_the_callees() {
    let (one, two) = (Relay::start().await, Relay::start().await);
    let (mut a, mut b) = (Peer::private(&[&one]).await, Peer::private(&[&two]).await);
    b.online().await;
    let target = b.target(Door::Front, &[&two]);
    let (at_a, _) = connect(&mut a, &mut b, 1, target).await;
    assert_eq!(a.transport.path(at_a.link).unwrap().via, Via::Relay(two.known.clone()));
    assert_eq!(
        a.transport.facts().relays,
        std::slice::from_ref(&one.known),
        "learnt relays are not one's own"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_list_lets_in_its_identities_only() {
    let (member, other) = (IdentityKey::from_seed([1; 32]), IdentityKey::from_seed([2; 32]));
    let list = BTreeSet::from([member.node_id()]);
    let relay = Relay::start_with(RelayAccess::AllowList(list)).await;
    let config = |identity: Option<&IdentityKey>| TransportConfig {
        relays: vec![relay.known.clone()],
        identity: identity.cloned(),
        ..TransportConfig::default()
    };
    let mut inside = Peer::start(config(Some(&member))).await;
    inside.online().await;
    for identity in [Some(&other), None] {
        let mut outside = Peer::start(config(identity)).await;
        let error = outside
            .until("the denial", |e| match e {
                TransportEvent::RelayDown { error, .. } => Some(error),
                _ => None,
            })
            .await;
        assert!(error.contains("denies access"), "{error}");
        assert!(!outside.transport.facts().online);
    }
    assert_eq!(relay.server.counts().clients, 2, "the member's two doors");
    relay.server.set_access(RelayAccess::AllowList(BTreeSet::new()));
    inside.facts("being thrown out", |f| !f.online).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_home_relay_is_left_for_the_other() {
    let (one, two) = (Relay::start().await, Relay::start().await);
    let (mut a, mut b) = (Peer::private(&[&one, &two]).await, Peer::private(&[&one, &two]).await);
    let home = b.online().await.relays[0].clone();
    a.online().await;
    let (dead, left) = if home == one.known { (one, two) } else { (two, one) };

    let start = Instant::now();
    dead.server.stop().await;
    // One event may tell both, the new home and the loss; another one would never come.
    b.facts("a new home alone", |f| f.online && f.relays == [left.known.clone()]).await;
    eprintln!("re-homed in {:?}", start.elapsed());
    assert!(b.transport.relays().iter().any(|r| r.relay == dead.known && r.error.is_some()));

    // And it can be dialled there by somebody who knew it at the old place.
    let target = DialTarget::Endpoint {
        endpoint: b.transport.instance(),
        from: Door::Front,
        relays: vec![dead.known.clone(), left.known.clone()],
        direct: Vec::new(),
    };
    connect(&mut a, &mut b, 1, target).await;
    eprintln!("dialled at the new home after {:?}", start.elapsed());
}

/// Forwards TCP to a relay until it is told to freeze; then everything hangs, old and new.
async fn freezable(relay: &Relay) -> (RelayRef, tokio::sync::watch::Sender<bool>) {
    let (freeze, frozen) = tokio::sync::watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = relay.server.addr();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut frozen = frozen.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                    _ = frozen.wait_for(|f| *f) => {}
                }
                std::future::pending::<()>().await;
            });
        }
    });
    (RelayRef { url: format!("https://127.0.0.1:{port}/"), ..relay.known.clone() }, freeze)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_relay_that_hangs_without_a_word_is_left_too() {
    let (relay, other) = (Relay::start().await, Relay::start().await);
    let (hanging, freeze) = freezable(&relay).await;
    let both = vec![hanging.clone(), other.known.clone()];
    let config = TransportConfig { relays: both, ..TransportConfig::default() };
    // Which one becomes home is a matter of microseconds.
    let mut peer = loop {
        let mut peer = Peer::start(config.clone()).await;
        if peer.online().await.relays[0] == hanging {
            break peer;
        }
        peer.transport.close().await;
    };
    freeze.send_replace(true);
    let start = Instant::now();
    peer.facts("a new home", |f| f.online && f.relays[0] == other.known).await;
    eprintln!("left a hanging relay in {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_returns_is_used_again_at_once() {
    let relay = Relay::start().await;
    let mut peer = Peer::private(&[&relay]).await;
    peer.online().await;
    let relay = relay.restart(Duration::from_secs(3)).await;
    let start = Instant::now();
    peer.facts("losing the relay", |f| !f.online).await;
    peer.online().await;
    eprintln!("back online in {:?}", start.elapsed());
    assert_eq!(relay.server.relay_ref("127.0.0.1"), relay.known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_relay_is_enough_to_know_that_the_mapping_does_not_vary() {
    let relay = Relay::start().await;
    let mut peer = Peer::private(&[&relay]).await;
    let known = |f: &homing_core::io::EndpointFacts| f.network.mapping_varies.is_some();
    let facts = peer.facts("the mapping", known).await;
    assert_eq!(facts.network.mapping_varies, Some(false));
    assert_eq!(facts.network.udp_v4, Some(true));
}
