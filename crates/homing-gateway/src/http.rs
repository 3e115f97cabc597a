//! One HTTP request: to which of the three doors it came, whether it may pass, and its answer.
//!
//! ```text
//! CONNECT host:port                              tunnel
//! http://HOST/…  (absolute form)                 proxy: a peer, or another host
//! /@PEER/SERVICE/…  (or our own absolute form)   path router
//! ```
//! Bodies pass as they come, both ways, with trailers. Not passed on: informational answers other than 100 and 101,
//! because the server below cannot send them.

use std::convert::Infallible;

use bytes::Bytes;
use data_encoding::BASE64;
use homing_api::{ApiError, Code};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;

use crate::problem::{self, Body};
use crate::serve::Front;
use crate::target::{Destination, Route, Target};
use crate::{guard, headers, tunnel};

/// The user name in a proxy URL by which one program asks for [`crate::Settings::mesh_only`]:
/// `http://mesh-only@127.0.0.1:7420`.
pub const MESH_ONLY_USER: &str = "mesh-only";

/// Answers one request; failures are answers too.
pub(crate) async fn answer(
    front: Front,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let version = request.version();
    let answered = guard::well_formed(request.headers());
    let answered = match answered {
        Ok(()) if request.method() == Method::CONNECT => connect(&front, request).await,
        Ok(()) => match request.uri().authority().cloned() {
            Some(authority) if !front.names.contain(authority.as_str()) => {
                proxy(&front, request, &authority).await
            }
            own => route(&front, request, own.as_ref()).await,
        },
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| problem::response(&error));
    *response.version_mut() = version;
    Ok(response)
}

/// `CONNECT`: a raw connection.
async fn connect(
    front: &Front,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let authority = request.uri().authority().ok_or_else(no_port)?;
    let port = authority.port_u16().ok_or_else(no_port)?;
    guard::proxied(request.headers(), authority.host(), port)?;
    let destination = Destination::of(authority.host(), port)?;
    let far = tunnel::open(front, &destination, mesh_only(front, request.headers())).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(near) = upgrade.await {
            tunnel::carry_connect(near, far).await;
        }
    });
    Ok(Response::new(empty()))
}

/// A whole URL: to a peer, or on to another host.
async fn proxy(
    front: &Front,
    mut request: Request<Incoming>,
    authority: &Authority,
) -> Result<Response<Body>, ApiError> {
    if request.uri().scheme() != Some(&Scheme::HTTP) {
        return Err(ApiError::new(Code::Usage, "the proxy takes http:// URLs")
            .hint("for anything else, https included: CONNECT"));
    }
    let port = authority.port_u16().unwrap_or(80);
    guard::proxied(request.headers(), authority.host(), port)?;
    let destination = Destination::of(authority.host(), port)?;
    let mesh_only = mesh_only(front, request.headers());
    let host = without_user(authority);
    match destination {
        Destination::Mesh(target) => {
            guard::proxied_to_peer(request.headers(), authority.host(), port)?;
            let path = request.uri().path_and_query().cloned();
            forward(front, request, &target, path, &host).await
        }
        Destination::Elsewhere { host, .. } if mesh_only => Err(tunnel::not_passed_on(&host)),
        Destination::Elsewhere { .. } => {
            headers::of_request(request.headers_mut());
            request.headers_mut().insert(HOST, header(&host)?);
            *request.version_mut() = Version::HTTP_11;
            let response = front.upstream.elsewhere(&host, request).await?;
            Ok(passed_back(response, None))
        }
    }
}

/// A path of the gateway's own.
async fn route(
    front: &Front,
    request: Request<Incoming>,
    authority: Option<&Authority>,
) -> Result<Response<Body>, ApiError> {
    guard::own(&front.names, authority, request.headers())?;
    let asked = request.uri().path_and_query().cloned();
    let route = Route::of(asked.as_ref().map_or("", PathAndQuery::as_str))?;
    let rest = if route.rest.starts_with('/') { route.rest } else { &format!("/{}", route.rest) };
    let path = rest.parse().map_err(|_| ApiError::new(Code::Usage, "the path is malformed"))?;
    let host = route.target.authority();
    let mut response = forward(front, request, &route.target, Some(path), &host).await?;
    headers::localise(response.headers_mut(), route.prefix, &route.target);
    Ok(response)
}

/// Sends a request to a peer's service and passes the answer back, switched protocols included.
async fn forward(
    front: &Front,
    mut request: Request<Incoming>,
    target: &Target,
    path: Option<PathAndQuery>,
    host: &str,
) -> Result<Response<Body>, ApiError> {
    let mut uri = hyper::http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = target.authority().parse().ok();
    uri.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    let uri = Uri::from_parts(uri)
        .map_err(|why| ApiError::new(Code::Usage, "the URL is malformed").why(why.to_string()))?;
    let wanted = headers::of_request(request.headers_mut());
    let near = wanted.map(|_| hyper::upgrade::on(&mut request));
    *request.uri_mut() = uri;
    if request.version() != Version::HTTP_2 {
        request.headers_mut().insert(HOST, header(host)?);
        *request.version_mut() = Version::HTTP_11;
    }
    let response = front.upstream.to_peer(target, request).await?;
    Ok(passed_back(response, near))
}

/// An answer for the program; with `near`, the connection may switch protocols.
fn passed_back(
    mut response: Response<Incoming>,
    near: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Body> {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    headers::of_response(response.headers_mut(), switches);
    if let (true, Some(near)) = (switches, near) {
        let far = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                tunnel::carry(TokioIo::new(near), TokioIo::new(far)).await;
            }
        });
    }
    response.map(Either::Left)
}

/// Whether only peers may be reached: always, or as this program's proxy URL says.
fn mesh_only(front: &Front, headers: &HeaderMap) -> bool {
    let user = headers.get(PROXY_AUTHORIZATION).and_then(|value| {
        let credentials = value.to_str().ok()?.strip_prefix("Basic ")?;
        let credentials = BASE64.decode(credentials.trim().as_bytes()).ok()?;
        Some(credentials.split(|byte| *byte == b':').next()? == MESH_ONLY_USER.as_bytes())
    });
    front.settings.mesh_only || user == Some(true)
}

fn without_user(authority: &Authority) -> String {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned()
}

fn header(text: &str) -> Result<HeaderValue, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::Usage, "the host is malformed"))
}

fn no_port() -> ApiError {
    ApiError::new(Code::Usage, "CONNECT names no host and port")
}

fn empty() -> Body {
    Either::Right(Full::new(Bytes::new()))
}
