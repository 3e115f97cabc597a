//! Points in time as JSON writes them: RFC 3339 in UTC with milliseconds.

use std::fmt;
use std::str::FromStr;

use homing_base::Wall;

/// A wall-clock time; text form `2026-11-21T03:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub Wall);

impl From<Wall> for Stamp {
    fn from(wall: Wall) -> Self {
        Self(wall)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        parse(text).map(|ms| Self(Wall(ms))).ok_or(StampError)
    }
}

impl serde::Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that is no time of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written 2026-11-21T03:00:00.000Z (RFC 3339, UTC)")]
pub struct StampError;

/// Milliseconds since 1970 of `YYYY-MM-DDTHH:MM:SS[.fraction]Z`.
fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = fields(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = fields(clock, ':')?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    if !in_range || !digits {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let days = days_from_civil(year, month, day);
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + millis)
}

fn fields(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text
        .split(separator)
        .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?)
        .collect();
    numbers?.try_into().ok()
}

/// Days since 1970-01-01 of a Gregorian date (proleptic, years ≥ 1970).
/// Method: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (y / 400, y % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * shifted + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_milliseconds_agree_in_both_directions() {
        for ms in [0, 951_827_696_789, 1_795_230_000_000, 4_102_444_799_999] {
            let stamp = Stamp(Wall(ms));
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
        assert_eq!("2026-11-21T03:00:00Z".parse(), Ok(Stamp(Wall(1_795_230_000_000))));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "2026-11-21", "2026-11-21T03:00:00", "2026-13-01T00:00:00Z", "2026-1--1T::Z"]
        {
            assert_eq!(text.parse::<Stamp>(), Err(StampError), "{text}");
        }
    }
}
