//! `homing recv`: what trusted peers have sent. A message is printed, then acknowledged: a crash between the two
//! prints it again.

use clap::Args;
use homing_api::client::EventStream;
use homing_api::messages::{InboxList, InboxMessage, MessageRef};
use homing_api::{ApiError, Code};
use tokio::time::{Instant, timeout_at};

use super::{OK, Outcome};
use crate::output::{self, Format};
use crate::session::Session;

/// Messages that trusted peers have sent
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing recv                       # what is there; it leaves the inbox\n  homing recv -f --json             # and what comes, one line each\n  homing recv --from agent-b --peek\n  homing recv -f --count 1 --timeout 1m"
)]
pub(crate) struct RecvArgs {
    /// Wait for what comes
    #[arg(long, short)]
    follow: bool,
    /// Only from this peer: name, address or node ID
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
    /// Leave them in the inbox; -o name does too, as it prints only their IDs
    #[arg(long)]
    peek: bool,
    /// Stop after this many
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

pub(crate) async fn run(session: &Session, args: &RecvArgs) -> Outcome {
    let client = session.client()?;
    if args.follow {
        let events = client.follow_inbox(args.from.as_deref()).await?;
        return follow(session, events, args.count, args.peek).await;
    }
    let InboxList { messages: unread, fetching, .. } = client.inbox(args.from.as_deref()).await?;
    if fetching > 0 {
        output::say(&format!(
            "files that are being fetched: {fetching}; to wait for them: homing recv -f"
        ));
    }
    let count = args.count.map_or(usize::MAX, |count| count as usize);
    for message in unread.iter().take(count) {
        show(session, message);
        if !args.peek && shows_bodies(session) {
            acknowledge(session, message).await?;
        }
    }
    Ok(OK)
}

/// Prints messages as they come, until `--count`, `--timeout` or the end of the daemon.
pub(crate) async fn follow(
    session: &Session,
    mut events: EventStream,
    count: Option<u32>,
    peek: bool,
) -> Outcome {
    let deadline = session.timeout.map(|timeout| Instant::now() + timeout);
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        let next = match deadline {
            None => events.recv().await,
            Some(deadline) => timeout_at(deadline, events.recv())
                .await
                .map_err(|_| ApiError::new(Code::Timeout, "no further message in time"))?,
        };
        let Some(event) = next? else {
            return Err(
                ApiError::new(Code::DaemonNotRunning, "the daemon stopped").hint("homing up")
            );
        };
        if event.event != "message" {
            output::say("waiting for messages");
            continue;
        }
        let message: InboxMessage = serde_json::from_str(&event.data)
            .map_err(|e| ApiError::new(Code::Internal, format!("a message: {e}")))?;
        show(session, &message);
        if !peek && shows_bodies(session) {
            acknowledge(session, &message).await?;
        }
        seen += 1;
    }
    Ok(OK)
}

/// What was not shown was not received.
fn shows_bodies(session: &Session) -> bool {
    session.out.format != Format::Name
}

async fn acknowledge(session: &Session, message: &InboxMessage) -> Result<(), ApiError> {
    let read = MessageRef { from: message.from.node_id, id: message.id };
    session.client()?.acknowledge(vec![read]).await.map(|_| ())
}

/// One line per message; a body of several lines is indented.
fn show(session: &Session, message: &InboxMessage) {
    if session.out.format.is_json() {
        return session.out.line(message);
    }
    if !shows_bodies(session) {
        return output::print(&format!("{}\n", message.id));
    }
    let body = match (&message.text, &message.json, &message.file) {
        (Some(text), ..) => harmless(text.trim_end_matches('\n')),
        (_, Some(json), _) => json.to_string(),
        (_, _, Some(file)) => harmless(&format!("{} ({} bytes)", file.path, file.size_bytes)),
        _ => String::new(),
    };
    let topic = message.topic.as_ref().map(|topic| format!(" {topic}")).unwrap_or_default();
    let from = message.from.label();
    output::print(&format!("{}  {from}{topic}  {body}\n", message.received));
}

/// A peer's text cannot steer the terminal, nor pass for a line of ours.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "\n    ".to_owned(),
        '\t' => "\t".to_owned(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_does_not_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc\td\r"), "a\\u{1b}[2Jb\n    c\td\\u{d}");
    }
}
