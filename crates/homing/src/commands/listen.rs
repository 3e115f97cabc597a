//! `homing listen`: a service of this agent for trusted peers, as a process, a local program, or
//! standard input and output.
//!
//! ```text
//! daemon ──SSE: stream──► take it ──► terminal · process (--exec) · local program (--to)
//!                            └ --resume: greet, then to its session (crate::pipes::host)
//! ```
//! The service exists as long as this command runs and the daemon does. With `--resume` the command
//! outlives the daemon: it exposes the service again when there is one.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use homing_api::streams::{IncomingStream, ListenRequest, Protocol};
use homing_api::{ApiError, Client, Code};
use homing_base::Service;
use homing_core::session::Reason;
use homing_node::daemon::raise_open_files;
use homing_node::shares::Shares;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use super::{OK, Outcome};
use crate::output::{self, Output};
use crate::pipes::carry::{carry, hand_over};
use crate::pipes::end::End;
use crate::pipes::host::{Seat, Sessions};
use crate::pipes::place::Place;
use crate::pipes::{Carried, packets, resume};
use crate::session::Session;

/// Streams served at once; further ones wait, then the daemon refuses them.
const STREAMS_MAX: usize = 2_048;
/// Of those, with one peer; more break at once, so that nobody takes the place of all others.
const STREAMS_PER_PEER_MAX: usize = STREAMS_MAX / 2;
/// The same where each is a process.
const PROCESSES_PER_PEER_MAX: usize = STREAMS_MAX / 8;
/// Between two looks for a daemon that went away.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Accept streams of trusted peers
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing listen 8080                        # one stream, over stdin and stdout\n  homing listen echo --exec cat             # one process per stream\n  homing listen who --exec 'echo you are $HOMING_PEER_ADDRESS'\n  homing listen db --to 5432 --resume       # streams that outlive both daemons\n  homing listen dns --to udp:53"
)]
pub(crate) struct ListenArgs {
    /// A port or the name of a service
    #[arg(value_name = "PORT|SERVICE")]
    service: Service,
    /// Run this for every stream, with the stream as its stdin and stdout. Its environment says who
    /// is there: HOMING_PEER_NODE_ID, HOMING_PEER_ADDRESS, HOMING_PEER_NAME, HOMING_SERVICE
    #[arg(long, value_name = "CMD", conflicts_with = "to")]
    exec: Option<String>,
    /// Connect every stream to a local program: PORT, HOST:PORT, unix:/path, udp:PORT
    #[arg(long, value_name = "PLACE")]
    to: Option<Place>,
    /// Sessions that go on where they were after either daemon restarted. The other side: --resume too
    #[arg(long)]
    resume: bool,
}

/// `homing.listen_ready/v1`: the first line with JSON output, and the same whenever there is a daemon again.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    schema: &'static str,
    service: &'a Service,
}

/// `homing.listen_end/v1`: one line per stream of `listen` with JSON output.
#[derive(Debug, Serialize)]
struct StreamEnd {
    schema: &'static str,
    id: u64,
    peer: String,
    exit_code: Option<i32>,
    #[serde(flatten)]
    carried: Carried,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// What every stream is served with.
struct Serving {
    client: Client,
    service: Service,
    target: Target,
    sessions: Option<Sessions>,
    room: Arc<Semaphore>,
    shares: Arc<Shares>,
    out: Output,
    /// The terminal has been served: how it went.
    done: mpsc::Sender<Result<(), ApiError>>,
}

enum Target {
    /// The first stream or session only.
    Terminal(Semaphore),
    Exec(String),
    To(Place),
}

pub(crate) async fn listen(session: &Session, args: &ListenArgs) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|e| ApiError::new(Code::Internal, format!("signals: {e}")))?;
    tokio::select! {
        ended = serve(session, args) => ended,
        // Both end it in order: the processes that it has started end with it.
        _ = tokio::signal::ctrl_c() => Ok(Code::Interrupted.exit()),
        _ = terminate.recv() => Ok(OK),
    }
}

