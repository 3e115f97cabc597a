//! Headers that belong to one HTTP connection end with it (RFC 9110 §7.6.1). Both ends of the mesh pass requests on, and
//! both by these rules: the gateway on its way out, an exposed service on its way in.
//!
//! Not here: what either end says or hides beyond that.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN, TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Makes a request's headers those of the next connection, but for those that `dropped` names. What it wants to
/// upgrade to is returned.
pub fn of_request(
    headers: &mut HeaderMap,
    dropped: impl Fn(&HeaderName) -> bool,
) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE).filter(|_| connection_names(headers, "upgrade")).cloned();
    // HTTP/2 is had by speaking it; switching half-way would carry headers past this place. It may stand anywhere in a
    // list, and whoever answers chooses.
    let upgrade = upgrade.filter(|to| to.to_str().is_ok_and(|to| !names_http2(to)));
    let trailers = headers.get_all(TE).iter().any(|te| lists(te, "trailers"));
    end_connection(headers);
    headers.remove(HTTP2_SETTINGS);
    drop_named(headers, dropped);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(to) = &upgrade {
        switch(headers, to.clone());
    }
    upgrade
}

/// Makes an answer's headers those of the other connection. `switched`: it changes protocols.
pub fn of_response(headers: &mut HeaderMap, switched: bool) {
    let to = headers.get(UPGRADE).cloned().filter(|_| switched);
    end_connection(headers);
    if let Some(to) = to {
        switch(headers, to);
    }
}

/// Removes every header, or trailer, that `dropped` names.
pub fn drop_named(headers: &mut HeaderMap, dropped: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| dropped(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn switch(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, to);
}

fn end_connection(headers: &mut HeaderMap) {
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let listed: Vec<HeaderName> = listed
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever lists these would have them vanish before the target.
        .filter(|name| ![HOST, ORIGIN].contains(name))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
        headers.remove(name);
    }
}

fn names_http2(list: &str) -> bool {
    let mut protocols = list.split(',').map(str::trim);
    protocols.any(|to| to.get(..3).is_some_and(|to| to.eq_ignore_ascii_case("h2c")))
}

fn connection_names(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| lists(value, name))
}

fn lists(list: &HeaderValue, name: &str) -> bool {
    let mut parts = list.to_str().unwrap_or_default().split(',');
    parts.any(|part| part.trim().eq_ignore_ascii_case(name))
}
