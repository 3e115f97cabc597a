//! Each rule finds what it is for, and is silent about what is allowed.

use super::tree::{Dependency, Package};
use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
    Tree { files: files.iter().map(file).collect(), workspace: Workspace::default() }
}

fn with_dependency(name: &str, dependency: &str, kind: Option<&str>) -> Tree {
    let kind = kind.map(Into::into);
    let dependencies = vec![Dependency { name: dependency.into(), kind }];
    let package = Package { name: name.into(), dependencies };
    Tree { files: vec![], workspace: Workspace::of(vec![package]) }
}

#[test]
fn a_dependency_upwards_is_found() {
    assert_eq!(
        crates::one_direction(&with_dependency("homing-core", "homing-node", None)).len(),
        1
    );
    assert_eq!(crates::one_direction(&with_dependency("homing-api", "homing-core", None)).len(), 1);
    assert!(crates::one_direction(&with_dependency("homing-node", "homing-core", None)).is_empty());
}

#[test]
fn an_unlisted_dependency_of_the_core_is_found() {
    assert_eq!(crates::allow_list(&with_dependency("homing-core", "tokio", None)).len(), 1);
    assert!(
        crates::allow_list(&with_dependency("homing-core", "proptest", Some("dev"))).is_empty()
    );
}

#[test]
fn a_sibling_that_knows_a_sibling_is_found() {
    let trust =
        ("crates/homing-core/src/trust/mod.rs", "use crate::io::Event;\nuse crate::names::Pins;\n");
    let names =
        ("crates/homing-core/src/names.rs", "// see crate::trust\nuse crate::message::Ask;\n");
    let agent = ("crates/homing-core/src/agent.rs", "use crate::trust::Trust;\n");
    assert!(crates::siblings_apart(&tree(&[names, agent])).is_empty());
    assert_eq!(
        crates::siblings_apart(&tree(&[trust, names, agent])),
        ["crates/homing-core/src/trust/mod.rs:2: crate::names"]
    );
}

#[test]
fn a_second_shell_and_a_second_clock_are_found() {
    let shell = ("crates/homing-node/src/shell.rs", "Output::Persist(batch) => {}\n");
    let other =
        ("crates/homing-node/src/other.rs", "Output::Persist(batch) => {}\nInstant::now();\n");
    let clock = ("crates/homing-node/src/clock.rs", "Instant::now();\n");
    assert!(crates::one_shell(&tree(&[shell, clock])).is_empty());
    assert_eq!(crates::one_shell(&tree(&[shell, other])).len(), 2);
    assert!(crates::one_clock(&tree(&[shell, clock])).is_empty());
    assert_eq!(crates::one_clock(&tree(&[clock, other])).len(), 1);
}

#[test]
fn printing_below_the_faces_is_found() {
    let node =
        ("crates/homing-node/src/lib.rs", "println!();\n#[cfg(test)]\nmod tests {\nprintln!();\n");
    let face = ("crates/homing/src/main.rs", "println!();\n");
    assert_eq!(code::faces_print(&tree(&[node, face])).len(), 1);
}

#[test]
fn a_long_file_must_say_why() {
    let body = "let x = 1;\n".repeat(601);
    let silent = ("a/src/long.rs", body.as_str());
    let said = format!("//! All of it is one thing.\n{body}");
    assert_eq!(code::file_length(&tree(&[silent])).len(), 1);
    assert!(code::file_length(&tree(&[("a/src/long.rs", said.as_str())])).is_empty());
}

#[test]
fn words_that_hide_work_are_found() {
    let bad = format!(
        "//! x\nfn f() {{ {}) }}\n#[test]\n{}]\nstruct Peer{} }}\n",
        concat!("todo", "!("),
        concat!("#[igno", "re"),
        concat!("Manager", " {")
    );
    assert_eq!(code::words(&tree(&[("a/src/b.rs", &bad)])).len(), 3);
    assert_eq!(code::words(&tree(&[("a/src/utils.rs", "//! x\n")])).len(), 1);
}

#[test]
fn a_file_without_header_is_found() {
    assert_eq!(code::module_headers(&tree(&[("a/src/b.rs", "use x;\n")])).len(), 1);
    assert!(code::module_headers(&tree(&[("a/tests/b.rs", "use x;\n")])).is_empty());
}

#[test]
fn the_vendors_infrastructure_is_found() {
    let text = format!("//! x\nlet b = Endpoint::bind(presets{});\n", "::N0");
    assert_eq!(code::own_infrastructure(&tree(&[("a/src/b.rs", &text)])).len(), 1);
}

#[test]
fn a_link_into_nothing_is_found() {
    let page = (
        "docs/a.md",
        "[x](b.md) [y](../c.md#part) [z](https://example.org) [w](#here)\n```\n[c](no)\n```\n",
    );
    let there = [page, ("docs/b.md", ""), ("c.md", "")];
    assert!(prose::links(&tree(&there)).is_empty());
    assert_eq!(prose::links(&tree(&there[..2])), ["docs/a.md:1: ../c.md leads nowhere"]);
}

#[test]
fn decisions_count_without_gap_or_repetition() {
    let one = ("docs/decisions/001-a.md", "");
    let two = ("docs/decisions/002-b.md", "");
    let again = ("docs/decisions/002-c.md", "");
    let four = ("docs/decisions/004-d.md", "");
    assert!(prose::decisions(&tree(&[one, two])).is_empty());
    assert_eq!(prose::decisions(&tree(&[one, two, again])).len(), 1);
    assert_eq!(prose::decisions(&tree(&[one, two, four])).len(), 1);
    assert_eq!(prose::decisions(&tree(&[("docs/decisions/why.md", "")])).len(), 1);
}

#[test]
fn a_release_says_what_to_do() {
    let good = "# Changelog\n\n## Unreleased\n\n### Added\n\n### What you have to do\n";
    let bad = "# Changelog\n\n## Unreleased\n\n### What you have to do\n\n### Added\n";
    assert!(prose::changelog(&tree(&[("CHANGELOG.md", good)])).is_empty());
    assert_eq!(prose::changelog(&tree(&[("CHANGELOG.md", bad)])).len(), 2);
    assert_eq!(prose::changelog(&tree(&[])).len(), 1);
}

#[test]
fn a_code_that_the_reference_lacks_is_found() {
    let health =
        ("crates/homing-node/src/health.rs", "    \"udp_blocked\" Warning after 5, None,\n");
    let errors =
        ("crates/homing-api/src/error.rs", "    Usage \"usage\" 2 400 false \"No sense.\";\n");
    let events = ("crates/homing-node/src/events.rs", "(\"peer_moved\", peer)\n");
    let page = |text| ("docs/events.md", text);
    let good = page("## x\n## Events\n| `peer_moved` | x |\n## Other\n`udp_blocked` `usage`\n");
    let bad = page("## x\n## Events\n| `peer_gone` | x |\n## Other\n`usage`\n");
    assert!(prose::reference(&tree(&[health, errors, events, good])).is_empty());
    assert_eq!(prose::reference(&tree(&[health, errors, events, bad])).len(), 2);
}

#[test]
fn a_machines_path_is_found() {
    let text = format!("see {}x", concat!("/ro", "ot/"));
    assert_eq!(
        prose::machine_traces(&tree(&[("README.md", &text), ("Cargo.lock", &text)])).len(),
        1
    );
}

#[test]
fn every_rule_has_its_own_name() {
    let names: std::collections::BTreeSet<_> = RULES.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), RULES.len());
}
