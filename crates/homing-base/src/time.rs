//! Time as an argument: deadlines are [`Mono`], a record's expiry is [`Wall`]. The compiler keeps
//! them apart. Nothing in this crate reads a clock.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A point on a monotonic clock, in microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The furthest point this clock can name.
    pub const MAX: Mono = Mono(u64::MAX);

    /// This point plus `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Mono {
        Mono(self.0.saturating_add(micros(duration)))
    }

    /// Time elapsed since `earlier`; zero if `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Wall(#[n(0)] pub u64);

impl Wall {
    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Wall {
        Wall(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time elapsed since `earlier`; zero if `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T03:00:00.000Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, day_ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (h, m) = (day_ms / 3_600_000, day_ms / 60_000 % 60);
        let (s, ms) = (day_ms / 1_000 % 60, day_ms % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

/// RFC 3339 in UTC, the form that [`Wall`] prints; the fraction may be missing or shorter.
impl FromStr for Wall {
    type Err = WallParseError;

    fn from_str(text: &str) -> Result<Self, WallParseError> {
        parse_rfc_3339(text).map(Wall).ok_or(WallParseError)
    }
}

/// Text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written 2026-11-21T03:00:00Z, in UTC")]
pub struct WallParseError;

/// Both clocks, read once by the shell for one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock, for deadlines.
    pub mono: Mono,
    /// Wall clock, for signed lifetimes.
    pub wall: Wall,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Gregorian date of a day count since 1970-01-01 (proleptic, years ≥ 1970).
/// Method: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse; `None` for a date that is not in the calendar.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted = year.checked_sub(u64::from(month <= 2))?;
    let (era, yoe) = (shifted / 400, shifted % 400);
    let mp = if month > 2 { month - 3 } else { month.checked_add(9)? };
    let doy = (153 * mp.min(11) + 2) / 5 + day.checked_sub(1)?;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = era.checked_mul(146_097)?.checked_add(doe)?.checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// `YYYY-MM-DDTHH:MM:SS[.f[f[f]]]Z` to milliseconds since 1970.
fn parse_rfc_3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [day, month, year] = numbers(date.rsplitn(3, '-'), [2..=2, 2..=2, 4..=9])?;
    let [second, minute, hour] = numbers(clock.rsplitn(3, ':'), [2..=2, 2..=2, 2..=2])?;
    let [parts] = numbers(std::iter::once(fraction), [1..=3])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    let seconds = (hour * 60 + minute) * 60 + second;
    let ms = parts * [1, 100, 10, 1][fraction.len()];
    days.checked_mul(86_400_000)?.checked_add(seconds * 1_000 + ms)
}

/// Exactly `N` runs of digits, each of an allowed length.
fn numbers<'t, const N: usize>(
    mut parts: impl Iterator<Item = &'t str>,
    lens: [RangeInclusive<usize>; N],
) -> Option<[u64; N]> {
    let mut found = [0; N];
    for (number, len) in found.iter_mut().zip(lens) {
        let digits = parts.next().filter(|p| len.contains(&p.len()))?;
        *number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_prints_as_rfc_3339() {
        assert_eq!(Wall(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Wall(951_827_696_789).to_string(), "2000-02-29T12:34:56.789Z");
        assert_eq!(Wall(1_795_230_000_000).to_string(), "2026-11-21T03:00:00.000Z");
    }

    #[test]
    fn clocks_saturate_instead_of_wrapping() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono::MAX.after(Duration::from_secs(1)), Mono::MAX);
        assert_eq!(Wall(u64::MAX).after(Duration::MAX), Wall(u64::MAX));
    }
}
