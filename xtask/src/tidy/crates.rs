//! Rules between crates and modules: who may know whom.

use std::collections::BTreeSet;

use super::{File, Tree};

/// Each crate and which of our other crates it may use in the product.
const MAY_USE: &[(&str, &[&str])] = &[
    ("homing-base", &[]),
    ("homing-core", &["homing-base"]),
    ("homing-api", &["homing-base"]),
    ("homing-audit", &["homing-base", "homing-core"]),
    ("homing-sim", &["homing-base", "homing-core"]),
    ("homing-registry", &["homing-base", "homing-api"]),
    ("homing-gateway", &["homing-base", "homing-api"]),
    ("homing-anchor", &["homing-base"]),
    (
        "homing-node",
        &[
            "homing-base",
            "homing-core",
            "homing-anchor",
            "homing-api",
            "homing-audit",
            "homing-registry",
            "homing-gateway",
        ],
    ),
    (
        "homing",
        &[
            "homing-base",
            "homing-core",
            "homing-anchor",
            "homing-api",
            "homing-audit",
            "homing-registry",
            "homing-gateway",
            "homing-node",
            "homing-sim",
        ],
    ),
];

const ALLOWED: &[(&str, &[&str])] = &[
    (
        "homing-base",
        &[
            "data-encoding",
            "ed25519-dalek",
            "hkdf",
            "minicbor",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "zeroize",
        ],
    ),
    (
        "homing-core",
        &[
            "data-encoding",
            "homing-base",
            "minicbor",
            "rand_chacha",
            "rand_core",
            "serde",
            "sha2",
            "thiserror",
            "tracing",
        ],
    ),
];

/// Modules of homing-core that every protocol may use: the contract and its words.
/// `cluster` is a rule, not a protocol: the DHT counts by it.
const COMMON_GROUND: &[&str] = &["audit", "cluster", "io", "limits", "message"];

pub fn one_direction(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, may_use) in MAY_USE {
        let Some(package) = tree.workspace.package(name) else { continue };
        for used in package.ordinary().filter(|d| d.starts_with("homing")) {
            if !may_use.contains(&used) {
                findings.push(format!("{name} depends on {used}"));
            }
        }
    }
    findings
}

pub fn allow_list(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, allowed) in ALLOWED {
        let Some(package) = tree.workspace.package(name) else { continue };
        let others = package.ordinary().filter(|d| !allowed.contains(d));
        findings.extend(others.map(|d| format!("{name} depends on {d}, which is not on its list")));
    }
    findings
}

pub fn siblings_apart(tree: &Tree) -> Vec<String> {
    const SRC: &str = "crates/homing-core/src/";
    let module = |file: &File| {
        let rest = file.path.strip_prefix(SRC)?;
        let first = rest.split('/').next()?;
        Some(first.trim_end_matches(".rs").to_owned())
    };
    let files: Vec<_> = tree.rust(SRC).filter_map(|f| Some((module(f)?, f))).collect();
    let siblings: BTreeSet<_> = files
        .iter()
        .map(|(m, _)| m.clone())
        .filter(|m| {
            !COMMON_GROUND.contains(&m.as_str()) && !["lib", "agent", "tests"].contains(&m.as_str())
        })
        .collect();
    let mut findings = Vec::new();
    for (own, file) in files.iter().filter(|(m, _)| siblings.contains(m)) {
        for other in siblings.iter().map(String::as_str).chain(["agent"]).filter(|o| o != own) {
            findings.extend(file.mentions(&[&format!("crate::{other}")]));
        }
    }
    findings
}

pub fn one_shell(tree: &Tree) -> Vec<String> {
    let product = tree.rust("crates/homing-node/src/").filter(|f| !f.is_test());
    let found: Vec<_> =
        product.map(|f| f.mentions(&["Output::Persist"])).filter(|m| !m.is_empty()).collect();
    if found.len() > 1 { found.concat() } else { Vec::new() }
}

pub fn one_clock(tree: &Tree) -> Vec<String> {
    let folders = ["crates/homing-base/src/", "crates/homing-core/src/", "crates/homing-node/src/"];
    let product = folders.iter().flat_map(|folder| tree.rust(folder)).filter(|f| !f.is_test());
    let others = product.filter(|f| f.path != "crates/homing-node/src/clock.rs");
    others.flat_map(|f| f.mentions(&["Instant::now", "SystemTime::now"])).collect()
}
