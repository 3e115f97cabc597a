//! A gateway on a free port, a mesh whose peers are programs on loopback, and a web service to ask.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use homing_api::{ApiError, Code};
use homing_gateway::{Mesh, MeshStream, Settings, Target};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Generous: a busy machine must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Peers by `SERVICE.PEER`, and what happens instead of a stream.
#[derive(Default)]
pub(crate) struct TestMesh {
    places: Mutex<HashMap<String, SocketAddr>>,
    pub(crate) opened: AtomicUsize,
}

impl TestMesh {
    pub(crate) fn place(&self, peer: &str, service: &str, at: SocketAddr) {
        self.places.lock().unwrap().insert(format!("{service}.{peer}"), at);
    }
}

#[async_trait]
impl Mesh for TestMesh {
    async fn open(&self, target: &Target) -> Result<Box<dyn MeshStream>, ApiError> {
        let peer = target.peer.to_string();
        let place = self.places.lock().unwrap().get(&format!("{}.{peer}", target.service)).copied();
        let code = match peer.as_str() {
            "stranger" => Code::PeerNotTrusted,
            "sleeper" => Code::PeerOffline,
            "lost" => Code::NoRoute,
            "slow" => Code::Timeout,
            _ if place.is_none() => Code::NotFound,
            _ => Code::Internal,
        };
        let place =
            place.ok_or_else(|| ApiError::new(code, "as the test wants it").hint("a hint"))?;
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(TcpStream::connect(place).await.unwrap()))
    }
}

/// A gateway, its mesh, and a web service that `agent-b` offers as `app`.
pub(crate) struct World {
    pub(crate) gateway: SocketAddr,
    pub(crate) mesh: Arc<TestMesh>,
    pub(crate) app: SocketAddr,
}

impl World {
    pub(crate) async fn new(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let mesh = Arc::new(TestMesh::default());
        tokio::spawn(homing_gateway::serve(
            listener,
            mesh.clone(),
            settings,
            std::future::pending(),
        ));
        let app = app().await;
        mesh.place("agent-b", "app", app);
        Self { gateway, mesh, app }
    }

    /// Sends bytes and reads until the other side closes.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.gateway).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("the gateway closes the connection");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request of the path router, with further header lines; the whole answer.
    pub(crate) async fn get(&self, path: &str, more: &str) -> String {
        let host = self.gateway;
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"))
            .await
    }
}

/// Reads a head, up to and with the empty line.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("a head in time");
        text.push(byte.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&text))));
    }
    String::from_utf8(text).unwrap()
}

type Body = BoxBody<Bytes, Infallible>;

/// A web service in HTTP/1.1 and HTTP/2.
pub(crate) async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = [0; 4];
                let http2 = stream.peek(&mut first).await.is_ok() && &first == b"PRI ";
                let (io, service) = (TokioIo::new(stream), service_fn(page));
                let _ = match http2 {
                    true => {
                        let protocol =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        protocol.serve_connection(io, service).await
                    }
                    false => {
                        let protocol = hyper::server::conn::http1::Builder::new();
                        protocol.serve_connection(io, service).with_upgrades().await
                    }
                };
            });
        }
    });
    addr
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

async fn page(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let answer = Response::builder();
    Ok(match request.uri().path() {
        "/redirect" => answer.status(302).header("location", "/next").body(full("")).unwrap(),
        "/cookie" => answer.header("set-cookie", "a=1; Path=/; Domain=x").body(full("")).unwrap(),
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut all = Vec::new();
                io.read_to_end(&mut all).await.unwrap();
                all.extend_from_slice(b" and good bye");
                io.write_all(&all).await.unwrap();
                io.shutdown().await.unwrap();
            });
            answer
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "echo")
                .body(full(""))
                .unwrap()
        }
        "/echo-frames" => answer.body(echo_frames(request.into_body())).unwrap(),
        _ => answer.body(full(told(request).await)).unwrap(),
    })
}

/// Each frame of the request at once as a frame of the answer, then trailers.
fn echo_frames(mut body: Incoming) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data()
                && sender.send(Frame::data(data)).await.is_err()
            {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = sender.send(Frame::trailers(trailers)).await;
    });
    StreamBody::new(Frames(receiver)).boxed()
}

struct Frames(tokio::sync::mpsc::Receiver<Frame<Bytes>>);

impl futures_util::Stream for Frames {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// The request as it arrived, a line per fact.
async fn told(request: Request<Incoming>) -> String {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    format!("{text}\n{}", String::from_utf8_lossy(&body))
}
