//! JSON-RPC lines: what this program must know of a message to carry it.
//!
//! The stdio transport of MCP is one JSON-RPC message per line, UTF-8, without line feeds inside. Lines
//! are passed on as they came; they are parsed only to see whose answer is whose.

use homing_api::{ApiError, Code};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, mpsc};

/// The longest message: what the local API accepts as a body.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Requests of the client that wait for an answer; more are answered with an error.
pub(super) const IN_FLIGHT_MAX: usize = 256;

/// JSON-RPC 2.0 §5.1.
pub(super) const PARSE_ERROR: i64 = -32_700;
pub(super) const INVALID_REQUEST: i64 = -32_600;
/// First of the codes that are left to servers; MCP's SDKs use it for a closed connection.
pub(super) const CONNECTION_CLOSED: i64 = -32_000;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// As it came, without the line feed.
    pub(super) line: Vec<u8>,
    value: Value,
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// The answer to a line that is no message.
    pub(super) fn parse(line: Vec<u8>) -> Result<Self, Vec<u8>> {
        match serde_json::from_slice(&line) {
            Ok(value @ Value::Object(_)) => Ok(Self { line, value }),
            Ok(_) => {
                Err(error_line(&Value::Null, INVALID_REQUEST, "one JSON object per line", None))
            }
            Err(error) => {
                Err(error_line(&Value::Null, PARSE_ERROR, &format!("no JSON: {error}"), None))
            }
        }
    }

    /// Of a request or a notification.
    pub(super) fn method(&self) -> Option<&str> {
        self.value.get("method")?.as_str()
    }

    /// Of a request: its text is the key of everything that waits for an answer, so `1` is not `"1"`.
    pub(super) fn request_id(&self) -> Option<&Value> {
        self.method().and(self.value.get("id"))
    }

    /// Of an answer.
    pub(super) fn answer_id(&self) -> Option<&Value> {
        if self.value.get("method").is_some() { None } else { self.value.get("id") }
    }

    pub(super) fn params(&self) -> &Value {
        self.value.get("params").unwrap_or(&Value::Null)
    }

    pub(super) fn result(&self) -> &Value {
        self.value.get("result").unwrap_or(&Value::Null)
    }

    pub(super) fn error(&self) -> Option<&Value> {
        self.value.get("error")
    }
}

/// An error answer as a line; `data` is Homing's own error.
pub(super) fn error_line(id: &Value, code: i64, message: &str, data: Option<&ApiError>) -> Vec<u8> {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = serde_json::to_value(data).expect("errors serialise");
    }
    answer_line(id, &error)
}

/// An error answer as a line.
pub(super) fn answer_line(id: &Value, error: &Value) -> Vec<u8> {
    let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    serde_json::to_vec(&answer).expect("JSON serialises")
}

/// What the client reads when its request cannot be answered.
pub(super) fn failed_line(id: &Value, error: &ApiError) -> Vec<u8> {
    let why = error.why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
    error_line(id, CONNECTION_CLOSED, &format!("{}{why}", error.message), Some(error))
}

/// JSON has line breaks only between its tokens: they become blanks.
pub(super) fn one_line(mut json: Vec<u8>) -> Vec<u8> {
    for byte in &mut json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    json
}

/// Standard output: whole lines, nothing else.
#[derive(Debug)]
pub(super) struct Out(Mutex<tokio::io::Stdout>);

impl Out {
    pub(super) fn new() -> Self {
        Self(Mutex::new(tokio::io::stdout()))
    }

    /// Writes one message. A client that went away is noticed at the end of its input.
    pub(super) async fn line(&self, line: &[u8]) {
        let mut stdout = self.0.lock().await;
        let whole = [line, b"\n"].concat();
        let _ = stdout.write_all(&whole).await;
        let _ = stdout.flush().await;
    }
}

/// Standard input as lines; they outlive a broken stream.
pub(super) fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut stdin = BufReader::new(tokio::io::stdin());
        while let Ok(Some(line)) = read_line(&mut stdin).await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line that is not empty; `None`: the end.
///
/// # Errors
/// `limit_reached` when it is too long, else what reading says.
pub(super) async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<Vec<u8>>, ApiError> {
    loop {
        let mut line = Vec::new();
        let mut limited = from.take(LINE_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut line).await;
        if read.map_err(|e| ApiError::new(Code::StreamBroken, e.to_string()))? == 0 {
            return Ok(None);
        }
        if line.len() > LINE_BYTES_MAX {
            let message = format!("a message has more than {LINE_BYTES_MAX} bytes");
            return Err(ApiError::new(Code::LimitReached, message));
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn requests_answers_and_notifications_are_told_apart() {
        let request = message(r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#);
        assert_eq!((request.request_id(), request.answer_id()), (Some(&json!("1")), None));
        let answer = message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!((answer.request_id(), answer.answer_id()), (None, Some(&json!(1))));
        let notice = message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!((notice.request_id(), notice.answer_id()), (None, None));
        assert!(Message::parse(b"[1]".to_vec()).is_err());
        assert!(
            String::from_utf8(Message::parse(b"hello".to_vec()).unwrap_err())
                .unwrap()
                .contains("-32700")
        );
    }

    #[tokio::test]
    async fn lines_lose_their_ends_and_blank_ones_are_skipped() {
        let mut from = &b"{}\r\n\n  \n{\"a\":1}"[..];
        assert_eq!(read_line(&mut from).await.unwrap().unwrap(), b"{}");
        assert_eq!(read_line(&mut from).await.unwrap().unwrap(), b"{\"a\":1}");
        assert_eq!(read_line(&mut from).await.unwrap(), None);
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(read_line(&mut &long[..]).await.unwrap_err().code, Code::LimitReached);
    }
}
