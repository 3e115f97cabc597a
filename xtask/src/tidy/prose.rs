//! Rules about pages, and about what no file may contain.

use std::collections::BTreeMap;

use super::{File, Tree};

/// Parts a release of the changelog may have, in this order.
const CHANGELOG_PARTS: [&str; 4] = ["Added", "Changed", "Fixed", "What you have to do"];

/// Every relative link of every page leads to a file or folder of the tree.
pub fn links(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for page in tree.files.iter().filter(|f| f.path.ends_with(".md")) {
        for (line, target) in relative_links(page) {
            let path = resolve(&page.path, &target);
            if path.as_deref().is_none_or(|p| !p.is_empty() && !tree.has(p)) {
                findings.push(format!("{}:{line}: {target} leads nowhere", page.path));
            }
        }
    }
    findings
}

/// Targets of `](…)` outside code blocks, fragments cut off.
fn relative_links(page: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (n, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or("").split('#').next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((n + 1, target.to_owned()));
            }
        }
    }
    found
}

/// `target` as seen from `page`, from the root; `None` when it leaves the tree.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `docs/decisions/NNN-title.md`, each number once, none left out.
pub fn decisions(tree: &Tree) -> Vec<String> {
    let mut numbers: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix("docs/decisions/") else { continue };
        let number = name.split_once('-').filter(|(n, _)| n.len() == 3);
        match number.and_then(|(n, _)| n.parse().ok()) {
            Some(n) => numbers.entry(n).or_default().push(&file.path),
            None => findings.push(format!("{}: not NNN-title.md", file.path)),
        }
    }
    for (expected, (number, paths)) in (1..).zip(&numbers) {
        if *number != expected {
            findings.push(format!("{}: the number before it is missing", paths[0]));
        }
        if paths.len() > 1 {
            findings.push(format!("one number for {}", paths.join(" and ")));
        }
    }
    findings
}

/// `## version` with known `### parts` in order; every version says what to do.
pub fn changelog(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.files.iter().find(|f| f.path == "CHANGELOG.md") else {
        return vec!["CHANGELOG.md is missing".into()];
    };
    let mut findings = Vec::new();
    for release in file.text.split("\n## ").skip(1) {
        let version = release.lines().next().unwrap_or("");
        let parts: Vec<_> = release.lines().filter_map(|l| l.strip_prefix("### ")).collect();
        let order: Vec<_> =
            parts.iter().map(|p| CHANGELOG_PARTS.iter().position(|k| k == p)).collect();
        if order.contains(&None) || !order.is_sorted() {
            findings.push(format!(
                "{version}: the parts are {}, in this order",
                CHANGELOG_PARTS.join(", ")
            ));
        }
        if parts.last() != Some(&CHANGELOG_PARTS[3]) {
            findings.push(format!("{version}: ends with what the reader has to do"));
        }
    }
    if !file.text.contains("\n## ") {
        findings.push("no version in CHANGELOG.md".into());
    }
    findings
}

/// `docs/events.md` names every condition and error code, and only events that exist.
pub fn reference(tree: &Tree) -> Vec<String> {
    const PAGE: &str = "docs/events.md";
    let text = |path: &str| tree.files.iter().find(|f| f.path == path).map_or("", |f| &f.text);
    let page = text(PAGE);
    let conditions =
        text("crates/homing-node/src/health.rs").lines().filter(|l| l.contains(" after "));
    let errors = text("crates/homing-api/src/error.rs").lines().filter(|l| l.ends_with("\";"));
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let declared = conditions.filter(|l| l.starts_with("    \"")).chain(errors).filter_map(quoted);
    let missing = declared.filter(|code| !page.contains(&format!("`{code}`")));
    let mut findings: Vec<_> = missing.map(|code| format!("{PAGE}: {code} is missing")).collect();
    let events = page.split("\n## ").find(|part| part.starts_with("Events")).unwrap_or("");
    let source = text("crates/homing-node/src/events.rs");
    for row in events.lines().filter(|l| l.starts_with("| `")) {
        let kinds = row.split('|').nth(1).unwrap_or("").split('`').skip(1).step_by(2);
        let gone = kinds.filter(|kind| !source.contains(&format!("\"{kind}\"")));
        findings.extend(gone.map(|kind| format!("{PAGE}: no event is called {kind}")));
    }
    findings
}

/// Paths of one machine and hosts of package registries.
pub fn machine_traces(tree: &Tree) -> Vec<String> {
    let traces = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("crates", ".io/"),
        concat!("static.", "crates"),
        concat!("index.", "crates"),
        concat!("pypi", ".org"),
        concat!("proxy.", "golang"),
        concat!("registry.", "npmjs"),
    ];
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|f| !f.path.ends_with("Cargo.lock")) {
        for (n, line) in file.text.lines().enumerate() {
            if let Some(trace) = traces.iter().find(|t| line.contains(**t)) {
                findings.push(format!("{}:{}: {trace}", file.path, n + 1));
            }
        }
    }
    findings
}
