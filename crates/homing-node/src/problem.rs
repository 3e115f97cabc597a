//! From what went wrong to what a user is told: code, sentence, cause, next step.
//!
//! One place, so that the command line, HTTP and an embedding program say the same.

use homing_api::{ApiError, Code};
use homing_base::{InstanceId, Service, Wall, with_causes};
use homing_core::Failure;
use homing_core::io::TrustState;
use homing_core::message::Refusal;

use crate::builder::StartError;
use crate::config::ConfigError;
use crate::home::HomeError;
use crate::identity_file::IdentityFileError;
use crate::registry_role::RegistryStartError;
use crate::relay::RelayError;
use crate::store::StoreError;
use crate::transport::health::RelayHealth;
use crate::transport::{StreamError, TransportError};

/// A failed command about `what`, as the user wrote it.
pub(crate) fn of_failure(what: &str, failure: &Failure, now: Wall) -> ApiError {
    match failure {
        Failure::NotFound { what, asked } => not_found(what, *asked),
        Failure::Ambiguous { name, claimants } => {
            let list: Vec<_> = claimants.iter().map(ToString::to_string).collect();
            ApiError::new(Code::AmbiguousName, format!("{name} is claimed by several agents"))
                .why(list.join(", "))
                .hint(format!("use a node ID, or choose one: homing name alias {name} NODE_ID"))
        }
        Failure::NameMoved { name, pinned, claimant } => {
            ApiError::new(Code::NameTaken, format!("{name} is now claimed by another agent"))
                .why(format!(
                    "here it means {pinned} since its first use; now {claimant} claims it"
                ))
                .hint(format!("if that is right: homing name alias {name} {claimant}"))
        }
        Failure::Unproven { endpoint } => ApiError::new(
            Code::PeerNotTrusted,
            format!("nobody has proven to be at endpoint {endpoint}"),
        ),
        Failure::NotTrusted { state, .. } => not_trusted(what, *state),
        Failure::Refused { refusal, .. } => of_refusal(what, *refusal),
        Failure::ScopeDenied { service, scope, .. } => {
            ApiError::new(Code::ScopeDenied, format!("{what} does not allow {service}"))
                .why(format!("it allows: {scope}"))
                .hint(format!("ask for more: homing handshake {what} --allow {service}"))
        }
        Failure::NoRequest { what } => {
            ApiError::new(Code::NotFound, format!("there is no pending request of {what}"))
                .hint("homing pending lists the requests")
        }
        Failure::Offline { last_seen, tried, .. } => offline(what, *last_seen, tried, now),
        Failure::NoRoute { missing, .. } => {
            ApiError::new(Code::NoRoute, format!("there is no way to {what}")).why(missing).hint(
                "give it a relay (--relay) or an address (--peer ADDRESS@HOST:PORT), then retry",
            )
        }
        Failure::Timeout { what } => {
            ApiError::new(Code::Timeout, format!("{what}: no answer in time"))
                .hint("homing status shows the path; a longer --timeout waits more")
        }
        Failure::Myself => ApiError::new(Code::Usage, format!("{what} is this agent itself"))
            .hint("name another agent"),
        Failure::Superseded { by } => in_use(by),
        Failure::Limit { what, max } => {
            ApiError::new(Code::LimitReached, format!("no more than {max} {what}"))
        }
        Failure::ReferenceOver { ends: None, .. } => {
            ApiError::new(Code::Withdrawn, format!("{what} was withdrawn by its owner"))
        }
        Failure::ReferenceOver { ends: Some(ends), .. } => {
            ApiError::new(Code::NotFound, format!("{what} has expired"))
                .why(format!("its owner signed it until {ends}, and nobody else can extend it"))
                .hint("its owner must come back online: it signs the reference anew by itself")
        }
        Failure::Disabled { .. } => dht_disabled(),
        Failure::Invalid(why) => ApiError::new(Code::Usage, why),
        other => ApiError::new(Code::Internal, format!("{what}: {other:?}")),
    }
}

