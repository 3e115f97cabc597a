//! Every number that bounds gossip, with its unit, its reason and where it comes from.

use std::time::Duration;

use homing_base::limits::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RECORDS_PER_MESSAGE_MAX};

/// Entries of a private node's table.
pub const ENTRIES_PRIVATE_MAX: usize = 2_048;
/// Signed bytes of a private node's table.
pub const ENTRY_BYTES_PRIVATE_MAX: usize = 1 << 20;
/// Entries of a public node's table.
pub const ENTRIES_PUBLIC_MAX: usize = 131_072;
/// Signed bytes of a public node's table.
pub const ENTRY_BYTES_PUBLIC_MAX: usize = 64 << 20;
/// Sequences remembered of records that ended earlier than an older one of the same identity would.
pub const FLOORS_MAX: usize = 16_384;
/// Records passed on but not kept, remembered for a while, so that they go round only once.
pub const PASSING_MAX: usize = 512;
/// Deepest horizon: bits that a kept ID shares with ours.
pub const DEPTH_MAX: u8 = 40;
/// The horizon recedes when the table is filled by less than one part in this.
pub const RECEDE_PART: usize = 3;
/// … and at most this often.
pub const RECEDE_INTERVAL: Duration = Duration::from_secs(600);
/// Under pressure, what has less life left goes first: agents sign anew at half of 24 h, so only the
/// silent are older.
pub const AGED_LIFE_MIN: Duration = Duration::from_secs(11 * 3_600);
/// Without pressure, what has less life left is not worth reconciling; covers honest clocks.
pub const LIFE_MIN: Duration = Duration::from_secs(60);

/// Peers that gossip with us.
pub const PEERS_MAX: usize = 256;
/// Entries announced in one `Have`, or listed in one `Ranges`.
pub const ITEMS_MAX: usize = 1_024;
/// Entries offered because of one `Ranges`; more are found by the next reconciliation.
pub const OFFERS_MAX: usize = 2_048;
/// Entries asked for in one `Want`.
pub const WANT_MAX: usize = 256;
/// Announcements waiting for one peer.
pub const HAVE_QUEUE_MAX: usize = 8_192;
/// Records that one peer still waits for.
pub const SERVE_QUEUE_MAX: usize = 4_096;
/// Records wanted, of all peers.
pub const WANTED_MAX: usize = 16_384;
/// Records asked of one peer and not yet arrived.
pub const WINDOW: usize = 192;
/// Peers remembered per wanted record.
pub const SOURCES_MAX: usize = 4;
/// So often is a record asked for; reconciliation finds it again.
pub const TRIES_MAX: u8 = 4;

/// Ranges in one message.
pub const RANGES_MAX: usize = 64;
/// A range that differs is split into so many.
pub const BRANCHES: usize = 16;
/// A range with so few entries is listed instead of split.
pub const LEAF: usize = 32;

/// Reconciliation while nothing changes, ± 25 %.
pub const ROUND: Duration = Duration::from_secs(30);
/// Reconciliation while differences are being found.
pub const ROUND_RESTLESS: Duration = Duration::from_secs(5);
/// A node is restless for so long after a difference.
pub const RESTLESS: Duration = Duration::from_secs(20);
/// The larger ID of a new link leaves the first reconciliation to the smaller one for so long.
pub const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// A pull of so many records from one peer is followed by another reconciliation at once.
pub const BULK_MIN: usize = 256;

