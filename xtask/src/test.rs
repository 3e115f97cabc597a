//! The one test command.
//!
//! ```text
//! prepare     PostgreSQL and tools that the NAT lab needs, installed when this is root on a Debian-like system
//! api-tools   a schema-driven fuzzer and a client generator, in a Python environment of their own
//! agent-tools the official SDKs of MCP and A2A, in another
//! chain-tools a Solidity compiler and a development chain, from npm
//! node-tools  a Node.js that is new enough, from npm
//! program     what people run, but for link-time optimisation; flow and lab tests start it (HOMING_BIN)
//! workspace   unit, property, flow, corpus and documentation tests of every crate
//! simulator   100 seeds × 200 agents
//! lab         real nodes behind real NATs in network namespaces, one test at a time
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::api_tools;
use crate::run::{self, Ended};
use crate::tally::{Report, Tally};
use crate::tidy::Workspace;

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Full,
    /// Without the simulator sweep and the lab.
    Quick,
}

/// Seeds and agents per seed of the sweep.
const SWEEP: [&str; 2] = ["100", "200"];
const LAB: &str = "homing-lab";
/// What the lab calls, and the package that has it.
const LAB_TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("nft", "nftables")];
/// What some of its scenarios call besides; each says by itself when it is not there.
const LAB_CLIENTS: [(&str, &str); 2] = [("ping", "iputils-ping"), ("curl", "curl")];
/// Where an unmodified SSH server is, and the package that has it.
const SSHD: (&str, &str) = ("/usr/sbin/sshd", "openssh-server");
/// An unmodified DNS client, and the package that has it.
const DIG: (&str, &str) = ("dig", "bind9-dnsutils");
/// What the registry's second database is started from.
const POSTGRES_PACKAGE: &str = "postgresql";

/// Runs every part, even after one failed. Whether nothing failed.
pub fn all(root: &Path, extent: Extent) -> Result<bool> {
    let packages = Workspace::read(root)?;
    let has = |name: &str| packages.package(name).is_some();
    let binary = run::target_dir(root).join("tested/homing");
    let mut report = Report::default();
    let lab_tools = if extent == Extent::Full && has(LAB) { missing_tools() } else { Vec::new() };
    let mut packages: Vec<_> = lab_tools.iter().map(|(_, package)| *package).collect();
    if extent == Extent::Full && has(LAB) {
        packages.extend(absent(&LAB_CLIENTS).map(|(_, package)| package));
    }
    if has("homing-registry") && !postgres_is_there() {
        packages.push(POSTGRES_PACKAGE);
    }
    if !Path::new(SSHD.0).is_file() {
        packages.push(SSHD.1);
    }
    if !run::is_installed(DIG.0) {
        packages.push(DIG.1);
    }
    prepare(root, &packages, &mut report);
    let environments = [api_tools::API, api_tools::AGENTS, api_tools::CLIENTS];
    let tools = environments.map(|e| (e.variable, api_tools::prepare(root, &e, &mut report)));
    let ipns = api_tools::prepare_ipns(root, &mut report);
    let ipns = (api_tools::IPNS_VARIABLE, ipns);
    let chain = (api_tools::CHAIN_VARIABLE, api_tools::prepare_chain(root, &mut report));
    let path = ("PATH", api_tools::prepare_node(root, &mut report));
    let tools = [&tools[..], &[ipns, chain, path]].concat();
    report.part("program", || program(root, &binary));
    report.part("workspace tests", || workspace(root, &binary, &tools, has(LAB)));
    if extent == Extent::Full {
        report.part("simulator sweep", || sweep(root));
        if has(LAB) {
            lab(root, &binary, &tools, &mut report);
        }
    }
    Ok(report.finish())
}

/// Installs missing tools where that is possible. A lack is reported by the part that needs it.
fn prepare(root: &Path, packages: &[&str], report: &mut Report) {
    if packages.is_empty() || !is_root() || !run::is_installed("apt-get") {
        return;
    }
    report.part("prepare", || {
        // Without a network this must end soon: the lab is then skipped, not the build delayed.
        let quick = ["-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20"];
        let apt = |args: &[&str]| {
            let args = [&quick[..], args].concat();
            run::program(root, "apt-get", &args).env("DEBIAN_FRONTEND", "noninteractive").quiet()
        };
        let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
        if !apt(&["update"])?.success || !apt(&install)?.success {
            println!("could not install {}: what needs it will be skipped", packages.join(", "));
        }
        Ok(Tally::default())
    });
}

