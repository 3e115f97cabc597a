//! Rendered answers of the hot read path: one JSON text and the raw record per entity, by the key it was asked with.
//!
//! An answer is dropped when its entity changes, when its name gains or loses a claimant, and when its status changes
//! by time alone (expiry, silence). Changes by other registries over the same database are seen by [`super::pump`] within
//! its poll. An answer that was read from the storage before a change must not be kept after it: [`Answers::ticket`] is
//! taken before the read, [`Answers::keep`] refuses when something changed since.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use axum::body::Bytes;
use axum::http::HeaderValue;
use homing_base::{Name, NodeId, Now, Wall};
use sha2::{Digest, Sha256};

use super::views::{EntityView, StatusView};
use crate::entity::{Entity, HEARTBEAT_LIFE_MS};

/// Answers kept at once; some 2 kB each.
const ANSWERS_MAX: usize = 32_768;

/// One entity, ready to be sent.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) node_id: NodeId,
    /// The JSON object without its closing brace: where it was found follows.
    pub(super) json: Bytes,
    /// The signed record.
    pub(super) record: Bytes,
    /// Weak: the same entity, found elsewhere, is the same entity.
    pub(super) json_etag: HeaderValue,
    /// Strong.
    pub(super) record_etag: HeaderValue,
    pub(super) issued: Wall,
    pub(super) expires: Wall,
    pub(super) status: StatusView,
    /// From here on the status may be another.
    valid_until: Wall,
}

impl Rendered {
    /// Renders an entity.
    pub(super) fn of(entity: &Entity, now: Now) -> Self {
        let view = EntityView::of(entity, now);
        let mut json = serde_json::to_vec(&view).expect("plain values serialise");
        json.pop();
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..16]);
        let etag = |text: String| HeaderValue::try_from(text).expect("hexadecimal digits");
        let record = &entity.record;
        let silent =
            entity.heartbeat.map_or(Wall(u64::MAX), |at| Wall(at.0 + HEARTBEAT_LIFE_MS + 1));
        let valid_until = match view.status {
            StatusView::Active => record.expires.min(silent),
            StatusView::Inactive => record.expires,
            StatusView::Expired | StatusView::Withdrawn => Wall(u64::MAX),
        };
        Self {
            node_id: record.node_id(),
            json_etag: etag(format!("W/\"{}\"", hex(&json))),
            record_etag: etag(format!("\"{}\"", hex(record.bytes()))),
            json: json.into(),
            record: Bytes::copy_from_slice(record.bytes()),
            issued: record.issued,
            expires: record.expires,
            status: view.status,
            valid_until,
        }
    }
}

/// The cache.
#[derive(Default)]
pub(super) struct Answers {
    kept: RwLock<Kept>,
    /// Counts changes.
    changes: AtomicU64,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<String, Arc<Rendered>>,
    keys: HashMap<NodeId, Vec<String>>,
    /// Keys that are names: another claimant makes them ambiguous.
    names: HashMap<Name, Vec<String>>,
}

/// The state of the cache before a read.
pub(super) struct Ticket(u64);

impl Answers {
    /// The answer for a key as it was written in the request.
    pub(super) fn find(&self, key: &str, now: Now) -> Option<Arc<Rendered>> {
        let kept = self.kept.read().expect("no holder panics");
        let found = kept.by_key.get(key)?;
        (now.wall < found.valid_until).then(|| Arc::clone(found))
    }

    /// To be taken before an entity is read.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.changes.load(Ordering::Acquire))
    }

    /// Keeps an answer unless something changed since the ticket was taken; `name`: what the key is, if it is one.
    pub(super) fn keep(
        &self,
        ticket: Ticket,
        key: &str,
        name: Option<&Name>,
        answer: &Arc<Rendered>,
    ) {
        let mut kept = self.kept.write().expect("no holder panics");
        if self.changes.load(Ordering::Acquire) != ticket.0 {
            return;
        }
        if kept.by_key.len() >= ANSWERS_MAX {
            *kept = Kept::default();
        }
        if kept.by_key.insert(key.to_owned(), Arc::clone(answer)).is_none() {
            kept.keys.entry(answer.node_id).or_default().push(key.to_owned());
            if let Some(name) = name {
                kept.names.entry(name.clone()).or_default().push(key.to_owned());
            }
        }
    }

    /// An entity changed and claims this name now. A name that it gave up is among its own keys, if it was alone in
    /// claiming it; otherwise there was no answer.
    pub(super) fn forget(&self, id: &NodeId, name: Option<&Name>) {
        let mut kept = self.kept.write().expect("no holder panics");
        self.changes.fetch_add(1, Ordering::AcqRel);
        for key in kept.keys.remove(id).unwrap_or_default() {
            kept.by_key.remove(&key);
        }
        for key in name.and_then(|name| kept.names.remove(name)).unwrap_or_default() {
            let Some(gone) = kept.by_key.remove(&key) else { continue };
            if let Some(keys) = kept.keys.get_mut(&gone.node_id) {
                keys.retain(|k| *k != key);
            }
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.read().expect("no holder panics").by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, Seq};

    use super::*;
    use crate::entity::Source;
    use crate::listing::Listing;

    fn now() -> Now {
        Now { mono: Mono(0), wall: Wall(1_780_000_000_000) }
    }

    fn rendered(n: u8) -> Arc<Rendered> {
        let key = IdentityKey::from_seed([n; 32]);
        let wall = now().wall;
        let record = AgentRecord::new(key.public(), InstanceId([1; 32]), Seq(wall.0), wall);
        let entity = Entity {
            record: record.sign(&key).unwrap(),
            listing: Listing::default(),
            card: None,
            source: Source::Registered,
            registered: wall,
            updated: wall,
            heartbeat: None,
        };
        Arc::new(Rendered::of(&entity, now()))
    }

    #[test]
    fn a_change_drops_what_it_concerns_and_nothing_else() {
        let answers = Answers::default();
        let (one, other): (Name, Name) = ("one".parse().unwrap(), "other".parse().unwrap());
        let (a, b) = (rendered(1), rendered(2));
        answers.keep(answers.ticket(), "one", Some(&one), &a);
        answers.keep(answers.ticket(), "id-of-a", None, &a);
        answers.keep(answers.ticket(), "other", Some(&other), &b);
        let kept = |key: &str| answers.find(key, now()).is_some();
        answers.forget(&NodeId([9; 32]), None);
        assert!(kept("one") && kept("id-of-a") && kept("other"));
        // Somebody else claims the name: it is ambiguous, who had it is what he was.
        answers.forget(&NodeId([9; 32]), Some(&one));
        assert!(!kept("one") && kept("id-of-a") && kept("other"));
        answers.keep(answers.ticket(), "one", Some(&one), &a);
        answers.forget(&a.node_id, Some(&other));
        assert!(!kept("one") && !kept("id-of-a") && !kept("other"));
        assert_eq!(answers.len(), 0);
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_kept_after_it() {
        let answers = Answers::default();
        let (ticket, a) = (answers.ticket(), rendered(1));
        answers.forget(&NodeId([9; 32]), None);
        answers.keep(ticket, "id-of-a", None, &a);
        assert!(answers.find("id-of-a", now()).is_none());
    }
}
