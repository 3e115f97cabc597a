//! The SQLite backend: one file, one process, nothing to run beside it.
//!
//! ```text
//! put, set_card, heartbeat, sweep ─► writer (one thread, group commit, WAL, synchronous = FULL) ─► index
//! everything else ─► one of a few reading connections, on a blocking thread; readers never wait for the writer
//! ```
//! A crash at any instruction leaves whole transactions. The index is in memory ([`super::index`]) and is made
//! from the rows, beside the first answers, when the file is opened; one process has the file.
//! Not here: several registries over one database (`postgres`).

mod batch;
mod finish;
mod live;
mod prepare;
mod read;
mod schema;
mod search;
mod sweep;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use homing_base::{Address, Name, NodeId, Now, Wall};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use live::Live;
use prepare::Prepared;
pub use schema::SCHEMA_VERSION;
use writer::{Answer, Begun, Work, Writer};

use super::verified::{Verified, damaged};
use super::{
    Change, Count, Cursor, Filter, Hits, Page, Put, Query, Registration, Storage, StorageError,
    Swept, Totals, Version,
};
use crate::entity::{Entity, StoredCard};
use crate::listing::Listing;

/// Reading connections, and so reads at one time.
const READERS: usize = 4;

/// A registry in one file.
#[derive(Debug)]
pub struct SqliteStorage {
    writer: Writer,
    readers: Arc<Readers>,
    verified: Arc<Verified>,
    live: Arc<Live>,
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
    path: PathBuf,
}

impl SqliteStorage {
    /// Opens or creates the file and brings it up to date.
    ///
    /// # Errors
    /// [`StorageError::Newer`] for the file of a newer version, [`StorageError::Database`] when it cannot be
    /// opened or is no database. Nothing is changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::open_with_pages_max(path, u32::MAX)
    }

    /// Like [`SqliteStorage::open`], for a file of at most so many pages of 4 KiB; more is
    /// [`StorageError::Full`].
    ///
    /// # Errors
    /// See [`SqliteStorage::open`].
    pub fn open_with_pages_max(path: impl AsRef<Path>, pages: u32) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let verified = Arc::new(Verified::default());
        let (writer, live) = Writer::open(path, pages, verified.clone())?;
        let idle: Result<Vec<_>, _> = (0..READERS).map(|_| schema::open_reader(path)).collect();
        let readers = Readers {
            idle: Mutex::new(idle?),
            free: Arc::new(Semaphore::new(READERS)),
            path: path.to_owned(),
        };
        Ok(Self { writer, readers: Arc::new(readers), verified, live })
    }

    /// Checks every page, the index and that rows and index agree. Takes seconds on a large file.
    ///
    /// # Errors
    /// [`StorageError::Database`] says what is wrong.
    pub async fn check(&self) -> Result<(), StorageError> {
        let (path, live) = (self.readers.path.clone(), self.live.clone());
        let work = move || {
            let connection = schema::open_writer(&path)?;
            read::check(&connection)?;
            live.check(&connection)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| damaged("the check panicked"))?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Verified) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (readers, verified) = (self.readers.clone(), self.verified.clone());
        let permit = readers.free.clone().acquire_owned().await;
        let permit = permit.map_err(|_| damaged("the readers are closed"))?;
        let read = move || {
            let connection = readers.take()?;
            let answer = work(&connection, &verified);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            answer
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| damaged("a read panicked"))?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StorageError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One is missing only after a panic in a read.
        idle.map_or_else(|| schema::open_reader(&self.path), Ok)
    }
}

/// What SQLite says, in our words.
fn failed(error: &rusqlite::Error) -> StorageError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageError::Full,
        code => {
            let retryable =
                matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
            StorageError::Database { what: error.to_string(), retryable }
        }
    }
}

