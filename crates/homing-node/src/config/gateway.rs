//! `[gateway]`: the loopback port for programs that know nothing of Homing. What it serves is told in `docs/gateway.md`.

use std::net::SocketAddr;

use super::{ConfigError, Layers};

/// The gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Whether this daemon serves it. Default `true`: only processes of the daemon's user get in.
    pub enabled: bool,
    /// TCP address on loopback. Default: `127.0.0.1:7420`, and any free port when another daemon has that one.
    pub listen: Option<SocketAddr>,
    /// Whether only agents are reached through its proxies. Default `false`: other hosts are passed through.
    pub mesh_only: bool,
}

impl Layers {
    pub(super) fn gateway(&self) -> Result<GatewayConfig, ConfigError> {
        Ok(GatewayConfig {
            enabled: self.bool("gateway.enabled"),
            listen: self.maybe("gateway.listen", on_loopback)?,
            mesh_only: self.bool("gateway.mesh_only"),
        })
    }
}

/// Whoever reaches the gateway speaks as this agent: it never faces a network.
fn on_loopback(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected a loopback address such as 127.0.0.1:7420";
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_loopback() => Ok(addr),
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_faces_a_network() {
        let listen = |text: &str| {
            let mut layers = Layers::default();
            layers.flag("gateway.listen", text).unwrap();
            layers.resolve().map(|config| config.gateway.listen).ok().flatten()
        };
        for good in ["127.0.0.1:0", "127.8.0.1:80", "[::1]:7420"] {
            assert_eq!(listen(good), Some(good.parse().unwrap()));
        }
        for bad in ["0.0.0.0:7420", "[::]:7420", "192.0.2.1:80", "localhost:7420", "7420"] {
            assert_eq!(listen(bad), None, "{bad}");
        }
    }
}
