//! `homing config`: what is set, by whom, and setting it. It works without a daemon; a change takes
//! effect at the next start.

use clap::{Args, Subcommand};
use homing_api::agent::{ConfigView, Origin as Told};
use homing_api::{ApiError, Code};
use homing_node::config::keys::{KEYS, Key};
use homing_node::config::{self, Config, Layers, Origin, Setting, Value};
use serde::Serialize;

use super::start::Settings;
use super::{OK, Outcome};
use crate::output;
use crate::render::Table;
use crate::session::{Session, told};

/// What is configured, and by whom
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing config list\n  homing config set name planner\n  homing config validate"
)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every key, its value and where the value comes from
    #[command(after_help = "Examples:\n  homing config list\n  homing config list --json")]
    List,
    /// One value
    #[command(
        after_help = "Examples:\n  homing config get name\n  homing config get relays --json"
    )]
    Get {
        /// As `homing config list` shows it
        key: String,
    },
    /// Set a value in the file, or remove it with --unset
    #[command(
        after_help = "Examples:\n  homing config set name planner\n  homing config set relays https://relay.example.net:3340/\n  homing config set name --unset"
    )]
    Set {
        /// As `homing config list` shows it
        key: String,
        /// The value; a list is separated by commas
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        value: Option<String>,
        /// Remove the value: the default counts again
        #[arg(long)]
        unset: bool,
    },
    /// Where the file is
    #[command(after_help = "Examples:\n  homing config path\n  homing config path --json")]
    Path,
    /// Check the file and the environment
    #[command(after_help = "Examples:\n  homing config validate\n  homing config validate --json")]
    Validate,
}

/// One key as it is in force.
#[derive(Debug, Serialize)]
struct Entry {
    key: &'static str,
    value: serde_json::Value,
    origin: String,
    about: &'static str,
}

/// `homing.config_value/v1`.
#[derive(Debug, Serialize)]
struct One<'e> {
    schema: &'static str,
    #[serde(flatten)]
    entry: &'e Entry,
}

/// `homing.config_list/v1`.
#[derive(Debug, Serialize)]
struct Listing {
    schema: &'static str,
    file: String,
    values: Vec<Entry>,
}

/// `homing.config_file/v1`.
#[derive(Debug, Serialize)]
struct FileFacts {
    schema: &'static str,
    file: String,
    exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

pub(crate) fn run(session: &Session, args: ConfigArgs) -> Outcome {
    match args.command {
        ConfigCommand::List => list(session),
        ConfigCommand::Get { key } => one(session, &key),
        ConfigCommand::Set { key, value, .. } => set(session, &key, value.as_deref()),
        ConfigCommand::Path => path(session),
        ConfigCommand::Validate => validate(session),
    }
}

/// File and environment of this session.
pub(crate) fn layers(session: &Session) -> Result<Layers, ApiError> {
    // A variable that is no text cannot be ours.
    let texts = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    Layers::read(&session.home.config(), texts).map_err(told)
}

/// Keys whose value in the file is another one than the running daemon has, flags and variables aside.
pub(crate) fn waiting(session: &Session, now: &ConfigView) -> Result<Vec<&'static str>, ApiError> {
    let layers = layers(session)?;
    let settings = layers.settings();
    let of_file = settings.iter().filter(|s| matches!(s.origin, Origin::Default | Origin::File));
    let changed = of_file.map(entry).filter(|entry| {
        let running = now.values.iter().find(|running| running.key == entry.key);
        running.is_some_and(|running| {
            matches!(running.origin, Told::Default | Told::File)
                && plain(&running.value) != plain(&entry.value)
        })
    });
    Ok(changed.map(|entry| entry.key).collect())
}

/// File, environment and these flags together, every value checked.
pub(crate) fn resolved(session: &Session, flags: &Settings) -> Result<Config, ApiError> {
    let mut layers = layers(session)?;
    for (key, value) in flags {
        layers.flag(key, value).map_err(told)?;
    }
    layers.resolve().map_err(told)
}

