//! MCP through the mesh, with the official Python SDK at both ends: on stdio and over Streamable HTTP, across breaks,
//! and this agent's own operations as tools.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::python::{self, Program, python, script};
use crate::support::{Finished, Home, PATIENCE, agent, befriend, converse_with, finished, relay};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mcp.md");
const REVISIONS: [(&str, &str); 2] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")];

/// The SDK's client, which starts `homing` with `args` as its stdio server.
fn client(home: &Home, mode: &str, steps: &Value, args: &[&str]) -> Command {
    let server = home.command(args);
    let mut command = Command::new(python().unwrap());
    command.arg(script("mcp_client.py")).args([mode, &steps.to_string()]);
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The answers to `steps`.
fn ask(home: &Home, mode: &str, steps: &Value, args: &[&str]) -> Vec<Value> {
    answers(finished(client(home, mode, steps, args).output().unwrap()))
}

fn answers(done: Finished) -> Vec<Value> {
    assert_eq!(done.code, 0, "{done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

/// A client that waits at its step `wait` for the test.
struct Waiting {
    child: Child,
    input: ChildStdin,
}

impl Waiting {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"waiting\"") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the client ended early");
        }
        // Nobody may be stopped by a full pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let input = child.stdin.take().unwrap();
        Self { child, input }
    }

    fn go_on(mut self) -> Vec<Value> {
        self.input.write_all(b"\n").unwrap();
        drop(self.input);
        answers(finished(self.child.wait_with_output().unwrap()))
    }
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "do": "call", "tool": tool, "arguments": arguments })
}

/// Tools are listed and called, and what a tool says on its way arrives.
fn uses_the_porter(home: &Home, target: &str) {
    for (mode, version) in REVISIONS {
        let steps = json!([{ "do": "version" }, { "do": "tools" }, call("add", json!({ "a": 2, "b": 3 })), call("steps", json!({ "count": 3 }))]);
        let answers = ask(home, mode, &steps, &["mcp", "connect", target]);
        assert_eq!(answers[0], version);
        let names: Vec<_> = answers[1].as_array().unwrap().iter().map(|t| &t["name"]).collect();
        assert_eq!(names, ["add", "who", "steps", "sleep", "leave"]);
        assert_eq!(answers[2]["structuredContent"]["result"], 5);
        assert_eq!(answers[3]["progress"], json!(["step 1", "step 2", "step 3"]), "{mode}");
    }
}

