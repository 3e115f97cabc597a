//! Real nodes on loopback, for tests.

#![allow(unreachable_pub, reason = "a module of one program")]

use std::path::Path;
use std::time::Duration;

use homing_api::peers::PingRequest;
use homing_api::trust::{ApproveRequest, HandshakeRequest};
use homing_api::{ApiError, Client};
use homing_node::{Builder, Node};

/// Long enough for a busy machine; what is waited for comes in milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A node that listens on loopback only. Many are in this process, each with sockets and a store of its own.
pub fn on_loopback(home: &Path, name: &str) -> Builder {
    homing_node::daemon::raise_open_files();
    Node::builder().home(home).name(name).listen("127.0.0.1:0".parse().unwrap())
}

pub async fn start(home: &Path, name: &str) -> Node {
    on_loopback(home, name).start().await.unwrap()
}

/// Calls `look` until it says yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// Two running nodes of which the second knows the first.
pub async fn pair(a: &Path, b: &Path) -> (Node, Node) {
    let a = start(a, "agent-a").await;
    let ticket = a.ticket().await.unwrap();
    let b = on_loopback(b, "agent-b").peer(ticket).start().await.unwrap();
    (a, b)
}

/// Mutual trust by handshake and approval.
pub async fn befriend(a: &Node, b: &Node) {
    b.handshake(HandshakeRequest::to(a.node_id().to_string())).await.unwrap();
    until("the request arrives", || async { !a.pending().await.unwrap().requests.is_empty() })
        .await;
    a.approve(ApproveRequest::of(b.node_id().to_string())).await.unwrap();
    a.trusted(&b.node_id().to_string(), PATIENCE).await.unwrap();
    b.trusted(&a.node_id().to_string(), PATIENCE).await.unwrap();
}

pub async fn ping(from: &Node, to: &Node) -> Result<(), ApiError> {
    let peer = to.node_id().to_string();
    from.ping(PingRequest { peer, timeout_ms: 5_000 }).await.map(|_| ())
}

pub fn client(node: &Node) -> Client {
    Client::new(node.home().socket().unwrap())
}
