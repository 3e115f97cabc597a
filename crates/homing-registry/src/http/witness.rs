//! `POST /add-checkpoint`: this registry's node cosigns the heads of audit logs of agents that are listed here.
//!
//! ```text
//! old 20852163                                            the size that the witness is believed to hold
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=             the consistency proof from there, at most 63 hashes
//!
//! homing.audit/3a91…/1795230000000                        the signed head
//! …
//! ```
//! After C2SP tlog-witness: 200 with the signature line, 404 for a log that nobody knows, 403 when its key did not
//! sign, 409 with the size that is held, 422 for a proof that does not hold. The key of a log is derived: the first
//! submission of a log carries the identity's delegation of it in `Homing-Delegation`, base64. Not here: what is
//! checked, and where it is kept (the node's witness).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use homing_api::Code;
use homing_base::NodeId;

use super::App;
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params};
use crate::limits::{CHECKPOINT_BYTES_MAX, CHECKPOINT_PROOF_MAX, REFERENCE_BODY_TIME};
use crate::network::{Cosigning, Submission};

/// The delegation of the log's key.
pub(super) const DELEGATION: &str = "homing-delegation";
/// Media type of a 409's body.
pub(super) const TREE_SIZE: &str = "text/x.tlog.size";

/// The operation.
pub(super) async fn add_checkpoint(
    State(app): State<App>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bytes = request::whole(body, CHECKPOINT_BYTES_MAX, REFERENCE_BODY_TIME).await?;
    let mut submission = parse(&bytes).ok_or_else(malformed)?;
    submission.delegation = delegation(&headers)?;
    let owner = owner(&submission.note).ok_or_else(unknown)?;
    let listed = app.storage.entity(&owner).await.map_err(Box::<Problem>::from)?;
    if listed.is_none() {
        return Err(unknown().into());
    }
    Ok(answer(app.network.cosign(submission).await)?)
}

fn answer(cosigning: Cosigning) -> Outcome {
    let refused = |status, text: &str| -> Outcome {
        Err(Problem::new(Code::SignatureInvalid, text).status(status).into())
    };
    match cosigning {
        Cosigning::Line(line) => {
            let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            Ok((media, format!("{line}\n")).into_response())
        }
        Cosigning::Conflict(held) => {
            let media = [(header::CONTENT_TYPE, TREE_SIZE)];
            Ok((StatusCode::CONFLICT, media, format!("{held}\n")).into_response())
        }
        Cosigning::Unknown => Err(unknown().into()),
        Cosigning::Signature => {
            refused(StatusCode::FORBIDDEN, "the log's key did not sign this checkpoint")
        }
        Cosigning::Malformed => Err(malformed().into()),
        Cosigning::Proof => refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the proof does not lead from the checkpoint that is held here to this one",
        ),
        Cosigning::Busy => Err(Problem::busy("it cosigns no further logs").into()),
    }
}

fn malformed() -> Problem {
    Problem::usage("this is no submission of a checkpoint")
        .hint("c2sp.org/tlog-witness: `old SIZE`, the proof, an empty line, the signed checkpoint")
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "this log is not witnessed here").hint(
        "its owner registers first, and sends the delegation of the log's key in Homing-Delegation",
    )
}

fn delegation(headers: &HeaderMap) -> Outcome<Vec<u8>> {
    let Some(value) = headers.get(DELEGATION) else { return Ok(Vec::new()) };
    let bytes = BASE64.decode(value.as_bytes());
    bytes.map_err(|_| Problem::usage("Homing-Delegation is not base64").into())
}

/// Whose log a head speaks of.
fn owner(note: &str) -> Option<NodeId> {
    let origin = note.lines().next()?.strip_prefix("homing.audit/")?;
    origin.split('/').next()?.parse().ok()
}

fn parse(bytes: &[u8]) -> Option<Submission> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    let size = lines.next()?.strip_prefix("old ")?;
    let old: u64 = size.parse().ok()?;
    if old.to_string() != size || note.is_empty() {
        return None;
    }
    let hash = |line: &str| BASE64.decode(line.as_bytes()).ok()?.try_into().ok();
    let proof: Vec<[u8; 32]> = lines.map(hash).collect::<Option<_>>()?;
    let fits = proof.len() <= CHECKPOINT_PROOF_MAX;
    fits.then(|| Submission { delegation: Vec::new(), note: note.to_owned(), old, proof })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_read_and_nothing_else_is() {
        let hash = BASE64.encode(&[7; 32]);
        let good = format!("old 20\n{hash}\n{hash}\n\norigin\n21\n{hash}\n\n— name sig\n");
        let read = parse(good.as_bytes()).unwrap();
        assert_eq!((read.old, read.proof.len()), (20, 2));
        assert!(read.note.starts_with("origin\n21\n"));
        assert!(parse(b"old 0\n\nnote\n").is_some_and(|read| read.proof.is_empty()));
        for bad in [
            "",
            "old 1\nnote",
            "old 01\n\nnote",
            "old -1\n\nnote",
            "new 1\n\nnote",
            "old 1\nAA==\n\nnote",
            "old 1\n\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
        let many = format!("old 1\n{}\nnote", format!("{hash}\n").repeat(64));
        assert_eq!(parse(many.as_bytes()), None);
    }
}
