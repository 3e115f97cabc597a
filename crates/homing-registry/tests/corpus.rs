//! Replays the committed fuzz corpora of this crate's decoders.

#[path = "../../../fuzz/src/registry.rs"]
#[allow(unreachable_pub, reason = "the same file is a public module of the fuzz crate")]
mod registry;
#[path = "../../../fuzz/src/replay.rs"]
#[allow(unreachable_pub, reason = "the same file is a public module of the fuzz crate")]
mod replay;

#[test]
fn committed_inputs_keep_their_promises() {
    let corpora = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    replay::replay(&corpora, registry::TARGETS);
}
