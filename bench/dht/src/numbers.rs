//! Clocks and counters of this process, and medians.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// What was used up at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    at: std::time::Instant,
    cpu: Duration,
    datagrams: u64,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub wall: Duration,
    pub cpu: Duration,
    pub datagrams: u64,
}

impl Meter {
    /// Now.
    pub fn read() -> Result<Self> {
        let cpu = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?);
        Ok(Self { at: std::time::Instant::now(), cpu, datagrams: datagrams()? })
    }

    /// Since then.
    pub fn used(self) -> Result<Used> {
        let now = Self::read()?;
        Ok(Used {
            wall: now.at - self.at,
            cpu: now.cpu.saturating_sub(self.cpu),
            datagrams: now.datagrams - self.datagrams,
        })
    }
}

/// UDP datagrams sent in this network namespace (`OutDatagrams`); only ours, if it is our own.
fn datagrams() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut rows = text.lines().filter_map(|l| l.strip_prefix("Udp: "));
    let (names, values) = (rows.next().context("Udp names")?, rows.next().context("Udp values")?);
    let at = names.split(' ').position(|n| n == "OutDatagrams").context("OutDatagrams")?;
    Ok(values.split(' ').nth(at).context("a value")?.parse()?)
}

/// Resident memory of this process, bytes.
pub fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1_024)
}

/// The middle of some numbers; not a number, if there are none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number with as many digits as it deserves.
pub fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "–".to_owned(),
        v if v < 1.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
