//! Exposed web servers as hyper speaks to them: HTTP/2 with trailers, frames as they come, pooled connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use homing_api::Code;
use homing_api::exposures::{ExposeRequest, Mode, Target};
use homing_api::trust::ApproveRequest;
use homing_node::{Node, Stream};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::common::{self, PATIENCE, befriend, pair};

/// Sends a body back as it comes, says who asked, and ends with trailers.
async fn echo(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = hyper::Error>>, Infallible> {
    let peer = request.headers().get("homing-peer-name").cloned();
    let te = request.headers().get("te").cloned();
    let trailers = async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.extend(te.map(|te| ("te-was".parse::<hyper::header::HeaderName>().unwrap(), te)));
        Some(Ok(trailers))
    };
    let mut response = Response::new(request.into_body().with_trailers(trailers));
    response
        .headers_mut()
        .extend(peer.map(|p| ("peer".parse::<hyper::header::HeaderName>().unwrap(), p)));
    Ok(response)
}

/// A web server on loopback, and how many connections it has had.
async fn target(http2: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let io = TokioIo::new(tcp);
            tokio::spawn(async move {
                let service = service_fn(echo);
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(io, service).await);
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    drop(server.serve_connection(io, service).await);
                }
            });
        }
    });
    (port, connections)
}

async fn expose(node: &Node, port: u16, name: &str, mode: Mode) {
    let target = Target::Tcp { host: "localhost".into(), port };
    let request = ExposeRequest { mode, ..ExposeRequest::new(target).named(name.parse().unwrap()) };
    assert!(node.expose(request.clone()).await.unwrap().changed);
    assert!(!node.expose(request).await.unwrap().changed);
}

async fn open(from: &Node, to: &Node, service: &str) -> Stream {
    let peer = to.node_id().to_string();
    from.connect(&peer, &service.parse().unwrap(), PATIENCE).await.unwrap()
}

/// A body of the frames that are sent into the channel.
fn body(
    frames: mpsc::Receiver<Bytes>,
) -> StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    StreamBody::new(stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|bytes| (Ok(Frame::data(bytes)), frames))
    }))
}

#[tokio::test]
async fn grpc_flows_frame_by_frame_and_ends_with_its_trailers() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let (port, _) = target(true).await;
    for (name, mode) in [("told-apart", Mode::Auto), ("http", Mode::Http)] {
        expose(&a, port, name, mode).await;
        let io = TokioIo::new(open(&b, &a, name).await);
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let (frames, receiver) = mpsc::channel(1);
        let request = Request::post("http://x/service/method")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("homing-peer-name", "admin");
        let response = client.send_request(request.body(Box::pin(body(receiver))).unwrap());
        frames.send(Bytes::from_static(b"first")).await.unwrap();
        let mut response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.headers()["peer"], "agent-b");
        // The second is sent only when the first has come back.
        for frame in [&b"first"[..], b"second"] {
            let came = tokio::time::timeout(PATIENCE, response.frame()).await.unwrap();
            assert_eq!(came.unwrap().unwrap().into_data().unwrap(), frame);
            if frame == b"first" {
                frames.send(Bytes::from_static(b"second")).await.unwrap();
            }
        }
        drop(frames);
        let end = response.collect().await.unwrap();
        let trailers = end.trailers().expect("trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["te-was"]),
            (&"0".parse().unwrap(), &"trailers".parse().unwrap())
        );
    }
}

/// A server that sends its settings unasked is no reason to pass on raw what a silent peer says afterwards.
#[tokio::test]
async fn silence_does_not_get_forged_headers_past_a_web_server_that_greets() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let (port, _) = target(true).await;
    expose(&a, port, "web", Mode::Auto).await;
    let mut stream = open(&b, &a, "web").await;
    let said = tokio::time::timeout(Duration::from_secs(1), stream.read_u8()).await;
    assert!(said.is_err(), "what the target greets with is not the peer's: {said:?}");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").header("homing-peer-name", "admin");
    let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap());
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.headers()["peer"], "agent-b");
}

