//! Every number that bounds the core, with its unit and its reason. The formats' bounds are in
//! [`homing_base::limits`].

use std::time::Duration;

/// Transport links of one agent. A relay node has most of them.
pub const LINKS_MAX: usize = 1_024;
/// Inbound links that have not said who they are; the next one is told `Overload`.
pub const LINKS_UNPROVEN_MAX: usize = 64;
/// Links with one peer: two doors, both directions.
pub const LINKS_PER_PEER_MAX: usize = 4;
/// Links of peers without any relation to a private node.
pub const LINKS_STRANGERS_MAX: usize = 256;
/// A link must have proven itself after this long.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters that are kept of the program version which a peer tells.
pub const SOFTWARE_CHARS_MAX: usize = 64;
/// Silence after which a link is probed.
pub const SILENCE_PROBE: Duration = Duration::from_millis(800);
/// From the probe to giving the link up: 2 s of silence in all.
pub const SILENCE_GRACE: Duration = Duration::from_millis(1_200);
/// How long a link may leave a probe unanswered after our own network changed, until another is dialled beside it: a change
/// must cost less than a second. Three round trips of the link, where that is more.
pub const TRIAL: Duration = Duration::from_millis(250);
/// The longest that three round trips may make of it: a link too many costs less than a silence.
pub const TRIAL_MAX: Duration = Duration::from_secs(1);
/// Links that came up within so long were dialled from both sides at once.
pub const CROSSING: Duration = Duration::from_secs(2);
/// Silence of either of two links that makes both worth keeping for a while: shorter than [`TRIAL`],
/// since who dials beside a link has heard nothing over it for so long.
pub const SILENCE_DOUBT: Duration = Duration::from_millis(200);
/// Liveness probes of one agent per second, whatever the number of links.
pub const PROBES_PER_SECOND_MAX: u64 = 64;
/// A wakeup later than this means that we slept, not that the peers did.
pub const LATE_MAX: Duration = Duration::from_millis(500);
/// A link that we dialled and nobody needs is closed after this long.
pub const LINK_IDLE: Duration = Duration::from_secs(10);
/// A link that lasted this long after its proof was a good one: redial without backing off.
pub const LINK_STABLE: Duration = Duration::from_secs(3);
/// Messages that cannot be read, on one proven link, before it is closed.
pub const GARBAGE_MAX: u32 = 16;

/// Messages of one link per second, sustained.
pub const MESSAGES_PER_SECOND: u64 = 100;
/// Messages of one link at once.
pub const MESSAGES_BURST: u64 = 400;
/// Statements of one link without mutual trust, per minute, sustained.
pub const STATEMENTS_PER_MINUTE: u64 = 12;
/// Statements of one link without mutual trust, at once.
pub const STATEMENTS_BURST: u64 = 8;

/// Dials in flight.
pub const DIALS_MAX: usize = 64;
/// First wait after a failed attempt; doubles.
pub const REDIAL_FIRST: Duration = Duration::from_millis(200);
/// Longest wait between attempts.
pub const REDIAL_MAX: Duration = Duration::from_secs(30);
/// A dial that hangs longer no longer holds back the next attempt.
pub const DIAL_STALE: Duration = Duration::from_secs(3);
/// The side that does not open the main-door link first gives the other this long.
pub const MAIN_PATIENCE: Duration = Duration::from_millis(1_500);
/// Peers that are kept connected because trust is mutual.
pub const TRUSTED_CONNECTED_MAX: usize = 256;
/// Peers to join through, relays included.
pub const SEEDS_MAX: usize = 64;
/// An undelivered statement is not a reason to dial for longer than this.
pub const DELIVERY_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// First wait before an unconfirmed statement is repeated on a live link; doubles.
pub const TRUST_REPEAT_FIRST: Duration = Duration::from_secs(2);
/// Endpoints of a replaced instance may finish their streams this long.
pub const DRAIN: Duration = Duration::from_secs(60);

