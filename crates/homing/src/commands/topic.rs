//! `homing topic`: events between trusted peers.

use clap::{Args, Subcommand};
use homing_base::Topic;

use super::{OK, Outcome, recv};
use crate::render::Table;
use crate::session::Session;

/// Events: tell everybody who wants to hear of something, or hear of it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing topic sub builds              # in one terminal\n  homing topic pub builds 'main is green'   # at a peer that trusts this one"
)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Tell every trusted peer that has subscribed
    #[command(
        after_help = "Examples:\n  homing topic pub builds 'main is green'\n  homing topic pub builds/main '{\"commit\":\"5f1d0c0\"}' --json"
    )]
    Pub {
        /// a-z, 0-9 and . _ - /
        topic: Topic,
        /// What happened, at most 32 KiB
        text: String,
    },
    /// Hear what trusted peers publish, as long as this runs
    #[command(
        after_help = "Examples:\n  homing topic sub builds\n  homing topic sub builds --from ci --json\n  homing topic sub builds --keep     # also what was published meanwhile"
    )]
    Sub {
        /// a-z, 0-9 and . _ - /
        topic: Topic,
        /// Only from this peer: name, address or node ID
        #[arg(long, value_name = "PEER")]
        from: Option<String>,
        /// Also while this does not run, until homing topic drop
        #[arg(long)]
        keep: bool,
        /// Stop after this many
        #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
    },
    /// Who hears of what
    #[command(after_help = "Examples:\n  homing topic list\n  homing topic list --json")]
    List,
    /// End a subscription that was kept
    #[command(
        after_help = "Examples:\n  homing topic drop builds\n  homing topic drop builds --json"
    )]
    Drop {
        /// Which
        topic: Topic,
    },
}

pub(crate) async fn run(session: &Session, args: TopicArgs) -> Outcome {
    match args.command {
        TopicCommand::Pub { topic, text } => publish(session, topic, text).await,
        TopicCommand::Sub { topic, from, keep, count } => {
            let client = session.client()?;
            if keep {
                client.keep_topic(topic.clone(), true).await?;
            }
            let events = client.follow_topic(&topic, from.as_deref()).await?;
            recv::follow(session, events, count, false).await
        }
        TopicCommand::List => list(session).await,
        TopicCommand::Drop { topic } => {
            let done = session.client()?.keep_topic(topic.clone(), false).await?;
            let text = match done.changed {
                true => format!("{topic} is no longer kept\n"),
                false => format!("{topic} was not kept\n"),
            };
            session.out.result(&done, || vec![topic.to_string()], || text);
            Ok(OK)
        }
    }
}

async fn publish(session: &Session, topic: Topic, text: String) -> Outcome {
    let told = session.client()?.publish(topic.clone(), text).await?;
    session.out.result(&told, Vec::new, || match told.peers {
        0 => format!("nobody hears of {topic}\n"),
        1 => "1 peer is told\n".to_owned(),
        n => format!("{n} peers are told\n"),
    });
    Ok(OK)
}

async fn list(session: &Session) -> Outcome {
    let topics = session.client()?.topics().await?;
    let all = || topics.subscriptions.iter().chain(&topics.subscribers);
    let names = || all().map(|s| s.topic.to_string()).collect();
    session.out.result(&topics, names, || {
        let mut table = Table::new(&["TOPIC", "HEARD BY", "KEPT"]);
        for subscription in all() {
            let who = subscription.peer.as_ref().map_or("this agent".to_owned(), |p| p.label());
            let kept = if subscription.keep { "yes" } else { "no" };
            table.row(vec![subscription.topic.to_string(), who, kept.to_owned()]);
        }
        if table.is_empty() { "no topics\n".to_owned() } else { table.render() }
    });
    Ok(OK)
}
