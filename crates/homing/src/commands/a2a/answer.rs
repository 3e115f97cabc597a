//! What an agent says, read alike for A2A 1.0 and 0.3.
//!
//! An event is exactly one of task, message, status update and artifact update. Everything else of it stays as
//! it came; only text, state and the two IDs are looked at.

use homing_api::{ApiError, Code};
use serde::Serialize;
use serde_json::Value;

use super::dialect::Binding;

/// What kind of thing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Task,
    Message,
    StatusUpdate,
    ArtifactUpdate,
}

/// One thing that an agent said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) body: Value,
}

impl Said {
    /// Reads the body of an answer or the data of an event.
    ///
    /// # Errors
    /// `agent_failed` with what the agent gave as its reason, or when it is none of the four.
    pub(super) fn read(binding: Binding, bytes: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|e| odd("it is no JSON").hint(format!("the reader says: {e}")))?;
        if let Some(error) = value.get("error").filter(|e| !e.is_null()) {
            return Err(refused(error));
        }
        let value = match (binding, value) {
            (Binding::JsonRpc, Value::Object(mut answer)) => {
                answer.remove("result").unwrap_or_default()
            }
            (_, value) => value,
        };
        Self::of(value).ok_or_else(|| odd("it is neither task nor message"))
    }

    fn of(mut value: Value) -> Option<Self> {
        let named = [
            ("task", Kind::Task),
            ("message", Kind::Message),
            ("statusUpdate", Kind::StatusUpdate),
            ("artifactUpdate", Kind::ArtifactUpdate),
        ];
        let old = match value["kind"].as_str() {
            Some("task") => Some(Kind::Task),
            Some("message") => Some(Kind::Message),
            Some("status-update") => Some(Kind::StatusUpdate),
            Some("artifact-update") => Some(Kind::ArtifactUpdate),
            _ => None,
        };
        if let Some(kind) = old {
            return Some(Self { kind, body: value });
        }
        for (key, kind) in named {
            if let Some(body) = value.get_mut(key).filter(|b| b.is_object()) {
                return Some(Self { kind, body: body.take() });
            }
        }
        // `GetTask` answers with the task itself.
        let is_task = value["id"].is_string() && value["status"].is_object();
        is_task.then_some(Self { kind: Kind::Task, body: value })
    }

    /// `completed`, `input_required` …; `None` for messages and artifacts.
    pub(super) fn state(&self) -> Option<String> {
        let state = self.body["status"]["state"].as_str()?;
        let state = state.strip_prefix("TASK_STATE_").unwrap_or(state);
        Some(state.to_ascii_lowercase().replace('-', "_"))
    }

    pub(super) fn task_id(&self) -> Option<&str> {
        let key = if self.kind == Kind::Task { "id" } else { "taskId" };
        self.body[key].as_str().filter(|id| !id.is_empty())
    }

    pub(super) fn context_id(&self) -> Option<&str> {
        self.body["contextId"].as_str().filter(|id| !id.is_empty())
    }

    /// What people read of it: a message's text; a task's artifacts, else what its status says.
    pub(super) fn text(&self) -> String {
        let status = || parts(&self.body["status"]["message"]["parts"]);
        match self.kind {
            Kind::Message => parts(&self.body["parts"]),
            Kind::ArtifactUpdate => parts(&self.body["artifact"]["parts"]),
            Kind::StatusUpdate => status(),
            Kind::Task => {
                let artifacts = self.body["artifacts"].as_array().into_iter().flatten();
                let texts: Vec<_> = artifacts.map(|a| parts(&a["parts"])).collect();
                if texts.is_empty() { status() } else { texts.join("\n") }
            }
        }
    }
}

/// Whether nothing more comes of a task in this state unless somebody says something.
pub(super) fn rests(state: &str) -> bool {
    went_wrong(state) || matches!(state, "completed" | "input_required" | "auth_required")
}

