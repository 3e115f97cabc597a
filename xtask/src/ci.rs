//! What stands beside the tests: format, lints, documentation, the tree's own rules, licences.

use std::path::Path;

use anyhow::Result;

use crate::run::{self, Run};
use crate::tally::{Report, Tally};
use crate::tidy;

/// Runs every check, even after one failed. Whether all were good.
pub fn all(root: &Path) -> Result<bool> {
    let mut report = Report::default();
    report.part("fmt", || whole(run::cargo(root, &["fmt", "--all", "--check"])));
    report.part("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        whole(run::cargo(root, &args))
    });
    // With the features that people get: beside tests, those of the tests' dependencies are there too.
    report
        .part("program", || whole(run::cargo(root, &["check", "--package", "homing", "--quiet"])));
    report.part("rustdoc", || {
        let doc = run::cargo(
            root,
            &["doc", "--no-deps", "--workspace", "--document-private-items", "--quiet"],
        );
        whole(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))
    });
    report.part("tidy", || tidy::check(root));
    if run::is_installed("cargo-deny") || home_has_cargo_deny() {
        report.part("deny", || {
            whole(run::cargo(root, &["deny", "check", "bans", "licenses", "sources"]))
        });
    } else {
        report.skip("deny", "cargo-deny is not installed");
    }
    Ok(report.finish())
}

fn whole(run: Run) -> Result<Tally> {
    Ok(Tally::one(run.stream()?.success))
}

fn home_has_cargo_deny() -> bool {
    std::env::home_dir().is_some_and(|home| home.join(".cargo/bin/cargo-deny").is_file())
}
