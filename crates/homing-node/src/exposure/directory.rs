//! A directory as a read-only web server: files, `index.html`, listings, ranges, validators.
//!
//! Nothing outside the directory is shown, whatever links it contains, and nothing whose name begins with a dot. A
//! path is looked up as the file system resolves it, and what it leads to must lie below the directory. Ranges after
//! RFC 9110 §14, one per request; several are answered with the whole file, which the RFC allows.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::SystemTime;

use futures_util::stream::{self, Stream};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::limits::FILE_CHUNK_BYTES_MAX;
use super::listing;
use super::problem::problem;

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>;
/// Something short, or a file as it is read.
pub(super) type FileBody = Either<Full<Bytes>, StreamBody<Chunks>>;

/// What a path leads to.
enum Found {
    File {
        file: File,
        facts: Metadata,
        path: PathBuf,
    },
    Listing(String),
    /// A directory was named without its slash.
    Below(String),
    Nothing,
}

/// Answers a request from the files below `root`.
pub(super) async fn answer(root: &Path, request: &Request<Incoming>) -> Response<FileBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "files are read only";
        let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "usage", text);
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal.map(Either::Left);
    }
    let Some(relative) = relative(request.uri().path()) else { return missing() };
    let (root, slash) = (root.to_owned(), request.uri().path().ends_with('/'));
    let found = tokio::task::spawn_blocking(move || find(&root, &relative, slash)).await;
    match found.ok().and_then(Result::ok) {
        Some(Found::File { file, facts, path }) => of_file(request, file, &facts, &path),
        Some(Found::Listing(html)) => text(StatusCode::OK, html),
        Some(Found::Below(place)) => {
            let mut response = text(StatusCode::MOVED_PERMANENTLY, String::new());
            match place.parse() {
                Ok(place) => drop(response.headers_mut().insert(LOCATION, place)),
                Err(_) => return missing(),
            }
            response
        }
        Some(Found::Nothing) | None => missing(),
    }
}

fn missing() -> Response<FileBody> {
    problem(StatusCode::NOT_FOUND, "not_found", "there is no such file").map(Either::Left)
}

fn text(status: StatusCode, html: String) -> Response<FileBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(html))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The path of a request below the root; `None`: it cannot be one.
fn relative(path: &str) -> Option<PathBuf> {
    let plain = percent_decode_str(path).decode_utf8().ok()?;
    let segments = plain.split('/').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| (!segment.starts_with('.') && !segment.contains('\0')).then_some(segment))
        .collect()
}

fn find(root: &Path, relative: &Path, slash: bool) -> io::Result<Found> {
    let root = fs::canonicalize(root)?;
    let Some(path) = inside(&root, &root.join(relative)) else { return Ok(Found::Nothing) };
    if fs::metadata(&path)?.is_file() {
        return if slash { Ok(Found::Nothing) } else { open(path) };
    }
    if !slash {
        let last = relative.file_name().unwrap_or_default().to_string_lossy();
        return Ok(Found::Below(format!("{}/", homing_api::client::percent_encode(&last))));
    }
    match inside(&root, &path.join("index.html")) {
        Some(index) if index.is_file() => open(index),
        _ if path.is_dir() => Ok(Found::Listing(listing::html(&root, &path, relative)?)),
        _ => Ok(Found::Nothing),
    }
}

/// Where a path really leads, if that is below `root` and hidden nowhere.
pub(super) fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    let below = real.strip_prefix(root).ok()?;
    let hidden = below.iter().any(|part| part.as_encoded_bytes().starts_with(b"."));
    (!hidden).then_some(real)
}

/// `path` has no links in it; should its last part have become one, this fails.
fn open(path: PathBuf) -> io::Result<Found> {
    // Not to wait for the other end of a pipe that took the file's place.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
    let facts = file.metadata()?;
    Ok(if facts.is_file() { Found::File { file, facts, path } } else { Found::Nothing })
}

