//! What somebody without trust gets: `peer_not_trusted`, and not one packet or digit of an address.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use homing_lab::nat::Nat::PortRestricted;
use homing_lab::topology::{Host, Place::Behind, Place::Public};

use crate::harness::{Notes, Scenario};
use crate::world::{World, introduce, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a_stranger_learns_no_address",
    limit_s: 60,
    needs_binary: true,
    run: stranger,
}];

fn stranger(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let shy = world.running(Behind(PortRestricted), "shy")?;
    let friend = world.running(Public, "friend")?;
    let stranger = world.running(Public, "stranger")?;
    let secrets = [shy.routers[0].wan(), shy.host.address()];
    watch(&stranger.host, secrets)?;
    watch(&friend.host, secrets)?;
    let seen = pry(&stranger.agent, &shy.agent)?;
    for secret in secrets.map(|address| address.to_string()) {
        ensure!(!seen.contains(&secret), "the stranger was told {secret}: {seen}");
    }
    introduce(&friend.agent, &shy.agent)?;
    until_direct(&friend.agent, "shy", Duration::from_secs(8))?;
    let told = counted(&stranger.host)?;
    let control = counted(&friend.host)?;
    notes.add(format!("packets between the agent and: stranger {told}, friend {control}"));
    ensure!(control > 0, "the counter does not count");
    ensure!(told == 0, "the stranger exchanged {told} packets with the agent's own address");
    Ok(())
}

/// Everything a stranger can try, and everything it printed.
fn pry(stranger: &homing_lab::agent::Agent, shy: &homing_lab::agent::Agent) -> Result<String> {
    let id = shy.node_id()?;
    let mut seen = stranger.json(&["resolve", "shy"])?.to_string();
    for arguments in [["ping", "shy"], ["ping", &id]] {
        let (error, exit, _) = stranger.failure(&arguments)?;
        let refused = error["code"] == "peer_not_trusted" && exit == 5;
        ensure!(refused, "{arguments:?} without trust: exit {exit}, {error}");
        seen += &error.to_string();
    }
    let (error, exit, _) = stranger.failure(&["connect", "shy", "7"])?;
    ensure!(exit == 5, "connect without trust: exit {exit}, {error}");
    seen += &error.to_string();
    seen += &stranger.json(&["handshake", "shy", "--reason", "let me in"])?.to_string();
    thread::sleep(Duration::from_secs(2));
    for arguments in
        [&["status"][..], &["resolve", "shy"], &["netcheck", "shy"], &["trust", "list"]]
    {
        let finished = stranger.run(&[arguments, &["--json"]].concat())?;
        seen += &(finished.stdout + &finished.stderr);
    }
    seen += &stranger.log_tail();
    Ok(seen)
}

/// Counts every packet of a host to or from these addresses, before anything else may drop it.
fn watch(host: &Host, addresses: [Ipv4Addr; 2]) -> Result<()> {
    let [first, second] = addresses;
    let rules = format!(
        "table ip watch {{
  counter seen {{}}
  chain arriving {{ type filter hook prerouting priority raw; policy accept;
    ip saddr {{ {first}, {second} }} counter name seen
  }}
  chain leaving {{ type filter hook output priority raw; policy accept;
    ip daddr {{ {first}, {second} }} counter name seen
  }}
}}
"
    );
    host.namespace().nft(&rules).map(drop)
}

fn counted(host: &Host) -> Result<u64> {
    host.namespace().counted("seen")
}
