//! Durations as people write them in scenarios: `"250ms"`, `"40m"`, `"1.5h"`; a bare number is seconds.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with a text form.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl Span {
    /// Of so many seconds.
    #[must_use]
    pub fn seconds(seconds: f64) -> Self {
        Self(Duration::from_secs_f64(seconds.clamp(0.0, SECONDS_MAX)))
    }

    /// In seconds.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// Longest span, in seconds: some 30,000 years.
const SECONDS_MAX: f64 = 1e12;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoSpan {
    /// It cannot be read.
    #[error("{0:?} is no duration: a number and ms, s, m, h or d, such as 40m")]
    Unreadable(String),
    /// It is negative, or too long.
    #[error("{0:?} is out of range: a duration is 0 to 1e12 seconds")]
    OutOfRange(String),
}

const UNITS: [(&str, f64); 5] =
    [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let wrong = || NoSpan::Unreadable(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = if unit.is_empty() { "s" } else { unit };
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let seconds = number * factor;
        if seconds > SECONDS_MAX {
            return Err(NoSpan::OutOfRange(text.to_owned()));
        }
        Ok(Self::seconds(seconds))
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_seconds();
        let whole = |(_, factor): &&(&str, f64)| {
            let n = seconds / factor;
            n >= 1.0 && (n - n.round()).abs() < 1e-9 * n.max(1.0)
        };
        match UNITS.iter().rev().find(whole) {
            Some((unit, factor)) => write!(f, "{}{unit}", (seconds / factor).round()),
            None => write!(f, "{seconds}s"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Seconds(f64),
        }
        match Form::deserialize(from)? {
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
            Form::Seconds(s) if (0.0..=SECONDS_MAX).contains(&s) => Ok(Self::seconds(s)),
            Form::Seconds(s) => Err(serde::de::Error::custom(NoSpan::OutOfRange(s.to_string()))),
        }
    }
}
