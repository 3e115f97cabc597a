//! One bounded HTTP request. TLS is rustls with ring and the Mozilla roots; no redirects, no proxy, no cookies.

use std::time::Duration;

use homing_base::with_causes;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::AnchorError;
use crate::limits::{REASON_CHARS_MAX, REQUEST_TIME_MAX};

/// A client for one service.
pub(crate) fn client() -> Result<Client, AnchorError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| AnchorError::Setting(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .timeout(REQUEST_TIME_MAX)
        .connect_timeout(REQUEST_TIME_MAX / 3)
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|e| AnchorError::Setting(e.to_string()))
}

/// An `http` or `https` URL.
pub(crate) fn address(text: &str) -> Result<Url, AnchorError> {
    let url =
        Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    // The text is not repeated: node URLs often carry a secret.
    url.ok_or_else(|| AnchorError::Setting("the anchor's URL is no http:// or https:// URL".into()))
}

/// Host and port: what may be shown of a URL.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The body of the answer, whatever its status, at most `bytes_max` long; and whether the status was a success.
pub(crate) async fn exchange(
    service: &Url,
    request: RequestBuilder,
    bytes_max: usize,
) -> Result<(bool, Vec<u8>), AnchorError> {
    let away =
        |reason: String| AnchorError::Away { service: shown(service), reason: brief(&reason) };
    let failed = |e: reqwest::Error| away(with_causes(&e.without_url()));
    let mut answer = request.send().await.map_err(failed)?;
    let good = answer.status().is_success();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(away(format!("its answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((good, body))
}

/// A service's words, on one line and not too many.
pub(crate) fn brief(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(REASON_CHARS_MAX).collect()
}