/// Another run of this identity is the one to ask.
fn in_use(by: &InstanceId) -> ApiError {
    ApiError::new(Code::IdentityInUse, "a newer instance of this identity runs elsewhere")
        .why(format!("the newer instance is {by}; this one no longer speaks for the agent"))
        .hint("stop one of the two: homing down. To take over here: homing down, then homing up --takeover with the flags you started it with")
}

/// The configuration leaves the DHT out.
pub(crate) fn dht_disabled() -> ApiError {
    ApiError::new(Code::DhtDisabled, "this node takes no part in the DHT")
        .why("dht.enabled is false")
        .hint("homing config set dht.enabled true, then: homing down, then homing up with the flags you started it with")
}

fn not_found(what: &str, asked: usize) -> ApiError {
    let why = match asked {
        0 => "it is not known here, and nobody else was asked: there is no neighbour, or it was looked for a \
              moment ago"
            .to_owned(),
        1 => "it is known neither here nor to the one neighbour that was asked".to_owned(),
        n => format!("it is known neither here nor to the {n} neighbours that were asked"),
    };
    ApiError::new(Code::NotFound, format!("{what} was not found")).why(why).hint(
        "join through somebody who knows it: homing up --peer TICKET (from homing info --ticket)",
    )
}

/// Names the clock, where it may be why a peer was not found or reached: records of the future are
/// refused, and so is their owner.
pub(crate) fn with_wrong_clock(error: ApiError, failure: &Failure, skew: &str) -> ApiError {
    if !is_loss(failure) {
        return error;
    }
    let before = error.why.as_ref().map(|why| format!("{why}; ")).unwrap_or_default();
    error
        .why(format!("{before}the clock of this machine or of a peer is wrong: {skew}"))
        .hint("set the clock by NTP: timedatectl set-ntp true; then retry")
}

/// Whether a peer was wanted and not found or reached.
fn is_loss(failure: &Failure) -> bool {
    use Failure::{NoRoute, NotFound, Offline, Timeout};
    matches!(failure, NotFound { .. } | NoRoute { .. } | Offline { .. } | Timeout { .. })
}

/// Names the relays that do not answer, where that may be why a peer was not found or reached.
pub(crate) fn with_dead_relays(
    error: ApiError,
    failure: &Failure,
    relays: &[RelayHealth],
) -> ApiError {
    if !is_loss(failure) || relays.is_empty() {
        return error;
    }
    let say = |relay: &RelayHealth| {
        let why = relay.error.as_deref().unwrap_or("no answer yet");
        format!("{} ({why})", relay.relay.authority())
    };
    let dead: Vec<_> = relays.iter().map(say).collect();
    let before = error.why.as_ref().map(|why| format!("{why}; ")).unwrap_or_default();
    error
        .why(format!("{before}no relay answers: {}", dead.join(", ")))
        .hint("check the relay and the way to it: homing netcheck")
}

fn not_trusted(what: &str, state: TrustState) -> ApiError {
    let (code, message, hint) = match state {
        TrustState::Requested => (
            Code::PeerNotTrusted,
            format!("{what} has not approved you yet"),
            "ask its owner to run homing approve, or wait: homing wait trusted".to_owned(),
        ),
        TrustState::Pending => (
            Code::PeerNotTrusted,
            format!("{what} asks for trust and waits for you"),
            format!("homing approve {what}"),
        ),
        TrustState::Expired => (
            Code::TrustExpired,
            format!("trust with {what} has expired"),
            format!("renew it: homing handshake {what}"),
        ),
        TrustState::RejectedByPeer | TrustState::RevokedByPeer => (
            Code::PeerNotTrusted,
            format!("{what} does not trust you any more"),
            format!("ask again: homing handshake {what} --reason …"),
        ),
        TrustState::RejectedByUs | TrustState::RevokedByUs => (
            Code::PeerNotTrusted,
            format!("you do not trust {what} any more"),
            format!("to change that: homing handshake {what}"),
        ),
        _ => (
            Code::PeerNotTrusted,
            format!("there is no trust with {what}"),
            format!("homing handshake {what}"),
        ),
    };
    ApiError::new(code, message).hint(hint)
}

