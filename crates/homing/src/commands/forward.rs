//! `homing forward`: a local port or socket that is a service of a peer.
//!
//! ```text
//! local program ──TCP · Unix──► this process ──the socket itself──► daemon ══one stream each══► peer
//!                ──UDP, --resume──► this process ──one stream each──► daemon ══► peer
//! ```
//! In the foreground, until it is stopped. It outlives the daemon: a connection made meanwhile waits
//! for it, at most `--timeout`. Broken streams end their connections by a reset, never by an orderly end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use homing_api::{ApiError, Code};
use homing_base::Service;
use homing_core::session::limits;
use homing_node::daemon::raise_open_files;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Outcome;
use super::streams::SESSIONS;
use crate::output::{self, Format, Output};
use crate::pipes::carry::hand_over;
use crate::pipes::dial::{Dialler, is_passing};
use crate::pipes::end::End;
use crate::pipes::place::{Door, PeerService, Place};
use crate::pipes::socket::Socket;
use crate::pipes::{Carried, packets, resume};
use crate::session::Session;

/// Local connections at once; further ones wait in the listening socket.
const CONNECTIONS_MAX: usize = 2_048;
/// How long a new connection waits for its stream unless `--timeout` says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failed accept: out of file descriptors, most likely.
const BREATHER: Duration = Duration::from_millis(100);

/// Make a service of a peer a local port or socket
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing forward 5432 db-agent:postgres          # psql -h 127.0.0.1\n  homing forward 0 agent-b:8080 -o name          # any free port; prints which\n  homing forward unix:/run/user/1000/mcp.sock agent-b:mcp\n  homing forward udp:5353 agent-b:dns            # the other side: homing listen dns --to udp:53\n  homing forward 9000 agent-b:backup --resume    # the other side: homing listen backup --resume --to 9000"
)]
pub(crate) struct ForwardArgs {
    /// PORT, HOST:PORT, unix:/path or udp:PORT; loopback unless a host is written out
    #[arg(value_name = "LOCAL")]
    local: Place,
    /// PEER:PORT or PEER:SERVICE; an address in brackets
    #[arg(value_name = "PEER:SERVICE")]
    to: PeerService,
    /// Connections that outlive their streams: they go on where they were after either daemon
    /// restarted. The other side: homing listen --resume
    #[arg(long)]
    resume: bool,
}

/// `homing.forward_ready/v1`: local programs can connect now.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    schema: &'static str,
    local: &'a str,
    peer: &'a str,
    service: &'a Service,
}

/// `homing.forward_connection/v1`: a local program has connected.
#[derive(Debug, Serialize)]
struct Connection {
    schema: &'static str,
    id: u64,
    from: String,
}

/// `homing.forward_end/v1`: its connection is over.
#[derive(Debug, Serialize)]
struct ConnectionEnd {
    schema: &'static str,
    id: u64,
    #[serde(flatten)]
    carried: Carried,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// What every connection is made with.
struct Forwarding {
    dialler: Dialler,
    resumes: bool,
    patience: Duration,
    out: Output,
    next_id: AtomicU64,
}

pub(crate) async fn run(session: &Session, args: &ForwardArgs) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|e| ApiError::new(Code::Internal, format!("signals: {e}")))?;
    tokio::select! {
        ended = forward(session, args) => ended.map(|never| match never {}),
        // Both end it in order: a Unix socket is removed.
        _ = tokio::signal::ctrl_c() => Ok(Code::Interrupted.exit()),
        _ = terminate.recv() => Ok(super::OK),
    }
}

async fn forward(
    session: &Session,
    args: &ForwardArgs,
) -> Result<std::convert::Infallible, ApiError> {
    let client = session.client()?.clone();
    super::warn_if_unknown(session, &args.to.peer).await;
    let patience = session.timeout.unwrap_or(PATIENCE);
    let dialler =
        Dialler { client, to: args.to.clone(), greeting: args.resume.then_some(SESSIONS) };
    if let Place::Udp(host) = &args.local {
        if args.resume {
            return Err(ApiError::new(Code::Usage, "datagrams have no session to resume")
                .hint("leave --resume out: a UDP program repeats what it misses"));
        }
        let socket = host.bind_udp().await?;
        let at = socket.local_addr().map(|a| format!("udp:{a}")).unwrap_or_default();
        announce(session.out, &at, &args.to);
        let dialler = Dialler { greeting: Some(packets::GREETING), ..dialler };
        packets::forward(socket, dialler, patience).await
    }
    let door = args.local.bind().await?;
    raise_open_files();
    announce(session.out, &door.place(), &args.to);
    let forwarding = Arc::new(Forwarding {
        dialler,
        resumes: args.resume,
        patience,
        out: session.out,
        next_id: AtomicU64::new(1),
    });
    accept(door, forwarding).await
}

async fn accept(
    door: Door,
    forwarding: Arc<Forwarding>,
) -> Result<std::convert::Infallible, ApiError> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = room.clone().acquire_owned().await.expect("never closed");
        let (socket, from) = match door.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                output::say(&format!("a connection was not taken: {error}"));
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        let forwarding = forwarding.clone();
        tokio::spawn(async move {
            forwarding.one(socket, from).await;
            drop(place);
        });
    }
}

impl Forwarding {
    async fn one(&self, socket: Socket, from: String) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let json = self.out.format.is_json();
        if json {
            let schema = "homing.forward_connection/v1";
            self.out.line(&Connection { schema, id, from: from.clone() });
        }
        let (carried, ended) = self.carry(socket).await;
        let error = ended.err();
        if json {
            self.out.line(&ConnectionEnd { schema: "homing.forward_end/v1", id, carried, error });
        } else if let Some(error) = error {
            output::say(&format!("connection from {from}: {error}"));
        }
    }

    async fn carry(&self, socket: Socket) -> (Carried, Result<(), ApiError>) {
        let deadline = Instant::now() + self.patience;
        let failed = if self.resumes {
            match self.dialler.until(deadline, is_passing).await {
                Ok(stream) => {
                    let (dialler, end) = (self.dialler.clone(), End::Socket(socket));
                    let (carried, ended) =
                        resume::open(dialler, stream, end, limits::DETACHED_MAX).await;
                    return (carried, ended.map(drop));
                }
                Err(error) => error,
            }
        } else {
            match self.dialler.socket_until(deadline).await {
                Ok(stream) => return hand_over(&self.dialler.client, stream, socket).await,
                Err(error) => error,
            }
        };
        socket.abort();
        (Carried::default(), Err(failed))
    }
}

fn announce(out: Output, local: &str, to: &PeerService) {
    let PeerService { peer, service } = to;
    if out.format.is_json() {
        out.line(&Ready { schema: "homing.forward_ready/v1", local, peer, service });
    } else if out.format == Format::Name {
        output::print(&format!("{local}\n"));
    } else {
        output::print(&format!("forwarding {local} to {to}\n"));
    }
}
