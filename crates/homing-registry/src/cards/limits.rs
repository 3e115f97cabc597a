//! Every number that bounds cards and their fetching, with its unit and its reason.

use std::time::Duration;

pub use crate::limits::CARD_BYTES_MAX;

/// Nesting of a card. OAuth flows inside security schemes are 6 deep, pricing a few more.
pub const CARD_DEPTH_MAX: usize = 24;
/// JSON values in one card, counted at every depth. A full card has a few hundred.
pub const CARD_VALUES_MAX: usize = 20_000;
/// Signatures of one card that are looked at; key rotation needs two.
pub const SIGNATURES_MAX: usize = 8;
/// A protected header, in base64url characters.
pub const PROTECTED_CHARS_MAX: usize = 4_096;
/// Keys of one JWK set that are looked at.
pub const JWKS_KEYS_MAX: usize = 32;
/// Interfaces of one card that are looked at.
pub const INTERFACES_MAX: usize = 16;
/// Problems of each severity that one lint reports.
pub const PROBLEMS_MAX: usize = 100;

/// A URL that is fetched, redirect targets included.
pub const URL_BYTES_MAX: usize = 2_048;
/// Redirects that are followed.
pub const REDIRECTS_MAX: usize = 3;
/// Addresses of one host that are checked; more make the name suspicious, it is refused.
pub const ADDRESSES_MAX: usize = 32;
/// Addresses of one host that are tried.
pub const ADDRESSES_TRIED_MAX: usize = 4;
/// The head of an answer: status line and headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Headers of an answer.
pub const HEADERS_MAX: usize = 64;
/// Bytes of an ETag or date that are kept to revalidate with.
pub const VALIDATOR_BYTES_MAX: usize = 256;

/// Names, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the end of the answer's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// One fetch with all its redirects.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Fetches under way at once.
pub const FLIGHTS_MAX: usize = 64;
/// Fetches under way at once to one host: a registry is no tool to flood anybody with.
pub const FLIGHTS_PER_HOST_MAX: usize = 8;
/// Entries of the cache, failures included.
pub const CACHE_ENTRIES_MAX: usize = 4_096;
/// Bytes of cards in the cache.
pub const CACHE_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// An answer is fresh for at least this long, whatever it says: protects its origin.
pub const FRESH_MIN: Duration = Duration::from_secs(10);
/// An answer is fresh for at most this long, whatever it says.
pub const FRESH_MAX: Duration = Duration::from_secs(24 * 3_600);
/// An answer that says nothing is fresh for this long (A2A §8.6.2 leaves it to us).
pub const FRESH_DEFAULT: Duration = Duration::from_secs(300);
/// A stale answer is served for this long while a fresh one is fetched (RFC 5861 §3).
pub const STALE_MAX: Duration = Duration::from_secs(3_600);
/// A failure is remembered for this long.
pub const FAILURE_LIFE: Duration = Duration::from_secs(30);

const _: () = assert!(CARD_BYTES_MAX < CACHE_BYTES_MAX / FLIGHTS_MAX);
const _: () = assert!(FLIGHTS_PER_HOST_MAX < FLIGHTS_MAX);
const _: () = assert!(CONNECT_TIMEOUT.as_secs() + HEAD_TIMEOUT.as_secs() < FETCH_TIMEOUT.as_secs());
const _: () = assert!(FRESH_MIN.as_secs() < FRESH_DEFAULT.as_secs());
const _: () = assert!(FRESH_DEFAULT.as_secs() < FRESH_MAX.as_secs());
