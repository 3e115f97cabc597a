//! The ground floor of Homing: ids, keys, addresses, names, signed records, the bounded codec and
//! every limit. It knows no protocol and does no I/O.
//!
//! ```text
//! identity.json ──► IdentityKey ──► PublicKey ──SHA-256──► NodeId ──first 15 bytes──► Address (fd…)
//!                        │
//!                        └─ signs ─► AgentRecord, Statement      (COSE_Sign1 over deterministic CBOR)
//! bytes from a peer ──► Unverified… ──verify(now)──► verified type ──► the core
//! ```
//!
//! Reading order: [`key`], [`node_id`], [`address`], [`name`], [`message`], [`time`], [`cbor`], [`sign1`],
//! [`record`], [`statement`], [`cid`], [`content_id`], [`ipns`], [`mod@reference`], [`limits`]. The byte formats are normative in `spec/`.
//!
//! ```
//! use homing_base::{Address, IdentityKey};
//!
//! let key = IdentityKey::from_seed([7; 32]);
//! let address = Address::of(&key.node_id());
//! assert!(address.to_string().starts_with("fd"));
//! // The same key gives the same address on any machine.
//! assert_eq!(address, Address::of(&IdentityKey::from_seed([7; 32]).node_id()));
//! ```

pub mod address;
pub mod causes;
pub mod cbor;
pub mod cid;
pub mod content_id;
pub mod derived;
pub mod identity;
pub mod ipns;
pub mod jws;
pub mod key;
pub mod limits;
pub mod message;
pub mod multibase;
pub mod name;
pub mod node_id;
pub mod record;
pub mod reference;
pub mod relay;
pub mod sign1;
pub mod statement;
pub mod ticket;
pub mod time;

pub use address::Address;
pub use causes::with_causes;
pub use cid::Cid;
pub use content_id::ContentId;
pub use ipns::{IpnsError, IpnsName, IpnsRecord};
pub use key::{IdentityKey, InstanceId, PublicKey, Signature};
pub use message::{MessageId, Topic};
pub use name::{Name, Service};
pub use node_id::NodeId;
pub use record::{AgentRecord, Record, RecordError, Seq, UnverifiedRecord};
pub use reference::{Reference, ReferenceError, ReferenceName};
pub use relay::RelayRef;
pub use statement::{Scope, Statement, StatementError, StatementKind, UnverifiedStatement};
pub use ticket::Ticket;
pub use time::{Mono, Now, Wall};