pub(crate) fn of_refusal(what: &str, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotTrusted => {
            ApiError::new(Code::PeerNotTrusted, format!("{what} does not trust you"))
                .hint(format!("homing handshake {what}"))
        }
        Refusal::ScopeDenied => {
            ApiError::new(Code::ScopeDenied, format!("{what} does not allow this service to you"))
                .hint(format!("ask for it: homing handshake {what} --allow SERVICE"))
        }
        Refusal::TrustExpired => {
            ApiError::new(Code::TrustExpired, format!("trust with {what} has expired"))
                .hint(format!("renew it: homing handshake {what}"))
        }
        Refusal::RateLimited => {
            ApiError::new(Code::RateLimited, format!("{what} takes no more requests right now"))
                .retry_after_ms(1_000)
        }
        Refusal::NoSuchService => {
            ApiError::new(Code::NoSuchService, format!("{what} exposes no such service"))
                .hint("on that agent: homing expose TARGET, or homing listen PORT")
        }
    }
}

fn offline(what: &str, last_seen: Option<Wall>, tried: &[String], now: Wall) -> ApiError {
    let seen = match last_seen {
        Some(at) => format!("last heard {} ago", span(now.since(at))),
        None => "it was never heard in this home".to_owned(),
    };
    let why = match tried {
        [] => seen,
        tried => format!("{seen}; tried {}", tried.join(", ")),
    };
    ApiError::new(Code::PeerOffline, format!("{what} is not answering"))
        .why(why)
        .hint(format!("homing wait online {what} --timeout 10m"))
}

/// `41 s`, `4 minutes`, `3 hours`, `2 days`.
pub(crate) fn span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0..=99 => return format!("{seconds} s"),
        100..=5_999 => (seconds / 60, "minute"),
        6_000..=172_799 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// `what` had less time to take a stream than a living peer may need.
pub(crate) fn too_hasty(what: &str) -> ApiError {
    ApiError::new(Code::Timeout, format!("{what} did not take the stream in time"))
        .hint("homing status shows the path; a longer --timeout waits more")
}

/// `what` neither took nor refused a stream.
pub(crate) fn silent(what: &str, within: std::time::Duration) -> ApiError {
    ApiError::new(Code::PeerOffline, format!("{what} is not answering"))
        .why(format!("it neither took nor refused the stream within {:.1} s", within.as_secs_f32()))
        .hint(format!("homing wait online {what} --timeout 10m"))
}

/// A stream with `what` that did not open or broke.
pub(crate) fn of_stream(what: &str, error: &StreamError) -> ApiError {
    match error {
        StreamError::Refused(refusal) => of_refusal(what, *refusal),
        StreamError::NoAddress | StreamError::Unreachable(_) => {
            ApiError::new(Code::PeerOffline, format!("{what} is not answering"))
                .why(error.to_string())
                .hint(format!("homing wait online {what} --timeout 10m"))
        }
        other => ApiError::new(Code::StreamBroken, format!("the stream with {what} broke"))
            .why(other.to_string())
            .hint("open it again; homing connect --retry does so by itself"),
    }
}

/// The chain of causes below `error`, on one line.
fn causes(error: &dyn std::error::Error) -> Option<String> {
    error.source().map(with_causes)
}

fn chained(code: Code, error: &dyn std::error::Error, hint: &str) -> ApiError {
    let problem = ApiError::new(code, error.to_string()).hint(hint);
    match causes(error) {
        Some(why) => problem.why(why),
        None => problem,
    }
}

