//! Content: `content`, `fetch`.

use homing_api::agent::Done;
use homing_api::content::{
    AddContentRequest, AddedContent, ContentList, FetchProgress, FetchRequest, Fetched,
    RemoveContentRequest,
};
use homing_api::peers::PeerSummary;
use homing_api::references::ResolveReference;
use homing_api::{ApiError, Code, Schema};
use homing_base::{ContentId, NodeId};

use crate::content::Wanted;
use crate::node::Node;

/// How long a reference may take to be resolved.
const RESOLVE_MS: u64 = 10_000;

impl Node {
    /// Keeps a copy of a file and serves it to trusted peers.
    ///
    /// # Errors
    /// `usage` when it is no file of its own, `limit_reached` or `disk_full` when there is no room.
    pub async fn add_content(&self, request: AddContentRequest) -> Result<AddedContent, ApiError> {
        let (cid, size_bytes, changed) = self.keep_content(request.path).await?;
        Ok(AddedContent { schema: Schema::new(), cid, size_bytes, changed })
    }

    /// What is kept, whole or in part.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn content(&self) -> Result<ContentList, ApiError> {
        self.kept_content().await
    }

    /// Keeps and serves it no longer.
    ///
    /// # Errors
    /// `already_exists` while it is being fetched.
    pub async fn remove_content(&self, request: RemoveContentRequest) -> Result<Done, ApiError> {
        let changed = self.drop_content(request.cid).await?;
        Ok(Done { schema: Schema::new(), changed })
    }

    /// The CID that a text means: itself, or what a reference points to now; and who is likely to have it.
    ///
    /// # Errors
    /// `usage` when it names none; `not_found`, `expired` or `withdrawn` about the reference.
    pub(crate) async fn content_meant(
        &self,
        what: &str,
    ) -> Result<(ContentId, Vec<String>), ApiError> {
        if what.starts_with('b')
            && let Ok(cid) = what.parse::<homing_base::Cid>()
        {
            return Ok((content_id(what, &cid)?, Vec::new()));
        }
        let request = ResolveReference { reference: what.to_owned(), timeout_ms: RESOLVE_MS };
        let found = self.resolve_reference(request).await?;
        let not_content = |why: &str| {
            ApiError::new(Code::Usage, format!("{what} points to {}", found.value)).why(why)
        };
        let text = found.value.strip_prefix("/ipfs/").unwrap_or(&found.value);
        let cid: homing_base::Cid =
            text.parse().map_err(|_| not_content("that is no CID of content"))?;
        let peers = found.owner.iter().chain(&found.peers);
        Ok((content_id(what, &cid)?, peers.map(|peer| peer.node_id.to_string()).collect()))
    }

    /// Gets content from whoever has it, verified; what has arrived of it stays when this is dropped.
    ///
    /// # Errors
    /// `not_found` when nobody has it, `content_invalid` when a peer sent something else and nobody has it,
    /// `limit_reached`, `disk_full`, `peer_offline` and why peers refused.
    pub async fn fetch(&self, request: FetchRequest) -> Result<Fetched, ApiError> {
        let begun = self.shared.clock.mono();
        let (cid, likely) = self.content_meant(&request.what).await?;
        let from = [request.from, likely].concat();
        let wanted = Wanted { cid, from, size_max: request.max_size_bytes };
        let done = self.fetch_content(wanted).await?;
        let elapsed = self.shared.clock.mono().since(begun);
        Ok(Fetched {
            schema: Schema::new(),
            cid,
            size_bytes: done.size,
            path: self.content_path(cid).to_string_lossy().into_owned(),
            fetched_bytes: done.fetched,
            from: self.summaries(&done.from).await?,
            blamed: self.summaries(&done.blamed).await?,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            changed: done.fetched > 0,
        })
    }

    /// How far the fetch of `cid` is.
    ///
    /// # Errors
    /// When the agent has ended.
    pub(crate) async fn progress_of(&self, cid: ContentId) -> Result<FetchProgress, ApiError> {
        let progress = self.fetch_progress(cid);
        let from = match progress.from {
            Some(peer) => Some(self.summary(peer).await?),
            None => None,
        };
        let (received_bytes, size_bytes) = (progress.received, progress.size);
        Ok(FetchProgress { schema: Schema::new(), cid, received_bytes, size_bytes, from })
    }

    async fn summaries(&self, peers: &[NodeId]) -> Result<Vec<PeerSummary>, ApiError> {
        let mut summaries = Vec::new();
        for peer in peers {
            summaries.push(self.summary(*peer).await?);
        }
        Ok(summaries)
    }
}

/// Of a CID, whether content may have it.
fn content_id(what: &str, cid: &homing_base::Cid) -> Result<ContentId, ApiError> {
    ContentId::try_from(cid).map_err(|e| {
        ApiError::new(Code::Usage, format!("{what} cannot be fetched")).why(e.to_string())
    })
}
