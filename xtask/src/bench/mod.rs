//! Numbers from one run on this machine: `cargo xtask bench [streams|agent|registry|gateway|expose|audit|anchor|swarm|clusters|forecast]`, `… bench dht [ARGS]`,
//! `… bench congestion [SECONDS [ROUNDS]]`.
//!
//! `streams` compares a Homing stream with a bare iroh stream and a raw TCP stream in one process;
//! `registry` asks a registry over HTTP and registers with it, beside a bare axum route in the same process;
//! `audit` appends to an audit log, proves and reviews it; `anchor` leaves 10,000 updates on a development chain, in both
//! modes, and tells the gas (only when named: it takes minutes);
//! `gateway` puts a request through the gateway beside a direct one; `expose` does so through two real daemons;
//! `agent` measures the release binary as a user meets it: start, memory, the gap of a move; `swarm` runs
//! fifty daemons in one DHT and kills half of them (only when named); `clusters` lets
//! forty change the DHT's mode while they die and are born (only when named); `forecast` puts what forty daemons did
//! beside what the lab says of them (only when named); `dht` puts our DHT beside others and
//! takes arguments of its own (see `bench/dht`). Not
//! asserted anywhere: a busy machine must not fail a test. Quote ratios and medians.

mod agent;
mod clusters;
mod congestion;
mod daemon;
mod dht;
mod forecast;
mod swarm;

use std::path::Path;

use anyhow::{Result, bail};

use crate::{foreign, run};

/// Runs the measurements named in `args`, or all.
pub fn all(root: &Path, args: &[String]) -> Result<bool> {
    if let Some((first, rest)) = args.split_first()
        && first == "dht"
    {
        println!("== dht: ours, libp2p-kad and mainline in one process, interleaved rounds");
        return dht::measure(root, rest);
    }
    if let Some((first, rest)) = args.split_first()
        && first == "congestion"
    {
        println!("== congestion: controllers over links with delay, loss and a bottleneck");
        return congestion::measure(root, rest);
    }
    if let Some(unknown) = args.iter().find(|a| {
        ![
            "streams", "agent", "registry", "gateway", "expose", "audit", "anchor", "swarm",
            "clusters", "forecast",
        ]
        .contains(&a.as_str())
    }) {
        bail!(
            "no measurement is called `{unknown}`; there are: streams, agent, registry, gateway, expose, audit, anchor, swarm, clusters, forecast, dht, \
             congestion"
        );
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    let mut good = true;
    if wanted("streams") {
        println!("== streams: one process, loopback, interleaved rounds, medians");
        let bench = ["bench", "--quiet", "-p", "homing-node", "--bench", "streams"];
        good &= run::cargo(root, &bench).stream()?.success;
    }
    if wanted("agent") {
        println!("== agent: the release binary, real daemons on loopback");
        good &= run::cargo(root, &["build", "--release", "-p", "homing"]).stream()?.success;
        agent::measure(&run::target_dir(root).join("release/homing"))?;
    }
    if wanted("audit") {
        println!("== audit: one log, a million entries, with what disk and CPU give beside it");
        let bench = ["bench", "--quiet", "-p", "homing-audit", "--bench", "log"];
        good &= run::cargo(root, &bench).stream()?.success;
    }
    if args.iter().any(|a| a == "anchor") {
        println!("== anchor: 10,000 updates on a development chain, gas by its own receipts");
        good &= anchor(root)?;
    }
    if wanted("registry") {
        println!("== registry: HTTP/1.1 with keep-alive, the load generator on the same machine");
        let bench = ["bench", "--quiet", "-p", "homing-registry", "--bench", "http"];
        good &= run::cargo(root, &bench).stream()?.success;
        println!("== registry: storage of 100,000 cards, SQLite and PostgreSQL");
        let bench = ["bench", "--quiet", "-p", "homing-registry", "--bench", "storage"];
        good &= run::cargo(root, &bench).stream()?.success;
    }
    if wanted("gateway") {
        println!("== gateway: small requests over one connection, the service on the same machine");
        let bench = ["bench", "--quiet", "-p", "homing-gateway", "--bench", "overhead"];
        good &= run::cargo(root, &bench).stream()?.success;
    }
    if wanted("expose") {
        println!(
            "== expose: small requests through two daemons, server and load on the same machine"
        );
        let bench = ["bench", "--quiet", "-p", "homing", "--bench", "expose"];
        good &= run::cargo(root, &bench).stream()?.success;
    }
    if args.iter().any(|a| a == "swarm") {
        println!("== swarm: real daemons in one DHT on loopback");
        good &= run::cargo(root, &["build", "--release", "-p", "homing"]).stream()?.success;
        swarm::measure(&run::target_dir(root).join("release/homing"))?;
    }
    if args.iter().any(|a| a == "clusters") {
        println!(
            "== clusters: real daemons on loopback, a turnover of 400 % per hour, the mode changes twice"
        );
        good &= run::cargo(root, &["build", "--release", "-p", "homing"]).stream()?.success;
        clusters::measure(&run::target_dir(root).join("release/homing"))?;
    }
    if args.iter().any(|a| a == "forecast") {
        println!(
            "== forecast: forty daemons in clusters at 400 % per hour, and the lab's word on them"
        );
        good &= run::cargo(root, &["build", "--release", "-p", "homing"]).stream()?.success;
        forecast::measure(&run::target_dir(root).join("release/homing"))?;
    }
    Ok(good)
}

fn anchor(root: &Path) -> Result<bool> {
    let tools = std::env::var_os(foreign::CHAIN_VARIABLE);
    let tools = tools.map_or_else(|| foreign::install_chain(root), Into::into);
    let test = ["test", "--quiet", "-p", "homing-anchor", "--features", "evm", "--test", "chain"];
    let args = [&test[..], &["volume", "--", "--nocapture", "--test-threads=1"]].concat();
    let run = run::cargo(root, &args).env("HOMING_BENCH_UPDATES", "10000");
    Ok(run.env(foreign::CHAIN_VARIABLE, tools).stream()?.success)
}