/// Records of peers without a relation that a private node holds, in memory only.
pub const RECORDS_CACHED_MAX: usize = 1_024;
/// Records that a private node holds in all.
pub const RECORDS_PRIVATE_MAX: usize = 4_096;
/// Records that a public node holds: oldest issue is dropped first.
pub const RECORDS_PUBLIC_MAX: usize = 65_536;
/// Expired records are dropped this often.
pub const RECORDS_SWEEP: Duration = Duration::from_secs(3_600);
/// Keys that one link may watch, and that we ask one neighbour to watch.
pub const WATCHES_MAX: usize = 1_024;
/// Records in one answer.
pub const ANSWER_RECORDS_MAX: usize = 8;
/// Content changes are published at most this often.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// How far our clock may jump back before the own record is signed anew.
pub const CLOCK_BACK_MAX: Duration = Duration::from_secs(60);
/// A higher sequence of this identity met this early in a run is an older run's.
pub const ADOPT_WINDOW: Duration = Duration::from_secs(15);
/// How often a run may outbid a higher sequence of its own identity.
pub const ADOPTIONS_MAX: u8 = 2;
/// Clock complaints are shown at most this often.
pub const CLOCK_EVENT_INTERVAL: Duration = Duration::from_secs(60);

/// Requests that wait for the user; the newest is refused.
pub const PENDING_MAX: usize = 256;
/// Beyond this, a sequence is nobody's honest count of milliseconds (year 287 396).
pub const SEQUENCE_MAX: u64 = 1 << 53;
/// How long an agent without a stored record asks neighbours for its own newest one before it
/// takes its grants back from peers.
pub const RESTORE_PATIENCE: Duration = Duration::from_secs(1);
/// How long after such a start, before the first relay answers, a command waits for a peer that has
/// said neither yes nor no: a trusted one tells its word, and ours, once it has noticed the return.
pub const RECALL_PATIENCE: Duration = Duration::from_secs(2);
/// Expiry is looked at again at least this often: wall clocks jump.
pub const EXPIRY_RECHECK: Duration = Duration::from_secs(60);

/// Aliases of one user.
pub const ALIASES_MAX: usize = 4_096;
/// A node ID prefix that may stand for a peer, in hex digits.
pub const PREFIX_DIGITS_MIN: usize = 8;

/// DHT messages of one link per second, sustained: beside [`MESSAGES_PER_SECOND`], so that neither
/// takes the other's.
pub const DHT_MESSAGES_PER_SECOND: u64 = 100;
/// DHT messages of one link at once.
pub const DHT_MESSAGES_BURST: u64 = 400;
/// Gossip messages of one link per second, sustained, beside the others.
pub const GOSSIP_MESSAGES_PER_SECOND: u64 = 64;
/// Gossip messages of one link at once.
pub const GOSSIP_MESSAGES_BURST: u64 = 512;
/// Mesh messages that carry messages between agents, of one link per second, sustained, beside the others.
pub const MAIL_PER_SECOND: u64 = 64;
/// The same at once.
pub const MAIL_BURST: u64 = 256;
/// Mesh messages about references of one link per second, sustained: each costs up to two signature checks.
pub const REFERENCES_PER_SECOND: u64 = 16;
/// The same at once: as many as one agent may have, and what it keeps.
pub const REFERENCES_BURST: u64 = 512;
/// Links that we dialled for the DHT only; the one that was used longest ago makes room.
pub const DHT_LINKS_MAX: usize = 64;
/// Links that others dialled for the DHT only; the one heard longest ago makes room.
pub const DHT_LINKS_INBOUND_MAX: usize = 256;
/// A link for the DHT only is closed by its dialler after so much silence, by the other side after twice
/// as much.
pub const DHT_LINK_IDLE: Duration = Duration::from_secs(30);
/// Silence after a request that means that such a link is dead.
pub const DHT_LINK_SILENCE: Duration = Duration::from_secs(3);
/// Peers that the DHT dials at once, and whose dial is younger than [`DHT_DIAL_PATIENCE`].
pub const DHT_DIALS_MAX: usize = 24;
/// Dials for the DHT that have not ended yet, given up or not.
pub const DHT_DIALS_OPEN_MAX: usize = 96;
/// Peers that wait to be dialled for the DHT, dialled ones included.
pub const DHT_CALLS_MAX: usize = 96;
/// What is queued for a peer that is being dialled for the DHT is given up after this long.
pub const DHT_DIAL_PATIENCE: Duration = Duration::from_millis(2_500);
/// Messages queued for one peer that is being dialled.
pub const DHT_QUEUE_MAX: usize = 8;
/// An instance that could not be reached is not dialled again for the DHT so soon.
pub const DHT_UNREACHABLE: Duration = Duration::from_secs(15);
/// Instances whose unreachability is remembered.
pub const DHT_UNREACHABLE_MAX: usize = 256;
/// DHT contacts that are stored for the next start.
pub const DHT_CONTACTS_MAX: usize = 64;
/// Newcomers gathered until they are asked where they come from.
pub const DHT_NEWCOMERS_MAX: usize = 8;
/// First wait before the network is looked for again while nobody is known; doubles.
pub const DHT_REJOIN_FIRST: Duration = Duration::from_secs(2);
/// Longest such wait.
pub const DHT_REJOIN_MAX: Duration = Duration::from_secs(60);
/// Least time between two such rounds: two networks must become one within a minute, hop by hop.
pub const DHT_NEWCOMERS_INTERVAL: Duration = Duration::from_secs(4);
/// The own record is stored in the DHT at most this often when it changes.
pub const DHT_PUT_INTERVAL: Duration = Duration::from_secs(10);
/// A role is given up only when it has not fitted for this long.
pub const DHT_ROLE_PATIENCE: Duration = Duration::from_secs(60);
/// Lookups in the DHT that a public node makes for others at once.
pub const DHT_ERRANDS_MAX: usize = 64;
/// Neighbours that are asked to look for us.
pub const DHT_ERRANDS_ASKED: usize = 2;
/// A public node stores the record of one of its guests so often.
pub const DHT_GUEST_INTERVAL: Duration = Duration::from_millis(200);
/// A lookup in the DHT that has found nothing by then has not found it.
pub const LOOKUP_DHT_TIMEOUT: Duration = Duration::from_secs(4);
/// A miss in the DHT holds for so long, when only the agent itself asks again.
pub const DHT_MISS_MEMORY: Duration = Duration::from_secs(60);

