//! What can be done for a registration before its transaction: words, texts, digests. The writer is one
//! thread; this is done by whoever asks it, and for imports by every processor.

use homing_base::Record;

use super::batch::Outcome;
use crate::limits::IMPORT_MAX;
use crate::listing::Listing;
use crate::storage::Registration;
use crate::storage::rows;
use crate::storage::terms::Entry;
use crate::storage::verified::damaged;

/// Registrations that are worth a thread of their own.
const SHARE_MIN: usize = 256;

/// A registration, and what the tables will have of it.
pub(super) struct Prepared {
    pub(super) registration: Registration,
    pub(super) digest: [u8; 32],
    pub(super) name: Option<String>,
    /// As text.
    pub(super) listing: String,
    /// Nothing for a tombstone: it is not searched for.
    pub(super) entry: Option<Entry>,
}

impl Prepared {
    pub(super) fn of(registration: Registration) -> Self {
        let record = &registration.record;
        Self {
            digest: record.digest(),
            name: record.name.as_ref().map(ToString::to_string),
            listing: rows::listing_text(&registration.listing),
            entry: entry_of(record, &registration.listing),
            registration,
        }
    }
}

/// What the index is to have of a record with this listing.
pub(super) fn entry_of(record: &Record, listing: &Listing) -> Option<Entry> {
    let name = record.name.as_ref().map(ToString::to_string);
    (!record.is_withdrawn()).then(|| Entry::of(listing, name.as_deref()))
}

/// The next transaction of an import; empty: that was all.
pub(super) async fn next(
    rest: &mut (impl Iterator<Item = Registration> + Send),
) -> Outcome<Vec<Prepared>> {
    let part: Vec<_> = rest.take(IMPORT_MAX).collect();
    let prepared = tokio::task::spawn_blocking(|| all(part)).await;
    prepared.map_err(|_| damaged("a registration could not be prepared"))
}

fn all(mut registrations: Vec<Registration>) -> Vec<Prepared> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = registrations.len().div_ceil(threads).max(SHARE_MIN);
    let mut shares = Vec::new();
    while registrations.len() > share {
        shares.push(registrations.split_off(registrations.len() - share));
    }
    std::thread::scope(|scope| {
        let each = |share: Vec<Registration>| share.into_iter().map(Prepared::of).collect();
        let others: Vec<_> = shares.into_iter().map(|s| scope.spawn(move || each(s))).collect();
        let mut prepared: Vec<Prepared> = each(registrations);
        for other in others.into_iter().rev() {
            prepared.extend(other.join().expect("preparing does not panic"));
        }
        prepared
    })
}
