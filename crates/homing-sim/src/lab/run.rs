//! A run: many trials over all cores, each kept in a directory as soon as it is done.
//!
//! ```text
//! DIR/run.json                         what was asked for
//! DIR/trials/kademlia-0.5-7.json       strategy, turnover per hour, seed: one finished trial
//! ```
//! A run that was interrupted goes on where it was: finished trials are read, the others are played. A file that
//! cannot be read is played again. Not here: what the trials mean ([`super::table`], [`super::plan`]).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::events::EventLog;
use super::fleet::{Fleet, FleetError};
use super::limits::TRIALS_MAX;
use super::strategy::Strategy;
use super::trial::{Figures, Stop, Trial, play};
use crate::references::{self, Month};

/// The version of `run.json`.
const FORMAT: u32 = 1;
/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(100);
/// A week of one reference, kept by so many, valid so long.
const REFERENCE_DAYS: u64 = 7;
const REFERENCE_KEEPERS: usize = 12;
const REFERENCE_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// One trial to be played.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which strategy.
    pub strategy: Strategy,
    /// Turnover per hour instead of the fleet's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub turnover: Option<f64>,
    /// Agents instead of the fleet's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agents: Option<usize>,
    /// The seed.
    pub seed: u64,
}

impl Job {
    fn file(&self) -> String {
        let turnover = self.turnover.map(|t| format!("-{t}")).unwrap_or_default();
        let agents = self.agents.map(|n| format!("-{n}")).unwrap_or_default();
        format!("{}{agents}{turnover}-{}.json", self.strategy, self.seed)
    }
}

/// What a run was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    format: u32,
    /// Which command asked: only it can go on.
    pub command: String,
    /// The fleet.
    pub fleet: Fleet,
    /// Its trials.
    pub jobs: Vec<Job>,
    /// SHA-256 of the event log, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    log: Option<String>,
    /// What else the command wants to know when it goes on.
    #[serde(default)]
    pub extra: serde_json::Value,
}

/// Why a run does not begin, or ends early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The fleet cannot be played.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The directory cannot be used.
    #[error("{path}: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is something else in it.
    #[error("{path} holds another run, or something else")]
    Occupied {
        /// Which.
        path: PathBuf,
    },
    /// There is no run in it.
    #[error("{path} holds no run that can go on: {what}")]
    NoRun {
        /// Which.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// Another command made it.
    #[error("{path} is a run of homing lab {command}")]
    OtherCommand {
        /// Which.
        path: PathBuf,
        /// Whose.
        command: String,
    },
    /// Too many or no trials.
    #[error("{0} trials: 1 to {TRIALS_MAX}")]
    Trials(usize),
    /// It was stopped; what is done is kept.
    #[error("stopped after {done} of {all} trials")]
    Stopped {
        /// Trials that are done.
        done: usize,
        /// Trials in all.
        all: usize,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Trials that are done.
    pub done: usize,
    /// Trials in all.
    pub all: usize,
    /// Share of all work that is done.
    pub share: f64,
    /// Estimated rest.
    pub left: Option<Duration>,
}

/// How trials are played.
#[derive(Debug)]
pub struct Means<'a> {
    /// At the same time.
    pub jobs: usize,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// No trial begins later; those that did not begin are missing from the result.
    pub deadline: Option<Instant>,
}

/// A run and its directory.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    /// What was asked for.
    pub request: Request,
    log: Option<EventLog>,
}

