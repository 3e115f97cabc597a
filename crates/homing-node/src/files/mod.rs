//! Files between agents: the bytes behind a message of kind file.
//!
//! ```text
//! sender                                        receiver
//!   outbox: path, size, time of change, SHA-256   inbox: the offer (name, size, SHA-256)
//!   service "files"  ◄── id (16) ‖ offset (8) ──   inbox/.partial/FROM-ID keeps what has arrived
//!                    ── 0, bytes from offset ──►   SHA-256 over all of it, then inbox/NAME, 0600
//! ```
//! The receiver decides when and how much: after a break, a move or a restart of either side it asks from where it
//! stands. The sender's file stays where it is; one that has changed since is not sent. Not here: that the offer
//! arrives and the outcome is told ([`homing_core::messages`]). Format: `spec/12-messages.md`.

mod fetch;
mod place;
mod serve;

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use homing_api::{ApiError, Code};
use homing_base::cbor;
use homing_core::io::{FileOffer, FileSource};
use homing_core::messages::limits::FILE_NAME_BYTES_MAX;
use sha2::{Digest, Sha256};

/// Read and written at once.
const CHUNK_BYTES: usize = 256 * 1_024;
/// A request: message ID and offset, big-endian.
const REQUEST_BYTES: usize = 24;
/// The other side must say something within this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Files served at once; further streams wait in the listener's backlog.
const SERVED_MAX: usize = 8;
/// Files fetched at once.
const FETCHED_MAX: usize = 4;
/// An offer is given up when its file could not be fetched for so long; longer than any message waits.
const GIVE_UP: Duration = Duration::from_secs(31 * 24 * 3_600);
/// Left free on the disk.
const SPARE_BYTES: u64 = 64 << 20;

/// The bytes follow.
const ANSWER_BYTES: u8 = 0;
/// Nothing of that ID was sent to this peer.
const ANSWER_UNKNOWN: u8 = 1;
/// The file is not what was offered any more.
const ANSWER_CHANGED: u8 = 2;

/// Looks at a file that shall be sent: the body of its message, and where it is.
///
/// # Errors
/// `usage` when it is no readable file of its own, or is being written to.
pub(crate) async fn offer(path: &str) -> Result<(Vec<u8>, FileSource), ApiError> {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(&path)).await;
    looked.map_err(|e| {
        ApiError::new(Code::Internal, "the file could not be read").why(e.to_string())
    })?
}

fn look(text: &str) -> Result<(Vec<u8>, FileSource), ApiError> {
    let refuse =
        |why: String| Err(ApiError::new(Code::Usage, format!("{text} cannot be sent")).why(why));
    let path = Path::new(text);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return refuse("it has no name in UTF-8".into());
    };
    if !path.is_absolute() || name.len() > FILE_NAME_BYTES_MAX {
        return refuse("it is no absolute path with a name of at most 255 bytes".into());
    }
    let looked = (|| {
        let file = std::fs::File::open(path)?;
        let before = file.metadata()?;
        let sha256 = hash(&mut &file, u64::MAX)?.finalize().into();
        Ok::<_, std::io::Error>((before, sha256, file.metadata()?))
    })();
    let (before, sha256, after) = match looked {
        Ok(looked) => looked,
        Err(error) => return refuse(error.to_string()),
    };
    let modified_ns = modified_ns(&after);
    if !after.is_file() {
        return refuse("it is not a file".into());
    }
    if (before.len(), self::modified_ns(&before)) != (after.len(), modified_ns) {
        return refuse("somebody is writing to it".into());
    }
    let offer = FileOffer { name: name.to_owned(), size: after.len(), sha256 };
    Ok((cbor::encode(&offer), FileSource { path: text.to_owned(), modified_ns }))
}

/// Nanoseconds since 1970; 0 where the file system does not say.
fn modified_ns(metadata: &std::fs::Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// SHA-256 of at most `bytes` bytes from where the file stands.
fn hash(file: &mut impl std::io::Read, bytes: u64) -> std::io::Result<Sha256> {
    use std::io::Read;
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut file = file.take(bytes);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha256),
            n => sha256.update(&buffer[..n]),
        }
    }
}
