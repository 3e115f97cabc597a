//! The faces of Homing: one binary, `homing`.
//!
//! ```text
//! args ──parse──► Command ──run(session)──► commands::* ──Client──► the daemon's local API
//!                                               │
//! stdout ◄── render (table · json · jsonl · name) ──► stderr: errors, hints, progress
//! ```
//! The command line has no private powers: what needs the daemon goes through [`homing_api::Client`].
//! Only `daemon run`, `relay serve`, `key` and `config` touch the node crate directly.

mod args;
mod commands;
mod help;
mod output;
mod pipes;
mod render;
mod session;

use std::process::ExitCode;

fn main() -> ExitCode {
    abort_on_panic();
    let cli = match help::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let session = match session::Session::open(&cli.global) {
        Ok(session) => session,
        Err(error) => return output::fail(&error, cli.global.error_format()),
    };
    let runtime = match session::runtime(cli.command.serves()) {
        Ok(runtime) => runtime,
        Err(error) => return session.fail(&error),
    };
    let outcome = runtime.block_on(commands::run(&session, cli.command));
    // A thread that waits for the terminal must not keep the process.
    runtime.shutdown_background();
    session.note_version_skew();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => session.fail(&error),
    }
}

/// In every build what the released one does: a broken task must not live on as a daemon that half works.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
