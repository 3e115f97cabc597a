//! Programs that others wrote, for tests that must not believe our own: Python environments and Node packages below the
//! target folder.
//!
//! Each is made once, with pinned versions. Without `python3`, `npm` or a package index the tests that need them say that they
//! were skipped, and are counted.

use std::path::{Path, PathBuf};

use anyhow::Result;

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

/// Makes what is missing. The tests' environment variables, and what each says; what could not be installed is not there.
///
/// # Errors
/// When nothing can be written below the target folder.
pub fn install(root: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut variables = Vec::new();
    for environment in [API, AGENTS, CLIENTS] {
        variables.push((environment.variable, install_python(root, &environment)?));
    }
    variables.push((IPNS_VARIABLE, install_ipns(root)?));
    variables.push((CHAIN_VARIABLE, install_chain(root)?));
    variables.push(("PATH", first_in_path(install_node(root)?)));
    Ok(variables)
}

/// The environment's folder.
fn install_python(root: &Path, environment: &Environment) -> Result<PathBuf> {
    let folder = run::target_dir(root).join(environment.name);
    let is_whole = environment.marks.iter().all(|mark| folder.join(mark).is_file());
    if is_whole || !run::is_installed("python3") {
        return Ok(folder);
    }
    let path = folder.to_string_lossy().into_owned();
    let made = run::program(root, "python3", &["-m", "venv", &path]).quiet()?.success;
    let pip = folder.join("bin/pip").to_string_lossy().into_owned();
    let quick = ["install", "--quiet", "--retries", "1", "--timeout", "20"];
    let args = [&quick[..], environment.packages].concat();
    if !made || !run::program(root, &pip, &args).quiet()?.success {
        println!(
            "could not install {}: what needs it will be skipped",
            environment.packages.join(", ")
        );
    }
    Ok(folder)
}

fn install_ipns(root: &Path) -> Result<PathBuf> {
    let folder = run::target_dir(root).join("ipns-tools");
    if !folder.join("node_modules/ipns/package.json").is_file() {
        npm(root, &folder, &IPNS_PACKAGES, "an implementation of IPNS")?;
    }
    Ok(folder)
}

/// The compiler and the chain that `contracts/package-lock.json` pins.
///
/// # Errors
/// When nothing can be written below the target folder.
pub fn install_chain(root: &Path) -> Result<PathBuf> {
    let folder = run::target_dir(root).join("chain-tools");
    let pinned = ["package.json", "package-lock.json"];
    let source = |name: &str| root.join("contracts").join(name);
    let is_same =
        |name: &&str| std::fs::read(source(name)).ok() == std::fs::read(folder.join(name)).ok();
    let is_whole = folder.join("node_modules/.package-lock.json").is_file();
    if is_whole && pinned.iter().all(is_same) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    for name in pinned {
        std::fs::copy(source(name), folder.join(name))?;
    }
    // Not `npm ci`: npm 11 refuses a lock without the optional packages of other systems, whose hashes nobody here has.
    npm(root, &folder, &["--no-save"], "the Solidity compiler and the development chain")?;
    Ok(folder)
}

/// The folder of the program, of the platform's own package: it needs no script.
fn install_node(root: &Path) -> Result<PathBuf> {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let package = format!("node-linux-{machine}");
    let folder = run::target_dir(root).join("node-tools");
    let bin = folder.join("node_modules").join(&package).join("bin");
    if !bin.join("node").is_file() {
        let pinned = format!("{package}@{NODE_VERSION}");
        npm(root, &folder, &["--no-save", &pinned], "a newer Node.js")?;
    }
    Ok(bin)
}

/// Installs packages in a folder. No script of theirs is run.
fn npm(root: &Path, folder: &Path, packages: &[&str], what: &str) -> Result<()> {
    if !run::is_installed("npm") {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let path = folder.to_string_lossy().into_owned();
    let quick = [
        "--fetch-retries=1",
        "--fetch-timeout=60000",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ];
    let args = [&["install", "--prefix", &path][..], &quick, packages].concat();
    if !run::program(root, "npm", &args).quiet()?.success {
        println!("could not install {what}: what needs it will be skipped");
    }
    Ok(())
}

/// Where tests look for programs: in this folder before the machine's.
fn first_in_path(folder: PathBuf) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(folder).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).map_or_else(|_| path.clone().into(), PathBuf::from)
}
