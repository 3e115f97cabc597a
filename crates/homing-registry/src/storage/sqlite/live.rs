//! The index that goes with an open file: made from the rows by a thread of its own, which then keeps it.
//!
//! ```text
//! open ─► indexer: rows of one snapshot ─► what was committed meanwhile ─► ready ─► each commit ─► answer
//! ```
//! Opening does not wait for it: whoever asks by key is answered at once, searches wait until it is ready. A
//! write is answered when the index has it, so that it is found from then on; before the index is ready that
//! holds anyway. While one commit is indexed the writer is at the next.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use homing_base::NodeId;
use rusqlite::{Connection, Transaction, params};

use super::batch::Outcome;
use super::{failed, prepare, schema};
use crate::storage::StorageError;
use crate::storage::index::{Change, Index, Place};
use crate::storage::rows;
use crate::storage::terms::Terms;
use crate::storage::verified::{Verified, damaged};

/// Changes that are taken over while searches wait.
const APPLY_MAX: usize = 2_048;
/// Rows whose terms are sorted together.
const LOAD_MAX: usize = 4_096;

/// The index, as searches read it.
#[derive(Debug, Default)]
pub(super) struct Live {
    index: OnceLock<Result<RwLock<Index>, StorageError>>,
    /// Nobody waits for it any more.
    closed: AtomicBool,
}

/// What is done when the index has a commit.
type Then = Box<dyn FnOnce() + Send>;

/// The thread that keeps the index. Dropped: what was committed is taken over, then the thread ends.
#[derive(Debug)]
pub(super) struct Indexer {
    /// Whether the index is ready. Held while something is sent, so that what is sent before is in it then.
    ready: Arc<Mutex<bool>>,
    commits: Option<Sender<(Vec<Change>, Then)>>,
    live: Arc<Live>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Waits until it is ready.
    pub(super) fn read(&self) -> Outcome<RwLockReadGuard<'_, Index>> {
        match self.index.wait() {
            Ok(index) => index.read().map_err(|_| damaged("the search index is half changed")),
            Err(error) => Err(damaged(&error.to_string())),
        }
    }

    fn apply(&self, changes: Vec<Change>) {
        let Some(Ok(index)) = self.index.get() else { return };
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            // A panic in a change would leave it poisoned: searches then fail, nothing else does.
            let Ok(mut index) = index.write() else { return };
            index.apply_all(changes.by_ref().take(APPLY_MAX));
        }
    }

    /// Whether the index is the one that the rows would give.
    pub(super) fn check(&self, connection: &Connection) -> Outcome<()> {
        let anew = load(connection, &AtomicBool::new(false))?;
        match self.read()?.difference(&anew) {
            Some(what) => Err(damaged(&format!("the index is not that of the rows: {what}"))),
            None => Ok(()),
        }
    }
}

impl Indexer {
    /// Begins to read the rows of `path` as they are now.
    pub(super) fn start(path: &Path) -> Outcome<Self> {
        let connection = schema::open_reader(path)?;
        // From here on the connection sees this moment; what comes later is sent.
        let snapshot = "BEGIN; SELECT count(*) FROM (SELECT 1 FROM entities LIMIT 1)";
        connection.execute_batch(snapshot).map_err(|e| failed(&e))?;
        let (commits, queue) = channel();
        let (ready, live) = (Arc::<Mutex<bool>>::default(), Arc::<Live>::default());
        let (gate, kept) = (ready.clone(), live.clone());
        let thread = std::thread::Builder::new()
            .name("registry-indexer".into())
            .spawn(move || run(&connection, &kept, &gate, &queue))
            .map_err(|e| damaged(&format!("no thread for the search index: {e}")))?;
        Ok(Self { ready, commits: Some(commits), live, thread: Some(thread) })
    }

