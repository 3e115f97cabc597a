//! The local end of a pipe as one byte stream, whatever it is.
//!
//! What decides that it is over differs: a socket when both directions have ended, a process when its
//! output has, a terminal when the peer has said everything.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use homing_api::streams::IncomingStream;
use homing_api::{ApiError, Code};
use homing_node::child::{Group, Output};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Stdin, Stdout};
use tokio::process::{Child, ChildStdin, Command};

use super::socket::Socket;

/// A local end.
#[derive(Debug)]
pub(crate) enum End {
    Socket(Socket),
    Program(Program),
    Terminal(Stdin, Stdout),
}

/// A process with its pipes, in a group of its own; the group is killed when this is dropped, or the process has ended.
#[derive(Debug)]
pub(crate) struct Program {
    child: Box<Child>,
    /// `None`: it was waited for.
    group: Option<Group>,
    stdin: Option<ChildStdin>,
    stdout: Output,
}

impl End {
    /// Standard input and output.
    pub(crate) fn terminal() -> Self {
        End::Terminal(tokio::io::stdin(), tokio::io::stdout())
    }

    /// A process for one incoming stream; its environment says who is there.
    pub(crate) fn program(command: &str, stream: &IncomingStream) -> Result<Self, ApiError> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", command])
            .envs(stream.peer.environment(&stream.service))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| ApiError::new(Code::Internal, format!("{command}: {e}")))?;
        let stdin = child.stdin.take();
        let stdout = Output::of(&mut child).expect("stdout was asked for");
        Ok(End::Program(Program {
            group: Group::of(&child),
            child: Box::new(child),
            stdin,
            stdout,
        }))
    }

    /// Local output has ended: nothing more is awaited from the peer.
    pub(crate) fn is_over_after_output(&self) -> bool {
        matches!(self, End::Program(_))
    }

    /// The peer has said everything: nothing more is awaited from here.
    pub(crate) fn is_over_after_input(&self) -> bool {
        matches!(self, End::Terminal(..))
    }

    /// Ends it so that a local program sees a failure, not an end, where there is such a way.
    pub(crate) fn abort(self) {
        if let End::Socket(socket) = self {
            socket.abort();
        }
    }

    /// Waits for a process; its exit code. `None` for everything else.
    pub(crate) async fn exit_code(self) -> Option<i32> {
        match self {
            End::Program(mut program) => {
                let ended = program.group?.wait(&mut program.child).await;
                program.group = None;
                ended.ok().and_then(|status| status.code())
            }
            _ => None,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            group.kill();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            End::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            End::Program(program) => Pin::new(&mut program.stdout).poll_read(cx, buffer),
            End::Terminal(stdin, _) => Pin::new(stdin).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            End::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            End::Program(Program { stdin: Some(stdin), .. }) => {
                Pin::new(stdin).poll_write(cx, bytes)
            }
            End::Program(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            End::Terminal(_, stdout) => Pin::new(stdout).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            End::Terminal(_, stdout) => Pin::new(stdout).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The peer will say no more.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            End::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            End::Program(program) => {
                program.stdin = None;
                Poll::Ready(Ok(()))
            }
            End::Terminal(_, stdout) => Pin::new(stdout).poll_flush(cx),
        }
    }
}
