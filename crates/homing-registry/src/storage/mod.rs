//! Storage: one trait, two backends (`sqlite`, `postgres`), one suite of tests on both.
//!
//! What [`Storage::put`] has answered is durable: a crash at any instruction leaves the whole registration or
//! nothing. Which of two records wins is decided inside the transaction by [`Record::precedence`], so that
//! two registries over one database, or two requests at once, never let an older record replace a newer.
//! Search (words, filters, ranking inputs) is the backend's: an index in memory beside SQLite, full text in PostgreSQL.
//!
//! ```text
//! put ─► queue ─► one transaction for many ─► answers      decide (which record wins)
//! search ─► words ─► index ─► candidates ─► rank ─► hits   the databases only keep and fetch
//! ```
//! Not here: signatures (every [`Record`] was verified before it became one), HTTP.

mod cursor;
mod decide;
mod index;
pub mod postgres;
mod rank;
mod rows;
pub mod sqlite;
mod terms;
mod verified;
mod words;

use async_trait::async_trait;
use homing_base::{Address, Name, NodeId, Now, Record, RecordError, Seq, Wall};
use serde::{Deserialize, Serialize};

use crate::entity::{Entity, Source, Status, StoredCard};
use crate::listing::{EntityKind, Listing};

pub use postgres::PostgresStorage;
pub use sqlite::SqliteStorage;

/// One registration: a verified record and what is known about its card.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Verified.
    pub record: Record,
    /// Derived from record and card.
    pub listing: Listing,
    /// The card, if it came along or is known; its digest is the record's.
    pub card: Option<StoredCard>,
    /// How it came.
    pub source: Source,
}

/// What became of a [`Registration`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The first record of this identity.
    Created,
    /// It replaced an older one.
    Updated,
    /// The very same record was there.
    Same,
    /// A newer one is there.
    Stale {
        /// Its sequence.
        current: Seq,
    },
    /// Another record with the same sequence: both are kept as evidence, the smaller digest is served.
    Equivocation,
    /// The registry is full ([`crate::limits::ENTITIES_MAX`]).
    Full,
}

/// What a page or search is restricted to. Empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Exactly this category.
    pub category: Option<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// All of these skills, by identifier or word.
    pub skills: Vec<String>,
    /// One of these protocols.
    pub protocols: Vec<String>,
    /// This kind.
    pub kind: Option<EntityKind>,
    /// This status; `None`: active and inactive ones.
    pub status: Option<Status>,
    /// Vouched for by this identity.
    pub owner: Option<String>,
}

/// A position in a list that grows while it is read: opaque to users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// A search.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Words; empty: the filter alone decides.
    pub text: String,
    /// Restrictions.
    pub filter: Filter,
    /// At most this many hits, ≤ [`crate::limits::HITS_MAX`].
    pub limit: u32,
    /// Skip this many.
    pub offset: u32,
}

/// Why a hit stands where it stands: parts of its score, each 0–1, and their weights' sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The sum, 0–1.
    pub total: f64,
    /// How well the words match, by BM25 (Robertson & Zaragoza 2009) scaled to 0–1.
    pub text: f64,
    /// Share of the query's words that are its name, tags or skills exactly.
    pub exact: f64,
    /// How fresh the record is.
    pub freshness: f64,
    /// 1 if active.
    pub active: f64,
    /// Words of the query that were found, and where.
    pub matched: Vec<Match>,
}

/// One word of a query and the field that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The word as asked.
    pub word: String,
    /// `title`, `name`, `summary`, `tags`, `skills`, `category`, `protocols`.
    pub field: String,
}

/// One hit of a search.
#[derive(Clone, Debug)]
pub struct Hit {
    /// What was found.
    pub entity: Entity,
    /// Why.
    pub score: Score,
}

/// The hits of a search.
#[derive(Clone, Debug)]
pub struct Hits {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How many there are in all, counted up to 10,000.
    pub total: u64,
}

/// One earlier version of an entity.
#[derive(Clone, Debug)]
pub struct Version {
    /// As it was signed.
    pub record: Record,
    /// When it came here.
    pub received: Wall,
    /// How it came.
    pub source: Source,
}

/// A word and how many active entities have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The category or tag.
    pub name: String,
    /// Active entities with it.
    pub count: u64,
}

/// What happened to an entity, for event streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// First record.
    Registered,
    /// Newer record.
    Updated,
    /// Tombstone.
    Withdrawn,
    /// Its record's life ended.
    Expired,
}

