//! Writing: one batch is one transaction.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use homing_base::{NodeId, Record};
use homing_core::Write;
use homing_core::dht::{Contact, Reach};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{StoreCounts, messages, references, witness};

/// Commits `batch` whole, or leaves everything as it was.
pub(super) fn batch(
    connection: &mut Connection,
    batch: &[Write],
    counts: &StoreCounts,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for write in batch {
        one(&transaction, write)?;
    }
    transaction.commit()?;
    counts.batches.fetch_add(1, Ordering::Relaxed);
    counts.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
    Ok(())
}

fn one(t: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::OwnRecord(record) => put_record(t, record, true),
        Write::Record(record) => put_record(t, record, false),
        Write::Evidence { first, second } => put_evidence(t, first, second),
        Write::Statement(s) => run(
            t,
            "INSERT OR REPLACE INTO statements VALUES (?1, ?2, ?3)",
            params![s.from.node_id().0, s.to.0, s.bytes()],
        ),
        Write::Alias { name, peer: Some(peer) } => {
            run(t, "INSERT OR REPLACE INTO aliases VALUES (?1, ?2)", params![name.as_str(), peer.0])
        }
        Write::Alias { name, peer: None } => {
            run(t, "DELETE FROM aliases WHERE name = ?1", params![name.as_str()])
        }
        Write::Pin { name, peer } => {
            run(t, "INSERT OR REPLACE INTO pins VALUES (?1, ?2)", params![name.as_str(), peer.0])
        }
        Write::LastAddresses { peer, direct } => run(
            t,
            "INSERT OR REPLACE INTO last_addresses VALUES (?1, ?2)",
            params![peer.0, addresses_text(direct)],
        ),
        Write::LastSeen { peer, at } => run(
            t,
            "INSERT OR REPLACE INTO last_seen VALUES (?1, ?2)",
            params![peer.0, i64::try_from(at.0).unwrap_or(i64::MAX)],
        ),
        Write::ForgetRecord(peer) => forget(t, peer),
        Write::DhtContacts(contacts) => put_contacts(t, contacts),
        Write::GossipEntry { record, local } => run(
            t,
            "INSERT OR REPLACE INTO gossip_entries VALUES (?1, ?2, ?3)",
            params![record.node_id().0, local, record.bytes()],
        ),
        Write::ForgetGossip(peer) => {
            run(t, "DELETE FROM gossip_entries WHERE node_id = ?1", params![peer.0])
        }
        Write::Message(write) => messages::write(t, write),
        Write::Reference(write) => references::write(t, write),
        Write::Witness(write) => witness::write(t, write),
    }
}

fn put_record(t: &Transaction<'_>, record: &Record, own: bool) -> rusqlite::Result<()> {
    let values = params![record.node_id().0, own, record.bytes()];
    run(t, "INSERT OR REPLACE INTO agents VALUES (?1, ?2, ?3)", values)
}

fn put_evidence(t: &Transaction<'_>, first: &Record, second: &Record) -> rusqlite::Result<()> {
    let values = params![second.digest(), first.node_id().0, first.bytes(), second.bytes()];
    run(t, "INSERT OR IGNORE INTO evidence VALUES (?1, ?2, ?3, ?4)", values)
}

/// The whole list replaces the one before.
fn put_contacts(t: &Transaction<'_>, contacts: &[Contact<Reach>]) -> rusqlite::Result<()> {
    run(t, "DELETE FROM dht_contacts", [])?;
    for (place, Contact { id, place: reach }) in contacts.iter().enumerate() {
        let direct = reach.direct.map(|addr| addr.to_string());
        let relay = reach.relay.as_ref().map(|relay| relay.to_string());
        let values = params![place as i64, id.0, reach.instance.0, direct, relay];
        run(t, "INSERT INTO dht_contacts VALUES (?1, ?2, ?3, ?4, ?5)", values)?;
    }
    Ok(())
}

/// Everything about a peer but its statements, and the names that the user or first use gave it.
fn forget(t: &Transaction<'_>, peer: &NodeId) -> rusqlite::Result<()> {
    run(t, "DELETE FROM agents WHERE node_id = ?1 AND own = 0", params![peer.0])?;
    run(t, "DELETE FROM last_addresses WHERE node_id = ?1", params![peer.0])?;
    run(t, "DELETE FROM last_seen WHERE node_id = ?1", params![peer.0])
}

fn addresses_text(direct: &[SocketAddr]) -> String {
    direct.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}

/// One statement.
pub(super) fn run(
    t: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    t.prepare_cached(sql)?.execute(values).map(|_| ())
}
