//! IPNS records by the delegated routing API: what is served, taken and refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homing_base::ipns::{IpnsContent, validity_text};
use homing_base::{IpnsName, IpnsRecord, NodeId, Record, Service, Wall};
use homing_registry::entity::EntityKey;
use homing_registry::network::{Found, Network, NetworkError, NetworkPeer, NetworkStats, Tunnel};

use crate::support::{Reply, Server, key, registry_id, settings};

const MEDIA: &str = "application/vnd.ipfs.ipns-record";

/// A network that keeps one record.
#[derive(Default)]
struct Keeping(Mutex<Option<IpnsRecord>>);

#[async_trait]
impl Network for Keeping {
    async fn announce(&self, _: Record) {}

    async fn resolve(&self, _: &EntityKey, _: Duration) -> Result<Found, NetworkError> {
        Err(NetworkError::NotFound { asked: 0, spent: Vec::new() })
    }

    async fn open(&self, peer: NodeId, _: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        Err(NetworkError::Unreachable(peer.to_string()))
    }

    async fn registries(&self) -> Vec<NodeId> {
        Vec::new()
    }

    async fn peers(&self) -> Vec<NetworkPeer> {
        Vec::new()
    }

    async fn reference(&self, name: &IpnsName, _: Duration) -> Option<IpnsRecord> {
        self.0.lock().unwrap().clone().filter(|record| record.name() == name)
    }

    async fn offer_reference(&self, record: IpnsRecord) -> bool {
        *self.0.lock().unwrap() = Some(record);
        true
    }

    async fn stats(&self) -> NetworkStats {
        NetworkStats::default()
    }

    fn node_id(&self) -> NodeId {
        registry_id()
    }
}

fn name() -> IpnsName {
    IpnsName::of(key(7).public())
}

fn record(sequence: u64, ends: u64) -> IpnsRecord {
    let content = IpnsContent {
        value: b"/ipfs/bafkqaaa".to_vec(),
        sequence,
        validity: validity_text(Wall(ends)),
        ttl: Duration::from_secs(300),
    };
    content.sign(&key(7)).unwrap()
}

const LATE: u64 = 4_000_000_000_000;

fn path() -> String {
    format!("/routing/v1/ipns/{}", name())
}

async fn put(server: &Server, media: &str, bytes: &[u8]) -> Reply {
    server.call("PUT", &path(), &[("content-type", media)], bytes.to_vec().into()).await
}

#[tokio::test]
async fn a_record_that_was_put_is_served_with_what_caches_need() {
    let server = Server::within(settings(), Arc::new(Keeping::default())).await;
    server.get(&path()).await.refused(404, "not_found");
    let record = record(5, LATE);
    assert_eq!(put(&server, MEDIA, record.bytes()).await.status, 200);
    let reply = server.read_with(&path(), &[("accept", MEDIA)]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, record.bytes()));
    assert_eq!(reply.header("content-type"), MEDIA);
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    assert_eq!(reply.header("expires"), "Tue, 02 Oct 2096 07:06:40 GMT");
    let etag = reply.header("etag").to_owned();
    assert_eq!(server.read_with(&path(), &[("if-none-match", &etag)]).await.status, 304);
    server.read_with(&path(), &[("accept", "text/html")]).await.refused(406, "usage");
}

#[tokio::test]
async fn what_is_not_the_names_newest_is_refused_with_the_reason() {
    let server = Server::within(settings(), Arc::new(Keeping::default())).await;
    put(&server, MEDIA, record(5, LATE).bytes()).await;
    put(&server, MEDIA, record(4, LATE).bytes()).await.refused(409, "stale_sequence");
    put(&server, MEDIA, record(6, 1_000).bytes()).await.refused(400, "usage");
    put(&server, "application/json", record(6, LATE).bytes()).await.refused(406, "usage");
    put(&server, MEDIA, &vec![0; 10 * 1_024 + 1]).await.refused(413, "usage");
    put(&server, MEDIA, b"").await.refused(400, "usage");
    let mut tampered = record(6, LATE).bytes().to_vec();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    put(&server, MEDIA, &tampered).await.refused(400, "usage");
    let other = format!("/routing/v1/ipns/{}", IpnsName::of(key(8).public()));
    let media = [("content-type", MEDIA)];
    let foreign = server.call("PUT", &other, &media, record(6, LATE).bytes().to_vec().into()).await;
    foreign.refused(400, "usage");
    server.get("/routing/v1/ipns/bafkqaaa").await.refused(400, "usage");
    let reply = server.read_with(&path(), &[]).await;
    assert_eq!(reply.body[..], *record(5, LATE).bytes());
}

#[tokio::test]
async fn a_registry_without_a_network_says_so() {
    let server = Server::start().await;
    assert_eq!(put(&server, MEDIA, record(5, LATE).bytes()).await.status, 503);
}
