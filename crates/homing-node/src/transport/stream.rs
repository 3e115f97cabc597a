//! `homing/stream/1`: the header of an application stream, its answer, and what both sides hold.
//!
//! ```text
//! opener                                     host
//!   length u32 BE ‖ {1 service tstr}  ─────►      first on every bidirectional stream
//!                                     ◄─────      length u32 BE ‖ {1 refused?, 2 protocol?}
//!   bytes                             ◄────►      bytes
//! ```
//! Both frames are deterministic CBOR maps of at most [`HEADER_BYTES_MAX`] bytes; unknown keys are
//! skipped. Refusal comes before the application sees a byte.

use homing_api::streams::Protocol;
use homing_base::cbor::{self, CborError};
use homing_base::{InstanceId, Service};
use homing_core::io::DialError;
use homing_core::message::Refusal;
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use minicbor::{Decode, Encode};

/// A header or an answer, without its length.
pub const HEADER_BYTES_MAX: usize = 1_024;
/// Error code of both halves of a refused or abandoned stream.
pub(super) const RESET_REFUSED: VarInt = VarInt::from_u32(1);
/// Error code of connections that end because trust ended.
pub(super) const CLOSE_SEVERED: VarInt = VarInt::from_u32(0x100);

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StreamHeader {
    /// The service or port wanted.
    #[n(1)]
    pub service: Service,
}

/// The host's answer to a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StreamReply {
    /// Why not; absent: the stream is open.
    #[n(1)]
    pub refused: Option<Refusal>,
    /// What the service speaks: a number of [`PROTOCOLS`]; absent or unknown: bytes.
    #[n(2)]
    pub protocol: Option<u32>,
}

/// `spec/06-stream.md`.
const PROTOCOLS: [(u32, Protocol); 3] =
    [(1, Protocol::Http), (2, Protocol::Sessions), (3, Protocol::Datagrams)];

/// A stream that the peer let in.
#[derive(Debug)]
pub struct OpenedStream {
    /// Towards the peer.
    pub send: SendStream,
    /// From the peer.
    pub recv: RecvStream,
    /// What its service speaks.
    pub protocol: Protocol,
    /// What carries it, for datagrams.
    pub connection: Connection,
}

impl StreamHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// When the bytes are too long, not deterministic CBOR, or no header.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, HEADER_BYTES_MAX)
    }
}

impl StreamReply {
    /// Reads an answer.
    ///
    /// # Errors
    /// When the bytes are too long, not deterministic CBOR, or no answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, HEADER_BYTES_MAX)
    }

    fn yes(protocol: Protocol) -> Self {
        let known = PROTOCOLS.iter().find(|(_, p)| *p == protocol);
        Self { refused: None, protocol: known.map(|(number, _)| *number) }
    }

    fn no(why: Refusal) -> Self {
        Self { refused: Some(why), protocol: None }
    }

    /// What the service speaks, as far as this version knows it.
    pub(super) fn speaks(self) -> Protocol {
        let known = PROTOCOLS.iter().find(|(number, _)| Some(*number) == self.protocol);
        known.map(|(_, protocol)| *protocol).unwrap_or_default()
    }
}

/// Why a stream did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The target names no endpoint, or no address of it.
    #[error("there is no address to open a stream to")]
    NoAddress,
    /// Nobody answered.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer said no.
    #[error("the peer refused the stream: {0:?}")]
    Refused(Refusal),
    /// The connection or the stream broke before the answer.
    #[error("the stream broke: {0}")]
    Broken(String),
}

impl From<DialError> for StreamError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NoAddress => StreamError::NoAddress,
            DialError::Unreachable(reason) | DialError::Relay(reason) => {
                StreamError::Unreachable(reason)
            }
        }
    }
}

/// A stream that a peer wants to open. Dropping it refuses it as unknown service.
#[derive(Debug)]
pub struct IncomingStream {
    /// The endpoint key of the peer, proven and admitted.
    pub endpoint: InstanceId,
    /// What it wants.
    pub header: StreamHeader,
    halves: Option<(SendStream, RecvStream)>,
    connection: Connection,
}

