//! Who must not get through: pages in browsers, other users of the machine, requests in disguise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::io::Write as _;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use homing_gateway::Settings;
use homing_gateway::limits::HEAD_BYTES_MAX;
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn world() -> World {
    World::new(Settings::default()).await
}

/// What browsers send when a page of somebody else calls loopback.
#[tokio::test]
async fn a_web_page_calls_nobody() {
    let world = world().await;
    let port = world.gateway.port();
    let own = world.gateway.to_string();
    let fetch = "Origin: https://evil.example\r\nReferer: https://evil.example/\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";
    let image = "Referer: https://evil.example/\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n";
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n";
    let socket = "Origin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let sandboxed = "Origin: null\r\nSec-Fetch-Site: cross-site\r\n";
    let same_origin = "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n";
    let old_browser = "Referer: https://evil.example/page\r\n";
    let rebound = format!("evil.example:{port}");
    let cases = [
        ("fetch", own.as_str(), fetch),
        ("image", &own, image),
        ("link", &own, link),
        ("WebSocket", &own, socket),
        ("page of another peer", &own, sandboxed),
        ("page of the path router itself", &own, same_origin),
        ("old browser", &own, old_browser),
        ("DNS rebinding", &rebound, ""),
        ("host of a peer", "app.agent-b.agent.internal", ""),
    ];
    for (what, host, more) in cases {
        for method in ["GET", "POST", "OPTIONS"] {
            let asked = format!(
                "{method} /@agent-b/app/delete HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n{more}\r\n"
            );
            let answer = world.raw(&asked).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{what}: {answer}");
            assert!(answer.contains("application/problem+json"), "{what}: {answer}");
            assert!(!answer.contains("access-control-allow"), "{what}: {answer}");
        }
    }
    for more in [fetch, image, "Sec-Fetch-Site: same-site\r\n"] {
        let url = "http://app.agent-b.agent.internal/";
        let asked = format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
        assert!(world.raw(&asked).await.starts_with("HTTP/1.1 403 "), "{more}");
        let asked = format!(
            "CONNECT a.agent.internal:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
        );
        assert!(world.raw(&asked).await.starts_with("HTTP/1.1 403 "), "{more}");
    }
    assert_eq!(world.mesh.opened.load(Ordering::SeqCst), 0, "nobody was called");
}

/// A service that writes down what it is sent and answers every head once.
async fn recorder() -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let all = Arc::new(Mutex::new(Vec::new()));
    let record = all.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let record = record.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    record.lock().unwrap().extend_from_slice(&buffer[..n]);
                    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(ok).await;
                }
            });
        }
    });
    (addr, all)
}

#[tokio::test]
async fn one_request_never_hides_another() {
    let world = world().await;
    let (place, record) = recorder().await;
    world.mesh.place("agent-b", "raw", place);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let host = world.gateway;
    let head = format!("POST /@agent-b/raw/seen HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    let refused = [
        ("two lengths", format!("{head}Content-Length: 0\r\nContent-Length: 5\r\n\r\n{hidden}")),
        ("length with a sign", format!("{head}Content-Length: +5\r\n\r\n{hidden}")),
        (
            "chunked not last",
            format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunked twice",
            format!(
                "{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        ("not really chunked", format!("{head}Transfer-Encoding: xchunked\r\n\r\n{hidden}")),
        ("space before the colon", format!("{head}Transfer-Encoding : chunked\r\n\r\n{hidden}")),
        ("folded", format!("{head}X: a\r\n Transfer-Encoding: chunked\r\n\r\n{hidden}")),
        ("bare CR", format!("{head}X: a\rTransfer-Encoding: chunked\r\n\r\n{hidden}")),
        ("NUL", format!("{head}X: a\0b\r\n\r\n{hidden}")),
        ("two hosts", format!("{head}Host: other\r\nContent-Length: 0\r\n\r\n")),
        (
            "old and chunked",
            head.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ];
    for (what, bytes) in refused {
        let answer = world.raw(&bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        assert!(record.lock().unwrap().is_empty(), "{what}: the service saw something");
    }
    // Length and chunked: chunked counts, the length is not sent on.
    let both = format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let answer = world.raw(&both).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = String::from_utf8(record.lock().unwrap().clone()).unwrap().to_lowercase();
    assert!(
        seen.starts_with("post /seen http/1.1\r\n") && !seen.contains("content-length"),
        "{seen}"
    );
    assert_eq!(seen.matches("http/1.1").count(), 1, "{seen}");
}

#[tokio::test]
async fn heads_have_an_end_and_other_protocols_are_not_served() {
    let world = world().await;
    let mut long = format!("GET /@agent-b/app/ HTTP/1.1\r\nHost: {}\r\nX: ", world.gateway);
    long.push_str(&"a".repeat(HEAD_BYTES_MAX - long.len()));
    assert!(world.raw(&long).await.starts_with("HTTP/1.1 431 "));
    // TLS, SSH, SOCKS4, SOCKS5 with a password only.
    for bytes in ["\x16\x03\x01\0\u{5}abcde", "SSH-2.0-x\r\n\r\n", "\u{4}\u{1}\0\x50aaaa\0"] {
        let answer = world.raw(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(world.raw("\u{5}\u{1}\u{2}").await.as_bytes(), "\u{5}\u{fffd}".as_bytes());
    assert_eq!(world.mesh.opened.load(Ordering::SeqCst), 0);
}

/// As the user `nobody`.
fn as_nobody(program: &str, args: &[&str]) -> Option<Output> {
    let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", program];
    Command::new("setpriv").args(ids).args(args).output().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_machine_is_refused() {
    if !as_nobody("curl", &["--version"]).is_some_and(|o| o.status.success()) {
        let line = "SKIPPED: another user of the machine: needs root, `setpriv` and `curl`\n";
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        return;
    }
    let world = world().await;
    let url = format!("http://{}/@agent-b/app/", world.gateway);
    let proxy = format!("http://{}", world.gateway);
    let socks = format!("socks5h://{}", world.gateway);
    let target = format!("http://{}/", world.app);
    for args in [
        &["-sS", "-i", &url][..],
        &["-sS", "-i", "-x", &proxy, "http://app.agent-b.agent.internal/"],
        &["-sS", "-i", "-x", &proxy, &target],
        &["-sS", "-i", "-x", &socks, &target],
    ] {
        let output = as_nobody("curl", args).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("GET /"), "{args:?}: {said}");
        let socks = args.contains(&socks.as_str());
        assert_ne!(said.starts_with("HTTP/1.1 403 "), socks, "{args:?}: {output:?}");
        assert!(socks || said.contains("another user of this machine"), "{said}");
    }
    assert_eq!(world.mesh.opened.load(Ordering::SeqCst), 0);
    let output = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("GET /\n"),
        "the own user: {output:?}"
    );
}

/// Programs that begin a request and never end it are cut off; others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_cut_off_and_delay_nobody() {
    let world = world().await;
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = tokio::net::TcpStream::connect(world.gateway).await.unwrap();
        let begun =
            ["", "\u{5}", "G", "GET /@agent-b/app/ HTTP/1.1\r\nX: ", "PRI * HTTP/2.0\r\n"][n % 5];
        stream.write_all(begun.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let quick = world.get("/@agent-b/app/", "").await;
    assert!(quick.starts_with("HTTP/1.1 200 "), "{quick}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(120), ended).await;
        drop(ended.expect("it is cut off"));
    }
}
