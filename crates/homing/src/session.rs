//! What every command needs: the home, the client, the output.

use std::process::ExitCode;
use std::time::Duration;

use homing_api::{ApiError, Client, Code};
use homing_node::home::Home;
use tokio::runtime::{Builder, Runtime};

use crate::args::Global;
use crate::output::{self, Output};

/// How long an unreachable peer may keep a command: it must fail in under two seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_800);

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) home: Home,
    /// `--home` was given.
    pub(crate) home_given: bool,
    pub(crate) out: Output,
    pub(crate) timeout: Option<Duration>,
    client: std::cell::OnceCell<Client>,
}

impl Session {
    pub(crate) fn open(global: &Global) -> Result<Self, ApiError> {
        let home = Home::locate(global.home.clone()).map_err(told)?;
        Ok(Self {
            home,
            home_given: global.home.is_some(),
            out: Output::new(global.format(), global.color),
            timeout: global.timeout,
            client: std::cell::OnceCell::new(),
        })
    }

    /// The same surroundings at another home.
    pub(crate) fn with_home(&self, home: Home) -> Self {
        Self {
            home,
            home_given: true,
            out: self.out,
            timeout: self.timeout,
            client: std::cell::OnceCell::new(),
        }
    }

    /// A client of this home's daemon, running or not.
    pub(crate) fn client(&self) -> Result<&Client, ApiError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let socket = self.home.socket().map_err(told)?;
        Ok(self.client.get_or_init(|| Client::new(socket)))
    }

    /// How long to wait for a peer: `--timeout`, or just under two seconds.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.timeout.unwrap_or(ANSWER_TIMEOUT)
    }

    /// Prints the error; the code is how to exit.
    pub(crate) fn fail(&self, error: &ApiError) -> ExitCode {
        output::fail(error, self.out.format)
    }

    /// One line when daemon and program are of different versions.
    pub(crate) fn note_version_skew(&self) {
        let here = env!("CARGO_PKG_VERSION");
        let Some(there) = self.client.get().and_then(Client::daemon_version) else { return };
        if there != here {
            output::say(&format!(
                "note: the daemon is homing {there}, this is {here}; restart it: homing down, then homing up with the flags you started it with"
            ));
        }
    }
}

/// One thread for a client, several for a node.
pub(crate) fn runtime(serves: bool) -> Result<Runtime, ApiError> {
    let mut builder =
        if serves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder
        .enable_all()
        .build()
        .map_err(|e| ApiError::new(Code::Internal, format!("the runtime does not start: {e}")))
}

/// What a user is told about an error of the node crate.
pub(crate) fn told<E>(error: E) -> ApiError
where
    ApiError: for<'e> From<&'e E>,
{
    ApiError::from(&error)
}
