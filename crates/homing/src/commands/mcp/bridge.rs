//! Standard input and output ↔ Streamable HTTP behind the tunnel.
//!
//! ```text
//! line ──► POST /, headers as its revision wants ([`headers`]) ──► one JSON answer · SSE until it comes
//! notifications/initialized, with a session ──► GET /: what the server says by itself, for as long as it lasts
//! 404 of a session that the server forgot  ──► the client's own initialize once more, then the message again
//! SSE that breaks off                      ──► GET / with Last-Event-ID
//! end of input                             ──► the open requests end, DELETE /
//! ```
//! MCP 2025-03-26 to 2025-11-25 (sessions) and 2026-07-28 (stateless). A request whose answer cannot come is
//! answered with an error; it is never sent twice unless the server said that it did not take it. Not
//! here: OAuth (trust is the peer's), the two-endpoint HTTP+SSE of 2024-11-05.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homing_api::sse::SseDecoder;
use homing_api::{ApiError, Code};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::connect::Way;
use super::headers::{self, ToolHeaders};
use super::wire::{self, IN_FLIGHT_MAX, INVALID_REQUEST, LINE_BYTES_MAX, Message, Out};
use crate::commands::tunnel::media_type;
use crate::commands::{OK, Outcome};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Before an event stream is taken up again, unless the server says when.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// Attempts to take up an event stream without a byte of progress.
const RESUMES_MAX: u32 = 5;
/// How long saying goodbye to a session may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Carries messages until the client's input ends or the peer no longer lets it in.
pub(super) async fn run(
    way: Arc<Way>,
    mut input: mpsc::Receiver<Vec<u8>>,
    out: Arc<Out>,
) -> Outcome {
    let (stop, mut stopped) = mpsc::channel(1);
    let bridge = Arc::new(Bridge { way, out, stop, state: Mutex::default() });
    let mut calls = JoinSet::new();
    loop {
        let line = tokio::select! {
            line = input.recv() => line,
            Some(error) = stopped.recv() => return Err(error),
            Some(_) = calls.join_next(), if !calls.is_empty() => continue,
        };
        match line {
            Some(line) => bridge.clone().on_line(line, &mut calls).await,
            None => break,
        }
    }
    bridge.abort_subscriptions();
    tokio::select! {
        () = async { while calls.join_next().await.is_some() {} } => {}
        Some(error) = stopped.recv() => return Err(error),
    }
    bridge.goodbye().await;
    Ok(OK)
}

struct Bridge {
    way: Arc<Way>,
    out: Arc<Out>,
    /// Ends the command: what happened will happen to every message.
    stop: mpsc::Sender<ApiError>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    initialize: Option<Message>,
    initialized: Option<Message>,
    tools: ToolHeaders,
    open: BTreeMap<String, Open>,
    listener: Option<AbortHandle>,
}

/// A request that waits for its answer.
struct Open {
    abort: AbortHandle,
    stateless: bool,
    subscription: bool,
}

/// Why a request has no answer of the server.
enum Lost {
    /// Homing's own reason.
    Failed(ApiError),
    /// What the client is told instead.
    Told(Vec<u8>),
}

impl From<ApiError> for Lost {
    fn from(error: ApiError) -> Self {
        Lost::Failed(error)
    }
}

