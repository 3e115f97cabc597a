//! `homing content`: files that this agent keeps under their CID and serves to trusted peers.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code};
use homing_base::ContentId;

use super::{OK, Outcome};
use crate::render::{Table, time};
use crate::session::Session;

/// Files kept under their hash and served to trusted peers
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing content add model.bin        # prints its CID; peers: homing fetch CID\n  homing content list\n  homing content rm bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi"
)]
pub(crate) struct ContentArgs {
    #[command(subcommand)]
    command: ContentCommand,
}

#[derive(Debug, Subcommand)]
enum ContentCommand {
    /// Keep a copy of a file; trusted peers may fetch it by its CID
    #[command(
        after_help = "Examples:\n  homing content add model.bin\n  homing content add model.bin -o name        # the CID and nothing else"
    )]
    Add {
        /// The file
        file: PathBuf,
    },
    /// What is kept
    #[command(
        after_help = "Examples:\n  homing content list\n  homing content list --json\n  homing content list -o name"
    )]
    List,
    /// Keep and serve it no longer
    #[command(
        after_help = "Examples:\n  homing content rm bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi\n  homing content list -o name | xargs homing content rm"
    )]
    Rm {
        /// Which
        #[arg(required = true, value_name = "CID")]
        cids: Vec<ContentId>,
    },
}

pub(crate) async fn run(session: &Session, args: ContentArgs) -> Outcome {
    match args.command {
        ContentCommand::Add { file } => add(session, &file).await,
        ContentCommand::List => list(session).await,
        ContentCommand::Rm { cids } => remove(session, &cids).await,
    }
}

async fn add(session: &Session, file: &Path) -> Outcome {
    let added = session.client()?.add_content(whole_path(file)?).await?;
    session.out.result(
        &added,
        || vec![added.cid.to_string()],
        || {
            let unchanged = if added.changed { "" } else { ", unchanged" };
            format!("{}  {} bytes{unchanged}\n", added.cid, added.size_bytes)
        },
    );
    Ok(OK)
}

async fn list(session: &Session) -> Outcome {
    let list = session.client()?.content().await?;
    let names = || list.items.iter().map(|item| item.cid.to_string()).collect();
    session.out.result(&list, names, || {
        let mut table = Table::new(&["CID", "BYTES", "STATE", "AGE"]);
        for item in &list.items {
            table.row(vec![
                item.cid.to_string(),
                item.size_bytes.to_string(),
                if item.whole { "whole" } else { "partial" }.to_owned(),
                time::age(item.since),
            ]);
        }
        format!("{}{} of {} bytes\n", table.render(), list.used_bytes, list.max_bytes)
    });
    Ok(OK)
}

async fn remove(session: &Session, cids: &[ContentId]) -> Outcome {
    for cid in cids {
        let done = session.client()?.remove_content(*cid).await?;
        session.out.result(
            &done,
            || vec![cid.to_string()],
            || match done.changed {
                true => format!("{cid} is kept no longer\n"),
                false => format!("{cid} was not here, unchanged\n"),
            },
        );
    }
    Ok(OK)
}

/// The absolute path: the daemon has another working directory.
pub(crate) fn whole_path(path: &Path) -> Result<String, ApiError> {
    let shown = path.display();
    let whole = std::fs::canonicalize(path).map_err(|e| {
        ApiError::new(Code::Usage, format!("{shown} cannot be read")).why(e.to_string())
    })?;
    whole.into_os_string().into_string().map_err(|_| {
        ApiError::new(Code::Usage, format!("{shown} is no path in UTF-8")).hint("rename it")
    })
}