/// A server that the tests may use, or binaries from which they start their own; and the client.
fn postgres_is_there() -> bool {
    let named = std::env::var_os("HOMING_TEST_POSTGRES").is_some();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|v| v.path().join("bin/initdb")).any(|initdb| initdb.is_file());
    run::is_installed("psql") && (named || installed || run::is_installed("initdb"))
}

fn missing_tools() -> Vec<(&'static str, &'static str)> {
    absent(&LAB_TOOLS).collect()
}

/// Those of these tools that are not installed.
fn absent(
    tools: &'static [(&'static str, &'static str)],
) -> impl Iterator<Item = (&'static str, &'static str)> {
    tools.iter().copied().filter(|(tool, _)| !run::is_installed(tool))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

fn program(root: &Path, binary: &Path) -> Result<Tally> {
    let ended = run::cargo(root, &["build", "--profile", "tested", "-p", "homing"]).stream()?;
    ensure!(!ended.success || binary.is_file(), "{} was not built", binary.display());
    Ok(Tally::one(ended.success))
}

fn workspace(
    root: &Path,
    binary: &Path,
    tools: &[(&str, PathBuf)],
    has_lab: bool,
) -> Result<Tally> {
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    if has_lab {
        args.extend(["--exclude", LAB]);
    }
    let tests = run::cargo(root, &args).env("HOMING_BIN", binary);
    let tests = tools.iter().fold(tests, |tests, (name, folder)| tests.env(name, folder));
    let ended = tests.stream()?;
    Ok(Tally::of_libtest(&ended))
}

/// In the profile of the tests: already built, two thirds of the speed, and overflow is checked.
fn sweep(root: &Path) -> Result<Tally> {
    let [seeds, agents] = SWEEP;
    let sim = ["run", "-q", "-p", "homing-sim", "--"];
    let args = [&sim[..], &["sweep", "--seeds", seeds, "--agents", agents]].concat();
    let ended = run::cargo(root, &args).stream()?;
    Ok(of_sweep(&ended))
}

/// The sweep says `200 seeds, 1 failed`; every seed counts as one test.
fn of_sweep(ended: &Ended) -> Tally {
    let counted = ended.lines.iter().find_map(|line| {
        let (seeds, failed) = line.strip_suffix(" failed")?.split_once(" seeds, ")?;
        let (seeds, failed): (usize, usize) = (seeds.parse().ok()?, failed.parse().ok()?);
        Some(Tally { passed: seeds.checked_sub(failed)?, failed, skipped: 0 })
    });
    match counted {
        Some(tally) if ended.success == (tally.failed == 0) && tally != Tally::default() => tally,
        _ => Tally::one(false),
    }
}

fn lab(root: &Path, binary: &PathBuf, tools: &[(&str, PathBuf)], report: &mut Report) {
    if let Some((tool, package)) = missing_tools().first() {
        return report.skip("NAT lab", &format!("`{tool}` is missing (package {package})"));
    }
    report.part("NAT lab", || {
        let args = ["test", "-p", LAB, "--no-fail-fast", "--", "--test-threads=1", "--nocapture"];
        let lab = run::cargo(root, &args).env("HOMING_BIN", binary);
        let lab = tools.iter().fold(lab, |lab, (name, folder)| lab.env(name, folder));
        Ok(Tally::of_libtest(&lab.stream()?))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sweeps_own_count_is_taken_when_it_agrees_with_its_exit() {
        let ended = |success, line: &str| Ended { success, lines: vec![line.into()] };
        let counted = Tally { passed: 199, failed: 1, skipped: 0 };
        assert_eq!(of_sweep(&ended(false, "200 seeds, 1 failed")), counted);
        assert_eq!(of_sweep(&ended(true, "200 seeds, 1 failed")), Tally::one(false));
        assert_eq!(of_sweep(&ended(true, "0 seeds, 0 failed")), Tally::one(false), "nothing ran");
        assert_eq!(of_sweep(&ended(false, "error: no such scenario")), Tally::one(false));
    }
}