impl Run {
    /// Checks the fleet and makes the directory, which must be empty or absent.
    ///
    /// # Errors
    /// [`RunError`]; nothing is written when the fleet is wrong.
    pub fn create(
        dir: &Path,
        command: &str,
        mut fleet: Fleet,
        jobs: Vec<Job>,
        extra: serde_json::Value,
    ) -> Result<Self, RunError> {
        if !(1..=TRIALS_MAX).contains(&jobs.len()) {
            return Err(RunError::Trials(jobs.len()));
        }
        let log = fleet.check()?;
        for job in &jobs {
            if !job.strategy.is_reference() {
                of_job(&fleet, job).check_without_log()?;
            }
        }
        let failed = |error| RunError::Directory { path: dir.to_owned(), error };
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RunError::Occupied { path: dir.to_owned() });
        }
        std::fs::create_dir_all(dir.join("trials")).map_err(failed)?;
        let hash = fleet.events.as_deref().and_then(hash_of);
        let request =
            Request { format: FORMAT, command: command.to_owned(), fleet, jobs, log: hash, extra };
        let text = serde_json::to_string_pretty(&request).expect("a request is JSON");
        write(&dir.join("run.json"), &text).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), request, log })
    }

    /// Opens a run that was interrupted, or is done.
    ///
    /// # Errors
    /// [`RunError::NoRun`] when there is none, or its log has changed; [`RunError::OtherCommand`].
    pub fn open(dir: &Path, command: &str) -> Result<Self, RunError> {
        let no_run = |what: String| RunError::NoRun { path: dir.to_owned(), what };
        let text =
            std::fs::read_to_string(dir.join("run.json")).map_err(|e| no_run(e.to_string()))?;
        let mut request: Request =
            serde_json::from_str(&text).map_err(|e| no_run(format!("run.json: {e}")))?;
        if request.format != FORMAT {
            return Err(no_run(format!("format {} of run.json", request.format)));
        }
        if request.command != command {
            let command = request.command;
            return Err(RunError::OtherCommand { path: dir.to_owned(), command });
        }
        let log = request.fleet.check()?;
        if request.fleet.events.as_deref().and_then(hash_of) != request.log {
            return Err(no_run("its event log has changed since".to_owned()));
        }
        std::fs::create_dir_all(dir.join("trials")).map_err(|e| no_run(e.to_string()))?;
        Ok(Self { dir: dir.to_owned(), request, log })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How long the event log is, if there is one; the fleet's duration is what of it is played.
    #[must_use]
    pub fn log_length(&self) -> Option<Duration> {
        self.log.as_ref().map(EventLog::length)
    }

    fn finished(&self, job: &Job) -> Option<Trial> {
        let text = std::fs::read_to_string(self.dir.join("trials").join(job.file())).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Plays what is not done yet. Trials come back in the order of their jobs.
    ///
    /// # Errors
    /// [`RunError::Stopped`], or when a trial cannot be written.
    pub fn play(
        &self,
        means: &Means<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<(Job, Trial)>, RunError> {
        let all = &self.request.jobs;
        let done: Vec<Option<Trial>> = all.iter().map(|job| self.finished(job)).collect();
        let todo = (0..all.len()).filter(|i| done[*i].is_none()).collect();
        let already = all.len() - VecDeque::len(&todo);
        let (queue, results) = (Mutex::new(todo), Mutex::new(done));
        let failure: Mutex<Option<RunError>> = Mutex::new(None);
        let stops: Vec<Stop> = (0..means.jobs.max(1)).map(|_| Stop::default()).collect();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let workers: Vec<_> = stops
                .iter()
                .map(|stop| scope.spawn(|| self.work(means, stop, &queue, &results, &failure)))
                .collect();
            while workers.iter().any(|w| !w.is_finished()) {
                std::thread::sleep(LOOK);
                if means.stop.load(Ordering::Relaxed) {
                    stops.iter().for_each(|s| s.now.store(true, Ordering::Relaxed));
                }
                let done = lock(&results).iter().flatten().count();
                let parts = stops.iter().map(|s| s.progress.load(Ordering::Relaxed));
                let part = f64::from(parts.sum::<u32>()) / 1e3;
                progress(so_far(done, all.len(), already, part, began.elapsed()));
            }
        });
        if let Some(error) = lock(&failure).take() {
            return Err(error);
        }
        let results = std::mem::take(&mut *lock(&results));
        let done = results.iter().flatten().count();
        if means.stop.load(Ordering::Relaxed) && done < all.len() {
            return Err(RunError::Stopped { done, all: all.len() });
        }
        Ok(all.iter().copied().zip(results).filter_map(|(job, t)| Some((job, t?))).collect())
    }

    fn work(
        &self,
        means: &Means<'_>,
        stop: &Stop,
        queue: &Mutex<VecDeque<usize>>,
        results: &Mutex<Vec<Option<Trial>>>,
        failure: &Mutex<Option<RunError>>,
    ) {
        while !means.stop.load(Ordering::Relaxed) && lock(failure).is_none() {
            if means.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return;
            }
            let Some(next) = lock(queue).pop_front() else { return };
            let job = self.request.jobs[next];
            let Some(trial) = self.trial(&job, stop) else { return };
            stop.progress.store(0, Ordering::Relaxed);
            let path = self.dir.join("trials").join(job.file());
            let text = serde_json::to_string(&trial).expect("a trial is JSON");
            if let Err(error) = write(&path, &text) {
                *lock(failure) = Some(RunError::Directory { path, error });
                return;
            }
            lock(results)[next] = Some(trial);
        }
    }

    fn trial(&self, job: &Job, stop: &Stop) -> Option<Trial> {
        if job.strategy.is_reference() {
            return Some(reference(job, &self.request.fleet));
        }
        let fleet = of_job(&self.request.fleet, job);
        let trial = play(&fleet, self.log.as_ref(), job.seed, stop)?;
        Some(Trial { turnover: job.turnover, ..trial })
    }
}

