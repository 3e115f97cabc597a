//! Replays committed corpora on stable Rust, as ordinary tests: what a fuzzer once found stays found.

use std::path::Path;

/// The name of a corpus and the body that its files are fed to.
pub type Target = (&'static str, fn(&[u8]));

/// Feeds every file of `fuzz/corpus/<name>/` to its target. A target without files is a mistake.
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test, not the core")]
pub fn replay(corpora: &Path, targets: &[Target]) {
    for (name, target) in targets {
        let folder = corpora.join(name);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let data = std::fs::read(&path).expect("a readable file");
            // Shown only when the target panics: the file to look at.
            println!("{}", path.display());
            target(&data);
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}
