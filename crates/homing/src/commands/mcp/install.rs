//! `mcp install`: the entry by which an MCP client starts `mcp connect`.
//!
//! The file is read, one member is set, and it is written whole beside itself and renamed; everything
//! else stays, in its order. The former file is kept as `FILE.before-homing`. A file that is no plain
//! JSON (comments, trailing commas) is not touched: the entry is printed for its owner to paste.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use homing_api::{ApiError, Code};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Target;
use super::clients::Program;
use crate::commands::{OK, Outcome, warn_if_unknown};
use crate::output;
use crate::session::Session;

/// Larger files are no configuration of ours to edit.
const FILE_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Of a new file: such files hold keys of other servers sooner or later.
const PRIVATE: u32 = 0o600;

/// The entry by which an MCP client starts `mcp connect`
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// Name, address or node ID; and the name of the service [default: mcp]
    #[arg(value_name = "PEER[/SERVER]")]
    target: Target,
    /// For which program
    #[arg(long, value_enum, default_value_t, value_name = "PROGRAM")]
    client: Program,
    /// Write it into the program's configuration file
    #[arg(long)]
    write: bool,
    /// Another file than the program's own
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the server is called there [default: the peer's name, and the service's]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

/// `homing.mcp_install/v1`.
#[derive(Debug, Serialize)]
struct Installed {
    schema: &'static str,
    name: String,
    file: Option<String>,
    entry: Value,
    written: bool,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

pub(super) async fn run(session: &Session, args: &InstallArgs) -> Outcome {
    warn_if_unknown(session, &args.target.peer).await;
    let name = args.name.clone().unwrap_or_else(|| label(&args.target));
    let entry = args.client.entry(&program()?, &arguments(session, &args.target));
    let file = args.file.clone().or_else(|| args.client.file());
    if !args.write {
        return Ok(show(session, args.client, name, file, entry));
    }
    let file = file.ok_or_else(|| {
        ApiError::new(Code::NotFound, "the home folder is not known").hint("--file FILE")
    })?;
    let (changed, backup) = merge(&file, args.client.section(), &name, &entry)?;
    let done = Installed {
        schema: "homing.mcp_install/v1",
        name,
        file: Some(file.display().to_string()),
        entry,
        written: true,
        changed,
        backup: backup.map(|b| b.display().to_string()),
    };
    session.out.result(&done, || vec![done.name.clone()], || text(session, &done));
    Ok(OK)
}

fn text(session: &Session, done: &Installed) -> String {
    let file = done.file.as_deref().unwrap_or_default();
    if !done.changed {
        return format!("unchanged: {file} has {} already\n", done.name);
    }
    let kept = done.backup.as_ref().map(|b| format!("the former file is {b}\n"));
    let mark = session.out.good("✓");
    format!("{mark} {} in {file}; restart the program\n{}", done.name, kept.unwrap_or_default())
}

fn show(
    session: &Session,
    client: Program,
    name: String,
    file: Option<PathBuf>,
    entry: Value,
) -> u8 {
    let mut whole = Map::new();
    whole.insert(client.section().to_owned(), json!({ name.as_str(): entry }));
    let whole = Value::Object(whole);
    let place = file.map(|f| f.display().to_string());
    let shown = Installed {
        schema: "homing.mcp_install/v1",
        name,
        file: place,
        entry,
        written: false,
        changed: false,
        backup: None,
    };
    session.out.result(&shown, || vec![shown.name.clone()], || pretty(&whole));
    if !session.out.format.is_json() {
        let file = shown.file.as_deref().unwrap_or("the program's configuration");
        output::say(&format!("this belongs into {file}; --write puts it there"));
    }
    OK
}

/// Clients take letters, digits, `-` and `_`.
fn label(target: &Target) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    target.to_string().chars().map(plain).collect()
}

/// This program as it can be started from anywhere.
fn program() -> Result<String, ApiError> {
    let path = std::env::current_exe().map_err(|e| {
        ApiError::new(Code::Internal, "this program does not know where it is").why(e.to_string())
    })?;
    let text = path.to_str().ok_or_else(|| {
        ApiError::new(Code::Usage, format!("{} cannot be written in JSON", path.display()))
    })?;
    Ok(text.to_owned())
}

/// A client starts it with an environment of its own, so the home is said when it is not the usual one.
fn arguments(session: &Session, target: &Target) -> Vec<String> {
    let mut arguments = vec!["mcp".to_owned(), "connect".to_owned(), target.to_string()];
    arguments.push("--retry".to_owned());
    if session.home_given || std::env::var_os("HOMING_HOME").is_some() {
        let home = std::path::absolute(session.home.dir());
        let home = home.unwrap_or_else(|_| session.home.dir().to_owned());
        arguments.extend(["--home".to_owned(), home.display().to_string()]);
    }
    arguments
}

/// Sets one member of the file; whether anything changed, and where the former file is.
fn merge(
    file: &Path,
    section: &str,
    name: &str,
    entry: &Value,
) -> Result<(bool, Option<PathBuf>), ApiError> {
    let before = read(file)?;
    let mut root: Value = match &before {
        Some(bytes) if !bytes.trim_ascii().is_empty() => {
            serde_json::from_slice(bytes).map_err(|e| not_ours(file, &e.to_string()))?
        }
        _ => json!({}),
    };
    let object = root.as_object_mut().ok_or_else(|| not_ours(file, "it is no JSON object"))?;
    let servers = object.entry(section).or_insert_with(|| json!({}));
    let servers = servers
        .as_object_mut()
        .ok_or_else(|| not_ours(file, &format!("{section:?} is no JSON object")))?;
    if servers.get(name) == Some(entry) {
        return Ok((false, None));
    }
    servers.insert(name.to_owned(), entry.clone());
    // Through a link to the file it means, so that the link stays one.
    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if let Some(folder) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    }
    let mode = std::fs::metadata(&target).map_or(PRIVATE, |m| m.permissions().mode());
    let mut backup = target.clone().into_os_string();
    backup.push(".before-homing");
    let backup = before.as_ref().map(|_| PathBuf::from(backup));
    if let (Some(backup), Some(bytes)) = (&backup, &before) {
        save(backup, bytes, mode)?;
    }
    save(&target, pretty(&root).as_bytes(), mode)?;
    Ok((true, backup))
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, ApiError> {
    match std::fs::read(file) {
        Ok(bytes) if bytes.len() <= FILE_BYTES_MAX => Ok(Some(bytes)),
        Ok(_) => Err(not_ours(file, "it is larger than 64 MiB")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unwritable(file, &e)),
    }
}

/// Whole or not at all; nobody reads it earlier who may not read it later.
fn save(file: &Path, bytes: &[u8], mode: u32) -> Result<(), ApiError> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let draft = PathBuf::from(draft);
    let write = || {
        let mut to = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&draft)?;
        to.write_all(bytes)?;
        to.set_permissions(Permissions::from_mode(mode))?;
        to.sync_all()?;
        std::fs::rename(&draft, file)
    };
    write().map_err(|e| {
        std::fs::remove_file(&draft).ok();
        unwritable(file, &e)
    })
}

fn not_ours(file: &Path, why: &str) -> ApiError {
    ApiError::new(Code::ConfigInvalid, format!("{} is left as it is", file.display()))
        .why(why)
        .hint("without --write the entry is printed: paste it where it belongs")
}

fn unwritable(file: &Path, error: &std::io::Error) -> ApiError {
    ApiError::new(Code::PermissionDenied, format!("{} cannot be used", file.display()))
        .why(error.to_string())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON serialises") + "\n"
}
