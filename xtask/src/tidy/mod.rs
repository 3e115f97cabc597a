//! The tree's own rules: what a reader may rely on without reading everything.
//!
//! A [`Rule`] is a name, the reason for it, and a function from the [`Tree`] to what breaks it. Rules
//! read manifests and source text only; they are heuristics that err towards silence, the compiler and
//! clippy do the rest. A finding is printed as `path:line: what`, below the reason.

mod code;
mod crates;
mod prose;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use anyhow::Result;

use crate::tally::{Report, Tally};
pub use tree::{File, Tree, Workspace};

/// Something that must hold everywhere.
struct Rule {
    name: &'static str,
    reason: &'static str,
    check: fn(&Tree) -> Vec<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "one direction",
        reason: "base ← core ← node ← homing, base ← api ← homing, core ← sim: what is below never knows what is above",
        check: crates::one_direction,
    },
    Rule {
        name: "allow-list",
        reason: "the ground floor and the core stay small enough to be read whole: a dependency there is argued, not added",
        check: crates::allow_list,
    },
    Rule {
        name: "siblings apart",
        reason: "protocols in homing-core do not know each other: only agent.rs composes them",
        check: crates::siblings_apart,
    },
    Rule {
        name: "one shell",
        reason: "order is meaning: one file performs the core's outputs, so that Persist stands before Send for everybody",
        check: crates::one_shell,
    },
    Rule {
        name: "one clock",
        reason: "time is an argument: one file of homing-node reads it",
        check: crates::one_clock,
    },
    Rule {
        name: "own infrastructure",
        reason: "only what the configuration names is contacted: no vendor's relays, no vendor's DNS",
        check: code::own_infrastructure,
    },
    Rule {
        name: "faces print",
        reason: "stdout is an interface and belongs to the faces",
        check: code::faces_print,
    },
    Rule {
        name: "file length",
        reason: "past 600 lines look for the seam, or say in the header why the file is one thing",
        check: code::file_length,
    },
    Rule {
        name: "words",
        reason: "names say what a thing is, and nothing is left for later silently",
        check: code::words,
    },
    Rule {
        name: "module headers",
        reason: "the first lines say what a file is and what is not in it",
        check: code::module_headers,
    },
    Rule { name: "links", reason: "a page leads where it says", check: prose::links },
    Rule {
        name: "decisions",
        reason: "a decision is cited by its number",
        check: prose::decisions,
    },
    Rule {
        name: "changelog",
        reason: "the reader who must act finds the part that tells what to do",
        check: prose::changelog,
    },
    Rule {
        name: "reference",
        reason: "programs match on these words: the page has them all, and none that do not exist",
        check: prose::reference,
    },
    Rule {
        name: "machine traces",
        reason: "the tree works anywhere: it names no machine's paths and no registry's hosts",
        check: prose::machine_traces,
    },
];

/// Checks every rule and prints the closing line. Whether all hold.
pub fn all(root: &Path) -> Result<bool> {
    let mut report = Report::default();
    report.part("tidy", || check(root));
    Ok(report.finish())
}

/// Checks every rule; each counts as one.
pub fn check(root: &Path) -> Result<Tally> {
    let tree = Tree::read(root)?;
    let mut tally = Tally::default();
    for rule in RULES {
        let findings = (rule.check)(&tree);
        tally += Tally::one(findings.is_empty());
        let verdict = if findings.is_empty() { "ok" } else { "BROKEN" };
        println!("{:<20} {verdict}", rule.name);
        if !findings.is_empty() {
            println!("  why: {}", rule.reason);
        }
        for finding in findings {
            println!("  {finding}");
        }
    }
    Ok(tally)
}
