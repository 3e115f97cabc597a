//! `homing resolve`: the current, proven record behind a name, address, node ID or reference.

use clap::Args;
use homing_api::peers::Resolution;

use super::{OK, Outcome};
use crate::render::{fields, time};
use crate::session::Session;

/// The current, proven record of an agent, or what a reference points to
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing resolve agent-b\n  homing resolve fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e\n  homing resolve agent-b/planner/checkpoint\n  homing resolve agent-b -o name        # its node ID and nothing else"
)]
pub(crate) struct ResolveArgs {
    /// Name, address or node ID; or a reference: NAME, AGENT/NAME or k51…
    what: String,
}

pub(crate) async fn run(session: &Session, args: &ResolveArgs) -> Outcome {
    if is_reference(&args.what) {
        return super::reference::resolve(session, &args.what).await;
    }
    if is_own_reference(session, &args.what).await? {
        return super::reference::resolve(session, &args.what).await;
    }
    let found = session.client()?.resolve(&args.what, session.answer_timeout()).await?;
    session.out.result(&found, || vec![found.peer.node_id.to_string()], || text(&found));
    Ok(OK)
}

/// A reference of this agent may be called by one word; whom it names is then no question.
async fn is_own_reference(session: &Session, what: &str) -> Result<bool, homing_api::ApiError> {
    if what.parse::<homing_base::ReferenceName>().is_err() {
        return Ok(false);
    }
    let list = session.client()?.references().await?;
    Ok(list.references.iter().any(|r| r.own && r.name.as_deref() == Some(what)))
}

/// An agent's name, address or node ID has no slash; an IPNS name is longer than any name.
fn is_reference(what: &str) -> bool {
    what.contains('/') || what.parse::<homing_base::IpnsName>().is_ok()
}

fn text(found: &Resolution) -> String {
    let join = |list: Vec<String>| if list.is_empty() { "–".to_owned() } else { list.join(", ") };
    let valid = found.expires.0.since(homing_node::clock::wall());
    let shown = found.replicas.map(|n| match n {
        1 => " (1 node had shown it)".to_owned(),
        n => format!(" ({n} nodes had shown it)"),
    });
    let by = found
        .answered_by
        .as_ref()
        .map(|p| format!(" ({})", p.label()))
        .or(shown)
        .unwrap_or_default();
    let spent: Vec<_> =
        found.spent.iter().map(|l| format!("{} {}", l.layer, time::millis(l.elapsed_ms))).collect();
    fields(&[
        ("name", found.peer.name.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)),
        ("address", found.peer.address.to_string()),
        ("node ID", found.peer.node_id.to_string()),
        ("signed by", format!("{}  ✓ signature  ✓ valid {}", found.public_key, time::short(valid))),
        ("sequence", found.sequence.to_string()),
        ("relays", join(found.relays.iter().map(ToString::to_string).collect())),
        ("direct", join(found.direct.iter().map(ToString::to_string).collect())),
        ("services", join(found.services.iter().map(ToString::to_string).collect())),
        (
            "found",
            format!("{}{by}, {} old · {}", found.layer, time::age(found.issued), spent.join(", ")),
        ),
    ])
}
