//! The sender's side: the service `files`.
//!
//! A peer gets what was sent to it and nothing else; the path is the sender's own word, never the peer's.

use std::io::SeekFrom;
use std::sync::Arc;

use homing_api::streams::Protocol;
use homing_base::{MessageId, NodeId, Service};
use homing_core::io::{FileOffer, FileSource, MessageKind};
use homing_core::messages::wire::file_offer;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{
    ANSWER_BYTES, ANSWER_CHANGED, ANSWER_UNKNOWN, CHUNK_BYTES, REQUEST_BYTES, SERVED_MAX,
    SERVED_PER_PEER, SILENCE_MAX, modified_ns,
};
use crate::node::Node;
use crate::shares::Shares;
use crate::streams::Stream;

impl Node {
    /// Serves files until the node stops.
    pub(crate) async fn serve_files(self) {
        let service = Service::FILES.parse().expect("a service name");
        let mut listener = match self.shared.streams.listen_built_in(service, Protocol::Bytes) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "files are not served"),
        };
        let slots = Arc::new(tokio::sync::Semaphore::new(SERVED_MAX));
        let shares = Shares::of(SERVED_PER_PEER);
        while let Some(stream) = listener.accept().await {
            // What it asks beyond its share ends at once; it asks again later.
            let Some(share) = shares.take(stream.peer()) else { continue };
            let slot = slots.clone().acquire_owned().await.expect("never closed");
            let node = self.clone();
            tokio::spawn(async move {
                let peer = stream.peer().fmt_short();
                if let Err(error) = serve(&node, stream).await {
                    debug!(%peer, %error, "a file was not fetched whole");
                }
                drop((slot, share));
            });
        }
    }

    /// A file that was sent to this peer and has not been fetched whole.
    async fn sent_file(&self, to: NodeId, id: MessageId) -> Option<(FileOffer, FileSource)> {
        let look = move |agent: &homing_core::Agent| {
            let (message, _) = agent.outgoing(id).filter(|(message, _)| message.to == to)?;
            let offer = file_offer(&message.parcel.body);
            let is_file = message.parcel.kind == MessageKind::File;
            offer.filter(|_| is_file).zip(message.source.clone())
        };
        self.query(look).await.ok()?
    }
}

async fn serve(node: &Node, mut stream: Stream) -> std::io::Result<()> {
    let mut request = [0; REQUEST_BYTES];
    timeout(SILENCE_MAX, stream.read_exact(&mut request)).await??;
    let (id, offset) = request.split_at(16);
    let id = MessageId(id.try_into().expect("16 bytes"));
    let offset = u64::from_be_bytes(offset.try_into().expect("8 bytes"));
    let Some((offer, source)) = node.sent_file(stream.peer(), id).await else {
        return answer(stream, ANSWER_UNKNOWN).await;
    };
    let Some(mut file) = unchanged(&offer, &source).await.filter(|_| offset <= offer.size) else {
        info!(peer = %stream.peer().fmt_short(), "a file that was offered has changed");
        return answer(stream, ANSWER_CHANGED).await;
    };
    file.seek(SeekFrom::Start(offset)).await?;
    stream.write_all(&[ANSWER_BYTES]).await?;
    let mut at = offset;
    let mut buffer = vec![0; CHUNK_BYTES];
    while at < offer.size {
        let most = usize::try_from(offer.size - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = file.read(&mut buffer[..most]).await?;
        if read == 0 {
            break;
        }
        timeout(SILENCE_MAX, stream.write_all(&buffer[..read])).await??;
        at += read as u64;
        node.shared.mailroom.note_fetched(id, at);
    }
    finish(stream).await
}

async fn answer(mut stream: Stream, what: u8) -> std::io::Result<()> {
    stream.write_all(&[what]).await?;
    finish(stream).await
}

/// Ends our half, and waits until the peer has it all.
async fn finish(mut stream: Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    timeout(SILENCE_MAX, stream.send.stopped()).await.ok();
    Ok(())
}

/// The file, if it is the one that was offered as far as size and time tell; the receiver checks the rest.
async fn unchanged(offer: &FileOffer, source: &FileSource) -> Option<File> {
    let file = File::open(&source.path).await.ok()?;
    let metadata = file.metadata().await.ok()?;
    let same = metadata.len() == offer.size && modified_ns(&metadata) == source.modified_ns;
    (same && metadata.is_file()).then_some(file)
}