fn pair() -> (Home, Home, Home, String) {
    let (relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    (relay, a, b, url)
}

fn expose_porter(home: &Home) {
    let (python, server) = (python().unwrap(), script("mcp_server.py"));
    let done = expose(home, &[python.to_str().unwrap(), server.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
}

/// What follows `--` is the server's.
fn expose(home: &Home, command: &[&str]) -> Finished {
    home.run(&[&["mcp", "expose", "--json", "--"], command].concat())
}

#[test]
fn a_stdio_server_is_used_from_the_other_side_and_outlives_every_restart() {
    if python().is_none() {
        return python::skip("MCP on stdio");
    }
    let (_relay, a, mut b, url) = pair();
    expose_porter(&b);
    uses_the_porter(&a, "agent-b");

    let retry = ["mcp", "connect", "agent-b", "--retry"];
    let who = || call("who", json!({}));
    // The first request after it may meet the dead connection: then it is answered with an error.
    let steps = json!([who(), { "do": "wait", "for": "a restart" }, who(), who()]);
    for (mode, _) in REVISIONS {
        let waiting = Waiting::start(client(&a, mode, &steps, &retry));
        b.kill();
        b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
        let answers = waiting.go_on();
        let [before, after] = [0, 3].map(|i| {
            answers[i]["content"][0]["text"]
                .as_str()
                .unwrap_or_else(|| panic!("{answers:?}"))
                .to_owned()
        });
        assert_ne!(before, after, "another process");
        assert!(before.ends_with(&a.node_id()), "{before}");
    }

    // Whether it was done nobody knows: the client is told, and the next request is answered.
    let steps = json!([call("leave", json!({})), call("add", json!({ "a": 1, "b": 1 }))]);
    let answers = ask(&a, "auto", &steps, &retry);
    assert!(answers[0]["error"]["message"].as_str().unwrap().contains("ended"), "{answers:?}");
    assert_eq!(answers[1]["structuredContent"]["result"], 2);
    let alone = a.command(&["mcp", "connect", "agent-b", "--json"]);
    let done = said_and_gone(alone, br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"leave","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#);
    assert_eq!((done.code, &done.error()["code"]), (7, &json!("stream_broken")));
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&told["id"], &told["error"]["data"]["code"]), (&json!(1), &json!("stream_broken")));
}

/// One line into a program whose input then stays open until it ends.
fn said_and_gone(mut command: Command, line: &[u8]) -> Finished {
    let mut child = converse_with(&mut command);
    let mut input = child.stdin.take().unwrap();
    input.write_all(&[line, b"\n"].concat()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(input);
    finished(child.wait_with_output().unwrap())
}

#[test]
fn streamable_http_servers_pass_with_sessions_and_without() {
    if python().is_none() {
        return python::skip("MCP over HTTP");
    }
    let (_relay, a, b, _) = pair();
    for (name, how) in [("sessions", None), ("stateless", Some("stateless"))] {
        let mut server = Program::with_port("mcp_server.py", &b.path(name), &["http"], how);
        let url = format!("http://127.0.0.1:{}/mcp", server.port);
        assert_eq!(b.json(&["mcp", "expose", "--name", name, "--url", &url])["changed"], true);
        assert_eq!(b.json(&["mcp", "expose", "--name", name, "--url", &url])["changed"], false);
        uses_the_porter(&a, &format!("agent-b/{name}"));

        // The process that knew the session is gone; another one has its port.
        let target = format!("agent-b/{name}");
        let args = ["mcp", "connect", &target];
        let steps = json!([call("who", json!({})), { "do": "wait", "for": "a restart" }, call("who", json!({}))]);
        for (mode, _) in REVISIONS {
            let waiting = Waiting::start(client(&a, mode, &steps, &args));
            server = server.again();
            let answers = waiting.go_on();
            let [before, after] = [0, 2].map(|i| {
                answers[i]["content"][0]["text"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{answers:?}"))
                    .to_owned()
            });
            assert_ne!(before, after, "{mode}: another process");
        }
        // An answer that does not come in time, and the next one.
        let late = json!({ "do": "call", "tool": "sleep", "timeout": 1 });
        let answers =
            ask(&a, "auto", &json!([late, call("add", json!({ "a": 1, "b": 1 }))]), &args);
        assert!(answers[0]["error"].is_object(), "{answers:?}");
        assert_eq!(answers[1]["structuredContent"]["result"], 2);
        drop(server);
        let answers = said_and_gone_quietly(&a, &args);
        assert!(answers["error"]["message"].is_string(), "{answers}");
    }
}

/// Without the server behind it a request is answered with an error.
fn said_and_gone_quietly(home: &Home, args: &[&str]) -> Value {
    let mut child =
        home.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\n")
        .unwrap();
    let done = finished(child.wait_with_output().unwrap());
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

#[test]
fn whoever_is_not_trusted_reads_why_on_stderr_only() {
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    assert_eq!(expose(&b, &["/bin/cat"]).code, 0);
    let id = b.node_id();
    a.until_ok(&["resolve", &id]);
    for target in [id.clone(), format!("{id}/{}", "none")] {
        let error = a.failure(&["mcp", "connect", &target]);
        assert_eq!(
            (&error["code"], &error["exit"]),
            (&json!("peer_not_trusted"), &json!(5)),
            "{error}"
        );
    }
    befriend(&a, &b, "agent-b");
    let error = a.failure(&["mcp", "connect", "agent-b/none"]);
    assert_eq!(error["code"], "no_such_service");
    assert_eq!(expose(&b, &["no-such-program-here"]).error()["code"], "not_found");
    for bad in [
        ["mcp", "connect", "/x"],
        ["mcp", "expose", "--url"],
        ["mcp", "connect", "agent-b/UPPER case"],
    ] {
        assert_eq!(a.failure(&bad)["code"], "usage", "{bad:?}");
    }
}

#[test]
fn this_agent_is_a_server_of_tools_that_a_reader_cannot_use_to_let_anybody_in() {
    if python().is_none() {
        return python::skip("MCP tools of this agent");
    }
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    let id = a.node_id();
    a.until_ok(&["handshake", "agent-b"]);
    let deadline = Instant::now() + PATIENCE;
    while b.json(&["pending"])["requests"].as_array().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the request did not arrive");
    }
    for (mode, version) in REVISIONS {
        let steps = json!([{ "do": "version" }, { "do": "tools" }, call("info", json!({})), call("pending", json!({})),
            call("approve", json!({ "peer": id })), call("status", json!({ "peer": "nobody" })), call("status", json!({ "pear": 1 }))]);
        let answers = ask(&b, mode, &steps, &["mcp", "serve", "--read-only"]);
        assert_eq!(answers[0], version);
        for tool in answers[1].as_array().unwrap() {
            assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
            assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        }
        let info = &answers[2]["structuredContent"];
        assert_eq!(
            (&info["schema"], &info["node_id"]),
            (&json!("homing.info/v1"), &json!(b.node_id()))
        );
        assert_eq!(answers[3]["structuredContent"]["requests"][0]["node_id"], id);
        let refused = &answers[4];
        assert_eq!(
            (&refused["isError"], &refused["structuredContent"]["code"]),
            (&json!(true), &json!("permission_denied"))
        );
        assert!(refused["structuredContent"]["hint"].is_string());
        assert_eq!(answers[5]["structuredContent"]["code"], "not_found");
        assert!(answers[6]["error"].is_object() || answers[6]["isError"] == true, "{}", answers[6]);
    }
    assert_eq!(b.json(&["trust", "show", &id])["trust"]["state"], "pending", "nobody was let in");

    let steps = json!([{ "do": "tools" }, call("approve", json!({ "peer": id, "services": ["mcp"] })),
        call("expose", json!({ "target": "8080", "name": "web" })), call("services", json!({})),
        call("unexpose", json!({ "name": "web" })), call("expose", json!({ "target": "relative/folder" })), call("revoke", json!({ "peer": id }))]);
    let answers = ask(&b, "auto", &steps, &["mcp", "serve"]);
    let tools = answers[0].as_array().unwrap();
    let approve = tools.iter().find(|t| t["name"] == "approve").unwrap();
    assert_eq!(
        (&approve["annotations"]["readOnlyHint"], &approve["annotations"]["destructiveHint"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(answers[1]["structuredContent"]["state"], "mutual");
    assert_eq!(answers[2]["structuredContent"]["service"]["name"], "web");
    let services = answers[3]["structuredContent"]["services"].as_array().unwrap();
    assert!(services.iter().any(|s| s["name"] == "web"), "{services:?}");
    assert_eq!(answers[4]["structuredContent"]["changed"], true);
    assert_eq!(answers[5]["structuredContent"]["code"], "usage");
    assert_eq!(answers[6]["structuredContent"]["state"], "revoked_by_us");
}

#[test]
fn an_entry_is_merged_into_a_clients_file_once_and_nothing_else_changes() {
    let home = Home::new();
    let user = |args: &[&str]| {
        finished(
            home.command(args)
                .env("HOME", home.dir())
                .env_remove("XDG_CONFIG_HOME")
                .output()
                .unwrap(),
        )
    };
    let shown = user(&["mcp", "install", "agent-b/files", "--client", "vscode"]);
    let entry: Value = serde_json::from_str(&shown.stdout).unwrap();
    let args = entry["servers"]["agent-b-files"]["args"].as_array().unwrap();
    assert_eq!(args[..4], ["mcp", "connect", "agent-b/files", "--retry"], "{shown:?}");
    assert!(
        Path::new(entry["servers"]["agent-b-files"]["command"].as_str().unwrap()).is_absolute()
    );
    for (program, file, section) in [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
        ("claude-code", ".claude.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("vscode", ".config/Code/User/mcp.json", "servers"),
    ] {
        let file = home.path(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let before = json!({ "theme": "dark", section: { "other": { "command": "x", "env": { "KEY": "1" } } }, "z": [1, 2.50] });
        std::fs::write(&file, before.to_string()).unwrap();
        let args = ["mcp", "install", "agent-b", "--client", program, "--write", "--json"];
        let done: Value = serde_json::from_str(&user(&args).stdout).unwrap();
        assert_eq!(done["changed"], true);
        let mut after: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let added = after[section].as_object_mut().unwrap().remove("agent-b").unwrap();
        assert_eq!((added["args"][2].as_str(), &after), (Some("agent-b"), &before));
        let backup = std::fs::read(done["backup"].as_str().unwrap()).unwrap();
        assert_eq!(backup, before.to_string().as_bytes());
        let whole = std::fs::read(&file).unwrap();
        assert!(user(&args[..6]).stdout.starts_with("unchanged"));
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
    let file = home.path("commented.json");
    let text = "{ // mine\n \"mcpServers\": {} }";
    std::fs::write(&file, text).unwrap();
    let error =
        home.failure(&["mcp", "install", "agent-b", "--write", "--file", file.to_str().unwrap()]);
    assert_eq!(error["code"], "config_invalid");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let fresh = home.path("new/mcp.json");
    home.json(&["mcp", "install", "fd3a::1", "--write", "--file", fresh.to_str().unwrap()]);
    let made: Value = serde_json::from_slice(&std::fs::read(&fresh).unwrap()).unwrap();
    assert!(made["mcpServers"]["fd3a--1"].is_object(), "{made}");
}

#[test]
fn the_five_minutes_of_the_page_end_in_a_client_that_uses_the_server() {
    let Some(python) = python() else { return python::skip("the page's five minutes") };
    let (_relay, url) = relay();
    let homes = [("agent-b", Home::new()), ("my-agent", Home::new())];
    for (_, home) in &homes {
        let config = format!("listen = \"127.0.0.1:0\"\nrelays = [\"{url}\"]\n");
        std::fs::write(home.path("config.toml"), config).unwrap();
    }
    std::fs::copy(script("mcp_server.py"), homes[0].1.path("server.py")).unwrap();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let lines = page.lines().filter_map(|line| line.split_once("$ homing "));
    let commands: Vec<_> = lines.filter(|(host, _)| !host.is_empty()).collect();
    assert_eq!(commands.len(), 6, "the page promises six commands: {commands:?}");
    let programs =
        [python.parent().unwrap(), Path::new(env!("CARGO_BIN_EXE_homing")).parent().unwrap()];
    let path = programs.map(|p| p.display().to_string()).join(":");
    for (host, command) in commands {
        let home = &homes.iter().find(|(name, _)| *name == host.trim()).unwrap().1;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &format!("homing {command}")])
                .current_dir(home.dir())
                .stdin(Stdio::null());
            shell
                .env("HOMING_HOME", home.dir())
                .env("HOME", home.dir())
                .env_remove("XDG_CONFIG_HOME");
            shell.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()));
            let done = finished(shell.output().unwrap());
            if done.code == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{host}: homing {command}: {done:?}");
        }
    }
    let entry: Value =
        serde_json::from_slice(&std::fs::read(homes[1].1.path(".cursor/mcp.json")).unwrap())
            .unwrap();
    let args = &entry["mcpServers"]["agent-b"]["args"];
    let args: Vec<_> = args.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let answers =
        ask(&homes[1].1, "auto", &json!([call("add", json!({ "a": 20, "b": 22 }))]), &args);
    assert_eq!(answers[0]["structuredContent"]["result"], 42);
}
