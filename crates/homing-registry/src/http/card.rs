//! `GET /v1/entities/{id}/card`: the agent's card, byte for byte, with what became of its signatures.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homing_api::Code;
use homing_base::Record;

use super::lookup;
use super::problem::{Outcome, Problem, Refusal};
use super::request::{self, Nothing, Params, Segments};
use super::{App, clock, describe};
use crate::entity::{Entity, Status, StoredCard};

const SIGNATURE: HeaderName = HeaderName::from_static("homing-card-signature");

/// `GET /v1/entities/{id}/card`.
pub(super) async fn read(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let entity = alive(&app, &id).await?;
    let card = match entity.card {
        Some(card) => card,
        None => bring(&app, &entity.record).await?,
    };
    let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&card.sha256));
    let unchanged = request::none_match(&headers, &etag);
    let signature = describe::signature(&app, &entity.record, &card.bytes).await;
    let mut response = match unchanged {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => card.bytes.into_response(),
    };
    let out = response.headers_mut();
    if unchanged {
        out.remove(header::CONTENT_TYPE);
    } else {
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    out.insert(header::ETAG, HeaderValue::try_from(etag).expect("hexadecimal digits"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(SIGNATURE, HeaderValue::from_static(signature));
    Ok(response)
}

/// The entity of a key, if its record is valid.
pub(super) async fn alive(app: &App, id: &str) -> Outcome<Entity> {
    let found = lookup::find(app, id, true).await?;
    let node_id = found.answer.node_id;
    let entity = app.storage.entity(&node_id).await?;
    let entity = entity.ok_or_else(|| Box::new(Problem::not_found(id)))?;
    match entity.status(clock::now()) {
        Status::Withdrawn => Err(Problem::withdrawn(&node_id).into()),
        Status::Expired => Err(Problem::not_found(id).into()),
        Status::Active | Status::Inactive => Ok(entity),
    }
}

/// Fetches the card that a record names, keeps it and what it says.
pub(super) async fn bring(app: &App, record: &Record) -> Outcome<StoredCard> {
    let id = record.node_id();
    let Some(named) = &record.card else {
        return Err(Problem::new(Code::NotFound, format!("{id} has no card"))
            .hint("its record names none")
            .into());
    };
    let Ok(_slot) = app.outside.try_acquire() else {
        return Err(Problem::busy("too many cards are being fetched").into());
    };
    let bytes = describe::fetch(app, record)
        .await
        .map_err(|why| unavailable(&named.url, why.to_string()))?;
    let now = clock::now();
    let card = describe::stored(bytes, now);
    if card.sha256 != named.sha256 {
        return Err(unavailable(&named.url, "what is served there is not what the agent signed"));
    }
    let listing = describe::listing(now, record, Some(&card.bytes));
    if app.storage.set_card(&id, card.clone(), listing).await? {
        app.changed(&id, None);
    }
    Ok(card)
}

fn unavailable(url: &str, why: impl Into<String>) -> Box<Problem> {
    let url: String = url.chars().take(256).collect();
    Problem::new(Code::PeerOffline, format!("the card cannot be had from {url}"))
        .why(why)
        .hint("register again and send the card along")
        .into()
}
