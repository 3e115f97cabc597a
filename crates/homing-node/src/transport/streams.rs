//! The connections that carry application streams: one outgoing per peer endpoint, pooled; incoming
//! ones as they come. When trust ends, all of a peer's end at once with an error code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homing_base::InstanceId;
use homing_core::io::{DialTarget, Door};
use homing_core::message::Refusal;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use super::links::remote_of;
use super::stream::{
    CLOSE_SEVERED, IncomingStream, OpenedStream, RESET_REFUSED, StreamError, StreamHeader,
    StreamReply, read_frame, write_frame,
};
use super::{ALPN_STREAM, Shared, TransportEvent, dial, limits, path};

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// All connections on `homing/stream/1`.
#[derive(Default)]
pub(super) struct Streams {
    pool: Mutex<BTreeMap<InstanceId, Slot>>,
    live: Mutex<BTreeMap<usize, Connection>>,
}

impl Streams {
    /// Ends every connection with these endpoints now: trust ended, or the run did.
    pub(super) fn sever(&self, endpoints: &[InstanceId]) {
        for connection in self.live().values() {
            if endpoints.contains(&remote_of(connection)) {
                connection.close(CLOSE_SEVERED, b"trust ended");
            }
        }
    }

    /// Lets go of every connection; they are closed.
    pub(super) fn forget_all(&self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.live().clear();
    }

    /// Every connection that stands.
    pub(super) fn connections(&self) -> Vec<Connection> {
        self.live().values().filter(|c| alive(c)).cloned().collect()
    }

    fn slot(&self, endpoint: InstanceId) -> Slot {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for a slot that only the pool holds; a dead connection in it is of no use.
        pool.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|s| s.as_ref().is_some_and(alive))
        });
        pool.entry(endpoint).or_default().clone()
    }

    /// How many there are now with the same endpoint.
    fn enlist(&self, connection: &Connection) -> usize {
        let mut live = self.live();
        live.retain(|_, c| alive(c));
        live.insert(connection.stable_id(), connection.clone());
        live.values().filter(|c| remote_of(c) == remote_of(connection)).count()
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Connection>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alive(connection: &Connection) -> bool {
    connection.close_reason().is_none()
}

/// Ends the streams of a superseded run that leaves its farewell unanswered: who waits for them tries the new one.
pub(super) async fn bury(shared: Arc<Shared>, old: Connection) {
    let rtt = path::view(&old, &shared).map(|view| view.rtt).unwrap_or_default();
    let grace = limits::FAREWELL_GRACE.max(4 * rtt);
    // An answered farewell closes the connection from here.
    if timeout(grace, old.closed()).await.is_err() {
        shared.streams.sever(&[remote_of(&old)]);
    }
}

/// Opens a stream; see [`super::Transport::open_stream`].
pub(super) async fn open(
    shared: &Shared,
    target: &DialTarget,
    header: &StreamHeader,
) -> Result<OpenedStream, StreamError> {
    let (connection, pooled) = connection(shared, target).await?;
    let heard = heard(&connection);
    match ask(&connection, header).await {
        Err(StreamError::Broken(reason)) if pooled && is_dead(&connection, heard) => {
            // The pooled connection was dead without knowing it: once more on a fresh one.
            tracing::debug!(error = reason, "a pooled connection was replaced");
            connection.close(RESET_REFUSED, b"replaced");
            let (fresh, _) = self::connection(shared, target).await?;
            ask(&fresh, header).await
        }
        answer => answer,
    }
}

async fn connection(
    shared: &Shared,
    target: &DialTarget,
) -> Result<(Connection, bool), StreamError> {
    let DialTarget::Endpoint { endpoint, relays, direct, .. } = target else {
        return Err(StreamError::NoAddress);
    };
    let slot = shared.streams.slot(*endpoint);
    let mut held = slot.lock().await;
    if let Some(connection) = held.as_ref().filter(|c| alive(c)) {
        return Ok((connection.clone(), true));
    }
    let reached = dial::reach(shared, *endpoint, Door::Main, relays, direct, ALPN_STREAM);
    let (connection, _) = timeout(limits::STREAM_CONNECT_TIMEOUT, reached)
        .await
        .map_err(|_| StreamError::Unreachable("no answer within 5 s".into()))??;
    shared.streams.enlist(&connection);
    *held = Some(connection.clone());
    Ok((connection, false))
}

/// Packets that came over a connection.
fn heard(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}

/// Whether a connection that gave no answer is of no use: other streams go on over one whose peer is merely slow.
fn is_dead(connection: &Connection, heard_before: u64) -> bool {
    !alive(connection) || heard(connection) == heard_before
}

async fn ask(connection: &Connection, header: &StreamHeader) -> Result<OpenedStream, StreamError> {
    // While the peer has as many streams open as it takes, a new one waits for the end of another.
    let before = heard(connection);
    let opened = timeout(limits::STREAM_PLACE_TIMEOUT, connection.open_bi()).await;
    let opened = opened.map_err(|_| match is_dead(connection, before) {
        true => StreamError::Broken("nothing was heard for 5 s".into()),
        false => StreamError::Refused(Refusal::RateLimited),
    })?;
    let (mut send, mut recv) = opened.map_err(|e| StreamError::Broken(e.to_string()))?;
    let asked = async {
        write_frame(&mut send, &homing_base::cbor::encode(header)).await?;
        let reply = StreamReply::decode(&read_frame(&mut recv).await?);
        let reply = reply.map_err(|e| StreamError::Broken(e.to_string()))?;
        match reply.refused {
            Some(why) => Err(StreamError::Refused(why)),
            None => {
                let (protocol, connection) = (reply.speaks(), connection.clone());
                Ok(OpenedStream { send, recv, protocol, connection })
            }
        }
    };
    match timeout(limits::STREAM_REPLY_TIMEOUT, asked).await {
        Ok(Err(StreamError::Broken(reason))) => {
            let reason = connection.close_reason().map_or(reason, |r| r.to_string());
            Err(StreamError::Broken(reason))
        }
        Ok(answer) => answer,
        Err(_) => Err(StreamError::Broken("no answer within 5 s".into())),
    }
}

/// Hands the streams of an admitted peer's connection to the shell until it ends.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    if shared.streams.enlist(&connection) > limits::STREAM_CONNECTIONS_MAX {
        // Each has its own allowance of streams.
        return connection.close(RESET_REFUSED, b"too many connections");
    }
    let endpoint = remote_of(&connection);
    if !shared.admission.holds(endpoint) {
        // Expelled between the check and the list.
        connection.close(CLOSE_SEVERED, b"trust ended");
    }
    while let Ok(halves) = connection.accept_bi().await {
        let (shared, connection) = (shared.clone(), connection.clone());
        tokio::spawn(async move { greet(&shared, endpoint, connection, halves).await });
    }
}

async fn greet(
    shared: &Shared,
    endpoint: InstanceId,
    connection: Connection,
    (mut send, mut recv): (SendStream, RecvStream),
) {
    let header = timeout(limits::HANDSHAKE_TIMEOUT, read_frame(&mut recv)).await;
    match header.ok().and_then(Result::ok).map(|bytes| StreamHeader::decode(&bytes)) {
        Some(Ok(header)) => {
            let stream = IncomingStream::new(endpoint, header, connection, (send, recv));
            shared.tell(TransportEvent::Stream(stream)).await;
        }
        _ => {
            send.reset(RESET_REFUSED).ok();
            recv.stop(RESET_REFUSED).ok();
        }
    }
}
