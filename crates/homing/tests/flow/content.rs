//! Content between real agents: published, fetched, broken off by kill -9 on either side, damaged, refused.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Home, PATIENCE, agent, befriend, finished, relay};

/// Bytes that no compression or accident gives twice.
fn bytes(count: usize) -> Vec<u8> {
    let blocks = (0..count.div_ceil(32) as u64).map(|n| Sha256::digest(n.to_be_bytes()));
    let mut bytes: Vec<u8> = blocks.flat_map(<[u8; 32]>::from).collect();
    bytes.truncate(count);
    bytes
}

fn start(home: &mut Home, name: &str, url: &str) {
    home.start(&["--hostname", name, "--listen", "127.0.0.1:0", "--relay", url]);
}

/// `a` publishes, `b` and `c` fetch; every two trust each other as named.
fn publisher_and_fetcher(url: &str) -> (Home, Home) {
    let (a, b) = (agent("publisher", url), agent("fetcher", url));
    befriend(&b, &a, "publisher");
    (a, b)
}

fn file(home: &Home, name: &str, content: &[u8]) -> String {
    let path = home.path(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn add(home: &Home, content: &[u8]) -> String {
    let path = file(home, "source.bin", content);
    home.json(&["content", "add", &path])["cid"].as_str().unwrap().to_owned()
}

fn code(error: &Value) -> &str {
    error["code"].as_str().unwrap()
}

#[test]
fn a_file_published_under_a_reference_is_fetched_by_its_name_and_follows_it() {
    let (_relay, url) = relay();
    let (a, b) = publisher_and_fetcher(&url);
    let first = file(&a, "model.bin", &bytes(300_000));
    let published = a.json(&["publish", "planner/checkpoint", "--file", &first]);
    let out = b.path("out.bin");
    let target = out.to_str().unwrap();
    let reference = "publisher/planner/checkpoint";
    let fetched = b.until_ok(&["fetch", reference, "-o", target]);
    assert_eq!(fetched["schema"], "homing.fetched/v1");
    assert_eq!(fetched["from"][0]["name"], "publisher", "{fetched}");
    assert!(published["value"].as_str().unwrap().ends_with(fetched["cid"].as_str().unwrap()));
    assert!(std::fs::read(&out).unwrap() == bytes(300_000));

    // The next version is the same command again, on both sides.
    std::fs::write(&first, bytes(200_001)).unwrap();
    a.json(&["publish", "planner/checkpoint", "--file", &first]);
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read(&out).unwrap() != bytes(200_001) {
        assert!(Instant::now() < deadline, "the newer version is not found");
        b.json(&["fetch", reference, "-o", target]);
    }
    // Its own publisher has it, and needs nobody.
    assert_eq!(a.json(&["fetch", "planner/checkpoint"])["fetched_bytes"], 0);
}

#[test]
fn files_of_every_awkward_size_arrive_and_are_the_same_the_second_time() {
    let (_relay, url) = relay();
    let (a, b) = publisher_and_fetcher(&url);
    for size in [0, 1, 1_023, 1_024, 1_025, 16_384, 16_385, 1_000_000] {
        let cid = add(&a, &bytes(size));
        assert_eq!(
            a.json(&["content", "add", a.path("source.bin").to_str().unwrap()])["changed"],
            false
        );
        let fetched = b.json(&["fetch", &cid]);
        assert_eq!(fetched["size_bytes"], size, "{fetched}");
        assert_eq!(fetched["fetched_bytes"], size, "{fetched}");
        let path = fetched["path"].as_str().unwrap();
        assert!(std::fs::read(path).unwrap() == bytes(size), "{size}");
        assert_eq!(b.json(&["fetch", &cid])["fetched_bytes"], 0);
    }
    let list = b.json(&["content", "list"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 8);
    for name in b.run(&["content", "list", "-o", "name"]).stdout.lines() {
        assert_eq!(b.json(&["content", "rm", name])["changed"], true);
        assert_eq!(b.json(&["content", "rm", name])["changed"], false);
    }
    assert_eq!(b.json(&["content", "list"])["used_bytes"], 0);
}

#[test]
fn bad_requests_say_what_to_do_and_leave_nothing_behind() {
    let (_relay, url) = relay();
    let (a, mut b) = publisher_and_fetcher(&url);
    let cid = add(&a, &bytes(100_000));
    let directory = a.dir().to_str().unwrap();
    let refused = a.failure(&["content", "add", directory]);
    assert!(refused["hint"].as_str().unwrap().starts_with("tar it"), "{refused}");
    assert_eq!(code(&a.failure(&["content", "add", "/nonexistent"])), "usage");
    let other = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    assert_eq!(code(&b.failure(&["fetch", other])), "usage");
    let nobody = "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi";
    assert_eq!(code(&b.failure(&["fetch", nobody])), "not_found");
    assert_eq!(code(&b.failure(&["fetch", &cid, "-o", "/nonexistent/x"])), "usage");
    assert_eq!(code(&b.failure(&["fetch", &cid, "--max-size", "99999"])), "limit_reached");
    assert!(!b.path("content").exists());
    // Trust for something else does not open it.
    let stranger = agent("stranger", &url);
    let id = a.node_id();
    assert_eq!(code(&stranger.failure(&["fetch", &cid, "--from", &id])), "peer_not_trusted");
    stranger.until_ok(&["handshake", "publisher"]);
    a.until_ok(&["approve", &stranger.node_id(), "--allow", "mcp"]);
    stranger.json(&["wait", "trusted", "publisher", "--timeout", "30s"]);
    assert_eq!(code(&stranger.failure(&["fetch", &cid])), "scope_denied");
    // A quota, for what is fetched and what is published.
    b.kill();
    b.json(&["config", "set", "content.max_bytes", "99999"]);
    start(&mut b, "fetcher", &url);
    b.json(&["wait", "trusted", "publisher", "--timeout", "30s"]);
    let full = b.failure(&["fetch", &cid]);
    assert_eq!(code(&full), "limit_reached", "{full}");
    let large = file(&b, "large", &bytes(100_000));
    assert_eq!(code(&b.failure(&["content", "add", &large])), "limit_reached");
    assert_eq!(b.json(&["content", "list"])["used_bytes"], 0);
}

/// Bytes on the disk of the one file that is being fetched.
fn partial_bytes(home: &Home) -> u64 {
    let parts = std::fs::read_dir(home.path("content/.partial")).into_iter().flatten().flatten();
    let data = parts.filter(|part| part.path().extension().is_none());
    data.filter_map(|part| part.metadata().ok()).map(|m| m.blocks() * 512).max().unwrap_or(0)
}

/// A fetch that has begun to write.
fn fetching(home: &Home, cid: &str, enough: u64) -> Child {
    let mut command = home.command(&["fetch", cid, "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while partial_bytes(home) < enough && !home.path("content").join(cid).exists() {
        assert!(Instant::now() < deadline, "nothing arrives");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child
}

const LARGE: usize = 64 << 20;

#[test]
fn a_fetch_goes_on_after_kill_of_either_side_without_what_was_verified() {
    let (_relay, url) = relay();
    let (mut a, mut b) = publisher_and_fetcher(&url);
    let content = bytes(LARGE);
    let cid = add(&a, &content);
    // The fetcher dies.
    let child = fetching(&b, &cid, 4 << 20);
    b.kill();
    let broken = finished(child.wait_with_output().unwrap());
    assert_ne!(broken.code, 0, "it was not fast enough to be killed: {broken:?}");
    let had = partial_bytes(&b);
    start(&mut b, "fetcher", &url);
    b.json(&["wait", "trusted", "publisher", "--timeout", "30s"]);
    assert_eq!(b.json(&["content", "list"])["items"][0]["whole"], false);
    // The publisher dies while it goes on, and returns with the same key.
    let child = fetching(&b, &cid, had + (4 << 20));
    a.kill();
    start(&mut a, "publisher", &url);
    let done = finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{done:?}");
    let fetched: Value = serde_json::from_str(&done.stdout).unwrap();
    let came = fetched["fetched_bytes"].as_u64().unwrap();
    assert!(came <= LARGE as u64 - had / 2, "{came} came again although {had} were here");
    assert!(std::fs::read(b.path("content").join(&cid)).unwrap() == content);
}

/// Flips one byte of a kept file.
fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_holder_whose_disk_lies_serves_what_is_true_and_the_next_one_the_rest() {
    let (_relay, url) = relay();
    let (a, b) = publisher_and_fetcher(&url);
    let c = agent("third", &url);
    befriend(&c, &a, "publisher");
    befriend(&c, &b, "fetcher");
    let content = bytes(3_000_000);
    let cid = add(&a, &content);
    b.json(&["fetch", &cid]);
    flip(&b.path("content").join(&cid), 2_000_000);
    // Whoever has it serves it; the damage is found by its own holder before a wrong byte leaves.
    let fetched = c.json(&["fetch", &cid, "--from", "fetcher", "--from", "publisher"]);
    let names: Vec<_> =
        fetched["from"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["fetcher", "publisher"], "{fetched}");
    assert!(fetched.get("blamed").is_none(), "{fetched}");
    assert!(std::fs::read(c.path("content").join(&cid)).unwrap() == content);
    let status = b.run(&["doctor", "--json"]).stdout;
    assert!(status.contains("content_damaged"), "{status}");
    // It is repaired by what is missing only.
    let repaired = b.json(&["fetch", &cid]);
    assert_eq!(repaired["fetched_bytes"], 16_384, "{repaired}");
    assert!(std::fs::read(b.path("content").join(&cid)).unwrap() == content);
    // And what is found damaged by its own fetch is not handed out either.
    flip(&b.path("content").join(&cid), 5);
    let out: PathBuf = b.path("copy.bin");
    b.json(&["fetch", &cid, "-o", out.to_str().unwrap()]);
    assert!(std::fs::read(out).unwrap() == content);
}

#[test]
fn what_is_revoked_ends_at_once_and_stays_refused() {
    let (_relay, url) = relay();
    let (a, b) = publisher_and_fetcher(&url);
    let cid = add(&a, &bytes(LARGE));
    let child = fetching(&b, &cid, 1 << 20);
    a.json(&["trust", "revoke", "fetcher", "--yes"]);
    let ended = finished(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(!b.path("content").join(&cid).exists());
    assert_eq!(b.failure(&["fetch", &cid, "--from", "publisher"])["exit"], 5);
}

#[test]
fn several_fetches_at_once_of_one_and_of_many_files_all_come_whole() {
    let (_relay, url) = relay();
    let (a, b) = publisher_and_fetcher(&url);
    let cids: Vec<_> = (0..6).map(|n| add(&a, &bytes(2_000_000 + n))).collect();
    let children: Vec<_> = cids
        .iter()
        .chain(&cids)
        .map(|cid| {
            let mut command = b.command(&["fetch", cid, "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut came = 0;
    for child in children {
        let done = finished(child.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{done:?}");
        let fetched: Value = serde_json::from_str(&done.stdout).unwrap();
        came += fetched["fetched_bytes"].as_u64().unwrap();
    }
    assert_eq!(came, (0..6).map(|n| 2_000_000 + n).sum::<u64>(), "nothing comes twice");
}
