//! The project's own commands: `cargo xtask test | ci | tidy | bench`.
//!
//! ```text
//! test    everything that must pass before a change is shared; ends with `N passed, N failed, N skipped`
//! ci      format, lints, documentation, the tree's own rules, licences; same last line
//! tidy    only the tree's own rules, each with its reason
//! bench   numbers from one run on this machine
//! ```
//! A thing that cannot run here is printed as skipped, with the reason, and counted; it never passes
//! silently. Not here: what the tests are. They live beside what they test.

mod bench;
mod ci;
mod foreign;
mod run;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--quick]   the one test command; --quick leaves out the simulator sweep and the NAT lab
  ci               format, lints, documentation, tidy, licences
  tidy             the tree's own rules, each with its reason
  bench [ARGS]     numbers from one run on this machine";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `Ok(false)`: it ran, and something failed.
fn dispatch(args: &[String]) -> Result<bool> {
    let (command, rest) = args.split_first().map_or(("", args), |(c, r)| (c.as_str(), r));
    let root = run::workspace_root();
    match (command, rest) {
        ("test", []) => test::all(&root, test::Extent::Full),
        ("test", [flag]) if flag == "--quick" => test::all(&root, test::Extent::Quick),
        ("ci", []) => ci::all(&root),
        ("tidy", []) => tidy::all(&root),
        ("bench", rest) => bench::all(&root, rest),
        ("help" | "--help" | "-h", _) => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => bail!("unknown command line `{}`\n\n{USAGE}", args.join(" ")),
    }
}
