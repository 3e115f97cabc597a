//! `GET /v1/events`: what changes, as server-sent events (WHATWG HTML §9.2), resumable.
//!
//! ```text
//! id: 17
//! event: updated
//! data: {"number":17,"kind":"updated","node_id":"…","sequence":…,"at":"…"}
//! ```
//! `Last-Event-ID` (or `?after=`) continues after that number; without it the stream begins with what happens next. If
//! the changes asked for are no longer kept, the first event is `gap`: read `/v1/entities` again. A subscriber that reads
//! slowly costs one position, not a queue: its next changes are read when it has taken the last ones. At most
//! `subscribers_max` streams; a comment every 15 s keeps proxies awake.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use utoipa::ToSchema;

use super::problem::{Problem, Refusal};
use super::request::Params;
use super::views::time;
use super::{App, clock};
use crate::limits::CHANGES_MAX;
use crate::storage::{Change, ChangeKind};

/// Changes that every subscriber can have without asking the database.
const RECENT_MAX: usize = 1_024;
/// Changes read at once.
const BATCH: u32 = 256;
/// A comment is sent after this long without an event.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the pump tells the streams.
pub(super) struct Events {
    recent: Mutex<VecDeque<Change>>,
    newest: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    woken: Arc<Notify>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            newest: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            woken: Arc::default(),
        }
    }
}

impl Events {
    /// Something was changed here: the pump shall look now.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Resolves when somebody calls [`Events::wake`].
    pub(super) fn woken(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    /// Where the pump begins.
    pub(super) fn begin(&self, newest: u64) {
        self.newest.send_replace(newest);
    }

    /// Changes, in order.
    pub(super) fn push(&self, changes: Vec<Change>) {
        let Some(newest) = changes.last().map(|c| c.number) else { return };
        let mut recent = self.recent.lock().expect("no holder panics");
        recent.extend(changes);
        while recent.len() > RECENT_MAX {
            recent.pop_front();
        }
        drop(recent);
        self.newest.send_replace(newest);
    }

    /// Ends every stream; no new ones begin.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Changes after `after`, if the recent ones reach back that far.
    fn since(&self, after: u64) -> Option<Vec<Change>> {
        let recent = self.recent.lock().expect("no holder panics");
        let first = recent.front()?.number;
        (first <= after.saturating_add(1)).then(|| {
            recent.iter().filter(|c| c.number > after).take(BATCH as usize).cloned().collect()
        })
    }
}

/// Parameters of the stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventParams {
    after: Option<u64>,
}

/// The data of one event.
#[derive(Serialize, ToSchema)]
#[schema(title = "Change")]
pub(super) struct ChangeView {
    /// Rises; also the event's ID.
    number: u64,
    /// `registered`, `updated`, `withdrawn` or `expired`; also the event's name.
    kind: &'static str,
    /// Whose.
    node_id: String,
    /// The record's sequence.
    sequence: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

fn event(change: &Change) -> Event {
    let kind = match change.kind {
        ChangeKind::Registered => "registered",
        ChangeKind::Updated => "updated",
        ChangeKind::Withdrawn => "withdrawn",
        ChangeKind::Expired => "expired",
    };
    let view = ChangeView {
        number: change.number,
        kind,
        node_id: change.node_id.to_string(),
        sequence: change.sequence.0,
        at: time(change.at),
    };
    let data = serde_json::to_string(&view).expect("plain values serialise");
    Event::default().id(change.number.to_string()).event(kind).data(data)
}

struct Stream {
    app: App,
    at: u64,
    newest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    queue: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

/// `GET /v1/events`.
pub(super) async fn stream(
    State(app): State<App>,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let asked = match headers.get("last-event-id") {
        None => params.after,
        Some(value) => {
            let number = value.to_str().ok().and_then(|t| t.trim().parse().ok());
            Some(number.ok_or_else(|| Problem::usage("Last-Event-ID is no number of an event"))?)
        }
    };
    if app.events.is_stopping() {
        return Err(Problem::busy("it is about to stop").into());
    }
    let place = Arc::clone(&app.subscribers).try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("it has as many event streams as it can"))?;
    let newest = app.events.newest.subscribe();
    let last = app.storage.totals(clock::now()).await.map_err(Box::<Problem>::from)?.changes;
    let (mut at, mut queue) = (asked.unwrap_or(last), VecDeque::new());
    if at > last || last - at > CHANGES_MAX {
        let data = format!("{{\"asked_after\":{at},\"continues_after\":{last}}}");
        queue.push_back(Event::default().event("gap").id(last.to_string()).data(data));
        at = last;
    }
    let stopping = app.events.stopping.subscribe();
    let state = Stream { app, at, newest, stopping, queue, _place: place };
    let stream = futures_util::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    // The head alone tells a client nothing for 15 s otherwise.
    let hello = futures_util::stream::once(async { Ok(Event::default().comment("following")) });
    let stream = futures_util::StreamExt::chain(hello, stream);
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            self.newest.borrow_and_update();
            self.fill().await;
            if !self.queue.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }

    async fn fill(&mut self) {
        let changes = match self.app.events.since(self.at) {
            Some(changes) => changes,
            // A database that fails is asked again at the next change.
            None => self.app.storage.changes(self.at, BATCH).await.unwrap_or_default(),
        };
        if let Some(last) = changes.last() {
            self.at = last.number;
        }
        self.queue.extend(changes.iter().map(event));
    }
}
