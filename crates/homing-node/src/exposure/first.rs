//! The first bytes of a stream: HTTP/1, HTTP/2, or something else.
//!
//! Whoever is taken for "something else" reaches the target as it is, and so could say anything about who it is. So
//! whatever a lenient server might read as an HTTP request counts as HTTP: empty lines and blanks before it, any
//! method, any case, any length. The strict parser behind this refuses what is wrong with it.

use super::limits::FIRST_LINE_BYTES_MAX;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than any method.
const METHOD_BYTES_MAX: usize = 64;

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
    let Some(begin) = seen.iter().position(|b| !b.is_ascii_whitespace() && *b != 0x0b) else {
        return full.then_some(First::Http1);
    };
    let line = &seen[begin..];
    let method = line.iter().take_while(|b| is_token(**b)).count();
    match line.get(method) {
        _ if method == 0 || method > METHOD_BYTES_MAX => Some(First::Bytes),
        None => full.then_some(First::Http1),
        Some(b' ' | b'\t' | 0x0b | 0x0c) => {
            let end = line.iter().position(|b| *b == b'\n');
            match end {
                Some(end) if names_http(&line[..end]) => Some(First::Http1),
                Some(_) => Some(First::Bytes),
                None => full.then_some(First::Http1),
            }
        }
        Some(_) => Some(First::Bytes),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn names_http(line: &[u8]) -> bool {
    line.windows(5).any(|part| part.eq_ignore_ascii_case(b"http/"))
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
    fn other_protocols_pass_at_once() {
        for bytes in [
            b"\x16\x03\x01\x02".as_slice(),
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"EHLO example.org\r\n",
            b"{\"jsonrpc\":\"2.0\"}\n",
        ] {
            assert_eq!(classify(bytes), Some(First::Bytes), "{bytes:?}");
        }
    }
}
