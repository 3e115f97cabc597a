//! `/docs`: a page that shows `/openapi.json` to people. One HTML file, one script, one style sheet, all from here: nothing
//! is loaded from elsewhere and no script stands inline, so that the content security policy can say so.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::problem::Refusal;
use super::request::{Nothing, Params};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn asset(media: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /docs`.
pub(super) async fn html(_: Params<Nothing>) -> Result<Response, Refusal> {
    Ok(asset("text/html; charset=utf-8", include_str!("page/docs.html")))
}

/// `GET /docs/docs.js`.
pub(super) async fn script(_: Params<Nothing>) -> Result<Response, Refusal> {
    Ok(asset("text/javascript; charset=utf-8", include_str!("page/docs.js")))
}

/// `GET /docs/docs.css`.
pub(super) async fn style(_: Params<Nothing>) -> Result<Response, Refusal> {
    Ok(asset("text/css; charset=utf-8", include_str!("page/docs.css")))
}
