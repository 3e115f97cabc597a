//! What every request passes: methods, media types, sizes, slowness, CORS, headers, the end.

use std::time::Duration;

use homing_registry::http::Settings;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, record, settings};

#[tokio::test]
async fn refusals_of_http_are_problems_too() {
    let server = Server::start().await;
    server.get("/nowhere").await.refused(404, "not_found");
    let wrong = server.call("PATCH", "/v1/entities", &[], Bytes::new()).await;
    wrong.refused(405, "usage");
    let allowed = wrong.header("allow").to_owned();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    server.call("POST", "/v1/entities", &[], Bytes::from("x")).await.refused(415, "usage");
    let text = [("content-type", "text/plain")];
    server.call("POST", "/v1/search", &text, Bytes::from("{}")).await.refused(415, "usage");
    server.get("/v1/info?colour=red").await.refused(400, "usage");
    let head = server.call("HEAD", "/v1/info", &[], Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn every_answer_has_its_headers_and_its_own_number() {
    let server = Server::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/v1/info", "/nowhere", "/docs", "/openapi.json", "/metrics"] {
        let reply = server.read_with(path, &[("x-request-id", "chosen")]).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(!reply.header("content-security-policy").contains("unsafe"), "{path}");
        assert!(seen.insert(reply.header("x-request-id").to_owned()), "{path}");
    }
    assert!(!seen.contains("chosen"));
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_unless_configured() {
    let server = Server::start().await;
    let origin = ("origin", "https://app.example.com");
    let reply = server.read_with("/v1/info", &[origin]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    let ask = [origin, ("access-control-request-method", "POST")];
    server.call("OPTIONS", "/v1/search", &ask, Bytes::new()).await.refused(405, "usage");

    let cors_origins = vec!["https://app.example.com".to_owned()];
    let server = Server::with(Settings { cors_origins, ..settings() }).await;
    let reply = server.read_with("/v1/info", &[origin]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.com");
    let reply = server.call("OPTIONS", "/v1/search", &ask, Bytes::new()).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("access-control-allow-methods").contains("POST"));
    let other = server.read_with("/v1/info", &[("origin", "https://evil.example.com")]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_page_that_gave_its_name_our_loopback_address_reads_nothing() {
    let server = Server::start().await;
    server.register(&record(1, "a", 1)).await.ok(201);
    let path = format!("/v1/entities/{}", record(1, "a", 1).node_id());
    let ask = |host: &'static str| server.read_naming(&path, host);
    // The second answer to an allowed host is one that is rendered already: that way is guarded, too.
    for _ in 0..2 {
        ask("localhost").await.ok(200);
        ask("evil.example:7400").await.refused(421, "usage");
    }
    let allowed_hosts = vec!["registry.lan".to_owned()];
    let server = Server::with(Settings { allowed_hosts, ..settings() }).await;
    assert_eq!(server.read_naming("/v1/info", "registry.lan").await.status, 200);
    server.read_naming("/v1/info", "evil.example").await.refused(421, "usage");
}

#[tokio::test]
async fn one_who_dribbles_is_cut_off_and_others_are_served() {
    let head_timeout = Duration::from_millis(300);
    let body_timeout = Duration::from_millis(300);
    let server = Server::with(Settings { head_timeout, body_timeout, ..settings() }).await;
    let mut slow_head = TcpStream::connect(server.address).await.unwrap();
    slow_head.write_all(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX-A").await.unwrap();
    let mut slow_body = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    slow_body.write_all(head.as_bytes()).await.unwrap();
    server.get("/v1/info").await.ok(200);
    let read = |mut stream: TcpStream| async move {
        let mut text = String::new();
        let whole = stream.read_to_string(&mut text);
        let _ = tokio::time::timeout(Duration::from_secs(30), whole).await.expect("closed");
        text
    };
    let head = read(slow_head).await;
    assert!(!head.contains("200 OK"), "{head}");
    let body = read(slow_body).await;
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let connections_per_address_max = 3;
    let server = Server::with(Settings { connections_per_address_max, ..settings() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let _ = refused.write_all(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut text = String::new();
    let read = refused.read_to_string(&mut text);
    let _ = tokio::time::timeout(Duration::from_secs(30), read).await.expect("closed");
    assert_eq!(text, "");
    drop(held);
    crate::support::soon("a place is free again", || async {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let ask = b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut text = String::new();
        stream.write_all(ask).await.is_ok()
            && stream.read_to_string(&mut text).await.is_ok()
            && text.contains("200 OK")
    })
    .await;
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let mut server = Server::start().await;
    let signed = record(1, "last", 1);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let len = signed.bytes().len();
    let head = format!(
        "POST /v1/entities HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cose\r\nContent-Length: {len}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    server.get("/v1/info").await.ok(200);
    server.tell_to_stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream.write_all(signed.bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
    let address = server.address;
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = Server::start().await;
    server.register(&record(1, "a", 1)).await.ok(201);
    server.get("/v1/entities/a").await.ok(200);
    server.get("/v1/entities/b").await.refused(404, "not_found");
    let reply = server.get("/metrics").await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    for line in [
        "homing_registry_requests_total{path=\"/v1/entities/{id}\",status=\"2xx\"} 1",
        "homing_registry_requests_total{path=\"/v1/entities/{id}\",status=\"4xx\"} 1",
        "homing_registry_registrations_total{result=\"created\"} 1",
        "homing_registry_entities 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}
