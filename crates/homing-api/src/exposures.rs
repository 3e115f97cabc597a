//! Exposed services: what of this machine trusted peers reach under a name.
//!
//! ```text
//! POST /v1/services       ExposeRequest → Exposed     kept across restarts; the same again changes nothing
//! GET  /v1/services       → Services
//! POST /v1/services/rm    UnexposeRequest → homing.done/v1
//! POST /v1/services/held  ExposeRequest → SSE, `event: exposed` with Exposed: not kept, ends with the response
//! ```
//! Targets are written as people do (`8080`, `https://127.0.0.1:3000/app`, `unix:/run/db.sock`, `./site`) by
//! [`Target::parse`]; over HTTP they are objects with a `kind`.

use std::path::{Path, PathBuf};

use homing_base::Service;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{ApiError, Code};
use crate::schema::{Schema, described};
use crate::stamp::Stamp;
use crate::streams::Protocol;

/// Arguments of a command at most, the program among them.
pub const ARGUMENTS_MAX: usize = 256;
/// Bytes of all arguments of a command at most.
pub const ARGUMENT_BYTES_MAX: usize = 32 * 1_024;

/// What is exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A TCP server: `8080` (this machine), `db.lan:5432`.
    Tcp {
        /// A host name or an IP address, IPv6 without brackets.
        host: String,
        /// 1–65,535.
        port: u16,
    },
    /// A web server, below the path of the URL: `http://127.0.0.1:3000/app`.
    Url {
        /// `http` or `https`, without user, query and fragment.
        url: String,
    },
    /// A Unix socket: `unix:/run/db.sock`.
    Unix {
        /// Absolute.
        path: PathBuf,
    },
    /// Files, read-only, over HTTP.
    Directory {
        /// Absolute.
        path: PathBuf,
    },
    /// One process per stream, with the stream as its standard input and output.
    Command {
        /// Program and arguments; no shell reads them.
        argv: Vec<String>,
        /// Where it runs, absolute; without it the daemon's own directory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<PathBuf>,
    },
}

/// How a target's bytes are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// HTTP for URLs and directories, bytes for commands; ports and sockets by the first bytes of each stream.
    #[default]
    Auto,
    /// HTTP: headers are rewritten, and say who asks. Anything else is refused.
    Http,
    /// Bytes as they are.
    Tcp,
}

/// `POST /v1/services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposeRequest {
    /// What.
    pub target: Target,
    /// Under which name; without it the one of [`Target::default_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Service>,
    /// How.
    #[serde(default)]
    pub mode: Mode,
    /// Leave `Host` and `Origin` as the peer sent them.
    #[serde(default)]
    pub keep_host: bool,
    /// Do not name it in the agent record.
    #[serde(default)]
    pub unlisted: bool,
}

impl ExposeRequest {
    /// `target` under its own name, everything else as usual.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, name: None, mode: Mode::Auto, keep_host: false, unlisted: false }
    }

    /// Under this name.
    #[must_use]
    pub fn named(self, name: Service) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// One exposed service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// What peers call it, and what `--allow` names.
    pub name: Service,
    /// What it is.
    pub target: Target,
    /// How its bytes are treated.
    pub mode: Mode,
    /// What openers of a stream are told that it speaks.
    pub protocol: Protocol,
    /// `Host` and `Origin` stay as the peer sent them.
    pub keep_host: bool,
    /// Whether the agent record names it; a record names 16 services at most.
    pub listed: bool,
    /// Whether it outlives the daemon.
    pub kept: bool,
    /// Since when.
    pub since: Stamp,
    /// Streams open now.
    pub streams: usize,
    /// Why peers do not reach it at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// `homing.exposed/v1`: what exposing did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exposed {
    /// `homing.exposed/v1`.
    pub schema: Schema<Exposed>,
    /// Whether anything is different now.
    pub changed: bool,
    /// The service.
    pub service: ServiceView,
}

/// `homing.services/v1`: everything that is exposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// `homing.services/v1`.
    pub schema: Schema<Services>,
    /// By name.
    pub services: Vec<ServiceView>,
}

/// `POST /v1/services/rm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnexposeRequest {
    /// Which.
    pub name: Service,
}

described! {
    Exposed => "homing.exposed/v1",
    Services => "homing.services/v1",
}

