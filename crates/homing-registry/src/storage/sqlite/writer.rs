//! The one writer: a thread with the only writing connection, and group commit. Answers come from the indexer.
//!
//! ```text
//! put, put, heartbeat … ──► queue ──► BEGIN IMMEDIATE · all that wait, ≤ 512 · COMMIT (one sync) ──► index ──► answers
//! ```
//! Nobody is answered before the commit and before the index has it. If one job fails the whole transaction is rolled back and each job
//! is tried alone, so that only the culprit hears the error. Not here: what a job does (`batch`).

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use homing_base::{NodeId, Now, Wall};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::batch::{Batch, Sizes};
use super::live::{Indexer, Live};
use super::prepare::Prepared;
use super::{failed, schema};
use crate::entity::StoredCard;
use crate::listing::Listing;
use crate::storage::index::Change;
use crate::storage::verified::Verified;
use crate::storage::{Put, StorageError, Swept};

/// Jobs that may wait; then callers wait for room.
const QUEUE_MAX: usize = 2_048;
/// Jobs of one transaction.
const GROUP_MAX: usize = 512;

/// What is to be written.
pub(super) enum Work {
    Put(Now, Box<Prepared>),
    Import(Now, Vec<Prepared>),
    Card(NodeId, StoredCard, Box<Listing>),
    Heartbeat(NodeId, Wall),
    Sweep(Now),
}

/// What became of it.
pub(super) enum Answer {
    Put(Result<Put, StorageError>),
    Import(Vec<Result<Put, StorageError>>),
    Kept(bool),
    /// More is waiting to be swept.
    Swept(Swept, bool),
}

type Reply = oneshot::Sender<Result<Answer, StorageError>>;

struct Job {
    work: Work,
    reply: Reply,
}

/// The thread and its queue. Dropped: what waits is written, then the thread ends.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn open(
        path: &Path,
        pages: u32,
        verified: Arc<Verified>,
    ) -> Result<(Self, Arc<Live>), StorageError> {
        let connection = schema::open_writer(path)?;
        let limit = connection.pragma_update(None, "max_page_count", pages);
        limit.map_err(|e| failed(&e))?;
        let sizes = Sizes::read(&connection)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let indexer = Indexer::start(path)?;
        let live = indexer.live();
        let desk = Desk { connection, sizes, verified, indexer };
        let thread = std::thread::Builder::new()
            .name("registry-writer".into())
            .spawn(move || desk.run(queue))
            .map_err(|e| gone(&format!("no thread for the writer: {e}")))?;
        Ok((Self { jobs: Some(jobs), thread: Some(thread) }, live))
    }

    /// Writes; durable on return.
    pub(super) async fn write(&self, work: Work) -> Result<Answer, StorageError> {
        self.begin(work).await?.end().await
    }

    /// Puts it into the queue.
    pub(super) async fn begin(&self, work: Work) -> Result<Begun, StorageError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(|| gone("the writer is closed"))?;
        jobs.send(Job { work, reply }).await.map_err(|_| gone("the writer has ended"))?;
        Ok(Begun(answer))
    }
}

/// What is in the queue or being written.
pub(super) struct Begun(oneshot::Receiver<Result<Answer, StorageError>>);

impl Begun {
    /// Waits; durable on return.
    pub(super) async fn end(self) -> Result<Answer, StorageError> {
        self.0.await.map_err(|_| gone("the writer has ended"))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed everybody who waited for it.
            let _ = thread.join();
        }
    }
}

fn gone(what: &str) -> StorageError {
    StorageError::Database { what: what.to_owned(), retryable: false }
}

struct Desk {
    connection: Connection,
    sizes: Sizes,
    verified: Arc<Verified>,
    indexer: Indexer,
}

impl Desk {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP_MAX {
                let Ok(job) = queue.try_recv() else { break };
                jobs.push(job);
            }
            self.group(jobs);
        }
        // The next start finds a short log. Failing costs nothing but that.
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn group(&mut self, jobs: Vec<Job>) {
        let works: Vec<_> = jobs.iter().map(|job| &job.work).collect();
        match self.transaction(&works) {
            Ok((answers, changes)) => {
                let replies: Vec<_> = jobs.into_iter().map(|job| job.reply).collect();
                self.indexer.take(changes, || {
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        // Whoever asked may have left; what was written stays.
                        let _ = reply.send(Ok(answer));
                    }
                });
            }
            Err(error) if jobs.len() == 1 => {
                tracing::warn!(%error, "the registry's database refused a write");
                for job in jobs {
                    let _ = job.reply.send(Err(clone(&error)));
                }
            }
            Err(_) => jobs.into_iter().for_each(|job| self.group(vec![job])),
        }
    }

    /// All of it or nothing.
    fn transaction(&mut self, works: &[&Work]) -> Result<(Vec<Answer>, Vec<Change>), StorageError> {
        let sizes = self.sizes.clone();
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(|e| failed(&e))?;
        let mut batch = Batch::new(&transaction, sizes, &self.verified);
        let answers: Result<Vec<_>, _> = works.iter().map(|work| batch.apply(work)).collect();
        let answers = answers?;
        let (sizes, changes) = batch.finish()?;
        transaction.commit().map_err(|e| failed(&e))?;
        self.sizes = sizes;
        Ok((answers, changes))
    }
}

fn clone(error: &StorageError) -> StorageError {
    match error {
        StorageError::Full => StorageError::Full,
        StorageError::Database { what, retryable } => {
            StorageError::Database { what: what.clone(), retryable: *retryable }
        }
        other => gone(&other.to_string()),
    }
}
