//! Port prediction between core and shell; see [`crate::ports`].

use std::net::{Ipv4Addr, SocketAddrV4};

use homing_base::InstanceId;

use super::LinkId;
pub use crate::ports::PortCounts;

/// What the core asks of the shell about port prediction.
#[derive(Clone, PartialEq, Eq)]
pub enum PortOrder {
    /// Open one UDP socket and learn where it is seen from outside. Ends in [`PortNews::Measured`].
    Measure {
        /// Names the attempt.
        attempt: u64,
    },
    /// Probe random ports of `ip` from the measured socket. Ends in [`PortNews::Through`] or [`PortNews::Failed`].
    Knock {
        /// Names the attempt.
        attempt: u64,
        /// The peer's main door.
        endpoint: InstanceId,
        /// Authenticates the probes.
        secret: [u8; 32],
        /// The address of the peer's NAT.
        ip: Ipv4Addr,
    },
    /// Open many UDP sockets towards `at`: [`PortNews::Fanned`], then as with `Knock`.
    Fan {
        /// Names the attempt.
        attempt: u64,
        /// The peer's main door.
        endpoint: InstanceId,
        /// Authenticates the probes.
        secret: [u8; 32],
        /// Where the peer's socket is seen.
        at: SocketAddrV4,
    },
    /// Offer the stack this entry of the peer's machine as a place of ours, for a moment: the peer's
    /// stack tries it, and so opens a path.
    Show {
        /// A loopback address of the peer's machine.
        entry: SocketAddrV4,
    },
    /// The attempt is over.
    Drop {
        /// Which.
        attempt: u64,
    },
    /// Every found path is over: the network is another.
    EndAll,
}

impl std::fmt::Debug for PortOrder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortOrder::Measure { attempt } => write!(out, "Measure({attempt:x})"),
            PortOrder::Knock { attempt, ip, .. } => write!(out, "Knock({attempt:x} at {ip})"),
            PortOrder::Fan { attempt, at, .. } => write!(out, "Fan({attempt:x} at {at})"),
            PortOrder::Show { entry } => write!(out, "Show({entry})"),
            PortOrder::Drop { attempt } => write!(out, "Drop({attempt:x})"),
            PortOrder::EndAll => out.write_str("EndAll"),
        }
    }
}

/// What the shell tells the core about port prediction.
#[derive(Clone)]
pub enum PortNews {
    /// How a link's packets travel now.
    Relayed {
        /// Which link.
        link: LinkId,
        /// Through a relay.
        relayed: bool,
    },
    /// The answer to [`PortOrder::Measure`].
    Measured {
        /// Which attempt.
        attempt: u64,
        /// Where the socket is seen, and a fresh secret; `None`: it could not be learnt.
        found: Option<(SocketAddrV4, [u8; 32])>,
    },
    /// The sockets of [`PortOrder::Fan`] are open and have sent.
    Fanned {
        /// Which attempt.
        attempt: u64,
        /// The own NAT's address; `None`: unknown, or too few sockets.
        ip: Option<Ipv4Addr>,
    },
    /// A pair of ports is found and forwarded.
    Through {
        /// Which attempt.
        attempt: u64,
        /// Where the own stack enters it.
        entry: SocketAddrV4,
    },
    /// None was found.
    Failed {
        /// Which attempt.
        attempt: u64,
    },
    /// A found path is not used any more.
    Ended {
        /// Of which attempt.
        attempt: u64,
    },
}

impl std::fmt::Debug for PortNews {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortNews::Relayed { link, relayed } => write!(out, "Relayed({} {relayed})", link.0),
            PortNews::Measured { attempt, found } => {
                write!(out, "Measured({attempt:x} {:?})", found.map(|(at, _)| at))
            }
            PortNews::Fanned { attempt, ip } => write!(out, "Fanned({attempt:x} {ip:?})"),
            PortNews::Through { attempt, entry } => write!(out, "Through({attempt:x} {entry})"),
            PortNews::Failed { attempt } => write!(out, "Failed({attempt:x})"),
            PortNews::Ended { attempt } => write!(out, "Ended({attempt:x})"),
        }
    }
}
