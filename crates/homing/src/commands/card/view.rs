//! `card show`, `get`: a card that somebody published, and what its signature is worth.

use std::path::Path;
use std::time::Duration;

use homing_api::peers::Resolution;
use homing_api::{ApiError, Client, Code};
use homing_base::{PublicKey, Service};
use homing_registry::cards::signature::{self, Keys, Signer, Verdict};
use homing_registry::cards::wire::{self, Validators};
use homing_registry::cards::{Card, Dialect, FetchError, Fetcher, FetcherConfig, WELL_KNOWN_PATH};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::files::{CardFile, hex, no_card, not_fetched, read, save, whole};
use super::{FetchArgs, ShowArgs};
use crate::commands::{OK, Outcome};
use crate::render::fields;
use crate::session::Session;

/// How long a new record may be on its way here after its card is served.
const RECORD_LAG_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A card that was found, and what its signature can be checked against.
struct Found {
    bytes: Vec<u8>,
    identity: Option<PublicKey>,
    url: Option<String>,
}

/// `homing.card_view/v1`.
#[derive(Debug, Serialize)]
struct CardView<'c> {
    schema: &'static str,
    name: &'c str,
    description: &'c str,
    version: &'c str,
    protocol: &'static str,
    sha256: String,
    signature: &'c Verdict,
    interfaces: Vec<Value>,
    skills: Vec<&'c Map<String, Value>>,
    card: &'c Map<String, Value>,
}

pub(super) async fn show(session: &Session, args: &ShowArgs) -> Outcome {
    let fetcher = args.fetch.fetcher();
    let found = find(session, &args.what, &fetcher).await?;
    if args.raw {
        return whole(&found.bytes);
    }
    let card = Card::parse(&found.bytes).map_err(|e| no_card(&args.what, &e))?;
    let keys = Keys { identity: found.identity, origin: None };
    let keys = fetcher.keys_of(&card, found.url.as_deref(), keys).await;
    let verdict = signature::check(&card, &keys);
    let interfaces = card.interfaces();
    let view = CardView {
        schema: "homing.card_view/v1",
        name: card.name(),
        description: card.description(),
        version: card.version(),
        protocol: match card.dialect() {
            Dialect::V1 => "A2A 1.0",
            Dialect::V03 => "A2A 0.3",
        },
        sha256: hex(&card.sha256()),
        signature: &verdict,
        interfaces: interfaces
            .iter()
            .map(|i| json!({ "url": i.url, "binding": i.binding }))
            .collect(),
        skills: card.skills().collect(),
        card: card.fields(),
    };
    session.out.result(&view, || vec![view.sha256.clone()], || view_text(&card, &view));
    Ok(match verdict {
        Verdict::Invalid { .. } => Code::SignatureInvalid.exit(),
        _ => OK,
    })
}

fn view_text(card: &Card, view: &CardView<'_>) -> String {
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut pairs = vec![
        ("name", plain(view.name)),
        ("version", plain(view.version)),
        ("protocol", view.protocol.to_owned()),
        ("description", plain(view.description)),
        ("signature", verdict_text(view.signature)),
        ("SHA-256", view.sha256.clone()),
    ];
    for interface in card.interfaces() {
        pairs.push(("served at", plain(&format!("{}  {}", interface.url, interface.binding))));
    }
    for skill in card.skills() {
        let of = |key| skill.get(key).and_then(Value::as_str).unwrap_or_default();
        pairs.push(("skill", plain(&format!("{}  {}", of("id"), of("description")))));
    }
    fields(&pairs)
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Verified { by: Signer::Identity(id), .. } => format!("✓ verified: signed by {id}"),
        Verdict::Verified { by: Signer::Origin(origin), .. } => {
            format!("✓ verified: signed by a key of {origin}")
        }
        Verdict::Unsigned => "unsigned".to_owned(),
        Verdict::Invalid { why } => format!("✗ invalid: {why}"),
        Verdict::UnknownKey { kid, why } => format!("? unknown key {kid:?}: {why}"),
    }
}

