//! Standard input and output ↔ a stdio server behind a stream.
//!
//! Lines pass as they came. What is remembered serves `--retry`: a new stream is a new process, which
//! is taken through the client's own handshake again; what the old one had not answered is answered with
//! an error, because nobody can know whether it was done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use homing_api::client::RawStream;
use homing_api::streams::StreamState;
use homing_api::{ApiError, Code};
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::connect::Way;
use super::wire::{self, IN_FLIGHT_MAX, Message, Out};
use crate::commands::{OK, Outcome};
use crate::output;

/// Processes in a row that end without a word: the server does not work.
const SILENT_MAX: u32 = 5;

type Input = mpsc::Receiver<Vec<u8>>;

/// What a new process must be told, and what the old one has not answered.
#[derive(Debug, Default)]
struct Conversation {
    initialize: Option<Message>,
    initialized: Option<Vec<u8>>,
    /// By the text of the request's ID.
    open: BTreeMap<String, Value>,
    /// The present process has said something.
    heard: bool,
    /// It has ended by itself.
    quit: bool,
}

/// What happens to a line of the client.
enum Fate {
    Pass(Vec<u8>),
    Answer(Vec<u8>),
}

impl Conversation {
    fn on_input(&mut self, line: Vec<u8>) -> Fate {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(answer) => return Fate::Answer(answer),
        };
        if let Some(id) = message.request_id() {
            if self.open.len() >= IN_FLIGHT_MAX {
                let error = ApiError::new(Code::LimitReached, "too many requests at once");
                return Fate::Answer(wire::failed_line(id, &error));
            }
            self.open.insert(id.to_string(), id.clone());
        }
        match message.method() {
            Some("initialize") => self.initialize = Some(message.clone()),
            Some("notifications/initialized") => self.initialized = Some(message.line.clone()),
            _ => {}
        }
        Fate::Pass(message.line)
    }

    /// Whether a line of the server is a message.
    fn on_output(&mut self, line: &[u8]) -> bool {
        let Ok(message) = Message::parse(line.to_vec()) else { return false };
        self.heard = true;
        if let Some(id) = message.answer_id() {
            self.open.remove(&id.to_string());
        }
        true
    }

    /// Whether the last process ended by itself without a word; forgets it.
    fn ended_silently(&mut self) -> bool {
        let (heard, quit) = (std::mem::take(&mut self.heard), std::mem::take(&mut self.quit));
        quit && !heard
    }

    /// The answers that will never come; that of an open handshake still may.
    fn abandon(&mut self, error: &ApiError) -> Vec<Vec<u8>> {
        let handshake =
            self.initialize.as_ref().and_then(Message::request_id).map(Value::to_string);
        let (kept, lost) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|(id, _)| Some(id) == handshake.as_ref());
        self.open = kept;
        let lost: BTreeMap<String, Value> = lost;
        lost.values().map(|id| wire::failed_line(id, error)).collect()
    }
}

/// Carries messages until the client's input ends, or the server does.
pub(super) async fn run(way: &Way, stream: RawStream, mut input: Input, out: &Out) -> Outcome {
    let conversation = Mutex::new(Conversation::default());
    let mut stream = Some(stream);
    let (mut again, mut silent) = (false, 0);
    loop {
        let open = match stream.take() {
            Some(stream) => stream,
            None => way.open().await?,
        };
        let Err(error) = carry(way, open, again, &conversation, &mut input, out).await else {
            return Ok(OK);
        };
        let answers = lock(&conversation).abandon(&error);
        for answer in answers {
            out.line(&answer).await;
        }
        silent = if lock(&conversation).ended_silently() { silent + 1 } else { 0 };
        if !way.goes_on_after(&error) || silent >= SILENT_MAX {
            return Err(error);
        }
        output::say(&format!("{error}; connecting again"));
        again = true;
        tokio::time::sleep(super::connect::RETRY_AFTER).await;
    }
}

/// One stream's life. `Ok`: the client's input ended, and then the server.
async fn carry(
    way: &Way,
    stream: RawStream,
    again: bool,
    conversation: &Mutex<Conversation>,
    input: &mut Input,
    out: &Out,
) -> Result<(), ApiError> {
    let id = stream.id;
    let (reader, mut writer) = tokio::io::split(stream.io);
    let mut reader = BufReader::with_capacity(64 * 1_024, reader);
    if again {
        greet(conversation, &mut reader, &mut writer, out).await?;
    }
    let receiving = async {
        while let Some(line) = wire::read_line(&mut reader).await? {
            if lock(conversation).on_output(&line) {
                out.line(&line).await;
            } else {
                output::say("the server wrote a line that is no JSON-RPC message; left out");
            }
        }
        Ok(())
    };
    let sending = send(writer, conversation, input, out);
    tokio::pin!(receiving, sending);
    let (received, input_ended) = tokio::select! {
        received = &mut receiving => (received, false),
        ended = &mut sending => (receiving.await, ended),
    };
    let told = way.tunnel.client.stream_outcome(id).await.ok();
    match told.filter(|o| o.state == StreamState::Broken).and_then(|o| o.error) {
        Some(error) => Err(error),
        None if input_ended && received.is_ok() => Ok(()),
        None => {
            lock(conversation).quit = true;
            Err(received.err().unwrap_or_else(|| ended(way)))
        }
    }
}