async fn serve(session: &Session, args: &ListenArgs) -> Outcome {
    if args.resume && matches!(args.to, Some(Place::Udp(_))) {
        return Err(ApiError::new(Code::Usage, "datagrams have no session to resume")
            .hint("leave --resume out: a UDP program repeats what it misses"));
    }
    let target = match (&args.exec, &args.to) {
        (Some(command), _) => Target::Exec(command.clone()),
        (None, Some(place)) => Target::To(place.clone()),
        (None, None) => Target::Terminal(Semaphore::new(1)),
    };
    let share = match target {
        Target::Exec(_) => PROCESSES_PER_PEER_MAX,
        _ => STREAMS_PER_PEER_MAX,
    };
    let (done, mut served) = mpsc::channel(1);
    let serving = Arc::new(Serving {
        client: session.client()?.clone(),
        service: args.service.clone(),
        target,
        sessions: args.resume.then(Sessions::default),
        room: Arc::new(Semaphore::new(STREAMS_MAX)),
        shares: Shares::of(share),
        out: session.out,
        done,
    });
    raise_open_files();
    let mut announced = false;
    loop {
        let error = tokio::select! {
            error = serving.until_gone(&mut announced) => error,
            Some(ended) = served.recv() => return ended.map(|()| OK),
        };
        if !(args.resume && announced) {
            return Err(error);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Serving {
    /// Serves what comes until the daemon is gone.
    async fn until_gone(self: &Arc<Self>, announced: &mut bool) -> ApiError {
        match self.serve(announced).await {
            Ok(()) => ApiError::new(Code::DaemonNotRunning, "the daemon stopped").hint("homing up"),
            Err(error) => error,
        }
    }

    async fn serve(self: &Arc<Self>, announced: &mut bool) -> Result<(), ApiError> {
        let request = ListenRequest { service: self.service.clone(), protocol: self.protocol() };
        let mut events = self.client.listen(&request).await?;
        while let Some(event) = events.recv().await? {
            match event.event.as_str() {
                "ready" => {
                    self.announce();
                    *announced = true;
                }
                "stream" => {
                    let stream: IncomingStream = serde_json::from_str(&event.data)
                        .map_err(|e| ApiError::new(Code::Internal, format!("an event: {e}")))?;
                    self.admit(stream).await;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn announce(&self) {
        output::say(&format!("listening on {}", self.service));
        // The output of a terminal is its peer's.
        if self.out.format.is_json() && !matches!(self.target, Target::Terminal(_)) {
            self.out.line(&Ready { schema: "homing.listen_ready/v1", service: &self.service });
        }
    }

    /// Serves a stream beside the others, when there is room for it.
    async fn admit(self: &Arc<Self>, stream: IncomingStream) {
        let serving = self.clone();
        let Some(share) = self.shares.take(stream.peer.node_id) else {
            tokio::spawn(async move { serving.client.abort_stream(stream.id).await });
            return;
        };
        let room = self.room.clone().acquire_owned().await.expect("never closed");
        tokio::spawn(async move {
            serving.one(stream).await;
            drop((room, share));
        });
    }

    /// What openers are told that it speaks.
    fn protocol(&self) -> Protocol {
        match (&self.sessions, &self.target) {
            (Some(_), _) => Protocol::Sessions,
            (None, Target::To(Place::Udp(_))) => Protocol::Datagrams,
            (None, _) => Protocol::Bytes,
        }
    }

    async fn one(&self, stream: IncomingStream) {
        let ended = match &self.sessions {
            Some(sessions) => self.session(sessions, &stream).await,
            None => self.plain(&stream).await,
        };
        let Some((carried, ended)) = ended else { return };
        if matches!(self.target, Target::Terminal(_)) {
            let _ = self.done.send(ended.map(|_| ())).await;
            return;
        }
        let (exit_code, error) = match ended {
            Ok(exit_code) => (exit_code, None),
            Err(error) => (None, Some(error)),
        };
        if self.out.format.is_json() {
            let peer = stream.peer.node_id.to_string();
            let schema = "homing.listen_end/v1";
            self.out.line(&StreamEnd { schema, id: stream.id, peer, exit_code, carried, error });
        } else if let Some(error) = error {
            output::say(&format!("stream from {}: {error}", stream.peer.label()));
        }
    }

    async fn plain(&self, stream: &IncomingStream) -> Option<Ended> {
        if let Target::To(Place::Udp(to)) = &self.target {
            let served =
                async { packets::serve(self.client.take_stream(stream.id).await?, to).await };
            return Some((Carried::default(), served.await.map(|()| None)));
        }
        let end = match self.end(stream).await {
            Some(Ok(end)) => end,
            none => {
                let _ = self.client.abort_stream(stream.id).await;
                return none.map(|failed| (Carried::default(), failed.map(|_| None)));
            }
        };
        let carried = self.carry(stream.id, end).await;
        Some(carried.unwrap_or_else(|error| (Carried::default(), Err(error))))
    }

    async fn carry(&self, id: u64, end: End) -> Result<Ended, ApiError> {
        let End::Socket(socket) = end else {
            return Ok(carry(&self.client, self.client.take_stream(id).await?, end).await);
        };
        let stream = self.client.take_stream_socket(id).await?;
        let (carried, ended) = hand_over(&self.client, stream, socket).await;
        Ok((carried, ended.map(|()| None)))
    }

    /// A stream of a session. `None` when the session was there before, or the peer was refused.
    async fn session(&self, sessions: &Sessions, stream: &IncomingStream) -> Option<Ended> {
        let seat = match sessions.welcome(&self.client, stream).await {
            Ok(seat) => seat?,
            Err(error) => {
                output::say(&format!("stream from {}: {error}", stream.peer.label()));
                return None;
            }
        };
        let end = match self.end(stream).await {
            Some(Ok(end)) => end,
            Some(Err(error)) => {
                seat.refuse(Reason::Gone).await;
                return Some((Carried::default(), Err(error)));
            }
            None => {
                seat.refuse(Reason::Busy).await;
                return None;
            }
        };
        let Seat { session, arrivals, place } = seat;
        let ended = resume::serve(session, self.client.clone(), arrivals, end).await;
        drop(place);
        Some(ended)
    }

    /// The local end of a new stream or session. `None`: the terminal is in use.
    async fn end(&self, stream: &IncomingStream) -> Option<Result<End, ApiError>> {
        match &self.target {
            Target::Exec(command) => Some(End::program(command, stream)),
            Target::To(place) => Some(place.connect().await.map(End::Socket)),
            Target::Terminal(free) => {
                free.try_acquire().ok()?.forget();
                output::say(&format!("stream from {}", stream.peer.label()));
                Some(Ok(End::terminal()))
            }
        }
    }
}

type Ended = (Carried, Result<Option<i32>, ApiError>);
