//! The frames of a session from outside: bytes pinned in `spec/vectors/session.json`.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use homing_core::session::frame::{Frames, HEADER_BYTES};
use homing_core::session::limits::DATA_BYTES_MAX;
use homing_core::session::{Frame, FrameError, GREETING, OPEN_BYTES, Open, Reason, SessionId};
use serde_json::json;

use vectors_file::{compare, kind};

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.write(&mut bytes);
    bytes
}

fn read(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let mut frames = Frames::default();
    frames.push(bytes);
    frames.poll_frame()
}

fn frames() -> Vec<(&'static str, Frame)> {
    let session = SessionId([0x5e; 16]);
    let first = Open { session, attempt: 1, received: 0, resumes: false };
    let later = Open { attempt: 7, received: 1 << 40, resumes: true, ..first };
    vec![
        ("open", Frame::Open(first)),
        ("open: resumes", Frame::Open(later)),
        ("data", Frame::Data { offset: 1 << 40, bytes: b"hello".to_vec() }),
        ("ack", Frame::Ack { received: (1 << 40) + 6 }),
        ("end", Frame::End { offset: (1 << 40) + 5 }),
        ("probe", Frame::Probe),
        ("reset: unknown session", Frame::Reset(Reason::Unknown)),
        ("reset: too many sessions", Frame::Reset(Reason::Busy)),
        ("reset: program gone", Frame::Reset(Reason::Gone)),
        ("reset: broken rules", Frame::Reset(Reason::Protocol)),
        ("reset: a later reason", Frame::Reset(Reason::Other(200))),
        ("close", Frame::Close),
    ]
}

#[test]
fn the_bytes_are_pinned_and_read_back() {
    assert_eq!(GREETING, *b"HSES\x01");
    assert_eq!(bytes_of(&frames()[0].1).len(), OPEN_BYTES);
    let valid: Vec<_> = frames()
        .into_iter()
        .map(|(name, frame)| {
            let bytes = bytes_of(&frame);
            assert_eq!(read(&bytes), Ok(Some(frame)), "{name}");
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Ok(None), "{name} cut at {cut}");
            }
            json!({ "name": name, "frame": hex(&bytes) })
        })
        .collect();
    let mut resumes_2 = bytes_of(&frames()[0].1);
    resumes_2[OPEN_BYTES - 1] = 2;
    let too_long = u32::try_from(8 + DATA_BYTES_MAX + 1).unwrap().to_be_bytes();
    let invalid = [
        ("frame 0", vec![0; HEADER_BYTES]),
        ("frame 8", vec![8, 0, 0, 0, 0]),
        ("an open of 28 bytes", vec![1, 0, 0, 0, 28]),
        ("an open that resumes 2", resumes_2),
        ("data without bytes", vec![2, 0, 0, 0, 8]),
        ("data of 16,385 bytes", [&[2][..], &too_long].concat()),
        ("an ack of 7 bytes", vec![3, 0, 0, 0, 7]),
        ("a probe with a body", vec![5, 0, 0, 0, 1]),
        ("a reset without a reason", vec![6, 0, 0, 0, 0]),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error = read(&bytes).expect_err(name);
        json!({ "name": name, "frame": hex(&bytes), "error": kind(&error) })
    });
    compare(
        "session.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/11-sessions.md", "valid": valid, "invalid": invalid,
        }),
    );
}
