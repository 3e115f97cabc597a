//! What the agent knows becomes what the registry finds: its own record, its peers', and what gossip brings.
//!
//! Records are listed as they are published or heard; every [`LOOK`], and whenever too many came at once,
//! everything the agent knows is offered once more. Storage decides what is newer.

use std::sync::Weak;
use std::time::Duration;

use homing_base::{NodeId, Record};
use homing_registry::entity::Source;
use homing_registry::http::Registry;
use tokio::sync::broadcast::error::RecvError;

use crate::node::{Node, Shared};

/// Between two looks at everything.
const LOOK: Duration = Duration::from_secs(300);
/// Records taken from the agent at once; it does nothing else meanwhile.
const PAGE: usize = 512;

/// Feeds the registry until the agent has ended.
pub(super) async fn run(shared: Weak<Shared>, registry: Registry) {
    let Some(node) = handle(&shared) else { return };
    let (mut heard, mut events) = (node.records_heard(), node.events());
    drop(node);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            record = heard.recv() => match record {
                Ok(record) => registry.hear(record, Source::Gossip).await,
                Err(RecvError::Lagged(_)) => look.reset_immediately(),
                Err(RecvError::Closed) => return,
            },
            event = events.recv() => match event {
                Ok(event) if event.kind == "published" => own(&shared, &registry).await,
                Err(RecvError::Closed) => return,
                _ => {}
            },
            _ = look.tick() => everything(&shared, &registry).await,
        }
    }
}

fn handle(shared: &Weak<Shared>) -> Option<Node> {
    shared.upgrade().map(|shared| Node { shared })
}

async fn own(shared: &Weak<Shared>, registry: &Registry) {
    let Some(node) = handle(shared) else { return };
    if let Ok(Some(record)) = node.query(|agent| agent.own_record().cloned()).await {
        registry.hear(record, Source::Registered).await;
    }
}

async fn everything(shared: &Weak<Shared>, registry: &Registry) {
    own(shared, registry).await;
    let Some(node) = handle(shared) else { return };
    for record in peers(&node).await {
        registry.hear(record, Source::Gossip).await;
    }
    let mut after = None;
    while let Some(page) = gossiped(&node, after).await {
        after = page.last().map(Record::node_id);
        for record in page {
            registry.hear(record, Source::Gossip).await;
        }
    }
}

/// Every record that the agent knows, its own included.
pub(crate) async fn known(node: &Node) -> Vec<Record> {
    let own = node.query(|agent| agent.own_record().cloned()).await.ok().flatten();
    let mut all: Vec<Record> = own.into_iter().chain(peers(node).await).collect();
    let mut after = None;
    while let Some(page) = gossiped(node, after).await {
        after = page.last().map(Record::node_id);
        all.extend(page);
    }
    all
}

async fn peers(node: &Node) -> Vec<Record> {
    let now = node.shared.clock.now();
    let views = node.query(move |agent| agent.peers(now)).await.unwrap_or_default();
    views.into_iter().filter_map(|view| view.record).collect()
}

/// The next page of the table of gossip; `None`: that was all.
async fn gossiped(node: &Node, after: Option<NodeId>) -> Option<Vec<Record>> {
    let page = node.query(move |agent| agent.gossip_records(after, PAGE)).await.ok()?;
    (!page.is_empty()).then_some(page)
}
