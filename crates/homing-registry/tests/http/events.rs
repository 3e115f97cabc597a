//! Event streams: what changes, resumed where they broke off.

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use crate::support::{Server, record, settings, tombstone};
use homing_registry::http::Settings;

struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let response = server.open("GET", path, headers, Bytes::new()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { body: response.into_body(), text: String::new() };
        stream.until(": following").await;
        stream
    }

    /// Reads until the text contains `mark`; what stands up to its line's end.
    async fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.text.find(mark)
                && let Some(end) = self.text[at..].find("\n\n")
            {
                let rest = self.text.split_off(at + end + 2);
                return std::mem::replace(&mut self.text, rest);
            }
            let frame = self.body.frame();
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), frame).await;
            let frame = frame.expect("within 30 s").expect("the stream goes on").unwrap();
            if let Ok(data) = frame.into_data() {
                self.text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    async fn ends(mut self) -> bool {
        let rest = async { while let Some(Ok(_)) = self.body.frame().await {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), rest).await.is_ok()
    }
}

#[tokio::test]
async fn changes_come_as_events_in_order_and_can_be_resumed() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server, "/v1/events", &[]).await;
    server.register(&record(1, "a", 1)).await.ok(201);
    server.register(&record(1, "a", 2)).await.ok(200);
    server.register(&tombstone(1, 3)).await.ok(200);
    let registered = stream.until("event: registered").await;
    let id = registered.lines().find_map(|l| l.strip_prefix("id: ")).unwrap().to_owned();
    assert!(registered.contains("\"sequence\":1"), "{registered}");
    stream.until("event: updated").await;
    stream.until("event: withdrawn").await;
    let mut resumed = Stream::open(&server, "/v1/events", &[("last-event-id", &id)]).await;
    let updated = resumed.until("event: updated").await;
    assert!(!updated.contains("event: registered"), "{updated}");
    let mut resumed = Stream::open(&server, &format!("/v1/events?after={id}"), &[]).await;
    resumed.until("event: withdrawn").await;
}

#[tokio::test]
async fn a_gap_is_announced() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server, "/v1/events", &[("last-event-id", "999999")]).await;
    let gap = stream.until("event: gap").await;
    assert!(gap.contains("\"asked_after\":999999"), "{gap}");
    server.read_with("/v1/events", &[("last-event-id", "x")]).await.refused(400, "usage");
    server.get("/v1/events?after=-1").await.refused(400, "usage");
}

#[tokio::test]
async fn streams_are_bounded_and_end_when_the_registry_stops() {
    let mut server = Server::with(Settings { subscribers_max: 2, ..settings() }).await;
    let first = Stream::open(&server, "/v1/events", &[]).await;
    let second = Stream::open(&server, "/v1/events", &[]).await;
    server.get("/v1/events").await.refused(503, "rate_limited");
    drop(second);
    server.tell_to_stop();
    assert!(first.ends().await, "a stream ends, it does not hold the registry");
    server.stop().await;
}
