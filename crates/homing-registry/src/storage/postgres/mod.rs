//! The PostgreSQL backend: several registries over one database.
//!
//! ```text
//! instance A ─ writer ─┐ ledger row (one writer at a time,   ┌ pool ─ reads, searches
//! instance B ─ writer ─┴ many jobs in each transaction) ─ DB ┴ heartbeats (rows of their own)
//! ```
//! Which record wins is decided under the ledger's lock, so instances cannot lose each other's updates, and
//! numbers of changes, entities and versions become visible in their order. A lost connection is an error
//! that may be tried again; the pool connects anew. CockroachDB and YugabyteDB: see `schema`. Not tried there.

mod batch;
mod read;
mod save;
mod schema;
mod search;
mod writer;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homing_base::{Address, Name, NodeId, Now, Wall};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

pub use schema::SCHEMA_VERSION;
use writer::{Answer, Work, Writer};

use super::rows::int;
use super::verified::{Verified, damaged};
use super::{
    Change, Count, Cursor, Filter, Hits, Page, Put, Query, Registration, Storage, StorageError,
    Swept, Totals, Version,
};
use crate::entity::{Entity, StoredCard};
use crate::limits::IMPORT_MAX;
use crate::listing::Listing;

/// Connections of one instance.
const CONNECTIONS_MAX: u32 = 10;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A registry in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStorage {
    pool: PgPool,
    writer: Writer,
    verified: Arc<Verified>,
}

impl PostgresStorage {
    /// Connects and brings the schema up to date. `url` as libpq knows it:
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`.
    ///
    /// # Errors
    /// [`StorageError::Database`] when the URL is none or nobody answers, [`StorageError::Newer`] for the
    /// database of a newer version. Neither repeats the URL, which may hold a password.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| damaged("not a URL of a PostgreSQL database: postgres://host/name"))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Words are common or rare: a plan for one does not suit the other. Databases
                    // that do not know the setting have no such plans.
                    let set = connection.execute("SET plan_cache_mode = force_custom_plan").await;
                    drop(set);
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(|e| failed(&e))?;
        schema::prepare(&pool).await?;
        let verified = Arc::new(Verified::default());
        let writer = Writer::start(pool.clone(), verified.clone());
        Ok(Self { pool, writer, verified })
    }
}

/// What PostgreSQL says, in our words.
fn failed(error: &sqlx::Error) -> StorageError {
    use sqlx::Error as E;
    let code = match error {
        E::Database(database) => database.code().map(|c| c.into_owned()),
        _ => None,
    };
    let code = code.as_deref().unwrap_or("");
    // 53100: disk full. 08: connection. 57P: shutting down, starting up. 53300: too many connections.
    if code == "53100" {
        return StorageError::Full;
    }
    let lost = matches!(
        error,
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_)
    );
    let passing = code.starts_with("08") || code.starts_with("57P") || code == "53300";
    StorageError::Database { what: error.to_string(), retryable: lost || passing || gave_up(error) }
}

/// Whether the database gave a transaction up so that another could go on (class 40).
fn gave_up(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
}

fn unexpected() -> StorageError {
    damaged("the writer answered another question")
}

#[async_trait]
impl Storage for PostgresStorage {
    async fn put(&self, now: Now, registration: Registration) -> Result<Put, StorageError> {
        match self.writer.write(Work::Put(now, Box::new(registration))).await? {
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
        loop {
            let part: Vec<_> = rest.by_ref().take(IMPORT_MAX).collect();
            if part.is_empty() {
                return Ok(answers);
            }
            match self.writer.write(Work::Import(now, part)).await? {
                Answer::Import(part) => answers.extend(part),
                _ => return Err(unexpected()),
            }
        }
    }

    async fn entity(&self, id: &NodeId) -> Result<Option<Entity>, StorageError> {
        read::entity(self, id).await
    }

    async fn by_address(&self, address: &Address) -> Result<Vec<Entity>, StorageError> {
        read::by_prefix(self, address.prefix()).await
    }

    async fn by_name(&self, now: Now, name: &Name) -> Result<Vec<Entity>, StorageError> {
        read::by_name(self, now, name.as_str()).await
    }

    async fn page(
        &self,
        now: Now,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Entity>, StorageError> {
        search::page(self, now, filter, after, limit).await
    }

    async fn history(
        &self,
        id: &NodeId,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Version>, StorageError> {
        read::history(self, id, after, limit).await
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
        let sql = "UPDATE entities SET heartbeat = $2 WHERE node_id = $1 AND withdrawn = FALSE
            AND (heartbeat IS NULL OR heartbeat < $2)";
        let query = sqlx::query(sql).bind(id.0.to_vec()).bind(int(at.0));
        let done = query.execute(&self.pool).await.map_err(|e| failed(&e))?;
        Ok(done.rows_affected() > 0)
    }

    async fn search(&self, now: Now, query: &Query) -> Result<Hits, StorageError> {
        search::search(self, now, query).await
    }

    async fn categories(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError> {
        read::counts(self, now, 'c', limit).await
    }

    async fn tags(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError> {
        read::counts(self, now, 't', limit).await
    }

    async fn changes(&self, after: u64, limit: u32) -> Result<Vec<Change>, StorageError> {
        read::changes(self, after, limit).await
    }

    async fn totals(&self, now: Now) -> Result<Totals, StorageError> {
        read::totals(self, now).await
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
        sqlx::query("SELECT 1").execute(&self.pool).await.map_err(|e| failed(&e))?;
        Ok(())
    }
}
