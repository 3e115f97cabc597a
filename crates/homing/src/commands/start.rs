//! `homing up` and `homing daemon start`: bring this home's daemon into the state asked for.
//!
//! ```text
//! running already ─► same settings: unchanged · new --peer: added · other settings: conflict (exit 8)
//! not running ─► spawn `homing daemon run --detached` (own session, stderr to daemon.log)
//!                └─ its first line on stdout is "ready" or its structured error: no guessing
//! ```

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use homing_api::agent::{ConfigView, Info};
use homing_api::peers::PathKind;
use homing_api::{ApiError, Code};
use homing_base::{Name, RelayRef};
use homing_node::config::keys::Key;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::{OK, Outcome, config, info};
use crate::output;
use crate::session::{Session, told};

/// A start takes a fraction of a second; a disk that hangs takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the answer waits for a relay before it says "not yet".
const ONLINE_TIMEOUT: Duration = Duration::from_millis(900);
const ONLINE_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Start this agent, or bring it into the state that the flags describe
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  homing up --hostname planner\n  homing up --relay 'https://relay.example.net:3340/'\n  homing up --identity /mnt/keys/identity.json --takeover"
)]
pub(crate) struct StartArgs {
    /// The name to claim: 1 to 63 of a-z, 0-9 and inner hyphens
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<Name>,
    /// The key file, as homing key init makes it [default: identity.json in the home, made at the first start]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// A relay, as `homing relay serve` prints it; may be repeated
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Vec<RelayRef>,
    /// A peer to join through: TICKET, ADDRESS@HOST:PORT, NODEID@HOST:PORT or HOST:PORT; may be repeated
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Vec<String>,
    /// Replace an instance that still runs elsewhere without a gap: publish only once reachable
    #[arg(long)]
    pub(crate) takeover: bool,
    /// The UDP address to use [default: any free port on every interface]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Make a network interface on which trusted peers' addresses are reachable; needs CAP_NET_ADMIN
    #[arg(long)]
    pub(crate) tun: bool,
    /// Any configuration key, for this run; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) set: Vec<Setting>,
}

/// A key of `homing config list` and its value as text.
type Setting = (&'static str, String);

/// Reads `dht.enabled=false`.
fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    match (Key::find(name), Key::nearest(name)) {
        (Some(key), _) => Ok((key.name, value.to_owned())),
        (None, Some(nearest)) => Err(format!("there is no key {name}; did you mean {nearest}?")),
        (None, None) => Err(format!("there is no key {name}; homing config list shows every key")),
    }
}

/// Configuration keys and their values as flags.
pub(crate) type Settings = Vec<Setting>;

/// `homing.daemon/v1`.
#[derive(Debug, Serialize)]
pub(crate) struct DaemonState {
    pub(crate) schema: &'static str,
    pub(crate) running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<Info>,
}

impl StartArgs {
    /// The flags as configuration keys; lists are separated by commas.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Vec::new();
        let mut put = |key, value| settings.push((key, value));
        if let Some(name) = &self.hostname {
            put("name", name.to_string());
        }
        if let Some(listen) = &self.listen {
            put("listen", listen.to_string());
        }
        let relays: Vec<_> = self.relay.iter().map(ToString::to_string).collect();
        for (key, list) in [("relays", &relays), ("peers", &self.peer)] {
            if !list.is_empty() {
                put(key, list.join(","));
            }
        }
        if self.tun {
            settings.push(("tun.enabled", "true".to_owned()));
        }
        settings.extend(self.set.iter().cloned());
        settings
    }

    /// The same flags for the process that becomes the daemon.
    fn to_flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        let mut push = |flag: &str, value: OsString| flags.extend([flag.into(), value]);
        if let Some(name) = &self.hostname {
            push("--hostname", name.as_str().into());
        }
        if let Some(file) = &self.identity {
            push("--identity", file.into());
        }
        self.relay.iter().for_each(|r| push("--relay", r.to_string().into()));
        self.peer.iter().for_each(|p| push("--peer", p.into()));
        if let Some(listen) = &self.listen {
            push("--listen", listen.to_string().into());
        }
        self.set.iter().for_each(|(key, value)| push("--set", format!("{key}={value}").into()));
        if self.tun {
            flags.push("--tun".into());
        }
        if self.takeover {
            flags.push("--takeover".into());
        }
        flags
    }
}

