//! Runs scenarios one after the other; nothing here knows what they do.

use std::env;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use homing_lab::{agent, capability, namespace};

/// One test.
pub(crate) struct Scenario {
    /// What it shows, as a sentence with underscores.
    pub(crate) name: &'static str,
    /// After this many seconds the whole run ends as failed.
    pub(crate) limit_s: u64,
    /// It runs daemons, not only sockets.
    pub(crate) needs_binary: bool,
    /// Does it.
    pub(crate) run: fn(&mut Notes) -> Result<()>,
}

/// What this machine lacks for one scenario: an error that is no failure.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What a scenario measured; printed as it happens and again as a table at the end.
pub(crate) struct Notes {
    scenario: &'static str,
    lines: Vec<String>,
    skipped: Vec<String>,
}

impl Notes {
    /// Writes one line.
    pub(crate) fn add(&mut self, line: impl Into<String>) {
        let line = line.into();
        println!("  {line}");
        self.lines.push(format!("{:<44} {line}", self.scenario));
    }

    /// Says and counts that a part of the scenario cannot run here.
    pub(crate) fn skip(&mut self, what: &str, reason: &str) {
        println!("SKIPPED: {}: {what}: {reason}", self.scenario);
        self.skipped.push(format!("{what}: {reason}"));
    }
}

/// What the command line asked for.
#[derive(Default)]
struct Selection {
    words: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
}

impl Selection {
    fn from_arguments() -> Self {
        let mut selection = Self::default();
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => selection.list = true,
                "--exact" => selection.exact = true,
                "--skip" => selection.skip.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" => drop(arguments.next()),
                word if word.starts_with('-') => {}
                word => selection.words.push(word.to_owned()),
            }
        }
        selection
    }

    fn takes(&self, name: &str) -> bool {
        let fits = |word: &String| if self.exact { name == word } else { name.contains(word) };
        (self.words.is_empty() || self.words.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

/// How one scenario ended.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs what the command line selects.
pub(crate) fn run(groups: &[&[Scenario]]) -> ExitCode {
    let selection = Selection::from_arguments();
    let all = groups.iter().flat_map(|group| group.iter());
    let chosen: Vec<&Scenario> = all.filter(|scenario| selection.takes(scenario.name)).collect();
    if selection.list {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    // Whoever may not open it may not run the lab either, and will be told so below.
    let lock = File::create(env::temp_dir().join("homing-lab.lock"));
    let _ = lock.as_ref().map(File::lock);
    namespace::remove_stale();
    let machine = capability::check();
    let binary = agent::binary();
    if let Ok(path) = &binary {
        println!("lab: testing {}", path.display());
    }
    let mut tally = Tally::default();
    for scenario in chosen {
        let obstacle = machine.clone().err();
        let obstacle = obstacle.or_else(|| binary.clone().err().filter(|_| scenario.needs_binary));
        tally.add(scenario, obstacle);
    }
    tally.conclude()
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
    lines: Vec<String>,
}

impl Tally {
    fn add(&mut self, scenario: &Scenario, obstacle: Option<String>) {
        println!("scenario {} ...", scenario.name);
        let started = Instant::now();
        let mut notes = Notes { scenario: scenario.name, lines: Vec::new(), skipped: Vec::new() };
        let outcome = match obstacle {
            Some(reason) => Outcome::Skipped(reason),
            None => bounded(scenario, &mut notes),
        };
        let seconds = started.elapsed().as_secs_f32();
        self.lines.append(&mut notes.lines);
        self.skipped.append(&mut notes.skipped);
        match outcome {
            Outcome::Passed => {
                println!("scenario {} ... ok ({seconds:.1} s)", scenario.name);
                self.passed += 1;
            }
            Outcome::Failed(reason) => {
                println!("scenario {} ... FAILED ({seconds:.1} s)\n  {reason}", scenario.name);
                self.failed.push(format!("{}: {reason}", scenario.name));
            }
            Outcome::Skipped(reason) => {
                println!("SKIPPED: {}: {reason}", scenario.name);
                self.skipped.push(reason);
            }
        }
    }

    fn conclude(mut self) -> ExitCode {
        println!("\nlab: measured");
        self.lines.iter().for_each(|line| println!("  {line}"));
        let skipped = self.skipped.len();
        self.skipped.dedup();
        println!("lab: passed {}, failed {}", self.passed, self.failed.len());
        if skipped > 0 {
            println!("lab: skipped {skipped} ({})", self.skipped.join("; "));
        }
        // As libtest says it, for programs that count: a skipped test passes there, and its own line
        // `SKIPPED: …` takes that back.
        let word = if self.failed.is_empty() { "ok" } else { "FAILED" };
        let (passed, failed) = (self.passed + skipped, self.failed.len());
        println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured");
        if self.failed.is_empty() {
            return ExitCode::SUCCESS;
        }
        self.failed.iter().for_each(|which| println!("lab: failed: {which}"));
        ExitCode::FAILURE
    }
}

/// Runs one scenario under its limit. A scenario that hangs ends the process: its thread cannot be ended.
fn bounded(scenario: &Scenario, notes: &mut Notes) -> Outcome {
    let (done, finished) = mpsc::channel::<()>();
    let (name, limit) = (scenario.name, Duration::from_secs(scenario.limit_s));
    let watchdog = thread::spawn(move || {
        if finished.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            println!("scenario {name} ... FAILED: still running after {limit:?}; giving up");
            namespace::remove_own();
            std::process::exit(101);
        }
    });
    let result = panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(notes)));
    drop(done);
    watchdog.join().unwrap();
    match result.unwrap_or_else(|_| Err(anyhow!("panicked"))) {
        Ok(()) => Outcome::Passed,
        Err(error) => match error.downcast_ref() {
            Some(Skip(reason)) => Outcome::Skipped(reason.clone()),
            None => Outcome::Failed(format!("{error:#}")),
        },
    }
}
