//! `homing ping`: round trips to a trusted peer, and which path they took.
//!
//! Exit 0 when at least one was answered, 7 when none was. A peer that is known to be away fails at
//! once, with when it was last seen.

use std::time::Duration;

use clap::Args;
use homing_api::peers::{Path, PathKind, PeerSummary, Pong};
use homing_api::{ApiError, Client, Code};
use serde::Serialize;
use tokio::time::Instant;

use super::{OK, Outcome};
use crate::output;
use crate::render::{time, words};
use crate::session::Session;

/// Round trips to a trusted peer
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing ping my-agent\n  homing ping my-agent -c 1 --timeout 500ms\n  homing ping fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e --until-direct"
)]
pub(crate) struct PingArgs {
    /// Name, address or node ID
    peer: String,
    /// Stop after this many
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Time between two pings
    #[arg(long, short, default_value = "1s", value_parser = time::parse_duration)]
    interval: Duration,
    /// Stop at the first answer over a direct path (then --count is the most that are sent)
    #[arg(long)]
    until_direct: bool,
}

/// One ping and what became of it.
#[derive(Debug, Serialize)]
struct Attempt {
    seq: u32,
    rtt_ms: Option<f64>,
    path: Option<PathKind>,
    remote: Option<String>,
    reason: Option<String>,
    error: Option<Code>,
}

/// `homing.ping_attempt/v1`: a line of `-o jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    schema: &'static str,
    #[serde(flatten)]
    attempt: &'a Attempt,
}

/// `homing.ping/v1`.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    peer: PeerSummary,
    sent: u32,
    received: u32,
    loss_percent: f64,
    min_ms: f64,
    avg_ms: f64,
    max_ms: f64,
    direct_after_ms: Option<f64>,
    /// Of the newest answer, with its reason.
    path: Option<Path>,
    attempts: Vec<Attempt>,
}

/// What has happened so far.
struct Run<'a> {
    session: &'a Session,
    client: &'a Client,
    started: Instant,
    peer: Option<PeerSummary>,
    attempts: Vec<Attempt>,
    direct_after: Option<Duration>,
    last_error: Option<ApiError>,
    /// Of the newest answer.
    path: Option<Path>,
}

pub(crate) async fn run(session: &Session, args: &PingArgs) -> Outcome {
    let client = session.client()?;
    let started = Instant::now();
    let mut run = Run {
        session,
        client,
        started,
        peer: None,
        attempts: Vec::new(),
        direct_after: None,
        last_error: None,
        path: None,
    };
    for seq in 1..=args.count {
        run.once(seq, args).await?;
        if run.direct_after.is_some() && args.until_direct {
            break;
        }
        if seq < args.count {
            tokio::time::sleep_until(started + args.interval * seq).await;
        }
    }
    run.finish(args)
}

impl Run<'_> {
    async fn once(&mut self, seq: u32, args: &PingArgs) -> Result<(), ApiError> {
        match self.client.ping(&args.peer, self.session.answer_timeout()).await {
            Ok(pong) => self.on_pong(seq, pong),
            Err(error) if self.is_final(&error) => return Err(error),
            Err(error) => self.on_silence(seq, error),
        }
        Ok(())
    }

    /// An error that pinging again will not change; a peer that once answered may come back.
    fn is_final(&self, error: &ApiError) -> bool {
        let away = matches!(error.code, Code::PeerOffline | Code::NoRoute);
        let silent = matches!(error.code, Code::Timeout | Code::RelayUnavailable);
        !(silent || away && self.peer.is_some())
    }

    fn on_pong(&mut self, seq: u32, pong: Pong) {
        if self.people() {
            if self.peer.is_none() {
                let peer = &pong.peer;
                output::print(&format!("PING {} ({})\n", peer.label(), peer.address.fmt_short()));
            }
            let line =
                format!("seq={seq} {} {}\n", time::millis(pong.rtt_ms), words::via(&pong.path));
            output::print(&line);
        }
        if pong.path.kind == PathKind::Direct && self.direct_after.is_none() {
            self.direct_after = Some(self.started.elapsed());
        }
        self.path = Some(pong.path.clone());
        self.keep(Attempt {
            seq,
            rtt_ms: Some(pong.rtt_ms),
            path: Some(pong.path.kind),
            remote: pong.path.remote,
            reason: pong.path.reason,
            error: None,
        });
        self.peer = Some(pong.peer);
    }

    fn on_silence(&mut self, seq: u32, error: ApiError) {
        if self.people() {
            output::print(&format!("seq={seq} no answer: {error}\n"));
        }
        self.keep(Attempt {
            seq,
            rtt_ms: None,
            path: None,
            remote: None,
            reason: None,
            error: Some(error.code),
        });
        self.last_error = Some(error);
    }

    fn keep(&mut self, attempt: Attempt) {
        if self.session.out.format == output::Format::Jsonl {
            let schema = "homing.ping_attempt/v1";
            self.session.out.line(&Line { schema, attempt: &attempt });
        }
        self.attempts.push(attempt);
    }

    fn people(&self) -> bool {
        matches!(self.session.out.format, output::Format::Auto | output::Format::Table)
    }

    fn finish(self, args: &PingArgs) -> Outcome {
        let times: Vec<f64> = self.attempts.iter().filter_map(|a| a.rtt_ms).collect();
        let Some(peer) = self.peer else { return Err(nobody(args, self.last_error)) };
        let sent = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        let received = u32::try_from(times.len()).unwrap_or(u32::MAX);
        let report = Report {
            schema: "homing.ping/v1",
            peer,
            sent,
            received,
            loss_percent: f64::from(sent - received) * 100.0 / f64::from(sent),
            min_ms: times.iter().copied().fold(f64::INFINITY, f64::min),
            avg_ms: times.iter().sum::<f64>() / f64::from(received),
            max_ms: times.iter().copied().fold(0.0, f64::max),
            direct_after_ms: self.direct_after.map(|d| d.as_secs_f64() * 1_000.0),
            path: self.path,
            attempts: self.attempts,
        };
        if self.session.out.format != output::Format::Jsonl {
            let names = || vec![report.peer.node_id.to_string()];
            self.session.out.result(&report, names, || summary(&report));
        }
        Ok(OK)
    }
}

fn summary(report: &Report) -> String {
    let direct = match report.direct_after_ms {
        Some(ms) => format!(" · direct after {:.1} s", ms / 1_000.0),
        None => {
            let why = report.path.as_ref().and_then(|path| path.reason_text.as_deref());
            format!(" · not direct{}", why.map(|w| format!(": {w}")).unwrap_or_default())
        }
    };
    format!(
        "{} sent, {} received, {:.0}% loss · min/avg/max {:.1}/{:.1}/{:.1} ms{direct}\n",
        report.sent,
        report.received,
        report.loss_percent,
        report.min_ms,
        report.avg_ms,
        report.max_ms
    )
}

/// Nothing was answered: exit 7 whatever each ping failed with.
fn nobody(args: &PingArgs, last: Option<ApiError>) -> ApiError {
    let why = last.map_or_else(|| "no ping was answered".to_owned(), |e| e.message);
    ApiError::new(Code::PeerOffline, format!("{} is not answering", args.peer))
        .why(why)
        .hint(format!("homing wait online {} --timeout 10m", args.peer))
}