    pub(super) fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Hands over what was committed; `then` is done when whoever searches will find it.
    pub(super) fn take(&self, changes: Vec<Change>, then: impl FnOnce() + Send + 'static) {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(commits) = &self.commits else { return };
        // The thread ends before its sender only by a panic: searches fail then, writes do not.
        let unsent = match *ready {
            true => commits.send((changes, Box::new(then))).err().map(|back| back.0.1),
            false => {
                let _ = commits.send((changes, Box::new(|| {})));
                Some(Box::new(then) as Then)
            }
        };
        drop(ready);
        if let Some(then) = unsent {
            then();
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.live.closed.store(true, Ordering::Relaxed);
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // Whoever waited for one that panicked has been answered already.
            let _ = thread.join();
        }
    }
}

fn run(
    connection: &Connection,
    live: &Live,
    ready: &Mutex<bool>,
    commits: &Receiver<(Vec<Change>, Then)>,
) {
    let loaded = load(connection, &live.closed);
    if let Err(error) = &loaded
        && !live.closed.load(Ordering::Relaxed)
    {
        tracing::error!(%error, "the search index cannot be made");
    }
    // The snapshot keeps the log from being folded in.
    let _ = connection.execute_batch("COMMIT");
    {
        let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loaded = loaded;
        while let (Ok(index), Ok((changes, _))) = (&mut loaded, commits.try_recv()) {
            index.apply_all(changes.into_iter());
        }
        let _ = live.index.set(loaded.map(RwLock::new));
        *ready = true;
    }
    while let Ok((changes, then)) = commits.recv() {
        live.apply(changes);
        then();
    }
}

fn load(connection: &Connection, closed: &AtomicBool) -> Outcome<Index> {
    let sql = "SELECT seq, node_id, issued, expires, heartbeat, withdrawn, terms
               FROM entities ORDER BY seq";
    let mut statement = connection.prepare(sql).map_err(|e| failed(&e))?;
    let mut found = statement.query([]).map_err(|e| failed(&e))?;
    let mut index = Index::default();
    let mut changes = Vec::new();
    while let Some(row) = found.next().map_err(|e| failed(&e))? {
        if closed.load(Ordering::Relaxed) {
            return Err(damaged("the registry was closed"));
        }
        let read = || -> rusqlite::Result<_> {
            let place = Place {
                seq: row.get(0)?,
                tie: Place::tie(&NodeId(row.get(1)?)),
                issued: rows::wall(row.get(2)?),
                expires: rows::wall(row.get(3)?),
                heartbeat: row.get::<_, Option<i64>>(4)?.map(rows::wall),
                withdrawn: row.get(5)?,
            };
            Ok((place, Terms(row.get(6)?)))
        };
        let (place, new) = read().map_err(|e| failed(&e))?;
        let (seq, old) = (place.seq, Terms::default());
        changes.extend([Change::Row(place), Change::Terms { seq, old, new }]);
        if changes.len() >= 2 * LOAD_MAX {
            index.apply_all(changes.drain(..));
        }
    }
    index.apply_all(changes.into_iter());
    Ok(index)
}

/// Writes the terms of every row anew: the step from the schemas before 3.
pub(super) fn terms_again(transaction: &Transaction<'_>) -> Outcome<()> {
    let verified = Verified::default();
    let sql = "SELECT seq, record, listing FROM entities JOIN contents USING (seq) ORDER BY seq";
    let mut statement = transaction.prepare(sql).map_err(|e| failed(&e))?;
    let mut found = statement.query([]).map_err(|e| failed(&e))?;
    let sql = "UPDATE entities SET indexed = ?2, terms = ?3 WHERE seq = ?1";
    let mut update = transaction.prepare(sql).map_err(|e| failed(&e))?;
    while let Some(row) = found.next().map_err(|e| failed(&e))? {
        let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (seq, record, listing): (i64, Vec<u8>, String) = read().map_err(|e| failed(&e))?;
        let record = verified.read(&record)?;
        let entry = prepare::entry_of(&record, &rows::listing_of(&listing)?);
        let (digest, terms) = entry.map(|entry| (entry.digest, entry.terms.0)).unzip();
        let written = update.execute(params![seq, digest, terms.unwrap_or_default()]);
        written.map_err(|e| failed(&e))?;
    }
    Ok(())
}
