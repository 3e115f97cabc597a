//! The receiver's side: fetches what was offered, as often as it takes.
//!
//! One task looks at the offers in the inbox that are wanted ([`Mailroom::keep_wanted`]) and has at most [`FETCHED_MAX`] fetched at once, each again after
//! 1 s, 2 s … 60 s when something broke; [`PROGRESS_BYTES`] start the count anew. From one peer comes one file at
//! a time, and not slower than [`PACE_BYTES`] per [`PACE`], or its place goes to another.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use homing_base::{MessageId, Mono, NodeId, Service};
use homing_core::io::{FileOffer, Incoming, MessageCommand, Verdict};
use homing_core::messages::wire::file_offer;
use homing_core::{Agent, Command};
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::place::Place;
use super::{
    ANSWER_BYTES, ANSWER_CHANGED, CHUNK_BYTES, FETCHED_MAX, GIVE_UP, SILENCE_MAX, SPARE_BYTES,
};
#[cfg(doc)]
use crate::mailroom::Mailroom;
use crate::node::Node;

/// How often offers are looked at while there are any.
const LOOK: Duration = Duration::from_secs(1);
/// How long a connection for a file may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait between two attempts.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// So much in one attempt is progress: each attempt hashes again what is there.
const PROGRESS_BYTES: u64 = 1 << 20;
/// In each such span …
const PACE: Duration = Duration::from_secs(60);
/// … so much comes, or the attempt ends.
const PACE_BYTES: u64 = 64 << 10;

type Key = (NodeId, MessageId);

/// How an attempt ended.
enum Ended {
    /// The file is here.
    Whole(String),
    /// It never will be.
    Never(Verdict),
    /// Not yet; some bytes may have come.
    Broke { why: String, progress: bool },
}

/// Attempts at one file.
#[derive(Default)]
struct Attempts {
    running: bool,
    failures: u32,
    again: Mono,
}

impl Node {
    /// Fetches files until the node stops.
    pub(crate) async fn fetch_files(self) {
        let mut attempts: BTreeMap<Key, Attempts> = BTreeMap::new();
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut fetching: BTreeMap<Id, Key> = BTreeMap::new();
        loop {
            let Ok(mut offers) = self.query(offers).await else { return };
            let unasked = self.shared.config.messages.unasked_bytes_max;
            self.shared.mailroom.keep_wanted(&mut offers, unasked);
            attempts.retain(|key, a| a.running || offers.iter().any(|o| key_of(o) == *key));
            for offer in &offers {
                if running.len() >= FETCHED_MAX {
                    break;
                }
                if attempts.iter().any(|((from, _), a)| a.running && *from == offer.from) {
                    continue;
                }
                let attempt = attempts.entry(key_of(offer)).or_default();
                if attempt.again > self.shared.clock.mono() {
                    continue;
                }
                attempt.running = true;
                let (node, key, offer) = (self.clone(), key_of(offer), offer.clone());
                let task = running.spawn(async move { fetch(&node, &offer).await });
                fetching.insert(task.id(), key);
            }
            let idle = offers.is_empty() && running.is_empty();
            tokio::select! {
                Some(joined) = running.join_next_with_id() => {
                    let (task, ended) = outcome(joined);
                    if let Some(key) = fetching.remove(&task) {
                        self.on_fetched(key, ended, attempts.entry(key).or_default()).await;
                    }
                }
                () = self.shared.mailroom.offered.notified() => {}
                () = tokio::time::sleep(LOOK), if !idle => {}
                _ = self.ended() => return,
            }
        }
    }

    async fn on_fetched(&self, (from, id): Key, ended: Ended, attempt: &mut Attempts) {
        attempt.running = false;
        let outcome = match ended {
            Ended::Whole(path) => Ok(path),
            Ended::Never(verdict) => Err(verdict),
            Ended::Broke { why, progress } => {
                debug!(peer = %from.fmt_short(), error = %why, "a file is not whole yet");
                attempt.failures = if progress { 0 } else { attempt.failures + 1 };
                let wait = Duration::from_secs(1 << attempt.failures.min(6)).min(AGAIN_MAX);
                attempt.again = self.shared.clock.mono().after(wait);
                return;
            }
        };
        info!(peer = %from.fmt_short(), ok = outcome.is_ok(), "a file was fetched, or never will be");
        let command = Command::Messages(MessageCommand::Fetched { from, id, outcome });
        if let Err(error) = self.command("the file", command).await {
            warn!(%error, "the end of a file could not be noted");
        }
    }
}

/// A task that did not come to its end is an attempt that broke.
fn outcome(joined: Result<(Id, Ended), JoinError>) -> (Id, Ended) {
    joined.unwrap_or_else(|error| (error.id(), broke(&error, false)))
}

