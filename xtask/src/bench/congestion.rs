//! Congestion controllers of the QUIC stack: the program of `bench/congestion`, which is outside the workspace.

use std::path::Path;

use anyhow::Result;

use crate::run;

const MANIFEST: &str = "bench/congestion/Cargo.toml";

/// Builds it in release and runs it; `args` are its own.
pub fn measure(root: &Path, args: &[String]) -> Result<bool> {
    let target = run::target_dir(root);
    let text = target.display().to_string();
    let build =
        ["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir", &text];
    if !run::cargo(root, &build).stream()?.success {
        return Ok(false);
    }
    let program = target.join("release/homing-bench-congestion").display().to_string();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Ok(run::program(root, &program, &args).stream()?.success)
}
