//! Headers between the program and the service: what belongs to one connection only ends here ([`hop`]), and
//! what speaks of the service's own paths is written for the program's.

use hyper::HeaderMap;
use hyper::header::{
    CONTENT_LOCATION, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE,
};

use crate::hop;
use crate::target::Target;

/// How identity headers begin. The peer's daemon sets them; a program here must not seem to.
const IDENTITY: &str = "homing-peer-";

/// Makes a request's headers those of the next connection. What it wants to upgrade to is returned.
pub(crate) fn of_request(headers: &mut HeaderMap) -> Option<HeaderValue> {
    hop::of_request(headers, |name| {
        name.as_str().starts_with(IDENTITY) || *name == PROXY_AUTHORIZATION
    })
}

/// Makes an answer's headers those of the program's connection. `upgraded`: it switches protocols.
pub(crate) fn of_response(headers: &mut HeaderMap, upgraded: bool) {
    hop::of_response(headers, upgraded);
    headers.remove(PROXY_AUTHENTICATE);
}

/// Answers of the path router: redirects and cookies stay below `prefix`, and a page that a browser shows has no
/// origin, because this one belongs to all peers.
pub(crate) fn localise(headers: &mut HeaderMap, prefix: &str, target: &Target) {
    for name in [LOCATION, CONTENT_LOCATION] {
        if let Some(there) = headers.get(&name).and_then(|value| below(value, prefix, target)) {
            headers.insert(name, there);
        }
    }
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().map(|c| cookie(c, prefix)).collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

/// A location of the service, as one of the gateway; `None`: it lies elsewhere, or is relative.
fn below(location: &HeaderValue, prefix: &str, target: &Target) -> Option<HeaderValue> {
    let location = location.to_str().ok()?;
    let path = match location.strip_prefix("http://") {
        Some(rest) => {
            let path = rest.strip_prefix(&target.authority())?;
            if path.starts_with(['/', '?']) || path.is_empty() { path } else { return None }
        }
        None if location.starts_with('/') && !location.starts_with("//") => location,
        None => return None,
    };
    format!("{prefix}{path}").parse().ok()
}

/// A cookie that is sent to this service alone: without a domain, with its path below `prefix`.
fn cookie(cookie: &HeaderValue, prefix: &str) -> HeaderValue {
    let Ok(text) = cookie.to_str() else { return cookie.clone() };
    let mut parts = text.split(';').map(str::trim);
    let mut kept = vec![parts.next().unwrap_or_default().to_owned()];
    let mut path = "/";
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "domain" => {}
            "path" => path = if value.trim().starts_with('/') { value.trim() } else { "/" },
            _ => kept.push(part.to_owned()),
        }
    }
    kept.push(format!("Path={prefix}{path}"));
    kept.join("; ").parse().unwrap_or_else(|_| cookie.clone())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

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
    fn what_belongs_to_one_connection_and_claimed_identity_end_here() {
        let mut head = headers(&[
            ("accept", "*/*"),
            ("authorization", "for the agent"),
            ("connection", "close, X-Hop"),
            ("homing-peer-id", "forged"),
            ("homing-peer-anything", "forged"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers"),
            ("upgrade", "websocket"),
            ("x-hop", "1"),
        ]);
        assert_eq!(of_request(&mut head), None, "an upgrade must be named in Connection");
        assert_eq!(names(&head), ["accept", "authorization", "te"]);
        assert_eq!(head["te"], "trailers");
    }

    #[test]
    fn a_websocket_switches_and_h2c_does_not() {
        let mut head = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(of_request(&mut head).unwrap(), "websocket");
        assert_eq!(names(&head), ["connection", "upgrade"]);
        let mut head = headers(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
        ]);
        assert_eq!(of_request(&mut head), None);
        assert_eq!(names(&head), [""; 0]);
    }

    #[test]
    fn redirects_and_cookies_stay_below_the_prefix() {
        let target = Target { peer: "b".parse().unwrap(), service: "app".parse().unwrap() };
        let moved = |to: &str| {
            let mut head = headers(&[("location", to)]);
            localise(&mut head, "/@b/app", &target);
            head["location"].to_str().unwrap().to_owned()
        };
        assert_eq!(moved("/login?next=/"), "/@b/app/login?next=/");
        assert_eq!(moved("http://app.b.agent.internal/x"), "/@b/app/x");
        for elsewhere in [
            "login",
            "//evil.example/x",
            "https://example.com/",
            "http://app.b.agent.internal.example/",
        ] {
            assert_eq!(moved(elsewhere), elsewhere);
        }
        let set = |text: &str| {
            let mut head = headers(&[("set-cookie", text)]);
            localise(&mut head, "/@b/app", &target);
            head["set-cookie"].to_str().unwrap().to_owned()
        };
        assert_eq!(set("a=1; Path=/; HttpOnly"), "a=1; HttpOnly; Path=/@b/app/");
        assert_eq!(set("a=1;path=/x; Domain=example.com"), "a=1; Path=/@b/app/x");
        assert_eq!(set("a=b=c"), "a=b=c; Path=/@b/app/");
        assert_eq!(set("a=1; Path=x; Max-Age=5"), "a=1; Max-Age=5; Path=/@b/app/");
    }
}
