//! Under which names a registry on loopback answers.
//!
//! A page in a browser may give its own name the address 127.0.0.1 (DNS rebinding) and then asks as if the registry
//! were its own server. Its requests name that host: whoever listens on loopback answers to `localhost`, to addresses,
//! which nobody can rebind, to the host of its public URL and to what is configured (RFC 9110 §7.4: 421).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{Request, StatusCode, header};
use homing_api::Code;
use url::Url;

use super::Settings;
use super::problem::Problem;

/// Marks a request that is for somebody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misdirected;

/// The names; without ports, in lower case.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// `None`: every name will do, for the network can reach it anyway and nobody named hosts.
    pub(super) fn of(listen: IpAddr, settings: &Settings) -> Option<Self> {
        if !listen.to_canonical().is_loopback() && settings.allowed_hosts.is_empty() {
            return None;
        }
        let public = Url::parse(&settings.public_url).ok();
        let public = public.as_ref().and_then(Url::host_str).map(str::to_owned);
        let named = settings.allowed_hosts.iter().cloned().chain(public);
        Some(Self(named.map(|host| host.to_ascii_lowercase()).collect()))
    }

    /// Whether every host that the request names is ours. Without any no browser asks.
    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let target = request.uri().authority().cloned();
        let headers = request.headers().get_all(header::HOST).iter();
        let headers = headers.map(|value| Authority::try_from(value.as_bytes()).ok());
        headers.chain(target.map(Some)).all(|host| host.is_some_and(|host| self.has(host.host())))
    }

    fn has(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.0.contains(&host)
    }
}

/// What whoever is misdirected hears.
pub(super) fn refusal() -> Problem {
    Problem::new(Code::Usage, "this registry does not answer to the host that the request names")
        .status(StatusCode::MISDIRECTED_REQUEST)
        .hint("ask it by its address, or name the host in registry.allowed_hosts or registry.public_url")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, allowed: &[&str]) -> Option<Hosts> {
        let allowed_hosts = allowed.iter().map(ToString::to_string).collect();
        let public_url = "https://Registry.example.com/at".into();
        let settings = Settings { allowed_hosts, public_url, ..Settings::default() };
        Hosts::of(listen.parse().unwrap(), &settings)
    }

    fn allows(hosts: &Hosts, uri: &str, named: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in named {
            request = request.header("host", *host);
        }
        hosts.allow(&request.body(()).unwrap())
    }

    #[test]
    fn on_loopback_names_of_others_are_refused() {
        let hosts = hosts("127.0.0.1", &["lan.example"]).unwrap();
        for ours in [
            "localhost",
            "LocalHost:7400",
            "a.localhost",
            "127.0.0.1:7400",
            "[::1]:7400",
            "[::1]",
            "192.0.2.1",
            "registry.example.com",
            "REGISTRY.example.com.:443",
            "lan.example:1",
        ] {
            assert!(allows(&hosts, "/v1/info", &[ours]), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.nip.io",
            "",
            "a b",
        ] {
            assert!(!allows(&hosts, "/v1/info", &[other]), "{other}");
        }
        assert!(!allows(&hosts, "/v1/info", &["localhost", "evil.example"]));
        assert!(!allows(&hosts, "http://evil.example/v1/info", &["localhost"]));
        assert!(allows(&hosts, "/v1/info", &[]));
    }

    #[test]
    fn a_registry_on_the_network_answers_to_every_name_unless_told_otherwise() {
        assert!(hosts("0.0.0.0", &[]).is_none() && hosts("::", &[]).is_none());
        assert!(hosts("::1", &[]).is_some() && hosts("::ffff:127.0.0.1", &[]).is_some());
        let told = hosts("192.0.2.1", &["lan.example"]).unwrap();
        assert!(allows(&told, "/", &["lan.example"]) && !allows(&told, "/", &["evil.example"]));
    }
}
