//! One transaction: everything that is known of its identities is read at once, decided in memory in the
//! order of the jobs, and written at once (`save`). The ledger's lock, taken first, keeps others out.

use std::collections::BTreeMap;

use homing_base::{NodeId, Now, Record, Seq, Wall};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::writer::{Answer, Failure, Work};
use crate::entity::StoredCard;
use crate::limits::ENTITIES_MAX;
use crate::listing::Listing;
use crate::storage::decide::{self, Decision, Head, Known};
use crate::storage::rows::{self, Entry, int};
use crate::storage::verified::Verified;
use crate::storage::words::Indexed;
use crate::storage::{ChangeKind, Put, Registration, StorageError};

pub(super) type Outcome<T> = Result<T, Failure>;

/// Numbers that were given last.
#[derive(Clone, Copy)]
pub(super) struct Ledger {
    pub(super) entities: i64,
    pub(super) versions: i64,
    pub(super) changes: i64,
    /// Entities and floors.
    pub(super) known: i64,
}

/// What is known of one identity, and what it shall become.
pub(super) struct State {
    pub(super) seq: i64,
    pub(super) head: Head,
    pub(super) record: Record,
    pub(super) listing: Listing,
    pub(super) indexed: Option<Vec<u8>>,
    pub(super) registered: i64,
    pub(super) updated: i64,
    pub(super) source: i16,
    pub(super) card: Option<[u8; 32]>,
    pub(super) dirty: bool,
}

/// A version that was replaced.
pub(super) struct Replaced {
    pub(super) entity: i64,
    pub(super) record: Vec<u8>,
    pub(super) received: i64,
    pub(super) source: i16,
}

/// A change without its number.
pub(super) struct Note {
    pub(super) kind: i16,
    pub(super) node_id: [u8; 32],
    pub(super) sequence: i64,
    pub(super) at: i64,
}

pub(super) struct Batch<'c> {
    pub(super) connection: &'c mut PgConnection,
    verified: &'c Verified,
    pub(super) ledger: Ledger,
    pub(super) states: BTreeMap<NodeId, State>,
    pub(super) floors: BTreeMap<NodeId, (Seq, Wall)>,
    pub(super) gone_floors: Vec<NodeId>,
    pub(super) replaced: Vec<Replaced>,
    pub(super) evidence: Vec<Record>,
    pub(super) notes: Vec<Note>,
    pub(super) counts: BTreeMap<(char, String), i64>,
    pub(super) words: BTreeMap<i64, Option<Indexed>>,
    pub(super) cards: BTreeMap<i64, Option<StoredCard>>,
    pub(super) remembered: Vec<(NodeId, Wall)>,
}

impl<'c> Batch<'c> {
    /// Takes the ledger; whoever holds it writes alone.
    pub(super) async fn begin(
        connection: &'c mut PgConnection,
        verified: &'c Verified,
    ) -> Outcome<Self> {
        let sql = "SELECT entities, versions, changes, known FROM ledger WHERE one FOR UPDATE";
        let row = sqlx::query(sql).fetch_one(&mut *connection).await?;
        let ledger = Ledger {
            entities: row.try_get(0)?,
            versions: row.try_get(1)?,
            changes: row.try_get(2)?,
            known: row.try_get(3)?,
        };
        Ok(Self {
            connection,
            verified,
            ledger,
            states: BTreeMap::new(),
            floors: BTreeMap::new(),
            gone_floors: Vec::new(),
            replaced: Vec::new(),
            evidence: Vec::new(),
            notes: Vec::new(),
            counts: BTreeMap::new(),
            words: BTreeMap::new(),
            cards: BTreeMap::new(),
            remembered: Vec::new(),
        })
    }

