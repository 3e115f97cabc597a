//! A node that is there for others (`relay serve`, `registry serve`), in the foreground.
//!
//! It is an ordinary node with a home of its own, `~/.homing-ROLE`, unless `--home` or `HOMING_HOME`
//! says otherwise: an agent can run beside it.

use homing_api::ApiError;
use homing_api::agent::Info;
use homing_node::home::Home;
use homing_node::logs::LogTarget;

use super::Outcome;
use super::daemon_run::{self, Serving};
use super::start::Settings;
use crate::output::{self, Output};
use crate::session::{Session, told};

/// Prints what the role offers, once it does.
pub(super) type Announcement = fn(Output, &Info) -> Result<(), ApiError>;

/// Runs the node until it is told to stop.
pub(super) async fn serve(
    session: &Session,
    role: &str,
    settings: Settings,
    announcement: Announcement,
) -> Outcome {
    let session = session.with_home(home_of(session, role));
    session.home.ensure().map_err(told)?;
    let log = LogTarget::File(session.home.log());
    let serving = Serving { settings, identity: None, takeover: false, log };
    let out = session.out;
    let ready = move |client: homing_api::Client| {
        drop(tokio::spawn(async move {
            let said = client.info().await.and_then(|info| announcement(out, &info));
            if let Err(error) = said {
                output::fail(&error, out.format);
            }
        }));
    };
    daemon_run::serve(&session, serving, ready).await
}

/// An agent's default home is not shared with a node that is there for others.
fn home_of(session: &Session, role: &str) -> Home {
    let chosen =
        session.home_given || std::env::var_os("HOMING_HOME").is_some_and(|v| !v.is_empty());
    if chosen {
        return session.home.clone();
    }
    let mut name = session.home.dir().as_os_str().to_owned();
    name.push(format!("-{role}"));
    Home::at(name)
}
