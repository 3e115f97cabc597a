//! Outbox, inbox, answers and subscriptions as rows.
//!
//! A message is kept in its wire form; what it says was checked when it came, and is bounded again when it is
//! read back.

use homing_base::cbor;
use homing_base::{MessageId, NodeId, Wall};
use homing_core::io::{
    FileSource, Incoming, MessageWrite, Outgoing, Parcel, Seen, StoredMessages, Verdict,
};
use homing_core::messages::limits::BATCH_BYTES_MAX;
use homing_core::messages::wire::is_well_formed;
use rusqlite::{Connection, Row, Transaction, params};

use super::load::{id_of, rows};
use super::write::run;

/// The tables of this part.
pub(super) const TABLES: &str = "
-- Messages that are not delivered yet, oldest first; `path` and `modified_ns` of a file that is offered.
CREATE TABLE outbox (number INTEGER PRIMARY KEY, node_id BLOB NOT NULL, expires INTEGER NOT NULL,
  path TEXT, modified_ns INTEGER, parcel BLOB NOT NULL);
-- Messages that nobody has taken in yet; `file` is where a fetched file is.
CREATE TABLE inbox (number INTEGER PRIMARY KEY, node_id BLOB NOT NULL, received INTEGER NOT NULL,
  file TEXT, parcel BLOB NOT NULL);
-- Messages that were answered for, so that copies are known.
CREATE TABLE seen (number INTEGER PRIMARY KEY, node_id BLOB NOT NULL, id BLOB NOT NULL, verdict BLOB NOT NULL,
  UNIQUE (node_id, id));
-- Subscriptions that are kept: the own ones, and those of peers.
CREATE TABLE subscribers (node_id BLOB NOT NULL, topic TEXT NOT NULL, PRIMARY KEY (node_id, topic)) WITHOUT ROWID;
";

/// Performs one change.
pub(super) fn write(t: &Transaction<'_>, write: &MessageWrite) -> rusqlite::Result<()> {
    let forget = |table: &str, number: u64| {
        run(t, &format!("DELETE FROM {table} WHERE number = ?1"), params![signed(number)])
    };
    match write {
        MessageWrite::Outgoing(message) => put_outgoing(t, message),
        MessageWrite::ForgetOutgoing(number) => forget("outbox", *number),
        MessageWrite::Incoming(m) => run(
            t,
            "INSERT OR REPLACE INTO inbox VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                signed(m.number),
                m.from.0,
                signed(m.received.0),
                m.file,
                cbor::encode(&m.parcel)
            ],
        ),
        MessageWrite::ForgetIncoming(number) => forget("inbox", *number),
        MessageWrite::Seen(Seen { number, from, id, verdict }) => run(
            t,
            "INSERT OR REPLACE INTO seen VALUES (?1, ?2, ?3, ?4)",
            params![signed(*number), from.0, id.0, cbor::encode(verdict)],
        ),
        MessageWrite::ForgetSeen(from, id) => {
            run(t, "DELETE FROM seen WHERE node_id = ?1 AND id = ?2", params![from.0, id.0])
        }
        MessageWrite::Subscriber(peer, topic) => {
            let values = params![peer.0, topic.as_str()];
            run(t, "INSERT OR REPLACE INTO subscribers VALUES (?1, ?2)", values)
        }
        MessageWrite::ForgetSubscriber(peer, topic) => {
            let values = params![peer.0, topic.as_str()];
            run(t, "DELETE FROM subscribers WHERE node_id = ?1 AND topic = ?2", values)
        }
    }
}

fn put_outgoing(t: &Transaction<'_>, message: &Outgoing) -> rusqlite::Result<()> {
    let source = message.source.as_ref();
    run(
        t,
        "INSERT OR REPLACE INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            signed(message.number),
            message.to.0,
            signed(message.expires.0),
            source.map(|s| &s.path),
            source.map(|s| s.modified_ns),
            cbor::encode(&message.parcel)
        ],
    )
}

/// Everything of this part.
pub(super) fn load(
    connection: &Connection,
    damaged: &mut usize,
) -> rusqlite::Result<StoredMessages> {
    let sql = "SELECT number, node_id, expires, path, modified_ns, parcel FROM outbox";
    let outgoing = rows(connection, sql, damaged, outgoing_of)?;
    let sql = "SELECT number, node_id, received, file, parcel FROM inbox";
    let incoming = rows(connection, sql, damaged, |row| {
        Some(Incoming {
            number: number_of(row, 0)?,
            from: id_of(row, 1)?,
            received: Wall(number_of(row, 2)?),
            file: row.get(3).ok()?,
            parcel: parcel_of(row, 4)?,
        })
    })?;
    let seen = rows(connection, "SELECT number, node_id, id, verdict FROM seen", damaged, seen_of)?;
    let sql = "SELECT node_id, topic FROM subscribers";
    let subscribers = rows(connection, sql, damaged, |row| {
        let topic: String = row.get(1).ok()?;
        Some((id_of(row, 0)?, topic.parse().ok()?))
    })?;
    Ok(StoredMessages { outgoing, incoming, seen, subscribers })
}

fn outgoing_of(row: &Row<'_>) -> Option<Outgoing> {
    let path: Option<String> = row.get(3).ok()?;
    let modified_ns: Option<i64> = row.get(4).ok()?;
    let source = path.zip(modified_ns);
    Some(Outgoing {
        number: number_of(row, 0)?,
        to: id_of(row, 1)?,
        expires: Wall(number_of(row, 2)?),
        source: source.map(|(path, modified_ns)| FileSource { path, modified_ns }),
        parcel: parcel_of(row, 5)?,
    })
}

fn seen_of(row: &Row<'_>) -> Option<Seen> {
    let verdict: Vec<u8> = row.get(3).ok()?;
    let verdict: Verdict = cbor::decode(&verdict, 8).ok()?;
    let id = MessageId(row.get(2).ok()?);
    let from: NodeId = id_of(row, 1)?;
    Some(Seen { number: number_of(row, 0)?, from, id, verdict })
}

fn parcel_of(row: &Row<'_>, column: usize) -> Option<Parcel> {
    let bytes: Vec<u8> = row.get(column).ok()?;
    let parcel: Parcel = cbor::decode(&bytes, BATCH_BYTES_MAX).ok()?;
    is_well_formed(&parcel).then_some(parcel)
}

fn number_of(row: &Row<'_>, column: usize) -> Option<u64> {
    u64::try_from(row.get::<_, i64>(column).ok()?).ok()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
