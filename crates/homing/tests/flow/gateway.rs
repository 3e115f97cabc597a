//! Programs that know nothing of Homing reach an agent's service through the gateway. Each row of `docs/clients.md` is a test here.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{self, Finished, Home, PATIENCE, Running, agent, befriend, listening, relay};

/// One HTTP/1.1 connection on stdin and stdout: tells what was asked, and two events with a pause that only the client ends.
const SERVICE: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler
class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        self.rfile, self.wfile, self.connection = sys.stdin.buffer, sys.stdout.buffer, None
    def finish(self): pass
    def log_message(self, *args): pass
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        text = "%s %s %s %s" % (self.command, self.path, self.headers["host"], body)
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
        self.wfile.flush()
    do_GET = do_POST = answer
Service(None, ("127.0.0.1", 0), None)
"#;

/// What a stream brings, to a port of this machine and back.
const BRIDGE: &str = r#"
import os, socket, sys, threading
far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def back():
    while data := far.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back).start()
while data := os.read(0, 65536):
    far.sendall(data)
far.shutdown(socket.SHUT_WR)
"#;

/// `my-agent` trusts and reaches `agent-b`, which offers the service `app`.
struct World {
    listeners: Vec<Running>,
    me: Home,
    other: Home,
    children: Vec<Child>,
    _relay: Home,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl World {
    /// `None`, and said so, without Python: the service is written in it.
    fn new(test: &str) -> Option<Self> {
        if Command::new("python3").arg("--version").output().is_err() {
            skip(&format!("{test}: `python3` is missing"));
            return None;
        }
        let (relay, url) = relay();
        let (me, other) = (agent("my-agent", &url), agent("agent-b", &url));
        befriend(&me, &other, "agent-b");
        let mut world =
            Self { listeners: Vec::new(), me, other, children: Vec::new(), _relay: relay };
        world.listen("app", SERVICE, "");
        let deadline = Instant::now() + PATIENCE;
        while !world.get().starts_with("HTTP/1.1 200 ") {
            assert!(Instant::now() < deadline, "{}", world.get());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(world)
    }

    /// `agent-b` offers a service: a Python program on each stream.
    fn listen(&mut self, service: &str, program: &str, argument: &str) {
        let script = self.other.path(&format!("{service}.py"));
        std::fs::write(&script, program).unwrap();
        let exec = format!("exec python3 {} {argument}", script.display());
        self.listeners.push(listening(&self.other, &[service, "--exec", &exec]));
    }

    /// A server of this machine that says its port first; `agent-b` offers it.
    fn serve(&mut self, service: &str, python: &str, program: &str) {
        let mut server = Command::new(python);
        let server = server.args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap();
        self.children.push(server);
        let said = self.children.last_mut().unwrap().stdout.take().unwrap();
        let mut port = String::new();
        std::io::BufReader::new(said).read_line(&mut port).unwrap();
        self.listen(service, BRIDGE, port.trim());
    }

    /// What `homing url agent-b app --json` says.
    fn url(&self, key: &str) -> String {
        self.me.json(&["url", "agent-b", "app"])[key].as_str().unwrap().to_owned()
    }

    /// A plain request of the path router; the whole answer.
    fn get(&self) -> String {
        let url = self.url("url");
        let (host, path) = url["http://".len()..].split_at(url[7..].find('/').unwrap());
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A program of its own, without a proxy in its environment.
    fn plain(&self, program: &str, args: &[&str]) -> Finished {
        let mut command = Command::new(program);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        support::finished(command.args(args).output().unwrap())
    }

    /// The program by `homing run`.
    fn run(&self, args: &[&str]) -> Finished {
        self.me.run(&[&["run", "--"], args].concat())
    }
}

/// Not through `println!`, whose output a passing test keeps for itself.
fn skip(what: &str) {
    std::io::stdout().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

/// The path form: `homing url` pasted into any client.
fn is_answer(done: &Finished, asked: &str) {
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains(asked), "{done:?}");
}

const ASKED: &str = "POST /x?y app.agent-b.agent.internal hello";

#[test]
fn curl_by_path_proxy_and_socks() {
    if Command::new("curl").arg("--version").output().is_err() {
        skip("curl: it is missing");
        return;
    }
    let Some(world) = World::new("curl") else { return };
    let (path, proxied) = (world.url("url") + "x?y", world.url("proxied_url") + "x?y");
    let (proxy, socks) = (world.url("http_proxy"), world.url("socks_proxy"));
    let post = ["-sS", "--fail", "-d", "hello"];
    let curl = |args: &[&str]| world.plain("curl", &[&post, args].concat());
    is_answer(&curl(&[&path]), ASKED);
    is_answer(&curl(&["-x", &proxy, &proxied]), ASKED);
    is_answer(&curl(&["-x", &proxy, "--proxytunnel", &proxied]), ASKED);
    is_answer(&curl(&["-x", &socks, &proxied]), ASKED);
    is_answer(&curl(&["--http1.0", &path]), ASKED);
    is_answer(&world.run(&[&["curl"], &post[..], &[&proxied]].concat()), ASKED);
    let found = world.me.json(&["resolve", "agent-b"]);
    let address = found["address"].as_str().unwrap();
    let by_address = world.me.json(&["url", address, "app"])["url"].as_str().unwrap().to_owned();
    assert_eq!(curl(&[&by_address]).code, 0);

    let missing = curl(&["-i", &path.replace("/app/", "/nothing/")]);
    assert_eq!(missing.code, 22, "{missing:?}");
    let missing = world.plain("curl", &["-sS", &path.replace("/app/", "/nothing/")]);
    assert!(missing.stdout.contains("\"code\":\"no_such_service\""), "{missing:?}");
    let nobody = world.run(&["curl", "-sS", "http://app.nobody.agent.internal/"]);
    assert!(nobody.stdout.contains("\"code\":\"not_found\""), "{nobody:?}");
}

/// The interpreter that has a library; `None`, and said so, when there is none.
fn python(library: &str) -> Option<PathBuf> {
    let tools =
        std::env::var_os("HOMING_CLIENT_TOOLS").map(|t| PathBuf::from(t).join("bin/python"));
    let has = |python: &PathBuf| {
        let import = format!("import {library}");
        Command::new(python).args(["-c", &import]).output().is_ok_and(|o| o.status.success())
    };
    let found = tools.into_iter().chain(["python3".into()]).find(has);
    if found.is_none() {
        skip(&format!("{library}: no Python here has it"));
    }
    found
}

/// A Python client: by path without settings, by name as `homing run` sets it up.
fn python_client(library: &str, program: &str) {
    let Some(python) = python(library) else { return };
    let Some(world) = World::new(library) else { return };
    let python = python.to_str().unwrap();
    let path = world.url("url") + "x?y";
    is_answer(&world.plain(python, &["-c", program, &path]), ASKED);
    let proxied = world.url("proxied_url") + "x?y";
    is_answer(&world.run(&[python, "-c", program, &proxied]), ASKED);
}

#[test]
fn python_requests() {
    python_client("requests", include_str!("../clients/requests_client.py"));
}

#[test]
fn python_httpx() {
    python_client("httpx", include_str!("../clients/httpx_client.py"));
}

#[test]
fn python_aiohttp() {
    python_client("aiohttp", include_str!("../clients/aiohttp_client.py"));
}

/// Repeats a client until the service listens: `homing listen` takes a moment.
fn until_ok(client: impl Fn() -> Finished) -> Finished {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let done = client();
        if done.code == 0 || Instant::now() > deadline {
            return done;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn python_websockets() {
    let Some(python) = python("websockets") else { return };
    let Some(mut world) = World::new("websockets") else { return };
    let python = python.to_str().unwrap();
    let server = "
import asyncio, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message + ' again')
async def main():
    async with websockets.serve(echo, '127.0.0.1', 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()
asyncio.run(main())";
    let client = "
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        for _ in range(2):
            await socket.send('hello')
            print(await socket.recv())
asyncio.run(main())";
    world.serve("ws", python, server);
    let urls = world.me.json(&["url", "agent-b", "ws"]);
    let ws = |key: &str| urls[key].as_str().unwrap().replace("http://", "ws://");
    let twice = "hello again\nhello again\n";
    is_answer(&until_ok(|| world.plain(python, &["-c", client, &ws("url")])), twice);
    is_answer(&world.run(&[python, "-c", client, &ws("proxied_url")]), twice);
}

#[test]
fn python_grpc() {
    let Some(python) = python("grpc") else { return };
    let Some(mut world) = World::new("gRPC") else { return };
    let python = python.to_str().unwrap();
    let server = include_str!("../clients/grpc_server.py");
    let client = include_str!("../clients/grpc_client.py");
    world.serve("grpc", python, server);
    let run = ["run", "--", python, "-c", client, "dns:///grpc.agent-b.agent.internal:80"];
    is_answer(&until_ok(|| world.me.run(&run)), "hello again\nhello again\nOK word\n");
}

const FETCH: &str = include_str!("../clients/fetch.js");

/// The major version of Node.js here.
fn node() -> Option<u32> {
    let version = Command::new("node").arg("--version").output().ok()?;
    String::from_utf8(version.stdout).ok()?.trim_start_matches('v').split('.').next()?.parse().ok()
}

#[test]
fn node_fetch_by_path() {
    if node().is_none_or(|major| major < 18) {
        skip("Node.js fetch: there is no Node.js from version 18 on");
        return;
    }
    let Some(world) = World::new("Node.js fetch") else { return };
    is_answer(&world.plain("node", &["-e", FETCH, &(world.url("url") + "x?y")]), ASKED);
}

#[test]
fn node_fetch_by_name() {
    if node().is_none_or(|major| major < 24) {
        skip("Node.js fetch through a proxy: there is no Node.js from version 24 on");
        return;
    }
    let Some(world) = World::new("Node.js fetch through a proxy") else { return };
    is_answer(&world.run(&["node", "-e", FETCH, &(world.url("proxied_url") + "x?y")]), ASKED);
}

const GO: &str = include_str!("../clients/client.go");

#[test]
fn go_net_http() {
    if Command::new("go").arg("version").output().is_err() {
        skip("Go net/http: `go` is missing");
        return;
    }
    let Some(world) = World::new("Go net/http") else { return };
    let (source, program) = (world.me.path("main.go"), world.me.path("client"));
    std::fs::write(&source, GO).unwrap();
    let (source, program) = (source.to_str().unwrap(), program.to_str().unwrap());
    let built = world.plain("go", &["build", "-o", program, source]);
    assert_eq!(built.code, 0, "{built:?}");
    is_answer(&world.plain(program, &[&(world.url("url") + "x?y")]), ASKED);
    is_answer(&world.run(&[program, &(world.url("proxied_url") + "x?y")]), ASKED);
}

#[test]
fn run_is_the_program_and_mesh_only_keeps_it_among_agents() {
    let mut home = Home::new();
    home.start(&["--listen", "127.0.0.1:0"]);
    assert_eq!(home.run(&["run", "--", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(home.run(&["run", "sh", "-c", "exit 8"]).code, 8);
    let missing = home.run(&["--json", "run", "--", "no-such-program"]);
    assert_eq!((&missing.error()["code"], missing.code), (&"not_found".into(), 3));
    let proxy = home.run(&["run", "--mesh-only", "--", "sh", "-c", "echo $HTTPS_PROXY"]).stdout;
    let (_, host) = proxy.trim().split_once("mesh-only@").unwrap();

    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = elsewhere.local_addr().unwrap();
    let connect = |credentials: &str| {
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status).into_owned()
    };
    assert_eq!(connect(""), "HTTP/1.1 200");
    assert_eq!(connect("Proxy-Authorization: Basic bWVzaC1vbmx5Og==\r\n"), "HTTP/1.1 403");
}

#[test]
fn every_daemon_has_a_port_and_a_busy_one_is_said() {
    let mut home = Home::new();
    home.start(&["--listen", "127.0.0.1:0", "--set", "gateway.listen=127.0.0.1:0"]);
    let served = home.json(&["info"])["gateway"].clone();
    let url = served["url"].as_str().unwrap().to_owned();
    let shown = home.run(&["url", "agent-b"]);
    assert_eq!(shown.stdout, format!("{url}/@agent-b/http/\n"), "{shown:?}");
    assert!(home.run(&["info"]).stdout.contains(&url));
    assert_eq!(home.failure(&["url", "not a name"])["code"], "usage");

    let listen = served["listen"].as_str().unwrap();
    let mut second = Home::new();
    second.start(&["--listen", "127.0.0.1:0", "--set", &format!("gateway.listen={listen}")]);
    let info = second.json(&["info"]);
    assert_eq!(info["gateway"], serde_json::Value::Null);
    let health = info["health"].as_array().unwrap();
    assert!(health.iter().any(|item| item["code"] == "gateway_off"), "{health:?}");
    assert_eq!(second.failure(&["url", "agent-b"])["code"], "not_found");
    let refused = Home::new().failure(&["daemon", "run", "--set", "gateway.listen=0.0.0.0:7420"]);
    assert_eq!(refused["code"], "config_invalid");
}

#[test]
fn who_is_no_longer_trusted_is_cut_off_at_once() {
    let Some(world) = World::new("revocation") else { return };
    assert!(world.get().starts_with("HTTP/1.1 200 "), "over a stream that is kept");
    world.other.json(&["trust", "revoke", "my-agent", "--yes"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = world.get();
        assert!(!answer.starts_with("HTTP/1.1 200 "), "revoked: {answer}");
        if answer.starts_with("HTTP/1.1 403 ") && answer.contains("peer_not_trusted") {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}");
    }
}
