//! The first bytes of a stream: HTTP/1, HTTP/2, or something else.
//!
//! Whoever is taken for "something else" reaches the target as it is, and so could say anything about who it is. So
//! every first line of text that names `http/` counts as HTTP, whatever stands before that and however long it is. The
//! strict parser behind this refuses what is wrong with it, and what names no version (HTTP/0.9, behind which some servers
//! read headers all the same). Nor does anything raw reach a target that greets with HTTP/2 settings. What remains: a control character in the first word makes it
//! something else, since binary protocols (TLS, AMQP, PostgreSQL) send no lines; a server that takes such a character for
//! part of a method needs `--http`.

use super::limits::FIRST_LINE_BYTES_MAX;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Http1,
    Http2,
    Bytes,
}

/// What begins like this; `None`: more has to be seen.
pub(super) fn classify(seen: &[u8]) -> Option<First> {
    if seen.starts_with(PREFACE) {
        return Some(First::Http2);
    }
    if PREFACE.starts_with(seen) {
        return None;
    }
    let full = seen.len() >= FIRST_LINE_BYTES_MAX;
    let Some(begin) = seen.iter().position(|b| !is_blank(*b)) else {
        return full.then_some(First::Http1);
    };
    let line = &seen[begin..];
    let mut word = line.iter().take_while(|b| !is_blank(**b));
    if word.any(u8::is_ascii_control) {
        return Some(First::Bytes);
    }
    match line.iter().position(|b| *b == b'\n') {
        Some(end) if names_http(&line[..end]) || is_simple(&line[..end]) => Some(First::Http1),
        Some(_) => Some(First::Bytes),
        None => full.then_some(First::Http1),
    }
}

/// What some server skips as white space, Latin-1 and Unicode ones included.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | 0x1c..=0x20 | 0x85 | 0xa0)
}

fn names_http(line: &[u8]) -> bool {
    line.windows(5).any(|part| part.eq_ignore_ascii_case(b"http/"))
}

/// A request of HTTP/0.9: `GET`, a path, and no more.
fn is_simple(line: &[u8]) -> bool {
    let mut words = line.split(|b| is_blank(*b)).filter(|word| !word.is_empty());
    words.next() == Some(b"GET") && words.next().is_some() && words.next().is_none()
}

/// Whether a target that spoke first is a web server, by its greeting: HTTP/2 settings (RFC 9113 §3.4), or an HTTP/1
/// server's complaint. `None`: more has to be seen.
pub(super) fn greets_as_web(said: &[u8]) -> Option<bool> {
    // The type, no flags, stream 0, behind three bytes of length.
    const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];
    const COMPLAINT: &[u8] = b"HTTP/";
    let frame = said.get(3..).unwrap_or_default();
    if frame.starts_with(&SETTINGS) || said.starts_with(COMPLAINT) {
        return Some(true);
    }
    let open = SETTINGS.starts_with(frame) || COMPLAINT.starts_with(said);
    if open { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_seen_however_they_are_disguised() {
        for http in [
            "GET / HTTP/1.1\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            "  GET / HTTP/1.0\n",
            "get\t/\thttp/1.1\r\n",
            "FROB \u{e9} HTTP/1.1\r\n",
            "GET\u{1c}/ HTTP/1.1\r\n",
            "GET\u{1f}/\u{1f}HTTP/1.1\r\n",
            "\u{a0}GET / HTTP/1.1\r\n",
            "{ / HTTP/1.1\r\n",
            &format!("{} / HTTP/1.1\r\n", "M".repeat(65)),
            "GET /admin\r\n",
            "GET\t http://localhost/ \n",
        ] {
            assert_eq!(classify(http.as_bytes()), Some(First::Http1), "{http:?}");
            for cut in 0..http.len() - 1 {
                assert_eq!(classify(&http.as_bytes()[..cut]), None, "{http:?} cut at {cut}");
            }
        }
        let long = format!("GET /{} ", "a".repeat(FIRST_LINE_BYTES_MAX));
        assert_eq!(classify(long.as_bytes()), Some(First::Http1));
    }

    #[test]
    fn blanks_without_end_are_left_to_the_strict_parser() {
        for end in ["", "GE"] {
            let blanks = " ".repeat(FIRST_LINE_BYTES_MAX - end.len()) + end;
            assert_eq!(classify(blanks.as_bytes()), Some(First::Http1), "{end:?}");
        }
    }

    #[test]
    fn the_preface_is_http_2_once_it_is_whole() {
        assert_eq!(classify(PREFACE), Some(First::Http2));
        assert_eq!(classify(&PREFACE[..PREFACE.len() - 1]), None);
    }

    #[test]
    fn a_web_server_is_known_by_its_greeting() {
        let settings = b"\0\0\x12\x04\0\0\0\0\0\0\x03";
        for (web, said) in [
            (true, settings.as_slice()),
            (true, b"\0\0\0\x04\0\0\0\0\0"),
            (true, b"HTTP/1.1 408 Request Timeout"),
            (false, b"SSH-2.0-OpenSSH_9.9\r\n"),
            (false, b"\x4a\0\0\0\x0a8.0.40\0"),
            (false, b"220 mail ESMTP\r\n"),
            (false, b"HTTQ"),
        ] {
            assert_eq!(greets_as_web(said), Some(web), "{said:?}");
        }
        assert!((0..9).all(|cut| greets_as_web(&settings[..cut]).is_none()));
    }

    #[test]
    fn other_protocols_pass_at_once() {
        for bytes in [
            b"\x16\x03\x01\x02".as_slice(),
            b"\x16\x03\x01 http/1.1\n",
            b"AMQP\0\0\x09\x01",
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"EHLO example.org\r\n",
            b"SET key value\r\n",
            b"{\"jsonrpc\":\"2.0\"}\n",
        ] {
            assert_eq!(classify(bytes), Some(First::Bytes), "{bytes:?}");
        }
    }
}
