//! Every NAT flavour is what it says, seen by plain UDP sockets. Whatever the other scenarios show
//! means something only if these pass.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homing_lab::agent::Lines;
use homing_lab::exec;
use homing_lab::nat::{Filtering, Mapping, Nat};
use homing_lab::topology::{Host, Lab, Place, Router};

use crate::harness::{Notes, Scenario};

const fn socket_test(name: &'static str, run: fn(&mut Notes) -> Result<()>) -> Scenario {
    Scenario { name, limit_s: 15, needs_binary: false, run }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    socket_test("flavour_public", |notes| {
        let expected = (Mapping::EndpointIndependent, Filtering::EndpointIndependent);
        promise(notes, Place::Public, expected)
    }),
    socket_test("flavour_full_cone", |notes| behind(notes, Nat::FullCone)),
    socket_test("flavour_port_restricted", |notes| behind(notes, Nat::PortRestricted)),
    socket_test("flavour_symmetric", |notes| behind(notes, Nat::Symmetric)),
    socket_test("flavour_udp_blocked", |notes| behind(notes, Nat::UdpBlocked)),
    socket_test("flavour_cgnat", |notes| {
        promise(notes, Place::Carrier(Nat::PortRestricted), Nat::PortRestricted.promise())
    }),
    socket_test("flavour_cgnat_symmetric", |notes| {
        promise(notes, Place::Carrier(Nat::Symmetric), Nat::Symmetric.promise())
    }),
    socket_test("moves_cable_and_rebinding_do_what_they_say", moves),
];

/// The reflector with its host; killed on drop.
struct Reflector {
    child: Child,
    addresses: [Ipv4Addr; 2],
    _host: Host,
}

impl Drop for Reflector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reflector(lab: &Lab) -> Result<Reflector> {
    let host = lab.host(lab.public())?;
    let addresses = [host.address(), host.extra_address()?];
    let mut command = probe(&host, "reflect", addresses);
    command.stdout(Stdio::null());
    let child = command.spawn().context("starting the reflector")?;
    thread::sleep(Duration::from_millis(50));
    Ok(Reflector { child, addresses, _host: host })
}

fn probe(host: &Host, verb: &str, addresses: [Ipv4Addr; 2]) -> Command {
    let mut command = host.namespace().command(env!("CARGO_BIN_EXE_lab-probe"));
    command.arg(verb).args(addresses.map(|address| address.to_string()));
    command
}

fn classify(host: &Host, reflector: &Reflector) -> Result<String> {
    let text = exec::must(probe(host, "classify", reflector.addresses), "")?;
    Ok(text.trim().to_owned())
}

fn behind(notes: &mut Notes, nat: Nat) -> Result<()> {
    promise(notes, Place::Behind(nat), nat.promise())
}

fn promise(notes: &mut Notes, place: Place, expected: (Mapping, Filtering)) -> Result<()> {
    let lab = Lab::new()?;
    let reflector = reflector(&lab)?;
    let (host, _routers) = lab.host_at(place)?;
    let verdict = classify(&host, &reflector)?;
    let wanted = format!("{:?} {:?}", expected.0, expected.1);
    notes.add(format!("{place:?}: {verdict}"));
    ensure!(verdict == wanted, "{place:?} promises {wanted} and is {verdict}");
    ensure!(tcp_passes(&lab, &host)?, "{place:?} must let TCP out");
    Ok(())
}

/// Whether `host` can open a TCP connection to a public host.
fn tcp_passes(lab: &Lab, host: &Host) -> Result<bool> {
    let server = lab.host(lab.public())?;
    let at = format!("{}:443", server.address());
    let mut accept = server.namespace().command(env!("CARGO_BIN_EXE_lab-probe"));
    let mut child = accept.args(["accept", &at]).spawn()?;
    thread::sleep(Duration::from_millis(50));
    let mut dial = host.namespace().command(env!("CARGO_BIN_EXE_lab-probe"));
    dial.args(["tcp", &at]);
    let finished = exec::run(dial, "", Duration::from_secs(3))?;
    child.kill()?;
    child.wait()?;
    Ok(finished.ok())
}

/// One socket keeps sending; after a rebinding it is seen from the router's new address.
fn rebinding_moves_a_living_flow(
    host: &Host,
    router: &mut Router,
    reflector: &Reflector,
) -> Result<()> {
    let mut command = host.namespace().command(env!("CARGO_BIN_EXE_lab-probe"));
    command.args(["follow", &reflector.addresses[0].to_string()]);
    let seen = Lines::start(command)?;
    let limit = Duration::from_secs(3);
    for turn in ["before", "after"] {
        let (_, line) = seen.next(limit).with_context(|| format!("no answer {turn}"))?;
        let outside = router.wan().to_string();
        ensure!(
            line.starts_with(&outside),
            "{turn} the rebinding: seen from {line}, not {outside}"
        );
        if turn == "before" {
            router.rebind()?;
        }
    }
    Ok(())
}

/// The tools that scenarios change the world with: each must have an effect that a socket sees.
fn moves(notes: &mut Notes) -> Result<()> {
    let lab = Lab::new()?;
    let reflector = reflector(&lab)?;
    let (mut host, mut routers) = lab.host_at(Place::Behind(Nat::PortRestricted))?;
    let silent = "None None";
    host.cable(false)?;
    ensure!(classify(&host, &reflector)? == silent, "a cut cable must carry nothing");
    host.cable(true)?;
    // The kernel announces carrier changes at most once a second.
    let repaired = (0..6).any(|_| classify(&host, &reflector).is_ok_and(|seen| seen != silent));
    ensure!(repaired, "a repaired cable must carry");
    let (address, outside) = (host.address(), routers[0].wan());
    host.readdress()?;
    rebinding_moves_a_living_flow(&host, &mut routers[0], &reflector)?;
    ensure!(host.address() != address && routers[0].wan() != outside, "new addresses");
    ensure!(classify(&host, &reflector)? != silent, "new addresses must work");
    let symmetric = lab.router(Nat::Symmetric, lab.public())?;
    host.move_to(symmetric.lan())?;
    let verdict = classify(&host, &reflector)?;
    notes.add(format!("after a move behind sym: {verdict}"));
    ensure!(verdict == "AddressAndPort AddressAndPort", "moved behind sym, but {verdict}");
    Ok(())
}