fn unexpected() -> StorageError {
    damaged("the writer answered another question")
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn put(&self, now: Now, registration: Registration) -> Result<Put, StorageError> {
        let prepared = Box::new(Prepared::of(registration));
        match self.writer.write(Work::Put(now, prepared)).await? {
            Answer::Put(put) => put,
            _ => Err(unexpected()),
        }
    }

    async fn put_many(
        &self,
        now: Now,
        registrations: Vec<Registration>,
    ) -> Result<Vec<Result<Put, StorageError>>, StorageError> {
        let mut answers = Vec::with_capacity(registrations.len());
        let mut rest = registrations.into_iter();
        let mut written: Option<Begun> = None;
        loop {
            // One part is prepared while another is written and a third is indexed.
            let part = prepare::next(&mut rest).await?;
            let begun = match part.is_empty() {
                true => None,
                false => Some(self.writer.begin(Work::Import(now, part)).await?),
            };
            let more = begun.is_some();
            if let Some(before) = std::mem::replace(&mut written, begun) {
                let Answer::Import(part) = before.end().await? else { return Err(unexpected()) };
                answers.extend(part);
            }
            if !more {
                return Ok(answers);
            }
        }
    }

    async fn entity(&self, id: &NodeId) -> Result<Option<Entity>, StorageError> {
        let id = *id;
        self.read(move |connection, verified| read::entity(connection, verified, &id)).await
    }

    async fn by_address(&self, address: &Address) -> Result<Vec<Entity>, StorageError> {
        let prefix = address.prefix();
        self.read(move |connection, verified| read::by_prefix(connection, verified, prefix)).await
    }

    async fn by_name(&self, now: Now, name: &Name) -> Result<Vec<Entity>, StorageError> {
        let name = name.to_string();
        self.read(move |connection, verified| read::by_name(connection, verified, now, &name)).await
    }

    async fn page(
        &self,
        now: Now,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Entity>, StorageError> {
        let (filter, after, live) = (filter.clone(), after.cloned(), self.live.clone());
        self.read(move |connection, verified| {
            search::page(connection, verified, &live, now, &filter, after.as_ref(), limit)
        })
        .await
    }

    async fn history(
        &self,
        id: &NodeId,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Version>, StorageError> {
        let (id, after) = (*id, after.cloned());
        self.read(move |connection, verified| {
            read::history(connection, verified, &id, after.as_ref(), limit)
        })
        .await
    }

    async fn set_card(
        &self,
        id: &NodeId,
        card: StoredCard,
        listing: Listing,
    ) -> Result<bool, StorageError> {
        match self.writer.write(Work::Card(*id, card, Box::new(listing))).await? {
            Answer::Kept(kept) => Ok(kept),
            _ => Err(unexpected()),
        }
    }

    async fn heartbeat(&self, id: &NodeId, at: Wall) -> Result<bool, StorageError> {
        match self.writer.write(Work::Heartbeat(*id, at)).await? {
            Answer::Kept(kept) => Ok(kept),
            _ => Err(unexpected()),
        }
    }

    async fn search(&self, now: Now, query: &Query) -> Result<Hits, StorageError> {
        let (query, live) = (query.clone(), self.live.clone());
        self.read(move |connection, verified| {
            search::search(connection, verified, &live, now, &query)
        })
        .await
    }

    async fn categories(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError> {
        self.read(move |connection, _| read::counts(connection, now, 'c', limit)).await
    }

    async fn tags(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError> {
        self.read(move |connection, _| read::counts(connection, now, 't', limit)).await
    }

    async fn changes(&self, after: u64, limit: u32) -> Result<Vec<Change>, StorageError> {
        self.read(move |connection, _| read::changes(connection, after, limit)).await
    }

    async fn totals(&self, now: Now) -> Result<Totals, StorageError> {
        self.read(move |connection, _| read::totals(connection, now)).await
    }

    async fn sweep(&self, now: Now) -> Result<Swept, StorageError> {
        let mut sum = Swept::default();
        loop {
            let Answer::Swept(swept, more) = self.writer.write(Work::Sweep(now)).await? else {
                return Err(unexpected());
            };
            sum.expired += swept.expired;
            sum.tombstones += swept.tombstones;
            if !more {
                return Ok(sum);
            }
        }
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.read(|connection, _| {
            connection.query_row("SELECT 1", [], |_| Ok(())).map_err(|e| failed(&e))
        })
        .await
    }
}
