//! Every number that bounds the network interface.

use std::time::Duration;

/// The largest packet that is taken from a peer or the system: Ethernet's. Larger ones are not sent by any device whose
/// `tun.mtu` is valid.
pub(super) const PACKET_BYTES_MAX: usize = 1_500;
/// Packets that wait for one peer; more are dropped, as a full router does. Some 0.6 MB.
pub(super) const QUEUE_PACKETS_MAX: usize = 512;
/// Peers that packets are sent to at once, those that cannot be reached included.
pub(super) const FLOWS_MAX: usize = 1_024;
/// Opening the way to a peer: it may have moved.
pub(super) const OPEN_MAX: Duration = Duration::from_secs(5);
/// After a failure: packets to this peer are answered as unreachable, nobody is asked.
pub(super) const FAILURE_LASTS: Duration = Duration::from_secs(1);
/// After a refusal, which lasts longer.
pub(super) const REFUSAL_LASTS: Duration = Duration::from_secs(5);
/// Without a packet the way is given up; the next packet opens it again.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// Packets handled in one go, both ways.
pub(super) const BATCH_PACKETS: usize = 128;
/// Halves of packets that wait for the other half, for each peer; the oldest goes first.
pub(super) const HALVES_MAX: usize = 64;
/// Error packets to local programs per second (RFC 4443 §2.4 (f)).
pub(super) const ERRORS_PER_SECOND_MAX: u32 = 100;
/// Pause after an error of the device that does not end it.
pub(super) const DEVICE_ERROR_PAUSE: Duration = Duration::from_millis(10);

const _: () = assert!(BATCH_PACKETS <= QUEUE_PACKETS_MAX);
