//! Between a task that reads or writes a stream and a thread that hashes: pieces, at most [`PIECES_MAX`] on the way.
//! When either side is gone the other one notices at its next piece.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::limits::{PIECE_BYTES, PIECES_MAX};

/// A way for pieces.
pub(super) fn pipe() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(PIECES_MAX)
}

/// What arrives, for a thread.
pub(super) struct PipeReader {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl PipeReader {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, current: Bytes::new() }
    }

    /// Whether more comes than was asked for; waits for the end.
    pub(super) fn has_more(&mut self) -> bool {
        self.read(&mut [0]).is_ok_and(|read| read > 0)
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// What a thread makes.
pub(super) struct PipeWriter {
    pieces: mpsc::Sender<Bytes>,
    current: BytesMut,
}

impl PipeWriter {
    pub(super) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces, current: BytesMut::with_capacity(PIECE_BYTES) }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.current.extend_from_slice(bytes);
        if self.current.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.current, BytesMut::with_capacity(PIECE_BYTES));
        let sent = self.pieces.blocking_send(full.freeze());
        sent.map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
