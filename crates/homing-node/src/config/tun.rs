//! `[tun]`: a network interface on which peers' addresses are reachable. What it carries is told in `docs/tun.md`.

use super::{ConfigError, Layers};

/// Bytes of a device name (Linux `IFNAMSIZ` less the end mark).
const NAME_BYTES_MAX: usize = 15;

/// The network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// Whether this daemon has one. Default `false`: it needs `CAP_NET_ADMIN`, and opens every port of the machine to
    /// peers that are trusted for `tun`.
    pub enabled: bool,
    /// Its name. Default `homing0`.
    pub name: String,
    /// The largest packet in bytes, 1280 to 1500. Default 1280, the least that IPv6 demands (RFC 8200 §5): a packet
    /// then fits into one datagram on every usual path.
    pub mtu: u16,
}

impl Layers {
    pub(super) fn tun(&self) -> Result<TunConfig, ConfigError> {
        Ok(TunConfig {
            enabled: self.bool("tun.enabled"),
            name: self.one("tun.name", device)?,
            mtu: self.number("tun.mtu", 1_280, 1_500)? as u16,
        })
    }
}

fn device(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.len() {
        1..=NAME_BYTES_MAX if text.chars().all(plain) && !text.starts_with('.') => {
            Ok(text.to_owned())
        }
        _ => Err(format!("expected 1 to {NAME_BYTES_MAX} letters, digits, hyphens or underscores")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_would_not_take_is_refused() {
        let resolved = |key: &str, value: &str| {
            let mut layers = Layers::default();
            layers.flag(key, value).unwrap();
            layers.resolve().map(|config| config.tun)
        };
        assert_eq!(resolved("tun.name", "homing-b0").unwrap().name, "homing-b0");
        assert_eq!(resolved("tun.mtu", "1400").unwrap().mtu, 1_400);
        for bad in ["sixteen-letters1", "a/b", "..", "a b", "a%d"] {
            assert!(resolved("tun.name", bad).is_err(), "{bad}");
        }
        for bad in ["1279", "1501"] {
            assert!(resolved("tun.mtu", bad).is_err(), "{bad}");
        }
    }
}
