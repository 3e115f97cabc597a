//! Requests in: path keys, query parameters, bounded bodies. Everything that is not understood is refused, an
//! unknown parameter or field too: who misspells a filter must not get the unfiltered answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use homing_api::Code;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Outcome, Problem, Refusal};
use crate::limits::PAGE_MAX;
use crate::storage::Cursor;

/// Query parameters; unknown ones are refused by `T`'s `deny_unknown_fields`.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(params)| Self(params)).map_err(|e| {
            Problem::usage("a query parameter is unknown, repeated or malformed")
                .why(e.body_text())
                .hint("/openapi.json lists the parameters of every operation")
                .into()
        })
    }
}

/// No query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Segments of the path, decoded.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(segments)| Self(segments))
            .map_err(|e| Problem::usage("the path cannot be read").why(e.body_text()).into())
    }
}

/// Reads a whole body of at most `bytes_max` within `time`.
pub(super) async fn whole(body: Body, bytes_max: usize, time: Duration) -> Outcome<Bytes> {
    let read = tokio::time::timeout(time, axum::body::to_bytes(body, bytes_max)).await;
    let read = read.map_err(|_| {
        Problem::new(Code::Timeout, "the body did not arrive in time")
            .status(StatusCode::REQUEST_TIMEOUT)
    })?;
    read.map_err(|e| {
        let mut cause: &dyn std::error::Error = &e;
        while let Some(next) = cause.source() {
            cause = next;
        }
        if cause.is::<http_body_util::LengthLimitError>() {
            Problem::usage(format!("the body is larger than {bytes_max} bytes"))
                .status(StatusCode::PAYLOAD_TOO_LARGE)
                .into()
        } else {
            Problem::usage("the body broke off").into()
        }
    })
}

/// The media type of a body, without parameters, in lower case. A body that is compressed has one that no operation
/// takes: nothing is unpacked here, so that no bytes become more bytes.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").trim();
    let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    match text(header::CONTENT_ENCODING) {
        "" | "identity" => media.to_ascii_lowercase(),
        coding => format!("{media}, encoded as {coding:?}"),
    }
}

/// Refuses a body of another type.
pub(super) fn wrong_media_type(got: &str, takes: &str) -> Box<Problem> {
    let got = if got.is_empty() { "none" } else { got };
    Problem::usage(format!("this operation takes {takes}, the content type is {got}"))
        .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .into()
}

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    time: Duration,
) -> Outcome<T> {
    let media = media_type(headers);
    if media != "application/json" {
        return Err(wrong_media_type(&media, "application/json"));
    }
    from_json(&whole(body, bytes_max, time).await?)
}

/// Reads JSON.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    // An array would be read as a struct, field by field.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::usage("the body is an array, this operation takes an object").into());
    }
    serde_json::from_slice(bytes).map_err(|e| {
        Problem::usage("the body is not what this operation takes")
            .why(e.to_string())
            .hint("/openapi.json describes it; unknown fields are refused")
            .into()
    })
}

/// A page's length: 1 to [`PAGE_MAX`]; anything else is a mistake, not a wish.
pub(super) fn page_limit(asked: Option<i64>, default: u32, max: u32) -> Outcome<u32> {
    let Some(asked) = asked else { return Ok(default) };
    match u32::try_from(asked) {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(Problem::usage(format!("the limit is {asked}, it is 1 to {max}")).into()),
    }
}

const _: () = assert!(PAGE_MAX > 0);

/// A cursor in its text form.
pub(super) fn cursor(text: Option<&str>) -> Outcome<Option<Cursor>> {
    let Some(text) = text else { return Ok(None) };
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let bytes = bytes.filter(|b| !b.is_empty() && b.len() <= 256);
    let refused = || Box::<Problem>::from(crate::storage::StorageError::Cursor);
    bytes.map(|b| Some(Cursor(b))).ok_or_else(refused)
}

/// Text form of a cursor.
pub(super) fn cursor_text(cursor: &Cursor) -> String {
    data_encoding::BASE64URL_NOPAD.encode(&cursor.0)
}

