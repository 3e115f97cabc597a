//! Bodies for the decoders of homing-node.

use homing_node::config;
use homing_node::transport::stream::{StreamHeader, StreamReply};

use crate::replay::Target;

/// Every target of this file, by the name of its corpus.
pub const TARGETS: &[Target] = &[("config_file", config_file), ("stream_header", stream_header)];

/// `config.toml`: a verdict, twice the same, and the file is as it was.
pub fn config_file(data: &[u8]) {
    let path = std::env::temp_dir().join(format!("homing-fuzz-{}.toml", std::process::id()));
    std::fs::write(&path, data).expect("writing to the temporary directory");
    let first = config::validate(&path);
    let second = config::validate(&path);
    assert_eq!(first.is_ok(), second.is_ok());
    if let Err(error) = first {
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(std::fs::read(&path).expect("still there"), data);
    std::fs::remove_file(&path).expect("still there");
}

/// The header of an application stream, and the answer to it.
pub fn stream_header(data: &[u8]) {
    if let Ok(header) = StreamHeader::decode(data) {
        let bytes = homing_base::cbor::encode(&header);
        assert_eq!(StreamHeader::decode(&bytes).as_ref(), Ok(&header));
    }
    if let Ok(reply) = StreamReply::decode(data) {
        let bytes = homing_base::cbor::encode(&reply);
        assert_eq!(StreamReply::decode(&bytes).as_ref(), Ok(&reply));
    }
}
