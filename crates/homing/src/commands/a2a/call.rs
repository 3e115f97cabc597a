//! `a2a call`: one question to a peer's agent.
//!
//! The card decides how to ask. An agent that works on is looked after until its task rests, within
//! `--timeout`. What it says is printed as it is; a task that failed is printed too, with exit code 1.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use homing_api::sse::SseDecoder;
use homing_api::{ApiError, Code};
use homing_base::Service;
use homing_registry::cards::{Card, Dialect, WELL_KNOWN_PATH};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{Kind, Said, rests, went_wrong};
use super::dialect::{Interface, Question};
use crate::commands::tunnel::{BODY_BYTES_MAX, Tunnel, media_type};
use crate::commands::{OK, Outcome, card};
use crate::output;
use crate::session::Session;

/// How long an answer may take unless `--timeout` says otherwise: models think.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Between two looks at a task that is worked on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest question.
const TEXT_BYTES_MAX: u64 = 1_024 * 1_024;

/// Ask a peer's agent and print its answer
#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// Name, address or node ID
    peer: String,
    /// What to ask; - reads standard input
    text: String,
    /// The service under which the agent is exposed
    #[arg(long, default_value = super::SERVICE)]
    service: Service,
    /// Print what it says as it says it; with --json one event per line
    #[arg(long)]
    stream: bool,
    /// Go on in the context of an earlier answer
    #[arg(long, value_name = "ID")]
    context: Option<String>,
    /// Go on with a task that asked for something
    #[arg(long, value_name = "ID")]
    task: Option<String>,
}

/// `homing.a2a_answer/v1`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    schema: &'static str,
    peer: &'a str,
    binding: &'static str,
    protocol: &'static str,
    kind: Kind,
    state: Option<String>,
    task_id: Option<&'a str>,
    context_id: Option<&'a str>,
    text: String,
    result: &'a Value,
}

/// `homing.a2a_event/v1`: one line of `--stream --json`.
#[derive(Debug, Serialize)]
struct Event<'a> {
    schema: &'static str,
    kind: Kind,
    state: Option<String>,
    text: String,
    event: &'a Value,
}

/// What of a streamed answer stands on standard output.
#[derive(Debug, Default)]
struct Shown {
    any: bool,
    line_open: bool,
}

impl Shown {
    /// A part begins a line unless it goes on with the one before.
    fn part(&mut self, text: &str, goes_on: bool) {
        let new_line = if self.line_open && !goes_on { "\n" } else { "" };
        output::print(&format!("{new_line}{text}"));
        (self.any, self.line_open) = (true, !text.ends_with('\n'));
    }
}

/// A conversation with one agent.
struct Talk<'s> {
    session: &'s Session,
    tunnel: Tunnel,
    interface: Interface,
    deadline: Instant,
}

pub(super) async fn run(session: &Session, args: &CallArgs) -> Outcome {
    let tunnel = Tunnel {
        client: session.client()?.clone(),
        peer: args.peer.clone(),
        service: args.service.to_string(),
        timeout: session.answer_timeout(),
    };
    let question = Question {
        id: message_id(),
        text: text(&args.text)?,
        context: args.context.clone(),
        task: args.task.clone(),
    };
    let card = find_card(session, &tunnel).await?;
    let interface = Interface::choose(&card)?;
    let deadline = Instant::now() + session.timeout.unwrap_or(ANSWER_TIMEOUT);
    let talk = Talk { session, tunnel, interface, deadline };
    let streams = card.fields().get("capabilities").is_some_and(|c| c["streaming"] == true);
    if args.stream && streams {
        return talk.stream(&question).await;
    }
    if args.stream {
        output::say("note: its card offers no streaming; waiting for the whole answer");
    }
    talk.whole(&question).await
}

/// The card that the peer's record names, else the one that the service itself has.
async fn find_card(session: &Session, tunnel: &Tunnel) -> Result<Card, ApiError> {
    let bytes = match card::of_trusted_peer(session, &tunnel.peer).await {
        Err(error) if error.code == Code::NotFound => {
            let request = Request::builder().uri(WELL_KNOWN_PATH).body(Full::default());
            let response = tunnel.send(request.expect("a fixed path")).await?;
            if !response.status().is_success() {
                return Err(error.hint("on the other side: homing a2a expose URL"));
            }
            tunnel.whole(response).await?.to_vec()
        }
        found => found?,
    };
    Card::parse(&bytes).map_err(|e| {
        ApiError::new(Code::AgentFailed, format!("the card of {} is no card", tunnel.peer))
            .why(e.to_string())
    })
}

