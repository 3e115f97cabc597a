//! JSON-RPC over HTTP, one call at a time. Only what this crate asks: Ethereum Execution APIs, EIP-1474.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::limits::RPC_ANSWER_BYTES_MAX;
use crate::{AnchorError, http};

/// A chain node at one URL.
#[derive(Debug)]
pub(crate) struct Rpc {
    client: Client,
    url: Url,
    next: AtomicU64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    message: String,
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Result<Self, AnchorError> {
        Ok(Self { client: http::client()?, url: http::address(url)?, next: AtomicU64::new(1) })
    }

    /// One call. `null` is a value: decode into an `Option` where it may come.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, AnchorError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = self.client.post(self.url.clone()).json(&body);
        let (good, bytes) = http::exchange(&self.url, request, RPC_ANSWER_BYTES_MAX).await?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| match good {
            true => self.away(method, &e.to_string()),
            false => self.away(method, "an HTTP error"),
        })?;
        if let Some(fault) = answer.error {
            let reason = http::brief(&format!("{method}: {}", fault.message));
            return Err(AnchorError::Refused { service: http::shown(&self.url), reason });
        }
        serde_json::from_value(answer.result).map_err(|e| self.away(method, &e.to_string()))
    }

    /// An answer that is none.
    pub(crate) fn away(&self, method: &str, reason: &str) -> AnchorError {
        let reason = http::brief(&format!("{method}: {reason}"));
        AnchorError::Away { service: http::shown(&self.url), reason }
    }
}
