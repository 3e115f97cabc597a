//! The network interface (`homing up --tun`) between hosts behind NATs, used by programs that know nothing of Homing:
//! `ping`, `curl` and sockets. And who gets nothing through it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use homing_lab::agent::Agent;
use homing_lab::exec;
use homing_lab::nat::Nat::PortRestricted;
use homing_lab::topology::{Host, Place, Place::Behind, Place::Public};

use crate::harness::{Notes, Scenario, Skip};
use crate::world::{Seat, World, introduce, until, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "tun_carries_ping_http_and_bulk_between_nats",
        limit_s: 150,
        needs_binary: true,
        run: carries,
    },
    Scenario {
        name: "tun_gives_nothing_to_the_untrusted_the_spoofing_and_the_revoked",
        limit_s: 150,
        needs_binary: true,
        run: refuses,
    },
    Scenario {
        name: "tun_leaves_nothing_behind_and_says_what_it_needs",
        limit_s: 90,
        needs_binary: true,
        run: leaves,
    },
];

/// What the scenarios call, and the package that has it.
const TOOLS: [(&str, &str); 4] =
    [("ping", "iputils-ping"), ("curl", "curl"), ("python3", "python3"), ("setpriv", "util-linux")];
/// Bytes of the bulk transfer.
const BULK_BYTES: usize = 8 * 1024 * 1024;

/// Serves `bulk` of the directory by HTTP on an address.
const SERVER: &str = "import http.server, socket, sys
class Six(http.server.ThreadingHTTPServer): address_family = socket.AF_INET6
handler = http.server.SimpleHTTPRequestHandler
Six((sys.argv[1], 8080), handler).serve_forever()";

/// Sends a datagram back.
const ECHO: &str = "import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((sys.argv[1], 9000))
while True:
  data, who = s.recvfrom(65535); s.sendto(data, who)";

/// Asks it, also with more than one packet takes.
const ASK: &str = "import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(2)
for size in (1, 1232, 4000):
  for attempt in range(10):
    s.sendto(b'x' * size, (sys.argv[1], 9000))
    try: assert len(s.recv(65535)) == size; break
    except TimeoutError: pass
  else: raise SystemExit(f'{size} bytes did not come back')";

fn check_tools() -> Result<()> {
    for (tool, package) in TOOLS {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output()?;
        if !found.status.success() {
            bail!(Skip(format!("`{tool}` is missing (package {package})")));
        }
    }
    match Path::new("/dev/net/tun").exists() {
        true => Ok(()),
        false => bail!(Skip("this system has no /dev/net/tun".to_owned())),
    }
}

/// The lab's hosts are IPv4 only; devices made from now on are not.
fn allow_ipv6(host: &Host) -> Result<()> {
    let mut shell = host.namespace().command("sh");
    shell.args([
        "-c",
        "cd /proc/sys/net/ipv6/conf; echo 0 > default/disable_ipv6; echo 0 > lo/disable_ipv6",
    ]);
    exec::must(shell, "").map(drop)
}

fn with_interface(world: &World, place: Place, name: &str) -> Result<Seat> {
    let mut seat = world.seat(place, name)?;
    allow_ipv6(&seat.host)?;
    seat.agent.start(&world.all_relays(), &["--tun"])?;
    Ok(seat)
}

fn address(agent: &Agent) -> Result<String> {
    let info = agent.json(&["info"])?;
    info["address"].as_str().map(str::to_owned).context("address")
}

/// A program on a host, ended when dropped.
struct Program(Child);

