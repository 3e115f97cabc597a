//! `homing find`: agents by what they do.

use clap::Args;
use homing_api::find::{FindRequest, Found};

use super::{OK, Outcome};
use crate::render::table::Table;
use crate::session::Session;

/// Find agents by what they do
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing find translate contracts\n  homing find --tag gpu --protocol mcp\n  homing find summarise --limit 5 --json\n  homing find translate -o name         # addresses and nothing else"
)]
pub(crate) struct FindArgs {
    /// Words to look for
    query: Vec<String>,
    /// Must have this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Must have this skill; may be repeated
    #[arg(long, value_name = "SKILL")]
    skill: Vec<String>,
    /// Must speak one of these, such as mcp or a2a; may be repeated
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Vec<String>,
    /// Hits at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

pub(crate) async fn run(session: &Session, args: &FindArgs) -> Outcome {
    let request = FindRequest {
        query: args.query.join(" "),
        tags: args.tag.clone(),
        skills: args.skill.clone(),
        protocols: args.protocol.clone(),
        limit: Some(args.limit),
        timeout_ms: session.timeout.map(|t| t.as_millis().clamp(1, 10_000) as u64),
    };
    let found = session.client()?.find(&request).await?;
    let names = || found.hits.iter().map(|hit| hit.address.to_string()).collect();
    session.out.result(&found, names, || text(&found));
    Ok(OK)
}

fn text(found: &Found) -> String {
    let mut table = Table::new(&["SCORE", "NAME", "ADDRESS", "TITLE", "TAGS"]);
    for hit in &found.hits {
        let name = hit.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let score = format!("{:.2}", hit.score);
        let tags = hit.tags.join(" ");
        table.row(vec![score, name, hit.address.to_string(), hit.title.clone(), tags]);
        if !hit.matched.is_empty() {
            table.note(format!("{} · from {}", hit.matched.join(", "), hit.origin));
        }
    }
    let mut text = match table.is_empty() {
        true => "nobody who is listed matches\n".to_owned(),
        false => table.render(),
    };
    for asked in found.asked.iter().filter(|asked| asked.state != "answered") {
        let why = asked.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        text.push_str(&format!("{} did not answer ({}{why})\n", asked.peer, asked.state));
    }
    text
}