pub(super) async fn get(
    session: &Session,
    peer: &str,
    to: Option<&Path>,
    fetch: &FetchArgs,
) -> Outcome {
    let found = of_peer(session, peer, &fetch.fetcher()).await?;
    let Some(file) = to else { return whole(&found.bytes) };
    save(file, &found.bytes)?;
    let made = CardFile::of(file, &found.bytes);
    session.out.result(&made, || vec![made.file.clone()], || format!("✓ {}\n", made.file));
    Ok(OK)
}

/// The card that a peer's record names, checked against it.
pub(crate) async fn of_trusted_peer(session: &Session, peer: &str) -> Result<Vec<u8>, ApiError> {
    let found = of_peer(session, peer, &Fetcher::new(FetcherConfig::default())).await?;
    Ok(found.bytes)
}

async fn find(session: &Session, what: &str, fetcher: &Fetcher) -> Result<Found, ApiError> {
    if what.starts_with("https://") || what.starts_with("http://") {
        let got = fetcher.get(what).await.map_err(|e| not_fetched(what, &e))?;
        let url = Some(what.to_owned());
        return Ok(Found { bytes: got.bytes.to_vec(), identity: None, url });
    }
    if what == "-" || what.contains('/') || what.ends_with(".json") {
        return Ok(Found { bytes: read(Path::new(what))?, identity: None, url: None });
    }
    of_peer(session, what, fetcher).await
}

/// The card that an agent's record names: from the web, or through its tunnel.
async fn of_peer(session: &Session, peer: &str, fetcher: &Fetcher) -> Result<Found, ApiError> {
    let client = session.client()?;
    let mut record = client.resolve(peer, session.answer_timeout()).await?;
    let deadline = Instant::now() + RECORD_LAG_MAX;
    loop {
        let found = named_by(&record, session, peer, fetcher).await;
        if !matches!(&found, Err(error) if error.code == Code::SignatureInvalid) {
            return found;
        }
        // The card may be newer than the record that is known here: then that one comes.
        let old = record.sequence;
        while record.sequence == old {
            if Instant::now() >= deadline {
                return found;
            }
            sleep(LOOK_EVERY).await;
            record = client.resolve(peer, session.answer_timeout()).await?;
        }
    }
}

/// The card that this record names.
async fn named_by(
    record: &Resolution,
    session: &Session,
    peer: &str,
    fetcher: &Fetcher,
) -> Result<Found, ApiError> {
    let client = session.client()?;
    let Some(named) = record.card.clone() else {
        return Err(ApiError::new(Code::NotFound, format!("{peer} has no card"))
            .why("its record names none"));
    };
    let is_path = named.url.is_empty() || named.url.starts_with('/');
    let bytes = if is_path {
        through_tunnel(session, client, peer, record, &named.url).await?
    } else {
        let got = fetcher.get(&named.url).await.map_err(|e| not_fetched(&named.url, &e))?;
        got.bytes.to_vec()
    };
    let got = hex(&Sha256::digest(&bytes));
    if got != named.sha256 {
        return Err(ApiError::new(Code::SignatureInvalid, format!("that is not {peer}'s card"))
            .why(format!("it has SHA-256 {got}, the record names {}", named.sha256))
            .hint("the card was changed after it was published: homing card publish there"));
    }
    Ok(Found { bytes, identity: Some(record.public_key), url: (!is_path).then_some(named.url) })
}

async fn through_tunnel(
    session: &Session,
    client: &Client,
    peer: &str,
    record: &Resolution,
    path: &str,
) -> Result<Vec<u8>, ApiError> {
    if client.info().await?.node_id == record.peer.node_id {
        return Ok(client.card().await?.text.into_bytes());
    }
    let id = record.peer.node_id.to_string();
    let stream = client.connect(&id, Service::CARD, session.answer_timeout()).await?;
    let path = if path.is_empty() { WELL_KNOWN_PATH } else { path };
    let io = Box::new(stream.io);
    let answer = wire::exchange(io, &id, path, &Validators::default()).await;
    let answer = answer.map_err(|e| not_fetched(peer, &e))?;
    match answer.status.as_u16() {
        200 => Ok(answer.body.to_vec()),
        status => Err(not_fetched(peer, &FetchError::Status { status })),
    }
}