fn key_of(message: &Incoming) -> Key {
    (message.from, message.parcel.id)
}

/// Files that are not here yet, of peers that are.
fn offers(agent: &Agent) -> Vec<Incoming> {
    agent.inbox().filter(|message| !message.is_complete()).cloned().collect()
}

async fn fetch(node: &Node, message: &Incoming) -> Ended {
    let Some(offer) = file_offer(&message.parcel.body) else {
        return Ended::Never(Verdict::Corrupt);
    };
    if offer.size > node.shared.config.messages.file_bytes_max {
        return Ended::Never(Verdict::TooLarge);
    }
    if node.shared.clock.now().wall.since(message.received) > GIVE_UP {
        return Ended::Never(Verdict::GaveUp);
    }
    let home = node.home().dir().to_owned();
    let place = tokio::task::spawn_blocking(move || Place::open(&home)).await;
    let place = match place.map_err(io::Error::other).and_then(|place| place) {
        Ok(place) => Arc::new(place),
        Err(error) => return broke(&error, false),
    };
    let mut progress = false;
    match attempt(node, message, &offer, &place, &mut progress).await {
        Ok(ended) => ended,
        Err(error) => broke(&error, progress),
    }
}

fn broke(why: &dyn std::fmt::Display, progress: bool) -> Ended {
    Ended::Broke { why: why.to_string(), progress }
}

async fn attempt(
    node: &Node,
    message: &Incoming,
    offer: &FileOffer,
    place: &Arc<Place>,
    progress: &mut bool,
) -> io::Result<Ended> {
    let (from, id) = key_of(message);
    let (there, size) = (place.clone(), offer.size);
    let (file, mut sha256, start) = blocking(move || there.partial(from, id, size)).await?;
    let mut at = start;
    if at < size {
        if size - at > place.free_bytes().saturating_sub(SPARE_BYTES) {
            return Ok(broke(&"the disk has no room for it", false));
        }
        let service = Service::FILES.parse().expect("a service name");
        let connected = node.connect(&from.to_string(), &service, CONNECT_TIMEOUT).await;
        let mut stream = connected.map_err(io::Error::other)?;
        let request = [&id.0[..], &at.to_be_bytes()].concat();
        stream.write_all(&request).await?;
        stream.shutdown().await?;
        match timeout(SILENCE_MAX, stream.read_u8()).await?? {
            ANSWER_BYTES => {}
            ANSWER_CHANGED => return Ok(give_up(place, from, id, Verdict::Changed)),
            _ => return Ok(give_up(place, from, id, Verdict::GaveUp)),
        }
        let mut to = tokio::fs::File::from_std(file.try_clone()?);
        let mut buffer = vec![0; CHUNK_BYTES];
        let clock = node.shared.clock;
        let mut pace = (clock.mono().after(PACE), at + PACE_BYTES);
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = timeout(SILENCE_MAX, stream.read(&mut buffer[..most])).await??;
            if read == 0 {
                return Ok(broke(&"the sender ended too early", *progress));
            }
            to.write_all(&buffer[..read]).await?;
            to.flush().await?;
            sha256.update(&buffer[..read]);
            at += read as u64;
            *progress = at - start >= PROGRESS_BYTES;
            if at >= pace.1 {
                pace = (clock.mono().after(PACE), at + PACE_BYTES);
            } else if clock.mono() > pace.0 {
                return Ok(broke(&"it comes too slowly", *progress));
            }
        }
    }
    if *sha256.finalize() != offer.sha256 {
        // Parts of different versions, or of a disk that lost some: once more from the beginning.
        place.discard(from, id);
        return Ok(match start {
            0 => Ended::Never(Verdict::Corrupt),
            _ => broke(&"what had arrived before was damaged", false),
        });
    }
    let (there, offer) = (place.clone(), offer.clone());
    let path = blocking(move || {
        file.sync_all()?;
        there.settle(from, id, &offer)
    });
    Ok(Ended::Whole(path.await?.to_string_lossy().into_owned()))
}

fn give_up(place: &Place, from: NodeId, id: MessageId, verdict: Verdict) -> Ended {
    place.discard(from, id);
    Ended::Never(verdict)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_attempt_that_broke_and_not_the_last() {
        let mut running: JoinSet<Ended> = JoinSet::new();
        let task = running.spawn(async { panic!("on purpose") });
        let (id, ended) = outcome(running.join_next_with_id().await.unwrap());
        assert_eq!(id, task.id());
        assert!(matches!(ended, Ended::Broke { progress: false, .. }));
    }
}
