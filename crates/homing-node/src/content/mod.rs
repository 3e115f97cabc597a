//! Content: files kept under their hash, served to trusted peers, fetched from whoever has them.
//!
//! ```text
//! publish ──copy, hash──► content/CID + CID.tree ──service "content"──► groups with proofs
//! fetch   ◄──rename── .partial/CID ◄──verify each 16 KiB, write──┘   from one holder after another
//! ```
//! A CID is the BLAKE3 hash of the bytes, and every 16 KiB is verified against it before it is written or sent. So it does
//! not matter who gives them: a holder that is gone, lies or has a bad disk is replaced by the next one, and what has
//! arrived stays. Not here: which CID is meant by a reference. Format: `spec/16-content.md`; why not the library's own
//! protocol: decision 010.

mod counts;
mod fetch;
mod limits;
mod pipe;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use homing_api::ApiError;
use homing_api::content::{ContentItem, ContentList};
use homing_api::{Code, Schema};
use homing_base::ContentId;
use tokio::sync::Semaphore;
use tracing::warn;

use self::fetch::Flight;
pub(crate) use self::fetch::Wanted;
use crate::node::Node;

/// Everything about content that one node holds.
#[derive(Debug)]
pub(crate) struct Content {
    store: store::Store,
    flights: Mutex<BTreeMap<ContentId, Arc<Flight>>>,
    fetching: Semaphore,
    damaged: Mutex<BTreeSet<ContentId>>,
    serving: Arc<Semaphore>,
    pub(crate) counts: counts::Counts,
}

impl Content {
    /// The content in a home, at most `max_bytes` of it.
    pub(crate) fn open(home: &Path, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            store: store::Store::open(home, max_bytes),
            flights: Mutex::default(),
            fetching: Semaphore::new(limits::FETCHED_MAX),
            damaged: Mutex::default(),
            serving: Arc::new(Semaphore::new(limits::SERVED_MAX)),
            counts: counts::Counts::default(),
        })
    }

    /// Streams being served, and fetches under way.
    pub(crate) fn active(&self) -> (usize, usize) {
        let serving = limits::SERVED_MAX - self.serving.available_permits();
        (serving, limits::FETCHED_MAX - self.fetching.available_permits())
    }
}

impl Node {
    /// Keeps a copy of a file: its CID, its size, and whether it is new here. Ends when the caller is gone.
    pub(crate) async fn keep_content(
        &self,
        path: String,
    ) -> Result<(ContentId, u64, bool), ApiError> {
        let wanted = Arc::new(());
        let (still, content) = (Arc::downgrade(&wanted), self.shared.content.clone());
        let added = tokio::task::spawn_blocking(move || content.store.add(&path, &still)).await;
        drop(wanted);
        let added = added.map_err(|e| lost(&e))??;
        self.note_damage(added.0, false);
        Ok(added)
    }

    /// Where whole content is.
    pub(crate) fn content_path(&self, cid: ContentId) -> std::path::PathBuf {
        self.shared.content.store.path(cid)
    }

    /// What is kept.
    pub(crate) async fn kept_content(&self) -> Result<ContentList, ApiError> {
        let content = self.shared.content.clone();
        let listed = blocking(move || Ok((content.store.list()?, content.store.used_bytes()?)));
        let (items, used_bytes): (Vec<ContentItem>, u64) = listed.await.map_err(|e| lost(&e))?;
        let max_bytes = self.shared.content.store.max_bytes();
        Ok(ContentList { schema: Schema::new(), items, used_bytes, max_bytes })
    }

    /// Keeps it no longer. Whether it was here.
    pub(crate) async fn drop_content(&self, cid: ContentId) -> Result<bool, ApiError> {
        let flight = self.shared.content.flight(cid);
        let _gate = flight.gate.try_lock().map_err(|_| {
            ApiError::new(Code::AlreadyExists, "it is being fetched right now")
                .hint("end the fetch first")
        })?;
        let content = self.shared.content.clone();
        let removed = blocking(move || content.store.remove(cid)).await.map_err(|e| lost(&e))?;
        self.note_damage(cid, false);
        Ok(removed)
    }

    fn note_damage(&self, cid: ContentId, is_damaged: bool) {
        let mut damaged =
            self.shared.content.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        match is_damaged {
            true => damaged.insert(cid),
            false => damaged.remove(&cid),
        };
        let text = || damaged.iter().map(ContentId::to_string).collect::<Vec<_>>().join(", ");
        self.shared.health.set("content_damaged", !damaged.is_empty(), text);
    }
}

/// A file is not what its name says: it is served no longer, and said so.
async fn on_damaged(node: &Node, cid: ContentId) {
    warn!(%cid, "content on this disk has changed and is not served any more");
    node.note_damage(cid, true);
    let content = node.shared.content.clone();
    if let Err(error) = blocking(move || content.store.demote(cid)).await {
        warn!(%cid, %error, "damaged content could not be set aside");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn lost(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(Code::Internal, "the content cannot be read").why(error.to_string())
}
