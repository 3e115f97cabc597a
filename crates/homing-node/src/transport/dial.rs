//! Dialling: from a target to a link, or to a reason why not, within 10 s.
//!
//! A known endpoint is dialled over everything known at once: relays and, from the main door, direct
//! addresses. Bare socket addresses are asked for their key first ([`super::whois`]). The node behind a
//! relay is looked up over HTTPS: `/.well-known/homing` answers `{1 signed record, 2 direct addresses}`.

use std::net::SocketAddr;
use std::sync::Arc;

use homing_base::record::UnverifiedRecord;
use homing_base::{InstanceId, Mono, Now, Record, RelayRef};
use homing_core::io::{DialError, DialId, DialTarget, Door, Input};
use iroh::endpoint::Connection;
use iroh::{EndpointAddr, EndpointId, TransportAddr};
use minicbor::{Decode, Encode};

use super::links::NewLink;
use super::{ALPN_MESH, Shared, TransportEvent, https, limits, path, whois};

/// Performs one dial and tells how it ended.
pub(super) async fn run(shared: Arc<Shared>, dial: DialId, target: DialTarget) {
    let attempt = tokio::time::timeout(limits::DIAL_TIMEOUT, link(&shared, dial, &target)).await;
    let error = match attempt {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => DialError::Unreachable("no answer".into()),
    };
    forget_back_off(&shared, &target);
    shared.tell(TransportEvent::Input(Input::DialFailed { dial, error })).await;
}

/// After a failure, relays of others get a fresh connection next time: iroh waits up to 16 s before it
/// tries a relay again that was dead a moment ago. Not those that carry something (a second connection
/// would take their packets), nor the configured ones (the health check's).
fn forget_back_off(shared: &Shared, target: &DialTarget) {
    let DialTarget::Endpoint { relays, .. } = target else { return };
    let busy: Vec<RelayRef> = shared
        .links
        .connections()
        .into_iter()
        .chain(shared.streams.connections())
        .flat_map(|connection| path::relays(&connection, &shared.book))
        .collect();
    for relay in relays.iter().map(|r| shared.book.as_configured(r)) {
        if !shared.book.configured().contains(&relay) && !busy.contains(&relay) {
            shared.book.renew(&relay);
        }
    }
}

async fn link(shared: &Arc<Shared>, dial: DialId, target: &DialTarget) -> Result<(), DialError> {
    let (connection, door) = connect(shared, target).await?;
    let (send, recv) =
        connection.open_bi().await.map_err(|e| DialError::Unreachable(e.to_string()))?;
    shared.links.start(shared, NewLink { connection, send, recv, dial: Some(dial), door });
    Ok(())
}

async fn connect(shared: &Shared, target: &DialTarget) -> Result<(Connection, Door), DialError> {
    match target {
        DialTarget::Endpoint { endpoint, from, relays, direct } => {
            reach(shared, *endpoint, *from, relays, direct, ALPN_MESH).await
        }
        DialTarget::Sockets { direct } => {
            let (endpoint, addr) = whois::ask(direct).await?;
            reach(shared, endpoint, Door::Main, &[], &[addr], ALPN_MESH).await
        }
        DialTarget::Relay(relay) => behind(shared, relay).await,
    }
}

/// Connects one of our doors with an endpoint, over all its addresses at once.
pub(super) async fn reach(
    shared: &Shared,
    endpoint: InstanceId,
    from: Door,
    relays: &[RelayRef],
    direct: &[SocketAddr],
    alpn: &[u8],
) -> Result<(Connection, Door), DialError> {
    let id = EndpointId::from_bytes(&endpoint.0)
        .map_err(|_| DialError::Unreachable("that instance id is no key".into()))?;
    let (ours, door) = shared.doors.dialler(from).ok_or(DialError::NoAddress)?;
    let mut addrs: Vec<TransportAddr> =
        relays.iter().filter_map(|r| shared.book.url(r)).map(TransportAddr::Relay).collect();
    if door == Door::Main {
        let entries = shared.ports.entries(endpoint);
        addrs.extend(direct.iter().copied().chain(entries).map(TransportAddr::Ip));
    }
    if addrs.is_empty() {
        return Err(DialError::NoAddress);
    }
    let connected = ours.connect(EndpointAddr::from_parts(id, addrs), alpn).await;
    let connection = connected.map_err(|e| DialError::Unreachable(format!("{e:#}")))?;
    Ok((connection, door))
}

/// What `/.well-known/homing` answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WellKnown {
    /// The signed agent record of the node behind the relay.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub record: Vec<u8>,
    /// Where it listens, if it says so.
    #[cbor(
        n(2),
        encode_with = "homing_base::record::encode_direct",
        decode_with = "homing_base::record::decode_direct"
    )]
    pub direct: Vec<SocketAddr>,
}

async fn behind(shared: &Shared, relay: &RelayRef) -> Result<(Connection, Door), DialError> {
    let asked = https::well_known(&shared.book, relay);
    let (record, mut direct) = tokio::time::timeout(limits::WELL_KNOWN_TIMEOUT, asked)
        .await
        .map_err(|_| DialError::Relay("no answer within 3 s".into()))?
        .map_err(DialError::Relay)?;
    direct.extend(record.direct.iter().copied());
    direct.truncate(homing_base::limits::DIRECT_ADDRESSES_MAX);
    let mut relays = record.relays.clone();
    relays.push(relay.clone());
    // A stranger is met at the front, unless it is reachable in no other way than directly.
    let from =
        if record.relays.is_empty() && !direct.is_empty() { Door::Main } else { Door::Front };
    reach(shared, record.instance, from, &relays, &direct, ALPN_MESH).await
}

/// Reads the body of `/.well-known/homing`.
pub(super) fn read_well_known(body: &[u8]) -> Result<(Record, Vec<SocketAddr>), String> {
    let answer: WellKnown = homing_base::cbor::decode(body, limits::WELL_KNOWN_BYTES_MAX)
        .map_err(|e| format!("its answer is malformed: {e}"))?;
    let now = Now { mono: Mono::default(), wall: crate::clock::wall() };
    let record = UnverifiedRecord::parse(&answer.record).and_then(|r| r.verify(now));
    let record = record.map_err(|e| format!("its record is refused: {e}"))?;
    if record.is_withdrawn() {
        return Err("its record is withdrawn".into());
    }
    Ok((record, answer.direct))
}
