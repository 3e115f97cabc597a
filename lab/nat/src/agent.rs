//! Daemons, relays and commands inside namespaces.

use std::path::{Path, PathBuf};

/// The binary under test: `HOMING_BIN`, else the newer of the workspace's release and debug builds.
///
/// # Errors
/// The reason why there is none, for the skip line.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("HOMING_BIN").map(PathBuf::from) {
        let missing = || format!("HOMING_BIN={} does not exist", path.display());
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = ["target/release/homing", "target/debug/homing"].map(|path| root.join(path));
    let age = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let newest = built.into_iter().filter(|path| path.is_file()).max_by_key(age);
    newest.ok_or_else(|| "no homing binary: build one, or name it in HOMING_BIN".to_owned())
}
