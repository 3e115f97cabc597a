//! Token buckets, many and bounded: one per socket address, one per signing key.
//!
//! The table never grows past its bound: when it is full, buckets that are full again (their owners rest) are
//! dropped; if all are in use, newcomers share one bucket. So inventing keys or addresses buys nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;

use homing_base::Mono;

use super::settings::Rate;

/// Buckets of one table.
const BUCKETS_MAX: usize = 65_536;

#[derive(Clone, Copy)]
struct Bucket {
    /// Thousandths of a token.
    millitokens: u64,
    at: Mono,
}

/// A table of buckets.
pub(super) struct Limiter<K> {
    rate: Rate,
    state: Mutex<State<K>>,
}

struct State<K> {
    buckets: HashMap<K, Bucket>,
    overflow: Bucket,
}

impl<K: Hash + Eq> Limiter<K> {
    pub(super) fn new(rate: Rate, now: Mono) -> Self {
        let overflow = Bucket { millitokens: u64::from(rate.burst) * 1_000, at: now };
        Self { rate, state: Mutex::new(State { buckets: HashMap::new(), overflow }) }
    }

    /// Takes `cost` tokens. `Err`: milliseconds until they will be there; nothing was taken.
    pub(super) fn take(&self, key: K, cost: u32, now: Mono) -> Result<(), u64> {
        self.with(key, now, |bucket, rate| bucket.take(cost, rate))
    }

    /// Whether `cost` tokens are there; takes nothing.
    pub(super) fn check(&self, key: K, cost: u32, now: Mono) -> Result<(), u64> {
        self.with(key, now, |bucket, rate| {
            let mut copy = *bucket;
            copy.take(cost, rate)
        })
    }

    fn with<T>(&self, key: K, now: Mono, act: impl FnOnce(&mut Bucket, Rate) -> T) -> T {
        let full = Bucket { millitokens: u64::from(self.rate.burst) * 1_000, at: now };
        let mut state = self.state.lock().expect("no holder panics");
        if state.buckets.len() >= BUCKETS_MAX && !state.buckets.contains_key(&key) {
            let rate = self.rate;
            state.buckets.retain(|_, b| !b.refilled(rate, now).is_full(rate));
        }
        let room = state.buckets.len() < BUCKETS_MAX || state.buckets.contains_key(&key);
        let bucket = match room {
            true => state.buckets.entry(key).or_insert(full),
            false => &mut state.overflow,
        };
        *bucket = bucket.refilled(self.rate, now);
        act(bucket, self.rate)
    }
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Mono) -> Self {
        let elapsed_us = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let gained = elapsed_us.saturating_mul(rate.per_second.into()) / 1_000;
        let full = u64::from(rate.burst) * 1_000;
        let millitokens = self.millitokens.saturating_add(gained).min(full);
        // Time that gained nothing yet is not lost.
        let at = if gained == 0 && millitokens < full { self.at } else { now };
        Self { millitokens, at }
    }

    fn is_full(self, rate: Rate) -> bool {
        self.millitokens >= u64::from(rate.burst) * 1_000
    }

    fn take(&mut self, cost: u32, rate: Rate) -> Result<(), u64> {
        let cost = u64::from(cost.min(rate.burst)) * 1_000;
        match self.millitokens.checked_sub(cost) {
            Some(left) => {
                self.millitokens = left;
                Ok(())
            }
            None => {
                let missing = cost - self.millitokens;
                Err(missing.div_ceil(u64::from(rate.per_second.max(1))))
            }
        }
    }
}

/// What counts as one address: a whole IPv4 address, or the /64 that one IPv6 host usually has.
pub(super) fn one_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::default().after(Duration::from_millis(ms))
    }

    #[test]
    fn a_bucket_empties_says_when_and_fills_again() {
        let limiter = Limiter::new(Rate { per_second: 10, burst: 5 }, at(0));
        for _ in 0..5 {
            assert_eq!(limiter.take("a", 1, at(0)), Ok(()));
        }
        assert_eq!(limiter.take("a", 1, at(0)), Err(100));
        assert_eq!(limiter.take("b", 1, at(0)), Ok(()), "another key has its own");
        assert_eq!(limiter.check("a", 1, at(100)), Ok(()));
        assert_eq!(limiter.take("a", 1, at(100)), Ok(()), "checking took nothing");
        assert_eq!(limiter.take("a", 1, at(150)), Err(50));
        assert_eq!(limiter.take("a", 5, at(10_000)), Ok(()));
        assert!(limiter.take("a", 1, at(10_000)).is_err(), "no more than the burst is saved up");
    }

    #[test]
    fn polling_an_empty_bucket_does_not_keep_it_empty() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 1 }, at(0));
        assert_eq!(limiter.take("a", 1, at(0)), Ok(()));
        for ms in 0..1_000 {
            let us = Mono::default().after(Duration::from_micros(ms * 1_000 + 7));
            let _ = limiter.take("a", 1, us);
        }
        assert_eq!(limiter.take("a", 1, at(1_001)), Ok(()));
    }

    #[test]
    fn invented_keys_share_one_bucket_once_the_table_is_full() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 2 }, at(0));
        for n in 0..BUCKETS_MAX {
            assert_eq!(limiter.take(n, 2, at(0)), Ok(()));
        }
        assert_eq!(limiter.take(BUCKETS_MAX, 2, at(0)), Ok(()), "the shared one");
        assert!(limiter.take(BUCKETS_MAX + 1, 1, at(0)).is_err());
        assert_eq!(limiter.take(BUCKETS_MAX + 2, 1, at(5_000)), Ok(()), "room after a rest");
        assert!(limiter.state.lock().unwrap().buckets.len() <= BUCKETS_MAX);
    }

    #[test]
    fn an_ipv6_host_cannot_roam_its_own_network() {
        let ip = |text: &str| one_address(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:2"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }
}
