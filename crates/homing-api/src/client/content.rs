//! The calls about content. Every error is as [`super`] says.

use homing_base::ContentId;

use super::{Client, EventStream};
use crate::agent::Done;
use crate::content::{
    AddContentRequest, AddedContent, ContentList, FetchProgress, FetchRequest, Fetched,
    RemoveContentRequest,
};
use crate::error::{ApiError, Code};
use crate::operations as op;

/// A fetch under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Fetching(EventStream);

/// What a fetch says.
#[derive(Clone, Debug, PartialEq)]
pub enum FetchEvent {
    /// It goes on.
    Progress(FetchProgress),
    /// It is here.
    Done(Box<Fetched>),
}

impl Client {
    /// Keep a copy of a file and serve it to trusted peers.
    ///
    /// # Errors
    /// See the module.
    pub async fn add_content(&self, path: String) -> Result<AddedContent, ApiError> {
        self.post(op::CONTENT_ADD, &AddContentRequest { path }).await
    }

    /// What is kept.
    ///
    /// # Errors
    /// See the module.
    pub async fn content(&self) -> Result<ContentList, ApiError> {
        self.fetch(op::CONTENT).await
    }

    /// Keep and serve it no longer.
    ///
    /// # Errors
    /// See the module.
    pub async fn remove_content(&self, cid: ContentId) -> Result<Done, ApiError> {
        self.post(op::CONTENT_RM, &RemoveContentRequest { cid }).await
    }

    /// Get content from whoever has it.
    ///
    /// # Errors
    /// See the module; and what [`Fetching::recv`] says later.
    pub async fn fetch_content(&self, request: &FetchRequest) -> Result<Fetching, ApiError> {
        let body = serde_json::to_vec(request).map_err(|e| super::internal("the request", &e))?;
        self.stream_events(op::CONTENT_FETCH, Some(body)).await.map(Fetching)
    }
}

impl Fetching {
    /// What comes next; nothing after [`FetchEvent::Done`].
    ///
    /// # Errors
    /// Why it failed.
    pub async fn recv(&mut self) -> Result<FetchEvent, ApiError> {
        let stopped = || ApiError::new(Code::DaemonNotRunning, "the daemon stopped");
        let event = self.0.recv().await?.ok_or_else(stopped)?;
        let malformed = |e: serde_json::Error| super::internal("an event", &e);
        match event.event.as_str() {
            "done" => serde_json::from_str(&event.data).map(FetchEvent::Done).map_err(malformed),
            "error" => Err(serde_json::from_str(&event.data).unwrap_or_else(malformed)),
            _ => serde_json::from_str(&event.data).map(FetchEvent::Progress).map_err(malformed),
        }
    }
}
