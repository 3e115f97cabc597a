//! Every number that bounds something, with its unit at the end of its name, its reason, and its
//! relation to the others asserted at compile time.

use std::time::Duration;

/// A signed agent record, whole. BEP 44 keeps values below 1 000 bytes; so do we.
pub const RECORD_BYTES_MAX: usize = 1_000;
/// A signed trust statement, whole.
pub const STATEMENT_BYTES_MAX: usize = 1_000;
/// One mesh envelope: 32 records and their frame fit.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1_024;
/// Records in one message.
pub const RECORDS_PER_MESSAGE_MAX: usize = 32;
/// Nesting of any CBOR value we read.
pub const CBOR_DEPTH_MAX: usize = 8;
/// Data items in one CBOR value, counted at every depth.
pub const CBOR_ITEMS_MAX: usize = 4_096;

/// A DNS label (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 63;
/// A service name: like the service names of RFC 6335 §5.1, with more room.
pub const SERVICE_BYTES_MAX: usize = 32;
/// The topic of an event: a path of a few words.
pub const TOPIC_BYTES_MAX: usize = 64;
/// Services in one record or one scope.
pub const SERVICES_MAX: usize = 16;
/// Relays in one record.
pub const RELAYS_MAX: usize = 4;
/// A relay URL.
pub const RELAY_URL_BYTES_MAX: usize = 128;
/// Direct addresses in one record, or candidates in one message.
pub const DIRECT_ADDRESSES_MAX: usize = 16;
/// Tags in one record.
pub const TAGS_MAX: usize = 20;
/// One tag.
pub const TAG_BYTES_MAX: usize = 32;
/// The URL of an agent card.
pub const CARD_URL_BYTES_MAX: usize = 256;
/// The reason that travels with a trust request, in bytes of UTF-8.
pub const REASON_BYTES_MAX: usize = 280;
/// A ticket in text form.
pub const TICKET_CHARS_MAX: usize = 4_096;

/// An IPNS record, whole (IPNS specification, "Record Size Limit").
pub const IPNS_BYTES_MAX: usize = 10 * 1_024;
/// What an IPNS record of ours points to; it is written twice in a record that old readers can read.
pub const IPNS_VALUE_BYTES_MAX: usize = 1_024;
/// The name of a reference: a path of a few words.
pub const REFERENCE_NAME_BYTES_MAX: usize = 64;
/// A signed binding of a reference's name, whole.
pub const BINDING_BYTES_MAX: usize = 384;
/// A reference as it travels: an IPNS record, its key and a binding.
pub const REFERENCE_BYTES_MAX: usize = IPNS_BYTES_MAX + BINDING_BYTES_MAX + 128;

/// Longest life of a bound reference that is still accepted: a key in another's hands must not sign for ever.
pub const REFERENCE_LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Longest life of an agent record after it was issued.
pub const RECORD_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How far into the future an `issued` may lie: honest clocks drift by seconds, not by this.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(RECORD_BYTES_MAX * RECORDS_PER_MESSAGE_MAX + 1_024 < MESSAGE_BYTES_MAX);
const _: () = assert!(STATEMENT_BYTES_MAX * 2 + 1_024 < MESSAGE_BYTES_MAX);
const _: () =
    assert!(SERVICES_MAX * (SERVICE_BYTES_MAX + 2) + REASON_BYTES_MAX < STATEMENT_BYTES_MAX);
const _: () = assert!(CLOCK_SKEW_MAX.as_secs() < RECORD_LIFETIME_MAX.as_secs());
const _: () = assert!(2 * IPNS_VALUE_BYTES_MAX + 512 < IPNS_BYTES_MAX);
const _: () = assert!(5 * REFERENCE_BYTES_MAX < MESSAGE_BYTES_MAX);
