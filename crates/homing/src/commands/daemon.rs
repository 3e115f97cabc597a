//! `homing daemon start|stop|status|run|logs` and `homing down`.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::daemon_run::{self, RunArgs};
use super::start::{self, DaemonState, StartArgs};
use super::{OK, Outcome, info};
use crate::output;
use crate::session::Session;

/// Goodbyes to peers take a moment.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The background process of this agent
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing daemon start --hostname my-agent\n  homing daemon status --check\n  homing daemon logs -f"
)]
pub(crate) struct DaemonArgs {
    #[command(subcommand)]
    command: DaemonCommand,
}

#[derive(Debug, Subcommand)]
enum DaemonCommand {
    /// Start it; the same as `homing up`
    #[command(
        after_help = "Examples:\n  homing daemon start --hostname my-agent\n  homing daemon start --relay 'https://relay.example.net:3340/'"
    )]
    Start(StartArgs),
    /// Stop it; the same as `homing down`
    #[command(after_help = "Examples:\n  homing daemon stop\n  homing daemon stop --timeout 3s")]
    Stop(StopArgs),
    /// Whether it runs
    #[command(
        after_help = "Examples:\n  homing daemon status\n  homing daemon status --check || homing up"
    )]
    Status {
        /// Print nothing; exit 0 when it runs and 4 when it does not
        #[arg(long)]
        check: bool,
    },
    /// Be the daemon, in the foreground (for systemd and containers)
    #[command(
        after_help = "Examples:\n  homing daemon run\n  homing daemon run --hostname my-agent --identity /run/secrets/identity.json"
    )]
    Run(RunArgs),
    /// What it logged
    #[command(after_help = "Examples:\n  homing daemon logs\n  homing daemon logs -f -n 20")]
    Logs {
        /// Go on as more is written
        #[arg(long, short)]
        follow: bool,
        /// Begin with this many lines
        #[arg(long, short = 'n', default_value_t = 200, value_name = "N")]
        lines: usize,
    },
}

/// Stop this agent's daemon
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing down\n  homing down --json")]
pub(crate) struct StopArgs {}

impl DaemonArgs {
    /// Whether this process becomes the daemon.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.command, DaemonCommand::Run(_))
    }
}

pub(crate) async fn run(session: &Session, args: DaemonArgs) -> Outcome {
    match args.command {
        DaemonCommand::Start(args) => start::up(session, &args).await,
        DaemonCommand::Stop(args) => stop(session, &args).await,
        DaemonCommand::Status { check } => status(session, check).await,
        DaemonCommand::Run(args) => daemon_run::run(session, &args).await,
        DaemonCommand::Logs { follow, lines } => logs(session, follow, lines).await,
    }
}

pub(crate) async fn stop(session: &Session, _: &StopArgs) -> Outcome {
    let changed = match session.client()?.stop().await {
        Ok(_) => true,
        Err(error) if error.code == Code::DaemonNotRunning => terminate(session)?,
        Err(error) => return Err(error),
    };
    until_gone(session).await?;
    let state = DaemonState {
        schema: "homing.daemon/v1",
        running: false,
        changed: Some(changed),
        pid: None,
        info: None,
    };
    let text =
        if changed { "✓ daemon stopped\n" } else { "unchanged: the daemon is not running\n" };
    session.out.result(&state, Vec::new, || text.to_owned());
    Ok(OK)
}

/// The daemon that holds the home but does not answer is asked by signal. Whether there was one.
fn terminate(session: &Session) -> Result<bool, ApiError> {
    match session.home.holder() {
        None => Ok(false),
        Some(None) => {
            Err(ApiError::new(Code::Internal, "a daemon holds this home, its pid is unknown")
                .hint("find it: ps ax | grep 'homing daemon'"))
        }
        Some(Some(pid)) => {
            let target = Pid::from_raw(i32::try_from(pid).unwrap_or(0));
            kill(target, Signal::SIGTERM).map(|()| true).map_err(|e| {
                ApiError::new(Code::PermissionDenied, format!("process {pid}: {e}"))
                    .hint("run as the user who started the daemon")
            })
        }
    }
}

async fn until_gone(session: &Session) -> Result<(), ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(STOP_TIMEOUT);
    while let Some(pid) = session.home.holder() {
        if Instant::now() >= deadline {
            let pid = pid.map_or_else(|| "PID".to_owned(), |p| p.to_string());
            return Err(ApiError::new(Code::Timeout, "the daemon is still stopping")
                .hint(format!("kill -9 {pid} loses nothing that was promised")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn status(session: &Session, check: bool) -> Outcome {
    let info = match session.client()?.info().await {
        Ok(info) => Some(info),
        Err(error) if error.code == Code::DaemonNotRunning && !check => None,
        Err(error) if error.code == Code::DaemonNotRunning => return Ok(error.exit),
        Err(error) => return Err(error),
    };
    if check {
        return Ok(OK);
    }
    let text = match &info {
        Some(info) => format!("running (pid {})\n{}", info.pid, info::block(info)),
        None => "not running: homing up starts it\n".to_owned(),
    };
    let state = DaemonState {
        schema: "homing.daemon/v1",
        running: info.is_some(),
        changed: None,
        pid: info.as_ref().map(|i| i.pid),
        info,
    };
    session.out.result(&state, Vec::new, || text);
    Ok(OK)
}

async fn logs(session: &Session, follow: bool, lines: usize) -> Outcome {
    let path = session.home.log();
    let mut file = std::fs::File::open(&path).map_err(|e| {
        ApiError::new(Code::NotFound, format!("{}: {e}", path.display()))
            .hint("a daemon that runs in the foreground logs to its standard error")
    })?;
    let mut text = String::new();
    let broken = |e: std::io::Error| ApiError::new(Code::Internal, format!("daemon.log: {e}"));
    file.read_to_string(&mut text).map_err(broken)?;
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).for_each(|line| output::print(&format!("{line}\n")));
    if !follow {
        return Ok(OK);
    }
    let mut at = text.len() as u64;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        file.seek(SeekFrom::Start(at)).map_err(broken)?;
        let mut more = String::new();
        at += file.read_to_string(&mut more).map_err(broken)? as u64;
        output::print(&more);
    }
}
