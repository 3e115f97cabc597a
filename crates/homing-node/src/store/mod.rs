//! The store: what was promised, in SQLite. One writer, one transaction per batch.
//!
//! ```text
//! driver ── Persist(batch) ──► writer thread ── BEGIN IMMEDIATE … COMMIT (synchronous=FULL) ──► driver
//! ```
//! WAL mode, so that a crash at any instruction leaves either the whole batch or nothing. The
//! driver waits for the commit before it performs anything that follows: what a peer was told
//! stands on the disk. The first failed write is final ([`StoreError`]); a daemon that cannot keep
//! promises stops making them.
//!
//! Not here: which record or statement is newer (the core decides); the tables (`schema`).

mod deferred;
mod load;
mod messages;
mod references;
mod schema;
#[cfg(test)]
mod tests;
mod witness;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use homing_base::{NodeId, Now};
use homing_core::Batch;
use homing_core::io::Stored;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use deferred::Deferred;
pub use schema::SCHEMA_VERSION;

/// Batches that may wait for the writer; the driver awaits each, so one slot is the rule.
const QUEUE_MAX: usize = 16;

/// The open store of one identity.
#[derive(Debug)]
pub struct Store {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    counts: Arc<StoreCounts>,
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub struct StoreCounts {
    batches: AtomicU64,
    writes: AtomicU64,
}

impl StoreCounts {
    /// Batches committed.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Single writes inside them.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

enum Job {
    Batch(Batch, oneshot::Sender<Result<(), StoreError>>),
    Meta(&'static str, String, oneshot::Sender<Result<(), StoreError>>),
}

/// What a store holds at start.
#[derive(Debug, Default)]
pub struct Contents {
    /// For the core.
    pub stored: Stored,
    /// UDP port of the previous run's main door.
    pub last_port: Option<u16>,
    /// Rows that could not be read back: damaged, or not what their signature says.
    pub damaged_rows: usize,
}

impl Store {
    /// Opens the store at `path` (0600, as the files beside it), makes or migrates its tables, and reads everything back.
    /// Blocks for a few milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] when it belongs to another identity, [`StoreError::Newer`] when a
    /// newer version wrote it, [`StoreError::Sqlite`] when it cannot be opened or is no database.
    pub fn open(path: &Path, owner: NodeId, now: Now) -> Result<(Self, Contents), StoreError> {
        let failed = |source| StoreError::Sqlite { path: path.into(), source };
        // What keeps it from being private keeps SQLite from opening it, which says it better.
        let _ = crate::home::private_database(path);
        let mut connection = open_connection(path).map_err(failed)?;
        schema::prepare(&mut connection, path)?;
        schema::claim(&connection, path, owner)?;
        let contents = load::contents(&connection, owner, now).map_err(failed)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::new(StoreCounts::default());
        let (path, shared) = (path.to_owned(), counts.clone());
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write_all(&mut connection, &path, queue, &shared))
            .map_err(|source| StoreError::Thread { source })?;
        Ok((Self { jobs: Some(jobs), writer: Some(writer), counts }, contents))
    }

    /// The node ID that the store at `path` belongs to; `None`: no store, or nobody's yet.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] when the file is no database.
    pub fn owner(path: &Path) -> Result<Option<NodeId>, StoreError> {
        let failed = |source| StoreError::Sqlite { path: path.into(), source };
        if !path.exists() {
            return Ok(None);
        }
        let connection = open_connection(path).map_err(failed)?;
        schema::owner(&connection).map_err(failed)
    }

    /// Writes a batch; returns when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] when nothing of it was written: full disk, read-only file system.
    pub async fn persist(&self, batch: Batch) -> Result<(), StoreError> {
        self.submit(|done| Job::Batch(batch, done)).await
    }

    /// Remembers the UDP port of this run.
    ///
    /// # Errors
    /// As [`Store::persist`].
    pub async fn remember_port(&self, port: u16) -> Result<(), StoreError> {
        self.submit(|done| Job::Meta("last_port", port.to_string(), done)).await
    }

    /// Counts since the store was opened.
    #[must_use]
    pub fn counts(&self) -> Arc<StoreCounts> {
        self.counts.clone()
    }

    async fn submit(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Job,
    ) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().expect("taken on drop only");
        jobs.send(job(done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// Lets the writer finish what it has and closes the database.
impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn open_connection(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // An idle daemon needs no 2 MB page cache.
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

fn write_all(
    connection: &mut Connection,
    path: &Path,
    mut queue: mpsc::Receiver<Job>,
    counts: &StoreCounts,
) {
    let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
    while let Some(job) = queue.blocking_recv() {
        let (result, done) = match job {
            Job::Batch(batch, done) => (write::batch(connection, &batch, counts), done),
            Job::Meta(key, value, done) => (schema::set_meta(connection, key, &value), done),
        };
        let _ = done.send(result.map_err(failed));
    }
}

/// Why the store cannot be used, or did not keep a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused.
    #[error("the store {path} failed")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Written by a newer version of this program.
    #[error("the store {path} has schema {found}, this version knows up to {SCHEMA_VERSION}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
    },
    /// It belongs to another identity.
    #[error("the store {path} belongs to {owner}, the identity is {identity}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who wanted it.
        identity: NodeId,
    },
    /// The writer thread could not be started.
    #[error("the store's writer cannot start")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
