//! What a word may mean as the subject of an entry. The log holds node IDs and IPNS names; people say names, which a running daemon
//! knows.

use homing_api::{ApiError, Client, Code};

use crate::session::Session;

/// The beginnings of subjects that `text` may mean: itself, and what it names here.
pub(super) async fn of(session: &Session, text: &str) -> Result<Vec<String>, ApiError> {
    let mut subjects = vec![text.to_owned()];
    match named(session.client()?, text).await {
        Ok(named) => subjects.extend(named),
        Err(error) if error.code == Code::DaemonNotRunning => {}
        Err(error) => return Err(error),
    }
    Ok(subjects)
}

/// Whether a subject begins with one of them.
pub(super) fn holds(subjects: &[String], subject: &str) -> bool {
    subjects.iter().any(|begin| subject.starts_with(begin.as_str()))
}

async fn named(client: &Client, text: &str) -> Result<Vec<String>, ApiError> {
    let mut found = Vec::new();
    let own = client.info().await?;
    if own.name.as_ref().is_some_and(|name| name.as_str() == text) {
        found.push(own.node_id.to_string());
    }
    let peers = client.trust_list().await?.entries.into_iter().map(|entry| entry.peer);
    let meant = peers.filter(|peer| peer.name.as_ref().is_some_and(|name| name.as_str() == text));
    found.extend(meant.map(|peer| peer.node_id.to_string()));
    let references = client.references().await?.references;
    let meant = references.into_iter().filter(|r| r.own && r.reference == text);
    found.extend(meant.filter_map(|reference| reference.ipns));
    Ok(found)
}
