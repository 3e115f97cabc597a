//! The OpenAPI document, its page, and programs that others wrote against the document.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Server, key, record};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/openapi/registry.json");

#[tokio::test]
async fn the_document_is_the_one_in_the_repository() {
    let server = Server::start().await;
    let served = server.get("/openapi.json").await.ok(200);
    let mut portable = served.clone();
    portable["servers"] = serde_json::json!([{"url": "/"}]);
    let text = serde_json::to_string_pretty(&portable).unwrap() + "\n";
    if std::env::var_os("HOMING_BLESS").is_some() {
        std::fs::create_dir_all(Path::new(GOLDEN).parent().unwrap()).unwrap();
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(golden == text, "{GOLDEN} is another one; HOMING_BLESS=1 writes it anew");
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.ok(200);
    let text = document.to_string();
    for rest in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = rest.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    for part in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        let reply = server.get(part).await;
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        assert_eq!(reply.status, 200);
        assert!(!text.contains("://"), "{part} loads nothing from elsewhere");
        assert!(
            !text.contains("<script>") && !text.contains("style="),
            "{part} has nothing inline"
        );
    }
}

/// Not through `println!`, whose output a passing test keeps for itself.
fn skip(what: &str) {
    use std::io::Write;
    std::io::stdout().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

/// Tools in a virtual environment that `cargo xtask test` prepares.
fn api_tool(name: &str) -> Option<PathBuf> {
    let tool = PathBuf::from(std::env::var_os("HOMING_API_TOOLS")?).join("bin").join(name);
    tool.is_file().then_some(tool)
}

fn run(command: &mut Command, what: &str) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what} failed: {}\n{text}\n{errors}", output.status);
    text
}

async fn populated() -> Server {
    let server = Server::start().await;
    for seed in 1..=5 {
        server.register(&record(seed, &format!("agent-{seed}"), 1)).await.ok(201);
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_reads_the_document_finds_nothing_undocumented() {
    let Some(tool) = api_tool("schemathesis") else {
        skip("schemathesis: HOMING_API_TOOLS names no environment that has it");
        return;
    };
    let server = populated().await;
    let url = format!("http://{}/openapi.json", server.address);
    let folder = tempfile::tempdir().unwrap();
    fuzzer_data(folder.path());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";
    let found = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(tool);
        command
            .args(["run", &url, "--checks", checks, "--seed", "20261121"])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "40"])
            // One thread: CPython 3.11 counts the depth of `ast.parse` for all threads together and fails when two
            // parse at once (python/cpython issue 106905).
            .args(["--workers", "1", "--request-timeout", "20", "--no-color"])
            .args(["--exclude-path", "/v1/events", "--generation-database", "none"])
            .args(["--suppress-health-check", "all"])
            .env("SCHEMATHESIS_HOOKS", "fuzzer_hooks")
            .env("PYTHONPATH", folder.path())
            .env("FUZZER_DATA", folder.path())
            .current_dir(folder.path());
        run(&mut command, "schemathesis")
    });
    let text = found.await.unwrap();
    let summary: Vec<_> = text.lines().rev().take(25).collect();
    println!("{}", summary.into_iter().rev().collect::<Vec<_>>().join("\n"));
    server.get("/healthz/ready").await.ok(200);
}

/// Signed bytes and keys for the fuzzer's hooks.
fn fuzzer_data(folder: &Path) {
    let put = |name: String, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    put("fuzzer_hooks.py".into(), include_bytes!("fuzzer_hooks.py"));
    let mut keys = String::from("homing.nobody/nothing nobody ");
    for seed in 1..=8 {
        let id = key(seed).node_id();
        keys.push_str(&format!("{id} {} agent-{seed} ", homing_base::Address::of(&id)));
        put(format!("renewed-{seed}.cose"), record(seed, "renewed", 7).bytes());
        put(format!("older-{seed}.cose"), record(seed, "older", 0).bytes());
        let heartbeat = homing_registry::proof::Heartbeat::sign(&key(seed), crate::support::wall());
        put(format!("heartbeat-{seed}.cose"), &heartbeat);
    }
    put("tombstone.cose".into(), crate::support::tombstone(1, 9).bytes());
    put("keys.txt".into(), keys.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_registers_finds_and_withdraws() {
    let Some(tool) = api_tool("openapi-python-client") else {
        skip("generated client: HOMING_API_TOOLS names no environment that has a generator");
        return;
    };
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("openapi.json"), server.registry.openapi()).unwrap();
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    std::fs::write(at("record.txt"), encode(record(1, "generated", 5).bytes())).unwrap();
    let tombstone = crate::support::tombstone(1, 6);
    std::fs::write(at("tombstone.txt"), encode(tombstone.bytes())).unwrap();
    std::fs::write(at("script.py"), include_str!("generated_client.py")).unwrap();
    let python = tool.with_file_name("python3");
    let (url, id) = (format!("http://{}", server.address), key(1).node_id().to_string());
    let ran = tokio::task::spawn_blocking(move || {
        let mut generate = Command::new(&tool);
        generate
            .args(["generate", "--path", "openapi.json", "--meta", "none"])
            .args(["--output-path", "registry_client"])
            .env("PATH", tool.parent().unwrap())
            .current_dir(folder.path());
        let said = run(&mut generate, "openapi-python-client");
        assert!(!said.contains("WARNING"), "{said}");
        let mut script = Command::new(python);
        run(script.args(["script.py", &url, &id]).current_dir(folder.path()), "the client")
    });
    assert!(ran.await.unwrap().contains("done"));
    server.get("/v1/entities/generated").await.refused(404, "not_found");
}