pub(crate) async fn up(session: &Session, args: &StartArgs) -> Outcome {
    // What cannot be read or makes no sense must not need a daemon to say so.
    config::resolved(session, &args.settings())?;
    let changed = match running(session).await? {
        Some(info) => keep(session, args, &info).await?,
        None => begin(session, args).await?,
    };
    if !changed {
        say_what_waits(session).await?;
    }
    let info = once_online(session).await?;
    let pid = Some(info.pid);
    let head = match changed {
        true => format!("{} daemon running (pid {})\n", session.out.good("✓"), info.pid),
        false => format!("unchanged: daemon running (pid {})\n", info.pid),
    };
    let text = format!("{head}{}", info::block(&info));
    let state = DaemonState {
        schema: "homing.daemon/v1",
        running: true,
        changed: Some(changed),
        pid,
        info: Some(info),
    };
    let names = || state.info.iter().map(|i| i.node_id.to_string()).collect();
    session.out.result(&state, names, || text);
    Ok(OK)
}

/// Settings that were changed since the daemon started need another start.
async fn say_what_waits(session: &Session) -> Result<(), ApiError> {
    let waiting = config::waiting(session, &session.client()?.config().await?)?;
    if !waiting.is_empty() {
        output::say(&format!(
            "note: {} changed since this daemon started and is not in force: homing down, then homing up with the flags you started it with",
            waiting.join(", ")
        ));
    }
    Ok(())
}

