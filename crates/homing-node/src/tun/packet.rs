//! IPv6 packets as far as the interface must understand them (RFC 8200 §3), and the one kind it makes itself: "destination
//! unreachable" (RFC 4443 §3.1).

use std::net::Ipv6Addr;

/// The fixed header.
pub(super) const HEADER_BYTES: usize = 40;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// An error carries as much of its cause as fits into the least MTU (RFC 4443 §3.1).
const ERROR_BYTES_MAX: usize = 1_280;

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// Of a UDP packet without extension headers.
    pub(super) udp_ports: Option<(u16, u16)>,
}

/// Reads the header; `None`: not one whole IPv6 packet.
pub(super) fn envelope(packet: &[u8]) -> Option<Envelope> {
    let header = packet.get(..HEADER_BYTES)?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || packet.len() != HEADER_BYTES + payload {
        return None;
    }
    let ports = || {
        let ports = packet.get(HEADER_BYTES..HEADER_BYTES + 4)?;
        Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
    };
    Some(Envelope {
        source: address(header, 8),
        destination: address(header, 24),
        udp_ports: if header[6] == UDP { ports() } else { None },
    })
}

fn address(header: &[u8], at: usize) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(bytes)
}

/// Why a packet goes nowhere, as codes of "destination unreachable".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// Not allowed: the peer is not trusted, or does not allow it.
    Prohibited = 1,
    /// Allowed, and not to be had: offline.
    Address = 3,
}

/// The error that tells the sender of `packet`, as if its destination said so. `None`: no error may be sent about it
/// (RFC 4443 §2.4 (e)).
pub(super) fn unreachable(packet: &[u8], why: Unreachable) -> Option<Vec<u8>> {
    let about = envelope(packet)?;
    let kind = packet.get(HEADER_BYTES).copied();
    let is_error = packet[6] == ICMPV6 && kind.is_none_or(|kind| kind < 128);
    if is_error || about.destination.is_multicast() || about.source.is_unspecified() {
        return None;
    }
    let cause = &packet[..packet.len().min(ERROR_BYTES_MAX - HEADER_BYTES - 8)];
    let length = u16::try_from(8 + cause.len()).ok()?;
    let mut error = vec![0x60, 0, 0, 0];
    error.extend(length.to_be_bytes());
    error.extend([ICMPV6, 64]);
    error.extend(about.destination.octets());
    error.extend(about.source.octets());
    error.extend([1, why as u8, 0, 0, 0, 0, 0, 0]);
    error.extend(cause);
    let sum = checksum(&error);
    error[HEADER_BYTES + 2..HEADER_BYTES + 4].copy_from_slice(&sum.to_be_bytes());
    Some(error)
}

/// Of an upper-layer message with its pseudo-header (RFC 8200 §8.1), whose checksum field is zero.
fn checksum(packet: &[u8]) -> u16 {
    let payload = &packet[HEADER_BYTES..];
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum()
    };
    let mut sum = words(&packet[8..HEADER_BYTES])
        + words(payload)
        + payload.len() as u32
        + u32::from(packet[6]);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const A: &str = "fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e";
    pub(crate) const B: &str = "fd00::1";

    /// A packet with this next header and payload.
    pub(crate) fn packet(source: &str, destination: &str, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next, 64]);
        for text in [source, destination] {
            packet.extend(text.parse::<Ipv6Addr>().unwrap().octets());
        }
        packet.extend(payload);
        packet
    }

    #[test]
    fn a_header_says_from_whom_to_whom() {
        let udp = packet(A, B, UDP, &[0x30, 0x39, 0, 53, 0, 8, 0, 0]);
        let read = envelope(&udp).unwrap();
        assert_eq!((read.source.to_string(), read.destination.to_string()), (A.into(), B.into()));
        assert_eq!(read.udp_ports, Some((12_345, 53)));
        assert_eq!(envelope(&packet(A, B, 6, &[0; 20])).unwrap().udp_ports, None);
    }

    #[test]
    fn what_is_not_one_whole_packet_is_none() {
        let whole = packet(A, B, UDP, &[0; 8]);
        for length in 0..whole.len() {
            assert_eq!(envelope(&whole[..length]), None, "{length}");
        }
        assert_eq!(envelope(&[&whole[..], &[0]].concat()), None, "something follows");
        let mut ipv4 = whole;
        ipv4[0] = 0x45;
        assert_eq!(envelope(&ipv4), None);
    }

    /// Checked by adding up: a right checksum makes the sum of everything all ones.
    #[test]
    fn an_error_comes_from_the_destination_and_adds_up() {
        let lost = packet(A, B, 6, &[7; 1_301]);
        let error = unreachable(&lost, Unreachable::Address).unwrap();
        let read = envelope(&error).unwrap();
        assert_eq!((read.source.to_string(), read.destination.to_string()), (B.into(), A.into()));
        assert_eq!(error.len(), ERROR_BYTES_MAX);
        assert_eq!(&error[HEADER_BYTES..HEADER_BYTES + 2], &[1, 3]);
        assert_eq!(&error[HEADER_BYTES + 8..HEADER_BYTES + 48], &lost[..40]);
        assert_eq!(checksum(&error), 0);
    }

    #[test]
    fn no_error_is_sent_about_errors_or_to_groups() {
        let error = packet(A, B, ICMPV6, &[1, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(unreachable(&error, Unreachable::Address), None);
        let group = packet(A, "ff02::1", UDP, &[0; 8]);
        assert_eq!(unreachable(&group, Unreachable::Address), None);
        let echo = packet(A, B, ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]);
        assert!(unreachable(&echo, Unreachable::Prohibited).is_some());
    }
}
