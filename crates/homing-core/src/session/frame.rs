//! Frames of a session, read from a stream that may break anywhere.
//!
//! ```text
//! frame = kind u8 ‖ length u32 ‖ body [length]            big-endian; spec/11-sessions.md
//!   1 open   session [16] ‖ attempt u32 ‖ received u64 ‖ resumes u8
//!   2 data   offset u64 ‖ bytes [1..16384]
//!   3 ack    received u64
//!   4 end    offset u64
//!   5 probe
//!   6 reset  reason u8
//!   7 close
//! ```
//! `received` counts bytes, and the end as one more. Not here: what frames mean ([`super::Session`]).

use std::fmt;

use super::limits::{BODY_BYTES_MAX, DATA_BYTES_MAX};

/// What a host says first on every stream, before any frame: magic and version.
pub const GREETING: [u8; 5] = *b"HSES\x01";
/// Bytes before the body of a frame.
pub const HEADER_BYTES: usize = 5;
/// An `open` frame, whole. It is the first in each direction.
pub const OPEN_BYTES: usize = HEADER_BYTES + OPEN_BODY_BYTES;
const OPEN_BODY_BYTES: usize = 16 + 4 + 8 + 1;

/// Names a session between two identities. Random; the peer is part of what identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Where the speaker stands, at the beginning of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The session.
    pub session: SessionId,
    /// Counts the opener's streams, from 1. The host repeats it.
    pub attempt: u32,
    /// What the speaker has of the other's bytes; the end counts as one more.
    pub received: u64,
    /// Whether the opener was answered before: then the host must know the session.
    pub resumes: bool,
}

/// Why a session ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The host knows no such session of this peer.
    Unknown,
    /// The host has too many.
    Busy,
    /// The program at the other end is gone.
    Gone,
    /// The other side was told something impossible.
    Protocol,
    /// A number that this version does not know.
    Other(u8),
}

impl Reason {
    fn number(self) -> u8 {
        match self {
            Reason::Unknown => 1,
            Reason::Busy => 2,
            Reason::Gone => 3,
            Reason::Protocol => 4,
            Reason::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            1 => Reason::Unknown,
            2 => Reason::Busy,
            3 => Reason::Gone,
            4 => Reason::Protocol,
            other => Reason::Other(other),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Unknown => f.write_str("it knows no such session"),
            Reason::Busy => f.write_str("it has too many sessions"),
            Reason::Gone => f.write_str("its program is gone"),
            Reason::Protocol => f.write_str("the two ends disagree about the session"),
            Reason::Other(number) => write!(f, "reason {number}"),
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// First on every stream.
    Open(Open),
    /// Bytes of the speaker's program.
    Data {
        /// Where they stand in all that it said.
        offset: u64,
        /// 1 to [`DATA_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// What the speaker's program has been given.
    Ack {
        /// As [`Open::received`].
        received: u64,
    },
    /// The speaker's program will say no more.
    End {
        /// How much it has said in all.
        offset: u64,
    },
    /// To be answered by an ack at once.
    Probe,
    /// The session is over, with a loss.
    Reset(Reason),
    /// The opener is satisfied: both directions have ended and both know.
    Close,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not a kind of this version.
    #[error("unknown frame {0}")]
    Kind(u8),
    /// A length that this kind never has.
    #[error("a frame {kind} of {length} bytes")]
    Length {
        /// The kind.
        kind: u8,
        /// What it claims.
        length: u32,
    },
    /// A field with a value that it never has.
    #[error("a malformed field in a frame {0}")]
    Field(u8),
}

impl Frame {
    /// Appends the frame's bytes.
    pub fn write(&self, into: &mut Vec<u8>) {
        match self {
            Frame::Open(open) => {
                header(1, OPEN_BODY_BYTES, into);
                into.extend(open.session.0);
                into.extend(open.attempt.to_be_bytes());
                into.extend(open.received.to_be_bytes());
                into.push(u8::from(open.resumes));
            }
            Frame::Data { offset, bytes } => write_data(*offset, [bytes, &[]], into),
            Frame::Ack { received } => number(3, *received, into),
            Frame::End { offset } => number(4, *offset, into),
            Frame::Probe => header(5, 0, into),
            Frame::Reset(reason) => {
                header(6, 1, into);
                into.push(reason.number());
            }
            Frame::Close => header(7, 0, into),
        }
    }
}

/// A data frame from two pieces, as a ring buffer has them.
pub(super) fn write_data(offset: u64, pieces: [&[u8]; 2], into: &mut Vec<u8>) {
    header(2, 8 + pieces[0].len() + pieces[1].len(), into);
    into.extend(offset.to_be_bytes());
    into.extend(pieces[0]);
    into.extend(pieces[1]);
}

fn number(kind: u8, value: u64, into: &mut Vec<u8>) {
    header(kind, 8, into);
    into.extend(value.to_be_bytes());
}

fn header(kind: u8, length: usize, into: &mut Vec<u8>) {
    debug_assert!(length <= BODY_BYTES_MAX, "a frame has at most {BODY_BYTES_MAX} bytes");
    into.push(kind);
    into.extend((length as u32).to_be_bytes());
}

/// Frames out of bytes as they come. Holds at most one unfinished frame.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    start: usize,
}

impl Frames {
    /// Takes in what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// When the bytes are no frame; the stream is of no use then. A length is refused before its
    /// bytes are waited for.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.bytes[self.start..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if !lengths(kind).ok_or(FrameError::Kind(kind))?.contains(&(length as usize)) {
            return Err(FrameError::Length { kind, length });
        }
        let Some(body) = rest.get(..length as usize) else { return Ok(None) };
        let frame = body_of(kind, body).ok_or(FrameError::Field(kind))?;
        self.start += HEADER_BYTES + length as usize;
        Ok(Some(frame))
    }
}

