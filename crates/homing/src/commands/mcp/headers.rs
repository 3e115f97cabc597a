//! The request headers of Streamable HTTP, derived from a message.
//!
//! ```text
//! sessions (2025-03-26 … 2025-11-25)   Mcp-Session-Id, MCP-Protocol-Version: as negotiated
//! stateless (2026-07-28)               MCP-Protocol-Version: params._meta, Mcp-Method, Mcp-Name,
//!                                      Mcp-Param-*: arguments whose schema has `x-mcp-header`
//! ```
//! MCP specification 2026-07-28, Streamable HTTP, "Standard headers" and "Custom headers". A value that is
//! no plain ASCII field value travels as `=?base64?…?=`.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::wire::Message;

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// Tools whose annotated parameters are remembered.
const TOOLS_MAX: usize = 4_096;
/// Depth of nested properties that is looked into.
const DEPTH_MAX: usize = 16;

/// A header and the path of the argument that it repeats.
type Annotation = (HeaderName, Vec<String>);

/// Which arguments of which tool are repeated as headers, as the server's lists said.
#[derive(Debug, Default)]
pub(super) struct ToolHeaders(BTreeMap<String, Vec<Annotation>>);

impl ToolHeaders {
    /// Learns from an answer to `tools/list`.
    pub(super) fn learn(&mut self, result: &Value) {
        for tool in result["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else { continue };
            let mut found = Vec::new();
            collect(&tool["inputSchema"], &mut Vec::new(), &mut found);
            if found.is_empty() {
                self.0.remove(name);
            } else if self.0.len() < TOOLS_MAX {
                self.0.insert(name.to_owned(), found);
            }
        }
    }

    fn of_call(&self, params: &Value) -> Vec<(HeaderName, HeaderValue)> {
        let annotations = params["name"].as_str().and_then(|name| self.0.get(name));
        let value = |(header, path): &Annotation| {
            let at = path.iter().try_fold(&params["arguments"], |value, key| value.get(key))?;
            Some((header.clone(), field_value(&text_of(at)?)))
        };
        annotations.into_iter().flatten().filter_map(value).collect()
    }
}

fn collect(schema: &Value, path: &mut Vec<String>, into: &mut Vec<Annotation>) {
    let Some(properties) = schema["properties"].as_object().filter(|_| path.len() < DEPTH_MAX)
    else {
        return;
    };
    for (name, property) in properties {
        path.push(name.clone());
        let header = property["x-mcp-header"].as_str().map(|h| format!("mcp-param-{h}"));
        if let Some(Ok(header)) = header.map(|h| h.to_ascii_lowercase().parse()) {
            into.push((header, path.clone()));
        }
        collect(property, path, into);
        path.pop();
    }
}

/// The revision that a stateless message names; `None`: it belongs to a session.
pub(super) fn stateless_version(message: &Message) -> Option<&str> {
    message.params().get("_meta")?.get(VERSION_KEY)?.as_str()
}

/// The headers that a stateless message needs.
pub(super) fn of_stateless(
    message: &Message,
    version: &str,
    tools: &ToolHeaders,
) -> Vec<(HeaderName, HeaderValue)> {
    let params = message.params();
    let method = message.method().unwrap_or_default();
    let mut headers = vec![
        (HeaderName::from_static("mcp-protocol-version"), field_value(version)),
        (HeaderName::from_static("mcp-method"), field_value(method)),
    ];
    if let Some(name) = name_key(method).and_then(|key| params.get(key)?.as_str()) {
        headers.push((HeaderName::from_static("mcp-name"), field_value(name)));
    }
    if method == "tools/call" {
        headers.extend(tools.of_call(params));
    }
    headers
}

/// The parameter that `Mcp-Name` repeats.
fn name_key(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn field_value(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let text = if plain {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", BASE64.encode(text.as_bytes()))
    };
    HeaderValue::from_str(&text).expect("printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(value: &Value) -> Message {
        Message::parse(value.to_string().into_bytes()).unwrap()
    }

    fn text(headers: &[(HeaderName, HeaderValue)]) -> Vec<(&str, &str)> {
        headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect()
    }

    #[test]
    fn a_stateless_call_repeats_method_name_and_annotated_arguments() {
        let mut tools = ToolHeaders::default();
        tools.learn(&json!({ "tools": [{ "name": "run", "inputSchema": { "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "properties": { "n": { "type": "integer", "x-mcp-header": "N" } } },
            "plain": { "type": "string" } } } }] }));
        let call = message(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "run", "arguments": { "region": "süd", "deep": { "n": 7 }, "plain": "x" },
            "_meta": { VERSION_KEY: "2026-07-28" } } }));
        let version = stateless_version(&call).unwrap();
        let headers = of_stateless(&call, version, &tools);
        assert_eq!(
            text(&headers),
            [
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "run"),
                ("mcp-param-region", "=?base64?c8O8ZA==?="),
                ("mcp-param-n", "7"),
            ]
        );
    }

    #[test]
    fn a_message_of_a_session_names_no_version() {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        assert_eq!(stateless_version(&message(&call)), None);
    }

    #[test]
    fn values_that_are_no_field_values_are_wrapped() {
        for (text, wrapped) in
            [("a b", false), (" a", true), ("a\r\nHost: x", true), ("=?base64?eA==?=", true)]
        {
            assert_eq!(
                field_value(text).to_str().unwrap().starts_with("=?base64?"),
                wrapped,
                "{text:?}"
            );
        }
    }
}
