//! No page in a browser calls the gateway: what headers tell about the sender.
//!
//! Any page may make a browser send requests to loopback. What it cannot do is leave out or forge `Host`, `Origin` and
//! `Sec-Fetch-Site` (Fetch standard, *forbidden request-headers*; W3C *Fetch Metadata*). So:
//!
//! | header | path router | proxy |
//! |---|---|---|
//! | `Host` | exactly one; a loopback name and our port (DNS rebinding ends here) | replaced by the request's target |
//! | `Origin` | absent, or our own | absent, or that of the target |
//! | `Sec-Fetch-Site` | absent, or `none`: typed by the user | also `same-origin` |
//! | `Referer` | absent, or our own: browsers older than the two above | to a peer: absent, or of the target |
//!
//! Browsers send no `Sec-Fetch-Site` to plain `http://` names (W3C *Secure Contexts*), and may leave `Referer` out. So a browser
//! that uses the gateway as its proxy can be made to send a `GET` that cannot be told from a program's: `docs/gateway.md` says so.
//!
//! Behind the path router all peers share one origin, therefore even `same-origin` is refused there, and answers carry
//! `Content-Security-Policy: sandbox` ([`crate::headers`]): a page of one peer, opened in a browser, can call no other.

use std::net::SocketAddr;

use homing_api::{ApiError, Code};
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER, TRANSFER_ENCODING};
use hyper::http::uri::Authority;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names by which programs on this machine call the gateway.
#[derive(Clone, Debug)]
pub(crate) struct OwnNames(Vec<String>);

impl OwnNames {
    pub(crate) fn of(listen: SocketAddr) -> Self {
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned(), "[::1]".to_owned()];
        let port = listen.port();
        let mut names: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
        names.push(listen.to_string());
        Self(names)
    }

    /// Whether an authority is the gateway's own.
    pub(crate) fn contain(&self, authority: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(authority))
    }

    fn is_origin(&self, origin: &str) -> bool {
        origin.strip_prefix("http://").is_some_and(|authority| self.contain(authority))
    }
}

/// What every request must be like: one host, and a body whose length is beyond doubt.
///
/// Contradicting lengths, a folded header or a space before a colon never come this far: hyper answers 400. Where length and
/// `chunked` are both given it takes `chunked` and drops the other (RFC 9112 §6.3), so nothing ambiguous is sent on.
pub(crate) fn well_formed(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get_all(HOST).iter().count() > 1 {
        return Err(malformed("it has several Host headers"));
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(malformed("its Transfer-Encoding is not just chunked")),
    }
}

/// A request to the path router.
pub(crate) fn own(
    names: &OwnNames,
    absolute: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let host = match absolute {
        Some(authority) => authority.as_str(),
        None => text(headers, HOST)?.ok_or_else(|| malformed("it names no host"))?,
    };
    if !names.contain(host) {
        return Err(refused(format!("it is addressed to {host}, which is not this gateway"))
            .hint("as a proxy the gateway takes whole URLs (curl -x), as a server paths: /@PEER/SERVICE/…"));
    }
    if let Some(origin) = text(headers, ORIGIN)?.filter(|origin| !names.is_origin(origin)) {
        return Err(page(format!("its origin is {origin}")));
    }
    if let Some(site) = text(headers, SEC_FETCH_SITE)?.filter(|site| *site != "none") {
        return Err(page(format!("Sec-Fetch-Site is {site}")));
    }
    let ours = |page: &str| {
        let end =
            page.strip_prefix("http://").map_or(0, |rest| rest.find('/').unwrap_or(rest.len()) + 7);
        names.is_origin(&page[..end])
    };
    match text(headers, REFERER)?.filter(|page| !ours(page)) {
        Some(referer) => Err(page(format!("it was referred by {referer}"))),
        None => Ok(()),
    }
}

/// A request through the proxy to `host`:`port`.
pub(crate) fn proxied(headers: &HeaderMap, host: &str, port: u16) -> Result<(), ApiError> {
    if let Some(origin) = text(headers, ORIGIN)?.filter(|origin| !is_of(origin, host, port)) {
        return Err(page(format!("its origin is {origin}")));
    }
    let site = text(headers, SEC_FETCH_SITE)?;
    match site.filter(|site| !["none", "same-origin"].contains(site)) {
        Some(site) => Err(page(format!("Sec-Fetch-Site is {site}"))),
        None => Ok(()),
    }
}

