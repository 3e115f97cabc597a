//! `find`: the own registry, or an index of what the agent knows made for the moment, and every
//! registry that is configured or trusted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homing_api::find::{Asked, FindRequest, Found, FoundAgent};
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::Wall;
use homing_registry::cards::{Fetcher, FetcherConfig};
use homing_registry::http::{Registry, Settings};
use homing_registry::storage::SqliteStorage;
use serde_json::{Value, json};

use crate::node::Node;
use crate::registry_role::{self, NodeNetwork};

/// How long registries may take, unless asked otherwise.
const PATIENCE: Duration = Duration::from_millis(2_000);

impl Node {
    /// Agents by words, tags, skills and protocols.
    ///
    /// # Errors
    /// `usage` for a query out of bounds; `internal` when the index fails.
    pub async fn find(&self, request: &FindRequest) -> Result<Found, ApiError> {
        let role = self.shared.registry.as_ref().and_then(|role| role.registry().cloned());
        // Removed when the search is over.
        let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
        let registry = match role {
            Some(registry) => registry,
            None => self.index_of_the_moment(dir.path()).await?,
        };
        let body = json!({
            "query": request.query, "tags": request.tags, "skills": request.skills,
            "protocols": request.protocols, "max_results": request.limit.unwrap_or(20),
            "timeout_ms": request.timeout_ms.unwrap_or(PATIENCE.as_millis() as u64),
            "federated": true,
        });
        let answer = registry.search(body).await?;
        found(&answer).ok_or_else(|| {
            ApiError::new(Code::Internal, "the search answered something unexpected")
        })
    }

    /// Everything the agent knows, in files that last as long as the search.
    async fn index_of_the_moment(&self, dir: &Path) -> Result<Registry, ApiError> {
        let storage = SqliteStorage::open(dir.join("index.db")).map_err(|e| failed(&e))?;
        let network = Arc::new(NodeNetwork::of(self));
        let cards = Fetcher::new(FetcherConfig::default());
        let settings =
            Settings { peers: self.shared.config.registry.peers.clone(), ..Settings::default() };
        let registry = Registry::new(Arc::new(storage), network, cards, settings);
        registry.index(registry_role::known(self).await).await;
        Ok(registry)
    }
}

fn failed(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(Code::Internal, "the search index failed").why(error.to_string())
}

fn found(answer: &Value) -> Option<Found> {
    let hits = answer["hits"].as_array()?.iter().map(hit).collect::<Option<Vec<_>>>()?;
    let asked = answer["peers"].as_array()?.iter().map(asked).collect::<Option<Vec<_>>>()?;
    Some(Found { schema: Schema::new(), hits, partial: answer["partial"].as_bool()?, asked })
}

fn hit(hit: &Value) -> Option<FoundAgent> {
    let entity = &hit["entity"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(text).collect()
    };
    let matched = hit["score"]["matched"].as_array().into_iter().flatten();
    Some(FoundAgent {
        node_id: entity["node_id"].as_str()?.parse().ok()?,
        address: entity["address"].as_str()?.parse().ok()?,
        name: entity["name"].as_str().and_then(|name| name.parse().ok()),
        title: text(&entity["title"]),
        summary: text(&entity["summary"]),
        tags: words(&entity["tags"]),
        skills: entity["skills"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| text(&s["name"]))
            .collect(),
        protocols: words(&entity["protocols"]),
        score: hit["score"]["total"].as_f64()?,
        matched: matched
            .map(|m| format!("{} in {}", text(&m["word"]), text(&m["field"])))
            .collect(),
        origin: text(&hit["origin"]),
        expires: Stamp(entity["expires"].as_str()?.parse::<Wall>().ok()?),
    })
}

fn asked(peer: &Value) -> Option<Asked> {
    Some(Asked {
        peer: peer["peer"].as_str()?.to_owned(),
        state: peer["state"].as_str()?.to_owned(),
        elapsed_ms: peer["elapsed_ms"].as_u64()?,
        why: peer["why"].as_str().map(str::to_owned),
    })
}
