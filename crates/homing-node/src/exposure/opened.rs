//! A stream of which something was read already to see what it speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::first::{First, classify};
use super::limits::{FIRST_LINE_BYTES_MAX, HEADER_TIMEOUT};
use crate::streams::Stream;

/// The stream and its first bytes.
pub(super) struct Opened {
    pub(super) stream: Stream,
    seen: Vec<u8>,
    /// How much of `seen` was read again.
    again: usize,
    /// When it must be clear what began.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Opened {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, seen: Vec::new(), again: 0, deadline: None }
    }

    /// Reads until it is clear what the stream speaks. May be dropped and called again.
    ///
    /// # Errors
    /// When the stream breaks, or began something that it does not go on with.
    pub(super) async fn first(&mut self) -> io::Result<First> {
        loop {
            if let Some(first) = classify(&self.seen) {
                return Ok(first);
            }
            let mut chunk = [0; 1_024];
            let room = chunk.len().min(FIRST_LINE_BYTES_MAX.saturating_sub(self.seen.len()));
            let reading = self.stream.read(&mut chunk[..room]);
            let read = match &mut self.deadline {
                None => reading.await?,
                Some(deadline) => tokio::select! {
                    read = reading => read?,
                    () = deadline => return Err(io::ErrorKind::TimedOut.into()),
                },
            };
            match read {
                // Nothing more comes: whatever it is, it is no request.
                0 => return Ok(First::Bytes),
                read => self.seen.extend_from_slice(&chunk[..read]),
            }
            if self.deadline.is_none() && classify(&self.seen).is_none() {
                self.deadline = Some(Box::pin(sleep(HEADER_TIMEOUT)));
            }
        }
    }

    /// The stream, and what was read of it.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.seen)
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = &this.seen[this.again..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let some = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..some]);
        this.again += some;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
