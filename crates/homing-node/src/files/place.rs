//! Where fetched files go: `inbox/` in the home, and in what shape.
//!
//! ```text
//! inbox/            0700
//! ├── .partial/     0700   FROM-ID.part: what has arrived of a file that is not whole
//! └── report.pdf    0600   the sender's name for it, made harmless; never over another file
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use homing_base::{MessageId, NodeId};
use homing_core::io::FileOffer;
use sha2::{Digest, Sha256};

use super::hash;

/// A file name on this machine: room is left for a number.
const NAME_BYTES_MAX: usize = 200;
/// Files of one name.
const NAMESAKES_MAX: u32 = 10_000;

/// The folder of fetched files.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// The one in a home; made if it is missing.
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let place = Self(home.join("inbox"));
        DirBuilder::new().recursive(true).mode(0o700).create(place.0.join(".partial"))?;
        Ok(place)
    }

    /// What has arrived of a file, the hash over it, and its length; the file stands at its end.
    pub(super) fn partial(
        &self,
        from: NodeId,
        id: MessageId,
        size: u64,
    ) -> io::Result<(File, Sha256, u64)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(self.partial_path(from, id))?;
        if file.metadata()?.len() > size {
            file.set_len(0)?;
        }
        let sha256 = hash(&mut file, u64::MAX)?;
        let length = file.seek(SeekFrom::End(0))?;
        Ok((file, sha256, length))
    }

    /// What has arrived is of no use.
    pub(super) fn discard(&self, from: NodeId, id: MessageId) {
        let _ = std::fs::remove_file(self.partial_path(from, id));
    }

    /// Gives a whole file its name. A file of that name with the same content is the same file: a crash may
    /// have come after it got its name.
    pub(super) fn settle(
        &self,
        from: NodeId,
        id: MessageId,
        offer: &FileOffer,
    ) -> io::Result<PathBuf> {
        let partial = self.partial_path(from, id);
        for number in 1..NAMESAKES_MAX {
            let path = self.0.join(numbered(&harmless(&offer.name), number));
            match std::fs::hard_link(&partial, &path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match is_same(&path, offer) {
                    true => {}
                    false => continue,
                },
                Err(e) => return Err(e),
            }
            std::fs::remove_file(&partial)?;
            File::open(&self.0)?.sync_all()?;
            return Ok(path);
        }
        Err(io::Error::other("there are too many files of this name"))
    }

    /// Bytes that may still be written.
    pub(super) fn free_bytes(&self) -> u64 {
        let Ok(stat) = nix::sys::statvfs::statvfs(&self.0) else { return u64::MAX };
        #[allow(clippy::useless_conversion, reason = "the types differ between systems")]
        let (blocks, size) = (u64::from(stat.blocks_available()), u64::from(stat.fragment_size()));
        blocks.saturating_mul(size)
    }

    fn partial_path(&self, from: NodeId, id: MessageId) -> PathBuf {
        self.0.join(".partial").join(format!("{from}-{id}.part"))
    }
}

fn is_same(path: &Path, offer: &FileOffer) -> bool {
    let plain = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == offer.size);
    let sha256 = || hash(&mut File::open(path).ok()?, u64::MAX).ok();
    plain && sha256().is_some_and(|sha256| *sha256.finalize() == offer.sha256)
}

/// A peer's name for a file as one plain name: the last part, without control characters, those that turn or hide
/// what is shown (Unicode's bidirectional and zero-width ones), leading dots or spaces.
pub(super) fn harmless(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let hides = |c| matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
    let clean = |c: char| match c.is_control() || hides(c) || "<>:\"|?*".contains(c) {
        true => '_',
        false => c,
    };
    let name: String = last.chars().map(clean).collect();
    let mut name = name.trim_start_matches(['.', ' ', '-']).trim_end_matches([' ', '.']).to_owned();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    if name.is_empty() { "file".to_owned() } else { name }
}

/// `report.pdf`, `report (2).pdf` …
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (1, _) => name.to_owned(),
        (_, Some((stem, end))) if !stem.is_empty() => format!("{stem} ({number}).{end}"),
        _ => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, content: &[u8]) -> FileOffer {
        let sha256 = Sha256::digest(content).into();
        FileOffer { name: name.into(), size: content.len() as u64, sha256 }
    }

    fn arrive(place: &Place, n: u8, name: &str, content: &[u8]) -> PathBuf {
        let (from, id) = (NodeId([1; 32]), MessageId([n; 16]));
        let (mut file, ..) = place.partial(from, id, content.len() as u64).unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        place.settle(from, id, &offer(name, content)).unwrap()
    }

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        for (name, plain) in [
            ("../../etc/passwd", "passwd"),
            ("/etc/shadow", "shadow"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("..", "file"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\nb\0c", "a_b_c"),
            ("x\u{202E}fdp.exe", "x_fdp.exe"),
            ("\u{2066}a\u{200B}b\u{FEFF}", "_a_b_"),
            ("", "file"),
            ("dir/", "file"),
            ("Bericht März.pdf", "Bericht März.pdf"),
        ] {
            assert_eq!(harmless(name), plain, "{name:?}");
        }
        assert!(harmless(&"ä".repeat(250)).len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn two_senders_whose_ids_begin_alike_do_not_share_what_has_arrived() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::open(home.path()).unwrap();
        let (mut one, mut other) = ([1; 32], [1; 32]);
        (one[31], other[31]) = (1, 2);
        let id = MessageId([7; 16]);
        let (mut file, ..) = place.partial(NodeId(one), id, 4).unwrap();
        io::Write::write_all(&mut file, b"half").unwrap();
        let (_, _, length) = place.partial(NodeId(other), id, 4).unwrap();
        assert_eq!(length, 0);
    }

    #[test]
    fn no_file_is_written_over_and_the_same_file_is_one() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::open(home.path()).unwrap();
        let first = arrive(&place, 1, "../x.txt", b"one");
        assert_eq!(first, home.path().join("inbox/x.txt"));
        assert_eq!(arrive(&place, 2, "x.txt", b"two"), home.path().join("inbox/x (2).txt"));
        assert_eq!(arrive(&place, 3, "x.txt", b"one"), first);
        assert_eq!(std::fs::read(first).unwrap(), b"one");
        let left = std::fs::read_dir(home.path().join("inbox/.partial")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_link_with_the_right_content_behind_it_is_not_the_file() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::open(home.path()).unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::write(&elsewhere, b"one").unwrap();
        std::os::unix::fs::symlink(&elsewhere, home.path().join("inbox/x")).unwrap();
        assert_eq!(arrive(&place, 1, "x", b"one"), home.path().join("inbox/x (2)"));
    }
}
