//! The gateway over real sockets: what passes, and how.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use homing_gateway::Settings;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{PATIENCE, World, app, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn world() -> World {
    World::new(Settings::default()).await
}

#[tokio::test]
async fn a_path_leads_to_a_service() {
    let world = world().await;
    let forged = "Homing-Peer-Node-Id: forged\r\nX-Own: kept\r\n";
    let answer = world.get("/@agent-b/app/a/../b?x=1", forged).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("GET /a/../b?x=1\n"), "{answer}");
    assert!(answer.contains("host: app.agent-b.agent.internal\n"), "{answer}");
    assert!(answer.contains("x-own: kept\n"), "{answer}");
    assert!(!answer.contains("homing-peer") && !answer.contains("connection: close\n"), "{answer}");
    assert!(answer.contains("content-security-policy: sandbox"), "{answer}");
    assert!(world.get("/@agent-b/app", "").await.contains("GET /\n"));
}

#[tokio::test]
async fn redirects_and_cookies_come_back_below_the_path() {
    let world = world().await;
    let answer = world.get("/@agent-b/app/redirect", "").await;
    assert!(answer.contains("location: /@agent-b/app/next\r\n"), "{answer}");
    let answer = world.get("/@agent-b/app/cookie", "").await;
    assert!(answer.contains("set-cookie: a=1; Path=/@agent-b/app/\r\n"), "{answer}");
}

#[tokio::test]
async fn a_whole_url_is_proxied_to_a_peer_and_elsewhere() {
    let world = world().await;
    world.mesh.place("agent-b", "8080", world.app);
    world.mesh.place("fd3a::1", "http", world.app);
    let elsewhere = format!("http://{}", world.app);
    for (base, host) in [
        ("http://app.agent-b.agent.internal", "app.agent-b.agent.internal"),
        ("http://agent-b.agent.internal:8080", "agent-b.agent.internal:8080"),
        ("http://[fd3a::1]", "[fd3a::1]"),
        (&elsewhere, &elsewhere[7..]),
    ] {
        let request =
            format!("GET {base}/x?y HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n");
        let answer = world.raw(&request).await;
        assert!(answer.contains("GET /x?y\n"), "{base}: {answer}");
        assert!(answer.contains(&format!("host: {host}\n")), "{base}: {answer}");
        assert!(!answer.contains("sandbox"), "a proxy leaves answers alone: {answer}");
    }
}

#[tokio::test]
async fn connect_and_socks_are_raw_and_close_each_half_by_itself() {
    let world = world().await;
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = echo.local_addr().unwrap();
    world.mesh.place("agent-b", "7", place);
    world.mesh.place("fd3a::1", "7", place);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            all.extend_from_slice(b", said the echo");
            stream.write_all(&all).await.unwrap();
        }
    });
    for host in ["agent-b.agent.internal:7", "[fd3a::1]:7", &place.to_string()] {
        let stream = connect(&world, host).await;
        assert_eq!(talk(stream).await, "hello, said the echo", "{host}");
    }
    let name = b"agent-b.agent.internal";
    let by_name = [&[3, name.len() as u8], name.as_slice()].concat();
    let address: std::net::Ipv6Addr = "fd3a::1".parse().unwrap();
    for (to, port) in [
        (by_name, 7_u16),
        ([&[4], address.octets().as_slice()].concat(), 7),
        (vec![1, 127, 0, 0, 1], place.port()),
    ] {
        let (reply, stream) = socks(&world, &to, port).await;
        assert_eq!(reply, 0);
        assert_eq!(talk(stream).await, "hello, said the echo");
    }
}

#[tokio::test]
async fn what_one_side_breaks_off_does_not_end_for_the_other() {
    let world = world().await;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.mesh.place("agent-b", "7", service.local_addr().unwrap());
    let name = b"agent-b.agent.internal";
    let name = [&[3, name.len() as u8], name.as_slice()].concat();
    for by_socks in [true, false] {
        for near_breaks in [true, false] {
            let near = match by_socks {
                true => socks(&world, &name, 7).await.1,
                false => connect(&world, "agent-b.agent.internal:7").await,
            };
            let far = service.accept().await.unwrap().0;
            let (mut left, mut stays) = if near_breaks { (near, far) } else { (far, near) };
            left.write_all(b"first part").await.unwrap();
            stays.read_exact(&mut [0; 10]).await.unwrap();
            left.set_zero_linger().unwrap();
            drop(left);
            let ended = tokio::time::timeout(PATIENCE, stays.read(&mut [0])).await.unwrap();
            assert!(ended.is_err(), "SOCKS {by_socks}, near {near_breaks}: {ended:?}");
        }
    }
}

/// A tunnel by `CONNECT`.
async fn connect(world: &World, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    let asked = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "), "{host}");
    stream
}