/// Whether the agent did not do what it was asked.
pub(super) fn went_wrong(state: &str) -> bool {
    matches!(state, "failed" | "canceled" | "rejected")
}

fn parts(list: &Value) -> String {
    let texts: Vec<_> = list.as_array().into_iter().flatten().filter_map(part).collect();
    texts.join("\n")
}

fn part(part: &Value) -> Option<String> {
    if let Some(text) = part["text"].as_str() {
        return Some(text.to_owned());
    }
    if let Some(data) = part.get("data") {
        return Some(data.to_string());
    }
    let (file, new) = (&part["file"], part);
    if let Some(url) = new["url"].as_str().or(file["uri"].as_str()) {
        return Some(url.to_owned());
    }
    let name = new["filename"].as_str().or(file["name"].as_str()).unwrap_or("file");
    let bytes = new["raw"].as_str().or(file["bytes"].as_str())?;
    Some(format!("[{name}: {} bytes, see --json]", bytes.len() / 4 * 3))
}

/// JSON-RPC: `code`, `message`; HTTP+JSON: `google.rpc.Status`, the same two.
fn refused(error: &Value) -> ApiError {
    let message = error["message"].as_str().unwrap_or("it does not say why");
    ApiError::new(Code::AgentFailed, "the agent refused the question")
        .why(format!("{message} (its code: {})", error["code"]))
}

fn odd(why: &str) -> ApiError {
    ApiError::new(Code::AgentFailed, "the agent's answer is none of A2A").why(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(binding: Binding, value: &Value) -> Result<Said, ApiError> {
        Said::read(binding, value.to_string().as_bytes())
    }

    #[test]
    fn both_dialects_read_alike() {
        let new = json!({ "jsonrpc": "2.0", "id": 1, "result": { "task": { "id": "t", "contextId": "c",
            "status": { "state": "TASK_STATE_INPUT_REQUIRED" },
            "artifacts": [{ "parts": [{ "text": "a" }, { "data": { "n": 1 } }] }, { "parts": [{ "url": "https://x/" }] }] } } });
        let old = json!({ "jsonrpc": "2.0", "id": 1, "result": { "kind": "task", "id": "t", "contextId": "c",
            "status": { "state": "input-required" },
            "artifacts": [{ "parts": [{ "kind": "text", "text": "a" }, { "kind": "data", "data": { "n": 1 } }] },
                          { "parts": [{ "kind": "file", "file": { "uri": "https://x/" } }] }] } });
        for value in [new, old] {
            let said = read(Binding::JsonRpc, &value).unwrap();
            assert_eq!((said.kind, said.state().unwrap().as_str()), (Kind::Task, "input_required"));
            assert_eq!((said.task_id(), said.context_id()), (Some("t"), Some("c")));
            assert_eq!(said.text(), "a\n{\"n\":1}\nhttps://x/");
        }
    }

    #[test]
    fn a_message_over_http_and_an_event_are_read() {
        let message = json!({ "message": { "messageId": "m", "parts": [{ "text": "hello" }] } });
        assert_eq!(read(Binding::HttpJson, &message).unwrap().text(), "hello");
        let update = json!({ "artifactUpdate": { "taskId": "t", "artifact": { "parts": [{ "text": "x" }] } } });
        let update = read(Binding::HttpJson, &update).unwrap();
        assert_eq!((update.kind, update.task_id()), (Kind::ArtifactUpdate, Some("t")));
    }

    #[test]
    fn refusals_and_nonsense_are_errors_that_say_why() {
        let refused = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32_001, "message": "no such task" } });
        let error = read(Binding::JsonRpc, &refused).unwrap_err();
        assert_eq!(error.code, Code::AgentFailed);
        assert!(error.why.unwrap().contains("no such task (its code: -32001)"));
        for nonsense in
            [json!([]), json!({ "result": 7 }), json!("text"), json!({ "result": { "task": 1 } })]
        {
            assert!(read(Binding::JsonRpc, &nonsense).is_err(), "{nonsense}");
        }
    }
}
