//! Two real nodes on loopback: trust, pings, streams, restarts.

use std::time::Duration;

use homing_api::peers::PathKind;
use homing_api::streams::{IncomingStream, ListenRequest, StreamState};
use homing_api::trust::{ApproveRequest, HandshakeRequest, TrustState};
use homing_api::{ApiError, Code};
use homing_base::Service;
use homing_node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{self, PATIENCE, befriend, client, pair, ping, start, until};

struct Homes(tempfile::TempDir, tempfile::TempDir);

async fn friends() -> (Homes, Node, Node) {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    befriend(&a, &b).await;
    (homes, a, b)
}

fn service(name: &str) -> Service {
    name.parse().unwrap()
}

async fn stop(a: Node, b: Node) {
    let (a, b) = tokio::join!(a.stop(), b.stop());
    a.and(b).unwrap();
}

#[tokio::test]
async fn handshake_and_approval_make_mutual_trust() {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    let mut request = HandshakeRequest::to("agent-a");
    request.reason = Some("nightly reports".into());
    until("b knows a by name", || async { b.handshake(request.clone()).await.is_ok() }).await;
    until("a sees the request", || async { !a.pending().await.unwrap().requests.is_empty() }).await;
    let asked = a.pending().await.unwrap().requests.remove(0);
    assert_eq!(asked.peer.node_id, b.node_id());
    assert_eq!(asked.reason.as_deref(), Some("nightly reports"));
    assert_eq!(ping(&b, &a).await.unwrap_err().code, Code::PeerNotTrusted);

    let change = a.approve(ApproveRequest::of(b.node_id().to_string())).await.unwrap();
    assert!(change.changed);
    assert_eq!(change.state, TrustState::Mutual);
    b.trusted("agent-a", PATIENCE).await.unwrap();
    let again = a.approve(ApproveRequest::of(b.node_id().to_string())).await.unwrap();
    assert!(!again.changed, "approving twice changes nothing");
    ping(&b, &a).await.unwrap();
    ping(&a, &b).await.unwrap();
    let status = a.status(Some("agent-b")).await.unwrap();
    assert_eq!(status.peers[0].path.kind, PathKind::Direct);
    stop(a, b).await;
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_end_ends_by_itself() {
    let (_homes, a, b) = friends().await;
    let mut listener = a.listen(service("echo")).unwrap();
    let server = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap();
        let all = stream.recv.read_to_end(1 << 20).await.unwrap();
        stream.send.write_all(&all).await.unwrap();
        stream.send.finish().unwrap();
        stream.send.stopped().await.unwrap();
    });
    let mut stream = b.connect("agent-a", &service("echo"), PATIENCE).await.unwrap();
    assert_eq!(stream.peer(), a.node_id());
    let sent: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
    stream.send.write_all(&sent).await.unwrap();
    stream.send.finish().unwrap();
    assert_eq!(stream.recv.read_to_end(1 << 20).await.unwrap(), sent);
    server.await.unwrap();
    stop(a, b).await;
}

#[tokio::test]
async fn raw_streams_travel_through_the_local_api() {
    let (_homes, a, b) = friends().await;
    let mut arrivals = client(&a)
        .listen(&ListenRequest { service: service("8080"), protocol: Default::default() })
        .await
        .unwrap();
    assert_eq!(arrivals.recv().await.unwrap().unwrap().event, "ready");
    let mut outgoing = client(&b).connect("agent-a", "8080", PATIENCE).await.unwrap();
    let event = arrivals.recv().await.unwrap().unwrap();
    let incoming: IncomingStream = serde_json::from_str(&event.data).unwrap();
    assert_eq!(incoming.peer.node_id, b.node_id());
    let mut taken = client(&a).take_stream(incoming.id).await.unwrap();

    outgoing.io.write_all(b"question").await.unwrap();
    outgoing.io.shutdown().await.unwrap();
    let mut heard = Vec::new();
    taken.io.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"question");
    taken.io.write_all(b"answer").await.unwrap();
    taken.io.shutdown().await.unwrap();
    heard.clear();
    outgoing.io.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"answer");
    until("the stream has ended in order", || async {
        let outcome = client(&b).stream_outcome(outgoing.id).await.unwrap();
        outcome.state == StreamState::Closed
            && outcome.sent_bytes == 8
            && outcome.received_bytes == 6
    })
    .await;
    stop(a, b).await;
}

