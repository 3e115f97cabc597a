//! A connected socket of this machine, and a peer's stream carried over it.
//!
//! A socket that is closed has ended in order (FIN, RFC 9293 §3.6), also because the process that held it was killed. So one
//! that carries a stream is set to be reset by its close, and only a stream that has ended in order takes that back: the
//! program behind it never takes a part for the whole. A Unix socket has no such way.

use std::io::{self, Cursor};
use std::os::fd::OwnedFd;
use std::time::Duration;

use homing_api::ApiError;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::streams::Stream;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Local {
    Tcp(TcpStream),
    Unix(UnixStream),
}

type Reader<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;
type Writer<'a> = Box<dyn AsyncWrite + Send + Unpin + 'a>;

impl Local {
    /// A socket that another process has connected.
    ///
    /// # Errors
    /// When it is none, or carries no bytes in order.
    pub(crate) fn of(socket: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&socket)? != SocketType::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket"));
        }
        if sockopt::socket_domain(&socket)? == AddressFamily::UNIX {
            let stream = std::os::unix::net::UnixStream::from(socket);
            stream.set_nonblocking(true)?;
            return UnixStream::from_std(stream).map(Local::Unix);
        }
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream).map(Local::Tcp)
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.halves().0.read(buffer).await
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.halves().1.write_all(bytes).await
    }

    /// Borrowed: a half of its own would end in order when it is dropped.
    fn halves(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Local::Tcp(stream) => {
                let (from, to) = stream.split();
                (Box::new(from), Box::new(to))
            }
            Local::Unix(stream) => {
                let (from, to) = stream.split();
                (Box::new(from), Box::new(to))
            }
        }
    }

    /// Whether its close resets it (RST instead of FIN, RFC 9293 §3.10.4).
    fn resets(&self, resets: bool) {
        if let Local::Tcp(stream) = self {
            sockopt::set_socket_linger(stream, resets.then_some(Duration::ZERO)).ok();
        }
    }
}

impl Stream {
    /// As [`Stream::carry`]; a stream that breaks resets the socket. `said` is what was read from it before.
    ///
    /// # Errors
    /// As [`Stream::carry`].
    pub(crate) async fn carry_over(self, mut local: Local, said: Vec<u8>) -> Result<(), ApiError> {
        local.resets(true);
        let (from, to) = local.halves();
        let ended = self.carry(Cursor::new(said).chain(from), to).await;
        if ended.is_ok() {
            local.resets(false);
        }
        ended
    }
}