impl Program {
    fn start(host: &Host, dir: &Path, script: &str, argument: &str) -> Result<Self> {
        let mut command = host.namespace().command("python3");
        command.args(["-c", script, argument]).current_dir(dir);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(quiet.spawn()?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a program on a host to its end.
fn on(host: &Host, program: &str, arguments: &[&str]) -> Result<exec::Finished> {
    let mut command = host.namespace().command(program);
    command.args(arguments);
    exec::run(command, "", Duration::from_secs(60))
}

/// Whether `count` of as many pings come back.
fn ping(host: &Host, to: &str, count: u32) -> Result<exec::Finished> {
    let count = count.to_string();
    on(host, "ping", &["-6", "-n", "-c", &count, "-i", "0.2", "-W", "5", to])
}

fn carried(agent: &Agent, direction: &str) -> Result<u64> {
    let tun = agent.json(&["status"])?["tun"].clone();
    tun[direction].as_u64().with_context(|| format!("{direction} in {tun}"))
}

fn dropped(agent: &Agent, why: &str) -> Result<u64> {
    Ok(agent.json(&["status"])?["tun"]["dropped"][why].as_u64().unwrap_or(0))
}

fn carries(notes: &mut Notes) -> Result<()> {
    check_tools()?;
    let world = World::with_relays(1)?;
    let a = with_interface(&world, Behind(PortRestricted), "agent-a")?;
    let b = with_interface(&world, Behind(PortRestricted), "agent-b")?;
    introduce(&a.agent, &b.agent)?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(10))?;
    let there = address(&b.agent)?;
    until("the first ping comes back", Duration::from_secs(20), || {
        Ok(ping(&a.host, &there, 1)?.ok())
    })?;
    let pings = ping(&a.host, &there, 10)?;
    ensure!(pings.ok() && pings.stdout.contains(" 0% packet loss"), "{}", pings.stdout);
    notes.add(pings.stdout.lines().last().unwrap_or_default());
    let dir = tempfile::tempdir()?;
    let bulk: Vec<u8> = (0..BULK_BYTES).map(|i| ((i * 31) >> 7) as u8).collect();
    std::fs::write(dir.path().join("bulk"), &bulk)?;
    let _server = Program::start(&b.host, dir.path(), SERVER, &there)?;
    let _echo = Program::start(&b.host, dir.path(), ECHO, &there)?;
    let got = dir.path().join("got");
    let url = format!("http://[{there}]:8080/bulk");
    let fetch =
        ["-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-m", "60", "-o"];
    let fetch =
        [&fetch[..], &[got.to_str().context("path")?, "-w", "%{speed_download}", &url]].concat();
    let fetched = on(&a.host, "curl", &fetch)?;
    ensure!(fetched.ok(), "curl: {}", fetched.stderr);
    ensure!(std::fs::read(&got)? == bulk, "other bytes arrived");
    let speed: f64 = fetched.stdout.trim().parse()?;
    notes.add(format!("HTTP by address: {BULK_BYTES} bytes at {:.0} Mbit/s", speed * 8.0 / 1e6));
    let asked = on(&a.host, "python3", &["-c", ASK, &there])?;
    ensure!(asked.ok(), "UDP: {}", asked.stderr);
    let (sent, received) = (carried(&b.agent, "sent_bytes")?, carried(&a.agent, "received_bytes")?);
    ensure!(sent >= BULK_BYTES as u64 && received >= BULK_BYTES as u64, "{sent} and {received}");
    ensure!(dropped(&a.agent, "spoofed")? + dropped(&a.agent, "malformed")? == 0, "drops");
    moves(notes, &world, &a, b)
}

/// The address moves to another host, and packets follow it.
fn moves(notes: &mut Notes, world: &World, a: &Seat, mut b: Seat) -> Result<()> {
    let there = address(&b.agent)?;
    let (host, _routers) = world.lab.host_at(Behind(PortRestricted))?;
    allow_ipv6(&host)?;
    let mut again = b.agent.copied_to(&host)?;
    b.agent.kill()?;
    let gone = Instant::now();
    again.start(&world.all_relays(), &["--tun"])?;
    // A packet that is lost must cost no more than itself.
    let one = ["-6", "-n", "-c", "1", "-W", "0.1", &there];
    until("packets follow", Duration::from_secs(30), || Ok(on(&a.host, "ping", &one)?.ok()))?;
    notes.add(format!(
        "kill -9 and start elsewhere, to the next ping: {:.1} s",
        gone.elapsed().as_secs_f32()
    ));
    Ok(())
}

fn refuses(notes: &mut Notes) -> Result<()> {
    check_tools()?;
    let world = World::with_relays(1)?;
    let a = with_interface(&world, Public, "agent-a")?;
    let b = with_interface(&world, Public, "agent-b")?;
    let stranger = with_interface(&world, Public, "stranger")?;
    let scoped = with_interface(&world, Public, "scoped")?;
    introduce(&a.agent, &b.agent)?;
    let (here, there) = (address(&a.agent)?, address(&b.agent)?);
    until("a reaches b", Duration::from_secs(20), || Ok(ping(&a.host, &there, 1)?.ok()))?;
    // Untrusted: neither in nor out, and the program is told at once.
    stranger.agent.json(&["resolve", "agent-b"])?;
    let before = carried(&b.agent, "received_packets")?;
    for (host, to) in [(&stranger.host, &there), (&b.host, &address(&stranger.agent)?)] {
        let refused = ping(host, to, 2)?;
        ensure!(!refused.ok(), "{}", refused.stdout);
        ensure!(refused.stdout.contains("Administratively prohibited"), "{}", refused.stdout);
    }
    ensure!(carried(&stranger.agent, "sent_packets")? == 0, "the stranger sent packets");
    // Trusted for something else.
    let id = scoped.agent.node_id()?;
    until("found", Duration::from_secs(20), || {
        Ok(scoped.agent.run(&["resolve", "agent-b"])?.ok())
    })?;
    scoped.agent.json(&["handshake", "agent-b", "--allow", "mcp"])?;
    until("approved", Duration::from_secs(20), || {
        Ok(b.agent.run(&["approve", &id, "--allow", "mcp", "--json"])?.ok())
    })?;
    scoped.agent.json(&["wait", "trusted", "agent-b", "--timeout", "10s"])?;
    let refused = ping(&scoped.host, &there, 2)?;
    ensure!(refused.stdout.contains("Administratively prohibited"), "{}", refused.stdout);
    // Another source than the own address stays at home.
    a.host.namespace().ip("address add fd99::1/128 dev homing0")?;
    let spoofed = on(&a.host, "ping", &["-6", "-c", "2", "-W", "1", "-I", "fd99::1", &there])?;
    ensure!(!spoofed.ok(), "{}", spoofed.stdout);
    ensure!(dropped(&a.agent, "not_ours")? >= 2, "spoofed packets are counted");
    ensure!(carried(&b.agent, "received_packets")? == before, "somebody else's packets arrived");
    // Revoked: from one packet to the next.
    ensure!(ping(&b.host, &here, 2)?.ok(), "b reaches a");
    b.agent.json(&["trust", "revoke", "agent-a", "--yes"])?;
    let after = carried(&b.agent, "received_packets")?;
    let revoked = ping(&a.host, &there, 3)?;
    ensure!(!revoked.ok(), "{}", revoked.stdout);
    let late = carried(&b.agent, "received_packets")? - after;
    notes.add(format!("packets that arrived after the revocation: {late}"));
    ensure!(late == 0, "{late} packets of a revoked peer arrived");
    ensure!(!ping(&b.host, &here, 1)?.ok(), "b still reaches a");
    Ok(())
}

fn leaves(_: &mut Notes) -> Result<()> {
    check_tools()?;
    let world = World::with_relays(1)?;
    let mut a = with_interface(&world, Public, "agent-a")?;
    let has_device =
        |host: &Host| Ok::<_, anyhow::Error>(on(host, "ip", &["link", "show", "homing0"])?.ok());
    ensure!(has_device(&a.host)?, "there is an interface");
    let route = on(&a.host, "ip", &["-6", "route", "show", "fd00::/8"])?;
    ensure!(route.stdout.contains("dev homing0"), "{}", route.stdout);
    a.agent.stop()?;
    ensure!(!has_device(&a.host)?, "it is gone with the daemon");
    a.agent.start(&world.all_relays(), &["--tun"])?;
    ensure!(has_device(&a.host)?, "it is there again");
    a.agent.kill()?;
    until("it is gone after kill -9", Duration::from_secs(10), || Ok(!has_device(&a.host)?))?;
    let binary = homing_lab::agent::binary().map_err(anyhow::Error::msg)?;
    let mut powerless = a.host.namespace().command("setpriv");
    powerless.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]).arg(binary);
    powerless.args(["daemon", "run", "--tun", "--json"]).env("HOMING_HOME", a.agent.home());
    let refused = exec::run(powerless, "", Duration::from_secs(20))?;
    ensure!(!refused.ok() && !refused.timed_out, "it started without the right to");
    let error = refused.stderr.lines().last().unwrap_or_default();
    ensure!(error.contains("permission_denied") && error.contains("CAP_NET_ADMIN"), "{error}");
    // And what it refused has left nothing behind.
    a.agent.start(&world.all_relays(), &[])?;
    ensure!(!has_device(&a.host)?, "no interface was asked for");
    Ok(())
}
