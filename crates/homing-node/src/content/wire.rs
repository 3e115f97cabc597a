//! What a fetcher and a holder say to each other on a stream of the service `content`.
//!
//! ```text
//! fetcher                                              holder
//!   length u32 BE ‖ {1 cid, 2 groups?}          ───►     one per stream; then the fetcher's half ends
//!                                               ◄───   length u32 BE ‖ {1 refused?, 2 size?}
//!                                               ◄───   pairs and groups in pre-order, then the end
//! ```
//! Without groups the last one is meant, which proves the size. Format: `spec/16-content.md`.

use homing_base::ContentId;
use homing_base::cbor::{self, CborError};
use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::limits::{CONTENT_BYTES_MAX, FRAME_BYTES_MAX, RANGES_MAX};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Request {
    /// Of which content.
    #[n(1)]
    pub(super) cid: ContentId,
    /// Which groups: from, to before, from, to before …; rising and disjoint. Absent: the last one.
    #[n(2)]
    pub(super) groups: Option<Vec<u64>>,
}

/// What the holder says before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Reply {
    /// Why not: a number of [`NOT_HERE`], [`BUSY`]. Others mean: not now.
    #[n(1)]
    pub(super) refused: Option<u32>,
    /// Bytes of the content.
    #[n(2)]
    pub(super) size: Option<u64>,
}

/// The holder has no such content, or not whole.
pub(super) const NOT_HERE: u32 = 1;
/// The holder serves as many as it can.
pub(super) const BUSY: u32 = 2;

impl Request {
    pub(super) fn new(cid: ContentId, groups: &[(u64, u64)]) -> Self {
        let flat = groups.iter().take(RANGES_MAX).flat_map(|(from, to)| [*from, *to]).collect();
        Self { cid, groups: Some(flat) }
    }

    /// The groups wanted of content that has so many; `None` when they make no sense.
    pub(super) fn wanted(&self, groups: u64) -> Option<Vec<(u64, u64)>> {
        let Some(flat) = &self.groups else { return Some(vec![(groups - 1, groups)]) };
        let rising = flat.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = flat.len() % 2 == 0 && (2..=2 * RANGES_MAX).contains(&flat.len());
        let inside = flat.last().is_some_and(|last| *last <= groups);
        (rising && fits && inside).then(|| flat.chunks(2).map(|p| (p[0], p[1])).collect())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, FRAME_BYTES_MAX)
    }
}

impl Reply {
    pub(super) fn yes(size: u64) -> Self {
        Self { refused: None, size: Some(size) }
    }

    pub(super) fn no(why: u32) -> Self {
        Self { refused: Some(why), size: None }
    }

    /// The size, or why not; `None` when it is neither or impossible.
    pub(super) fn outcome(self) -> Option<Result<u64, u32>> {
        match (self.refused, self.size) {
            (Some(why), _) => Some(Err(why)),
            (None, Some(size)) if size <= CONTENT_BYTES_MAX => Some(Ok(size)),
            _ => None,
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, FRAME_BYTES_MAX)
    }
}

/// Writes `length u32 BE ‖ bytes`.
pub(super) async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Encode<()>,
) -> std::io::Result<()> {
    let bytes = cbor::encode(message);
    let length = u32::try_from(bytes.len()).expect("frames are small").to_be_bytes();
    to.write_all(&[&length[..], &bytes].concat()).await
}

/// Reads `length u32 BE ‖ bytes`; `None` when nothing more comes.
pub(super) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read(&mut length[..1]).await? {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..]).await?,
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(std::io::Error::other(format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_request_and_reply_are_pinned() {
        let cid = ContentId([0xab; 32]);
        let mut expected = vec![0xa2, 0x01, 0x58, 0x24];
        expected.extend(homing_base::Cid::from(cid).to_bytes());
        expected.extend([0x02, 0x84, 0x00, 0x02, 0x05, 0x19, 0x01, 0x00]);
        let request = Request::new(cid, &[(0, 2), (5, 256)]);
        assert_eq!(cbor::encode(&request), expected);
        assert_eq!(Request::decode(&expected).unwrap(), request);
        assert_eq!(request.wanted(256), Some(vec![(0, 2), (5, 256)]));
        let size_only = Request { cid, groups: None };
        assert_eq!(cbor::encode(&size_only)[0], 0xa1);
        assert_eq!(size_only.wanted(9), Some(vec![(8, 9)]));
        assert_eq!(cbor::encode(&Reply::yes(300)), [0xa1, 0x02, 0x19, 0x01, 0x2c]);
        assert_eq!(cbor::encode(&Reply::no(NOT_HERE)), [0xa1, 0x01, 0x01]);
        assert_eq!(Reply::decode(&[0xa1, 0x01, 0x07]).unwrap().outcome(), Some(Err(7)));
        assert_eq!(Reply::decode(&[0xa0]).unwrap().outcome(), None);
        assert_eq!(Reply::yes(CONTENT_BYTES_MAX + 1).outcome(), None);
    }

    #[test]
    fn senseless_groups_and_perturbed_bytes_are_refused() {
        let cid = ContentId([1; 32]);
        let of = |groups: &[u64]| Request { cid, groups: Some(groups.to_vec()) };
        for groups in [&[][..], &[0], &[1, 1], &[2, 1], &[0, 2, 1, 3], &[0, 11]] {
            assert_eq!(of(groups).wanted(10), None, "{groups:?}");
        }
        let many: Vec<u64> = (0..2 * RANGES_MAX as u64 + 2).collect();
        assert_eq!(of(&many).wanted(u64::MAX), None);
        let most =
            (0..RANGES_MAX as u64).map(|n| (u64::MAX - 2_000 + 2 * n, u64::MAX - 1_999 + 2 * n));
        let largest = cbor::encode(&Request::new(cid, &most.collect::<Vec<_>>()));
        assert!(largest.len() <= FRAME_BYTES_MAX, "{}", largest.len());
        let good = cbor::encode(&of(&[0, 2, 5, 256]));
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bad = good.clone();
                bad[at] = byte;
                Request::decode(&bad).ok();
                Reply::decode(&bad[..at]).ok();
            }
        }
    }
}
