//! A fleet's own log of who came and went, as `homing lab record` writes it.
//!
//! ```text
//! {"at":"2026-11-21T03:00:00.000Z","event":"join","agent":"3a91c277e0…"}      one JSON object per line
//! {"at":12.5,"event":"leave","agent":"gpu-7"}                                 or seconds since any start
//! ```
//! Times do not go back; agents alternate between join and leave; whose first line is a leave was there before
//! the log began. Unknown fields are ignored, so that logs of other programs can be extended instead of cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_base::Wall;
use serde::Deserialize;

use super::limits::{
    LOG_AT_SECONDS_MAX, LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LOG_SECONDS_MAX,
};

/// Somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// After the first line.
    pub at: Duration,
    /// Which agent, counted from 0.
    pub agent: u32,
    /// Came, or went.
    pub joins: bool,
}

/// A whole log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventLog {
    /// In order of time.
    pub changes: Vec<Change>,
    /// Agents that ever lived.
    pub agents: usize,
    /// Those that were there before the first line.
    pub present: Vec<u32>,
    /// Most that lived at the same time.
    pub most: usize,
}

/// What is wrong with a log, and where.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too long.
    #[error("{path} is too large: at most {LOG_LINES_MAX} lines and {LOG_BYTES_MAX} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// A line makes no sense.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Nobody ever came.
    #[error("{path} has no events")]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct Line {
    at: At,
    event: Event,
    agent: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum At {
    Text(String),
    Seconds(f64),
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Join,
    Leave,
}

impl At {
    fn seconds(&self) -> Result<f64, String> {
        match self {
            At::Seconds(s) if (0.0..=LOG_AT_SECONDS_MAX).contains(s) => Ok(*s),
            At::Seconds(s) => Err(format!("{s:?} is no time: 0 to {LOG_AT_SECONDS_MAX:e} seconds")),
            At::Text(text) => {
                let wall: Wall = text.parse().map_err(|_| {
                    format!("{text:?} is no time: 2026-11-21T03:00:00.000Z, or a number of seconds")
                })?;
                Ok(wall.0 as f64 / 1e3)
            }
        }
    }
}

/// Reads a log line by line.
#[derive(Default)]
struct Reader {
    log: EventLog,
    agents: BTreeMap<String, (u32, bool)>,
    first: Option<f64>,
    last: f64,
    up: usize,
}

impl Reader {
    fn take(&mut self, text: &str) -> Result<(), String> {
        let line: Line = serde_json::from_str(text).map_err(|e| {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
            format!("not an event ({what}); an event is {{\"at\":…,\"event\":\"join\"|\"leave\",\"agent\":…}}")
        })?;
        if line.agent.is_empty() {
            return Err("the agent has no name".to_owned());
        }
        let seconds = line.at.seconds()?;
        let first = *self.first.get_or_insert(seconds);
        let at = seconds - first;
        if at < self.last {
            return Err(format!("time goes back by {:.3} s; sort the log by time", self.last - at));
        }
        if at > LOG_SECONDS_MAX {
            return Err(format!("{seconds:?} is no time: over 100 years after the first line"));
        }
        self.last = at;
        let joins = line.event == Event::Join;
        let agent = self.agent(line.agent, joins)?;
        self.log.changes.push(Change { at: Duration::from_secs_f64(at), agent, joins });
        self.up = if joins { self.up + 1 } else { self.up - 1 };
        self.log.most = self.log.most.max(self.up);
        Ok(())
    }

    fn agent(&mut self, name: String, joins: bool) -> Result<u32, String> {
        if let Some((agent, up)) = self.agents.get_mut(&name) {
            if *up == joins {
                let is = if joins { "joins but is there" } else { "leaves but is not there" };
                return Err(format!("{name} {is} already; each agent joins and leaves in turn"));
            }
            *up = joins;
            return Ok(*agent);
        }
        let agent = u32::try_from(self.log.agents).expect("at most LOG_LINES_MAX");
        self.log.agents += 1;
        self.agents.insert(name, (agent, joins));
        if !joins {
            self.log.present.push(agent);
            self.up += 1;
            // It was there at every moment so far.
            self.log.most += 1;
        }
        Ok(agent)
    }
}

