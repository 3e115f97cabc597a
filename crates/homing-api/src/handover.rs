//! How a program hands its connected socket to the daemon, so that a stream's bytes take no detour through it.
//!
//! ```text
//! program                               daemon
//!    │   POST … Upgrade: homing-socket     │
//!    │ ───────────────────────────────────►│
//!    │               101, then one byte: 0 │   what is read from here on is read with its descriptors
//!    │ ◄───────────────────────────────────│
//!    │   one byte: 0, beside it the socket │
//!    │ ───────────────────────────────────►│   carries the stream over it
//!    │            one byte: 0, then close  │   the stream has ended in order; without the byte it broke, and
//!    │ ◄───────────────────────────────────│   GET /v1/streams/{id} says why
//! ```
//! `SCM_RIGHTS` of unix(7). Both share one open file, whose flags and options are the daemon's from then on. The program sets
//! it to be reset by its close (`SO_LINGER` of zero) before it goes, and the daemon takes that back once all was said: so
//! whoever dies, the program at the socket's other end sees a failure. When the program dies the daemon breaks the stream.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// What goes with a socket, and before it: a message wants a byte.
const BYTE: u8 = 0;

/// Says that the socket may come.
///
/// # Errors
/// When the program has gone.
pub async fn invite(program: &mut UnixStream) -> io::Result<()> {
    program.write_all(&[BYTE]).await
}

/// Waits until the socket may go; `read` is what was read from the daemon already.
///
/// # Errors
/// When the daemon has gone, or said something else.
pub async fn invited(daemon: &mut UnixStream, read: &[u8]) -> io::Result<()> {
    let said = match read {
        [] => daemon.read_u8().await?,
        [said] => *said,
        _ => !BYTE,
    };
    if said == BYTE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Sends the socket. It stays open here.
///
/// # Errors
/// When the daemon has gone.
pub async fn give(daemon: &UnixStream, socket: BorrowedFd<'_>) -> io::Result<()> {
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let (mut beside, sockets) = (SendAncillaryBuffer::new(&mut space), [socket]);
        let fits = beside.push(SendAncillaryMessage::ScmRights(&sockets));
        debug_assert!(fits, "there is space for one");
        sendmsg(daemon, &[IoSlice::new(&[BYTE])], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    };
    daemon.async_io(Interest::WRITABLE, send).await
}

/// Waits for the socket.
///
/// # Errors
/// When the program has gone, or sent no socket.
pub async fn take(program: &UnixStream) -> io::Result<OwnedFd> {
    let receive = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let (mut beside, mut byte) = (RecvAncillaryBuffer::new(&mut space), [0]);
        let mut bytes = [IoSliceMut::new(&mut byte)];
        recvmsg(program, &mut bytes, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        let sent = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        sent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket came"))
    };
    program.async_io(Interest::READABLE, receive).await
}

/// Says that the stream has ended in order.
///
/// # Errors
/// When the program has gone.
pub async fn end(program: &mut UnixStream) -> io::Result<()> {
    program.write_all(&[BYTE]).await
}

/// Resolves when the other side has closed, or has spoken; whether it said that the stream has ended in order.
pub async fn ended(other: &mut UnixStream) -> bool {
    other.read_u8().await.is_ok_and(|said| said == BYTE)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn a_socket_goes_from_one_end_to_the_other_and_stays_open_at_the_first() {
        let (mut daemon, mut program) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut mine = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        invite(&mut program).await.unwrap();
        invited(&mut daemon, &[]).await.unwrap();
        give(&daemon, mine.as_fd()).await.unwrap();
        let mut theirs = TcpStream::from(take(&program).await.unwrap());
        theirs.write_all(b"a").unwrap();
        drop(theirs);
        mine.write_all(b"b").unwrap();
        let mut both = [0; 2];
        other.read_exact(&mut both).unwrap();
        assert_eq!(&both, b"ab");
        end(&mut program).await.unwrap();
        assert!(ended(&mut daemon).await);
        drop(daemon);
        assert!(!ended(&mut program).await);
    }

    #[tokio::test]
    async fn a_byte_without_a_socket_is_an_error() {
        let (mut daemon, program) = UnixStream::pair().unwrap();
        invite(&mut daemon).await.unwrap();
        assert_eq!(take(&program).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(daemon);
        assert_eq!(take(&program).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
