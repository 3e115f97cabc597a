//! `homing connect` and `homing listen`: byte streams between standard input and output, or a
//! process, and a service of a peer.
//!
//! End of input is passed on as half-close. The end of the peer's bytes ends the command; whether
//! it was an orderly end, the daemon says ([`homing_api::streams::StreamOutcome`]).

use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use homing_api::client::RawStream;
use homing_api::streams::{IncomingStream, ListenRequest, StreamState};
use homing_api::{ApiError, Client, Code};
use homing_base::Service;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{OK, Outcome};
use crate::output;
use crate::session::Session;

const CHUNK_BYTES: usize = 64 * 1_024;
/// Between two attempts of `--retry`.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// A byte stream to a service of a trusted peer, over stdin and stdout
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing connect agent-b 8080\n  homing connect agent-b mcp --retry\n  homing connect agent-b logs < request.txt"
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
}

/// Accept streams of trusted peers
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing listen 8080                        # one stream, over stdin and stdout\n  homing listen echo --exec cat             # one process per stream\n  homing listen who --exec 'echo you are $HOMING_PEER_ADDRESS'"
)]
pub(crate) struct ListenArgs {
    /// A port or the name of a service
    #[arg(value_name = "PORT|SERVICE")]
    service: Service,
    /// Run this for every stream, with the stream as its stdin and stdout. Its environment says who
    /// is there: HOMING_PEER_NODE_ID, HOMING_PEER_ADDRESS, HOMING_PEER_NAME, HOMING_SERVICE
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
}

/// Standard input as chunks; it outlives a broken stream.
type Input = mpsc::Receiver<Vec<u8>>;

pub(crate) async fn connect(session: &Session, args: &ConnectArgs) -> Outcome {
    let client = session.client()?;
    let mut input = standard_input();
    let started = Instant::now();
    loop {
        let error = match attempt(session, client, args, &mut input).await {
            Ok(()) => return Ok(OK),
            Err(error) => error,
        };
        let late = session.timeout.is_some_and(|t| started.elapsed() >= t);
        if !args.retry || !worth_retrying(&error) || late {
            return Err(error);
        }
        output::say(&format!("{error}; trying again"));
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

async fn attempt(
    session: &Session,
    client: &Client,
    args: &ConnectArgs,
    input: &mut Input,
) -> Result<(), ApiError> {
    let timeout = session.answer_timeout();
    let stream = client.connect(&args.peer, args.service.as_str(), timeout).await?;
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
    match client.stream_outcome(id).await {
        Ok(outcome) if outcome.state == StreamState::Broken => {
            Err(outcome.error.unwrap_or_else(|| broken("the peer went away")))
        }
        // Forgotten or still closing: the bytes ended in order as far as can be told.
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::NotFound => Ok(()),
        Err(error) => Err(error),
    }
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

/// `homing.listen_end/v1`: one line per stream of `listen --exec` with JSON output.
#[derive(Debug, Serialize)]
struct StreamEnd {
    schema: &'static str,
    id: u64,
    peer: String,
    exit_code: Option<i32>,
}

pub(crate) async fn listen(session: &Session, args: &ListenArgs) -> Outcome {
    let client = session.client()?;
    let request = ListenRequest { service: args.service.clone() };
    let mut events = client.listen(&request).await?;
    while let Some(event) = events.recv().await? {
        match event.event.as_str() {
            "ready" => output::say(&format!("listening on {}", args.service)),
            "stream" => {
                let stream: IncomingStream = serde_json::from_str(&event.data)
                    .map_err(|e| ApiError::new(Code::Internal, format!("an event: {e}")))?;
                let Some(command) = &args.exec else { return serve_here(client, &stream).await };
                tokio::spawn(serve_process(client.clone(), stream, command.clone(), session.out));
            }
            _ => {}
        }
    }
    Err(ApiError::new(Code::DaemonNotRunning, "the daemon stopped").hint("homing up"))
}

/// The first stream over this program's own input and output.
async fn serve_here(client: &Client, stream: &IncomingStream) -> Outcome {
    output::say(&format!("stream from {}", stream.peer.label()));
    let raw = client.take_stream(stream.id).await?;
    carry(client, raw, &mut standard_input()).await?;
    Ok(OK)
}

async fn serve_process(
    client: Client,
    stream: IncomingStream,
    command: String,
    out: output::Output,
) {
    let peer = stream.peer.label();
    match run_process(&client, &stream, &command).await {
        Ok(exit_code) if out.format.is_json() => {
            let schema = "homing.listen_end/v1";
            let peer = stream.peer.node_id.to_string();
            out.line(&StreamEnd { schema, id: stream.id, peer, exit_code });
        }
        Ok(_) => {}
        Err(error) => output::say(&format!("stream from {peer}: {error}")),
    }
}

async fn run_process(
    client: &Client,
    stream: &IncomingStream,
    command: &str,
) -> Result<Option<i32>, ApiError> {
    let raw = client.take_stream(stream.id).await?;
    let name = stream.peer.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("HOMING_PEER_NODE_ID", stream.peer.node_id.to_string())
        .env("HOMING_PEER_ADDRESS", stream.peer.address.to_string())
        .env("HOMING_PEER_NAME", name)
        .env("HOMING_SERVICE", stream.service.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ApiError::new(Code::Internal, format!("{command}: {e}")))?;
    let (reader, writer) = tokio::io::split(raw.io);
    let stdin = child.stdin.take().expect("stdin was asked for");
    let stdout = child.stdout.take().expect("stdout was asked for");
    let feeding = tokio::spawn(pump_in(reader, stdin));
    pump_out(stdout, writer).await;
    let status = child.wait().await.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
    feeding.abort();
    Ok(status.code())
}

async fn pump_in<R: AsyncRead + Unpin>(mut reader: R, mut stdin: ChildStdin) {
    let _ = tokio::io::copy(&mut reader, &mut stdin).await;
}

async fn pump_out<W: AsyncWrite + Unpin>(mut stdout: ChildStdout, mut writer: W) {
    let _ = tokio::io::copy(&mut stdout, &mut writer).await;
    let _ = writer.shutdown().await;
}