impl EventLog {
    /// Reads the log at `path`.
    ///
    /// # Errors
    /// [`LogError`]; a broken line is named by its number.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let unreadable = |error| LogError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if meta.is_dir() {
            return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
        }
        if meta.len() > LOG_BYTES_MAX {
            return Err(LogError::TooLong { path: path.to_owned() });
        }
        let mut reader = Reader::default();
        for (nth, text) in BufReader::new(file).lines().enumerate() {
            let at = |what| LogError::Line { path: path.to_owned(), line: nth + 1, what };
            if nth >= LOG_LINES_MAX {
                return Err(LogError::TooLong { path: path.to_owned() });
            }
            let text = text.map_err(|_| at("not UTF-8".to_owned()))?;
            if text.len() > LOG_LINE_BYTES_MAX {
                return Err(at(format!("longer than {LOG_LINE_BYTES_MAX} bytes")));
            }
            if !text.trim().is_empty() {
                reader.take(&text).map_err(at)?;
            }
        }
        if reader.log.changes.is_empty() {
            return Err(LogError::Empty { path: path.to_owned() });
        }
        Ok(reader.log)
    }

    /// From the first line to the last.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.changes.last().map_or(Duration::ZERO, |c| c.at)
    }

    /// Leaves per agent-hour, over the whole log.
    #[must_use]
    pub fn turnover_per_hour(&self) -> f64 {
        let (mut up, mut agent_seconds, mut last, mut leaves) = (self.present.len(), 0.0, 0.0, 0);
        for change in &self.changes {
            let at = change.at.as_secs_f64();
            agent_seconds += (at - last) * up as f64;
            last = at;
            up = if change.joins { up + 1 } else { up - 1 };
            leaves += usize::from(!change.joins);
        }
        if agent_seconds > 0.0 { leaves as f64 * 3_600.0 / agent_seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<EventLog, String> {
        let mut reader = Reader::default();
        for (nth, line) in lines.iter().enumerate() {
            reader.take(line).map_err(|what| format!("{}: {what}", nth + 1))?;
        }
        Ok(reader.log)
    }

    #[test]
    fn a_log_is_who_was_there_and_who_came_and_went() {
        let log = read(&[
            r#"{"at":100,"event":"leave","agent":"a"}"#,
            r#"{"at":160.5,"event":"join","agent":"b","why":"ignored"}"#,
            r#"{"at":190,"event":"join","agent":"a"}"#,
        ])
        .unwrap();
        assert_eq!((log.agents, &log.present[..], log.most), (2, &[0][..], 2));
        assert_eq!(log.length(), Duration::from_secs(90));
        let stamped = read(&[
            r#"{"at":"2026-11-21T03:00:00.000Z","event":"join","agent":"a"}"#,
            r#"{"at":"2026-11-21T03:30:00Z","event":"leave","agent":"a"}"#,
        ])
        .unwrap();
        assert!((stamped.turnover_per_hour() - 2.0).abs() < 1e-9, "{stamped:?}");
    }

    #[test]
    fn a_broken_line_is_named() {
        let good = r#"{"at":100,"event":"join","agent":"a"}"#;
        let cases = [
            ("{}", "missing field"),
            ("not json", "not an event"),
            (r#"{"at":101,"event":"join","agent":"a"}"#, "joins but is there already"),
            (r#"{"at":99,"event":"leave","agent":"a"}"#, "time goes back"),
            (r#"{"at":"yesterday","event":"leave","agent":"a"}"#, "is no time"),
            (r#"{"at":-5,"event":"leave","agent":"a"}"#, "is no time"),
            (r#"{"at":1e308,"event":"leave","agent":"a"}"#, "is no time"),
            (r#"{"at":1.8e19,"event":"leave","agent":"a"}"#, "is no time"),
            (r#"{"at":4e9,"event":"leave","agent":"a"}"#, "is no time"),
            (r#"{"at":101,"event":"left","agent":"a"}"#, "not an event"),
            (r#"{"at":101,"event":"join","agent":""}"#, "no name"),
        ];
        for (line, what) in cases {
            let error = read(&[good, line]).unwrap_err();
            assert!(error.starts_with("2: ") && error.contains(what), "{line}: {error}");
        }
        let error = read(&[r#"{"at":2e19,"event":"join","agent":"a"}"#]).unwrap_err();
        assert!(error.starts_with("1: 2e19 is no time"), "{error}");
    }
}