/// What the running daemon says of itself; `None` when none runs.
pub(crate) async fn running(session: &Session) -> Result<Option<Info>, ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(START_TIMEOUT);
    loop {
        match session.client()?.info().await {
            Ok(info) => return Ok(Some(info)),
            Err(error) if error.code != Code::DaemonNotRunning => return Err(error),
            Err(_) if session.home.holder().is_none() => return Ok(None),
            Err(error) if Instant::now() >= deadline => {
                return Err(ApiError::new(
                    Code::Timeout,
                    "a daemon holds this home but does not answer",
                )
                .why(error.why.unwrap_or(error.message))
                .hint("homing daemon stop, or homing daemon logs"));
            }
            // It is starting or stopping at this moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The daemon runs: whether it is as asked for, and what can be added is.
async fn keep(session: &Session, args: &StartArgs, info: &Info) -> Result<bool, ApiError> {
    expect_own(info)?;
    let mut different = differences(args, info);
    if args.listen.is_some() || args.tun || !args.set.is_empty() {
        different.extend(set_otherwise(args, &session.client()?.config().await?));
    }
    if !different.is_empty() {
        return Err(ApiError::new(Code::AlreadyExists, "the daemon runs with other settings")
            .why(different.join("; "))
            .hint("homing down, then homing up with these flags and those you started it with"));
    }
    let mut changed = false;
    for peer in &args.peer {
        changed |= session.client()?.add_peer(peer).await?.changed;
    }
    Ok(changed)
}

fn differences(args: &StartArgs, info: &Info) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(name) = args.hostname.as_ref().filter(|n| info.name.as_ref() != Some(*n)) {
        let now = info.name.as_ref().map_or("none", Name::as_str);
        list.push(format!("its name is {now}, not {name}"));
    }
    for relay in &args.relay {
        if !info.relays.iter().any(|l| l.relay == *relay) {
            list.push(format!("it does not use relay {}", relay.authority()));
        }
    }
    if let Some(file) = &args.identity
        && same_file(file) != same_file(Path::new(&info.identity_file))
    {
        list.push(format!("its identity is {}", info.identity_file));
    }
    list
}

/// Keys of `--set`, `--listen` and `--tun` that the running daemon has other values for.
fn set_otherwise(args: &StartArgs, running: &ConfigView) -> Vec<String> {
    let differs = |(name, text): &Setting| {
        let wanted = Key::find(name).and_then(|key| key.parse(text)).map(|v| v.to_string());
        let now = running.values.iter().find(|v| v.key == *name);
        let now = now.map(|v| config::plain(&v.value)).unwrap_or_default();
        (wanted.as_deref() != Some(&now)).then(|| format!("its {name} is {now}, not {text}"))
    };
    let listen = args.listen.map(|listen| ("listen", listen.to_string()));
    let tun = args.tun.then(|| ("tun.enabled", "true".to_owned()));
    args.set.iter().chain(&listen).chain(&tun).filter_map(differs).collect()
}

/// The running daemon speaks for its identity: one that was superseded is not what `up` or `wait online` asks for.
pub(crate) fn expect_own(info: &Info) -> Result<(), ApiError> {
    let Some(item) = info.health.iter().find(|item| item.code == Code::IdentityInUse.as_str())
    else {
        return Ok(());
    };
    Err(ApiError::new(Code::IdentityInUse, item.title.clone())
        .why(format!("{}; the daemon here (pid {}) no longer speaks for the agent", item.text, info.pid))
        .hint("stop one of the two: homing down. To take over here: homing down, then homing up --takeover with the flags you started it with"))
}

/// A key file that was named is there: a slip of the pen must not become another agent.
pub(crate) fn expect_key(file: Option<&Path>) -> Result<(), ApiError> {
    let Some(file) = file.filter(|file| matches!(file.try_exists(), Ok(false))) else {
        return Ok(());
    };
    let file = file.display();
    Err(ApiError::new(Code::NotFound, format!("there is no key file {file}"))
        .why("only identity.json of the home is made by itself")
        .hint(format!("homing key init --identity {file}")))
}

fn same_file(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Spawns the daemon and waits for its first word.
async fn begin(session: &Session, args: &StartArgs) -> Result<bool, ApiError> {
    expect_key(args.identity.as_deref())?;
    session.home.ensure().map_err(told)?;
    let mut child = spawn(session, args)?;
    let stdout = child.stdout.take().expect("stdout was asked for");
    let mut lines = BufReader::new(stdout).lines();
    let wait = session.timeout.unwrap_or(START_TIMEOUT);
    let line = match timeout(wait, lines.next_line()).await {
        Ok(line) => line.ok().flatten(),
        Err(_) => {
            return Err(ApiError::new(Code::Timeout, "the daemon is not ready yet")
                .why(format!("waited {} s", wait.as_secs()))
                .hint("homing daemon status, homing daemon logs"));
        }
    };
    let Some(line) = line else { return Err(died(session, &mut child).await) };
    let Ok(error) = serde_json::from_str::<ApiError>(&line) else { return Ok(true) };
    // Somebody else was faster: then the daemon is running, which is what was asked for.
    if error.code == Code::AlreadyExists
        && let Some(info) = running(session).await?
    {
        return keep(session, args, &info).await;
    }
    Err(error)
}

fn spawn(session: &Session, args: &StartArgs) -> Result<Child, ApiError> {
    let broken = |what: &str, e: std::io::Error| {
        ApiError::new(Code::Internal, format!("{what}: {e}")).hint("homing daemon run says more")
    };
    let program = std::env::current_exe().map_err(|e| broken("this program's own path", e))?;
    let log = open_log(&session.home.log()).map_err(|e| broken("daemon.log", e))?;
    Command::new(program)
        .arg("--home")
        .arg(session.home.dir())
        .args(["daemon", "run", "--detached"])
        .args(args.to_flags())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|e| broken("the daemon's process", e))
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

async fn died(session: &Session, child: &mut Child) -> ApiError {
    let status = child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
    let log = std::fs::read_to_string(session.home.log()).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it left no word in its log").to_owned();
    ApiError::new(Code::Internal, format!("the daemon ended at its start ({status})"))
        .why(last)
        .hint("homing daemon run shows it in the foreground")
}

/// The agent's facts as soon as it is reachable, or after a short while anyway.
async fn once_online(session: &Session) -> Result<Info, ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(ONLINE_TIMEOUT).min(ONLINE_TIMEOUT);
    loop {
        let info = session.client()?.info().await?;
        let reachable =
            info.online && (info.relays.is_empty() || is_known_to_somebody(session).await?);
        if reachable || Instant::now() >= deadline {
            return Ok(info);
        }
        tokio::time::sleep(ONLINE_LOOK_EVERY).await;
    }
}

/// A link stands, so a neighbour holds this agent's record and others can find it by name.
async fn is_known_to_somebody(session: &Session) -> Result<bool, ApiError> {
    let status = session.client()?.status(None).await?;
    Ok(status.peers.iter().any(|p| matches!(p.path.kind, PathKind::Direct | PathKind::Relay)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command as Words};
    use clap::Parser;

    #[test]
    fn the_daemon_gets_every_flag_that_the_user_gave() {
        let given = [
            "--hostname",
            "planner",
            "--identity",
            "/keys/id.json",
            "--relay",
            "https://relay.example.net:3340/#quic=7842",
            "--peer",
            "192.0.2.1:41641",
            "--listen",
            "127.0.0.2:0",
            "--set",
            "dht.enabled=false",
            "--takeover",
        ];
        let words = ["homing", "up"].into_iter().chain(given);
        let Words::Up(args) = Cli::try_parse_from(words).unwrap().command else { panic!() };
        assert_eq!(args.to_flags(), given.map(OsString::from));
    }
}
