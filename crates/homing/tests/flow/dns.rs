//! DNS as programs use it: the real `dig`, a stock resolver library, and bytes that no resolver sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Home, PATIENCE, agent, befriend, relay};

/// An agent that answers DNS on any free port of loopback.
fn answering(name: &str, relay: &str) -> (Home, SocketAddr) {
    let mut home = Home::new();
    let dns = ["--set", "dns.listen=127.0.0.1:0"];
    let place = ["--hostname", name, "--listen", "127.0.0.1:0", "--relay", relay];
    home.start(&[&place[..], &dns].concat());
    let listen = home.json(&["info"])["dns"].as_str().unwrap().parse().unwrap();
    (home, listen)
}

/// The real client; `None`, and a counted line: this machine has none.
fn dig(server: SocketAddr, question: &[&str]) -> Option<String> {
    let mut command = Command::new("dig");
    command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string()]);
    command.args(["+tries=2", "+time=20"]).args(question).env("HOME", "/nonexistent");
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{question:?}: {output:?}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(_) => {
            skip("dig is missing (package bind9-dnsutils)");
            None
        }
    }
}

/// Not through `println!`, whose output a passing test keeps for itself.
fn skip(why: &str) {
    std::io::stdout().write_all(format!("SKIPPED: DNS: {why}\n").as_bytes()).unwrap();
}

fn address(home: &Home) -> String {
    home.json(&["info"])["address"].as_str().unwrap().to_owned()
}

