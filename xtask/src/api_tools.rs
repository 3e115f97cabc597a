//! Programs that others wrote, for tests that must not believe our own: Python environments and Node packages below the
//! target folder.
//!
//! Each is made once, with pinned versions. Without `python3`, `npm` or a package index the tests that need them say that they
//! were skipped, and are counted.

use std::path::{Path, PathBuf};

use crate::run;
use crate::tally::{Report, Tally};

/// One Python environment and what is in it.
pub struct Environment {
    /// What the report and the folder are called.
    name: &'static str,
    /// Names the folder to the tests.
    pub variable: &'static str,
    packages: &'static [&'static str],
    /// Files below the environment that say it is whole.
    marks: &'static [&'static str],
}

/// Against OpenAPI: a schema-driven fuzzer, whose seed means something only with its version, and a client generator.
pub const API: Environment = Environment {
    name: "api-tools",
    variable: "HOMING_API_TOOLS",
    packages: &["schemathesis==4.32.5", "openapi-python-client==0.29.1"],
    marks: &["bin/schemathesis", "bin/openapi-python-client"],
};

/// The official SDKs of MCP and A2A, as clients and servers.
pub const AGENTS: Environment = Environment {
    name: "agent-tools",
    variable: "HOMING_AGENT_TOOLS",
    packages: &["mcp==2.3.0", "a2a-sdk[http-server]==1.3.0", "uvicorn==0.54.0"],
    marks: &["bin/mcp", "bin/uvicorn", "bin/a2a-db"],
};

/// HTTP, WebSocket and gRPC clients that people use in Python, for the gateway.
pub const CLIENTS: Environment = Environment {
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
const IPNS_FOLDER: &str = "ipns-tools";
const IPNS_PACKAGES: [&str; 2] = ["ipns@10.1.6", "@libp2p/crypto@5"];
/// Names its folder to the tests.
pub const IPNS_VARIABLE: &str = "HOMING_IPNS_TOOLS";

/// The folder of the IPNS implementation; without Node.js or a package index there is nothing in it.
pub fn prepare_ipns(root: &Path, report: &mut Report) -> PathBuf {
    let folder = run::target_dir(root).join(IPNS_FOLDER);
    let is_whole = folder.join("node_modules/ipns/package.json").is_file();
    if is_whole || !run::is_installed("node") || !run::is_installed("npm") {
        return folder;
    }
    report.part(IPNS_FOLDER, || {
        std::fs::create_dir_all(&folder)?;
        let path = folder.to_string_lossy().into_owned();
        let quick = ["install", "--prefix", &path, "--no-audit", "--no-fund", "--fetch-retries=0"];
        let args = [&quick[..], &IPNS_PACKAGES].concat();
        if !run::program(root, "npm", &args).quiet()?.success {
            println!("could not install {}: what needs it is skipped", IPNS_PACKAGES.join(", "));
        }
        Ok(Tally::default())
    });
    folder
}

/// Takes proxies from its environment, for which many systems' is too old.
const NODE_VERSION: &str = "24.21.0";

/// Where tests look for programs: first for that Node.js; without npm, or a package index, only the machine's is found.
pub fn prepare_node(root: &Path, report: &mut Report) -> PathBuf {
    let bin = install_node(root, report);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(bin).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).map_or_else(|_| path.clone().into(), PathBuf::from)
}

/// The folder of the program.
fn install_node(root: &Path, report: &mut Report) -> PathBuf {
    let folder = run::target_dir(root).join("node-tools");
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let package = format!("node-linux-{machine}");
    let bin = folder.join("node_modules").join(&package).join("bin");
    if bin.join("node").is_file() || !run::is_installed("npm") {
        return bin;
    }
    report.part("node-tools", || {
        std::fs::create_dir_all(&folder)?;
        let path = folder.to_string_lossy().into_owned();
        let pinned = format!("{package}@{NODE_VERSION}");
        let quick = ["--fetch-retries=1", "--ignore-scripts", "--no-audit", "--no-fund"];
        let args = [&["install", "--no-save", "--prefix", &path][..], &quick, &[&pinned]].concat();
        if !run::program(root, "npm", &args).quiet()?.success {
            println!(
                "could not install {pinned}: what needs it is skipped where the machine's is older"
            );
        }
        Ok(Tally::default())
    });
    bin
}

/// The environment's folder; what could not be installed is not in it.
pub fn prepare(root: &Path, environment: &Environment, report: &mut Report) -> PathBuf {
    let folder = run::target_dir(root).join(environment.name);
    let has_all = || environment.marks.iter().all(|mark| folder.join(mark).is_file());
    if has_all() || !run::is_installed("python3") {
        return folder;
    }
    report.part(environment.name, || {
        let path = folder.to_string_lossy().into_owned();
        let made = run::program(root, "python3", &["-m", "venv", &path]).quiet()?.success;
        let pip = folder.join("bin/pip").to_string_lossy().into_owned();
        let quick = ["install", "--quiet", "--retries", "1", "--timeout", "20"];
        let args = [&quick[..], environment.packages].concat();
        if !made || !run::program(root, &pip, &args).quiet()?.success {
            let packages = environment.packages.join(", ");
            println!("could not install {packages}: what needs it will be skipped");
        }
        Ok(Tally::default())
    });
    folder
}

/// Names the folder with a Solidity compiler and a development chain to the tests.
pub const CHAIN_VARIABLE: &str = "HOMING_CHAIN_TOOLS";

/// The compiler and the chain that `contracts/package-lock.json` pins. No script of theirs is run.
pub fn prepare_chain(root: &Path, report: &mut Report) -> PathBuf {
    let folder = run::target_dir(root).join("chain-tools");
    let pinned = ["package.json", "package-lock.json"];
    let source = |name: &str| root.join("contracts").join(name);
    let is_same =
        |name: &&str| std::fs::read(source(name)).ok() == std::fs::read(folder.join(name)).ok();
    let is_whole = folder.join("node_modules/.package-lock.json").is_file();
    if (is_whole && pinned.iter().all(is_same)) || !run::is_installed("npm") {
        return folder;
    }
    report.part("chain-tools", || {
        std::fs::create_dir_all(&folder)?;
        for name in pinned {
            std::fs::copy(source(name), folder.join(name))?;
        }
        let path = folder.to_string_lossy().into_owned();
        let quick = ["--fetch-retries=1", "--fetch-timeout=60000", "--ignore-scripts", "--no-audit", "--no-fund"];
        // Not `npm ci`: npm 11 refuses a lock without the optional packages of other systems, whose hashes nobody here has.
        let args = [&["install", "--no-save", "--prefix", &path][..], &quick].concat();
        if !run::program(root, "npm", &args).quiet()?.success {
            println!("could not install the Solidity compiler and the development chain: what needs them will be skipped");
        }
        Ok(Tally::default())
    });
    folder
}
