//! `homing wait`: returns when something has become true, or exits 6.

use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::peers::PathKind;
use homing_api::{ApiError, Code};
use serde::Serialize;
use tokio::time::Instant;

use super::{OK, Outcome, start, status, trust};
use crate::render::words;
use crate::session::Session;

/// How long to wait unless `--timeout` says otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// How often to look; the daemon answers such a question in well under a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Wait until this agent or a peer is online, trusted or direct (60s unless --timeout)
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing wait online\n  homing wait online gpu-7 --timeout 10m\n  homing wait trusted agent-b && homing ping agent-b"
)]
pub(crate) struct WaitArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Until this agent is reachable, or a trusted peer is connected
    #[command(
        after_help = "Examples:\n  homing wait online\n  homing wait online gpu-7 --timeout 10m"
    )]
    Online {
        /// Name, address or node ID [default: this agent]
        peer: Option<String>,
    },
    /// Until trust with a peer is mutual
    #[command(
        after_help = "Examples:\n  homing wait trusted agent-b\n  homing wait trusted agent-b --timeout 1h"
    )]
    Trusted {
        /// Name, address or node ID
        peer: String,
    },
    /// Until packets to a peer go directly
    #[command(
        after_help = "Examples:\n  homing wait direct agent-b\n  homing wait direct agent-b --timeout 10s"
    )]
    Direct {
        /// Name, address or node ID
        peer: String,
    },
}

/// `homing.wait/v1`.
#[derive(Debug, Serialize)]
struct Waited {
    schema: &'static str,
    reached: bool,
    elapsed_ms: u128,
}

pub(crate) async fn run(session: &Session, args: &WaitArgs) -> Outcome {
    let started = Instant::now();
    match &args.what {
        What::Trusted { peer } => {
            trust::wait_mutual(session, peer).await?;
        }
        What::Online { peer: None } => self_online(session).await?,
        What::Online { peer: Some(peer) } => {
            path(session, peer, &[PathKind::Direct, PathKind::Relay]).await?;
        }
        What::Direct { peer } => path(session, peer, &[PathKind::Direct]).await?,
    }
    let waited = Waited {
        schema: "homing.wait/v1",
        reached: true,
        elapsed_ms: started.elapsed().as_millis(),
    };
    session.out.result(&waited, Vec::new, String::new);
    Ok(OK)
}

async fn self_online(session: &Session) -> Result<(), ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(TIMEOUT_DEFAULT);
    loop {
        let info = session.client()?.info().await?;
        start::expect_own(&info)?;
        if info.online {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ApiError::new(Code::Timeout, "this agent is not reachable yet")
                .why("none of its relays answers")
                .hint("homing netcheck"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn path(session: &Session, peer: &str, wanted: &[PathKind]) -> Result<(), ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(TIMEOUT_DEFAULT);
    loop {
        let status = status::of(session, peer).await?;
        if status.as_ref().is_some_and(|s| wanted.contains(&s.path.kind)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let now = status.map_or_else(|| "not known".to_owned(), |s| words::path(&s.path));
            let what = if wanted.len() == 1 { "reached directly" } else { "online" };
            return Err(ApiError::new(Code::Timeout, format!("{peer} is not {what} yet"))
                .why(format!("its path is: {now}"))
                .hint(format!("homing status {peer}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
