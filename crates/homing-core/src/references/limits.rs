//! Every number that bounds references, with its unit and its reason.

use std::time::Duration;

/// References of one identity.
pub const OWN_MAX: usize = 256;
/// Versions of one reference that its owner lists; the audit log keeps all.
pub const HISTORY_MAX: usize = 256;
/// Keepers of one reference.
pub const KEEPERS_MAX: usize = 16;
/// References of others that are kept alive here.
pub const KEPT_MAX: usize = 1_024;
/// Of these, the ones that one peer has asked for.
pub const KEPT_PER_PEER_MAX: usize = 64;
/// References of others that the local user has resolved: what is newer is remembered for good, so that nobody
/// can bring an older one back. The one resolved longest ago goes first.
pub const RESOLVED_MAX: usize = 4_096;
/// References of others that are remembered only; the one known longest goes first.
pub const KNOWN_MAX: usize = 1_024;
/// Of these, the ones that one peer showed a public node.
pub const SHOWN_PER_PEER_MAX: usize = 64;
/// Of these, the ones that came through one trusted peer.
pub const HEARD_PER_PEER_MAX: usize = 512;
/// References of which one message says that they are held: 32 KiB.
pub const HAVE_MAX: usize = 1_024;
/// References asked for in one message; what is told then fits the budget of a link.
pub const WANT_MAX: usize = 256;
/// News of one reference are passed on at most this often; the newest then.
pub const PASS_WAIT: Duration = Duration::from_secs(5);

/// Shortest life of a record: a clock that is off must not end it at once.
pub const LIFETIME_MIN: Duration = Duration::from_secs(30);
/// Longest life of a record.
pub const LIFETIME_MAX: Duration = homing_base::limits::REFERENCE_LIFETIME_MAX;
/// Readers may keep a record this long without asking, unless the owner says otherwise (IPNS
/// specification: 5 minutes).
pub const TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// A record is signed anew after this share of its life at the latest.
pub const RENEW_SHARE: u32 = 8;
/// An owner that has not signed anew for so many intervals was away.
pub const AWAY_SHARE: u32 = 2;
/// First wait before a record that nobody took is announced again; doubles.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// A record is announced not sooner than this after a start: links and the DHT come first.
pub const START_WAIT: Duration = Duration::from_millis(500);
/// So long after a start, or the first publication, nobody can be expected to hold it yet.
pub const SETTLE_TIME: Duration = Duration::from_secs(60);
/// Fewer replicas than this share of those asked: announced again at half the interval.
pub const REPLICAS_GOOD: f64 = 0.5;

/// Resolutions under way.
pub const RESOLUTIONS_MAX: usize = 256;
/// Peers that one resolution asks directly.
pub const ASKED_MAX: usize = 8;
/// A peer that was asked and has not answered by then does not know.
pub const PEER_PATIENCE: Duration = Duration::from_millis(700);
/// When a peer has answered, the DHT is waited for this long.
pub const DHT_PATIENCE: Duration = Duration::from_secs(2);
/// A public node that asks the DHT for a neighbour answers by then.
pub const ERRAND_PATIENCE: Duration = Duration::from_secs(3);
/// Questions of neighbours that a public node asks the DHT at once.
pub const ERRANDS_MAX: usize = 64;
/// Of these, the ones of one neighbour.
pub const ERRANDS_PER_PEER_MAX: usize = 8;

const _: () = assert!(32 * HAVE_MAX + 16 < homing_base::limits::MESSAGE_BYTES_MAX);
const _: () = assert!(HEARD_PER_PEER_MAX < KNOWN_MAX && WANT_MAX <= HEARD_PER_PEER_MAX);
const _: () = assert!(KEPT_PER_PEER_MAX < KEPT_MAX && SHOWN_PER_PEER_MAX < KNOWN_MAX);
const _: () = assert!(LIFETIME_MIN.as_secs() * 8 < LIFETIME_MAX.as_secs());
