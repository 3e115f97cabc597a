//! Trust statements: what one identity signs about another.
//!
//! ```text
//! COSE_Sign1, external AAD "homing trust statement v1", payload = map {
//!   1 kind (1 request, 2 grant, 3 reject, 4 revoke) | 2 from: public key | 3 to: node ID
//!   4 sequence | 5 issued ms | 6 expires ms? | 7 services [tstr]? (absent: all) | 8 reason? | 9 name? }
//! ```
//! For each ordered pair (from, to) the statement with the highest sequence counts. A request is
//! also the asker's own consent: when the other side grants, trust is mutual. Normative:
//! `spec/03-trust.md`.

use std::collections::BTreeSet;
use std::fmt;

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::key::{IdentityKey, PublicKey, Signature};
use crate::limits::{CLOCK_SKEW_MAX, REASON_BYTES_MAX, SERVICES_MAX, STATEMENT_BYTES_MAX};
use crate::name::{Name, Service};
use crate::node_id::NodeId;
use crate::record::Seq;
use crate::sign1::{self, Domain};
use crate::time::{Now, Wall};

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum StatementKind {
    /// "I trust you with these services; do you trust me?"
    #[n(1)]
    Request,
    /// "I trust you with these services."
    #[n(2)]
    Grant,
    /// "I do not trust you." The answer to a request.
    #[n(3)]
    Reject,
    /// "I no longer trust you."
    #[n(4)]
    Revoke,
}

/// Which services a statement covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every service and port.
    All,
    /// Only these.
    Only(BTreeSet<Service>),
}

impl Scope {
    /// Whether `service` is inside.
    #[must_use]
    pub fn covers(&self, service: &Service) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(services) => services.contains(service),
        }
    }

    /// Whether `service` is open to whoever was granted this: inside it, or for all who are trusted.
    #[must_use]
    pub fn admits(&self, service: &Service) -> bool {
        service.is_for_all_trusted() || self.covers(service)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Only(services) => {
                let list: Vec<_> = services.iter().map(Service::as_str).collect();
                f.write_str(&list.join(", "))
            }
        }
    }
}

/// The content of a statement; sign it with [`Statement::sign`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// What it does.
    #[n(1)]
    pub kind: StatementKind,
    /// Who says it.
    #[n(2)]
    pub from: PublicKey,
    /// About whom.
    #[n(3)]
    pub to: NodeId,
    /// Newest wins, per (from, to).
    #[n(4)]
    pub sequence: Seq,
    /// When it was signed, by the signer's clock.
    #[n(5)]
    pub issued: Wall,
    /// When the trust ends; `None`: it does not by itself.
    #[n(6)]
    pub expires: Option<Wall>,
    /// Services covered; `None`: all.
    #[n(7)]
    pub services: Option<Vec<Service>>,
    /// Why, in the asker's words.
    #[n(8)]
    pub reason: Option<String>,
    /// What the speaker calls itself.
    #[n(9)]
    pub name: Option<Name>,
}

