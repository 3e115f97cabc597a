//! One stream and one local end: bytes both ways, half-close passed on. A socket is handed to the daemon, which carries
//! by itself; everything else is carried here.
//!
//! A socket cannot tell "ended" from "broken". So the end of the peer's bytes is passed on only after
//! the daemon has said that it was one; otherwise the local end is aborted.

use std::os::fd::AsFd;

use homing_api::client::{RawStream, SocketStream};
use homing_api::streams::{StreamOutcome, StreamState};
use homing_api::{ApiError, Client, Code};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Carried;
use super::end::End;
use super::socket::Socket;

const CHUNK_BYTES: usize = 64 * 1_024;

/// Has the daemon carry until both directions have ended or one broke.
pub(crate) async fn hand_over(
    client: &Client,
    stream: SocketStream,
    socket: Socket,
) -> (Carried, Result<(), ApiError>) {
    let id = stream.id;
    // Where the daemon dies, its copy of the socket closes with it: then this one is the last.
    let socket = match socket.into_idle() {
        Ok(socket) => socket,
        Err(error) => return (Carried::default(), Err(local_end(&error.to_string()))),
    };
    let orderly = match stream.carry(socket.as_fd()).await {
        Ok(orderly) => orderly,
        Err(error) => return (Carried::default(), Err(error)),
    };
    let (carried, told) = told(client, id).await;
    match orderly {
        true => (carried, Ok(())),
        false => (carried, told.and_then(|()| Err(broken("the peer went away")))),
    }
}

/// Carries until it is over for the local end; then says how a process ended.
pub(crate) async fn carry(
    client: &Client,
    stream: RawStream,
    end: End,
) -> (Carried, Result<Option<i32>, ApiError>) {
    let id = stream.id;
    let (mut from_peer, mut to_peer) = tokio::io::split(stream.io);
    let (output_decides, input_decides) = (end.is_over_after_output(), end.is_over_after_input());
    let (mut from_local, mut to_local) = tokio::io::split(end);
    let mut carried = Carried::default();
    let Carried { sent_bytes, received_bytes } = &mut carried;
    let ended = {
        let how = How { client, id };
        let sending = outward(how, &mut from_local, &mut to_peer, sent_bytes);
        let receiving = async {
            match inward(how, &mut from_peer, &mut to_local, received_bytes).await {
                // A process need not read what it is sent.
                Ok(false) if !output_decides => Err(local_end("it took no more")),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            }
        };
        tokio::pin!(sending, receiving);
        tokio::select! {
            sent = &mut sending => match sent {
                Ok(()) if output_decides => Ok(()),
                Ok(()) => receiving.await,
                Err(error) => Err(error),
            },
            received = &mut receiving => match received {
                Ok(()) if input_decides => Ok(()),
                Ok(()) => sending.await,
                Err(error) => Err(error),
            },
        }
    };
    let end = from_local.unsplit(to_local);
    match ended {
        Ok(()) => (carried, Ok(end.exit_code().await)),
        Err(error) => {
            // Before the socket closes, which would be an orderly end for the peer.
            let _ = client.abort_stream(id).await;
            end.abort();
            (carried, Err(error))
        }
    }
}

/// Where to ask how a stream ended.
#[derive(Clone, Copy)]
struct How<'a> {
    client: &'a Client,
    id: u64,
}

/// Local bytes to the peer.
async fn outward(
    how: How<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &mut u64,
) -> Result<(), ApiError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await.map_err(|e| local_end(&e.to_string()))?;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return outcome(how.client, how.id).await;
        }
        *count += read as u64;
    }
}

/// The peer's bytes to the local end. Whether it took them all.
async fn inward(
    how: How<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &mut u64,
) -> Result<bool, ApiError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await.map_err(|e| broken(&e.to_string()))?;
        if read == 0 {
            outcome(how.client, how.id).await?;
            let _ = to.shutdown().await;
            return Ok(true);
        }
        if to.write_all(&buffer[..read]).await.and(to.flush().await).is_err() {
            return Ok(false);
        }
        *count += read as u64;
    }
}

/// Whether the peer's bytes ended in order.
pub(crate) async fn outcome(client: &Client, id: u64) -> Result<(), ApiError> {
    told(client, id).await.1
}

/// What the daemon knows: bytes, and whether the peer's ended in order. Nothing, when it is another one than before.
async fn told(client: &Client, id: u64) -> (Carried, Result<(), ApiError>) {
    match client.stream_outcome(id).await {
        Ok(outcome) => {
            let StreamOutcome { state, error, received_bytes, sent_bytes, .. } = outcome;
            let ended = match state {
                StreamState::Broken => Err(error.unwrap_or_else(|| broken("the peer went away"))),
                StreamState::Open | StreamState::Closed => Ok(()),
            };
            (Carried { sent_bytes, received_bytes }, ended)
        }
        Err(error) => (Carried::default(), Err(broken(&error.message))),
    }
}

fn broken(why: &str) -> ApiError {
    ApiError::new(Code::StreamBroken, "the stream broke")
        .why(why)
        .hint("homing connect --retry connects again; --resume loses nothing")
}

fn local_end(why: &str) -> ApiError {
    ApiError::new(Code::StreamBroken, "the local end is gone").why(why)
}
