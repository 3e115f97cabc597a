//! A connected local socket: carried by this process, or handed to the daemon.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One that this process does not read or write, and so is not woken for.
#[derive(Debug)]
pub(crate) enum Idle {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        // Interactive protocols suffer from Nagle; bulk is written in large pieces anyway.
        let _ = stream.set_nodelay(true);
        Socket::Tcp(stream)
    }

    /// Ends it so that a local program sees a failure, not an end. A Unix socket has no such way: there the program sees
    /// an end, as `docs/forward.md` says.
    pub(crate) fn abort(self) {
        if let Socket::Tcp(stream) = self {
            // RST instead of FIN, RFC 9293 §3.10.4.
            let _ = stream.set_zero_linger();
        }
    }

    /// # Errors
    /// When the runtime does not let go of it.
    pub(crate) fn into_idle(self) -> io::Result<Idle> {
        match self {
            Socket::Tcp(stream) => stream.into_std().map(Idle::Tcp),
            Socket::Unix(stream) => stream.into_std().map(Idle::Unix),
        }
    }
}

impl Idle {
    /// As [`Socket::abort`].
    pub(crate) fn abort(self) {
        if let Idle::Tcp(stream) = self
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            Socket::Tcp(stream).abort();
        }
    }
}

impl AsFd for Idle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Idle::Tcp(stream) => stream.as_fd(),
            Idle::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
