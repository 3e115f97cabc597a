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

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use homing_api::{ApiError, Code};
use homing_base::cbor;
use homing_core::io::{FileOffer, FileSource};
use homing_core::messages::limits::FILE_NAME_BYTES_MAX;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

/// Read and written at once.
const CHUNK_BYTES: usize = 256 * 1_024;
/// A request: message ID and offset, big-endian.
const REQUEST_BYTES: usize = 24;
/// The other side must say something within this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Files served at once; further streams wait in the listener's backlog.
const SERVED_MAX: usize = 8;
/// Of those, to one peer.
const SERVED_PER_PEER: usize = 2;
/// Files fetched at once, each from another peer.
const FETCHED_MAX: usize = 4;
/// An offer is given up when its file could not be fetched for so long; longer than any message waits.
const GIVE_UP: Duration = Duration::from_secs(31 * 24 * 3_600);
/// The largest file that is offered: the most that a receiver can be told to take.
const OFFERED_BYTES_MAX: u64 = 1 << 50;
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
/// `usage` when it is no readable file of its own, or is being written to. Reading ends when the caller is gone.
pub(crate) async fn offer(path: &str) -> Result<(Vec<u8>, FileSource), ApiError> {
    let path = path.to_owned();
    let wanted = Arc::new(());
    let still = Arc::downgrade(&wanted);
    let looked = tokio::task::spawn_blocking(move || look(&path, &still)).await;
    drop(wanted);
    looked.map_err(|e| {
        ApiError::new(Code::Internal, "the file could not be read").why(e.to_string())
    })?
}

fn look(text: &str, wanted: &Weak<()>) -> Result<(Vec<u8>, FileSource), ApiError> {
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
        // A pipe without a writer is not waited for.
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        if before.len() > OFFERED_BYTES_MAX {
            return Err(io::Error::other("nobody takes a file of that size"));
        }
        let sha256 = hash(&mut Wanted { file: &file, wanted }, before.len())?.finalize().into();
        Ok::<_, io::Error>((before, sha256, file.metadata()?))
    })();
    let (before, sha256, after) = match looked {
        Ok(looked) => looked,
        Err(error) => return refuse(error.to_string()),
    };
    let modified_ns = modified_ns(&after);
    if (before.len(), self::modified_ns(&before)) != (after.len(), modified_ns) {
        return refuse("somebody is writing to it".into());
    }
    let offer = FileOffer { name: name.to_owned(), size: after.len(), sha256 };
    Ok((cbor::encode(&offer), FileSource { path: text.to_owned(), modified_ns }))
}

/// A file that is read for as long as somebody waits for what comes of it.
struct Wanted<'a> {
    file: &'a std::fs::File,
    wanted: &'a Weak<()>,
}

impl io::Read for Wanted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.wanted.strong_count() == 0 {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.file.read(buffer)
    }
}

/// Nanoseconds since 1970; 0 where the file system does not say.
fn modified_ns(metadata: &std::fs::Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// SHA-256 of at most `bytes` bytes from where the file stands.
fn hash(file: &mut impl io::Read, bytes: u64) -> io::Result<Sha256> {
    use io::Read;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        let wanted = Arc::new(());
        let still = Arc::downgrade(&wanted);
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in ["/dev/zero", pipe.to_str().unwrap(), dir.path().to_str().unwrap()] {
            let error = look(path, &still).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            assert_eq!(error.why.as_deref(), Some("it is not a file"), "{path}");
        }
        let file = dir.path().join("file");
        std::fs::write(&file, b"content").unwrap();
        assert!(look(file.to_str().unwrap(), &still).is_ok());
        drop(wanted);
        let why = look(file.to_str().unwrap(), &still).unwrap_err().why;
        assert_eq!(why.as_deref(), Some("nobody waits for it any more"));
    }
}
