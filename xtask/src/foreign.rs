//! Programs that others wrote, for tests that must not believe our own: Python environments and Node packages below the
//! target folder.
//!
//! Each is made once, with pinned versions. Without `python3`, `npm` or a package index the tests that need them say that they
//! were skipped, and are counted.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run;

/// One Python environment and what is in it.
struct Environment {
    /// What the folder is called.
    name: &'static str,
    /// Names the folder to the tests.
    variable: &'static str,
    packages: &'static [&'static str],
    /// Files below the environment that say it is whole.
    marks: &'static [&'static str],
}

/// Against OpenAPI: a schema-driven fuzzer, whose seed means something only with its version, and a client generator.
const API: Environment = Environment {
    name: "api-tools",
    variable: "HOMING_API_TOOLS",
    packages: &["schemathesis==4.32.5", "openapi-python-client==0.29.1"],
    marks: &["bin/schemathesis", "bin/openapi-python-client"],
};

/// The official SDKs of MCP and A2A, as clients and servers.
const AGENTS: Environment = Environment {
    name: "agent-tools",
    variable: "HOMING_AGENT_TOOLS",
    packages: &["mcp==2.3.0", "a2a-sdk[http-server]==1.3.0", "uvicorn==0.54.0"],
    marks: &["bin/mcp", "bin/uvicorn", "bin/a2a-db"],
};

/// HTTP, WebSocket and gRPC clients that people use in Python, for the gateway.
const CLIENTS: Environment = Environment {
    name: "client-tools",
    variable: "HOMING_CLIENT_TOOLS",
    packages: &[
        "requests==2.34.2",
        "httpx==0.28.1",
        "aiohttp==3.14.5",
        "websockets==17.4",
        "grpcio==1.85.1",
        "dnspython==2.8.0",
    ],
    marks: &["bin/normalizer", "bin/httpx", "bin/websockets"],
};

/// An independent implementation of IPNS, for Node.js.
const IPNS_PACKAGES: [&str; 2] = ["ipns@10.1.6", "@libp2p/crypto@5"];
/// Names its folder to the tests.
const IPNS_VARIABLE: &str = "HOMING_IPNS_TOOLS";
/// Names the folder with a Solidity compiler and a development chain to the tests.
pub const CHAIN_VARIABLE: &str = "HOMING_CHAIN_TOOLS";
/// Takes proxies from its environment, for which many systems' is too old.
const NODE_VERSION: &str = "24.21.0";

/// The tests' environment variables, and what each says.
pub type Tools = Vec<(&'static str, OsString)>;

/// Makes what is missing; what could not be installed is said and not there.
pub fn install(root: &Path) -> Tools {
    let mut tools = Tools::new();
    for environment in [API, AGENTS, CLIENTS] {
        tools.push((environment.variable, install_python(root, &environment).into()));
    }
    tools.push((IPNS_VARIABLE, install_ipns(root).into()));
    tools.push((CHAIN_VARIABLE, install_chain(root).into()));
    tools.extend(install_node(root).and_then(first_in_path).map(|path| ("PATH", path)));
    tools
}

/// The environment's folder.
fn install_python(root: &Path, environment: &Environment) -> PathBuf {
    let folder = run::target_dir(root).join(environment.name);
    let is_whole = environment.marks.iter().all(|mark| folder.join(mark).is_file());
    if is_whole || !run::is_installed("python3") {
        return folder;
    }
    let path = folder.to_string_lossy().into_owned();
    let pip = folder.join("bin/pip").to_string_lossy().into_owned();
    let quick = ["install", "--quiet", "--retries", "1", "--timeout", "20"];
    let args = [&quick[..], environment.packages].concat();
    if !run::program(root, "python3", &["-m", "venv", &path]).succeeds()
        || !run::program(root, &pip, &args).succeeds()
    {
        could_not(&environment.packages.join(", "));
    }
    folder
}

fn install_ipns(root: &Path) -> PathBuf {
    let folder = run::target_dir(root).join("ipns-tools");
    if !folder.join("node_modules/ipns/package.json").is_file() && run::is_installed("npm") {
        npm(root, &folder, &IPNS_PACKAGES);
    }
    folder
}

/// The compiler and the chain that `contracts/package-lock.json` pins.
pub fn install_chain(root: &Path) -> PathBuf {
    let folder = run::target_dir(root).join("chain-tools");
    let pinned = ["package.json", "package-lock.json"];
    let source = |name: &str| root.join("contracts").join(name);
    let is_same = |name: &&str| fs::read(source(name)).ok() == fs::read(folder.join(name)).ok();
    let mark = folder.join("node_modules/.package-lock.json");
    if (mark.is_file() && pinned.iter().all(is_same)) || !run::is_installed("npm") {
        return folder;
    }
    // What is there is of another lock, until npm says otherwise.
    let _ = fs::remove_file(&mark);
    let copy = |name: &&str| fs::copy(source(name), folder.join(name)).is_ok();
    if fs::create_dir_all(&folder).is_ok() && pinned.iter().all(copy) {
        // Not `npm ci`: npm 11 refuses a lock without the optional packages of other systems, whose hashes nobody here has.
        npm(root, &folder, &["--no-save"]);
    } else {
        could_not("the Solidity compiler and the development chain");
    }
    folder
}

/// The folder of the program, which is the platform's own package and needs no script; `None` if it does not run here.
fn install_node(root: &Path) -> Option<PathBuf> {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let package = format!("node-linux-{machine}");
    let folder = run::target_dir(root).join("node-tools");
    let bin = folder.join("node_modules").join(&package).join("bin");
    let node = bin.join("node").to_string_lossy().into_owned();
    let version = || Some(run::program(root, &node, &["--version"]).quiet().ok()?.lines);
    let is_there = || version().is_some_and(|lines| lines == [format!("v{NODE_VERSION}")]);
    let is_made = || {
        npm(root, &folder, &["--no-save", &format!("{package}@{NODE_VERSION}")]);
        is_there()
    };
    (is_there() || (run::is_installed("npm") && is_made())).then_some(bin)
}

/// Installs packages in a folder. No script of theirs is run.
fn npm(root: &Path, folder: &Path, packages: &[&str]) {
    let path = folder.to_string_lossy().into_owned();
    let quick = ["--fetch-retries=1", "--fetch-timeout=60000", "--no-audit", "--no-fund"];
    let args = [&["install", "--ignore-scripts", "--prefix", &path][..], &quick, packages].concat();
    if fs::create_dir_all(folder).is_err() || !run::program(root, "npm", &args).succeeds() {
        could_not(&path);
    }
}

fn could_not(install: &str) {
    println!("could not install {install}: what needs it will be skipped");
}

/// Where tests look for programs: in this folder before the machine's.
fn first_in_path(folder: PathBuf) -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).ok()
}