fn ended(way: &Way) -> ApiError {
    let message = format!("the MCP server of {} ended", way.tunnel.peer);
    ApiError::new(Code::StreamBroken, message)
        .why("its process closed its output while the client was still there")
        .hint("on the other side: homing expose list, and run the server's command by hand")
}

/// Client to server; whether the client's input has ended.
async fn send(
    mut writer: impl AsyncWrite + Unpin,
    conversation: &Mutex<Conversation>,
    input: &mut Input,
    out: &Out,
) -> bool {
    while let Some(line) = input.recv().await {
        let fate = lock(conversation).on_input(line);
        match fate {
            Fate::Answer(answer) => out.line(&answer).await,
            Fate::Pass(line) => {
                if write_line(&mut writer, line).await.is_err() {
                    return false;
                }
            }
        }
    }
    let _ = writer.shutdown().await;
    true
}

/// Takes a new process through the handshake that the client had with the old one.
async fn greet(
    conversation: &Mutex<Conversation>,
    reader: &mut (impl tokio::io::AsyncBufRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    out: &Out,
) -> Result<(), ApiError> {
    let (initialize, initialized, awaited) = {
        let told = lock(conversation);
        let Some(initialize) = told.initialize.clone() else { return Ok(()) };
        let id = initialize.request_id().cloned().unwrap_or_default();
        (
            initialize,
            told.initialized.clone(),
            (id.clone(), told.open.contains_key(&id.to_string())),
        )
    };
    let (id, client_waits) = awaited;
    write_line(writer, initialize.line).await?;
    if !client_waits {
        await_answer(conversation, reader, &id, out).await?;
    }
    match initialized {
        Some(line) => write_line(writer, line).await,
        None => Ok(()),
    }
}

/// Until the new server has answered an `initialize` whose answer the client has got already.
async fn await_answer(
    conversation: &Mutex<Conversation>,
    reader: &mut (impl tokio::io::AsyncBufRead + Unpin),
    id: &serde_json::Value,
    out: &Out,
) -> Result<(), ApiError> {
    loop {
        let Some(line) = wire::read_line(reader).await? else { return Err(silent()) };
        match Message::parse(line) {
            Ok(message) if message.answer_id() == Some(id) => {
                lock(conversation).heard = true;
                return Ok(());
            }
            Ok(message) => out.line(&message.line).await,
            Err(_) => {}
        }
    }
}

fn silent() -> ApiError {
    ApiError::new(Code::StreamBroken, "the new MCP server ended before it was initialized")
}

async fn write_line(
    writer: &mut (impl AsyncWrite + Unpin),
    mut line: Vec<u8>,
) -> Result<(), ApiError> {
    line.push(b'\n');
    let written = writer.write_all(&line).await.and(writer.flush().await);
    written.map_err(|e| ApiError::new(Code::StreamBroken, "the stream broke").why(e.to_string()))
}

fn lock(conversation: &Mutex<Conversation>) -> std::sync::MutexGuard<'_, Conversation> {
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(conversation: &mut Conversation, line: &str) -> bool {
        matches!(conversation.on_input(line.into()), Fate::Pass(passed) if passed == line.as_bytes())
    }

    #[test]
    fn what_was_not_answered_is_answered_with_an_error_but_the_handshake_may_still_be() {
        let mut told = Conversation::default();
        assert!(passed(&mut told, r#"{"id":0,"method":"initialize"}"#));
        assert!(passed(&mut told, r#"{"id":"a","method":"tools/call"}"#));
        assert!(passed(&mut told, r#"{"id":2,"method":"tools/call"}"#));
        assert!(told.on_output(br#"{"id":2,"result":{}}"#));
        let error = ApiError::new(Code::StreamBroken, "gone");
        let answers = told.abandon(&error);
        assert_eq!(answers.len(), 1);
        let answer: Value = serde_json::from_slice(&answers[0]).unwrap();
        assert_eq!(
            (&answer["id"], &answer["error"]["data"]["code"]),
            (&"a".into(), &"stream_broken".into())
        );
        assert!(told.open.contains_key("0") && told.abandon(&error).is_empty());
    }

    #[test]
    fn requests_are_bounded_and_noise_of_the_server_is_no_message() {
        let mut told = Conversation::default();
        for id in 0..IN_FLIGHT_MAX {
            assert!(passed(&mut told, &format!(r#"{{"id":{id},"method":"ping"}}"#)));
        }
        let more = told.on_input(br#"{"id":"more","method":"ping"}"#.to_vec());
        assert!(matches!(more, Fate::Answer(_)));
        assert!(!told.on_output(b"Server started on port 8000"));
    }
}
