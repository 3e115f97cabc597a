//! Carrying bytes between a stream and something local, half-close included.

use std::sync::atomic::Ordering;

use homing_api::streams::StreamState;
use homing_api::{ApiError, Code};
use iroh::endpoint::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Entry, Stream};

/// Bytes moved at once: large enough to fill UDP segmentation offload, small enough for idle memory.
const CHUNK_BYTES_MAX: usize = 64 * 1_024;
/// Error code of halves whose local end is gone, or that are no longer allowed.
const RESET_LOCAL: VarInt = VarInt::from_u32(2);

impl Drop for Stream {
    /// A half that is dropped ends in order, as if the peer had everything: a stream that broke must not.
    fn drop(&mut self) {
        if self.open.entry.state().0 == StreamState::Broken {
            // What has ended already stays as it ended.
            self.send.reset(RESET_LOCAL).ok();
            self.recv.stop(RESET_LOCAL).ok();
        }
    }
}

impl Stream {
    /// Carries bytes both ways until both directions ended, one broke, or trust ended. A local end
    /// of input is passed on as the end of the stream, and the other way round.
    ///
    /// # Errors
    /// Why it broke; [`crate::Node`] remembers it under [`Stream::id`] as well.
    pub async fn carry(
        mut self,
        mut from_local: impl AsyncRead + Unpin,
        mut to_local: impl AsyncWrite + Unpin,
    ) -> Result<(), ApiError> {
        let entry = self.open.entry.clone();
        let mut severed = entry.severed.subscribe();
        // The local end stays open until the outcome is noted: who sees it close may ask at once.
        let out = outward(&entry, &mut from_local, &mut self.send);
        let inn = inward(&entry, &mut self.recv, &mut to_local);
        let ended = tokio::select! {
            ended = async { tokio::try_join!(out, inn) } => ended.map(|_| ()),
            _ = severed.wait_for(|severed| *severed) => Ok(()),
        };
        entry.end(ended);
        entry.state().1.map_or(Ok(()), Err)
    }

    /// Ends it so that the peer sees a break, not an end.
    pub fn abort(self) {
        self.cut();
    }

    /// The local end is gone: dropped from now on, it breaks.
    pub(crate) fn cut(&self) {
        self.open.entry.end(Err(gone()));
    }
}

/// The local end went away before its end.
pub(super) fn gone() -> ApiError {
    ApiError::new(Code::StreamBroken, "the local end is gone")
}

/// Local bytes to the peer.
async fn outward(
    entry: &Entry,
    mut local: impl AsyncRead + Unpin,
    send: &mut SendStream,
) -> Result<(), ApiError> {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    loop {
        let read = local.read(&mut buffer).await.map_err(|e| local_end(&e))?;
        if read == 0 {
            break;
        }
        send.write_all(&buffer[..read]).await.map_err(|e| on_write(entry, &e))?;
        entry.sent.fetch_add(read as u64, Ordering::Relaxed);
    }
    send.finish().ok();
    // In order means: the peer has it all.
    match send.stopped().await {
        Ok(_) => Ok(()),
        Err(e) => Err(broken(entry, &e)),
    }
}

/// The peer's bytes to the local end.
async fn inward(
    entry: &Entry,
    recv: &mut RecvStream,
    mut local: impl AsyncWrite + Unpin,
) -> Result<(), ApiError> {
    // Copied together: a stream comes in pieces of a packet each, and a write of the system for each of them would cost
    // more than the packet did.
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    while let Some(read) = recv.read(&mut buffer).await.map_err(|e| on_read(entry, &e))? {
        entry.received.fetch_add(read as u64, Ordering::Relaxed);
        local.write_all(&buffer[..read]).await.map_err(|e| local_end(&e))?;
    }
    // The local end may be gone already, having got everything.
    local.shutdown().await.ok();
    Ok(())
}

fn on_write(entry: &Entry, error: &WriteError) -> ApiError {
    match error {
        WriteError::Stopped(_) => {
            ApiError::new(Code::StreamBroken, "the peer's application is gone")
                .why("it stopped reading before the end")
        }
        other => broken(entry, other),
    }
}

fn on_read(entry: &Entry, error: &ReadError) -> ApiError {
    match error {
        ReadError::Reset(_) => ApiError::new(Code::StreamBroken, "the peer's application is gone")
            .why("it ended before it had sent everything"),
        other => broken(entry, other),
    }
}

fn broken(entry: &Entry, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(
        Code::StreamBroken,
        format!("the connection with {} broke", entry.peer.fmt_short()),
    )
    .why(error.to_string())
    .hint("open the stream again; homing connect --retry does so by itself")
}

fn local_end(error: &std::io::Error) -> ApiError {
    ApiError::new(Code::StreamBroken, "the local end is gone").why(error.to_string())
}
