//! A stream on which a peer speaks HTTP: parsed strictly, answered by a web server or from a directory.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homing_api::{ApiError, Code};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tracing::debug;

use super::directory::{self, FileBody};
use super::first::First;
use super::headers;
use super::limits::{HEADER_BYTES_MAX, HEADER_TIMEOUT, HTTP2_PING, REQUESTS_MAX};
use super::opened::Opened;
use super::problem::problem;
use super::{Content, Visit};

/// What a target, a file or we say.
type Body = Either<Incoming, FileBody>;

/// Serves one connection to its end, or until trust or the service ends.
pub(super) async fn serve(io: Opened, first: First, visit: Arc<Visit>) {
    let ended = visit.ended();
    let connection = connection(TokioIo::new(io), first, visit);
    tokio::select! {
        served = connection => {
            if let Err(error) = served {
                debug!(%error, "an HTTP connection of a peer broke");
            }
        }
        () = ended => {}
    }
}

async fn connection(io: TokioIo<Opened>, first: First, visit: Arc<Visit>) -> hyper::Result<()> {
    let (host, knows_chunks) = (visit.clone(), AtomicBool::new(true));
    let answer = service_fn(|request: Request<Incoming>| {
        let visit = host.clone();
        knows_chunks.fetch_and(request.version() != Version::HTTP_10, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(answer(request, &visit).await) }
    });
    if first == First::Http2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        return server
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .max_concurrent_streams(REQUESTS_MAX)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING)
            .serve_connection(io, answer)
            .await;
    }
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        // A peer that says no more after its request still wants the answer.
        .half_close(true);
    let mut served = pin!(server.serve_connection(io, answer).with_upgrades());
    let ended = served.as_mut().await;
    // Where only the end of the connection ends an answer (RFC 9112 §6.3), an end would make a part of it the whole. Other
    // answers say by themselves that something is missing.
    if ended.as_ref().is_err_and(hyper::Error::is_user) && !knows_chunks.load(Ordering::Relaxed) {
        visit.cut(ApiError::new(Code::StreamBroken, "the answer broke off"));
    }
    ended
}

async fn answer(request: Request<Incoming>, visit: &Arc<Visit>) -> Response<Body> {
    if let Some(why) = headers::ambiguity(request.version(), request.headers()) {
        debug!(peer = %visit.peer.fmt_short(), why, "an ambiguous request was refused");
        let refusal = problem(StatusCode::BAD_REQUEST, "usage", why);
        return refusal.map(|body| Either::Right(Either::Left(body)));
    }
    match &visit.host.content {
        Content::Proxy(proxy) => {
            let answer = proxy.answer(request, visit).await;
            answer.map(|body| match body {
                Either::Left(theirs) => Either::Left(theirs),
                Either::Right(ours) => Either::Right(Either::Left(ours)),
            })
        }
        Content::Directory(root) => directory::answer(root, &request).await.map(Either::Right),
        Content::Command { .. } => unreachable!("commands are not spoken to over HTTP"),
    }
}
