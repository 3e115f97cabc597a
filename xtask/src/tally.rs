//! Counting: what passed, failed and was skipped, per part and over everything.

use std::fmt;
use std::time::Instant;

use anyhow::Result;

use crate::run::Ended;

/// Marks a line by which a running test says that this machine cannot do what it needs:
/// `SKIPPED: name: reason`. Such a test still passes for libtest and is moved to the skipped here.
pub const SKIP_MARK: &str = "SKIPPED:";

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    /// One check that passed or failed as a whole.
    pub fn one(good: bool) -> Self {
        Self { passed: usize::from(good), failed: usize::from(!good), skipped: 0 }
    }

    /// The sums of all `test result:` lines, less what said that it skipped.
    pub fn of_libtest(ended: &Ended) -> Self {
        let mut tally = Self::default();
        for line in &ended.lines {
            tally += of_result_line(line);
        }
        let marked = ended.lines.iter().filter(|l| l.contains(SKIP_MARK)).count();
        let moved = marked.min(tally.passed);
        tally.passed -= moved;
        tally.skipped += moved;
        tally.or_failed(ended.success)
    }

    /// A program that failed without naming a failed test counts as one failure.
    fn or_failed(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`
fn of_result_line(line: &str) -> Tally {
    let Some((_, counts)) = line.split_once("test result:") else { return Tally::default() };
    let count = |word: &str| {
        let before = counts.split(&[';', '.']).find_map(|part| part.trim().strip_suffix(word));
        before.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    };
    Tally { passed: count("passed"), failed: count("failed"), skipped: count("ignored") }
}

/// The parts of one run, in order.
#[derive(Default)]
pub struct Report {
    parts: Vec<Part>,
}

struct Part {
    name: String,
    tally: Tally,
    seconds: f32,
    remark: String,
}

impl Report {
    /// Runs one part and keeps its count; an error inside it is one failure, not the end.
    pub fn part(&mut self, name: &str, work: impl FnOnce() -> Result<Tally>) {
        println!("\n== {name}");
        let start = Instant::now();
        let (tally, remark) = match work() {
            Ok(tally) => (tally, String::new()),
            Err(error) => (Tally::one(false), format!("{error:#}")),
        };
        let seconds = start.elapsed().as_secs_f32();
        self.parts.push(Part { name: name.into(), tally, seconds, remark });
    }

    /// Counts one part that cannot run on this machine.
    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("\n== {name}: skipped, {reason}");
        let tally = Tally { skipped: 1, ..Tally::default() };
        self.parts.push(Part { name: name.into(), tally, seconds: 0.0, remark: reason.into() });
    }

    /// Prints a line per part and the sum as the last line. Whether nothing failed.
    pub fn finish(self) -> bool {
        let mut sum = Tally::default();
        println!("\n== summary");
        for Part { name, tally, seconds, remark } in &self.parts {
            sum += *tally;
            let verdict = if tally.failed > 0 { "FAILED" } else { "ok" };
            println!("{name:<22} {verdict:<6} {seconds:>6.0} s  {tally}  {remark}");
        }
        println!("{sum}");
        sum.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(success: bool, lines: &[&str]) -> Ended {
        Ended { success, lines: lines.iter().map(|l| (*l).into()).collect() }
    }

    #[test]
    fn result_lines_are_summed() {
        let run = ended(
            false,
            &[
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
                "something else",
                "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out",
            ],
        );
        assert_eq!(Tally::of_libtest(&run), Tally { passed: 7, failed: 3, skipped: 1 });
    }

    #[test]
    fn a_test_that_says_it_skipped_did_not_pass() {
        let run = ended(
            true,
            &[
                "SKIPPED: symmetric NAT: no nft here",
                "test result: ok. 4 passed; 0 failed; 0 ignored",
            ],
        );
        assert_eq!(Tally::of_libtest(&run), Tally { passed: 3, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_program_that_dies_without_a_word_is_a_failure() {
        let run = ended(false, &["test result: ok. 4 passed; 0 failed; 0 ignored"]);
        assert_eq!(Tally::of_libtest(&run), Tally { passed: 4, failed: 1, skipped: 0 });
    }

    #[test]
    fn the_closing_line_is_plain() {
        let tally = Tally { passed: 1, failed: 2, skipped: 3 };
        assert_eq!(tally.to_string(), "1 passed, 2 failed, 3 skipped");
    }
}
