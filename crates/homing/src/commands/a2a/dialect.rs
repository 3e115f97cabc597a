//! Which interface of a card is spoken to, and how a question is put to it.
//!
//! | | A2A 1.0 | A2A 0.3 |
//! |---|---|---|
//! | JSON-RPC | `SendMessage`, `SendStreamingMessage`, `GetTask` | `message/send`, `message/stream`, `tasks/get` |
//! | HTTP+JSON | `POST …/message:send`, `…/message:stream`, `GET …/tasks/{id}` | – |
//! | header | `A2A-Version: 1.0` | – |
//!
//! Of an interface's URL only the path counts: the tunnel leads to the agent's host by itself.

use homing_api::client::percent_encode;
use homing_api::{ApiError, Code};
use homing_registry::cards::{Card, Dialect};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request};
use serde_json::{Map, Value, json};
use url::Url;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    JsonRpc,
    HttpJson,
}

impl Binding {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Binding::JsonRpc => "JSONRPC",
            Binding::HttpJson => "HTTP+JSON",
        }
    }
}

/// The interface that is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) binding: Binding,
    pub(super) dialect: Dialect,
    /// Without a slash at its end; empty for the root.
    path: String,
    tenant: Option<String>,
}

/// What is said.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) context: Option<String>,
    pub(super) task: Option<String>,
}

impl Interface {
    /// The agent's preferred interface of those that this program speaks.
    ///
    /// # Errors
    /// `version_incompatible` when there is none.
    pub(super) fn choose(card: &Card) -> Result<Self, ApiError> {
        let offered = match card.dialect() {
            Dialect::V1 => card.fields().get("supportedInterfaces").and_then(Value::as_array),
            Dialect::V03 => None,
        };
        let new = offered.into_iter().flatten().filter_map(Self::read);
        let old = card.interfaces().into_iter().filter(|_| card.dialect() == Dialect::V03);
        let old = old.filter_map(|i| Self::of(i.binding, "0.3", i.url, None));
        // A card of 1.0 may offer interfaces of 0.3 too: those last.
        let mut known: Vec<_> = new.chain(old).collect();
        known.sort_by_key(|i| i.dialect == Dialect::V03);
        known.into_iter().next().ok_or_else(|| {
            let offers: Vec<_> = card.interfaces().iter().map(|i| i.binding.to_owned()).collect();
            ApiError::new(
                Code::VersionIncompatible,
                "the card offers no interface that is spoken here",
            )
            .why(format!("it offers {}; spoken are JSONRPC and HTTP+JSON", offers.join(", ")))
        })
    }

    fn read(item: &Value) -> Option<Self> {
        let version = item["protocolVersion"].as_str().unwrap_or("1.0");
        let tenant = item["tenant"].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        Self::of(item["protocolBinding"].as_str()?, version, item["url"].as_str()?, tenant)
    }

    fn of(binding: &str, version: &str, url: &str, tenant: Option<String>) -> Option<Self> {
        let dialect = if version.starts_with("0.") { Dialect::V03 } else { Dialect::V1 };
        let binding = match (binding, dialect) {
            ("JSONRPC", _) => Binding::JsonRpc,
            ("HTTP+JSON", Dialect::V1) => Binding::HttpJson,
            _ => return None,
        };
        let url = Url::parse(url).ok()?;
        let path = url[url::Position::BeforePath..url::Position::AfterPath].to_owned();
        let path = path.trim_end_matches('/').to_owned();
        Some(Self { binding, dialect, path, tenant })
    }

    /// The request that puts a question.
    pub(super) fn ask(&self, question: &Question, stream: bool) -> Request<Full<Bytes>> {
        let params = self.params(question);
        let (old, new, place) = if stream {
            ("message/stream", "SendStreamingMessage", "/message:stream")
        } else {
            ("message/send", "SendMessage", "/message:send")
        };
        match (self.binding, self.dialect) {
            (Binding::HttpJson, _) => self.request(Method::POST, &self.place(place), Some(params)),
            (Binding::JsonRpc, Dialect::V1) => self.rpc(new, params),
            (Binding::JsonRpc, Dialect::V03) => self.rpc(old, params),
        }
    }

    /// The request that asks how a task stands.
    pub(super) fn look(&self, task: &str) -> Request<Full<Bytes>> {
        let params = self.with_tenant(json!({ "id": task }));
        match (self.binding, self.dialect) {
            (Binding::HttpJson, _) => {
                let place = self.place(&format!("/tasks/{}", percent_encode(task)));
                self.request(Method::GET, &place, None)
            }
            (Binding::JsonRpc, Dialect::V1) => self.rpc("GetTask", params),
            (Binding::JsonRpc, Dialect::V03) => self.rpc("tasks/get", params),
        }
    }