#[tokio::test]
async fn strangers_reach_no_application_and_services_must_exist() {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    let mut listener = a.listen(service("mcp")).unwrap();
    until("b knows a", || async { b.resolve(resolve("agent-a")).await.is_ok() }).await;
    let refused = b.connect("agent-a", &service("mcp"), PATIENCE).await.unwrap_err();
    assert_eq!((refused.code, refused.exit), (Code::PeerNotTrusted, 5));
    let nothing = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(nothing.is_err(), "the application saw a stranger");

    befriend(&a, &b).await;
    let missing = b.connect("agent-a", &service("ssh"), PATIENCE).await.unwrap_err();
    assert_eq!(missing.code, Code::NoSuchService);
    b.connect("agent-a", &service("mcp"), PATIENCE).await.unwrap();
    assert!(listener.accept().await.is_some());
    stop(a, b).await;
}

fn resolve(what: &str) -> homing_api::peers::ResolveRequest {
    homing_api::peers::ResolveRequest { what: what.into(), timeout_ms: 2_000 }
}

#[tokio::test]
async fn a_grant_for_one_service_is_for_that_service() {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    b.handshake(HandshakeRequest::to(a.node_id().to_string())).await.unwrap();
    until("the request arrives", || async { !a.pending().await.unwrap().requests.is_empty() })
        .await;
    let mut yes = ApproveRequest::of(b.node_id().to_string());
    yes.services = Some(vec![service("mcp")]);
    a.approve(yes).await.unwrap();
    b.trusted("agent-a", PATIENCE).await.unwrap();
    let _mcp = a.listen(service("mcp")).unwrap();
    let _ssh = a.listen(service("ssh")).unwrap();
    b.connect("agent-a", &service("mcp"), PATIENCE).await.unwrap();
    let denied = b.connect("agent-a", &service("ssh"), PATIENCE).await.unwrap_err();
    assert_eq!(denied.code, Code::ScopeDenied);
    stop(a, b).await;
}

