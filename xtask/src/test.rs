//! The one test command.
//!
//! ```text
//! build       every program and every test, once; meanwhile PostgreSQL, tools of the NAT lab (both where this is root on
//!             a Debian-like system) and programs that others wrote are installed
//! workspace   unit, property, flow, corpus and documentation tests of every crate
//! simulator   100 seeds × 200 agents, by what the workspace tests leave of the processors
//! lab         real nodes behind real NATs in network namespaces, one test at a time
//! ```
//! Flow and lab tests start the program of the same build, which checks overflow and its own assertions. A second, optimised
//! build would take as long as all tests together.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, anyhow, ensure};

use crate::foreign::{self, Tools};
use crate::run::{self, Ended, Run};
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

/// Runs every part that what was built allows, even after one failed. Whether nothing failed.
pub fn all(root: &Path, extent: Extent) -> Result<bool> {
    let members = Workspace::read(root)?;
    let is_full = extent == Extent::Full;
    let has_lab = members.package(LAB).is_some();
    let lacking = lacking_packages(&members, is_full && has_lab);
    let mut report = Report::default();
    let (mut is_built, mut tools) = (false, Tools::new());
    report.part("build", || {
        let (built, installed) = build(root, &lacking);
        (is_built, tools) = (built?, installed);
        Ok(Tally::one(is_built))
    });
    if !is_built {
        return Ok(report.finish());
    }
    let sweeping = is_full.then(|| start_sweep(root));
    report.part("workspace tests", || workspace(root, &tools, has_lab));
    if let Some(sweeping) = sweeping {
        report.part("simulator sweep", || {
            let ended = sweeping.join().map_err(|_| anyhow!("the sweep panicked"))??;
            ended.lines.iter().for_each(|line| println!("{line}"));
            Ok(of_sweep(&ended))
        });
    }
    if is_full && has_lab {
        lab(root, &tools, &mut report);
    }
    Ok(report.finish())
}

/// What Debian calls the programs that tests need and this machine lacks.
fn lacking_packages(members: &Workspace, with_lab: bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if with_lab {
        packages.extend(missing_tools().iter().map(|(_, package)| *package));
        packages.extend(absent(&LAB_CLIENTS).map(|(_, package)| package));
    }
    if members.package("homing-registry").is_some() && !postgres_is_there() {
        packages.push(POSTGRES_PACKAGE);
    }
    if !Path::new(SSHD.0).is_file() {
        packages.push(SSHD.1);
    }
    if !run::is_installed(DIG.0) {
        packages.push(DIG.1);
    }
    packages
}

/// Compiles while what is missing is installed: one waits for the processors, the other for the network.
fn build(root: &Path, packages: &[&str]) -> (Result<bool>, Tools) {
    thread::scope(|scope| {
        let installing = scope.spawn(|| {
            prepare(root, packages);
            foreign::install(root)
        });
        let built = run::cargo(root, &["test", "--workspace", "--no-run"]).stream();
        (built.map(|ended| ended.success), installing.join().unwrap_or_default())
    })
}

/// A program of that build, which lies where this one does.
fn built(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.is_file(), "{} was not built", path.display());
    Ok(path)
}

/// Installs missing tools where that is possible. A lack is reported by the part that needs it.
fn prepare(root: &Path, packages: &[&str]) {
    if packages.is_empty() || !is_root() || !run::is_installed("apt-get") {
        return;
    }
    // Without a network this must end soon: the lab is then skipped, not the build delayed.
    let quick = ["-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20"];
    let apt = |args: &[&str]| {
        let args = [&quick[..], args].concat();
        run::program(root, "apt-get", &args).env("DEBIAN_FRONTEND", "noninteractive").succeeds()
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    if !apt(&["update"]) || !apt(&install) {
        println!("could not install {}: what needs it will be skipped", packages.join(", "));
    }
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

fn workspace(root: &Path, tools: &Tools, has_lab: bool) -> Result<Tally> {
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    if has_lab {
        args.extend(["--exclude", LAB]);
    }
    Ok(Tally::of_libtest(&with(tools, run::cargo(root, &args)).stream()?))
}

fn with(tools: &Tools, run: Run) -> Run {
    tools.iter().fold(run, |run, (name, folder)| run.env(name, folder))
}

/// In the profile of the tests: already built, two thirds of the speed, and overflow is checked. It steps back for others,
/// since they measure time.
fn start_sweep(root: &Path) -> thread::JoinHandle<Result<Ended>> {
    let root = root.to_owned();
    thread::spawn(move || {
        let sim = built("homing-sim")?.to_string_lossy().into_owned();
        let [seeds, agents] = SWEEP;
        let command = ["nice", "-n", "19", &sim, "sweep", "--seeds", seeds, "--agents", agents];
        let command = if run::is_installed("nice") { &command[..] } else { &command[3..] };
        run::program(&root, command[0], &command[1..]).quiet()
    })
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

fn lab(root: &Path, tools: &Tools, report: &mut Report) {
    if let Some((tool, package)) = missing_tools().first() {
        return report.skip("NAT lab", &format!("`{tool}` is missing (package {package})"));
    }
    report.part("NAT lab", || {
        // Of the whole workspace, or the choice of features would have it compiled anew.
        let scenarios = ["test", "--workspace", "--test", "lab", "--no-fail-fast"];
        let args = [&scenarios[..], &["--", "--test-threads=1", "--nocapture"]].concat();
        let lab = run::cargo(root, &args).env("HOMING_BIN", built("homing")?);
        Ok(Tally::of_libtest(&with(tools, lab).stream()?))
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