impl IncomingStream {
    pub(super) fn new(
        endpoint: InstanceId,
        header: StreamHeader,
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
    ) -> Self {
        Self { endpoint, header, halves: Some((send, recv)), connection }
    }

    /// Says yes, and what the service speaks, and hands the stream over.
    ///
    /// # Errors
    /// [`StreamError::Broken`] when the peer is gone.
    pub async fn accept(mut self, protocol: Protocol) -> Result<OpenedStream, StreamError> {
        let (mut send, recv) = self.halves.take().expect("taken only here and on drop");
        write_frame(&mut send, &cbor::encode(&StreamReply::yes(protocol))).await?;
        Ok(OpenedStream { send, recv, protocol, connection: self.connection.clone() })
    }

    /// Says no, and why.
    pub fn refuse(mut self, why: Refusal) {
        self.answer_no(why);
    }

    fn answer_no(&mut self, why: Refusal) {
        let Some((mut send, mut recv)) = self.halves.take() else { return };
        recv.stop(RESET_REFUSED).ok();
        tokio::spawn(async move {
            let reply = cbor::encode(&StreamReply::no(why));
            if write_frame(&mut send, &reply).await.is_ok() && send.finish().is_ok() {
                // Keeps the half alive until the answer has arrived or the connection ended.
                send.stopped().await.ok();
            }
        });
    }
}

impl Drop for IncomingStream {
    fn drop(&mut self) {
        if self.halves.is_some() && tokio::runtime::Handle::try_current().is_ok() {
            self.answer_no(Refusal::NoSuchService);
        }
    }
}

/// Writes `length u32 BE ‖ bytes`.
pub(super) async fn write_frame(send: &mut SendStream, bytes: &[u8]) -> Result<(), StreamError> {
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    send.write_all(&frame).await.map_err(|e| StreamError::Broken(e.to_string()))
}

/// Reads `length u32 BE ‖ bytes`, at most [`HEADER_BYTES_MAX`].
pub(super) async fn read_frame(recv: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    let broken = |e: iroh::endpoint::ReadExactError| StreamError::Broken(e.to_string());
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.map_err(broken)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(StreamError::Broken(format!("a header of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    recv.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_header_and_answer_are_pinned() {
        let header = StreamHeader { service: "mcp".parse().unwrap() };
        assert_eq!(cbor::encode(&header), [0xa1, 0x01, 0x63, b'm', b'c', b'p']);
        assert_eq!(StreamHeader::decode(&cbor::encode(&header)).unwrap(), header);
        assert_eq!(cbor::encode(&StreamReply::yes(Protocol::Bytes)), [0xa0]);
        assert_eq!(cbor::encode(&StreamReply::yes(Protocol::Http)), [0xa1, 0x02, 0x01]);
        assert_eq!(StreamReply::decode(&[0xa1, 0x02, 0x01]).unwrap().speaks(), Protocol::Http);
        assert_eq!(StreamReply::decode(&[0xa1, 0x02, 0x02]).unwrap().speaks(), Protocol::Sessions);
        assert_eq!(StreamReply::decode(&[0xa1, 0x02, 0x03]).unwrap().speaks(), Protocol::Datagrams);
        // What a later version may say.
        assert_eq!(StreamReply::decode(&[0xa1, 0x02, 0x07]).unwrap().speaks(), Protocol::Bytes);
        let no = StreamReply::no(Refusal::ScopeDenied);
        assert_eq!(cbor::encode(&no), [0xa1, 0x01, 0x02]);
        assert_eq!(StreamReply::decode(&[0xa1, 0x01, 0x02]).unwrap(), no);
    }

    #[test]
    fn perturbed_headers_never_panic() {
        let good = cbor::encode(&StreamHeader { service: "mcp".parse().unwrap() });
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bad = good.clone();
                bad[at] = byte;
                StreamHeader::decode(&bad).ok();
                StreamReply::decode(&bad[..at]).ok();
            }
        }
        assert!(StreamHeader::decode(&[0; HEADER_BYTES_MAX + 1]).is_err());
    }
}
