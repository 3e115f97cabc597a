//! The gateway role of a daemon: its port, and the mesh as the gateway sees it.
//!
//! A port that cannot be had is a condition that lasts (`gateway_off`) and stops nothing else. Ends with the node. Not here:
//! what the port serves and whom (`homing-gateway`).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use homing_api::ApiError;
use homing_api::agent::ServedGateway;
use homing_gateway::{Mesh, MeshStream, Settings, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;

use crate::config::GatewayConfig;
use crate::health::Health;
use crate::node::{Node, Shared};
use crate::problem;
use crate::streams::Stream;

/// Where it listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7_420);
/// How long a stream to a peer may take to open, as for a ping: a peer that has moved is looked up meanwhile, and one
/// that is gone is told within 2 s.
const OPEN_MAX: Duration = Duration::from_millis(1_800);

/// The gateway that this daemon serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatewayRole {
    listen: SocketAddr,
    mesh_only: bool,
}

impl GatewayRole {
    /// Takes the port. `None`: it is not wanted, or cannot be had.
    pub(crate) async fn prepare(
        wanted: &GatewayConfig,
        health: &Health,
    ) -> Option<(Self, TcpListener)> {
        if !wanted.enabled {
            return None;
        }
        let bound = match wanted.listen {
            Some(addr) => bind(addr).await,
            None => match bind(LISTEN).await {
                Err(_) => bind((Ipv4Addr::LOCALHOST, 0).into()).await,
                bound => bound,
            },
        };
        match bound {
            Ok((listen, listener)) => {
                Some((Self { listen, mesh_only: wanted.mesh_only }, listener))
            }
            Err(error) => {
                let addr = wanted.listen.unwrap_or(LISTEN);
                health.raise("gateway_off", format!("it cannot listen on {addr}: {error}"));
                None
            }
        }
    }

    /// Serves until the node has ended.
    pub(crate) fn serve(self, node: &Node, listener: TcpListener) {
        let mesh = Arc::new(NodeMesh(Arc::downgrade(&node.shared)));
        let settings = Settings { mesh_only: self.mesh_only };
        let mut ended = node.shared.ended.clone();
        tokio::spawn(async move {
            let until_end = async move { drop(ended.wait_for(Option::is_some).await) };
            if let Err(error) = homing_gateway::serve(listener, mesh, settings, until_end).await {
                tracing::warn!(%error, "the gateway has ended");
            }
        });
    }

    /// For `info`.
    pub(crate) fn facts(self) -> ServedGateway {
        let Self { listen, mesh_only } = self;
        ServedGateway { url: format!("http://{listen}"), listen, mesh_only }
    }
}

async fn bind(addr: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let listener = TcpListener::bind(addr).await?;
    Ok((listener.local_addr()?, listener))
}

/// Holds the node weakly: an open connection of a program does not keep it alive.
struct NodeMesh(Weak<Shared>);

#[async_trait]
impl Mesh for NodeMesh {
    async fn open(&self, target: &Target) -> Result<Box<dyn MeshStream>, ApiError> {
        let node = self.0.upgrade().map(|shared| Node { shared }).ok_or_else(problem::stopping)?;
        let stream = node.connect(&target.peer.to_string(), &target.service, OPEN_MAX).await?;
        Ok(Box::new(Trusted { severed: Some(Box::pin(stream.severed())), stream }))
    }
}

/// A stream that breaks when trust with the peer ends.
struct Trusted {
    stream: Stream,
    /// Resolves when it does; `None`: it has.
    severed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Trusted {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let over = self.severed.as_mut().is_none_or(|severed| severed.as_mut().poll(cx).is_ready());
        if over {
            self.severed = None;
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "trust with the peer ended",
            ));
        }
        Ok(())
    }
}

impl MeshStream for Trusted {
    fn abort(&mut self) {
        self.stream.cut();
    }
}

impl AsyncRead for Trusted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Trusted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