impl From<&IdentityFileError> for homing_api::ApiError {
    fn from(error: &IdentityFileError) -> Self {
        use IdentityFileError as E;
        match error {
            E::Missing { path } => ApiError::new(Code::NotFound, error.to_string())
                .hint(format!("restore {} from your backup, or: homing key init", path.display())),
            E::Exists { path } => ApiError::new(Code::AlreadyExists, error.to_string())
                .why("an identity is never overwritten: its address would be lost")
                .hint(format!("to start over, move {} away first", path.display())),
            E::Permissions { path, .. } => ApiError::new(Code::KeyPermissions, error.to_string())
                .why("whoever reads the key can speak as this agent")
                .hint(format!("chmod 600 {}", path.display())),
            E::NotAFile { .. } | E::TooLarge { .. } => {
                ApiError::new(Code::IdentityInvalid, error.to_string())
                    .hint("point to the identity.json that `homing key init` made")
            }
            E::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                chained(Code::PermissionDenied, error, "run as its owner, or chown it to this user")
            }
            E::Read { .. } => chained(Code::IdentityInvalid, error, "check the file and its disk"),
            E::Write { source, .. } => write_problem(error, source),
            E::Content { .. } => {
                chained(Code::IdentityInvalid, error, "restore identity.json from your backup")
            }
        }
    }
}

fn write_problem(error: &dyn std::error::Error, source: &std::io::Error) -> ApiError {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            chained(Code::DiskFull, error, "free some space, then retry")
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            chained(Code::PermissionDenied, error, "choose a writable place with HOMING_HOME")
        }
        _ => chained(Code::Internal, error, "check the directory, or set HOMING_HOME"),
    }
}

impl From<&HomeError> for homing_api::ApiError {
    fn from(error: &HomeError) -> Self {
        match error {
            HomeError::Unknown => ApiError::new(Code::ConfigInvalid, error.to_string())
                .hint("set HOMING_HOME to the directory that shall hold this agent"),
            HomeError::Directory { source, .. } => write_problem(error, source),
            HomeError::Running { pid, .. } => {
                let problem = ApiError::new(Code::AlreadyExists, error.to_string())
                    .hint("homing daemon status; a second agent needs its own HOMING_HOME");
                match pid {
                    Some(pid) => problem.why(format!("process {pid} holds the lock")),
                    None => problem.why("another process holds the lock"),
                }
            }
            HomeError::SocketPath { .. } => ApiError::new(Code::ConfigInvalid, error.to_string())
                .why("a Unix socket path has at most 107 bytes")
                .hint("set HOMING_HOME or HOMING_SOCKET to a shorter path"),
        }
    }
}

impl From<&ConfigError> for homing_api::ApiError {
    fn from(error: &ConfigError) -> Self {
        let code = Code::ConfigInvalid;
        match error {
            ConfigError::Read { .. } => chained(code, error, "check the file's permissions"),
            ConfigError::Write { source, .. } => write_problem(error, source),
            ConfigError::Syntax { .. } => ApiError::new(code, error.to_string())
                .hint("correct it, then: homing config validate"),
            ConfigError::TooLarge { .. } => ApiError::new(code, error.to_string())
                .hint("homing config path shows which file is read"),
            ConfigError::UnknownKey { nearest, place, .. } => {
                let problem = ApiError::new(code, error.to_string()).hint(match nearest {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => "homing config list shows every key".to_owned(),
                });
                match place {
                    Some(place) => problem.why(format!("it stands in {place}")),
                    None => problem,
                }
            }
            ConfigError::Value { expected, origin, .. } => ApiError::new(code, error.to_string())
                .why(format!("the value comes from: {origin}"))
                .hint(format!("it takes {expected}")),
        }
    }
}

