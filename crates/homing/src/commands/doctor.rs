//! `homing doctor`: looks at everything that usually goes wrong, with or without a daemon.

use clap::Args;
use homing_api::Code;
use homing_api::network::{Check, Doctor, Outcome as Verdict};
use homing_api::{ApiError, Schema};
use homing_node::identity_file;
use nix::sys::statvfs::statvfs;

use super::{OK, Outcome, config, info};
use crate::render::Table;
use crate::session::{Session, told};

/// The store writes a few kilobytes; logs and SQLite's journal want room.
const DISK_FREE_BYTES_MIN: u64 = 64 * 1_024 * 1_024;

/// Find out what is wrong, and what to do about it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing doctor\n  homing doctor --json")]
pub(crate) struct DoctorArgs {}

pub(crate) async fn run(session: &Session, _: &DoctorArgs) -> Outcome {
    let mut checks =
        vec![identity(session), configuration(session), socket(session), disk(session)];
    checks.extend(daemon(session).await);
    let worst = checks.iter().map(|c| c.outcome).max().unwrap_or(Verdict::Ok);
    let doctor = Doctor { schema: Schema::new(), checks };
    let names = || {
        let bad = doctor.checks.iter().filter(|c| c.outcome != Verdict::Ok);
        bad.map(|c| c.name.clone()).collect()
    };
    session.out.result(&doctor, names, || text(&doctor));
    Ok(if worst == Verdict::Fail { Code::Internal.exit() } else { OK })
}

fn text(doctor: &Doctor) -> String {
    let mut table = Table::new(&["CHECK", "RESULT", "FOUND"]);
    for check in &doctor.checks {
        let result = match check.outcome {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        table.row(vec![check.name.clone(), result.to_owned(), check.detail.clone()]);
        let hint = check.hint.as_ref().filter(|h| !check.detail.contains(*h));
        if let Some(hint) = hint {
            table.note(format!("try: {hint}"));
        }
    }
    table.render()
}

/// A failed check with what a user is told about the error.
fn failed(name: &str, error: &ApiError) -> Check {
    let why = error.why.as_ref().map(|w| format!(" ({w})")).unwrap_or_default();
    let check = Check::new(name, Verdict::Fail, format!("{}{why} [{}]", error.message, error.code));
    match &error.hint {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

fn identity(session: &Session) -> Check {
    let path = session.home.identity();
    let shown = info::tilde(&path.display().to_string());
    match identity_file::load(&path).map_err(told) {
        Ok(key) => {
            let id = key.node_id().fmt_short();
            Check::new("identity", Verdict::Ok, format!("{shown} is whole and private ({id})"))
        }
        Err(error) if error.code == Code::NotFound => {
            Check::new("identity", Verdict::Warn, format!("there is none yet at {shown}"))
                .hint("homing up makes one; to move an agent here, copy its identity.json first")
        }
        Err(error) => failed("identity", &error),
    }
}

fn configuration(session: &Session) -> Check {
    let resolved = config::layers(session).and_then(|l| l.resolve().map_err(told));
    match resolved {
        Ok(_) => Check::new("config", Verdict::Ok, "file and environment are valid"),
        Err(error) => failed("config", &error),
    }
}

fn socket(session: &Session) -> Check {
    match session.home.socket().map_err(told) {
        Ok(path) => Check::new("socket", Verdict::Ok, info::tilde(&path.display().to_string())),
        Err(error) => failed("socket", &error),
    }
}

fn disk(session: &Session) -> Check {
    let existing = session.home.dir().ancestors().find(|p| p.exists());
    let Some(Ok(stat)) = existing.map(statvfs) else {
        return Check::new("disk", Verdict::Warn, "free space is not known");
    };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let mib = free / (1_024 * 1_024);
    match free {
        0..DISK_FREE_BYTES_MIN => {
            Check::new("disk", Verdict::Fail, format!("only {mib} MiB are free"))
                .hint("free some space: without it nothing can be promised to peers")
        }
        _ => Check::new("disk", Verdict::Ok, format!("{mib} MiB are free")),
    }
}

async fn daemon(session: &Session) -> Vec<Check> {
    let Ok(client) = session.client() else { return Vec::new() };
    let info = match client.info().await {
        Ok(info) => info,
        Err(error) if error.code == Code::DaemonNotRunning => {
            return vec![
                Check::new("daemon", Verdict::Warn, "it is not running").hint("homing up"),
            ];
        }
        Err(error) => return vec![failed("daemon", &error)],
    };
    let running = format!("running (pid {}, version {})", info.pid, info.version);
    let mut checks = vec![Check::new("daemon", Verdict::Ok, running)];
    match client.doctor().await {
        Ok(inside) => checks.extend(inside.checks),
        Err(error) => checks.push(failed("inside", &error)),
    }
    checks
}