/// Announcements to lazy links are collected for so long (`lazyPush` of Plumtree, SRDS 2007 §3.4).
pub const HAVE_DELAY: Duration = Duration::from_millis(200);
/// A record is announced to one peer so often, unless the peer shows that it has it.
pub const HAVES_MAX: u8 = 4;
/// What a peer has not acknowledged is repeated after so long while nothing was measured; each repetition
/// waits twice as long.
pub const RETURN_UNKNOWN: Duration = Duration::from_millis(500);
/// … at the earliest: an acknowledgement is collected for [`HAVE_DELAY`] and travels.
pub const RETURN_MIN: Duration = Duration::from_millis(300);
/// … at the latest.
pub const RETURN_MAX: Duration = Duration::from_secs(4);
/// One repeated record in so many makes its link lazy: at 17 records a second among 1,000 nodes eight
/// times fewer links are asked to push again than when each does.
pub const PRUNE_PART: u32 = 8;
/// A pruned link may still bring pushes that were under way for so long.
pub const PRUNE_SETTLES: Duration = Duration::from_secs(1);
/// A reconciliation that nobody answers is begun anew so often, then left to the next round.
pub const BEGINS_MAX: u8 = 4;
/// Over a link that is up for so long, what another link reconciled is pushed: its peer lacks it, too.
/// Over a younger one its own first reconciliation tells who lacks what.
pub const SETTLED: Duration = Duration::from_secs(10);
/// What was heard later than this, and after the link came up, is on its way along the tree: a difference in
/// it is none.
pub const UNDER_WAY: Duration = Duration::from_secs(5);
/// An announced record may still arrive by itself for so long (Plumtree §3.4, first timeout).
pub const GRAFT_DELAY: Duration = Duration::from_millis(500);
/// A record asked for is asked of somebody else after so long.
pub const WANT_TIMEOUT: Duration = Duration::from_secs(1);
/// Work that waits for a budget is looked at this often.
pub const BUDGET_TICK: Duration = Duration::from_millis(250);
/// Expired entries are dropped this often; they are not served in between.
pub const SWEEP: Duration = Duration::from_secs(60);

/// A refilling allowance: units per second and in reserve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Units per second.
    pub per_second: f32,
    /// Units in reserve after a rest.
    pub burst: f32,
}

const fn rate(per_second: f32, burst: f32) -> Rate {
    Rate { per_second, burst }
}

/// Bytes sent to one peer: three thousand records at once, then four hundred a second.
pub const BYTES_OUT: Rate = rate(131_072.0, 1_048_576.0);
/// Bytes taken from one peer; an honest one stays below by its own [`BYTES_OUT`].
pub const BYTES_IN: Rate = rate(262_144.0, 2_097_152.0);
/// Messages taken from one peer.
pub const MESSAGES_IN: Rate = rate(64.0, 512.0);
/// Records pushed to one peer; beyond, they are announced.
pub const PUSHES_OUT: Rate = rate(20.0, 300.0);
/// Records taken from one peer that we did not ask for.
pub const PUSHES_IN: Rate = rate(30.0, 450.0);
/// `Ranges` messages taken from one peer: each costs one walk over the table.
pub const RANGES_IN: Rate = rate(8.0, 64.0);
/// New identities taken from one peer: so fast can a peer fill a table with keys it made up.
pub const NEWCOMERS_IN: Rate = rate(10.0, 20_000.0);
/// Signature checks of this node, whoever asks (one core does some 25,000 a second).
pub const VERIFIES: Rate = rate(2_000.0, 8_192.0);

/// Forged records after which a peer is not listened to.
pub const FORGED_MAX: u8 = 3;
/// … for so long, even over new links.
pub const MUTE: Duration = Duration::from_secs(600);
/// Offenders remembered.
pub const OFFENDERS_MAX: usize = 256;

const _: () = assert!(PUSHES_OUT.burst < PUSHES_IN.burst && BYTES_OUT.burst < BYTES_IN.burst);
const _: () = assert!(RECORDS_PER_MESSAGE_MAX * (RECORD_BYTES_MAX + 8) < MESSAGE_BYTES_MAX - 64);
const _: () = assert!(ITEMS_MAX * super::message::ITEM_BYTES < MESSAGE_BYTES_MAX / 2);
const _: () = assert!(HAVE_DELAY.as_millis() < RETURN_MIN.as_millis());
const _: () = assert!(RANGES_MAX >= BRANCHES && ITEMS_MAX >= LEAF * BRANCHES);
