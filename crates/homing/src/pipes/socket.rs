//! A connected local socket: carried by this process, or handed to the daemon.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
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
        let _ = match &self {
            Socket::Tcp(stream) => will_reset(stream),
            Socket::Unix(stream) => will_reset(stream),
        };
    }

    /// One that is to be handed over: not read or written by this process, which so is not woken for it. Whoever closes it
    /// last resets it, unless the daemon has found that all was said.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub(crate) fn into_idle(self) -> io::Result<OwnedFd> {
        let socket = match self {
            Socket::Tcp(stream) => stream.into_std()?.into(),
            Socket::Unix(stream) => stream.into_std()?.into(),
        };
        will_reset(&socket)?;
        Ok(socket)
    }
}

/// The close of its last descriptor sends RST instead of FIN (RFC 9293 §3.10.4).
fn will_reset(socket: &impl AsFd) -> io::Result<()> {
    Ok(set_socket_linger(socket, Some(Duration::ZERO))?)
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