fn of_file(
    request: &Request<Incoming>,
    file: File,
    facts: &Metadata,
    path: &Path,
) -> Response<FileBody> {
    let (etag, modified) = (etag(facts), facts.modified().ok());
    let asked = request.headers();
    let mut response = Response::new(Either::Left(Full::default()));
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, value);
    }
    if let Some(Ok(value)) = modified.map(|time| httpdate::fmt_http_date(time).parse()) {
        headers.insert(LAST_MODIFIED, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_known(asked, &etag, modified) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    if let Ok(kind) = content_type(path).parse() {
        headers.insert(CONTENT_TYPE, kind);
    }
    let length = facts.len();
    let (begin, end) = match range(asked, &etag, modified, length) {
        Asked::Whole => (0, length),
        Asked::Part(begin, end) => {
            let part = format!("bytes {begin}-{}/{length}", end - 1);
            headers.insert(CONTENT_RANGE, part.parse().expect("numbers are visible ASCII"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (begin, end)
        }
        Asked::Beyond => {
            let whole = format!("bytes */{length}").parse().expect("numbers are visible ASCII");
            headers.insert(CONTENT_RANGE, whole);
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return response;
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - begin));
    if request.method() == Method::GET {
        *response.body_mut() = Either::Right(StreamBody::new(chunks(file, begin, end - begin)));
    }
    response
}

/// Changes whenever the file does, as far as the file system tells.
fn etag(facts: &Metadata) -> String {
    let (seconds, nanos) = (facts.mtime(), facts.mtime_nsec());
    format!("\"{seconds:x}.{nanos:x}-{:x}-{:x}\"", facts.len(), facts.ino())
}

fn content_type(path: &Path) -> String {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = kind.type_() == "text" && kind.get_param("charset").is_none();
    if is_text { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}

/// RFC 9110 §13.2.2: `If-None-Match` counts, `If-Modified-Since` only without it.
fn is_known(asked: &HeaderMap, etag: &str, modified: Option<SystemTime>) -> bool {
    if let Some(known) = asked.get(IF_NONE_MATCH) {
        let mut known = known.to_str().unwrap_or_default().split(',').map(str::trim);
        return known.any(|known| known == "*" || known.trim_start_matches("W/") == etag);
    }
    let since = asked.get(IF_MODIFIED_SINCE).and_then(|since| since.to_str().ok());
    let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
    // HTTP dates have whole seconds.
    let modified = modified.map(|time| httpdate::HttpDate::from(time).into());
    since.zip(modified).is_some_and(|(since, modified): (SystemTime, SystemTime)| modified <= since)
}

/// What part of a file is wanted.
#[derive(Debug, PartialEq)]
enum Asked {
    Whole,
    /// From the first byte to the one after the last; never empty.
    Part(u64, u64),
    Beyond,
}

fn range(asked: &HeaderMap, etag: &str, modified: Option<SystemTime>, length: u64) -> Asked {
    let Some(wanted) = asked.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return Asked::Whole;
    };
    if let Some(condition) = asked.get(IF_RANGE) {
        let date = modified.map(httpdate::fmt_http_date);
        if condition != etag && date.is_none_or(|date| *condition != date.as_str()) {
            return Asked::Whole;
        }
    }
    part(wanted, length)
}

fn part(wanted: &str, length: u64) -> Asked {
    let Some((begin, end)) = wanted.strip_prefix("bytes=").and_then(|set| set.split_once('-'))
    else {
        return Asked::Whole;
    };
    match (begin.trim().parse::<u64>(), end.trim().parse::<u64>()) {
        (Ok(begin), Ok(end)) if begin > end => Asked::Whole,
        (Ok(begin), _)
            if begin >= length && (end.trim().is_empty() || end.trim().parse::<u64>().is_ok()) =>
        {
            Asked::Beyond
        }
        (Ok(begin), Ok(end)) => Asked::Part(begin, end.saturating_add(1).min(length)),
        (Ok(begin), Err(_)) if end.trim().is_empty() => Asked::Part(begin, length),
        (Err(_), Ok(last)) if begin.trim().is_empty() => match last.min(length) {
            0 => Asked::Beyond,
            last => Asked::Part(length - last, length),
        },
        _ => Asked::Whole,
    }
}

/// `length` bytes from `begin` on, as they are wanted.
fn chunks(file: File, begin: u64, length: u64) -> Chunks {
    let state = Some((file, Some(begin), length));
    Box::pin(stream::unfold(state, |state| async move {
        let (file, seek, left) = state.filter(|(_, _, left)| *left > 0)?;
        let read = tokio::task::spawn_blocking(move || read(file, seek, left)).await;
        match read.map_err(io::Error::other).and_then(|read| read) {
            Ok((file, chunk)) => {
                let left = left - chunk.len() as u64;
                Some((Ok(Frame::data(chunk)), Some((file, None, left))))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn read(mut file: File, seek: Option<u64>, left: u64) -> io::Result<(File, Bytes)> {
    if let Some(begin) = seek {
        file.seek(SeekFrom::Start(begin))?;
    }
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_CHUNK_BYTES_MAX);
    let mut chunk = vec![0; most];
    let read = file.read(&mut chunk)?;
    if read == 0 {
        // It has become shorter; what was promised does not come.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    chunk.truncate(read);
    Ok((file, Bytes::from(chunk)))
}

#[cfg(test)]
mod tests;
