//! `GET` and `PUT /routing/v1/ipns/{name}`: IPNS records for every IPFS tool.
//!
//! After the Delegated Routing V1 HTTP API of the IPFS project. The body is the signed record itself, verified
//! here both ways; a record that is older than the known one, expired or not the name's is refused. Not here:
//! where records live (the node's references and DHT).

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use homing_api::Code;
use homing_base::limits::IPNS_BYTES_MAX;
use homing_base::{IpnsError, IpnsName, IpnsRecord};
use sha2::{Digest, Sha256};

use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params, Segments};
use super::{App, clock};
use crate::limits::{REFERENCE_BODY_TIME, REFERENCE_LOOKUP_TIME};

/// The media type of a record.
pub(super) const IPNS_RECORD: &str = "application/vnd.ipfs.ipns-record";

/// `GET`: the newest record that the node and the DHT have.
pub(super) async fn read(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    request::accepted(&headers, &[IPNS_RECORD])?;
    let name = name_of(&name)?;
    let Ok(_slot) = app.outside.try_acquire() else {
        return Err(Problem::busy("many lookups are under way").into());
    };
    let found = app.network.reference(&name, REFERENCE_LOOKUP_TIME).await;
    let record = found.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("no valid record of {name} was found"))
            .hint("its owner publishes one: homing publish NAME VALUE")
    })?;
    Ok(answer(&record, &headers))
}

/// `PUT`: takes a record, which only the name's key can have signed.
pub(super) async fn write(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = name_of(&name)?;
    let media = request::media_type(&headers);
    if media != IPNS_RECORD {
        let problem = request::wrong_media_type(&media, IPNS_RECORD);
        return Err(problem.status(StatusCode::NOT_ACCEPTABLE).into());
    }
    let bytes = request::whole(body, IPNS_BYTES_MAX, REFERENCE_BODY_TIME).await?;
    let record = IpnsRecord::verify(&bytes, &name, clock::now()).map_err(|e| refused(&e))?;
    let Ok(_slot) = app.outside.try_acquire() else {
        return Err(Problem::busy("many lookups are under way").into());
    };
    let known = app.network.reference(&name, REFERENCE_LOOKUP_TIME).await;
    if let Some(known) = known.filter(|known| known.precedence(&record).is_gt()) {
        let (found, known) = (record.sequence, known.sequence);
        return Err(Problem::new(Code::StaleSequence, "a newer record is known")
            .why(IpnsError::Stale { found, known }.to_string())
            .into());
    }
    match app.network.offer_reference(record).await {
        true => Ok("taken\n".into_response()),
        false => Err(Problem::busy("it is in no network that keeps records").into()),
    }
}

fn name_of(text: &str) -> Outcome<IpnsName> {
    text.parse().map_err(|e: homing_base::ipns::NameError| {
        Problem::usage("this is no IPNS name").why(e.to_string()).into()
    })
}

fn refused(error: &IpnsError) -> Box<Problem> {
    Problem::usage("this record is refused").why(error.to_string()).into()
}

/// The record with what caches need: it is fresh for its TTL, and never past its end.
fn answer(record: &IpnsRecord, headers: &HeaderMap) -> Response {
    let left = record.ends().since(clock::now().wall);
    let age = record.ttl.min(left).as_secs();
    let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(record.bytes())[..16]));
    let ends = UNIX_EPOCH + Duration::from_millis(record.ends().0);
    let fields: [(HeaderName, String); 6] = [
        (header::CONTENT_TYPE, IPNS_RECORD.to_owned()),
        (header::CACHE_CONTROL, format!("public, max-age={age}")),
        (header::EXPIRES, httpdate::fmt_http_date(ends)),
        (header::ETAG, etag.clone()),
        (header::VARY, "Accept".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.ipns-record\"", record.name()),
        ),
    ];
    let unchanged = request::none_match(headers, &etag);
    let mut response = match unchanged {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => record.bytes().to_vec().into_response(),
    };
    for (name, value) in fields {
        let value = HeaderValue::from_str(&value).expect("visible characters only");
        response.headers_mut().insert(name, value);
    }
    response
}
