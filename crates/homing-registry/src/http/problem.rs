//! Failures over HTTP: `application/problem+json` (RFC 9457) with the codes of [`homing_api::Code`].
//!
//! ```json
//! {"type":"urn:homing:error:stale_sequence","title":"Something newer is known.","status":409,
//!  "detail":"sequence 7 is known, this record has 5","code":"stale_sequence","why":"…","hint":"…",
//!  "retryable":false}
//! ```
//! Refusals of HTTP itself (405, 406, 413, 415) carry `usage` with their own status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homing_api::Code;
use homing_base::{NodeId, RecordError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::proof::ProofError;
use crate::storage::StorageError;

/// The media type.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// What every failure answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:homing:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What went wrong here.
    detail: String,
    /// For programs; stable.
    code: String,
    /// What is known about the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<String>,
    /// What to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<String>,
    /// Whether the same request may succeed later without anybody changing anything.
    retryable: bool,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
    /// Who claims the name, for `ambiguous_name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    candidates: Vec<Candidate>,
}

/// One claimant of a name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Candidate {
    /// Who.
    pub(super) node_id: String,
    /// Its address.
    pub(super) address: String,
    /// The name it claims.
    pub(super) name: String,
    /// When its first record came here.
    #[schema(format = DateTime)]
    pub(super) registered: String,
}

/// The end of most handlers.
pub(super) type Outcome<T = Response> = Result<T, Box<Problem>>;

impl Problem {
    /// With the status that belongs to the code.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:homing:error:{code}"),
            title: code.meaning(),
            status: code.http_status(),
            detail: detail.into(),
            code: code.to_string(),
            why: None,
            hint: None,
            retryable: code.retryable(),
            retry_after_ms: None,
            candidates: Vec::new(),
        }
    }

    /// The request makes no sense as written.
    pub(super) fn usage(detail: impl Into<String>) -> Self {
        Self::new(Code::Usage, detail)
    }

    /// With another status than the code's own.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn retry_after_ms(mut self, after: u64) -> Self {
        self.retry_after_ms = Some(after.max(1));
        self.retryable = true;
        self
    }

    pub(super) fn candidates(mut self, candidates: Vec<Candidate>) -> Self {
        self.candidates = candidates;
        self
    }

    /// Nothing of that key is known.
    pub(super) fn not_found(asked: &str) -> Self {
        Self::new(Code::NotFound, format!("no agent is known as {asked}"))
            .hint("keys are node IDs (64 hexadecimal digits), addresses (fd…) and names; search with POST /v1/search")
    }

    /// Its agent has withdrawn it.
    pub(super) fn withdrawn(id: &NodeId) -> Self {
        Self::new(Code::Withdrawn, format!("{id} has withdrawn its record"))
            .hint("only the agent itself comes back, with a newer record")
    }

    /// More is going on than this registry does at once.
    pub(super) fn busy(what: &str) -> Self {
        Self::new(Code::RateLimited, format!("this registry is busy: {what}"))
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .retry_after_ms(1_000)
    }
}

/// For the node's own faces, which speak `homing.error/v1`.
impl From<Problem> for homing_api::ApiError {
    fn from(problem: Problem) -> Self {
        let code = Code::from_text(&problem.code).unwrap_or(Code::Internal);
        Self {
            why: problem.why,
            hint: problem.hint,
            retryable: problem.retryable,
            retry_after_ms: problem.retry_after_ms,
            ..Self::new(code, problem.detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("plain strings serialise");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.div_ceil(1_000)));
        }
        response
    }
}

/// Failures are rare and large: the handlers pass a pointer.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Box<Problem>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<Box<Problem>> for Refusal {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StorageError> for Box<Problem> {
    fn from(error: StorageError) -> Self {
        Box::new(match error {
            StorageError::Cursor => Problem::usage("the cursor is not one of this list")
                .hint("pass the `next` of the page before, unchanged"),
            StorageError::Record(error) => return error.into(),
            StorageError::Ahead { .. } => Problem::new(Code::RecordExpired, error.to_string())
                .hint("sequences follow the clock: max(previous + 1, Unix time in milliseconds)"),
            StorageError::Full => {
                Problem::new(Code::DiskFull, "the registry's disk is full; nothing was changed")
            }
            StorageError::Database { retryable: true, what } => {
                tracing::warn!(error = %what, "the database did not answer");
                Problem::busy("its database did not answer; nothing was changed")
            }
            error => {
                // What a database says may name tables and hosts: for the log, not for strangers.
                tracing::error!(%error, "the database failed");
                Problem::new(Code::Internal, "the registry's database failed; nothing was changed")
            }
        })
    }
}

impl From<RecordError> for Box<Problem> {
    fn from(error: RecordError) -> Self {
        let why = error.to_string();
        let (code, detail, hint) = match error {
            RecordError::Signature { .. } => (
                Code::SignatureInvalid,
                "the record's signature does not verify",
                "sign the bytes exactly as they are sent",
            ),
            RecordError::Expired { .. } => {
                (Code::RecordExpired, "the record has expired", "sign a new one")
            }
            RecordError::FromTheFuture { .. } => (
                Code::RecordExpired,
                "the record is not valid yet",
                "set the clock of the machine that signs",
            ),
            _ => (
                Code::Usage,
                "the body is not an agent record",
                "send the signed COSE object as it is, or base64url of it in JSON",
            ),
        };
        Box::new(Problem::new(code, detail).why(why).hint(hint))
    }
}

impl From<ProofError> for Box<Problem> {
    fn from(error: ProofError) -> Self {
        let code = match error {
            ProofError::Signature { .. } | ProofError::OtherAgent { .. } | ProofError::Key => {
                Code::SignatureInvalid
            }
            ProofError::Expired { .. } | ProofError::Clock { .. } => Code::RecordExpired,
            ProofError::Encoding(_) | ProofError::Lifetime { .. } => Code::Usage,
        };
        Box::new(Problem::new(code, "the signed object is refused").why(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use homing_base::{Seq, Wall};

    use super::*;

    #[test]
    fn what_is_the_fault_of_a_record_is_no_failure_of_the_registry() {
        let (at, other) = (Wall(1), Wall(2));
        let faults = [
            (StorageError::Cursor, 400, "usage"),
            (StorageError::Ahead { sequence: Seq(9), now: at }, 422, "record_expired"),
            (
                StorageError::Record(RecordError::Expired { expires: at, now: other }),
                422,
                "record_expired",
            ),
            (
                StorageError::Record(RecordError::FromTheFuture { issued: other, now: at }),
                422,
                "record_expired",
            ),
            (StorageError::Record(RecordError::Lifetime { issued: at, expires: at }), 400, "usage"),
        ];
        for (error, status, code) in faults {
            let text = error.to_string();
            let problem = Box::<Problem>::from(error);
            assert_eq!((problem.status, problem.code.as_str()), (status, code), "{text}");
            assert!(problem.hint.is_some() && !problem.retryable, "{text}");
        }
    }
}
