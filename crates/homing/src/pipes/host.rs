//! Sessions that peers open here: which stream belongs to which.
//!
//! A session is known by the peer's identity *and* its number, so nobody reaches another's. Every stream
//! has passed the daemon's check of trust and scope before it comes here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homing_api::client::RawStream;
use homing_api::streams::IncomingStream;
use homing_api::{ApiError, Client, Code};
use homing_base::{Mono, NodeId};
use homing_core::session::frame::read_open;
use homing_core::session::{Frame, GREETING, OPEN_BYTES, Reason, Session, SessionId, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::resume::Arrival;

/// Sessions at once; each may hold 2 MiB.
const SESSIONS_MAX: usize = 256;
/// Of those, with one peer, so that nobody takes the place of all others.
const SESSIONS_PER_PEER_MAX: usize = SESSIONS_MAX / 4;
/// How long an opener may take for its first frame.
const OPEN_MAX: Duration = Duration::from_secs(5);

type Key = (NodeId, SessionId);

/// All sessions of one listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<Key, mpsc::Sender<Arrival>>>>);

/// A session that begins; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) session: Session,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) place: Place,
}

/// An entry in the table.
#[derive(Debug)]
pub(crate) struct Place {
    key: Key,
    sessions: Sessions,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.table().remove(&self.key);
    }
}

impl Sessions {
    /// Greets a stream and hands it to its session. A seat, when that is a new one.
    pub(crate) async fn welcome(
        &self,
        client: &Client,
        incoming: &IncomingStream,
    ) -> Result<Option<Seat>, ApiError> {
        let mut stream = client.take_stream(incoming.id).await?;
        let mut first = [0; OPEN_BYTES];
        let greeted = async {
            stream.io.write_all(&GREETING).await?;
            stream.io.read_exact(&mut first).await
        };
        let open = match timeout(OPEN_MAX, greeted).await {
            Ok(Ok(_)) => read_open(&first).map_err(|e| e.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it said nothing within 5 s".to_owned()),
        };
        let open = open.map_err(|why| {
            ApiError::new(Code::StreamBroken, "the peer opened no session")
                .why(why)
                .hint("it must use homing connect --resume or homing forward --resume")
        })?;
        let key = (incoming.peer.node_id, open.session);
        let known = self.table().get(&key).cloned();
        if let Some(known) = known {
            return match known.send(Arrival { open, stream }).await {
                Ok(()) => Ok(None),
                Err(late) => refuse(late.0.stream, Reason::Unknown).await.map(|()| None),
            };
        }
        let session = match Session::host(Mono(0), &open, limits::DETACHED_MAX) {
            Ok(session) => session,
            Err(reason) => return refuse(stream, reason).await.map(|()| None),
        };
        let (sender, arrivals) = mpsc::channel(4);
        match self.enter(key, sender.clone()) {
            Some(place) => {
                // The channel is empty and has room.
                let _ = sender.send(Arrival { open, stream }).await;
                Ok(Some(Seat { session, arrivals, place }))
            }
            None => refuse(stream, Reason::Busy).await.map(|()| None),
        }
    }

    fn enter(&self, key: Key, sender: mpsc::Sender<Arrival>) -> Option<Place> {
        let mut table = self.table();
        let of_peer = table.keys().filter(|(peer, _)| *peer == key.0).count();
        let full = table.len() >= SESSIONS_MAX || of_peer >= SESSIONS_PER_PEER_MAX;
        if full || table.contains_key(&key) {
            return None;
        }
        table.insert(key, sender);
        Some(Place { key, sessions: self.clone() })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Key, mpsc::Sender<Arrival>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// There is no program for it.
    pub(crate) async fn refuse(mut self, reason: Reason) {
        if let Some(arrival) = self.arrivals.recv().await {
            let _ = refuse(arrival.stream, reason).await;
        }
    }
}

async fn refuse(mut stream: RawStream, reason: Reason) -> Result<(), ApiError> {
    let mut word = Vec::new();
    Frame::Reset(reason).write(&mut word);
    let _ = stream.io.write_all(&word).await;
    let _ = stream.io.shutdown().await;
    // Closing before the peer has read it all would look like a break.
    let mut rest = tokio::io::sink();
    let _ = timeout(OPEN_MAX, tokio::io::copy(&mut stream.io, &mut rest)).await;
    Ok(())
}
