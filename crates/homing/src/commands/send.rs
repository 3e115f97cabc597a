//! `homing send` and `homing outbox`: messages to trusted peers, and what became of them.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::messages::{DeliveryState, OutboxMessage, SendRequest};
use homing_api::{ApiError, Client, Code};
use homing_base::MessageId;
use tokio::time::Instant;

use super::content::whole_path;
use super::{OK, Outcome};
use crate::output;
use crate::render::{Table, time};
use crate::session::Session;

/// Bytes of one body; what is larger is a file.
const BODY_BYTES_MAX: usize = 32 * 1_024;
/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often progress is shown where it is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Send a message to a trusted peer; it is kept until the peer has it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing send agent-b 'the report is ready'\n  homing send agent-b - < notes.txt          # at most 32 KiB\n  homing send agent-b --json-body '{\"job\":7}' --wait\n  homing send agent-b --file model.bin --wait --timeout 10m"
)]
pub(crate) struct SendArgs {
    /// Name, address or node ID
    peer: String,
    /// The text, or - for standard input
    #[arg(conflicts_with_all = ["json_body", "file"], required_unless_present_any = ["json_body", "file"])]
    text: Option<String>,
    /// A JSON value, or - for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    json_body: Option<String>,
    /// A file; it stays where it is until the peer has fetched it
    #[arg(long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    /// Give the message up after this long [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    expires: Option<Duration>,
    /// Wait until the peer has it
    #[arg(long, short)]
    wait: bool,
}

/// Messages that are not delivered yet
#[derive(Debug, Args)]
#[command(
    subcommand_required = false,
    after_help = "Examples:\n  homing outbox\n  homing outbox --json\n  homing outbox cancel 5f1d0c0a9b3e4f7782c4d1e0a9b3e4f7"
)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Take a message back; what is on its way may still arrive
    #[command(
        after_help = "Examples:\n  homing outbox cancel 5f1d0c0a9b3e4f7782c4d1e0a9b3e4f7\n  homing outbox -o name | xargs -n1 homing outbox cancel"
    )]
    Cancel {
        /// Its ID
        id: MessageId,
    },
}

pub(crate) async fn send(session: &Session, args: &SendArgs) -> Outcome {
    let request = SendRequest {
        peer: args.peer.clone(),
        text: args.text.as_deref().map(body).transpose()?,
        json: args.json_body.as_deref().map(json_body).transpose()?,
        file: args.file.as_deref().map(whole_path).transpose()?,
        lifetime_ms: args.expires.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
    };
    let client = session.client()?;
    let sent = client.send_message(&request).await?;
    let message = match args.wait {
        true => delivered(session, client, sent.id).await?,
        false => client.outbox_message(sent.id).await?,
    };
    let name = || vec![message.id.to_string()];
    session.out.result(&message, name, || {
        format!("{} {} {}\n", message.id, state(&message), message.to.label())
    });
    match message.state {
        DeliveryState::Failed => Err(failed(&message)),
        _ => Ok(OK),
    }
}

fn failed(message: &OutboxMessage) -> ApiError {
    let why = message.why.as_deref().unwrap_or("unknown");
    let code = match why {
        "expired" => Code::Timeout,
        "too_large" => Code::LimitReached,
        _ => Code::StreamBroken,
    };
    ApiError::new(code, format!("{} did not get it", message.to.label()))
        .why(why)
        .hint("send it again once that is put right")
}

/// Waits until nothing changes any more; shows the progress of files on stderr.
async fn delivered(
    session: &Session,
    client: &Client,
    id: MessageId,
) -> Result<OutboxMessage, ApiError> {
    let deadline = session.timeout.map(|timeout| Instant::now() + timeout);
    let mut progress = Progress { said: Instant::now(), percent: 0 };
    loop {
        let message = client.outbox_message(id).await?;
        progress.show(&message);
        if message.state.is_final() {
            return Ok(message);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let to = message.to.label();
            return Err(ApiError::new(Code::Timeout, format!("{to} does not have it yet"))
                .why(state(&message))
                .hint(format!(
                    "it is kept and sent: homing outbox; or homing outbox cancel {id}"
                )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Progress {
    said: Instant,
    percent: u64,
}

impl Progress {
    fn show(&mut self, message: &OutboxMessage) {
        if message.state != DeliveryState::Fetching || message.size_bytes == 0 {
            return;
        }
        let percent = message.fetched_bytes.saturating_mul(100) / message.size_bytes;
        let terminal = std::io::stderr().is_terminal();
        let pause = if terminal { Duration::ZERO } else { SAY_EVERY };
        if percent != self.percent && self.said.elapsed() >= pause {
            (self.percent, self.said) = (percent, Instant::now());
            let (done, all) = (message.fetched_bytes, message.size_bytes);
            output::say(&format!("{percent:3} %  {done} of {all} bytes"));
        }
    }
}

pub(crate) async fn outbox(session: &Session, args: &OutboxArgs) -> Outcome {
    let client = session.client()?;
    if let Some(OutboxCommand::Cancel { id }) = &args.command {
        let done = client.cancel_message(*id).await?;
        session.out.result(&done, || vec![id.to_string()], || format!("{id} was taken back\n"));
        return Ok(OK);
    }
    let list = client.outbox().await?;
    let names = || list.messages.iter().map(|m| m.id.to_string()).collect();
    session.out.result(&list, names, || {
        let mut table = Table::new(&["ID", "TO", "KIND", "BYTES", "STATE", "AGE"]);
        for message in &list.messages {
            table.row(vec![
                message.id.to_string(),
                message.to.label(),
                message.kind.map_or("", homing_api::messages::BodyKind::as_str).to_owned(),
                message.size_bytes.to_string(),
                state(message),
                message.created.map(time::age).unwrap_or_default(),
            ]);
        }
        if table.is_empty() { "everything was delivered\n".to_owned() } else { table.render() }
    });
    Ok(OK)
}

/// The state in words, with its reason.
fn state(message: &OutboxMessage) -> String {
    match &message.why {
        Some(why) => format!("{}: {why}", message.state.as_str()),
        None => message.state.as_str().to_owned(),
    }
}

/// A text as given, or standard input.
fn body(text: &str) -> Result<String, ApiError> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut input = String::new();
    let read = std::io::stdin().take(BODY_BYTES_MAX as u64 + 1).read_to_string(&mut input);
    read.map_err(|e| {
        ApiError::new(Code::Usage, "standard input is no text")
            .why(e.to_string())
            .hint("homing send PEER --file FILE sends any bytes")
    })?;
    Ok(input)
}

fn json_body(text: &str) -> Result<serde_json::Value, ApiError> {
    serde_json::from_str(&body(text)?)
        .map_err(|e| ApiError::new(Code::Usage, "the body is no JSON").why(e.to_string()))
}
