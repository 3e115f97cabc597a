//! Durations and relative times as people write and read them.

use std::time::Duration;

use homing_api::Stamp;
use homing_node::clock;

/// `500ms`, `10s`, `5m`, `2h`, `30d`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 =
        number.parse().map_err(|_| format!("{text:?} is no duration, e.g. 10s or 5m"))?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        _ => return Err(format!("{unit:?} is no unit: ms, s, m, h or d")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// One unit, rounded down: `12s`, `4m`, `3h`, `21d`.
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..=59 => format!("{s}s"),
        s @ 60..=3_599 => format!("{}m", s / 60),
        s @ 3_600..=86_399 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// `now`, `12s ago`, `4m ago`.
pub(crate) fn ago(stamp: Stamp) -> String {
    let elapsed = clock::wall().since(stamp.0);
    if elapsed < Duration::from_secs(3) { "now".into() } else { format!("{} ago", short(elapsed)) }
}

/// Time since, without `ago`.
pub(crate) fn age(stamp: Stamp) -> String {
    short(clock::wall().since(stamp.0))
}

/// `21d left`, or `expired`; what has just begun to run has not lost a whole day.
pub(crate) fn left(stamp: Stamp) -> String {
    match stamp.0.since(clock::wall()) {
        Duration::ZERO => "expired".into(),
        rest => format!("{} left", short(rest + rounding(rest))),
    }
}

/// Half of the unit in which [`short`] says it.
fn rounding(rest: Duration) -> Duration {
    Duration::from_secs(match rest.as_secs() {
        0..=59 => 0,
        60..=3_599 => 30,
        3_600..=86_399 => 1_800,
        _ => 43_200,
    })
}

/// Milliseconds in three digits: `0.42 ms`, `12.1 ms`, `238 ms`.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let cases =
            [("500ms", 500), ("10s", 10_000), ("1.5m", 90_000), ("2h", 7_200_000), ("7", 7_000)];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "5w", "-3s", "1e9999s", "10 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn short_forms_have_one_unit() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1m"), (3_600, "1h"), (21 * 86_400 + 5, "21d")];
        for (seconds, text) in cases {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }
}
