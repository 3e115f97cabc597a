//! Packets in QUIC datagrams, `spec/13-tun.md`.
//!
//! ```text
//! 0 ‖ packet                      it fits
//! 1 ‖ id u16 BE ‖ first half      it does not: two datagrams with one number
//! 2 ‖ id u16 BE ‖ second half
//! ```
//! QUIC promises 1,200-byte packets before it has measured the path (RFC 9000 §14.1), IPv6 1,280-byte ones: two halves
//! always suffice. Halves are kept a short while, [`HALVES_MAX`] of them; a half whose other half is lost is a lost packet.
//! Nothing is sent again: that is for the programs at both ends.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::limits::{HALVES_MAX, PACKET_BYTES_MAX};

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
/// Kind and number.
const HALF_HEADER_BYTES: usize = 3;
/// A path that takes less is none that QUIC runs on.
const _: () = assert!(2 * (1_100 - HALF_HEADER_BYTES) > PACKET_BYTES_MAX);

/// A packet behind the byte that says it is whole: what a queue holds.
pub(super) fn whole(arena: &mut BytesMut, packet: &[u8]) -> Bytes {
    arena.put_u8(WHOLE);
    arena.extend_from_slice(packet);
    arena.split().freeze()
}

/// The datagrams of a queued packet on a path that takes `bytes_max`. `None`: not even halves fit.
pub(super) fn datagrams(
    framed: Bytes,
    bytes_max: usize,
    id: u16,
) -> Option<(Bytes, Option<Bytes>)> {
    if framed.len() <= bytes_max {
        return Some((framed, None));
    }
    let packet = framed.slice(1..);
    let room = bytes_max.checked_sub(HALF_HEADER_BYTES)?;
    let first = packet.len().div_ceil(2);
    if first > room {
        return None;
    }
    let half = |kind: u8, part: &[u8]| {
        let mut datagram = BytesMut::with_capacity(HALF_HEADER_BYTES + part.len());
        datagram.put_u8(kind);
        datagram.put_u16(id);
        datagram.extend_from_slice(part);
        datagram.freeze()
    };
    Some((half(FIRST, &packet[..first]), Some(half(SECOND, &packet[first..]))))
}

/// Halves that wait for the other half.
#[derive(Debug, Default)]
pub(super) struct Halves {
    waiting: VecDeque<(u8, u16, Bytes)>,
}

/// What a datagram brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A packet, unchecked.
    Packet(Bytes),
    /// A half; the other one is not here yet.
    Half,
    /// Nothing that this version knows.
    Unknown,
}

impl Halves {
    /// Takes a datagram.
    pub(super) fn take(&mut self, datagram: &Bytes) -> Arrived {
        match datagram.first() {
            Some(&WHOLE) => Arrived::Packet(datagram.slice(1..)),
            Some(&kind @ (FIRST | SECOND)) if datagram.len() > HALF_HEADER_BYTES => {
                let id = u16::from_be_bytes([datagram[1], datagram[2]]);
                self.pair(kind, id, datagram.slice(HALF_HEADER_BYTES..))
            }
            _ => Arrived::Unknown,
        }
    }

    fn pair(&mut self, kind: u8, id: u16, part: Bytes) -> Arrived {
        // The newest: numbers come round.
        let other = self.waiting.iter().rposition(|(k, i, _)| *k != kind && *i == id);
        let Some((_, _, waited)) = other.and_then(|at| self.waiting.remove(at)) else {
            if self.waiting.len() == HALVES_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back((kind, id, part));
            return Arrived::Half;
        };
        let (first, second) = if kind == SECOND { (waited, part) } else { (part, waited) };
        Arrived::Packet([first, second].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(packet: &[u8]) -> Bytes {
        whole(&mut BytesMut::new(), packet)
    }

    #[test]
    fn the_bytes_of_both_forms_are_pinned() {
        assert_eq!(framed(b"abcde"), &b"\x00abcde"[..]);
        assert_eq!(datagrams(framed(b"abcde"), 6, 7), Some((framed(b"abcde"), None)));
        let (first, second) = datagrams(framed(b"abcdefghi"), 9, 0x0102).unwrap();
        assert_eq!(first, &b"\x01\x01\x02abcde"[..]);
        assert_eq!(second.unwrap(), &b"\x02\x01\x02fghi"[..]);
        assert_eq!(datagrams(framed(b"abcdefghi"), 7, 1), None, "three would be needed");
    }

    #[test]
    fn every_packet_comes_out_as_it_went_in_in_either_order() {
        let packet: Vec<u8> = (0..PACKET_BYTES_MAX).map(|i| i as u8).collect();
        for length in [1_280, 1_281, PACKET_BYTES_MAX] {
            let packet = &packet[..length];
            let (first, second) = datagrams(framed(packet), 1_162, 65_535).unwrap();
            let second = second.unwrap();
            assert!(first.len() <= 1_162 && second.len() <= 1_162);
            for (one, two) in [(&first, &second), (&second, &first)] {
                let mut halves = Halves::default();
                assert_eq!(halves.take(one), Arrived::Half);
                assert_eq!(halves.take(two), Arrived::Packet(packet.to_vec().into()));
                assert!(halves.waiting.is_empty());
            }
        }
    }

    #[test]
    fn halves_are_bounded_and_the_unknown_is_nothing() {
        let mut halves = Halves::default();
        for id in 0..1_000_u16 {
            let half = [&[FIRST][..], &id.to_be_bytes(), b"x"].concat();
            assert_eq!(halves.take(&half.into()), Arrived::Half);
        }
        assert_eq!(halves.waiting.len(), HALVES_MAX);
        for bad in [&b""[..], b"\x01", b"\x01\x00\x00", b"\x02\x00\x00", b"\x03abc", b"\xff"] {
            assert_eq!(halves.take(&Bytes::from_static(bad)), Arrived::Unknown, "{bad:?}");
        }
    }
}