impl Statement {
    /// The services as a set.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match &self.services {
            None => Scope::All,
            Some(list) => Scope::Only(list.iter().cloned().collect()),
        }
    }

    /// Whether it says yes (request or grant) and has not expired.
    #[must_use]
    pub fn consents(&self, now: Now) -> bool {
        let yes = matches!(self.kind, StatementKind::Request | StatementKind::Grant);
        yes && self.expires.is_none_or(|end| end > now.wall)
    }

    /// Signs the statement.
    ///
    /// # Errors
    /// [`StatementError::Key`] when `key` is another identity's; [`StatementError::Limit`] or
    /// [`StatementError::Encoding`] when the content is out of bounds.
    pub fn sign(self, key: &IdentityKey) -> Result<SignedStatement, StatementError> {
        if key.public() != self.from {
            return Err(StatementError::Key);
        }
        self.check_limits()?;
        let bytes = sign1::sign(key, Domain::TrustStatement, &cbor::encode(&self));
        if bytes.len() > STATEMENT_BYTES_MAX {
            let max = STATEMENT_BYTES_MAX;
            return Err(StatementError::Encoding(CborError::TooLong { len: bytes.len(), max }));
        }
        Ok(SignedStatement { content: self, bytes })
    }

    fn check_limits(&self) -> Result<(), StatementError> {
        let services = self.services.as_ref().map_or(0, Vec::len);
        if services > SERVICES_MAX {
            let what = "services";
            return Err(StatementError::Limit { what, len: services, max: SERVICES_MAX });
        }
        let reason = self.reason.as_ref().map_or(0, String::len);
        if reason > REASON_BYTES_MAX {
            let what = "bytes of reason";
            return Err(StatementError::Limit { what, len: reason, max: REASON_BYTES_MAX });
        }
        if self.reason.as_ref().is_some_and(|r| r.chars().any(char::is_control)) {
            return Err(StatementError::ControlCharacter);
        }
        Ok(())
    }
}

/// A statement as it came: parsed, nothing believed.
#[derive(Clone, Debug)]
pub struct UnverifiedStatement {
    content: Statement,
    bytes: Vec<u8>,
    signature: Signature,
}

impl UnverifiedStatement {
    /// Parses a signed statement.
    ///
    /// # Errors
    /// [`StatementError::Encoding`], [`StatementError::Limit`], [`StatementError::ControlCharacter`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (payload, signature) = sign1::parse(bytes, STATEMENT_BYTES_MAX)?;
        let content: Statement = cbor::decode(payload, STATEMENT_BYTES_MAX)?;
        content.check_limits()?;
        Ok(Self { content, bytes: bytes.to_vec(), signature })
    }

    /// The only way to obtain a [`SignedStatement`] from bytes. Expiry is judged at use, not here:
    /// an expired statement still outranks an older one.
    ///
    /// # Errors
    /// [`StatementError::Signature`] or [`StatementError::FromTheFuture`].
    pub fn verify(self, now: Now) -> Result<SignedStatement, StatementError> {
        let (payload, _) = sign1::parse(&self.bytes, STATEMENT_BYTES_MAX)?;
        let Statement { from, issued, .. } = self.content;
        if !sign1::verify(&from, Domain::TrustStatement, payload, &self.signature) {
            return Err(StatementError::Signature { key: from });
        }
        if issued > now.wall.after(CLOCK_SKEW_MAX) {
            return Err(StatementError::FromTheFuture { issued, now: now.wall });
        }
        Ok(SignedStatement { content: self.content, bytes: self.bytes })
    }
}

/// A verified statement, with the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    content: Statement,
    bytes: Vec<u8>,
}

impl SignedStatement {
    /// The signed bytes, at most 1 000.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for SignedStatement {
    type Target = Statement;
    fn deref(&self) -> &Statement {
        &self.content
    }
}

/// Why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Too long, not deterministic CBOR, or not a statement.
    #[error("not a trust statement: {0}")]
    Encoding(#[from] CborError),
    /// The signature is not this key's.
    #[error("the signature is not that of key {key}")]
    Signature {
        /// The key the statement names.
        key: PublicKey,
    },
    /// Signed with another key than the one it names.
    #[error("the statement speaks for another key")]
    Key,
    /// Issued later than any honest clock allows.
    #[error(
        "the statement was issued at {issued}, it is only {now} here: one of the clocks is wrong"
    )]
    FromTheFuture {
        /// The signer's clock.
        issued: Wall,
        /// The reader's clock.
        now: Wall,
    },
    /// Too much of something.
    #[error("{len} {what}, at most {max} are allowed")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much was found.
        len: usize,
        /// How much is allowed.
        max: usize,
    },
    /// A reason that could garble a terminal.
    #[error("a reason has no control characters")]
    ControlCharacter,
}
