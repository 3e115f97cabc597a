//! Probes: the few bytes that find a pair of ports and settle on it.
//!
//! ```text
//! probe = kind (1) ‖ tag (16)       tag = SHA-256("homing port probe v1" ‖ secret ‖ kind), its first 16 bytes
//!
//! hard ─── Open ──►  easy      makes a mapping; may get in where easy has knocked already
//! hard  ◄─ Knock ──  easy      to a random port
//! hard ─── Hit ───►  easy      from the socket that was knocked at
//! hard  ◄─ Settle ─  easy      "this one"; until it is answered
//! hard ─── Agreed ►  easy
//! ```
//! The secret comes over the encrypted link and is of one attempt. Nothing in a probe says who sends it, and its length
//! is no QUIC packet's (RFC 9000 §5.2.1 and §10.3: 21 bytes or more).

use sha2::{Digest, Sha256};

/// Bytes of a probe.
pub(super) const PROBE_BYTES: usize = 17;

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Open = 1,
    Knock = 2,
    Hit = 3,
    Settle = 4,
    Agreed = 5,
}

/// The probes of one attempt.
#[derive(Clone)]
pub(super) struct Probes([[u8; PROBE_BYTES]; 5]);

const KINDS: [Kind; 5] = [Kind::Open, Kind::Knock, Kind::Hit, Kind::Settle, Kind::Agreed];

impl Probes {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(KINDS.map(|kind| {
            let mut hash = Sha256::new();
            hash.update(b"homing port probe v1");
            hash.update(secret);
            hash.update([kind as u8]);
            let mut probe = [kind as u8; PROBE_BYTES];
            probe[1..].copy_from_slice(&hash.finalize()[..PROBE_BYTES - 1]);
            probe
        }))
    }

    pub(super) fn write(&self, kind: Kind) -> &[u8; PROBE_BYTES] {
        &self.0[kind as usize - 1]
    }

    /// `None`: not one of this attempt.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Kind> {
        KINDS.into_iter().find(|kind| self.write(*kind)[..] == *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_of_one_kind_and_one_attempt() {
        let (ours, others) = (Probes::new(&[1; 32]), Probes::new(&[2; 32]));
        for kind in KINDS {
            let probe = ours.write(kind);
            assert_eq!(ours.read(probe), Some(kind));
            assert_eq!(others.read(probe), None);
            assert_eq!(ours.read(&probe[..16]), None);
            let mut bent = *probe;
            bent[0] ^= 1;
            assert_eq!(ours.read(&bent), None, "a kind cannot be exchanged");
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let probe = Probes::new(&[7; 32]);
        let hex = data_encoding::HEXLOWER.encode(probe.write(Kind::Knock));
        assert_eq!(hex, "020c4078f8745375c16d80b052f655065a");
    }
}
