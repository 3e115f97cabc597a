//! `homing demo`: the main job on one machine, with real daemons, told as it happens.
//!
//! ```text
//! relay (127.0.0.1) ── my-agent (127.0.0.2, later 127.0.0.3) ── agent-b (127.0.0.1)
//! 1 start three nodes   2 handshake, approve   3 ping   4 kill -9 and rebirth elsewhere   5 ping again
//! ```
//! Everything lives in a temporary directory and ends with this command. Exit 0 only when all of it
//! happened.

mod stage;
mod story;

use clap::Args;
use serde::Serialize;

use super::{OK, Outcome};
use crate::output;
use crate::session::Session;

/// The main job on this machine, told as it happens, in under half a minute
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing demo\n  homing demo --json")]
pub(crate) struct DemoArgs {}

/// `homing.demo/v1`.
#[derive(Debug, Serialize)]
struct Told {
    schema: &'static str,
    address: homing_base::Address,
    same_address: bool,
    trust_survived: bool,
    gap_ms: f64,
    silence_ms: f64,
    elapsed_ms: f64,
}

pub(crate) async fn run(session: &Session, _: &DemoArgs) -> Outcome {
    let stage = stage::Stage::open()?;
    let narrator = Narrator { to_stderr: session.out.format.is_json() };
    let told = tokio::select! {
        told = story::tell(&stage, &narrator) => told,
        _ = tokio::signal::ctrl_c() => {
            Err(homing_api::ApiError::new(homing_api::Code::Interrupted, "the demo was stopped"))
        }
    };
    stage.close().await;
    let told = told?;
    if session.out.format.is_json() {
        session.out.result(&told, Vec::new, String::new);
    }
    Ok(OK)
}

/// Where the story is told: the story is the result, unless JSON is.
struct Narrator {
    to_stderr: bool,
}

impl Narrator {
    fn say(&self, text: &str) {
        match self.to_stderr {
            true => output::say(text),
            false => output::print(&format!("{text}\n")),
        }
    }
}
