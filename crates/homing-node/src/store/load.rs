//! Reading back: every signed row is verified again, because a disk is not believed either.

use std::sync::Arc;

use homing_base::statement::SignedStatement;
use homing_base::time::Mono;
use homing_base::{
    InstanceId, Name, NodeId, Now, Record, UnverifiedRecord, UnverifiedStatement, Wall,
};
use homing_core::dht::{Contact, Reach};
use rusqlite::{Connection, Row};

use super::{Contents, messages, references, schema, witness};

/// Everything in the store. Expired records of others are left out, as is what cannot be read.
pub(super) fn contents(
    connection: &Connection,
    owner: NodeId,
    now: Now,
) -> rusqlite::Result<Contents> {
    let mut damaged = 0;
    let mut contents = Contents::default();
    let stored = &mut contents.stored;
    for record in rows(connection, "SELECT record FROM agents", &mut damaged, record_of)? {
        match record.node_id() == owner {
            true => stored.own_record = Some(record),
            false if record.expires > now.wall => stored.records.push(record),
            false => {}
        }
    }
    let sql = "SELECT statement FROM statements";
    stored.statements = rows(connection, sql, &mut damaged, statement_of)?;
    let sql = "SELECT name, node_id FROM aliases";
    stored.aliases = rows(connection, sql, &mut damaged, named)?;
    stored.pins = rows(connection, "SELECT name, node_id FROM pins", &mut damaged, named)?;
    let sql = "SELECT node_id, direct FROM last_addresses";
    stored.last_addresses = rows(connection, sql, &mut damaged, |row| {
        let text: String = row.get(1).ok()?;
        Some((id_of(row, 0)?, text.split_whitespace().filter_map(|a| a.parse().ok()).collect()))
    })?;
    let sql = "SELECT node_id, at FROM last_seen";
    stored.last_seen = rows(connection, sql, &mut damaged, |row| {
        let at: i64 = row.get(1).ok()?;
        Some((id_of(row, 0)?, Wall(u64::try_from(at).ok()?)))
    })?;
    let sql = "SELECT node_id, instance, direct, relay FROM dht_contacts ORDER BY place";
    stored.dht_contacts = rows(connection, sql, &mut damaged, contact_of)?;
    let sql = "SELECT record, local FROM gossip_entries";
    let gossip = rows(connection, sql, &mut damaged, |row| {
        Some((record_of(row)?, row.get::<_, bool>(1).ok()?))
    })?;
    stored.gossip = gossip.into_iter().filter(|(record, _)| record.expires > now.wall).collect();
    stored.messages = messages::load(connection, &mut damaged)?;
    stored.references = references::load(connection, &mut damaged)?;
    (stored.heads, stored.forks) = witness::load(connection, &mut damaged)?;
    contents.last_port = schema::meta(connection, "last_port")?.and_then(|p| p.parse().ok());
    contents.damaged_rows = damaged;
    Ok(contents)
}

/// All rows of a query that `read` understands; the others are counted.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    damaged: &mut usize,
    read: impl Fn(&Row<'_>) -> Option<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Some(value) => values.push(value),
            None => *damaged += 1,
        }
    }
    Ok(values)
}

fn record_of(row: &Row<'_>) -> Option<Record> {
    let bytes: Vec<u8> = row.get(0).ok()?;
    UnverifiedRecord::parse(&bytes).ok()?.verify_signature().ok()
}

fn statement_of(row: &Row<'_>) -> Option<SignedStatement> {
    let bytes: Vec<u8> = row.get(0).ok()?;
    // It was accepted when it came; a clock that was set back since does not unsay it.
    let whenever = Now { mono: Mono::default(), wall: Wall(u64::MAX) };
    UnverifiedStatement::parse(&bytes).ok()?.verify(whenever).ok()
}

fn named(row: &Row<'_>) -> Option<(Name, NodeId)> {
    let name: String = row.get(0).ok()?;
    Some((name.parse().ok()?, id_of(row, 1)?))
}

fn contact_of(row: &Row<'_>) -> Option<Contact<Reach>> {
    let direct = match row.get::<_, Option<String>>(2).ok()? {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let relay = match row.get::<_, Option<String>>(3).ok()? {
        Some(text) => Some(Arc::new(text.parse().ok()?)),
        None => None,
    };
    let instance = InstanceId(row.get(1).ok()?);
    Some(Contact { id: id_of(row, 0)?, place: Reach { instance, direct, relay } })
}

/// A node ID in a column.
pub(super) fn id_of(row: &Row<'_>, column: usize) -> Option<NodeId> {
    row.get::<_, [u8; 32]>(column).ok().map(NodeId)
}
