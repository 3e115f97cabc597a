//! Programs that others wrote, between two homes: from nothing to a tool call, and every client of `docs/clients.md`.
//!
//! Their sources and servers are those of the loopback tests (`crates/homing/tests`); here a NAT stands before each side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_lab::agent::{Agent, Lines, Relay, binary};
use homing_lab::exec::{self, Finished};
use homing_lab::nat::Nat::PortRestricted;
use homing_lab::topology::{Lab, Place::Behind};
use tempfile::TempDir;

use crate::harness::{Notes, Scenario, Skip};
use crate::postgres_cluster;
use crate::world::{World, ms, until, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "five_minutes_from_the_binary_to_a_tool_call",
        limit_s: 120,
        needs_binary: true,
        run: five_minutes,
    },
    Scenario {
        name: "programs_of_others_between_two_homes",
        limit_s: 180,
        needs_binary: true,
        run: programs,
    },
];

/// What a newcomer may have to type, and how long the machines may take.
const COMMANDS_MAX: usize = 6;
const MACHINE_TIME: Duration = Duration::from_secs(60);

/// One run of somebody else's program.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

fn five_minutes(notes: &mut Notes) -> Result<()> {
    let python = interpreter("HOMING_AGENT_TOOLS", "mcp").map_err(Skip)?;
    let lab = Lab::new()?;
    let public = lab.host(lab.public())?;
    let (here, _near) = lab.host_at(Behind(PortRestricted))?;
    let (there, _far) = lab.host_at(Behind(PortRestricted))?;
    let (a, b) = (Agent::new(&here, "my-agent")?, Agent::new(&there, "agent-b")?);
    let server = source("python/mcp_server.py");
    let begun = Instant::now();
    let mut script = Script { notes, begun, typed: 1 };
    let relay = Relay::start(&public)?;
    script.show("relay", "relay serve");
    let url = relay.url();
    script.types(&b, &["up", "--hostname", "agent-b", "--relay", url])?;
    let program = [python.to_str().context("path")?, &server];
    script.types(&b, &[&["mcp", "expose", "--"], &program[..]].concat())?;
    script.types(&a, &["up", "--hostname", "my-agent", "--relay", url])?;
    script.types(&a, &["handshake", "agent-b"])?;
    script.types(&b, &["approve", "my-agent", "--allow", "mcp"])?;
    let typed = script.typed;
    // What the client's configuration says; the client starts it.
    let mut client = a.program(&python);
    let steps = r#"[{"do":"tools"},{"do":"call","tool":"add","arguments":{"a":19,"b":23}}]"#;
    client.args([&source("python/mcp_client.py"), "auto", steps]);
    client
        .arg(binary().map_err(anyhow::Error::msg)?)
        .args(["mcp", "connect", "agent-b", "--retry"]);
    let done = finished(client)?;
    let took = begun.elapsed();
    let said: serde_json::Value =
        serde_json::from_str(&done.stdout).context(done.stdout.clone())?;
    let tools = said[0].as_array().context("tools")?;
    ensure!(tools.iter().any(|tool| tool["name"] == "add"), "tools: {said}");
    ensure!(said[1]["content"][0]["text"] == "42", "19 + 23: {said}");
    notes.add(format!("my-agent: client of the MCP SDK starts `homing mcp connect agent-b --retry`: {} tools, 19 + 23 = 42", tools.len()));
    notes.add(format!("{typed} commands, {} from the first to the answer", ms(took)));
    ensure!(typed <= COMMANDS_MAX, "{typed} commands");
    ensure!(took < MACHINE_TIME, "{} of machine time", ms(took));
    Ok(())
}

/// What somebody types, on either machine, each once.
struct Script<'a> {
    notes: &'a mut Notes,
    begun: Instant,
    typed: usize,
}

