//! What was fetched lately, failures too: bounded in entries and bytes, the least recently used goes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FetchError, Fetched, Outcome};
use crate::cards::limits::{CACHE_ENTRIES_MAX, FAILURE_LIFE};
use crate::cards::wire::Validators;

/// One document.
#[derive(Debug)]
pub(super) struct Entry {
    /// The URL that finally gave it.
    pub(super) url: String,
    pub(super) bytes: Arc<[u8]>,
    pub(super) sha256: [u8; 32],
    pub(super) validators: Validators,
    /// Fetched, or found unchanged.
    pub(super) fetched: Instant,
    /// Fresh for this long after.
    pub(super) life: Duration,
}

impl Entry {
    pub(super) fn fetched(&self) -> Fetched {
        let age = self.fetched.elapsed();
        Fetched { bytes: self.bytes.clone(), sha256: self.sha256, age }
    }

    /// Found unchanged.
    pub(super) fn renewed(&self, life: Duration, now: Instant) -> Self {
        Self {
            url: self.url.clone(),
            bytes: self.bytes.clone(),
            sha256: self.sha256,
            validators: self.validators.clone(),
            fetched: now,
            life,
        }
    }

    /// Stale for less than this.
    pub(super) fn is_within(&self, stale_max: Duration) -> bool {
        self.fetched.elapsed() < self.life + stale_max
    }
}

/// What the cache says.
pub(super) enum Found {
    Fresh(Arc<Entry>),
    Stale {
        entry: Arc<Entry>,
        /// What became of the newest attempt to renew it.
        failure: Option<FetchError>,
    },
    Failed(FetchError),
}

struct Slot {
    used: u64,
    copy: Option<Arc<Entry>>,
    failure: Option<(FetchError, Instant)>,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.copy.as_ref().map_or(0, |entry| entry.bytes.len())
    }
}

/// By URL.
pub(super) struct Cache {
    slots: HashMap<String, Slot>,
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { slots: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// What is known about a URL. A failure hides no copy that is still fresh.
    pub(super) fn find(&mut self, key: &str, now: Instant) -> Option<Found> {
        self.touch(key);
        let slot = self.slots.get(key)?;
        let failure = slot.failure.as_ref().filter(|(_, until)| now < *until);
        match (&slot.copy, failure) {
            (Some(entry), _) if now < entry.fetched + entry.life => {
                Some(Found::Fresh(entry.clone()))
            }
            (Some(entry), failure) => Some(Found::Stale {
                entry: entry.clone(),
                failure: failure.map(|(error, _)| error.clone()),
            }),
            (None, Some((error, _))) => Some(Found::Failed(error.clone())),
            (None, None) => None,
        }
    }

    /// The copy to revalidate, however old.
    pub(super) fn copy(&self, key: &str) -> Option<Arc<Entry>> {
        self.slots.get(key)?.copy.clone()
    }

    /// Keeps an outcome. A failure leaves an older copy in place: better stale than nothing.
    pub(super) fn keep(&mut self, key: &str, outcome: &Outcome, now: Instant) {
        let mut slot = self.remove(key).unwrap_or(Slot { used: 0, copy: None, failure: None });
        match outcome {
            Ok(entry) => (slot.copy, slot.failure) = (Some(entry.clone()), None),
            Err(error) => slot.failure = Some((error.clone(), now + FAILURE_LIFE)),
        }
        self.uses += 1;
        slot.used = self.uses;
        self.bytes += slot.bytes();
        self.by_use.insert(slot.used, key.to_owned());
        self.slots.insert(key.to_owned(), slot);
        while self.bytes > self.bytes_max || self.slots.len() > CACHE_ENTRIES_MAX {
            let Some(oldest) = self.by_use.values().next().cloned() else { break };
            self.remove(&oldest);
        }
    }

    fn touch(&mut self, key: &str) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        self.by_use.remove(&slot.used);
        self.uses += 1;
        slot.used = self.uses;
        self.by_use.insert(slot.used, key.to_owned());
    }

    fn remove(&mut self, key: &str) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.by_use.remove(&slot.used);
        self.bytes -= slot.bytes();
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize) -> Outcome {
        Ok(Arc::new(Entry {
            url: String::new(),
            bytes: vec![0; len].into(),
            sha256: [0; 32],
            validators: Validators::default(),
            fetched: Instant::now(),
            life: Duration::from_secs(60),
        }))
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let now = Instant::now();
        let mut cache = Cache::new(100);
        cache.keep("a", &entry(40), now);
        cache.keep("b", &entry(40), now);
        assert!(cache.find("a", now).is_some());
        cache.keep("c", &entry(40), now);
        assert!(cache.find("b", now).is_none());
        assert!(cache.find("a", now).is_some() && cache.find("c", now).is_some());
        cache.keep("a", &entry(10), now);
        assert_eq!(cache.bytes, 50);
        cache.keep("huge", &entry(101), now);
        assert_eq!((cache.slots.len(), cache.bytes, cache.by_use.len()), (0, 0, 0));
    }

    #[test]
    fn failures_are_bounded_and_end() {
        let now = Instant::now();
        let mut cache = Cache::new(100);
        for i in 0..CACHE_ENTRIES_MAX + 10 {
            cache.keep(&i.to_string(), &Err(FetchError::Busy), now);
        }
        assert_eq!(cache.slots.len(), CACHE_ENTRIES_MAX);
        let last = (CACHE_ENTRIES_MAX + 9).to_string();
        assert!(matches!(cache.find(&last, now), Some(Found::Failed(FetchError::Busy))));
        assert!(cache.find(&last, now + FAILURE_LIFE).is_none());
    }

    #[test]
    fn a_failure_leaves_the_copy_in_place() {
        let now = Instant::now();
        let mut cache = Cache::new(100);
        assert!(cache.find("a", now).is_none());
        cache.keep("a", &entry(40), now);
        cache.keep("a", &Err(FetchError::Redirects), now);
        let later = now + Duration::from_secs(61);
        assert!(matches!(cache.find("a", now), Some(Found::Fresh(_))));
        let in_a_minute = cache.find("a", later);
        assert!(matches!(in_a_minute, Some(Found::Stale { failure: None, .. })));
    }
}
