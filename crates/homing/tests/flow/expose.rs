//! `homing expose` between two real agents: a Python web server, files, processes, and peers who lie.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::{Home, PATIENCE, agent, befriend, relay};

/// `tests/python/web_server.py`, ended when dropped.
struct Web {
    child: Child,
    port: u16,
}

impl Web {
    fn start(gate: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/web_server.py");
        let mut child = Command::new("python3")
            .args([script.as_path(), gate])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream of `home` to a service of agent-b, as `homing connect` carries it.
struct Line {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
}

impl Line {
    fn open(home: &Home, service: &str) -> Self {
        let mut command = home.command(&["connect", "agent-b", service, "--timeout", "30s"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, to, from }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.to.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// What comes until `end` has come.
    fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&text).ends_with(end) {
            match self.from.read(&mut byte).unwrap() {
                0 => panic!("it ended with {:?}", String::from_utf8_lossy(&text)),
                _ => text.push(byte[0]),
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Says no more; everything that still comes, and how the command ended.
    fn finish(mut self) -> (String, i32) {
        drop(self.to.take());
        let mut rest = Vec::new();
        self.from.read_to_end(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (String::from_utf8_lossy(&rest).into_owned(), code)
    }
}

/// One request in one stream; head and body of the answer.
fn ask(home: &Home, service: &str, request: &str) -> (String, String) {
    let mut line = Line::open(home, service);
    line.say(request.as_bytes());
    let (answer, _) = line.finish();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_lowercase(), body.to_owned())
}

fn get(home: &Home, service: &str, path: &str) -> (String, String) {
    ask(home, service, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// A header that the web server saw; `None`: it was not there.
fn seen(body: &str, name: &str) -> Option<String> {
    let seen: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    let mut all = seen["headers"].as_array().unwrap().iter();
    let found = all.find(|h| h[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
    Some(found[1].as_str().unwrap().to_owned())
}

fn pair() -> (Home, String, Home, Home) {
    let (relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    (relay, url, a, b)
}

#[test]
fn a_web_server_learns_who_asks_and_nothing_that_peers_claim() {
    let (_relay, _url, a, b) = pair();
    let gate = a.path("gate");
    let mut web = Web::start(&gate);
    let (port, name) = (web.port.to_string(), web.port.to_string());
    b.json(&["expose", &port]);
    b.json(&["expose", &format!("http://localhost:{port}/app"), "--name", "app"]);
    b.json(&["expose", &port, "--name", "kept", "--http", "--keep-host"]);

    let lies = "GET /x?y=1 HTTP/1.1\r\nHost: evil\r\nOrigin: https://evil\r\nHoming-Peer-Name: admin\r\n\
                homing_peer_node_id: 00\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\
                Connection: close, Homing-Service\r\n\r\n";
    // However it is disguised, the first bytes are seen as a request.
    for begin in ["", "\r\n"] {
        let (head, body) = ask(&a, &name, &format!("{begin}{lies}"));
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(seen(&body, "host").unwrap(), format!("localhost:{port}"));
        assert_eq!(seen(&body, "origin").unwrap(), format!("http://localhost:{port}"));
        assert_eq!(seen(&body, "homing-peer-name").unwrap(), "my-agent");
        assert_eq!(seen(&body, "homing-peer-node-id").unwrap(), a.node_id());
        let address = a.json(&["info"])["address"].as_str().unwrap().to_owned();
        assert_eq!(seen(&body, "homing-peer-address").unwrap(), address);
        assert_eq!(seen(&body, "homing-service").unwrap(), name);
        for dropped in ["homing_peer_node_id", "x-forwarded-for", "forwarded"] {
            assert_eq!(seen(&body, dropped), None, "{dropped}");
        }
    }
    let (_, body) = ask(&a, "kept", lies);
    assert_eq!(
        (seen(&body, "host").unwrap(), seen(&body, "origin").unwrap()),
        ("evil".into(), "https://evil".into())
    );

    let (head, body) = get(&a, "app", "/x");
    assert!(head.starts_with("http/1.1 200") && body.contains("\"/app/x\""), "{head} {body}");
    let (head, _) = get(&a, "app", "/%2e%2e/x");
    assert!(head.starts_with("http/1.1 400"), "{head}");
    let (head, _) = get(&a, "app", "/away");
    assert!(head.contains("location: /there?x"), "{head}");

    let post = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(ask(&a, &name, post).1.contains("\"body\": \"abcde\""));

    web.stop();
    let (head, body) = get(&a, "kept", "/");
    assert!(
        head.starts_with("http/1.1 502") && head.contains("application/problem+json"),
        "{head}"
    );
    assert!(body.contains("\"target_down\""), "{body}");
}

#[test]
fn events_arrive_as_they_are_sent_and_sockets_go_both_ways() {
    let (_relay, _url, a, b) = pair();
    let gate = a.path("gate");
    let web = Web::start(&gate);
    b.json(&["expose", &web.port.to_string(), "--name", "web"]);

    let mut events = Line::open(&a, "web");
    events.say(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    events.until("data: first\n\n");
    std::fs::write(&gate, "").unwrap();
    events.until("data: last\n\n");
    drop(events.finish());

    let mut socket = Line::open(&a, "web");
    socket.say(
        b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = socket.until("\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    for word in ["hello", "again"] {
        let mut frame = vec![0x81, 0x85, 1, 2, 3, 4];
        frame.extend(word.bytes().zip([1, 2, 3, 4, 1]).map(|(a, b)| a ^ b));
        socket.say(&frame);
        socket.until(word);
    }
    assert_eq!(socket.finish(), (String::new(), 0));

    // Two requests in one stream, and the end of the first half does not end the answer.
    let twice = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut line = Line::open(&a, "web");
    line.say(twice.as_bytes());
    let (both, _) = line.finish();
    assert!(both.contains("\"/1\"") && both.contains("\"/2\""), "{both}");
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let (_relay, _url, a, b) = pair();
    let web = Web::start(&a.path("gate"));
    b.json(&["expose", &web.port.to_string(), "--name", "web"]);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-Folded: a\r\n b\r\nContent-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Host: y\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{hidden}");
        let mut line = Line::open(&a, "web");
        line.say(request.as_bytes());
        let (answer, _) = line.finish();
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert!(!answer.contains("/hidden"), "{head:?}: {answer}");
    }
    // RFC 9112 §6.3: the length is dropped, and nothing after the body is taken for a request.
    for head in [
        "Transfer-Encoding: chunked\r\nContent-Length: 500\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = format!("POST /1 HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{hidden}");
        let mut line = Line::open(&a, "web");
        line.say(request.as_bytes());
        let (answer, _) = line.finish();
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(!answer.contains("[\"content-length\"") && !answer.contains("/hidden"), "{answer}");
    }
}

#[test]
fn a_directory_is_read_only_and_has_walls() {
    let (_relay, _url, a, b) = pair();
    let site = b.path("site");
    std::fs::create_dir_all(site.join("sub")).unwrap();
    std::fs::write(site.join("a.txt"), "0123456789").unwrap();
    std::fs::write(site.join(".env"), "secret").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.join("out")).unwrap();
    std::os::unix::fs::symlink(b.dir(), site.join("up")).unwrap();
    let exposed = b.json(&["expose", site.to_str().unwrap()]);
    assert_eq!(
        (&exposed["service"]["name"], &exposed["service"]["protocol"]),
        (&"site".into(), &"http".into())
    );

    let (head, body) = get(&a, "site", "/");
    assert!(
        head.contains("text/html") && body.contains("a.txt") && body.contains("sub/"),
        "{head} {body}"
    );
    assert!(!body.contains("out") && !body.contains(".env"), "{body}");
    let (head, body) = get(&a, "site", "/a.txt");
    assert_eq!(body, "0123456789");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert!(
        head.contains("text/plain; charset=utf-8") && head.contains("last-modified: "),
        "{head}"
    );
    let with = |header: &str| {
        ask(&a, "site", &format!("GET /a.txt HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"))
    };
    let (head, body) = with("Range: bytes=2-4");
    assert!(
        head.starts_with("http/1.1 206") && head.contains("content-range: bytes 2-4/10"),
        "{head}"
    );
    assert_eq!(body, "234");
    assert!(with("Range: bytes=10-").0.starts_with("http/1.1 416"));
    assert!(with(&format!("If-None-Match: {etag}")).0.starts_with("http/1.1 304"));
    let (head, body) = ask(&a, "site", "HEAD /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.contains("content-length: 10") && body.is_empty(), "{head} {body}");
    let (head, _) = ask(&a, "site", "PUT /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get, head"), "{head}");
    assert!(get(&a, "site", "/sub").0.contains("location: sub/"));
    for path in [
        "/../identity.json",
        "/%2e%2e/identity.json",
        "/up/identity.json",
        "/out",
        "/.env",
        "/sub/..%2f..%2fidentity.json",
    ] {
        let (head, body) = get(&a, "site", path);
        assert!(
            head.starts_with("http/1.1 404") && !body.contains("secret"),
            "{path}: {head} {body}"
        );
    }
}

#[test]
fn services_are_kept_and_named_in_the_record_until_they_are_withdrawn() {
    let (_relay, url, a, mut b) = pair();
    let words = b.path("words.txt");
    std::fs::write(&words, "to whom it may concern").unwrap();
    let cat = ["expose", "--name", "words", "--", "cat", words.to_str().unwrap()];
    let said = b.run(&[&["--json"], &cat[..]].concat());
    let first: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&first["changed"], &first["service"]["listed"]), (&true.into(), &true.into()));
    let again: Value =
        serde_json::from_str(&b.run(&[&["--json"], &cat[..]].concat()).stdout).unwrap();
    assert_eq!(again["changed"], false);
    let taken = b.failure(&["expose", "8080", "--name", "words"]);
    assert_eq!((&taken["code"], &taken["exit"]), (&"already_exists".into(), &8.into()));
    assert_eq!(b.failure(&["expose", "8080", "--name", "card"])["code"], "usage");
    assert_eq!(b.json(&["expose", "9", "--unlisted"])["service"]["listed"], false);
    assert!(b.json(&["info"])["services"].as_array().unwrap().contains(&"words".into()));

    b.kill();
    b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
    assert_eq!(b.run(&["expose", "list", "-o", "name"]).stdout, "9\nwords\n");
    a.json(&["wait", "online", "agent-b", "--timeout", "30s"]);
    let deadline = Instant::now() + PATIENCE;
    while Line::open(&a, "words").finish() != ("to whom it may concern".to_owned(), 0) {
        assert!(Instant::now() < deadline, "the service does not come back");
    }
    assert_eq!(b.json(&["expose", "rm", "words"])["changed"], true);
    assert_eq!(b.failure(&["expose", "rm", "words"])["code"], "not_found");
    assert_eq!(a.failure(&["connect", "agent-b", "words"])["code"], "no_such_service");
    assert!(!b.json(&["info"])["services"].as_array().unwrap().contains(&"words".into()));
}

#[test]
fn a_damaged_file_is_reported_and_left_alone() {
    let (_relay, url) = relay();
    let mut b = Home::new();
    std::fs::write(b.path("services.json"), "{").unwrap();
    b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
    let health = b.json(&["info"])["health"].to_string();
    assert!(health.contains("services_not_exposed"), "{health}");
    for args in [&["expose", "80"][..], &["expose", "list"], &["expose", "rm", "x"]] {
        assert_eq!(b.failure(args)["code"], "config_invalid", "{args:?}");
    }
    assert_eq!(std::fs::read_to_string(b.path("services.json")).unwrap(), "{");
}

#[test]
fn strangers_and_those_trusted_for_something_else_get_nothing() {
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    let shell = "echo $$; exec cat";
    for name in ["echo", "other"] {
        let args = ["expose", "--name", name, "--", "sh", "-c", shell];
        assert_eq!(b.run(&args).code, 0);
    }
    a.until_ok(&["resolve", "agent-b"]);
    assert_eq!(a.failure(&["connect", "agent-b", "echo"])["code"], "peer_not_trusted");
    a.until_ok(&["handshake", "agent-b", "--reason", "a test"]);
    b.until_ok(&["approve", &a.node_id(), "--allow", "echo"]);
    a.json(&["wait", "trusted", "agent-b", "--timeout", "30s"]);
    let denied = a.failure(&["connect", "agent-b", "other"]);
    assert_eq!((&denied["code"], &denied["exit"]), (&"scope_denied".into(), &5.into()));

    let mut line = Line::open(&a, "echo");
    let process = line.until("\n");
    line.say(b"hello\n");
    assert_eq!(line.until("\n"), "hello\n");
    assert_eq!(b.json(&["expose", "list"])["services"][0]["streams"], 1);
    b.json(&["trust", "revoke", "my-agent", "--yes"]);
    assert_ne!(line.finish().1, 0, "a revoked stream must not end as if in order");
    let process = format!("/proc/{}", process.trim());
    let deadline = Instant::now() + PATIENCE;
    while Path::new(&process).exists() {
        assert!(Instant::now() < deadline, "the process outlives the trust");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_exposed_is_refused_with_a_way_on() {
    let (_relay, url) = relay();
    let b = agent("agent-b", &url);
    for args in [
        &["expose", "70000"][..],
        &["expose", "./missing"],
        &["expose", "http://u:p@localhost/"],
        &["expose", "nothing-such"],
        &["expose", "http://localhost/", "--tcp"],
        &["expose", "/"],
    ] {
        assert_eq!(b.failure(args)["exit"], 2, "{args:?}");
    }
    assert_eq!(b.json(&["expose", "list"])["services"], serde_json::json!([]));
    assert!(!b.path("services.json").exists());
}