impl Script<'_> {
    fn types(&mut self, agent: &Agent, arguments: &[&str]) -> Result<()> {
        let done = agent.run(arguments)?;
        let shown =
            arguments.iter().map(|word| if word.starts_with("https://") { "URL" } else { word });
        let shown = shown.collect::<Vec<_>>().join(" ");
        ensure!(done.ok(), "homing {shown}: {}\n{}", done.stderr, agent.log_tail());
        self.typed += 1;
        self.show(agent.name(), &shown);
        Ok(())
    }

    fn show(&mut self, machine: &str, arguments: &str) {
        self.notes.add(format!(
            "{:>5} ms  {machine}$ homing {arguments}",
            self.begun.elapsed().as_millis()
        ));
    }
}

/// Both sides, what they run, and files for it.
struct Pair {
    a: Agent,
    b: Agent,
    folder: TempDir,
    servers: Vec<Lines>,
}

/// How a row of the table ended: what was done, or why it cannot be done on this machine.
type Row = Result<Result<String, String>>;

/// Runs somebody's program in one or more ways.
type Client = fn(&mut Pair) -> Row;

fn programs(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (a, b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let folder = tempfile::Builder::new().prefix("hl-").tempdir()?;
    let mut pair = Pair { a: a.agent, b: b.agent, folder, servers: Vec::new() };
    pair.offer_web()?;
    let rows: [(&str, Client); 11] = [
        ("curl", curl),
        ("Python requests", |pair| pair.python("requests", "clients/requests_client.py")),
        ("Python httpx", |pair| pair.python("httpx", "clients/httpx_client.py")),
        ("Python aiohttp", |pair| pair.python("aiohttp", "clients/aiohttp_client.py")),
        ("Node.js fetch", |pair| node(pair, 18, false)),
        ("Node.js fetch by name", |pair| node(pair, 24, true)),
        ("Go net/http", go),
        ("gRPC (Python)", grpc),
        ("A2A 1.0 (Python SDK)", a2a),
        ("psql", psql),
        ("ssh", ssh),
    ];
    let mut wrong = Vec::new();
    for (name, row) in rows {
        let begun = Instant::now();
        match row(&mut pair) {
            Ok(Ok(how)) => notes.add(format!("{name:<22} {how}, {}", ms(begun.elapsed()))),
            Ok(Err(lack)) => notes.skip(name, &lack),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    Ok(())
}

impl Pair {
    /// A server beside agent-b that says its port first; agent-b exposes it.
    fn serve(&mut self, mut server: Command, name: &str) -> Result<()> {
        server.env("PYTHONDONTWRITEBYTECODE", "1");
        let server = Lines::start(server)?;
        let (_, port) = server.next(PROGRAM_LIMIT).context("a server that says its port")?;
        self.servers.push(server);
        self.b.json(&["expose", &port, "--name", name]).map(drop)
    }

    fn offer_web(&mut self) -> Result<()> {
        let mut server = self.b.program("python3");
        server.arg(source("python/web_server.py")).arg(self.folder.path().join("gate"));
        self.serve(server, "app")
    }

    fn url(&self, key: &str) -> Result<String> {
        let said = self.a.json(&["url", "agent-b", "app"])?;
        Ok(said[key].as_str().with_context(|| format!("{key} in {said}"))?.to_owned() + "x?y")
    }

    /// A client, with the URL as its last argument, posts `hello`.
    fn posts(&self, words: &[&str], named: bool) -> Result<()> {
        let (command, url) = if named {
            let command = self.a.command(&[&["run", "--"], words].concat())?;
            (command, self.url("proxied_url")?)
        } else {
            let mut command = self.a.program(words[0]);
            command.args(&words[1..]);
            (command, self.url("url")?)
        };
        self.posted(command, &url)
    }

    fn posted(&self, mut command: Command, url: &str) -> Result<()> {
        command.arg(url);
        let done = finished(command)?;
        let asker = self.a.node_id()?;
        for part in ["\"method\": \"POST\"", "/x?y", "\"body\": \"hello\"", &asker] {
            ensure!(done.stdout.contains(part), "no {part} in {}", done.stdout);
        }
        Ok(())
    }

    fn both_ways(&self, words: &[&str]) -> Result<String> {
        self.posts(words, false)?;
        self.posts(words, true)?;
        Ok("by path and by name".to_owned())
    }

    fn python(&self, library: &str, program: &str) -> Row {
        match interpreter("HOMING_CLIENT_TOOLS", library) {
            Ok(python) => {
                let words = [python.to_str().context("path")?, &source(program)];
                self.both_ways(&words).map(Ok)
            }
            Err(lack) => Ok(Err(lack)),
        }
    }
}

fn curl(pair: &mut Pair) -> Row {
    if !is_there("curl", "--version") {
        return Ok(Err("it is missing".into()));
    }
    let post = ["curl", "-sS", "--fail", "-d", "hello"];
    pair.both_ways(&post)?;
    let said = pair.a.json(&["url", "agent-b", "app"])?;
    for proxy in ["http_proxy", "socks_proxy"] {
        let mut command = pair.a.program("curl");
        command.args(&post[1..]).args(["-x", said[proxy].as_str().context("a proxy")?]);
        pair.posted(command, &pair.url("proxied_url")?)?;
    }
    Ok(Ok("by path, by name, by proxy and by SOCKS".to_owned()))
}

fn node(pair: &mut Pair, version_min: u32, named: bool) -> Row {
    let mut version = Command::new("node");
    version.arg("--version");
    let version = exec::run(version, "", PROGRAM_LIMIT);
    let major = version.ok().and_then(|done| {
        done.stdout.trim_start_matches('v').split('.').next()?.parse::<u32>().ok()
    });
    if major.is_none_or(|major| major < version_min) {
        return Ok(Err(format!("there is no Node.js from version {version_min} on")));
    }
    pair.posts(&["node", &source("clients/fetch.js")], named)?;
    Ok(Ok(if named { "by name" } else { "by path" }.to_owned()))
}

fn go(pair: &mut Pair) -> Row {
    if !is_there("go", "version") {
        return Ok(Err("`go` is missing".into()));
    }
    let program = pair.folder.path().join("client");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source("clients/client.go"));
    finished(build)?;
    pair.both_ways(&[program.to_str().context("path")?]).map(Ok)
}

fn grpc(pair: &mut Pair) -> Row {
    let python = match interpreter("HOMING_CLIENT_TOOLS", "grpc") {
        Ok(python) => python,
        Err(lack) => return Ok(Err(lack)),
    };
    let mut server = pair.b.program(&python);
    server.arg(source("clients/grpc_server.py"));
    pair.serve(server, "grpc")?;
    let (python, client) = (python.to_str().context("path")?, source("clients/grpc_client.py"));
    let target = "dns:///grpc.agent-b.agent.internal:80";
    let done = finished(pair.a.command(&["run", "--", python, &client, target])?)?;
    ensure!(done.stdout == "hello again\nhello again\nOK word\n", "{}", done.stdout);
    Ok(Ok("by name, a stream each way".to_owned()))
}

fn a2a(pair: &mut Pair) -> Row {
    let python = match interpreter("HOMING_AGENT_TOOLS", "a2a") {
        Ok(python) => python,
        Err(lack) => return Ok(Err(lack)),
    };
    let file = pair.folder.path().join("a2a-port");
    let mut server = pair.b.program(&python);
    server.arg(source("python/a2a_agent.py")).arg(&file).arg("jsonrpc");
    pair.servers.push(Lines::start(server)?);
    until("the A2A agent starts", PROGRAM_LIMIT, || Ok(file.is_file()))?;
    let place = format!("http://127.0.0.1:{}", fs::read_to_string(&file)?);
    pair.b.json(&["a2a", "expose", &place])?;
    let (python, client) = (python.to_str().context("path")?, source("python/a2a_client.py"));
    let card = "http://a2a.agent-b.agent.internal";
    let done = finished(pair.a.command(&["run", "--", python, &client, card, "hello"])?)?;
    ensure!(done.stdout == "you said hello\nand that is all\n", "{}", done.stdout);
    Ok(Ok("by the name in the agent's card".to_owned()))
}

fn psql(pair: &mut Pair) -> Row {
    let Some(program) = postgres_cluster::psql() else { return Ok(Err("no psql".into())) };
    let folder = match postgres_cluster::start_cluster(false) {
        Ok(folder) => folder,
        Err(lack) => return Ok(Err(lack)),
    };
    let target = format!("unix:{}/.s.PGSQL.5432", folder.display());
    pair.b.json(&["expose", &target, "--name", "db"])?;
    let forward = Lines::start(pair.a.command(&["forward", "0", "agent-b:db", "-o", "name"])?)?;
    let (_, place) = forward.next(PROGRAM_LIMIT).context("forward says no place")?;
    let (host, port) = place.rsplit_once(':').context("HOST:PORT")?;
    let mut client = pair.a.program(program);
    client.args(["-X", "-t", "-A", "-U", "postgres", "-h", host, "-p", port, "-c"]);
    client.arg("SELECT count(*), sum(n) FROM generate_series(1, 100000) n");
    let done = finished(client)?;
    ensure!(done.stdout == "100000|5000050000\n", "{}", done.stdout);
    Ok(Ok("by `forward`, to a server on a Unix socket".to_owned()))
}

fn ssh(pair: &mut Pair) -> Row {
    if !["/usr/sbin/sshd", "/usr/bin/ssh"].iter().all(|path| Path::new(path).is_file()) {
        return Ok(Err("openssh-server is not installed".into()));
    }
    let at = |name: &str| pair.folder.path().join(name).display().to_string();
    for key in ["user", "host"] {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        finished(make)?;
    }
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n",
        at("host"),
        at("user.pub")
    );
    fs::write(at("sshd_config"), config)?;
    // Where sshd runs as root it wants this place.
    let _ = fs::create_dir("/run/sshd");
    let serve = ["expose", "--name", "ssh", "--", "/usr/sbin/sshd", "-i", "-f", &at("sshd_config")];
    ensure!(pair.b.run(&serve)?.ok(), "expose sshd");
    let homing = binary().map_err(anyhow::Error::msg)?;
    let proxy = format!("ProxyCommand={} connect agent-b ssh", homing.display());
    let mut client = pair.a.program("/usr/bin/ssh");
    client.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    client.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", &proxy]);
    client.args(["-i", &at("user"), "-l", "root", "agent-b", "echo through; cat"]);
    let done = exec::run(client, "and back", PROGRAM_LIMIT)?;
    ensure!(done.stdout == "through\nand back", "{done:?}");
    Ok(Ok("by `connect` as ProxyCommand".to_owned()))
}

/// Runs somebody else's program to an end that must be good.
fn finished(command: Command) -> Result<Finished> {
    let shown = format!("{command:?}");
    let done = exec::run(command, "", PROGRAM_LIMIT)?;
    ensure!(done.ok(), "{shown}: exit {:?}: {}{}", done.code, done.stdout, done.stderr);
    Ok(done)
}

fn is_there(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument);
    exec::run(command, "", PROGRAM_LIMIT).is_ok_and(|done| done.ok())
}

/// The interpreter of an environment that has a library.
fn interpreter(variable: &str, library: &str) -> Result<PathBuf, String> {
    let named = std::env::var_os(variable).map(|folder| Path::new(&folder).join("bin/python"));
    let named = named.ok_or_else(|| format!("{variable} names no environment with {library}"))?;
    let mut import = Command::new(&named);
    import.args(["-c", &format!("import {library}")]);
    let done = exec::run(import, "", PROGRAM_LIMIT);
    done.is_ok_and(|done| done.ok())
        .then_some(named)
        .ok_or_else(|| format!("no {library} in {variable}"))
}

/// A file of the loopback tests.
fn source(name: &str) -> String {
    format!("{}/../../crates/homing/tests/{name}", env!("CARGO_MANIFEST_DIR"))
}
