//! The four layers, and the tree that they make together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use homing_base::Ticket;
use homing_base::limits::RECORD_LIFETIME_MAX;
use homing_base::record::UnverifiedRecord;
use homing_core::io::PeerHint;

use super::keys::{KEYS, Key};
use super::{
    AuditConfig, Config, ConfigError, ContentConfig, GossipConfig, LogConfig, MessagesConfig,
    ReferencesConfig, RelayAccess, RelayConfig, TrustConfig, file,
};

/// A value before its meaning is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(u64),
    /// A list of strings.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Bool(value) => value.fmt(f),
            Value::Number(value) => value.fmt(f),
            Value::List(list) => f.write_str(&list.join(",")),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// `config.toml`.
    File,
    /// An environment variable.
    Environment(String),
    /// A flag of this command.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File => f.write_str("file"),
            Origin::Environment(variable) => write!(f, "env {variable}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// One key with the value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value; `None`: not set.
    pub value: Option<Value>,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Values by key, each with its origin; later layers replace earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Layers {
    /// The file at `path` (which may be missing) under the environment's variables.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for (key, value) in file::read(path)? {
            layers.values.insert(key.name, (value, Origin::File));
        }
        let environment: BTreeMap<String, String> = environment.collect();
        for key in KEYS {
            let variable = key.variable();
            if let Some(text) = environment.get(&variable).filter(|text| !text.is_empty()) {
                layers.put(key, text, Origin::Environment(variable))?;
            }
        }
        Ok(layers)
    }

    /// Adds a flag, as text.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`] or [`ConfigError::Value`].
    pub fn flag(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let key = Key::find(name).ok_or_else(|| unknown(name))?;
        self.put(key, text, Origin::Flag)
    }

    /// Adds a flag that holds a list.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`].
    pub fn flag_list(&mut self, name: &str, list: Vec<String>) -> Result<(), ConfigError> {
        let key = Key::find(name).ok_or_else(|| unknown(name))?;
        self.values.insert(key.name, (Value::List(list), Origin::Flag));
        Ok(())
    }

    fn put(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        match key.parse(text) {
            Some(value) => {
                self.values.insert(key.name, (value, origin));
                Ok(())
            }
            None => Err(ConfigError::Value {
                key: key.name,
                value: cut(text),
                why: format!("expected {}", key.kind.expected()),
                expected: key.about,
                origin,
            }),
        }
    }

    pub(super) fn insert(&mut self, key: &'static Key, value: Value) {
        self.values.insert(key.name, (value, Origin::File));
    }

    /// Every key with the value in force, in the order of [`KEYS`].
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |key: &Key| match self.values.get(key.name) {
            Some((value, origin)) => {
                Setting { key: key.name, value: Some(value.clone()), origin: origin.clone() }
            }
            None => Setting { key: key.name, value: key.default_value(), origin: Origin::Default },
        };
        KEYS.iter().map(setting).collect()
    }

    /// The tree, every value checked.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first value that does not hold.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        Ok(Config {
            name: self.optional("name")?,
            listen: self.optional("listen")?,
            relays: self.list("relays", parsed)?,
            peers: self.list("peers", peer_hint)?,
            publish_addresses: self.bool("publish_addresses"),
            services: self.list("services", parsed)?,
            congestion: self.one("transport.congestion", parsed)?,
            port_prediction: self.bool("transport.port_prediction"),
            record_lifetime: self.one("record_lifetime", record_lifetime)?,
            log: LogConfig { level: self.one("log.level", log_level)? },
            relay: self.relay()?,
            dht: self.dht()?,
            registry: self.registry()?,
            gateway: self.gateway()?,
            audit: AuditConfig {
                enabled: self.bool("audit.enabled"),
                bytes_max: self.number("audit.bytes_max", 1 << 20, 1 << 50)?,
            },
            dns: self.dns()?,
            tun: self.tun()?,
            anchor: self.anchor()?,
            gossip: GossipConfig { enabled: self.bool("gossip.enabled") },
            messages: MessagesConfig {
                file_bytes_max: self.number("messages.file_bytes_max", 0, 1 << 50)?,
                unasked_bytes_max: self.number("messages.unasked_bytes_max", 0, 1 << 50)?,
            },
            references: ReferencesConfig {
                lifetime: self.one("references.lifetime", reference_lifetime)?,
                keep: self.list("references.keep", |text: &str| Ok(text.to_owned()))?,
                keep_for_trusted: self.bool("references.keep_for_trusted"),
            },
            content: ContentConfig {
                serve: self.bool("content.serve"),
                max_bytes: self.number("content.max_bytes", 0, 1 << 50)?,
            },
            trust: TrustConfig { lifetime: self.maybe("trust.lifetime", duration)? },
        })
    }

    fn relay(&self) -> Result<RelayConfig, ConfigError> {
        let relay = RelayConfig {
            enabled: self.bool("relay.enabled"),
            listen: self.one("relay.listen", parsed)?,
            quic_port: self.number("relay.quic_port", 0, u16::MAX.into())? as u16,
            cert: self.optional("relay.cert")?,
            key: self.optional("relay.key")?,
            hostname: self.maybe("relay.hostname", host)?,
            access: self.one("relay.access", access)?,
            allow: self.list("relay.allow", parsed)?,
            rate_limit_bytes_per_second: self.number(
                "relay.rate_limit_bytes_per_second",
                0,
                u32::MAX.into(),
            )? as u32,
        };
        match (&relay.cert, &relay.key) {
            (Some(_), None) => Err(self.refuse("relay.cert", "it needs relay.key too")),
            (None, Some(_)) => Err(self.refuse("relay.key", "it needs relay.cert too")),
            _ => Ok(relay),
        }
    }

    pub(super) fn value(&self, name: &'static str) -> Option<Value> {
        let set = self.values.get(name).map(|(value, _)| value.clone());
        set.or_else(|| {
            Key::find(name).expect("only keys of the list are asked for").default_value()
        })
    }

    pub(super) fn refuse(&self, name: &'static str, why: impl Into<String>) -> ConfigError {
        let origin = self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        let value = self.value(name).map(|v| cut(&v.to_string())).unwrap_or_default();
        let expected = Key::find(name).map_or("", |key| key.about);
        ConfigError::Value { key: name, value, why: why.into(), expected, origin }
    }

    /// A text value; an empty one counts as not set.
    pub(super) fn maybe<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        match self.value(name) {
            Some(Value::Text(text)) if !text.is_empty() => {
                parse(&text).map(Some).map_err(|why| self.refuse(name, why))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn optional<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.maybe(name, parsed)
    }

    pub(super) fn one<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.maybe(name, parse)?.ok_or_else(|| self.refuse(name, "it must not be empty"))
    }

    pub(super) fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(Value::List(list)) = self.value(name) else { return Ok(Vec::new()) };
        let parsed: Result<Vec<T>, String> = list
            .iter()
            .map(|text| parse(text).map_err(|why| format!("{}: {why}", cut(text))))
            .collect();
        parsed.map_err(|why| self.refuse(name, why))
    }

    /// Whether file, environment or a flag says something about it.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn bool(&self, name: &'static str) -> bool {
        self.value(name) == Some(Value::Bool(true))
    }

    pub(super) fn number(
        &self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<u64, ConfigError> {
        match self.value(name) {
            Some(Value::Number(number)) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refuse(name, format!("expected a number from {least} to {most}"))),
        }
    }
}

