//! Parsing and help: the grouped overview, and usage errors in the same form as every other error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use homing_api::{ApiError, Code};

use crate::args::{Cli, GROUPS};
use crate::output::{self, Format};

/// The command tree with its grouped overview.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let overview = overview(&command);
    command.help_template(format!(
        "{{about}}\n\nUsage: homing <COMMAND> [OPTIONS]\n\n{overview}Options:\n{{options}}\n\n{EXAMPLES}"
    ))
}

const EXAMPLES: &str = "\
Examples:
  homing demo                        the whole thing on this machine, in half a minute
  homing up --hostname planner       start an agent; its address is its key's
  homing ping planner                reach it, wherever it runs today

Every command has --help. Results go to stdout, everything else to stderr.";

fn overview(command: &clap::Command) -> String {
    let mut text = String::new();
    for (group, names) in GROUPS {
        text.push_str(&format!("{group}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {name:<12} {about}\n"));
        }
        text.push('\n');
    }
    text
}

/// Parses the command line. Help, version and errors are printed here; the code says how to exit.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.len() <= 1 {
        output::print(&command().render_help().to_string());
        return Err(ExitCode::SUCCESS);
    }
    let parsed =
        command().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&error.to_string());
            ExitCode::SUCCESS
        }
        _ => output::fail(&usage(&error, &args), wanted_format(&args)),
    })
}

/// The format of an error about arguments that could not be parsed.
fn wanted_format(args: &[OsString]) -> Format {
    let texts: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    let json = |value: &str| value.starts_with("json");
    let pair = texts.windows(2).any(|w| (w[0] == "-o" || w[0] == "--output") && json(&w[1]));
    let single = texts.iter().any(|a| {
        a == "--json" || a.strip_prefix("--output=").or(a.strip_prefix("-o")).is_some_and(json)
    });
    if pair || single { Format::Json } else { Format::Auto }
}

fn usage(error: &clap::Error, args: &[OsString]) -> ApiError {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let hint = help_hint(args);
        // `expose` has both, and is mostly used with its argument.
        let what = match hint.as_str() {
            "homing expose --help" => "TARGET",
            _ => "a command",
        };
        return ApiError::new(Code::Usage, format!("{what} is missing")).hint(hint);
    }
    let message = match (error.kind(), context(error, ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with('-') => {
            format!("unknown flag {flag}")
        }
        (ErrorKind::UnknownArgument, Some(word)) => format!("unexpected argument {word}"),
        (ErrorKind::MissingRequiredArgument, Some(what)) => format!("{what} is missing"),
        _ => first_lines(error),
    };
    let suggestion = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .into_iter()
        .chain([ContextKind::SuggestedValue])
        .find_map(|kind| context(error, kind));
    let hint = suggestion.map(|s| format!("did you mean {s}?")).unwrap_or_else(|| help_hint(args));
    ApiError::new(Code::Usage, message).hint(hint)
}

/// The message of clap without its `error: ` and usage block.
fn first_lines(error: &clap::Error) -> String {
    let text = error.to_string();
    let body = text.strip_prefix("error: ").unwrap_or(&text);
    let lines: Vec<_> = body.lines().take_while(|l| !l.is_empty()).map(str::trim).collect();
    lines.join(" ").replace('\'', "`")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        // clap sorts by likeness, the best last.
        ContextValue::Strings(list) => list.last().cloned(),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

/// `homing trust revoke --help`, as far as the words are commands.
fn help_hint(args: &[OsString]) -> String {
    let mut command = command();
    let mut path = String::from("homing");
    for word in args.iter().skip(1).filter_map(|a| a.to_str()) {
        let Some(next) = command.find_subcommand(word).cloned() else { continue };
        path = format!("{path} {}", next.get_name());
        command = next;
    }
    format!("{path} --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&clap::Command, &str)) {
        visit(command, path);
        for sub in command.get_subcommands() {
            all(sub, &format!("{path} {}", sub.get_name()), visit);
        }
    }

    #[test]
    fn the_tree_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_visible_command_stands_in_one_group() {
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let tree = command();
        let mut visible: Vec<_> =
            tree.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name()).collect();
        let mut sorted = grouped.clone();
        sorted.sort_unstable();
        visible.sort_unstable();
        assert_eq!(sorted, visible);
    }

    #[test]
    fn every_help_ends_with_examples_that_parse() {
        let mut examples = Vec::new();
        all(&command(), "homing", &mut |c, path| {
            let text = c.get_after_help().map(ToString::to_string).unwrap_or_default();
            let leaf = c.get_subcommands().next().is_none();
            let own: Vec<_> = text
                .lines()
                .filter_map(|l| l.strip_prefix("  homing ").map(|l| format!("homing {l}")))
                .collect();
            assert!(!leaf || c.is_hide_set() || own.len() >= 2, "{path}: {} examples", own.len());
            examples.extend(own);
        });
        assert!(examples.len() > 60, "only {} examples found", examples.len());
        for example in examples {
            let words = words(&example);
            let parsed = command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }

    /// Words as a shell splits them, up to a comment, pipe or redirection.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quote = false;
        for c in line.chars().chain([' ']) {
            match c {
                '\'' => quote = !quote,
                ' ' if !quote => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                }
                c => word.push(c),
            }
        }
        let stop =
            words.iter().position(|w| ["|", "||", "<", ">", "&&", "#"].contains(&w.as_str()));
        words.truncate(stop.unwrap_or(words.len()));
        words
    }

    #[test]
    fn a_typo_names_the_flag_that_was_meant() {
        let args: Vec<OsString> = ["homing", "up", "--hostnam", "x"].map(Into::into).into();
        let error = command().try_get_matches_from(&args).unwrap_err();
        let error = usage(&error, &args);
        assert_eq!(error.message, "unknown flag --hostnam");
        assert_eq!(error.hint.as_deref(), Some("did you mean --hostname?"));
    }
}
