//! Independent implementations read our checkpoints, tiles and proofs: `signed_note` and `tlog_tiles`
//! (Cloudflare), `ct-merkle`, and Go's `golang.org/x/mod/sumdb`.

use std::path::{Path, PathBuf};
use std::process::Command;

use ct_merkle::RootHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use homing_audit::Reader;
use homing_core::audit::Checkpoint;
use sha2::Sha256;

use super::support::exported;

#[test]
fn ct_merkle_agrees_on_roots_and_accepts_our_proofs() {
    let (dir, _) = exported(600);
    let mut reader = Reader::open(&dir.path().join("audit")).unwrap();
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut roots: Vec<RootHash<Sha256>> = vec![tree.root()];
    for index in 0..600 {
        tree.push(reader.entry(index).unwrap());
        roots.push(tree.root());
    }
    let head = Checkpoint::verify(reader.head().unwrap(), reader.key()).unwrap();
    assert_eq!(roots[600].as_bytes()[..], head.root.0);
    for index in [0, 1, 255, 256, 511, 598, 599] {
        let ours = reader.inclusion(index, 600).unwrap().path;
        let ours: Vec<u8> = ours.iter().flat_map(|hash| hash.0).collect();
        let proof = ct_merkle::InclusionProof::<Sha256>::from_bytes(ours);
        let entry = reader.entry(index).unwrap();
        roots[600].verify_inclusion(&entry, index, &proof).unwrap();
    }
    for old in [1, 2, 255, 256, 257, 599] {
        let ours = reader.consistency(old, 600).unwrap().path;
        let ours: Vec<u8> = ours.iter().flat_map(|hash| hash.0).collect();
        let proof = ct_merkle::ConsistencyProof::<Sha256>::try_from_bytes(ours).unwrap();
        roots[600].verify_consistency(&roots[old as usize], &proof).unwrap();
    }
}

/// Reads an exported directory as `tlog_tiles` wants it.
struct Files<'d>(&'d Path);

impl tlog_tiles::TileReader for Files<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height; those of C2SP tlog-tiles do not.
        let path = |tile: &tlog_tiles::Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles.iter().map(|tile| std::fs::read(self.0.join(path(tile))).unwrap()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn signed_note_and_tlog_tiles_read_an_exported_log() {
    let (dir, to) = exported(70_000);
    let vkey = std::fs::read_to_string(to.join("key")).unwrap();
    let note = std::fs::read(to.join("checkpoint")).unwrap();
    let verifier = signed_note::StandardVerifier::new(vkey.trim_end()).unwrap();
    let list = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let note = signed_note::Note::from_bytes(&note).unwrap();
    note.verify(&list).unwrap();
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(head.size(), 70_000);
    let files = Files(&to);
    let reader = tlog_tiles::TileHashReader::new(head.size(), *head.hash(), &files);
    let mut ours = Reader::open(&dir.path().join("audit")).unwrap();
    for index in [0, 255, 256, 65_535, 65_536, 69_999] {
        let theirs = tlog_tiles::prove_record(head.size(), index, &reader).unwrap();
        let path = ours.inclusion(index, head.size()).unwrap().path;
        let path: Vec<_> = path.into_iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
        assert!(theirs == path, "entry {index}");
        let leaf = tlog_tiles::record_hash(&ours.entry(index).unwrap());
        tlog_tiles::check_record(&path, head.size(), *head.hash(), index, leaf).unwrap();
    }
}

#[test]
fn the_notes_and_tiles_of_go_read_an_exported_log() {
    let Some(modules) = go_modules() else {
        // Not captured, so that it is counted.
        let line = b"SKIPPED: Go's sumdb: `go` is missing\n";
        return std::io::Write::write_all(&mut std::io::stdout(), line).unwrap();
    };
    let (_dir, to) = exported(1_000);
    let oracle = tempfile::tempdir().unwrap();
    for package in ["note", "tlog"] {
        let into = oracle.path().join(package);
        std::fs::create_dir(&into).unwrap();
        for file in std::fs::read_dir(modules.join(package)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), into.join(file.file_name())).unwrap();
        }
    }
    std::fs::write(oracle.path().join("go.mod"), "module oracle\n\ngo 1.22\n").unwrap();
    std::fs::write(oracle.path().join("main.go"), include_str!("oracle.go")).unwrap();
    let run = Command::new("go")
        .args(["run", ".", to.to_str().unwrap()])
        .current_dir(oracle.path())
        .env("GOFLAGS", "-mod=mod")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(text.trim_end(), "1000 entries proven");
}

/// Where the Go distribution keeps `golang.org/x/mod/sumdb`.
fn go_modules() -> Option<PathBuf> {
    let root = Command::new("go").args(["env", "GOROOT"]).output().ok()?;
    let root = PathBuf::from(String::from_utf8(root.stdout).ok()?.trim_end());
    Some(root.join("src/cmd/vendor/golang.org/x/mod/sumdb")).filter(|dir| dir.is_dir())
}