#[tokio::test]
async fn revoking_severs_live_streams_at_once() {
    let (_homes, a, b) = friends().await;
    let _exposed = client(&a)
        .listen(&ListenRequest { service: service("mcp"), protocol: Default::default() })
        .await
        .unwrap();
    let mut listener = a.listen(service("raw")).unwrap();
    let mut stream = b.connect("agent-a", &service("raw"), PATIENCE).await.unwrap();
    stream.send.write_all(b"hello").await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    let mut five = [0; 5];
    accepted.recv.read_exact(&mut five).await.unwrap();

    let begun = std::time::Instant::now();
    assert_eq!(a.revoke("agent-b").await.unwrap().state, TrustState::RevokedByUs);
    let ended = tokio::time::timeout(PATIENCE, stream.recv.read(&mut five)).await.unwrap();
    assert!(ended.is_err(), "the stream broke rather than ended: {ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(tokio::time::timeout(PATIENCE, accepted.recv.read(&mut five)).await.unwrap().is_err());
    let refused = b.connect("agent-a", &service("raw"), PATIENCE).await.unwrap_err();
    assert_eq!(refused.code, Code::PeerNotTrusted);
    until("b is told", || async {
        b.trust_show("agent-a").await.unwrap().entry.trust.state == TrustState::RevokedByPeer
    })
    .await;
    stop(a, b).await;
}

#[tokio::test]
async fn a_severed_stream_says_so_through_the_local_api() {
    let (_homes, a, b) = friends().await;
    let mut arrivals = client(&a)
        .listen(&ListenRequest { service: service("mcp"), protocol: Default::default() })
        .await
        .unwrap();
    arrivals.recv().await.unwrap().unwrap();
    let mut outgoing = client(&b).connect("agent-a", "mcp", PATIENCE).await.unwrap();
    let event = arrivals.recv().await.unwrap().unwrap();
    let incoming: IncomingStream = serde_json::from_str(&event.data).unwrap();
    let mut taken = client(&a).take_stream(incoming.id).await.unwrap();
    outgoing.io.write_all(b"x").await.unwrap();
    let mut one = [0];
    taken.io.read_exact(&mut one).await.unwrap();
    a.revoke("agent-b").await.unwrap();
    until("both ends know", || async {
        let ours = client(&a).stream_outcome(incoming.id).await.unwrap();
        let theirs = client(&b).stream_outcome(outgoing.id).await.unwrap();
        ours.error.is_some_and(|e: ApiError| e.code == Code::PeerNotTrusted)
            && theirs.state == StreamState::Broken
    })
    .await;
    stop(a, b).await;
}

#[tokio::test]
async fn a_narrower_grant_ends_what_it_no_longer_covers_and_nothing_else() {
    let (_homes, a, b) = friends().await;
    let open = async |name: &str| {
        let request = ListenRequest { service: service(name), protocol: Default::default() };
        let mut arrivals = client(&a).listen(&request).await.unwrap();
        arrivals.recv().await.unwrap().unwrap();
        let mut outgoing = client(&b).connect("agent-a", name, PATIENCE).await.unwrap();
        let event = arrivals.recv().await.unwrap().unwrap();
        let incoming: IncomingStream = serde_json::from_str(&event.data).unwrap();
        let mut taken = client(&a).take_stream(incoming.id).await.unwrap();
        outgoing.io.write_all(b"x").await.unwrap();
        taken.io.read_exact(&mut [0]).await.unwrap();
        (arrivals, taken, outgoing)
    };
    let (_mcp, mut kept, mut keeps) = open("mcp").await;
    let (_ssh, ended, ends) = open("ssh").await;
    // What we opened ourselves is theirs to allow.
    let _back = b.listen(service("ssh")).unwrap();
    let ours = a.connect("agent-b", &service("ssh"), PATIENCE).await.unwrap();

    let mut narrower = ApproveRequest::of("agent-b".to_owned());
    narrower.services = Some(vec![service("mcp")]);
    assert!(a.approve(narrower).await.unwrap().changed);
    until("both ends know", || async {
        let here = client(&a).stream_outcome(ended.id).await.unwrap();
        let there = client(&b).stream_outcome(ends.id).await.unwrap();
        here.error.is_some_and(|e: ApiError| e.code == Code::ScopeDenied)
            && there.state == StreamState::Broken
    })
    .await;
    keeps.io.write_all(b"y").await.unwrap();
    kept.io.read_exact(&mut [0]).await.unwrap();
    assert_eq!(client(&a).stream_outcome(ours.id()).await.unwrap().state, StreamState::Open);
    let refused = b.connect("agent-a", &service("ssh"), PATIENCE).await.unwrap_err();
    assert_eq!(refused.code, Code::ScopeDenied);
    stop(a, b).await;
}

#[tokio::test]
async fn trust_and_address_survive_restarts_of_both() {
    let (homes, a, b) = friends().await;
    let (id_a, id_b) = (a.node_id(), b.node_id());
    stop(a, b).await;
    let a = start(homes.0.path(), "agent-a").await;
    let ticket = a.ticket().await.unwrap();
    let b = common::on_loopback(homes.1.path(), "agent-b").peer(ticket).start().await.unwrap();
    assert_eq!((a.node_id(), b.node_id()), (id_a, id_b));
    assert_eq!(b.trust_show("agent-a").await.unwrap().entry.trust.state, TrustState::Mutual);
    until("the ping is answered", || async { ping(&b, &a).await.is_ok() }).await;
    stop(a, b).await;
}

#[tokio::test]
async fn a_moved_agent_is_pinged_again_without_telling_anybody() {
    let (homes, a, b) = friends().await;
    let (id, port) = (a.node_id(), a.info().await.unwrap().udp_port);
    a.stop().await.unwrap();
    // Another port stands for another host: b learns of it from a itself.
    let a = start(homes.0.path(), "agent-a").await;
    assert_eq!(a.node_id(), id);
    assert_ne!(a.info().await.unwrap().udp_port, port);
    let begun = std::time::Instant::now();
    until("b pings a", || async { ping(&b, &a).await.is_ok() }).await;
    println!("first answered ping {} ms after the restart", begun.elapsed().as_millis());
    stop(a, b).await;
}

#[tokio::test]
async fn of_two_instances_the_newer_wins_and_the_older_says_so() {
    let (homes, older, b) = friends().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(homes.0.path().join("identity.json"), elsewhere.path().join("identity.json"))
        .unwrap();
    let ticket = b.ticket().await.unwrap();
    let newer = common::on_loopback(elsewhere.path(), "agent-a").peer(ticket).takeover(true);
    let newer = newer.start().await.unwrap();
    assert_eq!(newer.node_id(), older.node_id());
    until("the older one knows", || async { older.info().await.unwrap().superseded }).await;
    assert!(older.health().iter().any(|item| item.code == "identity_in_use"));
    assert!(!newer.info().await.unwrap().superseded);
    // The newer one came with its key only: b gave the trust statements back.
    until("b is trusted over there", || async { ping(&newer, &b).await.is_ok() }).await;
    until("b pings the newer one", || async { ping(&b, &newer).await.is_ok() }).await;
    let instance = b.status(Some("agent-a")).await.unwrap().peers[0].instance;
    assert_eq!(instance, Some(newer.info().await.unwrap().instance));
    older.stop().await.unwrap();
    stop(newer, b).await;
}

/// `node` takes streams and drops them.
fn take_all(node: &Node) -> tokio::task::JoinHandle<()> {
    let mut listener = node.listen(service("raw")).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_some() {} })
}

