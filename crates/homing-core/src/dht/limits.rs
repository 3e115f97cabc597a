//! Every number that bounds the DHT, with its unit, its reason and where it comes from.

use std::time::Duration;

use crate::cluster::Bounds;

/// Replicas, bucket size, and width of a lookup: `k` of Kademlia (IPTPS 2002 §2.3).
pub const K: usize = 20;
/// The widest `k` that may be configured: leafset listings, answers and lookups are sized for it.
pub const K_MAX: usize = 40;
/// Requests in flight per lookup: `alpha` of Kademlia.
pub const ALPHA: usize = 3;
/// Requests in flight once a lookup stopped getting closer: only the k closest are left to ask.
pub const ALPHA_LAST: usize = 10;
/// Disjoint paths of one lookup (S/Kademlia, ICPADS 2007 §4.4 uses 4–8).
pub const PATHS_MAX: usize = 8;

/// Closest candidates that must answer on each of several paths.
pub const PATH_WIDTH: usize = 8;

/// Failures in a row after which a contact is evicted at the next tick.
pub const FAILURES_TO_EVICT: u8 = 2;
/// Hearsay of one IP neighbourhood that waits to be pinged or is being pinged: who names a victim's
/// address over and over makes us send it no more than this at a time.
pub const GROUP_PER_QUEUE: usize = 2;
/// Spares (hearsay) kept per bucket.
pub const SPARES_PER_BUCKET: usize = 8;
/// Spares kept in all.
pub const SPARES_MAX: usize = 64;
/// Contacts of one IPv4 /24 or IPv6 /48 in one bucket.
pub const GROUP_PER_BUCKET: usize = 2;
/// … in the whole table.
pub const GROUP_PER_TABLE: usize = 10;
/// … among the candidates of one lookup.
pub const GROUP_PER_LOOKUP: usize = 3;

/// Candidates that one path of a lookup keeps (at least 3 k); those behind are forgotten.
pub const CANDIDATES_MAX: usize = 64;
/// Candidates kept per further path.
pub const CANDIDATES_PER_PATH: usize = 20;
/// Lookups under way; a command beyond is refused.
pub const LOOKUPS_MAX: usize = 256;
/// Requests under way; beyond, no new one is sent.
pub const FLIGHTS_MAX: usize = 512;
/// Verification pings waiting.
pub const VERIFY_QUEUE_MAX: usize = 64;
/// Contacts in one answer; see also [`contact_bytes_max`].
pub const CONTACTS_PER_ANSWER_MAX: usize = K_MAX;
/// Values in one answer.
pub const VALUES_PER_ANSWER_MAX: usize = 8;
/// Digests in one offer.
pub const OFFER_MAX: usize = 64;
/// Siblings told in full in one exchange.
pub const FRESH_MAX: usize = 4;
/// Siblings listed by prefix in one exchange: a whole cluster, if there is one.
pub const KNOWN_MAX: usize = Bounds::MAX as usize;
/// Nodes that one region query asks or stores at.
pub const REGION_NODES_MAX: usize = 160;
/// Subtrees that one region query searches.
pub const REGION_LEVELS_MAX: usize = 8;
/// A lookup that takes longer is ended with what it has.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);
/// Contacts handed out for persisting.
pub const PERSIST_MAX: usize = 64;
/// How often they are handed out.
pub const PERSIST_INTERVAL: Duration = Duration::from_secs(600);

/// Evicted contacts that are remembered, should they come back after a partition (Bamboo: 20).
pub const LOST_MAX: usize = 20;
/// How often one of them is called.
pub const REUNITE_INTERVAL: Duration = Duration::from_secs(30);
/// Who names so many near us whom we do not know comes from another network, or from the other half of
/// ours. Fewer are hearsay: a birth beside another one.
pub const REUNITE_STRANGERS: usize = 3;

/// RTO bounds (RFC 6298 with a floor fit for a LAN and a ceiling fit for people).
pub const RTO_MIN: Duration = Duration::from_millis(100);
/// See [`RTO_MIN`].
pub const RTO_MAX: Duration = Duration::from_secs(5);
/// RTO of a contact never measured while nothing at all was measured yet.
pub const RTO_UNKNOWN: Duration = Duration::from_millis(1_000);

/// A request that waits for a connection frees its place after this long.
pub const DIAL_ALLOWANCE: Duration = Duration::from_millis(1_000);

/// Values held for others, in records.
pub const VALUES_MAX: usize = 65_536;
/// Values held for others, in bytes.
pub const VALUE_BYTES_MAX: usize = 32 << 20;
/// Values that one storing peer may occupy, in records.
pub const VALUES_PER_PEER_MAX: usize = 8_192;
/// Values that one storing peer may occupy, in bytes.
pub const VALUE_BYTES_PER_PEER_MAX: usize = 4 << 20;
/// Claims kept per name. Whoever came first stays; further claimants wait until one has expired.
pub const CLAIMS_PER_NAME_MAX: usize = 8;
/// Storing peers whose usage is counted one by one; further ones share one account.
pub const STORERS_MAX: usize = 4_096;
/// Life of a copy cached on a lookup's path when it lies just outside the replica set.
pub const CACHE_LIFE_MAX: Duration = Duration::from_secs(3_600);
/// A copy that would live shorter is not worth keeping.
pub const CACHE_LIFE_MIN: Duration = Duration::from_secs(10);

/// Questions per second and burst of one peer.
pub const QUESTIONS_PER_SECOND: f32 = 50.0;
/// See [`QUESTIONS_PER_SECOND`].
pub const QUESTIONS_BURST: f32 = 200.0;
/// Stores per second and burst of one peer: a sibling hands a newcomer all its values at once.
pub const STORES_PER_SECOND: f32 = 5.0;
/// See [`STORES_PER_SECOND`].
pub const STORES_BURST: f32 = 64.0;
/// Signature checks per second of this node, whoever asks (one core does some 25,000).
pub const VERIFIES_PER_SECOND: f32 = 2_000.0;
/// See [`VERIFIES_PER_SECOND`].
pub const VERIFIES_BURST: f32 = 4_000.0;
/// Peers whose rate is tracked one by one; a power of two.
pub const RATED_PEERS: usize = 64;

/// A FindNode answer for k ≤ 20: 20 contacts with identity, instance and IPv6 address take 1,770; contacts
/// that have only a relay take more, and the farthest are left out.
pub const NODES_ANSWER_BYTES_MAX: usize = 2_200;
/// What an answer has around its contacts: request number, role, body and list heads.
const ANSWER_HEAD_BYTES: usize = 16;

/// Bytes that the contacts of one answer may take; grows with k beyond 20.
#[must_use]
pub const fn contact_bytes_max(k: usize) -> usize {
    let wide = if k > K { k } else { K };
    NODES_ANSWER_BYTES_MAX * wide / K - ANSWER_HEAD_BYTES
}

/// Share of a bucket that faster contacts may take over within [`SWAP_WINDOW`].
pub const SWAP_SHARE: f64 = 0.3;
/// See [`SWAP_SHARE`].
pub const SWAP_WINDOW: Duration = Duration::from_secs(3_600);

const _: () = assert!(ALPHA <= ALPHA_LAST && ALPHA_LAST <= K);
const _: () = assert!(CANDIDATES_MAX >= 3 * K && K <= K_MAX);
const _: () = assert!(contact_bytes_max(K_MAX) < homing_base::limits::MESSAGE_BYTES_MAX / 2);
const _: () = assert!(RATED_PEERS.is_power_of_two());
const _: () = assert!(CLAIMS_PER_NAME_MAX <= VALUES_PER_ANSWER_MAX);
