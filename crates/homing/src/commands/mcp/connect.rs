//! `mcp connect`: a peer's MCP server on standard input and output.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use homing_api::client::RawStream;
use homing_api::streams::Protocol;
use homing_api::{ApiError, Code};
use tokio::time::Instant;

use super::wire::{self, Out};
use super::{Target, bridge, relay};
use crate::commands::Outcome;
use crate::commands::tunnel::Tunnel;
use crate::output;
use crate::session::Session;

/// The first pause of `--retry`; every further one is twice as long.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// A peer's MCP server on standard input and output, as MCP clients start it
#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// Name, address or node ID; and the name of the service [default: mcp]
    #[arg(value_name = "PEER[/SERVER]")]
    target: Target,
    /// Connect again when the peer is away or the stream breaks, each time until --timeout
    #[arg(long)]
    retry: bool,
    /// Speak Streamable HTTP, whatever the host says that the service speaks
    #[arg(long)]
    http: bool,
}

/// The way to the server, and how patient to be.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) tunnel: Tunnel,
    retry: bool,
    patience: Option<Duration>,
}

impl Way {
    /// A stream to the server; with `--retry` as soon as there is one.
    pub(super) async fn open(&self) -> Result<RawStream, ApiError> {
        let (started, mut pause) = (Instant::now(), RETRY_AFTER);
        loop {
            let error = match self.tunnel.open().await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let late = self.patience.is_some_and(|p| started.elapsed() >= p);
            if !self.goes_on_after(&error) || late {
                return Err(error);
            }
            output::say(&format!("{error}; trying again"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    /// Whether `--retry` covers this error.
    pub(super) fn goes_on_after(&self, error: &ApiError) -> bool {
        let codes = [Code::PeerOffline, Code::NoRoute, Code::RelayUnavailable, Code::StreamBroken];
        self.retry && (codes.contains(&error.code) || error.code == Code::Timeout)
    }
}

pub(super) async fn run(session: &Session, args: &ConnectArgs) -> Outcome {
    let tunnel = Tunnel {
        client: session.client()?.clone(),
        peer: args.target.peer.clone(),
        service: args.target.service.to_string(),
        timeout: session.answer_timeout(),
    };
    let way = Arc::new(Way { tunnel, retry: args.retry, patience: session.timeout });
    let out = Arc::new(Out::new());
    let input = wire::standard_input();
    let stream = way.open().await?;
    if args.http || stream.protocol == Protocol::Http {
        // Servers close connections that say nothing; the first message opens its own.
        drop(stream);
        return bridge::run(way, input, out).await;
    }
    relay::run(&way, stream, input, &out).await
}