/// The fleet as this job wants it.
fn of_job(fleet: &Fleet, job: &Job) -> Fleet {
    let sessions = match job.turnover {
        Some(turnover) => Some(fleet.sessions.unwrap_or_default().at_turnover(turnover)),
        None => fleet.sessions,
    };
    let agents = job.agents.unwrap_or(fleet.agents);
    let records = fleet.records.map(|r| r.min(agents));
    Fleet { strategy: job.strategy, sessions, agents, records, ..fleet.clone() }
}

/// A week of one reference whose owner is there an hour a day.
fn reference(job: &Job, fleet: &Fleet) -> Trial {
    let own = fleet.sessions.map_or(0.01, |s| s.turnover_per_hour());
    let turnover = job.turnover.unwrap_or(own).max(0.001);
    let (keepers, helpers) = match job.strategy {
        Strategy::IpnsKept => (REFERENCE_KEEPERS, 0),
        _ => (0, REFERENCE_KEEPERS),
    };
    let seen = references::play(Month {
        seed: job.seed,
        keepers,
        helpers,
        turnover,
        lifetime: REFERENCE_LIFETIME,
        days: REFERENCE_DAYS,
        owner_days: REFERENCE_DAYS,
    });
    let found = (seen.newest + seen.older) as usize;
    let figures = Figures {
        agents: REFERENCE_KEEPERS,
        simulated_seconds: REFERENCE_DAYS as f64 * 86_400.0,
        turnover_per_hour: turnover,
        leaves: seen.departures,
        lookups: seen.asked as usize,
        found,
        success: found as f64 / seen.asked.max(1) as f64,
        newest: seen.newest as usize,
        ..Figures::default()
    };
    Trial {
        strategy: job.strategy,
        seed: job.seed,
        turnover: job.turnover,
        figures,
        cpu_seconds: 0.0,
        memory_peak_bytes: 0,
    }
}

fn so_far(done: usize, all: usize, already: usize, part: f64, elapsed: Duration) -> Progress {
    let share = ((done as f64 + part) / all.max(1) as f64).min(1.0);
    let fresh = done as f64 + part - already as f64;
    let rest = all as f64 - done as f64 - part;
    let left = (fresh > 0.05).then(|| elapsed.mul_f64((rest / fresh).clamp(0.0, 1e6)));
    Progress { done, all, share, left }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

fn hash_of(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}