impl Target {
    /// Reads a target as people write it; relative paths are below `base`.
    ///
    /// # Errors
    /// `usage` when it is none.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ApiError> {
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return Ok(Self::Tcp { host: "localhost".into(), port: port(text)? });
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix { path: base.join(path) });
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Url { url: text.to_owned() });
        }
        let path = base.join(text);
        let named = !text.is_empty() && path.is_dir();
        if text.contains('/') || [".", ".."].contains(&text) || named {
            return Ok(Self::Directory { path });
        }
        match text.rsplit_once(':') {
            Some((host, number)) if !host.is_empty() => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self::Tcp { host, port: port(number)? })
            }
            _ => Err(ApiError::new(
                Code::Usage,
                format!("{text:?} is nothing that can be exposed"),
            )
            .hint(
                "PORT, HOST:PORT, http://HOST:PORT/PATH, unix:/PATH, a directory, or -- CMD ARGS",
            )),
        }
    }

    /// The name it gets when none is given: the port, or what the path or program is called.
    #[must_use]
    pub fn default_name(&self) -> Option<Service> {
        let text = match self {
            Self::Tcp { port, .. } => port.to_string(),
            Self::Url { url } => Url::parse(url).ok()?.port_or_known_default()?.to_string(),
            Self::Unix { path } => path.file_stem()?.to_string_lossy().into_owned(),
            Self::Directory { path } => path.file_name()?.to_string_lossy().into_owned(),
            Self::Command { argv, .. } => {
                Path::new(argv.first()?).file_stem()?.to_string_lossy().into_owned()
            }
        };
        label(&text).parse().ok()
    }

    /// Whether it is what it says: bounds, absolute paths, a URL that can be asked.
    ///
    /// # Errors
    /// `usage`, with what is wrong.
    pub fn check(&self) -> Result<(), ApiError> {
        let wrong = |what: String| Err(ApiError::new(Code::Usage, what));
        match self {
            Self::Tcp { port: 0, .. } => wrong("port 0 is none".into()),
            Self::Tcp { host, .. } if host.is_empty() || host.len() > 253 => {
                wrong("a host name has 1 to 253 characters".into())
            }
            Self::Url { url } => check_url(url),
            Self::Unix { path } | Self::Directory { path } if !path.is_absolute() => {
                wrong(format!("{} is not absolute", path.display()))
            }
            Self::Command { cwd: Some(cwd), .. } if !cwd.is_absolute() => {
                wrong(format!("{} is not absolute", cwd.display()))
            }
            Self::Command { argv, .. } => {
                let bytes: usize = argv.iter().map(String::len).sum();
                let fits = argv.len() <= ARGUMENTS_MAX && bytes <= ARGUMENT_BYTES_MAX;
                match argv.first() {
                    Some(program) if fits && !program.is_empty() => Ok(()),
                    Some(_) => {
                        wrong("a command has a program, and 32 KiB of arguments at most".into())
                    }
                    None => wrong("a command is not empty".into()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// As [`Target::parse`] reads it, for people.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Url { url } => f.write_str(url),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
            Self::Directory { path } => write!(f, "{}", path.display()),
            Self::Command { argv, .. } => write!(f, "-- {}", argv.join(" ")),
        }
    }
}

fn port(text: &str) -> Result<u16, ApiError> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        ApiError::new(Code::Usage, format!("{text:?} is no port")).why("ports are 1 to 65535")
    })
}

fn check_url(text: &str) -> Result<(), ApiError> {
    let wrong = |why: &str| {
        Err(ApiError::new(Code::Usage, format!("{text:?} cannot be exposed"))
            .why(why)
            .hint("http://HOST:PORT or https://HOST:PORT, with a path if you like"))
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return wrong(&error.to_string()),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return wrong("it is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("it names a user");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("it has a query or a fragment");
    }
    Ok(())
}

/// What is left of a text as a DNS label of at most 32 characters.
fn label(text: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let text: String = text.chars().map(plain).take(32).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Target {
        Target::parse(text, Path::new("/srv")).unwrap()
    }

    #[test]
    fn targets_read_as_people_write_them() {
        let local = Target::Tcp { host: "localhost".into(), port: 8080 };
        assert_eq!(parse("8080"), local);
        assert_eq!(parse("[::1]:80"), Target::Tcp { host: "::1".into(), port: 80 });
        assert_eq!(parse("unix:db.sock"), Target::Unix { path: "/srv/db.sock".into() });
        assert_eq!(parse("./site"), Target::Directory { path: "/srv/./site".into() });
        assert_eq!(parse("http://a/b"), Target::Url { url: "http://a/b".into() });
        for none in ["", "0", "65536", "a", "a:b", ":80"] {
            assert_eq!(Target::parse(none, Path::new("/srv")).unwrap_err().code, Code::Usage);
        }
    }

    #[test]
    fn names_come_from_ports_paths_and_programs() {
        let name = |target: Target| target.default_name().map(|name| name.to_string());
        assert_eq!(name(parse("8080")).as_deref(), Some("8080"));
        assert_eq!(name(parse("https://example.org/x")).as_deref(), Some("443"));
        assert_eq!(name(parse("unix:/run/My_DB.sock")).as_deref(), Some("my-db"));
        assert_eq!(name(parse("/srv/site")).as_deref(), Some("site"));
        let argv = vec!["/usr/bin/server.py".into(), "-v".into()];
        assert_eq!(name(Target::Command { argv, cwd: None }).as_deref(), Some("server"));
        assert_eq!(name(Target::Directory { path: "/".into() }), None);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for url in ["http://", "http://a?b", "http://u@a", "http://a#b", "http://:p@a"] {
            assert!(Target::Url { url: url.into() }.check().is_err(), "{url}");
        }
        assert!(Target::Url { url: "https://a:1/b/".into() }.check().is_ok());
        assert!(Target::Command { argv: vec![], cwd: None }.check().is_err());
        assert!(Target::Unix { path: "a".into() }.check().is_err());
    }
}
