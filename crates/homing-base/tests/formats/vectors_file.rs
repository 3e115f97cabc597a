//! Reading, comparing and blessing one file of `spec/vectors/`.

use std::path::PathBuf;

use serde_json::Value;

/// Compares `made` with the committed file, or writes it when `HOMING_BLESS=1`.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "a test writes its vectors; the core does not")]
pub(crate) fn compare(name: &str, made: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(name);
    let text = serde_json::to_string_pretty(made).expect("plain JSON") + "\n";
    if std::env::var_os("HOMING_BLESS").is_some() {
        std::fs::write(&path, &text).expect("writing the vectors");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{} no longer says what the code does; a deliberate change is blessed with HOMING_BLESS=1",
        path.display()
    );
}

/// `Encoding(Trailing(1))` → `Encoding.Trailing`: the kind of an error, without its values.
pub(crate) fn kind(error: &impl std::fmt::Debug) -> String {
    let shown = format!("{error:?}");
    let word =
        |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    let outer = word(&shown);
    match shown[outer.len()..].strip_prefix('(').map(word) {
        Some(inner) if inner.starts_with(|c: char| c.is_ascii_uppercase()) => {
            format!("{outer}.{inner}")
        }
        _ => outer,
    }
}
