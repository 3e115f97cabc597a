//! Programs that others wrote against OpenAPI, for the registry's tests: a schema-driven fuzzer and a client generator.
//!
//! They live in a Python environment below the target folder, made once, with pinned versions. Without `python3` or a package
//! index the tests that need them say that they were skipped, and are counted.

use std::path::{Path, PathBuf};

use crate::run;
use crate::tally::{Report, Tally};

/// What is installed. The fuzzer's seed means something only with its version.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "openapi-python-client==0.29.1"];
const PROGRAMS: [&str; 2] = ["schemathesis", "openapi-python-client"];

/// The environment's folder; what could not be installed is not in it.
pub fn prepare(root: &Path, report: &mut Report) -> PathBuf {
    let folder = run::target_dir(root).join("api-tools");
    let has_all = || PROGRAMS.iter().all(|p| folder.join("bin").join(p).is_file());
    if has_all() || !run::is_installed("python3") {
        return folder;
    }
    report.part("API tools", || {
        let path = folder.to_string_lossy().into_owned();
        let made = run::program(root, "python3", &["-m", "venv", &path]).quiet()?.success;
        let pip = folder.join("bin/pip").to_string_lossy().into_owned();
        let quick = ["install", "--quiet", "--retries", "1", "--timeout", "20"];
        let args = [&quick[..], &PACKAGES[..]].concat();
        if !made || !run::program(root, &pip, &args).quiet()?.success {
            println!("could not install {}: what needs it will be skipped", PACKAGES.join(", "));
        }
        Ok(Tally::default())
    });
    folder
}
