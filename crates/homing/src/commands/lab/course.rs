//! How a run goes: its directory, its threads, progress on a terminal, Ctrl-C, and what its errors mean to a user.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use homing_api::{ApiError, Code};
use homing_sim::lab::events::LogError;
use homing_sim::lab::table::{COLUMNS, Row, cells};
use homing_sim::lab::{Fleet, FleetError, Job, Means, Progress, Run, RunError, Trial};

use crate::output;
use crate::render::{Table, time};
use crate::session::Session;

/// Share of the free memory that trials may take.
const MEMORY_SHARE: f64 = 0.75;

/// How trials are played.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The run")]
pub(super) struct RunFlags {
    /// Keep finished trials in this directory; without it they are kept only if the run is interrupted
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Trials at the same time [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Write a report for people: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// A run that is done.
pub(super) struct Done {
    pub(super) fleet: Fleet,
    pub(super) extra: serde_json::Value,
    pub(super) trials: Vec<(Job, Trial)>,
}

impl RunFlags {
    /// Where a run is kept, and whether only until it is done.
    fn place(&self, session: &Session) -> (PathBuf, bool) {
        match &self.run {
            Some(dir) => (dir.clone(), false),
            None => {
                let stamp = homing_node::clock::wall().0;
                (
                    session
                        .home
                        .dir()
                        .join("lab")
                        .join(format!("run-{stamp}-{}", std::process::id())),
                    true,
                )
            }
        }
    }

    /// Begins a run and plays it to its end.
    pub(super) async fn begin(
        &self,
        session: &Session,
        command: &str,
        (fleet, jobs, extra): (Fleet, Vec<Job>, serde_json::Value),
        deadline: Option<Instant>,
    ) -> Result<Done, ApiError> {
        self.check()?;
        let (dir, passing) = self.place(session);
        let run = Run::create(&dir, command, fleet, jobs, extra).map_err(|e| told(&e))?;
        self.play(session, run, command, passing, deadline).await
    }

    /// Goes on with a run.
    pub(super) async fn resume(
        &self,
        session: &Session,
        command: &str,
        dir: &Path,
    ) -> Result<Done, ApiError> {
        self.check()?;
        let run = Run::open(dir, command).map_err(|e| told(&e))?;
        self.play(session, run, command, false, None).await
    }

    /// The report's place is known to be writable before any long work.
    fn check(&self) -> Result<(), ApiError> {
        let Some(path) = &self.html else { return Ok(()) };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder.is_dir() && !path.is_dir() {
            return Ok(());
        }
        let message =
            format!("--html {}: no such directory, or a directory itself", path.display());
        Err(ApiError::new(Code::Usage, message).hint("name a file in a directory that exists"))
    }

    async fn play(
        &self,
        session: &Session,
        run: Run,
        command: &str,
        passing: bool,
        deadline: Option<Instant>,
    ) -> Result<Done, ApiError> {
        let most = run.request.jobs.iter().filter_map(|j| j.agents).max();
        let agents = most.unwrap_or(run.request.fleet.agents);
        let fleet = Fleet { agents, ..run.request.fleet.clone() };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = self.jobs.unwrap_or(cores).clamp(1, 256);
        let free = (memory_free_bytes() as f64 * MEMORY_SHARE) as u64;
        let jobs = match fleet.jobs_that_fit(wanted, free) {
            Ok(jobs) => jobs,
            Err(error) => {
                discard(&run, passing);
                return Err(told_fleet(&error));
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (dir, flag) = (run.dir().to_owned(), stop.clone());
        let terminal = std::io::stderr().is_terminal();
        let playing = tokio::task::spawn_blocking(move || {
            let means = Means { jobs, stop: &flag, deadline };
            let played = run.play(&means, &mut |p| {
                if terminal {
                    show(p)
                }
            });
            (run, played)
        });
        let timeout = async {
            match session.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(playing);
        let (timed_out, ended) = tokio::select! {
            ended = &mut playing => (false, ended),
            _ = tokio::signal::ctrl_c() => { stop.store(true, Ordering::Relaxed); (false, playing.await) }
            () = timeout => { stop.store(true, Ordering::Relaxed); (true, playing.await) }
        };
        if terminal {
            eprint_clear();
        }
        let (run, played) = ended.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
        match played {
            Ok(trials) => {
                discard(&run, passing);
                let Run { request, .. } = run;
                Ok(Done { fleet: request.fleet, extra: request.extra, trials })
            }
            Err(RunError::Stopped { done, all }) => {
                let code = if timed_out { Code::Timeout } else { Code::Interrupted };
                let message = format!("stopped after {done} of {all} trials; what is done is kept");
                let hint = format!("homing lab {command} --resume {}", dir.display());
                Err(ApiError::new(code, message).hint(hint))
            }
            Err(error) => Err(told(&error)),
        }
    }
}

/// A run that nobody asked to keep leaves nothing behind.
fn discard(run: &Run, passing: bool) {
    if passing {
        let _ = std::fs::remove_dir_all(run.dir());
        if let Some(parent) = run.dir().parent() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

fn show(progress: Progress) {
    let Progress { done, all, share, left } = progress;
    let filled = (share * 24.0) as usize;
    let bar: String = (0..24).map(|i| if i < filled { '█' } else { '░' }).collect();
    let left = left.map(|l| format!(" · {} left", time::short(l))).unwrap_or_default();
    output::say_over(&format!("{bar} {:3.0} %  {done} of {all} trials{left}", 100.0 * share));
}

fn eprint_clear() {
    output::say_over("");
}

/// Memory that is free now; plenty where `/proc` is missing.
fn memory_free_bytes() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kb = line.and_then(|l| l.split_whitespace().next()).and_then(|kb| kb.parse::<u64>().ok());
    kb.map_or(u64::MAX, |kb| kb * 1_024)
}

/// Rows as a table for people.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&COLUMNS);
    rows.iter().for_each(|row| table.row(cells(row)));
    table.render()
}

/// Writes the report.
pub(super) fn write_report(path: &Path, html: &str) -> Result<(), ApiError> {
    std::fs::write(path, html).map_err(|e| {
        ApiError::new(Code::Internal, format!("the report {} is not written: {e}", path.display()))
            .hint("choose another place with --html and take the run up with --resume")
    })?;
    output::say(&format!("report: {}", path.display()));
    Ok(())
}

/// `12.3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// What a user is told about a fleet that cannot be.
pub(super) fn told_fleet(error: &FleetError) -> ApiError {
    let message = error.to_string();
    match error {
        FleetError::Unreadable { error, .. } => told_io(message, error),
        FleetError::NoScenario { .. } => ApiError::new(Code::ConfigInvalid, message)
            .hint("the fields of a scenario stand in docs/lab.md; flags need no file"),
        FleetError::Field { .. } => ApiError::new(Code::Usage, message).hint(
            "change the flag, or the field of the scenario; homing lab simulate --help lists them",
        ),
        FleetError::Memory { .. } => ApiError::new(Code::Usage, message)
            .hint("take fewer agents, or a machine with more memory"),
        FleetError::Log(LogError::Unreadable { error, .. }) => told_io(message, error),
        FleetError::Log(_) => ApiError::new(Code::ConfigInvalid, message)
            .hint("homing lab record writes such a log; its form stands in docs/lab.md"),
    }
}

fn told_io(message: String, error: &std::io::Error) -> ApiError {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::ConfigInvalid,
    };
    ApiError::new(code, message).hint("check the path")
}

fn told(error: &RunError) -> ApiError {
    let message = error.to_string();
    match error {
        RunError::Fleet(error) => told_fleet(error),
        RunError::Directory { error, .. } => told_io(message, error),
        RunError::Occupied { .. } => ApiError::new(Code::AlreadyExists, message)
            .hint("go on with it by --resume DIR, or name another directory"),
        RunError::NoRun { .. } => ApiError::new(Code::NotFound, message)
            .hint("--resume takes the directory that an interrupted run named"),
        RunError::Trials(_) => {
            ApiError::new(Code::Usage, message).hint("fewer strategies, turnovers or seeds")
        }
        RunError::Stopped { .. } => ApiError::new(Code::Interrupted, message),
    }
}
