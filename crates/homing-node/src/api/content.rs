//! Routes of content.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::FutureExt;
use futures_util::stream;
use homing_api::content::{AddedContent, ContentList, FetchRequest};
use homing_api::{agent, operations as op};

use super::answer::{Answer, Failed, body, json};
use super::router::{ApiState, Body, Here};
use super::sse::{event, respond};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The operations of content.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route(op::CONTENT, get(list).post(add))
        .route(op::CONTENT_RM, post(remove))
        .route(op::CONTENT_FETCH, post(fetch))
}

async fn list(State(s): Here) -> Answer<ContentList> {
    json(s.node.content().await)
}

async fn add(State(s): Here, bytes: Body) -> Answer<AddedContent> {
    json(s.node.add_content(body(bytes)?).await)
}

async fn remove(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.remove_content(body(bytes)?).await)
}

/// The fetch ends when nobody reads the response.
async fn fetch(State(s): Here, bytes: Body) -> Result<Response, Failed> {
    let request: FetchRequest = body(bytes)?;
    let (cid, likely) = s.node.content_meant(&request.what).await?;
    let request =
        FetchRequest { what: cid.to_string(), from: [request.from, likely].concat(), ..request };
    let node = s.node.clone();
    let fetching = async move { node.fetch(request).await }.boxed();
    let state = Some((fetching, tokio::time::interval(PROGRESS_EVERY), None, s.node));
    Ok(respond(stream::unfold(state, move |state| async move {
        let (mut fetching, mut every, mut told, node) = state?;
        loop {
            let ended = tokio::select! {
                ended = &mut fetching => ended,
                how = node.ended() => Err(how.err().unwrap_or_else(crate::problem::stopping)),
                _ = every.tick() => {
                    let progress = node.progress_of(cid).await.ok();
                    if progress == told || progress.as_ref().is_none_or(|p| p.size_bytes == 0) {
                        continue;
                    }
                    told = progress;
                    let event = event("progress", &told);
                    return Some((event, Some((fetching, every, told, node))));
                }
            };
            let last = match ended {
                Ok(fetched) => event("done", &fetched),
                Err(error) => event("error", &error),
            };
            return Some((last, None));
        }
    })))
}
