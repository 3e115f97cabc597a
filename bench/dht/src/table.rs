//! What was measured, round by round, and the tables that people read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::numbers::{Used, median, short};
use crate::work::Sample;

/// One batch of jobs of one contender in one round.
#[derive(Clone, Copy, Debug)]
struct Batch {
    p50_ms: f64,
    per_second: f64,
    cpu_ms: f64,
    requests: f64,
    datagrams: f64,
}

/// All rounds: (task, contender) → batches.
#[derive(Debug, Default)]
pub struct Results {
    batches: BTreeMap<(usize, usize), Vec<Batch>>,
    failed: BTreeMap<(usize, usize), (usize, usize)>,
    recall: BTreeMap<usize, Vec<f64>>,
}

impl Results {
    /// Adds a batch; `idle` is what the process uses per second when nothing is asked of anybody.
    pub fn add(&mut self, task: usize, who: usize, samples: &[Sample], used: Used, idle: Idle) {
        let count = samples.len() as f64;
        let mut times: Vec<f64> = samples.iter().map(|s| s.elapsed.as_secs_f64() * 1e3).collect();
        let requests: Vec<f64> = samples.iter().filter_map(|s| s.requests).map(f64::from).collect();
        let wall = used.wall.as_secs_f64();
        let cpu = (used.cpu.as_secs_f64() - idle.cpu * wall).max(0.0);
        let datagrams = (used.datagrams as f64 - idle.datagrams * wall).max(0.0);
        self.batches.entry((task, who)).or_default().push(Batch {
            p50_ms: median(&mut times),
            per_second: count / wall,
            cpu_ms: cpu * 1e3 / count,
            requests: requests.iter().sum::<f64>() / requests.len() as f64,
            datagrams: datagrams / count,
        });
        let failed = self.failed.entry((task, who)).or_default();
        failed.0 += samples.iter().filter(|s| !s.good).count();
        failed.1 += samples.len();
        self.recall.entry(who).or_default().extend(samples.iter().filter_map(|s| s.recall));
    }

    /// Prints everything; `first` is the contender that the others are compared with.
    pub fn print(&self, tasks: &[&str], names: &[&str]) {
        println!(
            "| task | contender | p50 ms [min–max] | ops/s [min–max] | CPU ms/op | requests/op | UDP datagrams/op | failed | time / ours |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for ((task, who), batches) in &self.batches {
            let of = |f: fn(&Batch) -> f64| batches.iter().map(f).collect::<Vec<_>>();
            let (failed, all) = self.failed[&(*task, *who)];
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {failed} of {all} | {} |",
                tasks[*task],
                names[*who],
                spread(of(|b| b.p50_ms)),
                spread(of(|b| b.per_second)),
                short(median(&mut of(|b| b.cpu_ms))),
                short(median(&mut of(|b| b.requests))),
                short(median(&mut of(|b| b.datagrams))),
                short(self.ratio(*task, *who)),
            );
        }
        println!();
        for (who, values) in self.recall.iter().filter(|(_, v)| !v.is_empty()) {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            println!("recall@20 {}: {mean:.4} ({} lookups)", names[*who], values.len());
        }
    }

    /// Time per job (in parallel: between two ends) against the first contender's.
    fn ratio(&self, task: usize, who: usize) -> f64 {
        let time = |who| {
            let batches = self.batches.get(&(task, who)).map_or(&[][..], Vec::as_slice);
            let parallel = task == crate::PARALLEL;
            let each = |b: &Batch| if parallel { 1.0 / b.per_second } else { b.p50_ms };
            median(&mut batches.iter().map(each).collect::<Vec<_>>())
        };
        time(who) / time(0)
    }
}

/// What the process uses per second when nothing is asked of anybody.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    pub cpu: f64,
    pub datagrams: f64,
}

impl Idle {
    /// From a pause.
    pub fn of(used: Used) -> Self {
        let wall = used.wall.max(Duration::from_millis(1)).as_secs_f64();
        Self { cpu: used.cpu.as_secs_f64() / wall, datagrams: used.datagrams as f64 / wall }
    }
}

fn spread(mut values: Vec<f64>) -> String {
    let middle = median(&mut values);
    match values.as_slice() {
        [least, .., most] => format!("{} [{}–{}]", short(middle), short(*least), short(*most)),
        _ => short(middle),
    }
}