pub(super) fn unknown(name: &str) -> ConfigError {
    ConfigError::UnknownKey { key: cut(name), nearest: Key::nearest(name), place: None }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn host(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    match text.chars().find(|c| !plain(*c)) {
        None => Ok(text.to_owned()),
        Some(c) => Err(format!("a host name or IP has no {c:?}")),
    }
}

fn access(text: &str) -> Result<RelayAccess, String> {
    match text {
        "open" => Ok(RelayAccess::Open),
        "allow" => Ok(RelayAccess::Allow),
        _ => Err("expected open or allow".into()),
    }
}

fn log_level(text: &str) -> Result<String, String> {
    let directives: Result<tracing_subscriber::EnvFilter, _> = text.parse();
    directives.map(|_| text.to_owned()).map_err(|e| e.to_string())
}

fn record_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    match lifetime {
        l if l < Duration::from_secs(60) => Err("a record lives at least 1m".into()),
        l if l > RECORD_LIFETIME_MAX => Err("a record lives at most 24h".into()),
        l => Ok(l),
    }
}

fn reference_lifetime(text: &str) -> Result<Duration, String> {
    use homing_core::references::limits::{LIFETIME_MAX, LIFETIME_MIN};
    let lifetime = duration(text)?;
    let allowed = (LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime);
    allowed.then_some(lifetime).ok_or_else(|| "expected 30s to 366d".to_owned())
}

/// `90s`, `15m`, `12h`, `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number with s, m, h or d, such as 30d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    match number.checked_mul(unit) {
        Some(seconds) if (1..=3_650 * 86_400).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => Err("expected 1s to 3650d".into()),
    }
}

/// A ticket, or where to dial and (before the `@`) who must answer there.
pub(crate) fn peer_hint(text: &str) -> Result<PeerHint, String> {
    if text.starts_with("homing1") {
        let ticket: Ticket = parsed(text)?;
        let record = UnverifiedRecord::parse(&ticket.record)
            .and_then(UnverifiedRecord::verify_signature)
            .map_err(|e| e.to_string())?;
        return Ok(PeerHint::Ticket { record: Box::new(record), direct: ticket.direct });
    }
    let (peer, socket) = match text.rsplit_once('@') {
        Some((peer, socket)) => (Some(parsed(peer)?), socket),
        None => (None, text),
    };
    Ok(PeerHint::At { peer, direct: sockets(socket)? })
}

/// An IP with port as it stands; a host name is looked up.
fn sockets(text: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    use std::net::ToSocketAddrs;
    if let Ok(socket) = text.parse() {
        return Ok(vec![socket]);
    }
    match text.to_socket_addrs() {
        Ok(found) => Ok(found.take(8).collect()),
        Err(e) => Err(format!("expected a ticket or ADDRESS@HOST:PORT ({e})")),
    }
}