impl From<&StoreError> for homing_api::ApiError {
    fn from(error: &StoreError) -> Self {
        use rusqlite::ErrorCode;
        match error {
            StoreError::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => chained(
                    Code::DiskFull,
                    error,
                    "free some space, then start again; nothing was half-written",
                ),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    chained(Code::PermissionDenied, error, "make the home writable for this user")
                }
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => chained(
                    Code::Internal,
                    error,
                    "move homing.db away: the key stays, peers give their trust statements back",
                ),
                _ => chained(Code::Internal, error, "check the disk; homing daemon logs says more"),
            },
            StoreError::Newer { .. } => ApiError::new(Code::VersionIncompatible, error.to_string())
                .hint("start the newer version of homing again, or use another HOMING_HOME"),
            StoreError::Foreign { owner, .. } => {
                ApiError::new(Code::IdentityInvalid, error.to_string())
                    .why("identity.json was swapped, or the store was copied from another agent")
                    .hint(format!(
                        "put back the identity.json of {}, or move homing.db away to start afresh",
                        owner.fmt_short()
                    ))
            }
            StoreError::Thread { .. } => chained(Code::Internal, error, "raise the process limit"),
            StoreError::Closed => ApiError::new(Code::Internal, error.to_string()),
        }
    }
}

impl From<&TransportError> for homing_api::ApiError {
    fn from(error: &TransportError) -> Self {
        match error {
            TransportError::PortInUse { .. } => ApiError::new(Code::PortInUse, error.to_string())
                .hint("choose another: --listen IP:PORT, or homing config set listen IP:PORT, or unset it"),
            TransportError::Bind { .. } => ApiError::new(Code::ConfigInvalid, error.to_string())
                .hint("homing config set listen to an address of this machine"),
            TransportError::Roots { .. }
            | TransportError::Proxy { .. }
            | TransportError::Relay { .. } => {
                ApiError::new(Code::ConfigInvalid, error.to_string()).hint("homing config list")
            }
            _ => ApiError::new(Code::Internal, error.to_string()).hint("homing doctor"),
        }
    }
}

/// Trust with a peer ended while a stream was open.
pub(crate) fn trust_ended(peer: homing_base::NodeId) -> ApiError {
    let peer = peer.fmt_short();
    ApiError::new(Code::PeerNotTrusted, format!("trust with {peer} ended"))
        .why("it was revoked or has expired; its streams end at once")
        .hint(format!("homing trust show {peer}"))
}

/// A grant became narrower.
pub(crate) fn scope_narrowed(service: &Service) -> ApiError {
    ApiError::new(Code::ScopeDenied, format!("{service} is no longer allowed to this peer"))
        .why("its approval was changed; streams outside of it end at once")
        .hint(format!("homing approve PEER --allow {service}"))
}

/// The node stops.
pub(crate) fn stopping() -> ApiError {
    ApiError::new(Code::DaemonNotRunning, "the daemon is stopping").hint("homing up")
}

impl From<&RelayError> for homing_api::ApiError {
    fn from(error: &RelayError) -> Self {
        match error {
            RelayError::PortInUse { .. } => ApiError::new(Code::PortInUse, error.to_string()).hint(
                "choose others: --listen IP:PORT, --quic-port PORT (it and the next), or homing config set \
                 relay.listen, relay.quic_port",
            ),
            RelayError::Bind { .. } => ApiError::new(Code::ConfigInvalid, error.to_string())
                .hint("homing config set relay.listen to an address of this machine"),
            _ => ApiError::new(Code::ConfigInvalid, error.to_string())
                .hint("check relay.cert and relay.key: homing config list"),
        }
    }
}

impl From<&RegistryStartError> for homing_api::ApiError {
    fn from(error: &RegistryStartError) -> Self {
        match error {
            RegistryStartError::Listen { source, .. } => {
                let busy = source.kind() == std::io::ErrorKind::AddrInUse;
                let code = if busy { Code::PortInUse } else { Code::ConfigInvalid };
                ApiError::new(code, error.to_string())
                    .why(source.to_string())
                    .hint("choose another: --listen IP:PORT, or homing config set registry.listen IP:PORT")
            }
            RegistryStartError::Storage(source) => {
                ApiError::new(Code::ConfigInvalid, error.to_string())
                    .why(source.to_string())
                    .hint("check registry.database and that its server answers: homing config list")
            }
        }
    }
}

