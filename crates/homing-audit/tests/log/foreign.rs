//! Independent implementations read our checkpoints, tiles and proofs: `signed_note` and `tlog_tiles`
//! (Cloudflare), `ct-merkle`, and Go's `golang.org/x/mod/sumdb`.

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