fn ok(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn dig_finds_trusted_peers_by_every_name_and_nobody_else() {
    let (_relay, url) = relay();
    let (asker, dns) = answering("asker", &url);
    let worker = agent("worker", &url);
    let stranger = agent("stranger", &url);
    let (theirs, id) = (address(&worker), worker.node_id());
    let short = |name: &str| dig(dns, &["+short", "AAAA", name]);
    let Some(before) = dig(dns, &["AAAA", "worker.agent.internal"]) else { return };
    ok(&before, &["NXDOMAIN", "SOA"]);
    befriend(&asker, &worker, "worker");
    asker.json(&["name", "alias", "my-worker", "worker"]);
    let by_address = format!("{}.address", theirs.replace(':', "-"));
    for name in ["worker", "WORKER", "mcp.worker", "my-worker", &id[..10], &by_address] {
        let found = short(&format!("{name}.agent.internal")).unwrap();
        assert_eq!(found.trim(), theirs, "{name}");
    }
    let own = short("asker.agent.internal").unwrap();
    assert_eq!(own.trim(), address(&asker));
    // What is not there is an answer of its own: a program asks for both kinds of address.
    ok(&dig(dns, &["A", "worker.agent.internal"]).unwrap(), &["NOERROR", "ANSWER: 0", "SOA"]);
    ok(&dig(dns, &["-x", &theirs]).unwrap(), &["NOERROR", "my-worker.agent.internal."]);
    ok(&dig(dns, &["+tcp", "-x", &address(&asker)]).unwrap(), &["asker.agent.internal."]);
    // Known and not trusted is as if it were not there.
    asker.until_ok(&["resolve", "stranger"]);
    let theirs = address(&stranger);
    let told = dig(dns, &["AAAA", "stranger.agent.internal"]).unwrap();
    ok(&told, &["NXDOMAIN", "EDE: 18", "homing handshake"]);
    ok(&dig(dns, &["-x", &theirs]).unwrap(), &["NXDOMAIN"]);
    // Never forwarded.
    ok(&dig(dns, &["A", "example.com"]).unwrap(), &["REFUSED", "EDE: 20"]);
    ok(&dig(dns, &["-x", "fe80::1"]).unwrap(), &["REFUSED"]);
    // Trust that ends takes the name along.
    asker.json(&["trust", "revoke", "worker", "--yes"]);
    ok(&dig(dns, &["AAAA", "worker.agent.internal"]).unwrap(), &["NXDOMAIN", "EDE: 18"]);
}

#[test]
fn a_name_that_two_claim_is_an_error_with_its_reason() {
    let (_relay, url) = relay();
    let (asker, dns) = answering("asker", &url);
    let twins = [agent("twin", &url), agent("twin", &url)];
    for twin in &twins {
        let id = twin.node_id();
        befriend(&asker, twin, &id);
    }
    let Some(told) = dig(dns, &["AAAA", "twin.agent.internal"]) else { return };
    ok(&told, &["SERVFAIL", "EDE: 0", "homing name alias"]);
    let wanted = twins[1].node_id();
    asker.json(&["name", "alias", "twin", &wanted]);
    let found = dig(dns, &["+short", "AAAA", "twin.agent.internal"]).unwrap();
    assert_eq!(found.trim(), address(&twins[1]));
}

#[test]
fn a_stock_resolver_library_reads_every_kind_of_answer() {
    let tools = std::env::var_os("HOMING_CLIENT_TOOLS");
    let python = tools.map(|t| PathBuf::from(t).join("bin/python"));
    let has = |python: &PathBuf| {
        let mut look = Command::new(python);
        look.args(["-c", "import dns.resolver"]).stderr(Stdio::null());
        look.status().is_ok_and(|status| status.success())
    };
    let Some(python) = python.filter(has) else {
        return skip("HOMING_CLIENT_TOOLS names no environment with dnspython");
    };
    let (_relay, url) = relay();
    let (asker, dns) = answering("asker", &url);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/dns_client.py");
    let mut client = Command::new(python);
    client.env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
    let output = client
        .args([dns.ip().to_string(), dns.port().to_string(), address(&asker)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nonsense_is_refused_and_the_next_question_is_answered() {
    let mut home = Home::new();
    home.start(&[
        "--hostname",
        "planner",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "dns.listen=127.0.0.1:0",
    ]);
    let dns: SocketAddr = home.json(&["info"])["dns"].as_str().unwrap().parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(dns).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..300_u32 {
        let mut bytes = question(u16::try_from(round).unwrap());
        // xorshift: which byte becomes what.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = (seed >> 8) as usize % bytes.len();
        bytes[at] = seed as u8;
        bytes.truncate(1 + (seed >> 32) as usize % bytes.len());
        socket.send(&bytes).unwrap();
    }
    // A response is no question: two servers would answer each other for ever.
    let mut response = question(7);
    response[2] |= 0x80;
    socket.send(&response).unwrap();
    let answer = ask(&socket, 0xbeef);
    assert_eq!(answer[3] & 0x0f, 0, "{answer:?}");
    assert_eq!(&answer[answer.len() - 16..][..1], [0xfd]);
    // A length that no question has ends the connection.
    let mut stream = TcpStream::connect(dns).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&u16::MAX.to_be_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    let mut framed = question(9);
    framed.splice(0..0, (framed.len() as u16).to_be_bytes());
    let mut stream = TcpStream::connect(dns).unwrap();
    stream.write_all(&[framed.clone(), framed].concat()).unwrap();
    for _ in 0..2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[..2], [0, 9]);
    }
}

/// AAAA of `planner.agent.internal`, without EDNS: the address ends the answer.
fn question(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in ["planner", "agent", "internal"] {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 28, 0, 1]);
    bytes
}

fn ask(socket: &UdpSocket, id: u16) -> Vec<u8> {
    let mut buffer = [0; 1_500];
    let deadline = Instant::now() + PATIENCE;
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send(&question(id)).unwrap();
    while Instant::now() < deadline {
        match socket.recv(&mut buffer) {
            Ok(length) if buffer[..2] == id.to_be_bytes() => return buffer[..length].to_vec(),
            // Answers to the nonsense before it come first.
            Ok(_) => {}
            // Dropped while the nonsense was in work, as a resolver's would be: asked again.
            Err(_) => drop(socket.send(&question(id)).unwrap()),
        }
    }
    panic!("no answer");
}

#[test]
fn a_port_that_is_taken_is_a_condition_and_setup_prints_what_to_write() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut home = Home::new();
    let error = home.failure(&["dns", "setup", "--print"]);
    assert_eq!((error["code"].as_str(), error["exit"].as_u64()), (Some("not_found"), Some(3)));
    let listen = format!("dns.listen={}", taken.local_addr().unwrap());
    home.start(&["--hostname", "planner", "--listen", "127.0.0.1:0", "--set", &listen]);
    let info = home.json(&["info"]);
    assert_eq!(info["dns"], Value::Null);
    let codes: Vec<_> = info["health"].as_array().unwrap().iter().map(|h| &h["code"]).collect();
    assert!(codes.iter().any(|code| *code == "dns_off"), "{codes:?}");
    home.json(&["config", "set", "dns.listen", "127.0.0.1:5354"]);
    let setup = home.json(&["dns", "setup", "--print"]);
    assert_eq!(setup["schema"], "homing.dns_setup/v1");
    let text = setup["files"][0]["text"].as_str().unwrap();
    ok(text, &["DNS=127.0.0.1:5354", "~agent.internal"]);
}
