//! The local API over its real socket.

use homing_api::exposures::{ExposeRequest, Target};
use homing_api::operations::Kind;
use homing_api::streams::ListenRequest;
use homing_api::{ApiError, Code, OPERATIONS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::common::{self, client, start};

/// One request as bytes; the answer's head and body as text.
async fn raw(socket: &std::path::Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(common::PATIENCE, stream.read(&mut answer));
    let read = read.await.expect("an answer").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn every_operation_has_its_route_and_names_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let socket = node.home().socket().unwrap();
    for operation in OPERATIONS.iter().filter(|o| o.path != "/v1/stop") {
        let path = operation.path.replace("{peer}", "nobody").replace("{id}", "77");
        let request = format!(
            "{} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            operation.method
        );
        let answer = raw(&socket, &request).await;
        assert!(!answer.contains("there is no operation"), "{operation:?}: {answer}");
        assert!(answer.contains("homing-api: 1\r\n"), "{operation:?}: {answer}");
        assert!(answer.contains("homing-version: "), "{operation:?}: {answer}");
        if operation.kind == Kind::Upgrade {
            assert!(answer.starts_with("HTTP/1.1 400"), "{operation:?}: {answer}");
            assert!(answer.contains("homing.error/v1"), "{operation:?}: {answer}");
        }
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let socket = node.home().socket().unwrap();
    let cases = [
        ("GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n", "400", "\"usage\""),
        ("DELETE /v1/info HTTP/1.1\r\nhost: x\r\n\r\n", "400", "\"usage\""),
        ("GET /v1/status?pear=x HTTP/1.1\r\nhost: x\r\n\r\n", "400", "\"usage\""),
        ("POST /v1/ping HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", "400", "\"usage\""),
        ("POST /v1/ping HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nnul", "400", "\"usage\""),
        (
            "POST /v1/ping HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n",
            "400",
            "\"usage\"",
        ),
        ("GET /v1/streams/9 HTTP/1.1\r\nhost: x\r\n\r\n", "404", "\"not_found\""),
        ("GET /v1/trust/nobody HTTP/1.1\r\nhost: x\r\n\r\n", "404", "\"not_found\""),
    ];
    for (request, status, code) in cases {
        let answer = raw(&socket, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{answer}");
        assert!(answer.contains(r#"{"schema":"homing.error/v1","code":"#), "{request}\n{answer}");
        assert!(answer.contains(code), "{request}\n{answer}");
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_socket_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let metadata = std::fs::metadata(node.home().socket().unwrap()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn info_config_doctor_and_metrics_answer() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "services = [\"mcp\"]\n").unwrap();
    let node = start(dir.path(), "agent").await;
    let client = client(&node);
    node.ticket().await.unwrap();

    let info = client.info().await.unwrap();
    assert_eq!((info.node_id, info.address), (node.node_id(), node.address()));
    assert_eq!(info.name.map(|n| n.to_string()).as_deref(), Some("agent"));
    assert!(info.online && !info.superseded && info.ticket.is_some());
    assert_eq!(info.pid, std::process::id());
    let codes: Vec<_> = info.health.iter().map(|item| item.code.as_str()).collect();
    assert_eq!(codes, ["no_relay", "key_not_backed_up"]);

    let config = client.config().await.unwrap();
    let origin = |key| config.values.iter().find(|v| v.key == key).unwrap().origin;
    use homing_api::agent::Origin;
    assert_eq!((origin("name"), origin("services")), (Origin::Flag, Origin::File));
    assert_eq!(origin("relays"), Origin::Default);

    let doctor = client.doctor().await.unwrap();
    assert!(doctor.checks.iter().any(|c| c.name == "identity_in_use"));
    let metrics = client.metrics().await.unwrap();
    for name in ["homing_build_info{", "homing_online 1", "process_resident_memory_bytes "] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
    assert_eq!(client.status(None).await.unwrap().peers, vec![]);
    assert!(client.netcheck(None).await.unwrap().peer.is_none());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_key_is_watched_while_the_daemon_runs() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let identity = node.home().identity();
    std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o644)).unwrap();
    let has = |code: &str| node.health().iter().any(|item| item.code == code);
    assert!(has("key_permissions"));
    std::fs::rename(&identity, dir.path().join("gone")).unwrap();
    assert!(has("key_missing") && !has("key_permissions"));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_is_exposed_once_and_only_while_somebody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let request = ListenRequest { service: "mcp".parse().unwrap(), protocol: Default::default() };
    let mut first = client(&node).listen(&request).await.unwrap();
    assert_eq!(first.recv().await.unwrap().unwrap().event, "ready");
    let second: ApiError = client(&node).listen(&request).await.unwrap_err();
    assert_eq!(second.code, Code::AlreadyExists);
    drop(first);
    common::until("the service is free again", || async {
        client(&node).listen(&request).await.is_ok()
    })
    .await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn rights_and_built_in_services_are_no_names_for_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    for name in ["card", "files", "message", "topic"] {
        let service: homing_base::Service = name.parse().unwrap();
        assert!(service.is_reserved());
        let error = node.listen(service.clone()).unwrap_err();
        assert_eq!((error.code, error.exit), (Code::Usage, 2), "{name}");
        let target = Target::Directory { path: dir.path().into() };
        let request = ExposeRequest { name: Some(service), ..ExposeRequest::new(target) };
        assert_eq!(node.expose(request).await.unwrap_err().code, Code::Usage, "{name}");
    }
    assert!(!node.home().services().exists());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_peers_are_not_found_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let begun = std::time::Instant::now();
    let timeout = std::time::Duration::from_millis(1_800);
    let error = client(&node).ping("nobody", timeout).await.unwrap_err();
    assert_eq!((error.code, error.exit), (Code::NotFound, 3));
    let error = client(&node).connect("nobody", "80", timeout).await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    let error = client(&node).ping("NOT A NAME", timeout).await.unwrap_err();
    assert_eq!(error.code, Code::Usage);
    let error = client(&node).ping(&node.node_id().to_string(), timeout).await.unwrap_err();
    assert_eq!(error.code, Code::Usage);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    node.stop().await.unwrap();
}

/// Programs that begin a request and never end it are cut off; others are served meanwhile.
#[tokio::test]
async fn slow_requests_are_cut_off_and_delay_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), "agent").await;
    let socket = node.home().socket().unwrap();
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let begun = ["", "G", "GET /v1/info HTTP/1.1\r\nhost: x\r\nx: "][n % 3];
        stream.write_all(begun.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let quick =
        raw(&socket, "GET /v1/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(quick.starts_with("HTTP/1.1 200"), "{quick}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(120), ended).await;
        drop(ended.expect("it is cut off"));
    }
    node.stop().await.unwrap();
}