    fn params(&self, question: &Question) -> Value {
        let mut message = Map::new();
        let (role, part) = match self.dialect {
            Dialect::V1 => ("ROLE_USER", json!({ "text": question.text })),
            Dialect::V03 => {
                message.insert("kind".into(), "message".into());
                ("user", json!({ "kind": "text", "text": question.text }))
            }
        };
        message.insert("messageId".into(), question.id.clone().into());
        message.insert("role".into(), role.into());
        message.insert("parts".into(), json!([part]));
        for (key, value) in [("contextId", &question.context), ("taskId", &question.task)] {
            if let Some(value) = value {
                message.insert(key.into(), value.clone().into());
            }
        }
        self.with_tenant(json!({ "message": message }))
    }

    fn with_tenant(&self, mut params: Value) -> Value {
        if let Some(tenant) = &self.tenant {
            params["tenant"] = tenant.clone().into();
        }
        params
    }

    /// §11.3: the tenant is the first segment.
    fn place(&self, place: &str) -> String {
        let tenant = self.tenant.as_ref().map(|t| format!("/{}", percent_encode(t)));
        format!("{}{}{place}", self.path, tenant.unwrap_or_default())
    }

    fn rpc(&self, method: &str, params: Value) -> Request<Full<Bytes>> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.request(Method::POST, path, Some(body))
    }

    fn request(&self, method: Method, path: &str, body: Option<Value>) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json, application/a2a+json, text/event-stream");
        if self.dialect == Dialect::V1 {
            request = request.header("a2a-version", "1.0");
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        request.body(Full::new(body.into())).expect("a URL's path is one of HTTP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(interfaces: &Value) -> Card {
        let card = json!({ "name": "a", "description": "b", "version": "1", "capabilities": {},
            "defaultInputModes": [], "defaultOutputModes": [], "skills": [],
            "supportedInterfaces": interfaces });
        Card::parse(card.to_string().as_bytes()).unwrap()
    }

    fn question() -> Question {
        Question { id: "m1".into(), text: "hi".into(), context: Some("c1".into()), task: None }
    }

    #[test]
    fn the_preferred_interface_that_is_spoken_here_is_chosen() {
        let offer = |binding: &str, version: &str, url: &str| json!({ "url": url, "protocolBinding": binding, "protocolVersion": version });
        let all = card(&json!([
            offer("GRPC", "1.0", "https://a.example/grpc"),
            offer("JSONRPC", "0.3", "https://a.example/old"),
            offer("HTTP+JSON", "1.0", "https://a.example/v1/?x=1"),
            offer("JSONRPC", "1.0", "https://a.example/rpc"),
        ]));
        let chosen = Interface::choose(&all).unwrap();
        assert_eq!((chosen.binding, chosen.dialect), (Binding::HttpJson, Dialect::V1));
        let none = card(&json!([offer("GRPC", "1.0", "https://a.example/")]));
        assert_eq!(Interface::choose(&none).unwrap_err().code, Code::VersionIncompatible);
    }

    #[test]
    fn questions_are_put_as_the_interface_wants_them() {
        let new = Interface::of("JSONRPC", "1.0", "http://127.0.0.1:9999/", None).unwrap();
        let asked = new.ask(&question(), false);
        assert_eq!(
            (asked.uri().path(), &asked.headers()["a2a-version"]),
            ("/", &"1.0".parse().unwrap())
        );
        let message = &new.params(&question())["message"];
        assert_eq!((&message["role"], &message["contextId"]), (&json!("ROLE_USER"), &json!("c1")));
        let rest = Interface::of("HTTP+JSON", "1.0", "http://h/api/", Some("t".into())).unwrap();
        assert_eq!(rest.ask(&question(), true).uri().path(), "/api/t/message:stream");
        assert_eq!(rest.look("a/b").uri().path(), "/api/t/tasks/a%2Fb");
        let old = Interface::of("JSONRPC", "0.3.0", "http://h/a2a", None).unwrap();
        assert!(!old.ask(&question(), false).headers().contains_key("a2a-version"));
        assert_eq!(old.params(&question())["message"]["parts"][0]["kind"], "text");
        assert_eq!(Interface::of("HTTP+JSON", "0.3", "http://h/", None), None);
    }
}
