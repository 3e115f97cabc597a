//! The writer of one instance: a task that gathers what waits into one transaction.
//!
//! ```text
//! put, put, set_card … ─► queue ─► BEGIN · lock the ledger · all that wait, ≤ 512, set by set · COMMIT ─► answers
//! ```
//! Instances take turns by the ledger's row lock; each turn carries many jobs. Nobody is answered before the
//! commit. A transaction that the database gave up (40001, 40P01) is tried again; if a job fails, each is tried
//! alone. After a lost connection the callers hear that they may try again: to put a record twice is harmless.

use std::sync::Arc;
use std::time::Duration;

use homing_base::{NodeId, Now};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use super::{failed, gave_up};
use crate::entity::StoredCard;
use crate::listing::Listing;
use crate::storage::verified::Verified;
use crate::storage::{Put, Registration, StorageError, Swept};

/// Jobs that may wait; then callers wait for room.
const QUEUE_MAX: usize = 2_048;
/// Jobs of one transaction.
const GROUP_MAX: usize = 512;
/// How often a transaction that the database gave up is tried.
const TRIES_MAX: u32 = 6;

/// What is to be written.
pub(super) enum Work {
    Put(Now, Box<Registration>),
    Import(Now, Vec<Registration>),
    Card(NodeId, StoredCard, Box<Listing>),
    Sweep(Now),
}

/// What became of it.
pub(super) enum Answer {
    Put(Result<Put, StorageError>),
    Import(Vec<Result<Put, StorageError>>),
    Kept(bool),
    Swept(Swept, bool),
}

struct Job {
    work: Work,
    reply: oneshot::Sender<Result<Answer, StorageError>>,
}

/// The queue of the task; the task ends with the last of its senders.
#[derive(Clone, Debug)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    pub(super) fn start(pool: PgPool, verified: Arc<Verified>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(Desk { pool, verified }.run(queue));
        Self(jobs)
    }

    /// Writes; durable on return.
    pub(super) async fn write(&self, work: Work) -> Result<Answer, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Job { work, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> StorageError {
    StorageError::Database { what: "the writer has ended".into(), retryable: false }
}

struct Desk {
    pool: PgPool,
    verified: Arc<Verified>,
}

impl Desk {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while queue.recv_many(&mut jobs, GROUP_MAX).await > 0 {
            let error = match self.group(&jobs).await {
                Ok(answers) => {
                    answer(jobs.drain(..), answers);
                    continue;
                }
                Err(error) => error,
            };
            if jobs.len() == 1 || matches!(error, StorageError::Database { retryable: true, .. }) {
                tracing::warn!(%error, "the registry's database refused a write");
                jobs.drain(..).for_each(|job| refuse(job, &error));
                continue;
            }
            for job in jobs.drain(..) {
                let alone = [job];
                let outcome = self.group(&alone).await;
                let [job] = alone;
                match outcome {
                    Ok(answers) => answer([job], answers),
                    Err(error) => refuse(job, &error),
                }
            }
        }
    }

    async fn group(&self, jobs: &[Job]) -> Result<Vec<Answer>, StorageError> {
        let mut connection = self.pool.acquire().await.map_err(|e| failed(&e))?;
        let mut tries = 1;
        loop {
            match self.transaction(&mut connection, jobs).await {
                Err(Failure::GivenUp(_)) if tries < TRIES_MAX => {
                    tokio::time::sleep(Duration::from_millis(5 << tries)).await;
                    tries += 1;
                }
                Err(Failure::GivenUp(error) | Failure::Error(error)) => return Err(error),
                Ok(answers) => return Ok(answers),
            }
        }
    }

    /// All of it or nothing: dropped before the commit, the transaction is rolled back.
    async fn transaction(
        &self,
        connection: &mut PgConnection,
        jobs: &[Job],
    ) -> Result<Vec<Answer>, Failure> {
        let mut transaction = connection.begin().await?;
        let mut batch = Batch::begin(&mut transaction, &self.verified).await?;
        batch.load(jobs.iter().map(|job| &job.work)).await?;
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(batch.apply(&job.work).await?);
        }
        batch.save().await?;
        transaction.commit().await?;
        Ok(answers)
    }
}

fn answer(jobs: impl IntoIterator<Item = Job>, answers: Vec<Answer>) {
    for (job, answer) in jobs.into_iter().zip(answers) {
        // Whoever asked may have left; what was written stays.
        let _ = job.reply.send(Ok(answer));
    }
}

fn refuse(job: Job, error: &StorageError) {
    let same = match error {
        StorageError::Full => StorageError::Full,
        StorageError::Database { what, retryable } => {
            StorageError::Database { what: what.clone(), retryable: *retryable }
        }
        other => StorageError::Database { what: other.to_string(), retryable: false },
    };
    let _ = job.reply.send(Err(same));
}

/// Why a transaction did not happen.
pub(super) enum Failure {
    /// The database wants it tried again.
    GivenUp(StorageError),
    Error(StorageError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match gave_up(&error) {
            true => Self::GivenUp(failed(&error)),
            false => Self::Error(failed(&error)),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Error(error)
    }
}