/// One change; numbers rise by the order of commits and never repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub number: u64,
    /// What.
    pub kind: ChangeKind,
    /// Whose.
    pub node_id: NodeId,
    /// The record's sequence.
    pub sequence: Seq,
    /// When.
    pub at: Wall,
    /// The name that the entity claims at the time of reading; `None`: none, or the entity is gone.
    pub name: Option<Name>,
}

/// Counts, for stats and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Active and inactive entities.
    pub entities: u64,
    /// Tombstones kept.
    pub withdrawn: u64,
    /// Cards kept.
    pub cards: u64,
    /// Changes so far.
    pub changes: u64,
    /// Pairs of records that contradict each other.
    pub evidence: u64,
}

/// What a sweep removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Expired entities.
    pub expired: u64,
    /// Tombstones that have outlived what they withdrew.
    pub tombstones: u64,
}

/// A registry's storage.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Keeps a registration if it wins; durable on return.
    ///
    /// # Errors
    /// [`StorageError`]: nothing of it was kept.
    async fn put(&self, now: Now, registration: Registration) -> Result<Put, StorageError>;

    /// Keeps many, in transactions of [`crate::limits::IMPORT_MAX`]; answers in the order of the
    /// registrations. For imports and federation.
    ///
    /// # Errors
    /// [`StorageError`]: transactions before the failed one are durable.
    async fn put_many(
        &self,
        now: Now,
        registrations: Vec<Registration>,
    ) -> Result<Vec<Result<Put, StorageError>>, StorageError> {
        let mut answers = Vec::with_capacity(registrations.len());
        for registration in registrations {
            answers.push(self.put(now, registration).await);
        }
        Ok(answers)
    }

    /// The entity of an identity, whatever its status.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn entity(&self, id: &NodeId) -> Result<Option<Entity>, StorageError>;

    /// Entities whose node ID begins with an address: one, unless somebody found a collision.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn by_address(&self, address: &Address) -> Result<Vec<Entity>, StorageError>;

    /// Active entities that claim a name, oldest registration first, at most 32.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn by_name(&self, now: Now, name: &Name) -> Result<Vec<Entity>, StorageError>;

    /// A page of entities in the order of registration; stable while others are added.
    ///
    /// # Errors
    /// [`StorageError::Cursor`] for a foreign cursor.
    async fn page(
        &self,
        now: Now,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Entity>, StorageError>;

    /// Earlier and present versions, newest first.
    ///
    /// # Errors
    /// [`StorageError::Cursor`] for a foreign cursor.
    async fn history(
        &self,
        id: &NodeId,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<Version>, StorageError>;

    /// Keeps a card (and what it says) if the entity's present record still names its digest; `false`: not.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn set_card(
        &self,
        id: &NodeId,
        card: StoredCard,
        listing: Listing,
    ) -> Result<bool, StorageError>;

    /// Remembers a heartbeat; `false`: unknown entity, or a newer one is known.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn heartbeat(&self, id: &NodeId, at: Wall) -> Result<bool, StorageError>;

    /// Finds entities.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn search(&self, now: Now, query: &Query) -> Result<Hits, StorageError>;

    /// Categories of active entities, most frequent first, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn categories(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError>;

    /// Tags of active entities, most frequent first, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn tags(&self, now: Now, limit: u32) -> Result<Vec<Count>, StorageError>;

    /// Changes after number `after`, in order, at most `limit`; those older than the kept ones are gone.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn changes(&self, after: u64, limit: u32) -> Result<Vec<Change>, StorageError>;

    /// Counts.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn totals(&self, now: Now) -> Result<Totals, StorageError>;

    /// Drops what has expired, and tombstones that have outlived what they withdrew.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn sweep(&self, now: Now) -> Result<Swept, StorageError>;

    /// Whether the database answers, for readiness.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn ready(&self) -> Result<(), StorageError>;
}

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The cursor was not made by this list.
    #[error("the cursor is not one of this list")]
    Cursor,
    /// The database failed; nothing was changed.
    #[error("the registry's database failed: {what}")]
    Database {
        /// What it says.
        what: String,
        /// Worth trying again: busy, connection lost.
        retryable: bool,
    },
    /// There is no space left.
    #[error("the registry's disk is full")]
    Full,
    /// The record is expired or from the future.
    #[error("{0}")]
    Record(RecordError),
    /// A sequence that would keep its identity from ever speaking again.
    #[error("the sequence {sequence} is more than a day ahead of the clock here ({now})", sequence = sequence.0)]
    Ahead {
        /// The record's.
        sequence: Seq,
        /// The registry's clock.
        now: Wall,
    },
    /// Written by a newer version of this program.
    #[error("the registry's database has schema {found}, this version knows up to {known}")]
    Newer {
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
}
