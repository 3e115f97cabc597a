//! stdout and stderr: formats, errors, colour. Every byte the program prints passes here.
//!
//! stdout holds results only. Errors go to stderr in the format of the results: lines for people,
//! one `homing.error/v1` object for programs.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use homing_api::{ApiError, Code};
use serde::Serialize;

use crate::args::Color;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // What suits people best.
    #[default]
    Auto,
    // Aligned columns.
    Table,
    // One JSON object.
    Json,
    // One JSON object per line, for streams.
    Jsonl,
    // One identifier per line.
    Name,
}

impl Format {
    /// Whether results and errors are JSON.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Format::Json | Format::Jsonl)
    }
}

/// Where results go and how they look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    color: bool,
}

impl Output {
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !plain && io::stdout().is_terminal(),
        };
        Self { format, color }
    }

    /// Prints a result: the object for programs, `names` for `-o name`, else `text`.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        names: impl FnOnce() -> Vec<String>,
        text: impl FnOnce() -> String,
    ) {
        match self.format {
            Format::Json => print(&format!("{}\n", pretty(value))),
            Format::Jsonl => self.line(value),
            Format::Name => print(&names().iter().map(|n| format!("{n}\n")).collect::<String>()),
            Format::Auto | Format::Table => print(&text()),
        }
    }

    /// Prints one object of a stream on one line.
    pub(crate) fn line<T: Serialize>(&self, value: &T) {
        let text = serde_json::to_string(value).expect("our types serialise");
        print(&format!("{text}\n"));
    }

    /// Good, in green where colour is wanted.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("our types serialise")
}

/// Writes to stdout at once. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Writes bytes to stdout as they are. A result that cannot be written is none: the program ends with an error.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say(&format!("error: the result could not be written\n  why: {error}"));
            std::process::exit(Code::Internal.exit().into());
        }
    }
}

/// One line of conversation, to stderr.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A line to stderr that the next one replaces; for terminals.
pub(crate) fn say_over(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush());
}

/// Prints an error in the right form; the code is how to exit.
pub(crate) fn fail(error: &ApiError, format: Format) -> ExitCode {
    if format.is_json() {
        say(&serde_json::to_string(error).expect("errors serialise"));
    } else {
        say(&lines(error));
    }
    ExitCode::from(if error.exit == 0 { Code::Internal.exit() } else { error.exit })
}

fn lines(error: &ApiError) -> String {
    let mut text = format!("error: {}", error.message);
    if let Some(why) = &error.why {
        text.push_str(&format!("\n  why: {why}"));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\n  try: {hint}"));
    }
    text.push_str(&format!("\n  code: {} (exit {})", error.code, error.exit));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_what_to_try_and_its_code() {
        let error = ApiError::new(Code::PeerOffline, "gpu-7 is not answering")
            .why("last seen 4 minutes ago")
            .hint("homing wait online gpu-7");
        let expected = "error: gpu-7 is not answering\n  why: last seen 4 minutes ago\n  \
                        try: homing wait online gpu-7\n  code: peer_offline (exit 7)";
        assert_eq!(lines(&error), expected);
    }
}
