//! Mesh links: one QUIC connection with one bidirectional stream each, framed `length u32 BE ‖ CBOR`.
//!
//! Per link one reader and one writer task. The reader announces the link, then its messages, then its
//! end, in this order and each once. The writer drains a bounded queue; what the core sends before a
//! close leaves before the close. A frame longer than a message may be ends the link at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use homing_base::InstanceId;
use homing_base::limits::MESSAGE_BYTES_MAX;
use homing_core::io::{DialId, Door, Input, LinkId, LinkUp};
use homing_core::message::{ByeReason, Message};
use iroh::endpoint::{Connection, PathEvent, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::limits::{CLOSE_TIMEOUT, LINK_QUEUE_MESSAGES_MAX};
use super::tasks::Tasks;
use super::{Shared, TransportEvent};

/// Every link that stands.
#[derive(Default)]
pub(super) struct Links {
    table: Mutex<BTreeMap<LinkId, Link>>,
    next: AtomicU64,
    tasks: Tasks,
    bytes: Mutex<MessageBytes>,
}

/// Bytes of mesh messages since the start, by kind, without their length prefix.
#[derive(Clone, Debug, Default)]
pub struct MessageBytes {
    /// From peers.
    pub received: BTreeMap<&'static str, u64>,
    /// To peers.
    pub sent: BTreeMap<&'static str, u64>,
}

struct Link {
    connection: Connection,
    queue: mpsc::Sender<Job>,
}

enum Job {
    Send(Vec<u8>),
    Close(ByeReason),
}

/// A connection that is about to become a link.
pub(super) struct NewLink {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) dial: Option<DialId>,
    pub(super) door: Door,
}

impl Links {
    /// Takes a connection over: announces it and runs it until its end.
    pub(super) fn start(&self, shared: &Arc<Shared>, new: NewLink) {
        let link = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let (queue, jobs) = mpsc::channel(LINK_QUEUE_MESSAGES_MAX);
        let NewLink { connection, send, recv, dial, door } = new;
        let remote = remote_of(&connection);
        self.table().insert(link, Link { connection: connection.clone(), queue });
        self.tasks.spawn(write(connection.clone(), send, jobs));
        self.tasks.spawn(follow_path(shared.clone(), link, connection.path_events()));
        let up = LinkUp { link, dial, remote, door };
        self.tasks.spawn(read(shared.clone(), up, connection, recv));
    }

    /// Queues a message; see [`super::Transport::send`].
    pub(super) fn send(&self, link: LinkId, message: &Message) {
        let bytes = message.encode();
        if bytes.len() > MESSAGE_BYTES_MAX {
            tracing::warn!(bytes = bytes.len(), "a message too long for the mesh was not sent");
            return;
        }
        *self.counted().sent.entry(message.kind()).or_default() += bytes.len() as u64;
        let mut frame = Vec::with_capacity(bytes.len() + 4);
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        self.queue(link, Job::Send(frame));
    }