/// Lookups in flight.
pub const LOOKUPS_MAX: usize = 256;
/// Neighbours that one lookup asks.
pub const LOOKUP_NEIGHBOURS_MAX: usize = 16;
/// A neighbour that has not answered by then does not know.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_millis(700);
/// The same while no neighbour is connected yet but some are being dialled.
pub const LOOKUP_TIMEOUT_JOINING: Duration = Duration::from_millis(1_500);
/// How long a miss is remembered.
pub const MISS_MEMORY: Duration = Duration::from_secs(2);
/// Misses remembered.
pub const MISSES_MAX: usize = 1_024;
/// Commands in progress.
pub const COMMANDS_MAX: usize = 1_024;
/// An unanswered user ping is repeated this often.
pub const ECHO_REPEAT: Duration = Duration::from_millis(500);
/// After a refusal that contradicts what we hold, trust may still be on its way.
pub const ECHO_AFTER_REFUSAL: Duration = Duration::from_millis(150);
/// So often is a refusal doubted.
pub const ECHO_REFUSALS_MAX: u32 = 6;

const _: () = assert!(LINKS_UNPROVEN_MAX < LINKS_MAX && LINKS_STRANGERS_MAX < LINKS_MAX);
const _: () = assert!(SILENCE_DOUBT.as_millis() < TRIAL.as_millis());
const _: () = assert!(RECORDS_CACHED_MAX < RECORDS_PRIVATE_MAX);
const _: () = assert!(DHT_LINKS_MAX + DHT_LINKS_INBOUND_MAX + LINKS_STRANGERS_MAX < LINKS_MAX);
const _: () = assert!(DHT_DIALS_MAX <= DHT_CALLS_MAX && DHT_DIALS_MAX <= DHT_DIALS_OPEN_MAX);
const _: () = assert!(LOOKUP_TIMEOUT.as_millis() < LOOKUP_TIMEOUT_JOINING.as_millis());
const _: () = assert!(WATCHES_MAX * 34 + 64 < homing_base::limits::MESSAGE_BYTES_MAX);
const _: () = assert!(WATCHES_MAX + 8 < homing_base::limits::CBOR_ITEMS_MAX);
