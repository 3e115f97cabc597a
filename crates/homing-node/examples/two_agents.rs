//! Two agents in one process: an address each, trust, and a stream.

use std::time::Duration;

use homing_api::trust::{ApproveRequest, HandshakeRequest};
use homing_node::Node;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (homes, patience) = (tempfile::tempdir()?, Duration::from_secs(10));
    let planner = Node::builder().home(homes.path().join("p")).name("planner").start().await?;
    let ticket = planner.ticket().await?;
    let worker = Node::builder().home(homes.path().join("w")).name("worker").peer(ticket);
    let worker = worker.start().await?;

    worker.handshake(HandshakeRequest::to(planner.address().to_string())).await?;
    while planner.approve(ApproveRequest::of(worker.node_id().to_string())).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.trusted("planner", patience).await?;

    let mut jobs = planner.listen("jobs".parse()?)?;
    let mut stream = worker.connect("planner", &"jobs".parse()?, patience).await?;
    stream.send.write_all(b"what shall I do?").await?;
    stream.send.finish()?;
    let mut asked = jobs.accept().await.expect("the node runs");
    let words = asked.recv.read_to_end(1_000).await?;
    tracing::info!("{} asks: {}", asked.peer(), String::from_utf8_lossy(&words));
    assert_eq!(words, b"what shall I do?");
    worker.stop().await?;
    planner.stop().await?;
    Ok(())
}
