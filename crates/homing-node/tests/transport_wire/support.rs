//! A relay, peers, and waiting for what a peer is told.

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{InstanceId, NodeId, RelayRef};
use homing_core::io::{DialId, DialTarget, Door, EndpointFacts, Input, LinkUp};
use homing_core::message::Message;
use homing_node::relay::{RelayAccess, RelayConfig, RelayServer, RelayTls};
use homing_node::transport::{Transport, TransportConfig, TransportEvent};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A relay on loopback with a self-made certificate.
pub(crate) struct Relay {
    pub(crate) server: RelayServer,
    pub(crate) known: RelayRef,
    pub(crate) well_known: watch::Sender<Vec<u8>>,
    dir: tempfile::TempDir,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::start_with(RelayAccess::Open).await
    }

    pub(crate) async fn start_with(access: RelayAccess) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (well_known, body) = watch::channel(Vec::new());
        let config = RelayConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            quic_port: 0,
            tls: RelayTls::SelfMade { dir: dir.path().to_owned() },
            access,
            rate_limit_bytes_per_second: None,
            well_known: body,
        };
        let server = RelayServer::start(config).await.unwrap();
        let known = server.relay_ref("127.0.0.1");
        Self { server, known, well_known, dir }
    }

    /// Stops it and starts it again with the same ports and certificate after `pause`.
    pub(crate) async fn restart(self, pause: Duration) -> Self {
        let Relay { server, known, well_known, dir } = self;
        let (listen, quic_port) = (server.addr(), known.quic_port.unwrap());
        server.stop().await;
        tokio::time::sleep(pause).await;
        let config = RelayConfig {
            listen,
            quic_port,
            tls: RelayTls::SelfMade { dir: dir.path().to_owned() },
            access: RelayAccess::Open,
            rate_limit_bytes_per_second: None,
            well_known: well_known.subscribe(),
        };
        let server = RelayServer::start(config).await.unwrap();
        assert_eq!(server.relay_ref("127.0.0.1"), known, "port and pin stay");
        Self { server, known, well_known, dir }
    }
}

/// A node's transport, and what it was told.
pub(crate) struct Peer {
    pub(crate) transport: Transport,
    pub(crate) events: mpsc::Receiver<TransportEvent>,
}

impl Peer {
    pub(crate) async fn private(relays: &[&Relay]) -> Self {
        Self::start(TransportConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            relays: relays.iter().map(|r| r.known.clone()).collect(),
            ..TransportConfig::default()
        })
        .await
    }

    pub(crate) async fn start(config: TransportConfig) -> Self {
        let (transport, events) = Transport::bind(config).await.unwrap();
        Self { transport, events }
    }

    /// Waits for the first event that `pick` takes; others are dropped.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(TransportEvent) -> Option<T>,
    ) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the transport runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    pub(crate) async fn input<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(Input) -> Option<T>,
    ) -> T {
        let input = |event| if let TransportEvent::Input(i) = event { Some(i) } else { None };
        self.until(what, |event| input(event).and_then(&mut pick)).await
    }

    pub(crate) async fn facts(
        &mut self,
        what: &str,
        pick: impl Fn(&EndpointFacts) -> bool,
    ) -> EndpointFacts {
        self.input(what, |i| match i {
            Input::Endpoint(facts) if pick(&facts) => Some(*facts),
            _ => None,
        })
        .await
    }

    pub(crate) async fn online(&mut self) -> EndpointFacts {
        self.facts("being online", |f| f.online).await
    }

    pub(crate) async fn link_up(&mut self) -> LinkUp {
        self.input("a link", |i| if let Input::LinkUp(up) = i { Some(up) } else { None }).await
    }

    pub(crate) async fn message(&mut self) -> Message {
        let message =
            |i| if let Input::Message { message, .. } = i { Some(*message) } else { None };
        self.input("a message", message).await
    }

    /// The end of a dial: a link, or why not.
    pub(crate) async fn outcome(&mut self, dial: DialId) -> Result<LinkUp, String> {
        self.input("the end of the dial", |i| match i {
            Input::LinkUp(up) if up.dial == Some(dial) => Some(Ok(up)),
            Input::DialFailed { dial: d, error } if d == dial => Some(Err(format!("{error:?}"))),
            _ => None,
        })
        .await
    }

    /// The main door's UDP address.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.transport.bound()[0]
    }

    /// How to reach this peer's door.
    pub(crate) fn target(&self, door: Door, relays: &[&Relay]) -> DialTarget {
        let main = door == Door::Main;
        DialTarget::Endpoint {
            endpoint: if main { self.transport.main() } else { self.transport.instance() },
            from: door,
            relays: relays.iter().map(|r| r.known.clone()).collect(),
            direct: if main { vec![self.socket()] } else { Vec::new() },
        }
    }

    pub(crate) fn admit(&self, endpoint: InstanceId) {
        self.transport.admit(endpoint, NodeId([1; 32]));
    }
}

/// Dials and says something, as the core would; waits until both sides have the link.
pub(crate) async fn connect(
    from: &mut Peer,
    to: &mut Peer,
    dial: u64,
    target: DialTarget,
) -> (LinkUp, LinkUp) {
    from.transport.dial(DialId(dial), target);
    let here = from.outcome(DialId(dial)).await.unwrap();
    from.transport.send(here.link, &Message::Ping(dial));
    let there = to.link_up().await;
    assert_eq!(to.message().await, Message::Ping(dial));
    (here, there)
}
