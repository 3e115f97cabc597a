//! Every number that bounds the registry, with its unit and its reason. Those of records are in
//! [`homing_base::limits`].

use std::time::Duration;

/// Bytes of one card, fetched or pushed. Cards in the wild are 2–20 kB.
pub const CARD_BYTES_MAX: usize = 256 * 1_024;
/// Characters of an entity's title.
pub const TITLE_CHARS_MAX: usize = 100;
/// Characters of an entity's summary; longer card descriptions are cut here, the card stays whole.
pub const SUMMARY_CHARS_MAX: usize = 200;
/// Characters of a category.
pub const CATEGORY_CHARS_MAX: usize = 50;
/// Tags of one entity: those of its record, then those of its card.
pub const TAGS_MAX: usize = 20;
/// Skills of one entity.
pub const SKILLS_MAX: usize = 64;
/// Protocols of one entity.
pub const PROTOCOLS_MAX: usize = 16;
/// Bytes of the pricing block.
pub const PRICING_BYTES_MAX: usize = 2_048;
/// Entities on one page, unless asked otherwise.
pub const PAGE_DEFAULT: u32 = 50;
/// Entities on one page at most.
pub const PAGE_MAX: u32 = 200;
/// Hits of one search at most.
pub const HITS_MAX: u32 = 100;
/// Bytes of a search query.
pub const QUERY_BYTES_MAX: usize = 512;
/// Versions of one entity that are kept as history.
pub const HISTORY_MAX: u32 = 64;
/// Entities of one registry; a new one is then refused, known ones still renew.
pub const ENTITIES_MAX: u64 = 2_000_000;
/// Changes kept for event streams to resume from.
pub const CHANGES_MAX: u64 = 100_000;
/// Bytes of a signed owner proof.
pub const OWNER_PROOF_BYTES_MAX: usize = 512;
/// Life of an owner proof: a year and a day, so that yearly renewal leaves no gap.
pub const OWNER_PROOF_LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Bytes of a signed heartbeat; honest ones have some 130.
pub const HEARTBEAT_BYTES_MAX: usize = 256;
/// How far a heartbeat's time may be from the registry's clock.
pub const HEARTBEAT_SKEW: Duration = Duration::from_secs(60);
/// Hits that a search may skip; beyond there are none.
pub const OFFSET_MAX: u32 = 10_000;
/// Registrations of one transaction of an import; some 60 MB of cards and their words in memory.
pub const IMPORT_MAX: usize = 8_192;
/// Records of one identity kept as evidence that it contradicts itself.
pub const EVIDENCE_MAX: u32 = 8;
/// How far a sequence may be ahead of the clock: sequences are milliseconds, and one from the far future
/// would keep its identity from ever speaking again.
pub const SEQUENCE_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long the DHT is asked for an IPNS record.
pub const REFERENCE_LOOKUP_TIME: Duration = Duration::from_secs(5);
/// A submission to the witness: a note of 16 KiB, 63 hashes, and the first line.
pub const CHECKPOINT_BYTES_MAX: usize = 20 * 1_024;
/// Hashes of a consistency proof (C2SP tlog-witness).
pub const CHECKPOINT_PROOF_MAX: usize = 63;
/// The longest that an IPNS record, or a checkpoint, may take to arrive.
pub const REFERENCE_BODY_TIME: Duration = Duration::from_secs(10);
