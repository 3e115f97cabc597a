//! `[audit.anchor]`: where marks of the audit log are left outside. What each key means: `docs/anchoring.md`.
//!
//! Keys that need one another are looked at when the anchor is opened, so that they can be set one by one.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::duration;
use super::{ConfigError, Layers};

/// An anchor, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorConfig {
    /// What kind.
    pub kind: AnchorKind,
    /// Where it is asked. Its path may hold a secret.
    pub url: Option<String>,
    /// The contract.
    pub contract: Option<[u8; 20]>,
    /// The chain. 0: not set.
    pub chain_id: u64,
    /// File with the account's private key.
    pub key_file: Option<PathBuf>,
    /// Keystore instead of `key_file`.
    pub keystore: Option<PathBuf>,
    /// File with the passphrase of `keystore`.
    pub passphrase_file: Option<PathBuf>,
    /// Every update instead of the newest checkpoint. Default: the checkpoint, whose price does not grow with the log.
    pub updates: bool,
    /// Updates in one transaction. Default 1.
    pub batch: usize,
    /// Least time between two anchors. Default ten minutes.
    pub interval: Duration,
    /// The most that is paid per gas, in gwei. Default 50.
    pub max_fee_gwei: u64,
    /// The most gas of one transaction. Default 16 million; EIP-7825 allows 2^24.
    pub max_gas: u64,
    /// Blocks on top before an anchor counts; 0 (default): what the chain calls final.
    pub confirmations: u64,
    /// Where a search for lost anchors begins.
    pub start_block: u64,
    /// Certificates of the time-stamp authority.
    pub ca_file: Option<PathBuf>,
}

/// Kinds of anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorKind {
    /// A contract on an EVM chain.
    Evm,
    /// An RFC 3161 time-stamp authority.
    Rfc3161,
}

impl Layers {
    pub(super) fn anchor(&self) -> Result<Option<AnchorConfig>, ConfigError> {
        let kind = self.maybe("audit.anchor.kind", kind)?;
        let path = |name| self.maybe(name, |text: &str| Ok(PathBuf::from(text)));
        let number = |name, least, most| self.number(name, least, most);
        // Every value is looked at, also while none is used.
        let config = AnchorConfig {
            kind: kind.unwrap_or(AnchorKind::Evm),
            url: self.maybe("audit.anchor.url", url)?,
            contract: self.maybe("audit.anchor.contract", contract)?,
            chain_id: number("audit.anchor.chain_id", 0, u64::MAX >> 1)?,
            key_file: path("audit.anchor.key_file")?,
            keystore: path("audit.anchor.keystore")?,
            passphrase_file: path("audit.anchor.passphrase_file")?,
            updates: self.one("audit.anchor.mode", mode)?,
            batch: number("audit.anchor.batch", 1, 1_000)? as usize,
            interval: self.one("audit.anchor.interval", duration)?,
            max_fee_gwei: number("audit.anchor.max_fee_gwei", 1, 1_000_000_000)?,
            max_gas: number("audit.anchor.max_gas", 21_000, 1 << 40)?,
            confirmations: number("audit.anchor.confirmations", 0, 1_000_000)?,
            start_block: number("audit.anchor.start_block", 0, u64::MAX >> 1)?,
            ca_file: path("audit.anchor.ca_file")?,
        };
        Ok(kind.map(|_| config))
    }
}

fn kind(text: &str) -> Result<AnchorKind, String> {
    match text {
        "evm" => Ok(AnchorKind::Evm),
        "rfc3161" => Ok(AnchorKind::Rfc3161),
        _ => Err("expected evm or rfc3161".into()),
    }
}

fn mode(text: &str) -> Result<bool, String> {
    match text {
        "checkpoint" => Ok(false),
        "update" => Ok(true),
        _ => Err("expected checkpoint or update".into()),
    }
}

fn url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok();
    let fits = url.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    // Not repeated: it may hold a secret.
    fits.then(|| text.to_owned()).ok_or_else(|| "expected https://HOST or http://HOST:PORT".into())
}

/// `0x` and 40 hexadecimal digits.
///
/// # Errors
/// What was expected.
pub fn contract(text: &str) -> Result<[u8; 20], String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
    let address = bytes.and_then(|bytes| bytes.try_into().ok());
    address.ok_or_else(|| "expected 0x and 40 hexadecimal digits".into())
}

/// A URL of a chain node as it may be shown: its path and query often are the key to it.
#[must_use]
pub(crate) fn without_path(text: &str) -> String {
    let Ok(url) = url::Url::parse(text) else { return "…".into() };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let more = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "" };
    format!("{}://{host}{port}{more}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_set_one_by_one_and_wrong_values_are_refused() {
        let mut layers = Layers::default();
        assert_eq!(layers.resolve().unwrap().anchor, None, "off by default");
        layers.flag("audit.anchor.kind", "evm").unwrap();
        layers.flag("audit.anchor.mode", "update").unwrap();
        let anchor = layers.resolve().unwrap().anchor.expect("on");
        assert!(anchor.updates && anchor.kind == AnchorKind::Evm);
        for (key, value) in
            [("kind", "solana"), ("contract", "0x12"), ("mode", "both"), ("batch", "0")]
        {
            let mut wrong = layers.clone();
            let refused =
                wrong.flag(&format!("audit.anchor.{key}"), value).and_then(|()| wrong.resolve());
            assert!(refused.is_err(), "{key} = {value}");
        }
    }

    #[test]
    fn the_path_of_a_url_is_not_shown() {
        assert_eq!(without_path("https://rpc.example/v3/secret"), "https://rpc.example/…");
        assert_eq!(without_path("http://127.0.0.1:8545"), "http://127.0.0.1:8545");
    }
}