#[tokio::test]
async fn a_process_that_is_no_longer_allowed_breaks_off_and_does_not_end() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let target = Target::Command { argv: vec!["cat".into()], cwd: None };
    a.expose(ExposeRequest::new(target).named("cat".parse().unwrap())).await.unwrap();
    let mut stream = open(&b, &a, "cat").await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    narrow(&a, &b).await;
    breaks(&mut stream).await;
}

#[tokio::test]
async fn an_answer_without_a_length_that_is_no_longer_allowed_breaks_off_and_does_not_end() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    expose(&a, listener.local_addr().unwrap().port(), "endless", Mode::Http).await;
    let (mut stream, _server) = begun_answer(&a, &b, &listener, "endless").await;
    narrow(&a, &b).await;
    breaks(&mut stream).await;
}

#[tokio::test]
async fn an_answer_that_its_server_breaks_off_does_not_end() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    expose(&a, listener.local_addr().unwrap().port(), "frail", Mode::Http).await;
    let (mut stream, server) = begun_answer(&a, &b, &listener, "frail").await;
    server.set_zero_linger().unwrap();
    drop(server);
    breaks(&mut stream).await;
}

#[tokio::test]
async fn what_a_peer_breaks_off_does_not_end_for_the_program() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    expose(&a, listener.local_addr().unwrap().port(), "upload", Mode::Tcp).await;
    let mut stream = open(&b, &a, "upload").await;
    stream.write_all(b"first part").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.read_exact(&mut [0; 10]).await.unwrap();
    stream.abort();
    breaks(&mut server).await;
}

/// The next thing to come is neither a byte nor an end.
async fn breaks(reader: &mut (impl AsyncRead + Unpin)) {
    let ended = tokio::time::timeout(PATIENCE, reader.read(&mut [0])).await.unwrap();
    assert!(ended.is_err(), "an end would say that this was all: {ended:?}");
}

/// A request, and an answer of which the first part has arrived. Only the end of the connection says where it ends
/// (RFC 9112 §6.3): HTTP/1.0 knows no chunks.
async fn begun_answer(
    a: &Node,
    b: &Node,
    listener: &TcpListener,
    service: &str,
) -> (Stream, TcpStream) {
    let mut stream = open(b, a, service).await;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst part").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"first part") {
        answer.push(stream.read_u8().await.unwrap());
    }
    (stream, server)
}

/// What `b` was granted is now another service only.
async fn narrow(a: &Node, b: &Node) {
    let mut narrower = ApproveRequest::of(b.node_id().to_string());
    narrower.services = Some(vec!["elsewhere".parse().unwrap()]);
    a.approve(narrower).await.unwrap();
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_from_its_first_byte() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    expose(&a, listener.local_addr().unwrap().port(), "mail", Mode::Auto).await;
    let mut stream = open(&b, &a, "mail").await;
    let (mut server, _) = listener.accept().await.unwrap();
    // As settings begin, and then not.
    for piece in [&b"\0\0"[..], b"\x12\x04", b"220 ready"] {
        server.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream.write_all(b"EHLO").await.unwrap();
    let (mut greeting, mut answer) = ([0; 13], [0; 4]);
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"\0\0\x12\x04220 ready");
    server.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"EHLO");
}

