//! Two trusted Homing nodes on loopback and one application stream between them.

use std::time::Duration;

use homing_api::trust::{ApproveRequest, HandshakeRequest};
use homing_base::Service;
use homing_node::Node;

use crate::Pair;

/// Starts both nodes, makes trust mutual and opens the stream.
pub(crate) async fn open() -> Pair {
    let (near_home, far_home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let far = start(far_home.path(), "far", None).await;
    let ticket = ticket(&far).await;
    let near = start(near_home.path(), "near", Some(ticket)).await;
    befriend(&near, &far).await;
    let service: Service = "bench".parse().unwrap();
    let mut listener = far.listen(service.clone()).unwrap();
    let id = far.node_id().to_string();
    let near_stream = near.connect(&id, &service, Duration::from_secs(5)).await.unwrap();
    let far_stream = listener.accept().await.unwrap();
    let (near_read, near_write) = tokio::io::split(near_stream);
    let (far_read, far_write) = tokio::io::split(far_stream);
    Pair {
        near: (Box::new(near_write), Box::new(near_read)),
        far: (Box::new(far_write), Box::new(far_read)),
        _keep: Box::new((near_home, far_home, near, far, listener)),
    }
}

async fn start(home: &std::path::Path, name: &str, peer: Option<String>) -> Node {
    let mut builder = Node::builder()
        .home(home)
        .name(name)
        .environment(false)
        .without_api()
        .listen("127.0.0.1:0".parse().unwrap());
    if let Some(peer) = peer {
        builder = builder.peer(peer);
    }
    builder.start().await.unwrap()
}

async fn ticket(node: &Node) -> String {
    loop {
        if let Some(ticket) = node.info().await.unwrap().ticket {
            return ticket;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `near` asks, `far` approves; retried while the request is on its way.
async fn befriend(near: &Node, far: &Node) {
    let ask = |peer| HandshakeRequest { peer, reason: None, services: None, lifetime_s: None };
    near.handshake(ask(far.node_id().to_string())).await.unwrap();
    let request =
        ApproveRequest { peer: near.node_id().to_string(), services: None, lifetime_s: None };
    while far.approve(request.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