/// `a,b` as a list; at most 20 words.
pub(super) fn words(text: Option<&str>) -> Outcome<Vec<String>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let words: Vec<String> = text.split(',').map(|w| w.trim().to_lowercase()).collect();
    check_words(&words)?;
    Ok(words)
}

/// Bounds of a list of words.
pub(super) fn check_words(words: &[String]) -> Outcome<()> {
    if words.len() > 20 {
        return Err(Problem::usage(format!("{} words, at most 20 are allowed", words.len())).into());
    }
    match words.iter().find(|w| w.is_empty() || w.len() > 128 || w.chars().any(char::is_control)) {
        Some(wrong) => {
            let shown: String = wrong.chars().take(64).collect();
            Err(Problem::usage(format!("{shown:?} is no word: 1 to 128 bytes, printable")).into())
        }
        None => Ok(()),
    }
}

/// Base64url with or without padding.
pub(super) fn base64url(what: &str, text: &str) -> Outcome<Vec<u8>> {
    let trimmed = text.trim_end_matches('=');
    data_encoding::BASE64URL_NOPAD
        .decode(trimmed.as_bytes())
        .map_err(|e| Problem::usage(format!("{what} is not base64url")).why(e.to_string()).into())
}

/// Which of `offers` the caller likes best (RFC 9110 §12.5.1); the first where it does not care.
pub(super) fn accepted(headers: &HeaderMap, offers: &[&'static str]) -> Outcome<usize> {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    if lines.is_empty() {
        return Ok(0);
    }
    let ranges: Vec<(String, f32)> = lines.iter().flat_map(|l| l.split(',')).map(range).collect();
    let quality = |offer: &str| {
        let major = offer.split('/').next().unwrap_or("");
        let fits = |r: &str| match r {
            "*/*" => 1,
            r if r.strip_suffix("/*") == Some(major) => 2,
            r if r == offer => 3,
            _ => 0,
        };
        // The most specific range decides.
        let best = ranges.iter().filter(|(r, _)| fits(r) > 0).max_by_key(|(r, _)| fits(r));
        best.map_or(0.0, |(_, q)| *q)
    };
    let mut best = None;
    for (n, offer) in offers.iter().enumerate() {
        let q = quality(offer);
        if q > 0.0 && best.is_none_or(|(_, b)| q > b) {
            best = Some((n, q));
        }
    }
    best.map(|(n, _)| n).ok_or_else(|| {
        Problem::usage(format!("this operation answers {}", offers.join(" or ")))
            .status(StatusCode::NOT_ACCEPTABLE)
            .into()
    })
}

fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or("").to_ascii_lowercase();
    let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    (media, q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
}

/// Whether `If-None-Match` names `etag` (weak comparison, RFC 9110 §8.8.3.2).
pub(super) fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_most_liked_offer_is_chosen() {
        let offers = ["application/json", "application/cose"];
        let choose = |accept: &str| accepted(&headers(header::ACCEPT, accept), &offers).ok();
        assert_eq!(choose("*/*"), Some(0));
        assert_eq!(choose("application/cose"), Some(1));
        assert_eq!(choose("application/json;q=0.5, application/cose"), Some(1));
        assert_eq!(choose("application/*;q=0.1, application/json;q=0"), Some(1));
        assert_eq!(choose("text/html"), None);
        assert_eq!(choose("text/html, */*;q=0.1"), Some(0));
    }

    #[test]
    fn an_etag_matches_weakly_and_among_others() {
        let asks = |value: &str| none_match(&headers(header::IF_NONE_MATCH, value), "W/\"a\"");
        assert!(asks("\"a\"") && asks("W/\"a\"") && asks("\"b\", W/\"a\"") && asks("*"));
        assert!(!asks("\"b\"") && !asks("a"));
    }

    #[test]
    fn a_limit_outside_its_bounds_is_a_mistake() {
        assert_eq!(page_limit(None, 50, 200).unwrap(), 50);
        assert_eq!(page_limit(Some(200), 50, 200).unwrap(), 200);
        for wrong in [-1, 0, 201, i64::MAX, i64::MIN] {
            assert!(page_limit(Some(wrong), 50, 200).is_err(), "{wrong}");
        }
    }
}