#[tokio::test]
async fn http_2_reaches_a_target_that_knows_only_http_1() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let (port, _) = target(false).await;
    expose(&a, port, "web", Mode::Auto).await;
    let io = TokioIo::new(open(&b, &a, "web").await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let (frames, receiver) = mpsc::channel(1);
    let request = Request::post("http://x/").body(Box::pin(body(receiver))).unwrap();
    let response = client.send_request(request);
    frames.send(Bytes::from_static(b"hello")).await.unwrap();
    drop(frames);
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(
        (response.status(), &response.headers()["peer"]),
        (StatusCode::OK, &"agent-b".parse().unwrap())
    );
    assert_eq!(response.collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn connections_to_the_target_are_kept_and_used_again() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let (port, connections) = target(false).await;
    expose(&a, port, "web", Mode::Auto).await;
    for _ in 0..3 {
        let io = TokioIo::new(open(&b, &a, "web").await);
        let (mut client, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..20 {
            let request = Request::get("/").header("host", "x").body(Empty::<Bytes>::new());
            let response = client.send_request(request.unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response.collect().await.unwrap();
        }
    }
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections <= 6, "{connections} connections for 60 requests in a row");
}

#[tokio::test]
async fn what_is_held_ends_with_its_holder() {
    let home = tempfile::tempdir().unwrap();
    let node = common::start(home.path(), "agent").await;
    let request = ExposeRequest::new(Target::Tcp { host: "localhost".into(), port: 9 });
    let (exposed, held) = node.expose_held(request.clone()).await.unwrap();
    assert!(exposed.changed && !exposed.service.kept && !node.home().services().exists());
    assert!(node.expose(request.clone()).await.is_err(), "the name is taken meanwhile");
    drop(held);
    common::until("it is exposed no longer", || async {
        node.services().unwrap().services.is_empty()
    })
    .await;
    assert!(node.expose(request).await.unwrap().changed);
}

#[tokio::test]
async fn a_holder_that_ends_takes_nothing_newer_with_it() {
    let home = tempfile::tempdir().unwrap();
    let node = common::start(home.path(), "agent").await;
    let request = ExposeRequest::new(Target::Tcp { host: "localhost".into(), port: 9 });
    let (_, held) = node.expose_held(request.clone()).await.unwrap();
    let name = "9".parse().unwrap();
    node.unexpose(&name).await.unwrap();
    assert!(node.expose(request).await.unwrap().changed);
    // Outside of every task: the holder may be dropped anywhere.
    std::thread::spawn(move || drop(held)).join().unwrap();
    // What comes after it waits for the same lock.
    let other = ExposeRequest::new(Target::Tcp { host: "localhost".into(), port: 10 });
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let (_, held) = node.expose_held(other.clone()).await.unwrap();
        drop(held);
        let gone = || async { node.services().unwrap().services.len() == 1 };
        common::until("the other is gone", gone).await;
    }
    assert_eq!(node.services().unwrap().services[0].name, name);
}

#[tokio::test]
async fn a_program_that_is_nowhere_is_not_exposed() {
    let home = tempfile::tempdir().unwrap();
    let node = common::start(home.path(), "agent").await;
    let program = |argv: &str| {
        let target = Target::Command { argv: vec![argv.into()], cwd: None };
        ExposeRequest::new(target).named("x".parse().unwrap())
    };
    let error = node.expose(program("no-such-program-anywhere")).await.unwrap_err();
    assert_eq!(error.code, Code::Usage);
    assert!(node.services().unwrap().services.is_empty());
    assert!(node.expose(program("cat")).await.unwrap().changed);
}

#[tokio::test]
async fn a_target_that_learnt_http_2_is_asked_again() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = |listener: TcpListener, http2: bool| {
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (io, service) = (TokioIo::new(tcp), service_fn(echo));
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(io, service));
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(server.serve_connection(io, service));
                }
            }
        })
    };
    let first = serving(listener, true);
    expose(&a, port, "web", Mode::Http).await;
    let io = TokioIo::new(open(&b, &a, "web").await);
    let (client, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let ask = || {
        let mut client = client.clone();
        async move {
            let request = Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
            client.send_request(request).await.unwrap().status()
        }
    };
    assert_eq!(ask().await, StatusCode::OK);
    // Another server takes the port, and knows HTTP/1.1 only.
    first.abort();
    drop(first.await);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    serving(listener, false);
    common::until("the other is spoken to in its own version", || async {
        ask().await == StatusCode::OK
    })
    .await;
}

/// Peers that begin a request and never end it are cut off; others are served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_cut_off_and_delay_nobody() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(a.path(), b.path()).await;
    befriend(&a, &b).await;
    let (port, _) = target(false).await;
    expose(&a, port, "web", Mode::Http).await;
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut stream = open(&b, &a, "web").await;
        let begun = ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: "][n % 4];
        stream.write_all(begun.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut quick = open(&b, &a, "web").await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    quick.write_all(request).await.unwrap();
    let mut answer = String::new();
    quick.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let ended = tokio::time::timeout(Duration::from_secs(120), ended).await;
        // However it ends: with an answer (408), in order, or by a reset.
        drop(ended.expect("it is cut off"));
    }
    common::until("nothing is open", || async { a.services().unwrap().services[0].streams == 0 })
        .await;
}
