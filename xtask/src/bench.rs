//! Numbers from one run on this machine: `cargo xtask bench`.
//!
//! Each [`Measurement`] is a release build of one example or command that prints its own table. Not
//! asserted anywhere: a busy machine must not fail a test.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run;

/// One thing that can be measured, and how.
struct Measurement {
    name: &'static str,
    what: &'static str,
    command: &'static [&'static str],
}

/// The seam: a new measurement is one more line.
const MEASUREMENTS: &[Measurement] = &[];

/// Runs the measurements named in `args`, or all.
pub fn all(root: &Path, args: &[String]) -> Result<bool> {
    if let Some(unknown) = args.iter().find(|a| MEASUREMENTS.iter().all(|m| m.name != a.as_str())) {
        let known: Vec<_> = MEASUREMENTS.iter().map(|m| m.name).collect();
        bail!("no measurement is called `{unknown}`; there are: {}", known.join(", "));
    }
    let mut good = true;
    for m in MEASUREMENTS.iter().filter(|m| args.is_empty() || args.iter().any(|a| a == m.name)) {
        println!("== {}: {}", m.name, m.what);
        good &= run::cargo(root, m.command).stream()?.success;
    }
    Ok(good)
}
