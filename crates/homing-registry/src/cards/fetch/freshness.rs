//! How long an answer may be used without asking again: `Cache-Control` and `Age` (RFC 9111 §5).
//!
//! A registry is a shared cache: `s-maxage` comes before `max-age`, and `private` means what `no-store`
//! does. `Expires` and `Pragma` are not read: a card served with one of these alone gets the default.

use std::time::Duration;

use hyper::header::{AGE, CACHE_CONTROL, HeaderMap};

use crate::cards::limits::FRESH_MAX;

/// For how long; at most [`FRESH_MAX`].
pub(super) fn life(headers: &HeaderMap, default: Duration) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    let (mut own, mut shared) = (None, None);
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim().trim_matches('"').parse::<u64>().ok();
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" | "private" => return Duration::ZERO,
            "max-age" => own = own.or(seconds()),
            "s-maxage" => shared = shared.or(seconds()),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|v| v.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    let said = shared.or(own).map(|seconds| Duration::from_secs(seconds.saturating_sub(age)));
    said.unwrap_or(default).min(FRESH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> u64 {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        life(&headers, Duration::from_secs(77)).as_secs()
    }

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says_within_bounds() {
        assert_eq!(of(&[]), 77);
        assert_eq!(of(&[("cache-control", "public, max-age=60")]), 60);
        assert_eq!(of(&[("cache-control", "max-age=60, s-maxage=\"9\"")]), 9);
        assert_eq!(of(&[("cache-control", "max-age=60"), ("age", "50")]), 10);
        assert_eq!(of(&[("cache-control", "max-age=60"), ("age", "600")]), 0);
        assert_eq!(of(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]), 0);
        assert_eq!(of(&[("cache-control", "Private, max-age=60")]), 0);
        assert_eq!(of(&[("cache-control", "max-age=99999999999")]), FRESH_MAX.as_secs());
        assert_eq!(of(&[("cache-control", "max-age=-1, max-age")]), 77);
    }
}