#[tokio::test]
async fn nobody_is_refused_while_an_agent_without_its_store_hears_whom_it_trusted() {
    let (homes, a, b) = friends().await;
    let (id_a, id_b) = (a.node_id().to_string(), b.node_id().to_string());
    let taken = take_all(&b);
    a.stop().await.unwrap();
    for run in 0..3 {
        let elsewhere = tempfile::tempdir().unwrap();
        let key = homes.0.path().join("identity.json");
        std::fs::copy(key, elsewhere.path().join("identity.json")).unwrap();
        let ticket = b.ticket().await.unwrap();
        let a = common::on_loopback(elsewhere.path(), "agent-a").peer(ticket);
        let a = a.start().await.unwrap();
        let also_taken = take_all(&a);
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            let raw = service("raw");
            let to = b.connect(&id_a, &raw, PATIENCE);
            let from = a.connect(&id_b, &raw, PATIENCE);
            let (to, from) = tokio::join!(to, from);
            let after = begun.elapsed();
            for error in [to.err(), from.err()].into_iter().flatten() {
                let is_no = error.code == Code::PeerNotTrusted;
                assert!(!is_no, "run {run}, after {after:?}: {error}");
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        until("streams open both ways", || async {
            let raw = service("raw");
            let to = b.connect(&id_a, &raw, PATIENCE).await;
            to.is_ok() && a.connect(&id_b, &raw, PATIENCE).await.is_ok()
        })
        .await;
        a.stop().await.unwrap();
        also_taken.await.unwrap();
    }
    b.stop().await.unwrap();
    taken.await.unwrap();
}

#[tokio::test]
async fn a_grant_that_runs_out_ends_streams_and_pings() {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    b.handshake(HandshakeRequest::to(a.node_id().to_string())).await.unwrap();
    until("the request arrives", || async { !a.pending().await.unwrap().requests.is_empty() })
        .await;
    let mut yes = ApproveRequest::of(b.node_id().to_string());
    yes.lifetime_s = Some(3);
    a.approve(yes).await.unwrap();
    b.trusted("agent-a", PATIENCE).await.unwrap();
    let mut listener = a.listen(service("raw")).unwrap();
    let mut stream = b.connect("agent-a", &service("raw"), PATIENCE).await.unwrap();
    stream.send.write_all(b"x").await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    let mut one = [0];
    accepted.recv.read_exact(&mut one).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.recv.read(&mut one)).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(ping(&b, &a).await.unwrap_err().code, Code::TrustExpired);
    let refused = b.connect("agent-a", &service("raw"), PATIENCE).await.unwrap_err();
    assert_eq!(refused.code, Code::TrustExpired);
    stop(a, b).await;
}

#[tokio::test]
async fn aliases_name_peers() {
    let (_homes, a, b) = friends().await;
    let alias = |peer: Option<String>| homing_api::peers::AliasRequest {
        name: "boss".parse().unwrap(),
        peer,
    };
    assert!(b.set_alias(alias(Some("agent-a".into()))).await.unwrap().changed);
    assert!(!b.set_alias(alias(Some("agent-a".into()))).await.unwrap().changed);
    assert_eq!(b.status(Some("boss")).await.unwrap().peers[0].peer.node_id, a.node_id());
    assert!(b.aliases().await.unwrap().names.iter().any(|n| n.name.as_str() == "boss"));
    assert!(b.set_alias(alias(None)).await.unwrap().changed);
    assert_eq!(b.status(Some("boss")).await.unwrap_err().code, Code::NotFound);
    stop(a, b).await;
}

#[tokio::test]
async fn events_tell_what_a_user_would_notice() {
    let homes = Homes(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(homes.0.path(), homes.1.path()).await;
    let mut events = client(&a).events().await.unwrap();
    befriend(&a, &b).await;
    let to_mutual = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.recv_event().await.unwrap().unwrap();
            if event.kind == "trust_changed" && event.detail["to"] == "mutual" {
                break event;
            }
        }
    });
    let event = to_mutual.await.unwrap();
    assert_eq!(event.peer.unwrap().node_id, b.node_id());
    stop(a, b).await;
}
