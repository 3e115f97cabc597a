//! `homing fetch`: content from whoever has it, verified while it comes.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{TypedValueParser, ValueParser};
use homing_api::client::{FetchEvent, Fetching};
use homing_api::content::{FetchProgress, FetchRequest, Fetched};
use homing_api::{ApiError, Code};
use tokio::time::{Instant, timeout_at};

use super::{OK, Outcome};
use crate::args::OutputWord;
use crate::output;
use crate::session::Session;

/// How often progress is shown where it is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Get content from whoever has it; what breaks off is resumed by the same command
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing fetch planner/checkpoint\n  homing fetch agent-b/planner/checkpoint -o model.bin\n  homing fetch bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi --from agent-b --max-size 2GiB"
)]
pub(crate) struct FetchArgs {
    /// A CID, or a reference: NAME, AGENT/NAME, k51…
    what: String,
    /// Ask this peer before all others: name, address or node ID
    #[arg(long, value_name = "PEER")]
    from: Vec<String>,
    /// Write a copy here; without it the path where it is kept is printed. For JSON results: --json
    #[arg(id = "output", long, short = 'o', value_name = "FILE", value_parser = file())]
    output: Option<OutputWord>,
    /// Refuse what is larger: 500MB, 2GiB, or bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
}

fn file() -> ValueParser {
    let path = clap::builder::PathBufValueParser::new();
    path.map(OutputWord::File).into()
}

/// `500MB`, `2GiB`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        other => {
            return Err(format!("{other:?} is no unit: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"));
        }
    };
    let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is no whole number"))?;
    number.checked_mul(unit).ok_or_else(|| "that is too large".to_owned())
}

pub(crate) async fn run(session: &Session, args: &FetchArgs) -> Outcome {
    let target = match &args.output {
        Some(OutputWord::File(path)) => Some(Target::of(path)?),
        _ => None,
    };
    let (what, from) = (args.what.clone(), args.from.clone());
    let request = FetchRequest { what, from, max_size_bytes: args.max_size };
    let fetching = session.client()?.fetch_content(&request).await?;
    let mut fetched = followed(session, fetching).await?;
    for peer in &fetched.blamed {
        output::say(&format!("warning: {} sent something else and was left out", peer.label()));
    }
    if let Some(target) = target {
        let from = PathBuf::from(&fetched.path);
        fetched.path = target.path.to_string_lossy().into_owned();
        let written = tokio::task::spawn_blocking(move || target.write(&from)).await;
        written.map_err(|e| ApiError::new(Code::Internal, format!("the copy: {e}")))??;
    }
    session.out.result(&fetched, || vec![fetched.path.clone()], || text(&fetched));
    Ok(OK)
}

fn text(fetched: &Fetched) -> String {
    let from: Vec<_> = fetched.from.iter().map(|peer| peer.label()).collect();
    let origin = match from.is_empty() {
        true => "it was here".to_owned(),
        false => format!("{} bytes from {}", fetched.fetched_bytes, from.join(", ")),
    };
    format!("{}  {} bytes, ✓ verified, {origin}\n", fetched.path, fetched.size_bytes)
}

/// Shows progress until it is here.
async fn followed(session: &Session, mut fetching: Fetching) -> Result<Fetched, ApiError> {
    let deadline = session.timeout.map(|timeout| Instant::now() + timeout);
    let mut shown = Shown { said: Instant::now(), percent: None };
    loop {
        let next = match deadline {
            None => fetching.recv().await,
            Some(deadline) => timeout_at(deadline, fetching.recv()).await.map_err(|_| {
                ApiError::new(Code::Timeout, "it is not whole yet")
                    .hint("what has arrived is kept: run the same command again")
            })?,
        };
        match next? {
            FetchEvent::Progress(progress) => shown.show(&progress),
            FetchEvent::Done(fetched) => return Ok(*fetched),
        }
    }
}

struct Shown {
    said: Instant,
    percent: Option<u64>,
}

impl Shown {
    fn show(&mut self, progress: &FetchProgress) {
        let (done, all) = (progress.received_bytes, progress.size_bytes);
        let percent = done.saturating_mul(100).checked_div(all);
        let pause = if std::io::stderr().is_terminal() { Duration::ZERO } else { SAY_EVERY };
        if percent == self.percent || (self.percent.is_some() && self.said.elapsed() < pause) {
            return;
        }
        (self.percent, self.said) = (percent, Instant::now());
        let from = progress.from.as_ref().map(|p| format!("  from {}", p.label()));
        let percent = percent.unwrap_or(100);
        output::say(&format!("{percent:3} %  {done} of {all} bytes{}", from.unwrap_or_default()));
    }
}

/// Where a copy goes.
struct Target {
    path: PathBuf,
    dir: PathBuf,
}

impl Target {
    /// A file that can be written; checked before anything is fetched.
    fn of(path: &Path) -> Result<Self, ApiError> {
        let refuse = |why: String| {
            ApiError::new(Code::Usage, format!("{} cannot be written", path.display())).why(why)
        };
        let absolute = std::path::absolute(path).map_err(|e| refuse(e.to_string()))?;
        if absolute.is_dir() || absolute.file_name().is_none() {
            return Err(refuse("it is a directory".into()).hint("name a file in it"));
        }
        let dir = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        match dir.is_dir() {
            true => Ok(Self { path: absolute, dir }),
            false => Err(refuse(format!("there is no directory {}", dir.display()))),
        }
    }

    /// Copies beside the target, then takes its name in one step.
    fn write(&self, from: &Path) -> Result<(), ApiError> {
        let written = (|| {
            let temporary = tempfile::Builder::new().prefix(".homing-").tempfile_in(&self.dir)?;
            // A copy by reference where the file system can do that.
            std::fs::copy(from, temporary.path())?;
            temporary.persist(&self.path).map_err(|e| e.error)
        })();
        written.map(drop).map_err(|e: std::io::Error| {
            let code = match e.kind() {
                std::io::ErrorKind::StorageFull => Code::DiskFull,
                std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
                _ => Code::Internal,
            };
            ApiError::new(code, format!("{} could not be written", self.path.display()))
                .why(e.to_string())
                .hint(format!("it is here, whole and verified: {}", from.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [("0", 0), ("17", 17), ("500MB", 500_000_000), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "2 GiB", "-1", "1.5GB", "2gib", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
