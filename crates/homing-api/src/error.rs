//! `homing.error/v1` and the one table of codes: code ↔ exit code ↔ HTTP status ↔ retryable.
//!
//! ```json
//! {"schema":"homing.error/v1","code":"peer_offline","message":"gpu-7 is not answering",
//!  "why":"last seen 4 minutes ago","hint":"homing wait online gpu-7","retryable":true,"exit":7}
//! ```
//! Codes are stable: scripts match on them. A code that a client does not know reads as
//! [`Code::Internal`], with the exit code that the sender gave.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schema::{Schema, described};

macro_rules! table {
    ($($variant:ident $text:literal $exit:literal $http:literal $retry:literal $meaning:literal;)+) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $meaning] $variant,)+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)+ }
            }

            /// The exit code of the command line.
            #[must_use]
            pub fn exit(self) -> u8 {
                match self { $(Code::$variant => $exit,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Code::$variant => $http,)+ }
            }

            /// Whether the same request may succeed later without anybody changing anything.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Code::$variant => $retry,)+ }
            }

            /// What it means, in one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)+ }
            }

            /// The code of a text; `None` when this version does not know it.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Code> {
                match text { $($text => Some(Code::$variant),)+ _ => None }
            }
        }
    };
}

table! {
    // variant          text                    exit http retry  meaning
    Internal            "internal"              1 500 false "A defect or an unexpected failure of the system.";
    DiskFull            "disk_full"             1 507 true  "There is no space left to keep state.";
    RateLimited         "rate_limited"          1 429 true  "Too many requests; see retry_after_ms.";
    AgentFailed         "agent_failed"          1 502 false "The agent at the other end refused, or did not make sense.";
    LimitReached        "limit_reached"         1 429 false "A bound of the node was reached.";
    Usage               "usage"                 2 400 false "The request makes no sense as written.";
    NotFound            "not_found"             3 404 false "Nothing of that name or number exists or was found.";
    Withdrawn           "withdrawn"             3 410 false "Its agent has withdrawn it.";
    AmbiguousName       "ambiguous_name"        3 409 false "Several identities claim the name.";
    NoSuchService       "no_such_service"       3 404 false "The peer exposes nothing of that name or port.";
    DaemonNotRunning    "daemon_not_running"    4 503 true  "No daemon answers at this home's socket.";
    PermissionDenied    "permission_denied"     5 403 false "The operating system or the node does not permit it.";
    PeerNotTrusted      "peer_not_trusted"      5 403 false "There is no mutual trust with the peer.";
    TrustExpired        "trust_expired"         5 403 false "There was trust; it has expired.";
    ScopeDenied         "scope_denied"          5 403 false "The trust does not cover this service.";
    Timeout             "timeout"               6 504 true  "It did not happen in time.";
    PeerOffline         "peer_offline"          7 502 true  "The peer is known but does not answer.";
    NoRoute             "no_route"              7 502 true  "There is no way to even try: no relay, no address.";
    RelayUnavailable    "relay_unavailable"     7 502 true  "None of the relays answers.";
    StreamBroken        "stream_broken"         7 502 true  "The stream ended before its end.";
    AlreadyExists       "already_exists"        8 409 false "Something of that name exists or runs already.";
    NameTaken           "name_taken"            8 409 false "The name means another identity.";
    IdentityInUse       "identity_in_use"       8 409 false "A newer instance of this identity runs elsewhere.";
    StaleSequence       "stale_sequence"        8 409 false "Something newer is known.";
    SignatureInvalid    "signature_invalid"     9 422 false "A signature does not verify.";
    RecordExpired       "record_expired"        9 422 false "A signed object has expired.";
    IdentityInvalid     "identity_invalid"      9 422 false "The identity file is damaged or not what it says.";
    AuditChainBroken    "audit_chain_broken"    9 422 false "The audit log does not verify.";
    AttestationRejected "attestation_rejected"  9 422 false "The evidence does not verify.";
    ContentInvalid      "content_invalid"       9 422 false "The bytes are not those that the CID names.";
    KeyPermissions      "key_permissions"      10 500 false "Others may read the identity file.";
    ConfigInvalid       "config_invalid"       10 422 false "The configuration is wrong.";
    DhtDisabled         "dht_disabled"         10 409 false "The configuration of this node leaves the DHT out.";
    PortInUse           "port_in_use"          10 500 false "Another program has the port.";
    VersionIncompatible "version_incompatible" 11 426 false "Client and daemon speak different major versions.";
    Interrupted         "interrupted"         130 499 false "The user stopped it.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Code::from_text(&String::deserialize(d)?).unwrap_or(Code::Internal))
    }
}

/// Every failure of every operation, over HTTP and on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// `homing.error/v1`.
    pub schema: Schema<ApiError>,
    /// For programs.
    pub code: Code,
    /// One sentence, for people.
    pub message: String,
    /// What is known about the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// See [`Code::retryable`].
    pub retryable: bool,
    /// See [`Code::exit`].
    pub exit: u8,
    /// When to try again, for [`Code::RateLimited`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

described!(ApiError => "homing.error/v1");

impl ApiError {
    /// An error with nothing but code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            schema: Schema::new(),
            code,
            message: message.into(),
            why: None,
            hint: None,
            retryable: code.retryable(),
            exit: code.exit(),
            retry_after_ms: None,
        }
    }

    /// With what is known about the cause.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// With what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, after: u64) -> Self {
        self.retry_after_ms = Some(after);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_has_its_own_text() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let contract = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130];
        assert!(Code::ALL.iter().all(|c| contract.contains(&c.exit())));
        assert!(contract.iter().all(|e| Code::ALL.iter().any(|c| c.exit() == *e)));
    }

    #[test]
    fn schema_comes_first_and_a_foreign_code_keeps_its_exit_code() {
        let text = serde_json::to_string(&ApiError::new(Code::PeerOffline, "x")).unwrap();
        assert!(text.starts_with(r#"{"schema":"homing.error/v1","code":"peer_offline""#), "{text}");
        let foreign =
            text.replace("peer_offline", "invented_later").replace("\"exit\":7", "\"exit\":9");
        let read: ApiError = serde_json::from_str(&foreign).unwrap();
        assert_eq!((read.code, read.exit), (Code::Internal, 9));
    }
}
