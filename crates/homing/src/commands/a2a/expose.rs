//! `a2a expose`: a local A2A agent behind this agent's address.
//!
//! Its card is fetched from its well-known place (A2A 1.0 §8.2) and published with every byte as it is, so
//! that its signatures stay what they are; the record names its SHA-256. Then the agent's origin becomes a
//! service: interfaces are found by the paths that the card has.

use clap::Args;
use homing_api::cards::PublishCardRequest;
use homing_api::exposures::{ExposeRequest, Exposed, Mode, Target};
use homing_api::{ApiError, Code};
use homing_base::Service;
use homing_registry::cards::lint::lint;
use homing_registry::cards::{Card, Fetcher, FetcherConfig, WELL_KNOWN_PATH};
use serde::Serialize;
use url::Url;

use crate::commands::{OK, Outcome};
use crate::output;
use crate::session::Session;

/// What a user names on the command line may be anywhere.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Offer an A2A agent to trusted peers, across restarts, and publish its card
#[derive(Debug, Args)]
pub(super) struct ExposeArgs {
    /// Where the agent is served: its origin
    #[arg(value_name = "URL")]
    url: Url,
    /// What peers call it
    #[arg(long, value_name = "SERVICE", default_value = super::SERVICE)]
    name: Service,
    /// Leave the published card of this agent as it is
    #[arg(long)]
    no_card: bool,
}

/// `homing.a2a_exposed/v1`.
#[derive(Debug, Serialize)]
struct Offered {
    schema: &'static str,
    changed: bool,
    card_changed: Option<bool>,
    card_sha256: Option<String>,
    service: homing_api::exposures::ServiceView,
}

pub(super) async fn run(session: &Session, args: &ExposeArgs) -> Outcome {
    let origin = origin(&args.url)?;
    let card = if args.no_card { None } else { Some(fetch(&origin).await?) };
    let client = session.client()?;
    let target = Target::Url { url: origin.to_string() };
    let request = ExposeRequest { mode: Mode::Http, ..ExposeRequest::new(target) };
    let exposed = client.expose(&request.named(args.name.clone())).await?;
    let mut published = None;
    if let Some(card) = &card {
        let text = String::from_utf8(card.bytes().to_vec()).expect("JSON is UTF-8");
        let request = PublishCardRequest { text: Some(text), url: None };
        published = Some(client.publish_card(&request).await?.changed);
    }
    report(session, exposed, published, card.as_ref());
    Ok(OK)
}

fn report(session: &Session, exposed: Exposed, published: Option<bool>, card: Option<&Card>) {
    let offered = Offered {
        schema: "homing.a2a_exposed/v1",
        changed: exposed.changed || published == Some(true),
        card_changed: published,
        card_sha256: card.map(|c| c.sha256().iter().map(|b| format!("{b:02x}")).collect()),
        service: exposed.service,
    };
    let service = &offered.service;
    let text = || {
        let name = card.map(|c| format!(" ({})", c.name())).unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        if offered.changed {
            format!("{} {}: {}{name}\n", session.out.good("✓"), service.name, service.target)
        } else {
            format!("unchanged: {} is {} already{name}\n", service.name, service.target)
        }
    };
    session.out.result(&offered, || vec![service.name.to_string()], text);
    if !session.out.format.is_json() {
        output::say("trusted peers ask it with: homing a2a call THIS-AGENT 'a question'");
    }
}

/// An agent is its origin: a path would hide the interfaces that its card names.
fn origin(url: &Url) -> Result<Url, ApiError> {
    let web = ["http", "https"].contains(&url.scheme()) && url.host().is_some();
    let bare = ["", "/", WELL_KNOWN_PATH].contains(&url.path())
        && url.query().is_none()
        && url.fragment().is_none();
    if !web || !bare {
        return Err(ApiError::new(Code::Usage, format!("{url} is no agent's origin"))
            .why("the paths of its interfaces are those of its card")
            .hint("homing a2a expose http://127.0.0.1:9999"));
    }
    let mut origin = url.clone();
    origin.set_path("/");
    Ok(origin)
}

async fn fetch(origin: &Url) -> Result<Card, ApiError> {
    let allow_private = ANYWHERE.iter().map(|n| n.parse().expect("a network")).collect();
    let fetcher =
        Fetcher::new(FetcherConfig { allow_private, allow_http: true, ..FetcherConfig::default() });
    let place = origin.join(WELL_KNOWN_PATH).expect("a path joins an origin").to_string();
    let missing = |why: String| {
        ApiError::new(Code::NotFound, format!("there is no card at {place}"))
            .why(why)
            .hint("start the agent first; --no-card exposes it without")
    };
    let got = fetcher.get(&place).await.map_err(|e| missing(e.to_string()))?;
    if let Some(problem) = lint(&got.bytes).errors.first() {
        output::say(&format!(
            "note: strict readers object to {}: {}",
            problem.pointer, problem.message
        ));
    }
    Card::parse(&got.bytes).map_err(|e| missing(e.to_string()))
}
