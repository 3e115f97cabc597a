//! How a run goes: its directory, its threads, progress on a terminal, Ctrl-C and SIGTERM, the report, and what its errors mean to a user.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use homing_api::{ApiError, Code};
use homing_sim::lab::events::LogError;
use homing_sim::lab::report::Page;
use homing_sim::lab::table::{COLUMNS, Row, cells};
use homing_sim::lab::{Fleet, FleetError, Job, Means, Progress, Run, RunError, Trial};
use tokio::signal::unix::{SignalKind, signal};

use crate::output;
use crate::render::{Table, time};
use crate::session::Session;

/// How a program exits that SIGTERM ended: 128 and the signal's number.
const TERMINATED_EXIT: u8 = 143;
/// In a run's directory: nobody asked to keep it, and it goes when the run is done.
const PASSING: &str = "passing";
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Write a report for people: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A run that is done.
pub(super) struct Done {
    command: String,
    dir: PathBuf,
    passing: bool,
    /// Of the event log, if there is one.
    pub(super) log_length: Option<Duration>,
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
        if passing {
            let marked = std::fs::write(dir.join(PASSING), "");
            marked.map_err(|e| told_io(format!("{}: {e}", dir.display()), &e))?;
        }
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
        let own = dir.canonicalize().ok().zip(session.home.dir().join("lab").canonicalize().ok());
        let passing = own.is_some_and(|(dir, lab)| dir.parent() == Some(lab.as_path()))
            && dir.join(PASSING).is_file();
        self.play(session, run, command, passing, None).await
    }

    /// The report's place is known to be writable before any long work.
    fn check(&self) -> Result<(), ApiError> {
        let Some(path) = &self.html else { return Ok(()) };
        let new = path.symlink_metadata().is_err();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        opened.map_err(|e| {
            ApiError::new(Code::Usage, format!("--html {}: {e}", path.display()))
                .hint("name a file that can be written, in a directory that exists")
        })?;
        if new {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Writes the report, if one is wanted, and lets go of a run that nobody asked to keep.
    pub(super) fn report(&self, done: &Done, page: impl FnOnce() -> Page) -> Result<(), ApiError> {
        if let Some(path) = &self.html {
            std::fs::write(path, page().html()).map_err(|e| {
                let message = format!("the report {} is not written: {e}", path.display());
                let (command, dir) = (&done.command, done.dir.display());
                ApiError::new(code_of(&e), message)
                    .hint(format!("homing lab {command} --resume {dir} --html OTHER"))
            })?;
            output::say(&format!("report: {}", path.display()));
        }
        done.discard();
        Ok(())
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
        let wanted = self.jobs.map_or(cores, usize::from).clamp(1, 256);
        let free = (memory_free_bytes() as f64 * MEMORY_SHARE) as u64;
        let jobs = match fleet.jobs_that_fit(wanted, free) {
            Ok(jobs) => jobs,
            Err(error) => {
                discard(run.dir(), passing);
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
        let (ending, ended) = tokio::select! {
            ended = &mut playing => (Code::Interrupted.exit(), ended),
            exit = interrupted() => { stop.store(true, Ordering::Relaxed); (exit, playing.await) }
            () = timeout => { stop.store(true, Ordering::Relaxed); (Code::Timeout.exit(), playing.await) }
        };
        if terminal {
            eprint_clear();
        }
        let (run, played) = ended.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
        match played {
            Ok(trials) => {
                let log_length = run.log_length();
                let Run { request, .. } = run;
                let (command, fleet, extra) = (request.command, request.fleet, request.extra);
                Ok(Done { command, dir, passing, log_length, fleet, extra, trials })
            }
            Err(RunError::Stopped { done, all }) => {
                let timed_out = ending == Code::Timeout.exit();
                let code = if timed_out { Code::Timeout } else { Code::Interrupted };
                let message = format!("stopped after {done} of {all} trials; what is done is kept");
                let hint = format!("homing lab {command} --resume {}", dir.display());
                Err(ApiError { exit: ending, ..ApiError::new(code, message).hint(hint) })
            }
            Err(error) => Err(told(&error)),
        }
    }
}

impl Done {
    /// Nothing of it is needed any more.
    pub(super) fn discard(&self) {
        discard(&self.dir, self.passing);
    }
}

/// Somebody wants it to end: Ctrl-C or SIGTERM; the answer is how to exit.
pub(super) async fn interrupted() -> u8 {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Code::Interrupted.exit(),
        _ = terminated => TERMINATED_EXIT,
    }
}

/// A run that nobody asked to keep leaves nothing behind.
fn discard(dir: &Path, passing: bool) {
    if passing {
        let _ = std::fs::remove_dir_all(dir);
        if let Some(parent) = dir.parent() {
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

fn code_of(error: &std::io::Error) -> Code {
    match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::ConfigInvalid,
    }
}

fn told_io(message: String, error: &std::io::Error) -> ApiError {
    ApiError::new(code_of(error), message).hint("check the path")
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
        RunError::OtherCommand { path, command } => ApiError::new(Code::NotFound, message)
            .hint(format!("homing lab {command} --resume {}", path.display())),
        RunError::Trials(_) => {
            ApiError::new(Code::Usage, message).hint("fewer strategies, turnovers or seeds")
        }
        RunError::Stopped { .. } => ApiError::new(Code::Interrupted, message),
    }
}
