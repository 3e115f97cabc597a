//! IPv6 packets as far as the interface must understand them (RFC 8200 §3), and the one kind it makes itself: "destination
//! unreachable" (RFC 4443 §3.1).
//!
//! Of the extension headers (RFC 8200 §4) only the fragment header passes: programs that send more than the MTU in one
//! UDP packet need it, and it hides nothing. The others (hop-by-hop, routing, destination options) would hide what
//! follows from the checks here, and no program over an agent's address needs them.

use std::net::Ipv6Addr;

/// The fixed header.
pub(super) const HEADER_BYTES: usize = 40;
/// Hop-by-hop options, routing, destination options.
const REFUSED: [u8; 3] = [0, 43, 60];
const FRAGMENT: u8 = 44;
const FRAGMENT_BYTES: usize = 8;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// An error carries as much of its cause as fits into the least MTU (RFC 4443 §3.1).
const ERROR_BYTES_MAX: usize = 1_280;

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// Of a UDP packet, or its first fragment.
    pub(super) udp_ports: Option<(u16, u16)>,
}

/// Reads the header; `None`: not one whole IPv6 packet, or one with an extension header that is refused.
pub(super) fn envelope(packet: &[u8]) -> Option<Envelope> {
    let header = packet.get(..HEADER_BYTES)?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || packet.len() != HEADER_BYTES + payload {
        return None;
    }
    let (next, body) = upper_layer(header[6], &packet[HEADER_BYTES..])?;
    Some(Envelope {
        source: address(header, 8),
        destination: address(header, 24),
        udp_ports: if next == UDP { ports(body) } else { None },
    })
}

/// What the packet carries, and its bytes; those of a later fragment are nobody's header.
fn upper_layer(next: u8, payload: &[u8]) -> Option<(u8, &[u8])> {
    let (next, body) = match next {
        FRAGMENT => {
            let (fragment, body) = payload.split_at_checked(FRAGMENT_BYTES)?;
            let is_first = u16::from_be_bytes([fragment[2], fragment[3]]) >> 3 == 0;
            (fragment[0], if is_first { body } else { &[] })
        }
        next => (next, payload),
    };
    // A second fragment header is no kernel's making.
    let hides = REFUSED.contains(&next) || next == FRAGMENT;
    (!hides).then_some((next, body))
}

fn ports(udp: &[u8]) -> Option<(u16, u16)> {
    let ports = udp.get(..4)?;
    Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
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
    fn nothing_hides_the_ports() {
        let udp = [0x30, 0x39, 0, 53, 0, 8, 0, 0];
        for refused in REFUSED {
            let options = [&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat();
            assert_eq!(envelope(&packet(A, B, refused, &options)), None, "{refused}");
            let inside = [&[refused, 0, 0, 1, 0, 0, 0, 7][..], &options].concat();
            assert_eq!(envelope(&packet(A, B, FRAGMENT, &inside)), None, "{refused} in a fragment");
        }
        let fragment = |offset: u16| {
            let place = (offset << 3 | 1).to_be_bytes();
            let header = [UDP, 0, place[0], place[1], 0, 0, 0, 7];
            packet(A, B, FRAGMENT, &[&header[..], &udp].concat())
        };
        assert_eq!(envelope(&fragment(0)).unwrap().udp_ports, Some((12_345, 53)));
        assert_eq!(envelope(&fragment(160)).unwrap().udp_ports, None, "data, not a header");
        let twice = [&[FRAGMENT, 0, 0, 1, 0, 0, 0, 7][..], &fragment(0)[HEADER_BYTES..]].concat();
        assert_eq!(envelope(&packet(A, B, FRAGMENT, &twice)), None);
        assert_eq!(envelope(&packet(A, B, FRAGMENT, &[UDP, 0, 0, 1])), None, "cut short");
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