/// Reads the opener's first frame.
///
/// # Errors
/// When it is no `open`.
pub fn read_open(bytes: &[u8; OPEN_BYTES]) -> Result<Open, FrameError> {
    let mut frames = Frames::default();
    frames.push(bytes);
    match frames.poll_frame()? {
        Some(Frame::Open(open)) => Ok(open),
        _ => Err(FrameError::Kind(bytes[0])),
    }
}

fn lengths(kind: u8) -> Option<std::ops::RangeInclusive<usize>> {
    match kind {
        1 => Some(OPEN_BODY_BYTES..=OPEN_BODY_BYTES),
        2 => Some(9..=8 + DATA_BYTES_MAX),
        3 | 4 => Some(8..=8),
        5 | 7 => Some(0..=0),
        6 => Some(1..=1),
        _ => None,
    }
}

fn body_of(kind: u8, body: &[u8]) -> Option<Frame> {
    let frame = match kind {
        1 => Frame::Open(open_of(body)?),
        2 => {
            let (offset, bytes) = body.split_first_chunk()?;
            Frame::Data { offset: u64::from_be_bytes(*offset), bytes: bytes.to_vec() }
        }
        3 => Frame::Ack { received: u64::from_be_bytes(body.try_into().ok()?) },
        4 => Frame::End { offset: u64::from_be_bytes(body.try_into().ok()?) },
        5 => Frame::Probe,
        6 => Frame::Reset(Reason::from_number(*body.first()?)),
        _ => Frame::Close,
    };
    Some(frame)
}

fn open_of(body: &[u8]) -> Option<Open> {
    let (session, rest) = body.split_first_chunk()?;
    let (attempt, rest) = rest.split_first_chunk()?;
    let (received, rest) = rest.split_first_chunk()?;
    let resumes = match rest {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Open {
        session: SessionId(*session),
        attempt: u32::from_be_bytes(*attempt),
        received: u64::from_be_bytes(*received),
        resumes,
    })
}
