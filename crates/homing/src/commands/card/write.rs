//! `card init`, `lint`, `publish`: making this agent's card.

use std::path::Path;

use homing_api::agent::Done;
use homing_api::cards::PublishCardRequest;
use homing_api::{ApiError, Code};
use homing_registry::cards::lint::{Lint, Problem, lint};
use homing_registry::cards::{Card, LISTING_URI, signature};
use serde::Serialize;
use serde_json::{Value, json};

use super::files::{CardFile, identity, no_card, read, save};
use super::{InitArgs, PublishArgs};
use crate::commands::{OK, Outcome};
use crate::output::say;
use crate::render::words;
use crate::session::Session;

pub(super) async fn init(session: &Session, args: &InitArgs) -> Outcome {
    if args.file.exists() && !args.force {
        let message = format!("{} exists already", args.file.display());
        return Err(ApiError::new(Code::AlreadyExists, message)
            .hint("choose another file, or --force to write over it"));
    }
    let title = match &args.title {
        Some(title) => title.clone(),
        None => own_title(session).await?,
    };
    let text = serde_json::to_string_pretty(&skeleton(&title, args)).expect("JSON") + "\n";
    save(&args.file, text.as_bytes())?;
    let made = CardFile::of(&args.file, text.as_bytes());
    session.out.result(
        &made,
        || vec![made.file.clone()],
        || format!("✓ {}\nfill it in, then: homing card publish {}\n", made.file, made.file),
    );
    Ok(OK)
}

/// The name that the daemon claims, else the address of the identity, running or not.
async fn own_title(session: &Session) -> Result<String, ApiError> {
    match session.client()?.info().await {
        Ok(info) => Ok(info.name.map_or_else(|| info.address.to_string(), |n| n.to_string())),
        Err(error) if error.code == Code::DaemonNotRunning => {
            let key = identity(session, None)?;
            Ok(homing_base::Address::of(&key.node_id()).to_string())
        }
        Err(error) => Err(error),
    }
}

fn skeleton(title: &str, args: &InitArgs) -> Value {
    let description = args.description.clone();
    let description = description.unwrap_or_else(|| format!("What {title} does, in a sentence"));
    let interfaces: Vec<_> = args
        .url
        .iter()
        .map(|url| json!({ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }))
        .collect();
    json!({
        "name": title,
        "description": description,
        "version": "0.1.0",
        "supportedInterfaces": interfaces,
        "capabilities": {
            "streaming": false,
            "extensions": [{
                "uri": LISTING_URI,
                "description": "How registries list this agent",
                "params": { "kind": "agent", "category": "general", "tags": ["example"] },
            }],
        },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{
            "id": "example",
            "name": "Example",
            "description": "What it can do, in a sentence",
            "tags": ["example"],
        }],
    })
}

/// `homing.card_lint/v1`.
#[derive(Debug, Serialize)]
struct LintResult<'l> {
    schema: &'static str,
    file: String,
    valid: bool,
    errors: &'l [Problem],
    warnings: &'l [Problem],
}

pub(super) fn lint_file(session: &Session, file: &Path) -> Outcome {
    let found = lint(&read(file)?);
    let valid = found.errors.is_empty();
    let name = file.display().to_string();
    let result = LintResult {
        schema: "homing.card_lint/v1",
        file: name.clone(),
        valid,
        errors: &found.errors,
        warnings: &found.warnings,
    };
    let names = || found.errors.iter().map(|p| p.pointer.clone()).collect();
    session.out.result(&result, names, || lint_text(&name, &found));
    Ok(if valid { OK } else { Code::SignatureInvalid.exit() })
}

fn lint_text(name: &str, found: &Lint) -> String {
    let line = |kind: &str, p: &Problem| {
        let place = if p.pointer.is_empty() { "the card" } else { &p.pointer };
        format!("{kind}  {place}: {}\n", p.message)
    };
    let mut text: String = found.errors.iter().map(|p| line("error  ", p)).collect();
    text.extend(found.warnings.iter().map(|p| line("warning", p)));
    let errors = words::count(found.errors.len() as u64, "error");
    let warnings = words::count(found.warnings.len() as u64, "warning");
    let mark = if found.errors.is_empty() { "✓" } else { "✗" };
    text + &format!("{mark} {name}: {errors}, {warnings}\n")
}

pub(super) async fn publish(session: &Session, args: PublishArgs) -> Outcome {
    let Some(file) = &args.file else {
        let done = session.client()?.publish_card(&PublishCardRequest::default()).await?;
        return Ok(report(session, &done, "✓ the record names no card any more\n"));
    };
    let bytes = read(file)?;
    let found = lint(&bytes);
    if let Some(first) = found.errors.first() {
        let message = format!("{} is no valid card", file.display());
        return Err(ApiError::new(Code::Usage, message)
            .why(format!("{}: {}", first.pointer, first.message))
            .hint(format!("homing card lint {}", file.display())));
    }
    let mut card = Card::parse(&bytes).map_err(|e| no_card(&file.display().to_string(), &e))?;
    if !args.unsigned {
        let key = identity(session, None)?;
        card = signature::sign(&card, &key).map_err(|e| no_card("the signed card", &e))?;
    }
    let text = String::from_utf8(card.bytes().to_vec()).expect("JSON is UTF-8");
    let request = PublishCardRequest { text: Some(text), url: args.url.clone() };
    let done = session.client()?.publish_card(&request).await?;
    if args.url.is_some() && !args.unsigned {
        say(
            "note: the URL must serve the signed bytes: homing api /v1/card has them, or --unsigned publishes the file as it is",
        );
    }
    let signed = if args.unsigned { "unsigned" } else { "signed by this agent" };
    let place = args.url.as_deref().unwrap_or("this agent's tunnel, for trusted peers");
    let text = format!("✓ published, {signed}: {place}\n");
    Ok(report(session, &done, &text))
}

fn report(session: &Session, done: &Done, text: &str) -> u8 {
    let text = if done.changed { text } else { "unchanged: it was published already\n" };
    session.out.result(done, || vec![done.changed.to_string()], || text.to_owned());
    OK
}