impl Talk<'_> {
    async fn whole(&self, question: &Question) -> Outcome {
        let mut said = self.ask(self.interface.ask(question, false)).await?;
        while let Some(state) = said.state().filter(|s| !rests(s)) {
            let Some(task) = said.task_id().map(str::to_owned) else { break };
            if Instant::now() + LOOK_EVERY >= self.deadline {
                return Err(self.late(&state, &task));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            said = self.ask(self.interface.look(&task)).await?;
        }
        self.print(&said);
        Ok(exit(said.state().as_deref()))
    }

    async fn ask(&self, request: Request<Full<hyper::body::Bytes>>) -> Result<Said, ApiError> {
        let exchange = async {
            let response = self.tunnel.send(request).await?;
            let status = response.status();
            let body = self.tunnel.whole(response).await?;
            Said::read(self.interface.binding, &body)
                .map_err(|e| if status.is_success() { e } else { no_answer(e, status) })
        };
        self.in_time(exchange).await
    }

    async fn stream(&self, question: &Question) -> Outcome {
        let response = self.in_time(self.tunnel.send(self.interface.ask(question, true))).await?;
        if media_type(&response) != "text/event-stream" {
            let status = response.status();
            let body = self.tunnel.whole(response).await?;
            let said = Said::read(self.interface.binding, &body);
            let said =
                said.map_err(|e| if status.is_success() { e } else { no_answer(e, status) })?;
            self.print(&said);
            return Ok(exit(said.state().as_deref()));
        }
        self.in_time(self.follow(response)).await
    }

    async fn follow(&self, response: Response<Incoming>) -> Outcome {
        let (mut body, mut events) = (response.into_body(), SseDecoder::with_limit(BODY_BYTES_MAX));
        let (mut state, mut shown) = (None, Shown::default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.tunnel.broken(&e))?;
            let Some(bytes) = frame.data_ref() else { continue };
            events.push(bytes).map_err(|e| self.tunnel.broken(&e))?;
            while let Some(event) = events.poll_event() {
                let said = Said::read(self.interface.binding, event.data.as_bytes())?;
                state = said.state().or(state);
                self.print_event(&said, &mut shown);
            }
        }
        if shown.line_open {
            output::print("\n");
        }
        match state {
            Some(state) if !rests(&state) => {
                Err(self.tunnel.broken(&format!("the stream ended while the task was {state}")))
            }
            state => Ok(exit(state.as_deref())),
        }
    }

    fn print_event(&self, said: &Said, shown: &mut Shown) {
        let text = said.text();
        if self.session.out.format.is_json() {
            let schema = "homing.a2a_event/v1";
            let (kind, state) = (said.kind, said.state());
            return self.session.out.line(&Event { schema, kind, state, text, event: &said.body });
        }
        let rests = said.state().is_some_and(|s| rests(&s));
        match said.kind {
            _ if text.is_empty() => {}
            Kind::Message | Kind::ArtifactUpdate => {
                shown.part(&text, said.body["append"] == true);
            }
            // What a task says at its end is the answer unless there was one.
            Kind::Task | Kind::StatusUpdate if rests && !shown.any => shown.part(&text, false),
            Kind::Task => {}
            Kind::StatusUpdate => output::say(&text),
        }
    }

    fn print(&self, said: &Said) {
        let answer = Answer {
            schema: "homing.a2a_answer/v1",
            peer: &self.tunnel.peer,
            binding: self.interface.binding.as_str(),
            protocol: match self.interface.dialect {
                Dialect::V1 => "1.0",
                Dialect::V03 => "0.3",
            },
            kind: said.kind,
            state: said.state(),
            task_id: said.task_id(),
            context_id: said.context_id(),
            text: said.text(),
            result: &said.body,
        };
        let names = || said.task_id().map(str::to_owned).into_iter().collect();
        self.session.out.result(&answer, names, || format!("{}\n", answer.text));
        if let (Some(state), false) = (&answer.state, self.session.out.format.is_json()) {
            let task = said.task_id().unwrap_or_default();
            match state.as_str() {
                "completed" => {}
                "input_required" => {
                    output::say(&format!("it asks for more: homing a2a call … --task {task}"));
                }
                other => output::say(&format!("the task is {other}")),
            }
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let late =
            || ApiError::new(Code::Timeout, format!("{} has not answered", self.tunnel.peer));
        let done = tokio::time::timeout_at(self.deadline, work).await;
        done.unwrap_or_else(|_| Err(late().hint("--timeout 30m waits longer")))
    }

    fn late(&self, state: &str, task: &str) -> ApiError {
        ApiError::new(Code::Timeout, format!("{} has not finished", self.tunnel.peer))
            .why(format!("task {task} is {state}"))
            .hint("--timeout 30m waits longer")
    }
}

fn no_answer(error: ApiError, status: hyper::StatusCode) -> ApiError {
    let why = error.why.clone().unwrap_or_default();
    error.why(format!("HTTP {status}: {why}"))
}

fn exit(state: Option<&str>) -> u8 {
    if state.is_some_and(went_wrong) { Code::AgentFailed.exit() } else { OK }
}

fn text(given: &str) -> Result<String, ApiError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let read = std::io::stdin().take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| ApiError::new(Code::Usage, "standard input is no text").why(e.to_string()))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(ApiError::new(Code::LimitReached, "a question has at most 1 MiB"));
    }
    Ok(text)
}

/// Unlike every other of this agent's, which is all that A2A asks for.
fn message_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("homing-{:x}-{:x}", now.as_nanos(), std::process::id())
}
