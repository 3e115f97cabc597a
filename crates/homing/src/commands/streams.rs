//! `homing connect`: a byte stream between standard input and output and a service of a peer.
//!
//! End of input is passed on as half-close. The end of the peer's bytes ends the command; whether
//! it was an orderly end, the daemon says ([`homing_api::streams::StreamOutcome`]). With `--resume`
//! it is a session that outlives its streams ([`crate::pipes::resume`]).

use std::time::Duration;

use clap::Args;
use homing_api::client::RawStream;
use homing_api::{ApiError, Client, Code};
use homing_base::Service;
use homing_core::session::{GREETING, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{OK, Outcome};
use crate::output;
use crate::pipes::carry::outcome;
use crate::pipes::dial::{Dialler, Greeting, expect_bytes, is_passing};
use crate::pipes::end::End;
use crate::pipes::place::PeerService;
use crate::pipes::resume;
use crate::session::Session;

const CHUNK_BYTES: usize = 64 * 1_024;
/// Between two attempts of `--retry`.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long `--retry` waits for the service of a peer that answers: it may have just returned.
const UNSERVED_MAX: Duration = Duration::from_secs(30);

/// A byte stream to a service of a trusted peer, over stdin and stdout
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing connect agent-b 8080\n  homing connect agent-b mcp --retry\n  homing connect agent-b logs < request.txt\n  homing connect agent-b backup --resume < dump.tar      # outlives restarts of either daemon\n  ssh -o ProxyCommand='homing connect agent-b ssh' agent-b"
)]
pub(crate) struct ConnectArgs {
    /// Name, address or node ID
    peer: String,
    /// A port or the name of a service
    #[arg(value_name = "PORT|SERVICE")]
    service: Service,
    /// Connect again when the peer is away or the stream breaks, until --timeout
    #[arg(long)]
    retry: bool,
    /// A session that outlives its stream: it goes on where it was after either daemon restarted or the
    /// network was away, at most --timeout [default 10m]. The other side: homing listen --resume
    #[arg(long, conflicts_with = "retry")]
    resume: bool,
}

/// What a host of sessions says first.
pub(crate) const SESSIONS: Greeting = Greeting {
    bytes: GREETING,
    missing: "the other side does not resume",
    hint: "start it with homing listen --resume, or connect without --resume",
};

/// Standard input as chunks; it outlives a broken stream.
type Input = mpsc::Receiver<Vec<u8>>;

pub(crate) async fn connect(session: &Session, args: &ConnectArgs) -> Outcome {
    let client = session.client()?;
    if args.resume {
        return resumable(session, client, args).await;
    }
    let mut input = standard_input();
    let started = Instant::now();
    let (mut unserved, mut told) = (None, String::new());
    loop {
        let error = match attempt(session, client, args, &mut input).await {
            Ok(()) => return Ok(OK),
            Err(error) => error,
        };
        unserved = match error.code {
            Code::NoSuchService => unserved.or(Some(Instant::now())),
            _ => None,
        };
        let hopeless = match unserved {
            Some(since) => since.elapsed() >= UNSERVED_MAX,
            None => !worth_retrying(&error),
        };
        let late = session.timeout.is_some_and(|t| started.elapsed() >= t);
        if !args.retry || hopeless || late {
            return Err(error);
        }
        if told != error.message {
            output::say(&format!("{error}; trying again"));
            told = error.message;
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

async fn resumable(session: &Session, client: &Client, args: &ConnectArgs) -> Outcome {
    let to = PeerService { peer: args.peer.clone(), service: args.service.clone() };
    let dialler = Dialler { client: client.clone(), to, greeting: Some(SESSIONS) };
    let patience = session.timeout.unwrap_or(limits::DETACHED_MAX);
    let first = dialler.until(Instant::now() + session.answer_timeout(), is_passing).await?;
    resume::open(dialler, first, End::terminal(), patience).await.1?;
    Ok(OK)
}

async fn attempt(
    session: &Session,
    client: &Client,
    args: &ConnectArgs,
    input: &mut Input,
) -> Result<(), ApiError> {
    let timeout = session.answer_timeout();
    let stream = client.connect(&args.peer, args.service.as_str(), timeout).await?;
    expect_bytes(stream.protocol)?;
    carry(client, stream, input).await
}

fn worth_retrying(error: &ApiError) -> bool {
    let codes = [Code::PeerOffline, Code::NoRoute, Code::RelayUnavailable, Code::StreamBroken];
    codes.contains(&error.code) || error.code == Code::Timeout
}

/// Carries bytes until the peer's side ends, then asks how it ended.
async fn carry(client: &Client, stream: RawStream, input: &mut Input) -> Result<(), ApiError> {
    let id = stream.id;
    let (reader, writer) = tokio::io::split(stream.io);
    let sending = send(writer, input);
    let receiving = receive(reader);
    tokio::pin!(sending, receiving);
    let received = tokio::select! {
        received = &mut receiving => received,
        // Input has ended or the stream has; what the peer still says counts.
        () = &mut sending => receiving.await,
    };
    received.map_err(|e| broken(&e.to_string()))?;
    outcome(client, id).await
}

fn broken(why: &str) -> ApiError {
    ApiError::new(Code::StreamBroken, "the stream broke").why(why).hint("homing connect --retry")
}

async fn send<W: AsyncWriteExt + Unpin>(mut writer: W, input: &mut Input) {
    while let Some(chunk) = input.recv().await {
        if writer.write_all(&chunk).await.and(writer.flush().await).is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn receive<R: AsyncReadExt + Unpin>(mut reader: R) -> std::io::Result<()> {
    let mut stdout = tokio::io::stdout();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(()),
            n => {
                stdout.write_all(&buffer[..n]).await?;
                stdout.flush().await?;
            }
        }
    }
}

fn standard_input() -> Input {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(n @ 1..) = stdin.read(&mut buffer).await {
            if sender.send(buffer[..n].to_vec()).await.is_err() {
                return;
            }
        }
    });
    receiver
}