    /// Reads what is known of everybody that the jobs are about.
    pub(super) async fn load<'w>(&mut self, works: impl Iterator<Item = &'w Work>) -> Outcome<()> {
        let mut ids = Vec::new();
        for work in works {
            match work {
                Work::Put(_, one) => ids.push(one.record.node_id()),
                Work::Import(_, many) => ids.extend(many.iter().map(|r| r.record.node_id())),
                Work::Card(id, ..) => ids.push(*id),
                Work::Sweep(_) => {}
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.0.to_vec()).collect();
        let sql = "SELECT e.node_id, e.seq, e.sequence, e.digest, e.withdrawn, e.expires, e.until,
                     e.indexed, e.registered, e.updated, e.source, c.record, c.listing, k.sha256
                   FROM entities e JOIN contents c ON c.seq = e.seq
                   LEFT JOIN cards k ON k.seq = e.seq WHERE e.node_id = ANY($1)";
        for row in sqlx::query(sql).bind(&ids).fetch_all(&mut *self.connection).await? {
            let id = rows::bytes32(row.try_get(0)?)?;
            let state = self.state(&row)?;
            self.states.insert(NodeId(id), state);
        }
        let sql = "SELECT node_id, sequence, until FROM floors WHERE node_id = ANY($1)";
        for row in sqlx::query(sql).bind(&ids).fetch_all(&mut *self.connection).await? {
            let floor = (rows::seq(row.try_get(1)?), rows::wall(row.try_get(2)?));
            self.floors.insert(NodeId(rows::bytes32(row.try_get(0)?)?), floor);
        }
        Ok(())
    }

    fn state(&self, row: &PgRow) -> Outcome<State> {
        let head = Head {
            sequence: rows::seq(row.try_get(2)?),
            digest: rows::bytes32(row.try_get(3)?)?,
            withdrawn: row.try_get(4)?,
            expires: rows::wall(row.try_get(5)?),
            until: rows::wall(row.try_get(6)?),
        };
        let card = match row.try_get::<Option<&[u8]>, _>(13)? {
            Some(sha256) => Some(rows::bytes32(sha256)?),
            None => None,
        };
        Ok(State {
            seq: row.try_get(1)?,
            head,
            record: self.verified.read(row.try_get(11)?)?,
            listing: rows::listing_of(row.try_get(12)?)?,
            indexed: row.try_get(7)?,
            registered: row.try_get(8)?,
            updated: row.try_get(9)?,
            source: row.try_get(10)?,
            card,
            dirty: false,
        })
    }

    pub(super) async fn apply(&mut self, work: &Work) -> Outcome<Answer> {
        Ok(match work {
            Work::Put(now, registration) => Answer::Put(self.admit_and_put(*now, registration)),
            Work::Import(now, many) => {
                Answer::Import(many.iter().map(|r| self.admit_and_put(*now, r)).collect())
            }
            Work::Card(id, card, listing) => Answer::Kept(self.card(id, card, listing)),
            Work::Sweep(now) => {
                let (swept, more) = self.sweep(*now).await?;
                Answer::Swept(swept, more)
            }
        })
    }

    fn admit_and_put(
        &mut self,
        now: Now,
        registration: &Registration,
    ) -> Result<Put, StorageError> {
        decide::admit(now, &registration.record)?;
        Ok(self.put(now, registration))
    }

    fn put(&mut self, now: Now, registration: &Registration) -> Put {
        let record = &registration.record;
        let id = record.node_id();
        let known = match (self.states.get(&id), self.floors.get(&id)) {
            (Some(state), _) => Known::Entity(state.head.clone()),
            (None, Some((sequence, until))) => Known::Floor { sequence: *sequence, until: *until },
            (None, None) => Known::Nothing,
        };
        match decide::decide(now, &known, record) {
            Decision::Replace { .. }
                if known == Known::Nothing && self.ledger.known >= int(ENTITIES_MAX) =>
            {
                Put::Full
            }
            Decision::Replace { put, kind, until } => {
                if put == Put::Equivocation {
                    self.contradiction(&id, record);
                }
                self.replace(now, registration, until);
                self.note(now.wall, kind, &id, record.sequence);
                put
            }
            Decision::Evidence(until) => {
                self.contradiction(&id, record);
                self.remember(id, until);
                Put::Equivocation
            }
            Decision::Remember(put, until) => {
                self.remember(id, until);
                put
            }
            Decision::Nothing(put) => {
                if put == Put::Same {
                    self.complete(registration);
                }
                put
            }
        }
    }

    fn contradiction(&mut self, id: &NodeId, record: &Record) {
        let present = self.states.get(id).map(|state| state.record.clone());
        self.evidence.extend(present);
        self.evidence.push(record.clone());
    }

    fn remember(&mut self, id: NodeId, until: Wall) {
        if let Some(state) = self.states.get_mut(&id) {
            state.head.until = state.head.until.max(until);
        }
        if let Some(floor) = self.floors.get_mut(&id) {
            floor.1 = floor.1.max(until);
        }
        self.remembered.push((id, until));
    }

    pub(super) fn note(&mut self, at: Wall, kind: ChangeKind, id: &NodeId, sequence: Seq) {
        let (kind, sequence) = (rows::change_number(kind), int(sequence.0));
        self.notes.push(Note { kind, node_id: id.0, sequence, at: int(at.0) });
    }

    fn replace(&mut self, now: Now, registration: &Registration, until: Wall) {
        let record = registration.record.clone();
        let id = record.node_id();
        let mut state = self.states.remove(&id).unwrap_or_else(|| self.newcomer(now, registration));
        if state.record != record {
            self.replaced.push(Replaced {
                entity: state.seq,
                record: state.record.bytes().to_vec(),
                received: state.updated,
                source: state.source,
            });
        }
        let keeps = self.exchange_card(&mut state, registration);
        state.head = Head {
            sequence: record.sequence,
            digest: record.digest(),
            withdrawn: record.is_withdrawn(),
            expires: record.expires,
            until,
        };
        let listing = match keeps {
            true => state.listing.clone(),
            false => registration.listing.clone(),
        };
        self.verified.remember(state.head.digest, &record);
        (state.record, state.updated) = (record, int(now.wall.0));
        state.source = rows::source_number(registration.source);
        self.describe(&mut state, listing);
        self.states.insert(id, state);
    }

    fn newcomer(&mut self, now: Now, registration: &Registration) -> State {
        let record = registration.record.clone();
        self.ledger.entities += 1;
        self.ledger.known += 1;
        if self.floors.remove(&record.node_id()).is_some() {
            self.ledger.known -= 1;
            self.gone_floors.push(record.node_id());
        }
        let head = Head {
            sequence: record.sequence,
            digest: record.digest(),
            withdrawn: record.is_withdrawn(),
            expires: record.expires,
            until: record.expires,
        };
        State {
            seq: self.ledger.entities,
            head,
            record,
            listing: Listing::default(),
            indexed: None,
            registered: int(now.wall.0),
            updated: int(now.wall.0),
            source: rows::source_number(registration.source),
            card: None,
            dirty: true,
        }
    }

    /// Stores the card that came, keeps the one that still fits, drops another. Whether the present
    /// listing still holds: nothing came, and the record says of its card and itself what it said.
    fn exchange_card(&mut self, state: &mut State, registration: &Registration) -> bool {
        let record = &registration.record;
        if let Some(card) = fitting(record, registration.card.as_ref()) {
            self.store_card(state, card);
            return false;
        }
        let wanted = record.card.as_ref().map(|c| c.sha256).filter(|_| !record.is_withdrawn());
        if state.card.is_some() && state.card != wanted {
            state.card = None;
            self.cards.insert(state.seq, None);
        }
        state.card.is_some() && state.record.name == record.name && state.record.tags == record.tags
    }

    fn store_card(&mut self, state: &mut State, card: &StoredCard) {
        state.card = Some(card.sha256);
        self.cards.insert(state.seq, Some(card.clone()));
    }

    /// Writes a listing, and what the index has of it if that differs.
    fn describe(&mut self, state: &mut State, listing: Listing) {
        state.dirty = true;
        let name = state.record.name.as_ref().map(ToString::to_string);
        let entry = (!state.head.withdrawn).then(|| Entry::of(&listing, name.as_deref()));
        let digest = entry.as_ref().map(|e| e.digest.clone());
        if digest != state.indexed {
            if state.indexed.is_some() {
                self.count(&state.listing, -1);
            }
            if entry.is_some() {
                self.count(&listing, 1);
            }
            self.words.insert(state.seq, entry.map(|e| e.indexed));
            state.indexed = digest;
        }
        state.listing = listing;
    }

    pub(super) fn count(&mut self, listing: &Listing, by: i64) {
        for counted in rows::counted(listing) {
            *self.counts.entry(counted).or_default() += by;
        }
    }

    /// The same record came again: perhaps with the card that was missing.
    fn complete(&mut self, registration: &Registration) {
        let Some(card) = fitting(&registration.record, registration.card.as_ref()) else { return };
        let id = registration.record.node_id();
        let Some(mut state) = self.states.remove(&id) else { return };
        if state.card.is_none() {
            self.store_card(&mut state, card);
            self.describe(&mut state, registration.listing.clone());
        }
        self.states.insert(id, state);
    }

    fn card(&mut self, id: &NodeId, card: &StoredCard, listing: &Listing) -> bool {
        let Some(mut state) = self.states.remove(id) else { return false };
        let fits = fitting(&state.record, Some(card)).is_some();
        if fits {
            self.store_card(&mut state, card);
            self.describe(&mut state, listing.clone());
        }
        self.states.insert(*id, state);
        fits
    }
}

/// The card, if it is the one that the record names.
fn fitting<'c>(record: &Record, card: Option<&'c StoredCard>) -> Option<&'c StoredCard> {
    let named = record.card.as_ref()?;
    card.filter(|card| card.sha256 == named.sha256 && !record.is_withdrawn())
}