impl From<&StartError> for homing_api::ApiError {
    fn from(error: &StartError) -> Self {
        match error {
            StartError::Home(error) => error.into(),
            StartError::Config(error) => error.into(),
            StartError::Identity(error) => error.into(),
            StartError::Store(error) => error.into(),
            StartError::Transport(error) => error.into(),
            StartError::Relay(error) => error.into(),
            StartError::Registry(error) => error.into(),
            StartError::IdentityLost { path, .. } => ApiError::new(
                Code::IdentityInvalid,
                error.to_string(),
            )
            .why("a new key would be a new address, and nobody would know this agent any more")
            .hint(format!(
                "restore {} from your backup; to give the address up, move homing.db away",
                path.display()
            )),
            StartError::Socket { source, .. } => write_problem(error, source),
            StartError::Tun { name, source } => no_interface(error, name, source),
        }
    }
}

/// What a system needs before it makes an interface for us.
fn no_interface(error: &StartError, name: &str, source: &std::io::Error) -> ApiError {
    use std::io::ErrorKind::{AlreadyExists, NotFound, PermissionDenied, ResourceBusy};
    // EPERM: the capability is missing. EACCES: an address is refused, since IPv6 is off.
    let not_capable = source.raw_os_error() != Some(nix::libc::EACCES);
    let (code, hint) = match source.kind() {
        PermissionDenied if not_capable => (
            Code::PermissionDenied,
            "it needs CAP_NET_ADMIN: sudo setcap cap_net_admin+ep \"$(command -v homing)\", or --cap-add NET_ADMIN in a container; without it: homing up --set tun.enabled=false, and the gateway".to_owned(),
        ),
        NotFound => (
            Code::ConfigInvalid,
            "this system has no /dev/net/tun: sudo modprobe tun, or --device /dev/net/tun in a container".to_owned(),
        ),
        ResourceBusy | AlreadyExists => (
            Code::AlreadyExists,
            format!("something else is called {name}: homing up --tun --set tun.name=homing1"),
        ),
        _ => (
            Code::ConfigInvalid,
            "IPv6 must be on: sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.default.disable_ipv6".to_owned(),
        ),
    };
    ApiError::new(code, error.to_string()).why(source.to_string()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_lacks_is_named() {
        let hint = |number: i32| {
            let source = std::io::Error::from_raw_os_error(number);
            let error = StartError::Tun { name: "homing0".into(), source };
            ApiError::from(&error).hint.unwrap()
        };
        assert!(hint(nix::libc::EPERM).contains("CAP_NET_ADMIN"));
        assert!(hint(nix::libc::EACCES).contains("disable_ipv6"));
        assert!(hint(nix::libc::ENOENT).contains("modprobe tun"));
    }

    #[test]
    fn a_wrong_clock_is_named_where_it_may_be_why() {
        let lost = Failure::NotFound { what: "gpu-7".into(), asked: 1 };
        let error = with_wrong_clock(of_failure("gpu-7", &lost, Wall(0)), &lost, "by 90.0 s");
        assert!(error.why.unwrap().ends_with("of a peer is wrong: by 90.0 s"));
        assert!(error.hint.unwrap().starts_with("set the clock"));
        let mine = Failure::Myself;
        let error = with_wrong_clock(of_failure("me", &mine, Wall(0)), &mine, "by 90.0 s");
        assert_eq!(error.why, None);
    }

    #[test]
    fn who_is_not_found_while_no_relay_answers_is_told_which() {
        let relay = "https://198.51.100.7:3340/".parse().unwrap();
        let down = [RelayHealth { relay, error: None }];
        let lost = Failure::NotFound { what: "gpu-7".into(), asked: 0 };
        let error = with_dead_relays(of_failure("gpu-7", &lost, Wall(0)), &lost, &down);
        assert_eq!(error.code, Code::NotFound);
        assert!(
            error.why.unwrap().ends_with("no relay answers: 198.51.100.7:3340 (no answer yet)")
        );

        let mine = Failure::Myself;
        let error = with_dead_relays(of_failure("me", &mine, Wall(0)), &mine, &down);
        assert_eq!(error.why, None, "has nothing to do with relays");
    }
}