    /// Bytes by kind so far.
    pub(super) fn bytes(&self) -> MessageBytes {
        self.counted().clone()
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, MessageBytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes after what was queued; see [`super::Transport::close_link`].
    pub(super) fn close(&self, link: LinkId, reason: ByeReason) {
        let Some(connection) = self.connection(link) else { return };
        self.queue(link, Job::Close(reason));
        // A peer that does not read would keep the writer, and the link, for ever.
        self.tasks.spawn(async move {
            if tokio::time::timeout(CLOSE_TIMEOUT, connection.closed()).await.is_err() {
                close_now(&connection, reason);
            }
        });
    }

    /// Ends every link with an endpoint at once.
    pub(super) fn cut(&self, endpoint: InstanceId) {
        for link in self.table().values().filter(|l| remote_of(&l.connection) == endpoint) {
            close_now(&link.connection, ByeReason::Idle);
        }
    }

    /// Closes all links and waits until they are gone, a second and a half at most.
    pub(super) async fn close_all(&self, reason: ByeReason) {
        let all: Vec<_> = self.table().iter().map(|(l, s)| (*l, s.connection.clone())).collect();
        for (link, _) in &all {
            self.close(*link, reason);
        }
        let gone = futures_util::future::join_all(all.iter().map(|(_, c)| c.closed()));
        if tokio::time::timeout(CLOSE_TIMEOUT * 3 / 2, gone).await.is_err() {
            tracing::debug!("some links did not close in time");
        }
    }

    /// Lets go of every connection; they are closed.
    pub(super) fn forget_all(&self) {
        self.table().clear();
    }

    pub(super) fn connection(&self, link: LinkId) -> Option<Connection> {
        self.table().get(&link).map(|l| l.connection.clone())
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.table().values().map(|l| l.connection.clone()).collect()
    }

    fn queue(&self, link: LinkId, job: Job) {
        let table = self.table();
        let Some(link) = table.get(&link) else { return };
        if let Err(TrySendError::Full(job)) = link.queue.try_send(job) {
            let reason = match job {
                Job::Send(_) => ByeReason::Overload,
                Job::Close(reason) => reason,
            };
            close_now(&link.connection, reason);
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<LinkId, Link>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoint at the other end, as TLS proved it.
pub(super) fn remote_of(connection: &Connection) -> InstanceId {
    InstanceId(*connection.remote_id().as_bytes())
}

/// Ends a connection with the reason as error code and text.
pub(super) fn close_now(connection: &Connection, reason: ByeReason) {
    let code = homing_base::cbor::encode(&reason).first().copied().unwrap_or_default();
    connection.close(VarInt::from_u32(u32::from(code)), format!("{reason:?}").as_bytes());
}

async fn read(shared: Arc<Shared>, up: LinkUp, connection: Connection, mut recv: RecvStream) {
    let link = up.link;
    let mut listening = shared.tell(TransportEvent::Input(Input::LinkUp(up))).await;
    let mut end = String::from("the peer finished");
    while listening {
        let input = match frame(&mut recv).await {
            Ok(Some(bytes)) => match Message::decode(&bytes) {
                Ok(message) => {
                    let count = bytes.len() as u64;
                    *shared.links.counted().received.entry(message.kind()).or_default() += count;
                    Input::Message { link, message: Box::new(message) }
                }
                Err(error) => {
                    tracing::debug!(%error, "undecodable message");
                    Input::Garbage { link }
                }
            },
            Ok(None) => break,
            Err(FrameError::TooLong) => {
                shared.tell(TransportEvent::Input(Input::Garbage { link })).await;
                close_now(&connection, ByeReason::Protocol);
                end = "the peer sent a message longer than any may be".into();
                break;
            }
            Err(FrameError::Broken(reason)) => {
                end = connection.close_reason().map_or(reason, |r| r.to_string());
                break;
            }
        };
        listening = shared.tell(TransportEvent::Input(input)).await;
    }
    shared.links.table().remove(&link);
    close_now(&connection, ByeReason::Idle);
    shared.tell(TransportEvent::Input(Input::LinkDown { link, reason: end })).await;
}

enum FrameError {
    TooLong,
    Broken(String),
}

/// The next frame; `None` when the peer ended the stream between two frames.
async fn frame(recv: &mut RecvStream) -> Result<Option<Vec<u8>>, FrameError> {
    use iroh::endpoint::ReadExactError;
    let mut length = [0; 4];
    match recv.read_exact(&mut length).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(FrameError::Broken(error.to_string())),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let mut bytes = vec![0; length];
    recv.read_exact(&mut bytes).await.map_err(|e| FrameError::Broken(e.to_string()))?;
    Ok(Some(bytes))
}

async fn write(connection: Connection, mut send: SendStream, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Send(mut bytes) => {
                let close = gather(&mut bytes, &mut jobs);
                if send.write_all(&bytes).await.is_err() {
                    return;
                }
                if let Some(reason) = close {
                    return finish(&connection, send, reason).await;
                }
            }
            Job::Close(reason) => return finish(&connection, send, reason).await,
        }
    }
}

/// Appends what waits in the queue, so that a burst is one write. Answers a close that followed.
fn gather(bytes: &mut Vec<u8>, jobs: &mut mpsc::Receiver<Job>) -> Option<ByeReason> {
    while bytes.len() < MESSAGE_BYTES_MAX {
        match jobs.try_recv() {
            Ok(Job::Send(more)) => bytes.extend(more),
            Ok(Job::Close(reason)) => return Some(reason),
            Err(_) => return None,
        }
    }
    None
}

/// Lets what was written arrive, then closes.
async fn finish(connection: &Connection, mut send: SendStream, reason: ByeReason) {
    if send.finish().is_ok() {
        let arrived = send.stopped().await;
        tracing::trace!(arrived = arrived.is_ok(), "link closing");
    }
    close_now(connection, reason);
}

async fn follow_path(
    shared: Arc<Shared>,
    link: LinkId,
    mut events: impl futures_util::Stream<Item = PathEvent> + Unpin,
) {
    while events.next().await.is_some() {
        // A full queue loses the notice, not the path: the next one tells, and `path` always does.
        shared.events.try_send(TransportEvent::PathChanged { link }).ok();
    }
}
