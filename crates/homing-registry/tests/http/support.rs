//! A real registry on a loopback port, records to send it, and a client without manners.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, InstanceId, NodeId, Record, Seq, Wall};
use homing_registry::cards::{Fetcher, FetcherConfig};
use homing_registry::http::{Registry, Settings, serve};
use homing_registry::network::{Alone, Network};
use homing_registry::storage::sqlite::SqliteStorage;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A registry with its own database, on its own port.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) registry: Registry,
    /// Gone with the server.
    _folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// Settings without rate limits: tests that need them say so.
pub(crate) fn settings() -> Settings {
    Settings { per_address: None, per_key: None, ..Settings::default() }
}

/// Who the registry of these tests is.
pub(crate) fn registry_id() -> NodeId {
    key(250).node_id()
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::within(settings, Arc::new(Alone { node_id: registry_id() })).await
    }

    pub(crate) async fn within(settings: Settings, network: Arc<dyn Network>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings { public_url: format!("http://{address}"), ..settings };
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(SqliteStorage::open(folder.path().join("registry.db")).unwrap());
        let cards = Fetcher::new(FetcherConfig::default());
        let registry = Registry::new(storage, network, cards, settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, registry.clone(), async {
            let _ = stopped.await;
        }));
        Self { address, registry, _folder: folder, stop: Some(stop), served }
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(30), &mut self.served).await.unwrap().unwrap();
    }

    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn read_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.call("GET", path, headers, Bytes::new()).await
    }

    /// With another `Host` than the one that was dialled.
    pub(crate) async fn read_naming(&self, path: &str, host: &str) -> Reply {
        self.call("GET", path, &[("host", host)], Bytes::new()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        self.call("POST", path, &headers, body.to_string().into()).await
    }

    pub(crate) async fn cose(&self, method: &str, path: &str, bytes: &[u8]) -> Reply {
        let body = Bytes::copy_from_slice(bytes);
        self.call(method, path, &[("content-type", "application/cose")], body).await
    }

    pub(crate) async fn register(&self, record: &Record) -> Reply {
        self.cose("POST", "/v1/entities", record.bytes()).await
    }

    pub(crate) async fn register_with_card(&self, record: &Record, card: &[u8]) -> Reply {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let body = serde_json::json!({"record": encode(record.bytes()), "card": encode(card)});
        self.post_json("/v1/entities", &body).await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Reply {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The head of an answer, its body still to be read.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap()
    }
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Checks a refusal: status, code, and that it is a problem that helps.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status, "{text}");
        problem
    }

    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

pub(crate) fn key(seed: u8) -> IdentityKey {
    IdentityKey::from_seed([seed; 32])
}

pub(crate) fn wall() -> Wall {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Wall::default().after(now)
}

/// The content of a record that is valid now.
pub(crate) fn content(key: &IdentityKey, name: &str, sequence: u64) -> AgentRecord {
    let instance = InstanceId([9; 32]);
    let mut content = AgentRecord::new(key.public(), instance, Seq(sequence), wall());
    content.name = (!name.is_empty()).then(|| name.parse().unwrap());
    content
}

pub(crate) fn record(seed: u8, name: &str, sequence: u64) -> Record {
    content(&key(seed), name, sequence).sign(&key(seed)).unwrap()
}

pub(crate) fn tombstone(seed: u8, sequence: u64) -> Record {
    let content = AgentRecord { withdrawn: Some(true), ..content(&key(seed), "", sequence) };
    content.sign(&key(seed)).unwrap()
}

/// A record that names a card.
pub(crate) fn with_card(seed: u8, name: &str, sequence: u64, url: &str, card: &[u8]) -> Record {
    let sha256 = Sha256::digest(card).into();
    let card = Some(CardRef { url: url.into(), sha256 });
    AgentRecord { card, ..content(&key(seed), name, sequence) }.sign(&key(seed)).unwrap()
}

/// An agent card in A2A 1.0.
pub(crate) fn card(title: &str, more: Value) -> Vec<u8> {
    let mut card = serde_json::json!({
        "name": title,
        "description": format!("{title} does things with weather"),
        "version": "1.0.0",
        "supportedInterfaces": [{
            "url": "https://agent.example.com/a2a",
            "protocolBinding": "JSONRPC",
            "protocolVersion": "1.0",
        }],
        "capabilities": {},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{
            "id": "forecast",
            "name": "Forecast",
            "description": "Tells tomorrow's weather",
            "tags": ["weather"],
        }],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        card[name] = value.clone();
    }
    serde_json::to_vec(&card).unwrap()
}

/// Repeats until `check` says yes; for what happens soon, not at once.
pub(crate) async fn soon<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    for _ in 0..600 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}
