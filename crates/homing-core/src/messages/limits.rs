//! Every number that bounds messages between agents, with its unit and its reason.

use std::time::Duration;

use homing_base::limits::MESSAGE_BYTES_MAX;

/// One body. What is larger travels as a file.
pub const BODY_BYTES_MAX: usize = 32 * 1_024;
/// What a message costs beside its body, in every bound that counts bytes.
pub const OVERHEAD_BYTES: usize = 128;
/// Messages in one batch.
pub const BATCH_MAX: usize = 32;
/// Bytes in one batch, overhead included; one message of full size fits.
pub const BATCH_BYTES_MAX: usize = 48 * 1_024;
/// A file's name as the sender gives it.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// Messages that wait for one peer.
pub const OUTBOX_PEER_MAX: usize = 1_024;
/// Their bytes.
pub const OUTBOX_PEER_BYTES_MAX: usize = 4 << 20;
/// Messages that wait for all peers.
pub const OUTBOX_MAX: usize = 8_192;
/// Their bytes. They are held in memory.
pub const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// Unread messages of one sender.
pub const INBOX_PEER_MAX: usize = 1_024;
/// Their bytes.
pub const INBOX_PEER_BYTES_MAX: usize = 4 << 20;
/// Unread messages of all senders.
pub const INBOX_MAX: usize = 8_192;
/// Their bytes. They are held in memory.
pub const INBOX_BYTES_MAX: usize = 16 << 20;
/// Unread files of one sender, fetched or not.
pub const FILES_PEER_MAX: usize = 16;
/// Answered messages of one sender that are remembered. Copies are of the batch in flight, or of files
/// that are being fetched; the rest of this is for restored backups of a sender.
pub const SEEN_PEER_MAX: usize = 1_024;
/// Answered messages of all senders that are remembered.
pub const SEEN_MAX: usize = 32_768;
/// Topics that one agent subscribes to.
pub const TOPICS_MAX: usize = 64;
/// Events that wait for one peer which keeps nothing while it is away.
pub const LIVE_EVENTS_PEER_MAX: usize = 256;

/// How long a message waits for its receiver if nobody says otherwise.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest that anybody may say.
pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// An event that nobody keeps is stale after this.
pub const LIVE_EVENT_LIFETIME: Duration = Duration::from_secs(30);
/// A batch without an answer is sent again after this; doubles.
pub const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between two attempts on one link.
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// An offered file whose fate is unknown is offered again this often.
pub const OFFER_AGAIN: Duration = Duration::from_secs(300);
/// The outbox is searched for what has expired at least this often: wall clocks jump.
pub const SWEEP: Duration = Duration::from_secs(60);

const _: () = assert!(BODY_BYTES_MAX + OVERHEAD_BYTES <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX + BATCH_MAX * 256 < MESSAGE_BYTES_MAX);
const _: () = assert!(OUTBOX_PEER_MAX <= OUTBOX_MAX && INBOX_PEER_MAX <= INBOX_MAX);
const _: () = assert!(BATCH_MAX + FILES_PEER_MAX < SEEN_PEER_MAX && SEEN_PEER_MAX < SEEN_MAX);
const _: () = assert!(LIFETIME.as_secs() < LIFETIME_MAX.as_secs());
