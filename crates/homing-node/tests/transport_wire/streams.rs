//! Application streams.

use std::time::{Duration, Instant};

use homing_api::streams::Protocol;
use homing_base::InstanceId;
use homing_core::io::Door;
use homing_core::message::Refusal;
use homing_node::transport::{
    ALPN_STREAM, IncomingStream, OpenedStream, StreamError, StreamHeader, TransportEvent,
};
use iroh::endpoint::presets;
use tokio::time::timeout;

use super::support::{Peer, Relay};

fn header(service: &str) -> StreamHeader {
    StreamHeader { service: service.parse().unwrap() }
}

async fn incoming(peer: &mut Peer) -> IncomingStream {
    let stream = |e| if let TransportEvent::Stream(s) = e { Some(s) } else { None };
    peer.until("a stream", stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_opened_refused_and_severed() {
    let relay = Relay::start().await;
    let (a, mut b) = (Peer::private(&[&relay]).await, Peer::private(&[&relay]).await);
    let target = b.target(Door::Main, &[]);

    // Not admitted: no stream reaches the shell, even over UDP.
    let error = a.transport.open_stream(&target, header("mcp")).await.unwrap_err();
    assert!(matches!(&error, StreamError::Broken(e) if e.contains("not admitted")), "{error:?}");

    b.admit(a.transport.main());
    let host = tokio::spawn(async move {
        let stream = incoming(&mut b).await;
        assert_eq!(stream.header, header("mcp"));
        let OpenedStream { mut send, mut recv, .. } = stream.accept(Protocol::Http).await.unwrap();
        let asked = recv.read_to_end(64).await.unwrap();
        send.write_all(&asked).await.unwrap();
        send.finish().unwrap();
        incoming(&mut b).await.refuse(Refusal::ScopeDenied);
        drop(incoming(&mut b).await);
        let OpenedStream { send, recv, .. } =
            incoming(&mut b).await.accept(Protocol::Bytes).await.unwrap();
        (b, send, recv)
    });
    let start = Instant::now();
    let opened = a.transport.open_stream(&target, header("mcp")).await.unwrap();
    assert_eq!(opened.protocol, Protocol::Http);
    let (mut send, mut recv) = (opened.send, opened.recv);
    eprintln!("first stream open in {:?}", start.elapsed());
    send.write_all(b"hello").await.unwrap();
    send.finish().unwrap();
    assert_eq!(recv.read_to_end(64).await.unwrap(), b"hello");

    let start = Instant::now();
    let error = a.transport.open_stream(&target, header("ssh")).await.unwrap_err();
    assert_eq!(error, StreamError::Refused(Refusal::ScopeDenied));
    eprintln!("next stream on the pooled connection answered in {:?}", start.elapsed());
    let error = a.transport.open_stream(&target, header("x")).await.unwrap_err();
    assert_eq!(error, StreamError::Refused(Refusal::NoSuchService));

    let opened = a.transport.open_stream(&target, header("mcp")).await.unwrap();
    assert_eq!(opened.protocol, Protocol::Bytes);
    let mut recv = opened.recv;
    let (b, _host_send, _host_recv) = host.await.unwrap();
    b.transport.expel(a.transport.main());
    let start = Instant::now();
    recv.read_to_end(64).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    let again = a.transport.open_stream(&target, header("mcp")).await.unwrap_err();
    assert!(matches!(again, StreamError::Broken(_)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_pooled_connection_is_replaced() {
    let (a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let target = b.target(Door::Main, &[]);
    b.admit(a.transport.main());
    for round in 0..2 {
        let (transport, target) = (a.transport.clone(), target.clone());
        let opened =
            tokio::spawn(async move { transport.open_stream(&target, header("mcp")).await });
        incoming(&mut b).await.accept(Protocol::Bytes).await.unwrap();
        opened.await.unwrap().unwrap();
        if round == 0 {
            b.transport.sever(&[a.transport.main()]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_costs_one_stream_and_no_other() {
    let (a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let target = b.target(Door::Main, &[]);
    b.admit(a.transport.main());
    let (transport, there) = (a.transport.clone(), target.clone());
    let first = tokio::spawn(async move { transport.open_stream(&there, header("mcp")).await });
    let mut host = incoming(&mut b).await.accept(Protocol::Bytes).await.unwrap();
    let mut first = first.await.unwrap().unwrap();

    let (transport, there) = (a.transport.clone(), target.clone());
    let second = tokio::spawn(async move { transport.open_stream(&there, header("mcp")).await });
    let unanswered = incoming(&mut b).await;
    let late = second.await.unwrap().unwrap_err();
    assert!(matches!(late, StreamError::Broken(_)), "{late:?}");
    drop(unanswered);

    host.send.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    first.recv.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

/// An admitted peer that opens streams and never says what for: they wait for their turn, are thrown out, and nobody
/// else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_streams_keep_nobody_out() {
    const HALF_OPEN: usize = 10_000;
    let (a, mut b) = (Peer::private(&[]).await, Peer::private(&[]).await);
    let crowd = iroh::Endpoint::builder(presets::Minimal)
        .relay_mode(iroh::RelayMode::Disabled)
        .bind()
        .await
        .unwrap();
    b.admit(a.transport.main());
    b.admit(InstanceId(*crowd.id().as_bytes()));
    let id = iroh::EndpointId::from_bytes(&b.transport.main().0).unwrap();
    let there = iroh::EndpointAddr::new(id).with_ip_addr(b.socket());
    let connection = crowd.connect(there, ALPN_STREAM).await.unwrap();
    // As many as the connection gives at once; the others wait for these to be thrown out.
    let opening = connection.clone();
    let opened = tokio::spawn(async move {
        let mut thrown_out = tokio::task::JoinSet::new();
        for _ in 0..HALF_OPEN {
            let (mut send, mut recv) = opening.open_bi().await.unwrap();
            thrown_out.spawn(async move {
                send.write_all(&[0, 0]).await.unwrap();
                recv.read_to_end(1).await.unwrap_err();
                send.reset(0_u32.into()).ok();
            });
        }
        thrown_out.join_all().await.len()
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!opened.is_finished(), "all were open at once");
    let target = b.target(Door::Main, &[]);
    let asking = a.transport.open_stream(&target, header("mcp"));
    let (asked, _) = tokio::join!(asking, async {
        incoming(&mut b).await.accept(Protocol::Bytes).await.unwrap()
    });
    asked.unwrap();
    // Five seconds for a header, then the next ones have theirs.
    let thrown_out = timeout(Duration::from_secs(180), opened).await.unwrap().unwrap();
    assert_eq!(thrown_out, HALF_OPEN);
    assert!(connection.close_reason().is_none());
}

/// Each connection has an allowance of streams: one endpoint gets few of them, and those it has go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_has_few_connections() {
    let mut b = Peer::private(&[]).await;
    let crowd = iroh::Endpoint::builder(presets::Minimal)
        .relay_mode(iroh::RelayMode::Disabled)
        .bind()
        .await
        .unwrap();
    b.admit(InstanceId(*crowd.id().as_bytes()));
    let id = iroh::EndpointId::from_bytes(&b.transport.main().0).unwrap();
    let there = iroh::EndpointAddr::new(id).with_ip_addr(b.socket());
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(crowd.connect(there.clone(), ALPN_STREAM).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(held.iter().filter(|c| c.close_reason().is_none()).count(), 8);
    let (mut send, _recv) = held[0].open_bi().await.unwrap();
    let asked = homing_base::cbor::encode(&header("mcp"));
    send.write_all(&u32::try_from(asked.len()).unwrap().to_be_bytes()).await.unwrap();
    send.write_all(&asked).await.unwrap();
    assert_eq!(incoming(&mut b).await.header, header("mcp"));
}
