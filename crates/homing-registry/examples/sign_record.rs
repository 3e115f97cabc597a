//! Signs what a registry takes, without a node: for trying a registry with `curl` alone.
//!
//! ```text
//! sign_record key  KEYFILE                               a fresh identity; prints its node ID
//! sign_record new  KEYFILE [--name N] [--tag T]… [--card FILE --card-url URL] > record.cose
//! sign_record withdraw KEYFILE > tombstone.cose
//! sign_record heartbeat KEYFILE > heartbeat.cose
//! sign_record vouch OWNERKEYFILE AGENTNODEID [--name N]  prints an owner proof, base64url
//! ```

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, InstanceId, Seq, Wall, identity};
use homing_registry::proof::{Heartbeat, OwnerProof};
use sha2::{Digest, Sha256};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().context("which command?")?;
    let (file, rest) = rest.split_first().context("which key file?")?;
    match command.as_str() {
        "key" => fresh_key(file),
        "new" => put(record(&key(file)?, rest)?.sign(&key(file)?)?.bytes()),
        "withdraw" => {
            let key = key(file)?;
            let withdrawn = AgentRecord { withdrawn: Some(true), ..record(&key, rest)? };
            put(withdrawn.sign(&key)?.bytes())
        }
        "heartbeat" => put(&Heartbeat::sign(&key(file)?, now())),
        "vouch" => {
            let proof = vouch(&key(file)?, rest)?;
            put(data_encoding::BASE64URL_NOPAD.encode(&proof).as_bytes())
        }
        other => bail!("no command is called {other}"),
    }
}

fn put(bytes: &[u8]) -> Result<()> {
    Ok(std::io::stdout().write_all(bytes)?)
}

fn now() -> Wall {
    Wall::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn fresh_key(file: &str) -> Result<()> {
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
    let key = IdentityKey::from_seed(seed);
    std::fs::write(file, identity::to_json(&key))?;
    put(format!("{}\n", key.node_id()).as_bytes())
}

fn key(file: &str) -> Result<IdentityKey> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    Ok(identity::from_json(&text)?)
}

fn record(key: &IdentityKey, mut args: &[String]) -> Result<AgentRecord> {
    let at = now();
    let instance = InstanceId(key.public().0);
    let mut record = AgentRecord::new(key.public(), instance, Seq::default().next(at), at);
    let mut card = None;
    let mut url = String::new();
    while let [option, value, rest @ ..] = args {
        match option.as_str() {
            "--name" => record.name = Some(value.parse()?),
            "--tag" => record.tags.push(value.clone()),
            "--card" => card = Some(std::fs::read(value)?),
            "--card-url" => url = value.clone(),
            other => bail!("no option is called {other}"),
        }
        args = rest;
    }
    ensure!(args.is_empty(), "an option without a value: {}", args.join(" "));
    record.card = card.map(|bytes| CardRef { url, sha256: Sha256::digest(bytes).into() });
    Ok(record)
}

fn vouch(owner: &IdentityKey, args: &[String]) -> Result<Vec<u8>> {
    let (agent, rest) = args.split_first().context("for which agent?")?;
    let name = match rest {
        [] => None,
        [option, name] if option == "--name" => Some(name.parse()?),
        _ => bail!("only --name follows"),
    };
    let issued = now();
    let expires = issued.after(std::time::Duration::from_secs(365 * 24 * 3_600));
    let proof = OwnerProof { owner: owner.public(), agent: agent.parse()?, name, issued, expires };
    Ok(proof.sign(owner)?)
}