impl Bridge {
    async fn on_line(self: Arc<Self>, line: Vec<u8>, calls: &mut JoinSet<()>) {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(answer) => return self.out.line(&answer).await,
        };
        let Some(id) = message.request_id().cloned() else { return self.notify(message).await };
        if message.method() == Some("initialize") {
            let mut state = lock(&self.state);
            (state.session, state.version) = (None, None);
            state.initialize = Some(message.clone());
        }
        if lock(&self.state).open.len() >= IN_FLIGHT_MAX {
            let error = ApiError::new(Code::LimitReached, "too many requests at once");
            return self.out.line(&wire::failed_line(&id, &error)).await;
        }
        let open = |abort| Open {
            abort,
            stateless: headers::stateless_version(&message).is_some(),
            subscription: message.method() == Some("subscriptions/listen"),
        };
        let key = id.to_string();
        let mut state = lock(&self.state);
        let bridge = self.clone();
        let task = bridge.call(message.clone(), id, key.clone());
        let earlier = state.open.insert(key, open(calls.spawn(task)));
        if let Some(earlier) = earlier {
            earlier.abort.abort();
        }
    }

    /// A notification or an answer: in order, and nobody waits for what comes of it.
    async fn notify(self: &Arc<Self>, message: Message) {
        if self.cancels_here(&message) {
            return;
        }
        let initialized = message.method() == Some("notifications/initialized");
        if initialized {
            lock(&self.state).initialized = Some(message.clone());
        }
        match self.post(&message).await {
            Ok(_) if initialized => self.listen(),
            Ok(_) => {}
            Err(error) => self.on_failure(&error),
        }
    }

    /// In the stateless revision the end of a request's stream is its cancellation.
    fn cancels_here(&self, message: &Message) -> bool {
        if message.method() != Some("notifications/cancelled") {
            return false;
        }
        let key = message.params()["requestId"].to_string();
        let mut state = lock(&self.state);
        if !state.open.get(&key).is_some_and(|o| o.stateless) {
            return state.session.is_none() && state.version.is_none();
        }
        if let Some(open) = state.open.remove(&key) {
            open.abort.abort();
        }
        true
    }

    async fn call(self: Arc<Self>, message: Message, id: Value, key: String) {
        match self.ask(&message, &id).await {
            Ok(()) => {}
            Err(Lost::Told(line)) => self.out.line(&line).await,
            Err(Lost::Failed(error)) => {
                self.out.line(&wire::failed_line(&id, &error)).await;
                self.on_failure(&error);
            }
        }
        lock(&self.state).open.remove(&key);
    }

    /// An error that every later message would meet ends the command.
    fn on_failure(&self, error: &ApiError) {
        let lasting = [Code::PeerNotTrusted, Code::TrustExpired, Code::ScopeDenied];
        if lasting.contains(&error.code) || error.code == Code::DaemonNotRunning {
            let _ = self.stop.try_send(error.clone());
        }
    }

    async fn ask(&self, message: &Message, id: &Value) -> Result<(), Lost> {
        let mut response = self.post(message).await?;
        if response.status() == StatusCode::NOT_FOUND && self.renew(message).await? {
            response = self.post(message).await?;
        }
        self.learn_session(message, &response);
        let status = response.status();
        match media_type(&response).as_str() {
            _ if status == StatusCode::ACCEPTED || status == StatusCode::NO_CONTENT => {
                Err(odd(id, "the server took the request without answering it"))
            }
            "text/event-stream" if status.is_success() => {
                self.answer_from_events(message, id, response).await
            }
            "application/json" => {
                let body = self.way.tunnel.whole(response).await?;
                self.answer_from_json(message, id, status, body).await
            }
            other => Err(odd(id, &format!("the server answered HTTP {status} with {other:?}"))),
        }
    }

    async fn answer_from_json(
        &self,
        message: &Message,
        id: &Value,
        status: StatusCode,
        body: Bytes,
    ) -> Result<(), Lost> {
        let line = wire::one_line(body.to_vec());
        let Ok(answer) = Message::parse(line) else {
            return Err(odd(id, &format!("the server answered HTTP {status} without a message")));
        };
        if answer.answer_id() == Some(id) {
            self.deliver(message, &answer).await;
            return Ok(());
        }
        // Refused before its ID was read: the error still belongs to this request.
        let refused = answer.error().filter(|_| !status.is_success());
        Err(refused.map_or_else(
            || odd(id, &format!("the server answered HTTP {status} to another request")),
            |error| Lost::Told(wire::answer_line(id, error)),
        ))
    }

    async fn answer_from_events(
        &self,
        message: &Message,
        id: &Value,
        response: Response<Incoming>,
    ) -> Result<(), Lost> {
        let (mut response, mut resumes) = (Some(response), 0);
        let mut events = SseDecoder::with_limit(LINE_BYTES_MAX);
        loop {
            if let Some(response) = response.take() {
                let (done, progress) = self.pump(message, Some(id), response, &mut events).await?;
                if done {
                    return Ok(());
                }
                resumes = if progress { 0 } else { resumes };
            }
            let last = events.last_id().map(str::to_owned);
            let Some(last) = last.filter(|_| resumes < RESUMES_MAX) else {
                let error = self.way.tunnel.broken(&"the event stream ended without the answer");
                return Err(Lost::Failed(error));
            };
            resumes += 1;
            let pause = events.retry_ms().map_or(RESUME_AFTER, Duration::from_millis);
            tokio::time::sleep(pause.min(RESUME_AFTER * 60)).await;
            let got = self.send(self.fetch(Some(&last))).await;
            response = got.ok().filter(|r| r.status().is_success());
        }
    }

    /// Delivers events until the body ends or the answer to `id` has come; whether it has, and whether
    /// anything came at all.
    async fn pump(
        &self,
        message: &Message,
        id: Option<&Value>,
        response: Response<Incoming>,
        events: &mut SseDecoder,
    ) -> Result<(bool, bool), ApiError> {
        let (mut body, mut progress) = (response.into_body(), false);
        events.restart();
        while let Some(Ok(frame)) = body.frame().await {
            let Some(bytes) = frame.data_ref() else { continue };
            events.push(bytes).map_err(|e| {
                ApiError::new(Code::LimitReached, "the server sent too long a message")
                    .why(e.to_string())
            })?;
            while let Some(event) = events.poll_event() {
                progress = true;
                let line = wire::one_line(event.data.into_bytes());
                let Ok(said) = Message::parse(line) else { continue };
                self.deliver(message, &said).await;
                if id.is_some() && said.answer_id() == id {
                    return Ok((true, true));
                }
            }
        }
        Ok((false, progress))
    }

    /// To the client, after what there is to learn from it.
    async fn deliver(&self, request: &Message, said: &Message) {
        if said.answer_id().is_some() {
            let mut state = lock(&self.state);
            match request.method() {
                Some("initialize") => {
                    let version = said.result()["protocolVersion"].as_str();
                    state.version = version.and_then(|v| v.parse().ok());
                }
                Some("tools/list") => state.tools.learn(said.result()),
                _ => {}
            }
        }
        self.out.line(&said.line).await;
    }

    fn learn_session(&self, message: &Message, response: &Response<Incoming>) {
        if message.method() != Some("initialize") {
            return;
        }
        lock(&self.state).session = response.headers().get(SESSION_ID).cloned();
    }

    /// Opens a new session as the client opened the forgotten one; whether there was one to renew.
    async fn renew(&self, message: &Message) -> Result<bool, Lost> {
        let (initialize, initialized) = {
            let mut state = lock(&self.state);
            let known = state.session.take().and(state.initialize.clone());
            (known, state.initialized.clone())
        };
        let Some(initialize) = initialize.filter(|_| message.method() != Some("initialize")) else {
            return Ok(false);
        };
        let response = self.post(&initialize).await?;
        if !response.status().is_success() {
            let message = "the server forgot the session and opens no new one";
            let error = ApiError::new(Code::StreamBroken, message);
            return Err(Lost::Failed(error.why(format!("HTTP {}", response.status()))));
        }
        self.learn_session(&initialize, &response);
        // The client has the answer to its own handshake already.
        self.way.tunnel.whole(response).await?;
        if let Some(initialized) = initialized {
            self.post(&initialized).await?;
        }
        Ok(true)
    }

    /// What the server says by itself, for as long as there is a session.
    fn listen(self: &Arc<Self>) {
        if lock(&self.state).session.is_none() {
            return;
        }
        let bridge = self.clone();
        let task = tokio::spawn(async move {
            let initialized = lock(&bridge.state).initialized.clone();
            let Some(message) = initialized else { return };
            let mut events = SseDecoder::with_limit(LINE_BYTES_MAX);
            loop {
                let request = bridge.fetch(events.last_id());
                match bridge.send(request).await {
                    Ok(r) if r.status().is_success() && media_type(&r) == "text/event-stream" => {
                        if bridge.pump(&message, None, r, &mut events).await.is_err() {
                            return;
                        }
                    }
                    // 405: it never says anything by itself.
                    Ok(_) => return,
                    Err(error) if !bridge.way.goes_on_after(&error) => return,
                    Err(_) => {}
                }
                let pause = events.retry_ms().map_or(RESUME_AFTER, Duration::from_millis);
                tokio::time::sleep(pause.min(RESUME_AFTER * 60)).await;
            }
        });
        if let Some(earlier) = lock(&self.state).listener.replace(task.abort_handle()) {
            earlier.abort();
        }
    }

    async fn post(&self, message: &Message) -> Result<Response<Incoming>, ApiError> {
        let mut request = self.request(Method::POST, message.line.clone());
        if let Some(version) = headers::stateless_version(message) {
            let own = headers::of_stateless(message, version, &lock(&self.state).tools);
            request.headers_mut().remove(SESSION_ID);
            request.headers_mut().extend(own);
        } else if message.method() == Some("initialize") {
            request.headers_mut().remove(SESSION_ID);
            request.headers_mut().remove(VERSION);
        }
        self.send(request).await
    }

    /// `GET` of the server's own event stream, from where it broke off.
    fn fetch(&self, last: Option<&str>) -> Request<Full<Bytes>> {
        let mut request = self.request(Method::GET, Vec::new());
        request.headers_mut().remove(CONTENT_TYPE);
        if let Some(Ok(last)) = last.map(str::parse) {
            request.headers_mut().insert(LAST_EVENT_ID, last);
        }
        request
    }

    fn request(&self, method: Method, body: Vec<u8>) -> Request<Full<Bytes>> {
        let state = lock(&self.state);
        let mut request = Request::builder()
            .method(method)
            .uri("/")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in [(SESSION_ID, &state.session), (VERSION, &state.version)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.body(Full::new(body.into())).expect("the parts are valid")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ApiError> {
        self.way.tunnel.exchange(self.way.open().await?, request).await
    }

    /// Subscriptions end with their client only.
    fn abort_subscriptions(&self) {
        let mut state = lock(&self.state);
        state.open.retain(|_, open| {
            if open.subscription {
                open.abort.abort();
            }
            !open.subscription
        });
        if let Some(listener) = state.listener.take() {
            listener.abort();
        }
    }

    async fn goodbye(&self) {
        if lock(&self.state).session.is_some() {
            let request = self.request(Method::DELETE, Vec::new());
            let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.send(request)).await;
        }
    }
}

fn odd(id: &Value, what: &str) -> Lost {
    Lost::Told(wire::error_line(id, INVALID_REQUEST, what, None))
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
