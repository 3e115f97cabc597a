//! `homing key`: the identity file. It works without a daemon and never prints the secret.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code};
use homing_base::{Address, IdentityKey, NodeId, PublicKey};
use homing_node::identity_file::{self, IdentityFileError};
use serde::Serialize;

use super::{OK, Outcome, info};
use crate::render::fields;
use crate::session::{Session, told};

/// This agent's key, which is its address
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing key init\n  homing key show\n  homing key check /mnt/keys/identity.json"
)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Draw a new identity, unless there is one
    #[command(
        after_help = "Examples:\n  homing key init\n  homing key init --identity /mnt/keys/identity.json"
    )]
    Init {
        /// Where to write it [default: identity.json in the home]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Address, node ID and public key of the identity; never the secret
    #[command(after_help = "Examples:\n  homing key show\n  homing key show --json")]
    Show {
        /// Which file [default: identity.json in the home]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Check that a file is a whole, private, consistent identity
    #[command(
        after_help = "Examples:\n  homing key check\n  homing key check /mnt/keys/identity.json"
    )]
    Check {
        /// Which file [default: identity.json in the home]
        file: Option<PathBuf>,
    },
}

/// `homing.key/v1`.
#[derive(Debug, Serialize)]
struct KeyFacts {
    schema: &'static str,
    address: Address,
    node_id: NodeId,
    public_key: PublicKey,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

impl KeyFacts {
    fn of(key: &IdentityKey, file: &Path, changed: Option<bool>) -> Self {
        let (public_key, node_id) = (key.public(), key.node_id());
        let file = file.display().to_string();
        let address = Address::of(&node_id);
        Self { schema: "homing.key/v1", address, node_id, public_key, file, changed }
    }

    fn text(&self) -> String {
        fields(&[
            ("address", self.address.to_string()),
            ("node ID", self.node_id.to_string()),
            ("public key", self.public_key.to_string()),
            ("file", info::tilde(&self.file)),
        ])
    }
}

pub(crate) fn run(session: &Session, args: KeyArgs) -> Outcome {
    let place = |file: Option<PathBuf>| file.unwrap_or_else(|| session.home.identity());
    match args.command {
        KeyCommand::Init { identity } => init(session, &place(identity)),
        KeyCommand::Show { identity } => show(session, &place(identity), ""),
        KeyCommand::Check { file } => show(session, &place(file), "✓ a whole, private identity\n"),
    }
}

fn init(session: &Session, path: &Path) -> Outcome {
    if *path == session.home.identity() {
        session.home.ensure().map_err(told)?;
    }
    let drawn = identity_file::generate();
    let (key, changed) = match identity_file::create(path, &drawn) {
        Ok(()) => (drawn, true),
        Err(IdentityFileError::Exists { .. }) => (load(path)?, false),
        Err(error) => return Err(told(error)),
    };
    let facts = KeyFacts::of(&key, path, Some(changed));
    let head = if changed {
        "✓ new identity; keep a copy of the file: it is the address\n"
    } else {
        "unchanged: there is an identity already\n"
    };
    let text = || format!("{head}{}", facts.text());
    session.out.result(&facts, || vec![facts.node_id.to_string()], text);
    Ok(OK)
}

fn show(session: &Session, path: &Path, head: &str) -> Outcome {
    let facts = KeyFacts::of(&load(path)?, path, None);
    let text = || format!("{head}{}", facts.text());
    session.out.result(&facts, || vec![facts.node_id.to_string()], text);
    Ok(OK)
}

fn load(path: &Path) -> Result<IdentityKey, ApiError> {
    identity_file::load(path).map_err(|error| match told(error) {
        missing if missing.code == Code::NotFound => missing.hint("homing key init, or homing up"),
        other => other,
    })
}
