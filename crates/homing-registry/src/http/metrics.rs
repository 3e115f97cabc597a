//! Counters in the text format of Prometheus (exposition format 0.0.4): `GET /metrics`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, Refusal};
use super::request::{Nothing, Params};
use super::{App, clock, operations};
use crate::storage::Put;

/// Upper ends of the histogram's buckets, in milliseconds.
const BUCKETS_MS: [u64; 6] = [1, 5, 25, 100, 500, 2_500];

/// The counters.
pub(super) struct Metrics {
    /// By path template: one counter per status class, 1xx to 5xx.
    by_path: HashMap<&'static str, [AtomicU64; 5]>,
    elsewhere: [AtomicU64; 5],
    durations: [AtomicU64; BUCKETS_MS.len() + 1],
    duration_us: AtomicU64,
    puts: [AtomicU64; 6],
    answer_hits: AtomicU64,
    answer_misses: AtomicU64,
    limited: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let paths = operations::paths();
        Self {
            by_path: paths.into_iter().map(|p| (p, Default::default())).collect(),
            elsewhere: Default::default(),
            durations: Default::default(),
            duration_us: AtomicU64::new(0),
            puts: Default::default(),
            answer_hits: AtomicU64::new(0),
            answer_misses: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }
}

const PUTS: [&str; 6] = ["created", "updated", "same", "stale", "equivocation", "full"];

impl Metrics {
    /// A request was answered.
    pub(super) fn answered(&self, path: Option<&str>, status: u16, took: Duration) {
        let counters = path.and_then(|p| self.by_path.get(p)).unwrap_or(&self.elsewhere);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        counters[class].fetch_add(1, Ordering::Relaxed);
        let ms = took.as_millis();
        let bucket = BUCKETS_MS.iter().position(|b| ms < u128::from(*b));
        self.durations[bucket.unwrap_or(BUCKETS_MS.len())].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_us.fetch_add(us, Ordering::Relaxed);
    }

    /// A registration ended.
    pub(super) fn put(&self, put: &Put) {
        let n = match put {
            Put::Created => 0,
            Put::Updated => 1,
            Put::Same => 2,
            Put::Stale { .. } => 3,
            Put::Equivocation => 4,
            Put::Full => 5,
        };
        self.puts[n].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answer_hit(&self) {
        self.answer_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answer_miss(&self) {
        self.answer_misses.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused for its rate.
    pub(super) fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let mut out = String::new();
        head(&mut out, "requests_total", "counter", "Requests answered.");
        let mut paths: Vec<_> = self.by_path.iter().collect();
        paths.sort_by_key(|(path, _)| **path);
        for (path, counters) in paths.into_iter().chain([(&"other", &self.elsewhere)]) {
            for (class, counter) in (1..).zip(counters) {
                let n = counter.load(Ordering::Relaxed);
                if n > 0 {
                    line(
                        &mut out,
                        &format!("requests_total{{path=\"{path}\",status=\"{class}xx\"}}"),
                        n,
                    );
                }
            }
        }
        self.histogram(&mut out);
        head(
            &mut out,
            "registrations_total",
            "counter",
            "Records received, by what became of them.",
        );
        for (what, counter) in PUTS.iter().zip(&self.puts) {
            let n = counter.load(Ordering::Relaxed);
            line(&mut out, &format!("registrations_total{{result=\"{what}\"}}"), n);
        }
        for (name, counter, help) in [
            ("answer_hits_total", &self.answer_hits, "Lookups answered from rendered answers."),
            ("answer_misses_total", &self.answer_misses, "Lookups that went to the storage."),
            ("limited_total", &self.limited, "Requests refused for their rate."),
        ] {
            head(&mut out, name, "counter", help);
            line(&mut out, name, counter.load(Ordering::Relaxed));
        }
        out
    }

    fn histogram(&self, out: &mut String) {
        head(out, "request_seconds", "histogram", "Time from a request's head to the answer's.");
        let mut sum = 0;
        for (n, counter) in self.durations.iter().enumerate() {
            sum += counter.load(Ordering::Relaxed);
            let le = match BUCKETS_MS.get(n) {
                Some(ms) => format!("{}.{:03}", ms / 1_000, ms % 1_000),
                None => "+Inf".into(),
            };
            line(out, &format!("request_seconds_bucket{{le=\"{le}\"}}"), sum);
        }
        let us = self.duration_us.load(Ordering::Relaxed);
        let (s, us) = (us / 1_000_000, us % 1_000_000);
        let _ = writeln!(out, "homing_registry_request_seconds_sum {s}.{us:06}");
        line(out, "request_seconds_count", sum);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ =
        writeln!(out, "# HELP homing_registry_{name} {help}\n# TYPE homing_registry_{name} {kind}");
}

fn line(out: &mut String, name: &str, value: u64) {
    let _ = writeln!(out, "homing_registry_{name} {value}");
}

/// `GET /metrics`.
pub(super) async fn read(State(app): State<App>, _: Params<Nothing>) -> Result<Response, Refusal> {
    let totals = app.storage.totals(clock::now()).await.map_err(Box::<Problem>::from)?;
    let mut out = app.metrics.text();
    let used = app.settings.requests_max - app.requests.available_permits();
    let streams = app.settings.subscribers_max - app.subscribers.available_permits();
    for (name, value, help) in [
        ("entities", totals.entities, "Active and inactive entities."),
        ("tombstones", totals.withdrawn, "Tombstones kept."),
        ("cards", totals.cards, "Cards kept."),
        ("changes", totals.changes, "Changes so far."),
        ("evidence", totals.evidence, "Pairs of records that contradict each other."),
        ("answers", app.answers.len() as u64, "Rendered answers kept."),
        ("requests_in_flight", used as u64, "Requests being worked on."),
        ("event_streams", streams as u64, "Event streams open."),
    ] {
        head(&mut out, name, "gauge", help);
        line(&mut out, name, value);
    }
    let mut response = out.into_response();
    let value = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