/// A request through the proxy to a peer: no page of somebody else's has asked for it, as far as it says where it stands.
pub(crate) fn proxied_to_peer(headers: &HeaderMap, host: &str, port: u16) -> Result<(), ApiError> {
    proxied(headers, host, port)?;
    let origin = |page: &str| {
        let authority = page.find("://").map_or(0, |scheme| scheme + 3);
        let end = page[authority..].find(['/', '?', '#']).map_or(page.len(), |at| authority + at);
        page[..end].to_owned()
    };
    match text(headers, REFERER)?.filter(|page| !is_of(&origin(page), host, port)) {
        Some(referer) => Err(page(format!("it was referred by {referer}"))),
        None => Ok(()),
    }
}

/// Whether an origin is that of a host and port.
fn is_of(origin: &str, host: &str, port: u16) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let default = if scheme == "https" { 443 } else { 80 };
    authority.host().eq_ignore_ascii_case(host) && authority.port_u16().unwrap_or(default) == port
}

/// The one value of a header.
fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(&name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(malformed(&format!("its {name} is not one plain text"))),
    }
}

fn malformed(why: &str) -> ApiError {
    ApiError::new(Code::Usage, "the request is malformed").why(why)
}

fn refused(why: String) -> ApiError {
    let why: String = why.chars().take(200).collect();
    ApiError::new(Code::PermissionDenied, "the gateway does not take this request").why(why)
}

fn page(why: String) -> ApiError {
    refused(why).hint(
        "pages in a browser may not call agents; for a web app: homing forward LOCAL PEER:PORT",
    )
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

    fn own(list: &[(&'static str, &str)]) -> Result<(), Code> {
        let names = OwnNames::of("127.0.0.1:7420".parse().unwrap());
        super::own(&names, None, &headers(list)).map_err(|e| e.code)
    }

    #[test]
    fn programs_pass_and_pages_do_not() {
        let host = ("host", "127.0.0.1:7420");
        for good in [
            &[host][..],
            &[("host", "LOCALHOST:7420")],
            &[("host", "[::1]:7420")],
            &[host, ("origin", "http://127.0.0.1:7420")],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("sec-fetch-mode", "cors")],
            &[host, ("referer", "http://localhost:7420/@b/x")],
        ] {
            assert_eq!(own(good), Ok(()), "{good:?}");
        }
        for page in [
            &[("host", "evil.example:7420")][..],
            &[("host", "127.0.0.1:7421")],
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1:7420.evil.example")],
            &[host, ("origin", "https://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://127.0.0.1:8080")],
            &[host, ("origin", "http://127.0.0.1:7420.evil.example")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "same-origin")],
            &[host, ("referer", "https://evil.example/x")],
            &[host, ("referer", "http://127.0.0.1:7420@evil.example/")],
        ] {
            assert_eq!(own(page), Err(Code::PermissionDenied), "{page:?}");
        }
        assert_eq!(own(&[]), Err(Code::Usage));
        assert_eq!(own(&[host, ("origin", "a"), ("origin", "b")]), Err(Code::Usage));
    }

    #[test]
    fn through_the_proxy_a_page_reaches_its_own_agent_only() {
        let check = |list: &[_]| {
            proxied(&headers(list), "app.agent-b.agent.internal", 80).map_err(|e| e.code)
        };
        let origin = ("origin", "http://app.agent-b.agent.internal");
        for good in
            [&[][..], &[origin, ("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")]]
        {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for page in [
            ("origin", "http://app.agent-c.agent.internal"),
            ("origin", "http://app.agent-b.agent.internal:8080"),
            ("origin", "null"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(check(&[page]), Err(Code::PermissionDenied), "{page:?}");
        }
    }

    #[test]
    fn a_page_that_says_where_it_stands_sends_nothing_to_another_agent() {
        let check = |referer: &str| {
            let headers = headers(&[("referer", referer)]);
            proxied_to_peer(&headers, "app.agent-b.agent.internal", 80).map_err(|e| e.code)
        };
        for good in ["http://app.agent-b.agent.internal", "http://app.agent-b.agent.internal/x?y"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for page in [
            "http://evil.example/",
            "http://app.agent-c.agent.internal/x",
            "http://app.agent-b.agent.internal.evil.example/",
            "http://evil.example/?http://app.agent-b.agent.internal/",
            "about:blank",
        ] {
            assert_eq!(check(page), Err(Code::PermissionDenied), "{page}");
        }
    }

    #[test]
    fn a_doubtful_head_is_refused() {
        let check = |list: &[_]| well_formed(&headers(list)).is_ok();
        assert!(check(&[("host", "a"), ("transfer-encoding", "Chunked")]));
        assert!(!check(&[("host", "a"), ("host", "b")]));
        assert!(!check(&[("transfer-encoding", "gzip, chunked")]));
        assert!(!check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
    }
}