async fn talk(mut stream: TcpStream) -> String {
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    all
}

/// Asks for a connection; the reply's code.
async fn socks(world: &World, to: &[u8], port: u16) -> (u8, TcpStream) {
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    stream.write_all(&[5, 2, 2, 0]).await.unwrap();
    assert_eq!(stream.read_u16().await.unwrap(), 0x0500);
    stream.write_all(&[&[5, 1, 0], to, &port.to_be_bytes()].concat()).await.unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!((reply[0], reply[3]), (5, 1));
    (reply[1], stream)
}

#[tokio::test]
async fn failures_say_why_in_every_protocol() {
    let world = world().await;
    for (peer, status, code, reply) in [
        ("nobody", 404, "not_found", 4),
        ("stranger", 403, "peer_not_trusted", 2),
        ("sleeper", 502, "peer_offline", 4),
        ("lost", 502, "no_route", 3),
        ("slow", 504, "timeout", 6),
    ] {
        let answer = world.get(&format!("/@{peer}/app/"), "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
        assert!(answer.contains("\"hint\":\"a hint\""), "{answer}");
        let host = format!("{peer}.agent.internal:1");
        let asked = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert!(world.raw(&asked).await.starts_with(&format!("HTTP/1.1 {status} ")));
        let name = format!("{peer}.agent.internal").into_bytes();
        let to = [&[3, name.len() as u8], name.as_slice()].concat();
        assert_eq!(socks(&world, &to, 1).await.0, reply, "{peer}");
    }
    for wrong in ["/", "/agent-b/app", "/@agent-b"] {
        assert!(world.get(wrong, "").await.starts_with("HTTP/1.1 404 "), "{wrong}");
    }
    assert_eq!(socks(&world, &[9], 1).await.0, 8, "no such address type");
}

#[tokio::test]
async fn events_pass_as_they_come_both_ways_with_trailers() {
    let world = world().await;
    let stream = TcpStream::connect(world.gateway).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let (send, receive) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let frames = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|frame| (Ok::<_, std::io::Error>(frame), receive))
    });
    let request = Request::post(format!("http://{}/@agent-b/app/echo-frames", world.gateway))
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(frames)))
        .unwrap();
    let mut answer = sender.send_request(request).await.unwrap().into_body();
    // The second is written only after the first has come back: nothing waits for the end.
    for text in ["first", "second"] {
        send.send(Frame::data(Bytes::from(text))).await.unwrap();
        let frame = tokio::time::timeout(PATIENCE, answer.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), text);
    }
    drop(send);
    let last = answer.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn http1_bodies_are_not_held_back_either() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    let asked = format!(
        "POST /@agent-b/app/echo-frames HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        world.gateway
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"5\r\nfirst\r\n").await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let mut chunk = [0; 10];
    stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"5\r\nfirst\r\n");
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    let mut rest = [0; 16];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_connection_switches_protocols() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    let asked = format!(
        "GET /@agent-b/app/upgrade HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        world.gateway
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: echo\r\n"),
        "{answer}"
    );
    assert_eq!(talk(stream).await, "hello and good bye");
}

#[tokio::test]
async fn streams_are_used_again_for_their_own_service_alone() {
    let world = world().await;
    for _ in 0..20 {
        assert!(world.get("/@agent-b/app/x", "").await.contains("GET /x\n"));
    }
    assert_eq!(world.mesh.opened.load(Ordering::SeqCst), 1);
    world.mesh.place("agent-b", "other", app().await);
    world.mesh.place("agent-c", "app", app().await);
    world.get("/@agent-b/other/x", "").await;
    world.get("/@agent-c/app/x", "").await;
    assert_eq!(world.mesh.opened.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn with_mesh_only_nothing_else_is_reached() {
    let world = World::new(Settings { mesh_only: true }).await;
    let port = world.app.port();
    let proxied = |more: &str| {
        format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n", world.app)
    };
    let refused = |answer: String| {
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("permission_denied") && answer.contains("mesh-only"), "{answer}");
    };
    refused(world.raw(&proxied("")).await);
    refused(
        world.raw(&format!("CONNECT {} HTTP/1.1\r\nConnection: close\r\n\r\n", world.app)).await,
    );
    assert_eq!(socks(&world, &[1, 127, 0, 0, 1], port).await.0, 2);
    assert!(world.get("/@agent-b/app/", "").await.starts_with("HTTP/1.1 200 "));

    // One program asks for the same by the user name in its proxy URL.
    let open = support::World::new(Settings::default()).await;
    refused(open.raw(&proxied("Proxy-Authorization: Basic bWVzaC1vbmx5Og==\r\n")).await);
    let answer = open.raw(&proxied("Proxy-Authorization: Basic c29tZWJvZHk6eA==\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("proxy-auth"), "{answer}");
}
