//! Many agents in one process, each in a runtime of its own, so that one can die as a process does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use homing_api::dht::{DhtLookup, DhtLookupRequest, DhtStats};
use homing_api::peers::{AddPeerRequest, Resolution, ResolveRequest};
use homing_api::{ApiError, Code};
use homing_base::NodeId;
use homing_node::Node;
use tokio::runtime::{Builder, Runtime};

/// Long enough for a busy machine, where no promise is being tested.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One agent. Its home stays until the swarm is dropped.
pub(crate) struct Member {
    home: PathBuf,
    pub(crate) id: NodeId,
    pub(crate) node: Option<Node>,
    runtime: Option<Runtime>,
}

impl Member {
    /// Starts an agent in `home`, in a runtime of its own.
    pub(crate) async fn start(home: &Path, peers: &[String], settings: &[(&str, &str)]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut builder = Node::builder().home(home).listen("127.0.0.1:0".parse().unwrap());
        for peer in peers {
            builder = builder.peer(peer);
        }
        for (key, value) in settings {
            builder = builder.set(*key, *value);
        }
        let node = runtime.spawn(builder.without_api().start()).await.unwrap().unwrap();
        let (home, id) = (home.to_owned(), node.node_id());
        Self { home, id, node: Some(node), runtime: Some(runtime) }
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("it lives")
    }

    /// Gone between two instructions: no goodbye, no closed connection, nothing flushed.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // First the runtime: a dropped handle would be a request to stop in order.
            runtime.shutdown_background();
        }
        self.node = None;
    }

    /// The same agent again, knowing nobody but what its store remembers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let begun = Instant::now();
        loop {
            let lock = homing_node::home::Home::at(&self.home).holder();
            if lock.is_none() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "the dead one holds its home");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *self = Self::start(&self.home, &[], &[]).await;
    }

    pub(crate) async fn stats(&self) -> DhtStats {
        self.node().dht_stats().await.unwrap()
    }

    /// Asks the DHT only.
    pub(crate) async fn lookup(&self, key: NodeId) -> Result<DhtLookup, ApiError> {
        let request = DhtLookupRequest { key: key.to_string(), timeout_ms: 5_000 };
        self.node().dht_lookup(request).await
    }

    /// Asks the DHT until it names the record of `key`; how long that took.
    pub(crate) async fn finds(&self, key: NodeId, within: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let found = tokio::time::timeout(within, async {
            loop {
                let found = self.lookup(key).await;
                if found.is_ok_and(|f| f.values.iter().any(|v| v.peer.node_id == key)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        found.await.ok().map(|()| begun.elapsed())
    }

    /// As a user asks: all layers.
    pub(crate) async fn resolve(&self, key: NodeId) -> Result<Resolution, ApiError> {
        let request = ResolveRequest { what: key.to_string(), timeout_ms: 5_000 };
        self.node().resolve(request).await
    }

    pub(crate) async fn meet(&self, ticket: String) {
        self.node().add_peer(AddPeerRequest { peer: ticket }).await.unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Configuration keys and values.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// Agents that joined through a few of them.
pub(crate) struct Swarm {
    pub(crate) members: Vec<Member>,
    _homes: tempfile::TempDir,
}

impl Swarm {
    /// `count` agents, of which the first `bootstraps` are the ones that the others are told of.
    pub(crate) async fn start(count: usize, bootstraps: usize, settings: Settings) -> Self {
        let homes = tempfile::tempdir().unwrap();
        let home = |i: usize| homes.path().join(i.to_string());
        let first = Member::start(&home(0), &[], settings).await;
        let mut tickets = vec![first.node().ticket().await.unwrap()];
        let mut members = vec![first];
        for i in 1..bootstraps {
            let member = Member::start(&home(i), &tickets[..1], settings).await;
            tickets.push(member.node().ticket().await.unwrap());
            members.push(member);
        }
        let rest = (bootstraps..count).map(|i| {
            let (home, peer) = (home(i), [tickets[i % bootstraps].clone()]);
            async move { Member::start(&home, &peer, settings).await }
        });
        members.extend(join_all(rest).await);
        Self { members, _homes: homes }
    }

    /// Until everybody has `contacts` in its table and its record is found by another.
    pub(crate) async fn joined(&self, contacts: u64) {
        join_all(self.members.iter().map(|member| async move {
            while member.stats().await.brief.contacts < contacts {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
        .await;
        let times = self.everybody_finds_the_next(PATIENCE).await;
        assert!(times.iter().all(Option::is_some), "not everybody was found: {times:?}");
    }

    /// Each asks the DHT for the next but two: how long each took; `None`: not found in time.
    pub(crate) async fn everybody_finds_the_next(&self, within: Duration) -> Vec<Option<Duration>> {
        let count = self.members.len();
        let asks = self.members.iter().enumerate().map(|(i, asker)| {
            let wanted = self.members[(i + 3) % count].id;
            asker.finds(wanted, within)
        });
        join_all(asks).await
    }

    /// The members at these places die in the same moment.
    pub(crate) fn kill(&mut self, doomed: impl Fn(usize) -> bool) {
        let mut i = 0;
        self.members.retain_mut(|member| {
            i += 1;
            let dies = doomed(i - 1);
            if dies {
                member.kill();
            }
            !dies
        });
    }
}

/// The code of a refusal.
pub(crate) fn code<T>(result: Result<T, ApiError>) -> Option<Code> {
    result.err().map(|error| error.code)
}

/// Slowest of some times, for people.
pub(crate) fn slowest(times: &[Option<Duration>]) -> Duration {
    times.iter().flatten().max().copied().unwrap_or_default()
}
