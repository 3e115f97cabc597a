//! A registry as a newcomer meets it: the page of documentation, command by command, and `find`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use crate::support::{self, Home};

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/registry.md");

/// A registry on loopback; the second value is its URL.
fn registry() -> (Home, String) {
    let mut home = Home::new();
    home.spawn(&["registry", "serve", "--listen", "127.0.0.1:0"]);
    let info = home.until_ok(&["info"]);
    let url = info["serving_registry"]["url"].as_str().unwrap().to_owned();
    (home, url)
}

/// Every `sh` block of the page.
fn script() -> String {
    let page = std::fs::read_to_string(TUTORIAL).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    std::iter::once("set -eu\n").chain(blocks).collect()
}

#[test]
fn the_commands_of_the_page_work_as_they_stand() {
    if Command::new("curl").arg("--version").output().is_err() {
        // Not captured, so that it is counted.
        let line = b"SKIPPED: the commands of the page: `curl` is missing\n";
        return std::io::stdout().write_all(line).unwrap();
    }
    let (_home, url) = registry();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_homing")).parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let done = Command::new("sh")
        .args(["-c", &script()])
        .current_dir(folder.path())
        .env("REGISTRY", url)
        .env("PATH", format!("{program}:{path}"))
        .output()
        .unwrap();
    let done = support::finished(done);
    assert_eq!(done.code, 0, "{done:?}");
    for said in ["\"status\":\"active\"", "\"status\":\"withdrawn\"", "weather", "410"] {
        assert!(done.stdout.contains(said), "{said} is not in {done:?}");
    }
}

#[test]
fn what_is_registered_is_found_and_a_taken_port_is_said() {
    let (home, url) = registry();
    let agent = Home::new();
    agent.json(&["key", "init"]);
    let record = agent.path("record.cose").display().to_string();
    agent.json(&["record", "new", "--name", "oracle", "--tag", "weather", "--to", &record]);
    let listen = url.trim_start_matches("http://").to_owned();
    assert_eq!(post(&listen, &std::fs::read(&record).unwrap()), "HTTP/1.1 201 Created");

    let found = home.json(&["find", "weather"]);
    assert_eq!(found["schema"], "homing.found/v1");
    assert_eq!(found["hits"][0]["node_id"], agent.node_id());
    let nobody = home.run(&["find", "submarines"]);
    assert_eq!((nobody.code, nobody.stdout.trim()), (0, "nobody who is listed matches"));
    let other = Home::new();
    let refused = other.failure(&["registry", "serve", "--listen", &listen]);
    assert_eq!(refused["code"], "port_in_use");
    let wrong = other.failure(&["registry", "serve", "--database", "mysql://x"]);
    assert_eq!(wrong["code"], "config_invalid");
}

/// Registers a record; the status line.
fn post(to: &str, record: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(to).unwrap();
    let length = record.len();
    write!(
        stream,
        "POST /v1/entities HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cose\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    stream.write_all(record).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}