fn list(session: &Session) -> Outcome {
    let layers = layers(session)?;
    layers.resolve().map_err(told)?;
    let values: Vec<Entry> = layers.settings().iter().map(entry).collect();
    let file = session.home.config().display().to_string();
    let listing = Listing { schema: "homing.config_list/v1", file, values };
    let names = || listing.values.iter().map(|e| e.key.to_owned()).collect();
    session.out.result(&listing, names, || table(&listing));
    Ok(OK)
}

fn table(listing: &Listing) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "FROM", "WHAT IT IS"]);
    for entry in &listing.values {
        let value = plain(&entry.value);
        let row = [entry.key.to_owned(), value, entry.origin.clone(), entry.about.to_owned()];
        table.row(row.into());
    }
    table.render()
}

fn one(session: &Session, key: &str) -> Outcome {
    let found = Key::find(key).ok_or_else(|| unknown(key))?;
    let settings = layers(session)?.settings();
    let setting = settings.iter().find(|s| s.key == found.name).expect("every key has a setting");
    let entry = entry(setting);
    let text = plain(&entry.value);
    let one = One { schema: "homing.config_value/v1", entry: &entry };
    session.out.result(&one, || vec![text.clone()], || format!("{text}\n"));
    Ok(OK)
}

fn unknown(key: &str) -> ApiError {
    let error = ApiError::new(Code::ConfigInvalid, format!("there is no configuration key {key}"));
    match Key::nearest(key) {
        Some(nearest) => error.hint(format!("did you mean {nearest}?")),
        None => error.hint("homing config list shows every key"),
    }
}

fn set(session: &Session, key: &str, value: Option<&str>) -> Outcome {
    session.home.ensure().map_err(told)?;
    let file = session.home.config();
    let changed = config::set(&file, key, value).map_err(told)?;
    let facts = facts(session, None, Some(changed));
    let text = match (changed, value) {
        (false, _) => "unchanged\n".to_owned(),
        (true, Some(value)) => format!("✓ {key} = {value}\n"),
        (true, None) => format!("✓ {key} is not set\n"),
    };
    session.out.result(&facts, || vec![key.to_owned()], || text);
    if changed && session.home.holder().is_some() {
        output::say(
            "the daemon runs with the old value until: homing down, then homing up with the flags you started it with",
        );
    }
    Ok(OK)
}

fn path(session: &Session) -> Outcome {
    let facts = facts(session, None, None);
    session.out.result(&facts, || vec![facts.file.clone()], || format!("{}\n", facts.file));
    Ok(OK)
}

fn validate(session: &Session) -> Outcome {
    config::validate(&session.home.config()).map_err(told)?;
    layers(session)?.resolve().map_err(told)?;
    let facts = facts(session, Some(true), None);
    let text = match facts.exists {
        true => format!("✓ {} is valid\n", facts.file),
        false => format!("✓ there is no {}; the defaults are valid\n", facts.file),
    };
    session.out.result(&facts, || vec![facts.file.clone()], || text);
    Ok(OK)
}

fn facts(session: &Session, valid: Option<bool>, changed: Option<bool>) -> FileFacts {
    let file = session.home.config();
    let exists = file.exists();
    let file = file.display().to_string();
    FileFacts { schema: "homing.config_file/v1", file, exists, valid, changed }
}

fn entry(setting: &Setting) -> Entry {
    let value = match &setting.value {
        None => serde_json::Value::Null,
        Some(Value::Text(text)) => text.as_str().into(),
        Some(Value::Bool(value)) => (*value).into(),
        Some(Value::Number(number)) => (*number).into(),
        Some(Value::List(list)) => list.clone().into(),
    };
    let about = KEYS.iter().find(|k| k.name == setting.key).map_or("", |k| k.about);
    Entry { key: setting.key, value, origin: setting.origin.to_string(), about }
}

pub(crate) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
