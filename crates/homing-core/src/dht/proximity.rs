//! Proximity neighbour selection by random sampling (Rhea et al., USENIX ATC 2004 §4.4).
//!
//! A random spare is pinged; if it answers in under 0.9 of the round trip of a contact of its bucket, it takes
//! that contact's place. Contacts that stayed long are worth more than fast ones (Kademlia §2.2), and
//! whoever sits next to us on the network must not own our table: per bucket and hour at most
//! [`SWAP_SHARE`] of k places change hands this way, those of the youngest contacts first.
//! Siblings keep theirs. Not here: which contact a lookup asks first ([`super::lookup`]).

use std::time::Duration;

use homing_base::{Mono, Now};

use super::Dht;
use super::contact::{Contact, Place};
use super::flight::Purpose;
use super::limits::{SWAP_SHARE, SWAP_WINDOW};
use super::recovery::JOINING;
use super::value::Value;

/// A newcomer must be at least so much faster (Bamboo's `rt_scale`).
const FASTER: f64 = 0.9;

/// Places that changed hands lately: bucket and time, oldest first. Bounded by the quota of each bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct Swaps(Vec<(u8, Mono)>);

impl Swaps {
    /// Whether one more place of `bucket` may change hands.
    fn allows(&mut self, bucket: u8, k: usize, now: Mono) -> bool {
        self.0.retain(|(_, at)| now.since(*at) < SWAP_WINDOW);
        let made = self.0.iter().filter(|(b, _)| *b == bucket).count();
        made < (SWAP_SHARE * k as f64) as usize
    }

    fn note(&mut self, bucket: u8, now: Mono) {
        self.0.push((bucket, now));
    }
}

impl<P: Place, V: Value> Dht<P, V> {
    /// Random sampling: one spare of a full bucket is pinged.
    pub(super) fn sample(&mut self, now: Now) {
        let spares = self.table.spares().len();
        if spares == 0 {
            return;
        }
        let at = self.below(spares);
        let contact = self.table.spares()[at].contact.clone();
        if self.table.has_room_for(&contact) {
            self.queue_verification(&contact);
        } else {
            self.ping(contact, Purpose::Sample, now);
        }
    }

    /// A spare answered in `rtt`: it may take the place of a slower contact.
    pub(super) fn consider_faster(&mut self, spare: &Contact<P>, rtt: Duration, now: Now) {
        let bucket = u8::try_from(self.table.bucket_of(&spare.id)).expect("below 256");
        if !self.swaps.allows(bucket, self.config.k, now.mono) {
            return;
        }
        let settled = self.intervals().stale.min(JOINING);
        let range = self.table.bucket(usize::from(bucket));
        let slowest = self.table.entries()[range.clone()]
            .iter()
            .zip(range)
            .filter(|(e, at)| *at >= self.config.k && now.mono.since(e.since) > settled)
            .filter_map(|(e, _)| e.rtt.smoothed().map(|slow| (slow, e)))
            .filter(|(slow, _)| rtt < slow.mul_f64(FASTER))
            .map(|(slow, e)| (now.mono.since(e.since) < SWAP_WINDOW, slow, e.contact.id))
            .max();
        if let Some((_, _, id)) = slowest {
            self.table.replace(&id, spare, now.mono);
            self.swaps.note(bucket, now.mono);
            self.stats.replaced += 1;
        }
    }
}
