//! Headers between a peer's program and the target.
//!
//! ```text
//! dropped   what belongs to one connection ([`hop`]), Homing-*, Forwarded, X-Forwarded-*, X-Real-IP, and
//!           the same with underscores, which CGI and WSGI cannot tell from hyphens
//! set       Homing-Peer-Address, -Node-Id, -Name (when known), Homing-Service
//! rewritten Host and Origin to the target's; Location back to a path
//! ```

use homing_api::peers::PeerSummary;
use homing_base::Service;
use homing_gateway::hop;
use hyper::body::{Bytes, Frame};
use hyper::header::{
    CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, Version};

const ADDRESS: HeaderName = HeaderName::from_static("homing-peer-address");
const NODE_ID: HeaderName = HeaderName::from_static("homing-peer-node-id");
const NAME: HeaderName = HeaderName::from_static("homing-peer-name");
const SERVICE: HeaderName = HeaderName::from_static("homing-service");

/// Who asks, for the target to read.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    address: HeaderValue,
    node_id: HeaderValue,
    name: Option<HeaderValue>,
    service: HeaderValue,
}

impl Identity {
    pub(super) fn new(peer: &PeerSummary, service: &Service) -> Self {
        let value =
            |text: &str| HeaderValue::from_str(text).expect("labels and hex are visible ASCII");
        Self {
            address: value(&peer.address.to_string()),
            node_id: value(&peer.node_id.to_string()),
            name: peer.name.as_ref().map(|name| value(name.as_str())),
            service: value(service.as_str()),
        }
    }

    /// Puts it in, in place of what the peer claimed.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(ADDRESS, self.address.clone());
        headers.insert(NODE_ID, self.node_id.clone());
        headers.insert(SERVICE, self.service.clone());
        if let Some(name) = &self.name {
            headers.insert(NAME, name.clone());
        }
    }
}

/// Why a request is none that could be passed on without being read in two ways.
pub(super) fn ambiguity(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let encodings = headers.get_all(TRANSFER_ENCODING);
    let mut encodings = encodings.iter();
    if let Some(encoding) = encodings.next() {
        if headers.contains_key(CONTENT_LENGTH) {
            return Some("Content-Length beside Transfer-Encoding");
        }
        let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || encodings.next().is_some() {
            return Some("a Transfer-Encoding other than chunked");
        }
    }
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Some("more than one Content-Length");
    }
    match headers.get_all(HOST).iter().count() {
        0 if version == Version::HTTP_11 => Some("no Host"),
        0 | 1 => None,
        _ => Some("more than one Host"),
    }
}

/// Makes a request's headers those of the next connection. What it wants to upgrade to is returned.
pub(super) fn of_request(headers: &mut HeaderMap) -> Option<HeaderValue> {
    hop::of_request(headers, |name| is_claim(name) || *name == EXPECT)
}

/// Trailers of a request, without what only this node may say.
pub(super) fn of_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            hop::drop_named(&mut trailers, is_claim);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Says something that only this node may say, or that a proxy before the target would. Servers that hand headers on as
/// variables make one character of all that are neither letters nor digits.
fn is_claim(name: &HeaderName) -> bool {
    let begins = |with: &[u8]| {
        let name = name.as_str().as_bytes();
        name.len() >= with.len()
            && name
                .iter()
                .zip(with)
                .all(|(a, b)| a == b || (*b == b'-' && !a.is_ascii_alphanumeric()))
    };
    let is = |whole: &[u8]| name.as_str().len() == whole.len() && begins(whole);
    begins(b"homing-") || begins(b"x-forwarded") || is(b"forwarded") || is(b"x-real-ip")
}

/// A redirect to the target itself becomes one to a path below the service, whatever its authority is to others.
/// `origins`: what the target may call itself, such as `http://localhost:8080`.
pub(super) fn relocate(headers: &mut HeaderMap, origins: &[String], base: &str) {
    let Some(there) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let absolute = origins.iter().find_map(|origin| {
        let rest = there.get(..origin.len()).filter(|begin| begin.eq_ignore_ascii_case(origin));
        rest.map(|_| &there[origin.len()..]).filter(|rest| ends_segment(rest))
    });
    let local = there.starts_with('/') && !there.starts_with("//");
    let Some(path) = absolute.or(local.then_some(there)) else { return };
    let below = path.strip_prefix(base).filter(|rest| ends_segment(rest));
    let path = below.unwrap_or(path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // Cut off its base it would name another host.
    if path.starts_with("//") {
        return;
    }
    if let Ok(value) = path.parse() {
        headers.insert(LOCATION, value);
    }
}

fn ends_segment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_peers_claim_and_what_belongs_to_one_connection_is_dropped() {
        let mut head = headers(&[
            ("accept", "*/*"),
            ("connection", "close, X-Hop, Host"),
            ("expect", "100-continue"),
            ("forwarded", "for=1.2.3.4"),
            ("homing-peer-name", "admin"),
            ("homing_peer_name", "admin"),
            ("homing.peer.name", "admin"),
            ("homing-anything", "x"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_host", "b"),
            ("x-hop", "1"),
            ("x-real_ip", "1.2.3.4"),
        ]);
        assert_eq!(of_request(&mut head), None, "an upgrade must be named in Connection");
        assert_eq!(names(&head), ["accept", "host", "te"]);
    }

    #[test]
    fn only_a_switch_to_another_protocol_than_http_2_passes() {
        let mut socket =
            headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(of_request(&mut socket).unwrap(), "websocket");
        assert_eq!(names(&socket), ["connection", "upgrade"]);
        for list in ["H2C", "foo, h2c", "websocket,\th2c-14"] {
            let mut h2c = headers(&[("connection", "upgrade"), ("upgrade", list)]);
            assert_eq!(of_request(&mut h2c), None, "{list}");
            assert!(h2c.is_empty());
        }
    }

    #[test]
    fn lengths_that_can_be_read_in_two_ways_are_found() {
        let wrong = |list| ambiguity(Version::HTTP_11, &headers(list)).is_some();
        assert!(wrong(&[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")]));
        assert!(wrong(&[("host", "a"), ("content-length", "1"), ("content-length", "1")]));
        assert!(wrong(&[("host", "a"), ("transfer-encoding", "gzip, chunked")]));
        assert!(wrong(&[("host", "a"), ("host", "b")]));
        assert!(wrong(&[]));
        assert!(!wrong(&[("host", "a"), ("transfer-encoding", "Chunked")]));
    }

    #[test]
    fn redirects_to_the_target_become_paths() {
        let origins = ["http://localhost:80".to_owned(), "http://127.0.0.1:80".to_owned()];
        for (given, base, expected) in [
            ("http://127.0.0.1:80/x?y", "", "/x?y"),
            ("HTTP://localhost:80", "", "/"),
            ("http://localhost:8080/x", "", "http://localhost:8080/x"),
            ("https://example.org/", "", "https://example.org/"),
            ("/app/x", "/app", "/x"),
            ("/app", "/app", "/"),
            ("/apple", "/app", "/apple"),
            ("//evil/x", "", "//evil/x"),
            ("/app//evil/x", "/app", "/app//evil/x"),
            ("http://localhost:80/app//evil/x", "/app", "http://localhost:80/app//evil/x"),
            ("x", "/app", "x"),
        ] {
            let mut head = headers(&[("location", given)]);
            relocate(&mut head, &origins, base);
            assert_eq!(head["location"], expected, "{given} below {base:?}");
        }
    }
}
