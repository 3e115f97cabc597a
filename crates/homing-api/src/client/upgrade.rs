//! Connections to the daemon that become streams to a peer: as bytes, or as a socket that is handed over.

use std::os::fd::BorrowedFd;

use hyper::header::{CONNECTION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Client, header, internal, read_error};
use crate::error::ApiError;
use crate::handover;
use crate::streams::Protocol;
use crate::{HEADER_PEER, HEADER_PROTOCOL, HEADER_STREAM, UPGRADE_PROTOCOL, UPGRADE_SOCKET};

/// A raw byte stream through the daemon to a peer.
#[derive(Debug)]
pub struct RawStream {
    /// Read, write and half-close (`shutdown`) it.
    pub io: TokioIo<Upgraded>,
    /// For [`Client::stream_outcome`].
    pub id: u64,
    /// The peer's node ID in hex.
    pub peer: String,
    /// What the service speaks.
    pub protocol: Protocol,
}

/// A stream that the daemon will carry over a socket of ours. Dropped, it breaks.
#[derive(Debug)]
pub struct SocketStream {
    daemon: UnixStream,
    /// For [`Client::stream_outcome`].
    pub id: u64,
    /// What the service speaks.
    pub protocol: Protocol,
}

impl SocketStream {
    /// Hands `socket`, which is connected, to the daemon, and waits until the stream has ended. Whether it did so in order;
    /// otherwise [`Client::stream_outcome`] says why. The socket stays open here, and is not to be read or written.
    ///
    /// # Errors
    /// `internal` when it could not be handed over.
    pub async fn carry(mut self, socket: BorrowedFd<'_>) -> Result<bool, ApiError> {
        let given = handover::give(&self.daemon, socket).await;
        given.map_err(|e| internal("the socket could not be handed over", &e))?;
        Ok(handover::ended(&mut self.daemon).await)
    }
}

impl Client {
    /// A raw byte stream by `Upgrade`.
    ///
    /// # Errors
    /// See the module.
    pub async fn upgrade(&self, path: &str) -> Result<RawStream, ApiError> {
        self.switch(path, UPGRADE_PROTOCOL).await
    }

    /// The same for a socket that is to be handed over.
    ///
    /// # Errors
    /// See the module.
    pub async fn upgrade_socket(&self, path: &str) -> Result<SocketStream, ApiError> {
        let RawStream { io, id, protocol, .. } = self.switch(path, UPGRADE_SOCKET).await?;
        let parts = io.into_inner().downcast::<TokioIo<UnixStream>>();
        let parts = parts.map_err(|_| internal("the upgrade", &"another kind of connection"))?;
        let mut daemon = parts.io.into_inner();
        let invited = handover::invited(&mut daemon, &parts.read_buf).await;
        invited.map_err(|e| internal("the upgrade", &e))?;
        Ok(SocketStream { daemon, id, protocol })
    }

    async fn switch(&self, path: &str, to: &str) -> Result<RawStream, ApiError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, to);
        let response = self.exchange(request, Vec::new()).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(read_error(response).await);
        }
        let id = header(&response, HEADER_STREAM).and_then(|v| v.parse().ok()).unwrap_or(0);
        let peer = header(&response, HEADER_PEER).unwrap_or_default();
        let protocol = header(&response, HEADER_PROTOCOL);
        let protocol = protocol.map(|text| Protocol::named(&text)).unwrap_or_default();
        let io = hyper::upgrade::on(response).await.map_err(|e| internal("the upgrade", &e))?;
        Ok(RawStream { io: TokioIo::new(io), id, peer, protocol })
    }
}
