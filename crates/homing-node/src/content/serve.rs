//! The holder's side: the service `content`.
//!
//! The core has asked trust and scope before a byte arrives here, and closes the connection when trust ends. What does not
//! hash to its name any more is not sent: the stream breaks before the group that is wrong, and the file counts as partial.

use std::io::{self, ErrorKind, Write};

use bao_tree::io::EncodeError;
use homing_api::streams::Protocol;
use homing_base::{ContentId, Service};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::limits::{SERVED_PER_PEER, SILENCE_MAX};
use super::pipe::{PipeWriter, pipe};
use super::tree::{Tree, groups};
use super::wire::{BUSY, NOT_HERE, Reply, Request, read_frame, write_frame};
use crate::node::Node;
use crate::shares::Shares;
use crate::streams::Stream;

impl Node {
    /// Serves content until the node stops.
    pub(crate) async fn serve_content(self) {
        let service = Service::CONTENT.parse().expect("a service name");
        let mut listener = match self.shared.streams.listen_built_in(service, Protocol::Bytes) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "content is not served"),
        };
        let slots = self.shared.content.serving.clone();
        let shares = Shares::of(SERVED_PER_PEER);
        while let Some(mut stream) = listener.accept().await {
            let place = shares.take(stream.peer()).zip(slots.clone().try_acquire_owned().ok());
            let node = self.clone();
            tokio::spawn(async move {
                let (peer, severed) = (stream.peer().fmt_short(), stream.severed());
                let served = tokio::select! {
                    served = serve(&node, &mut stream, place.is_some()) => served,
                    () = severed => Err(io::Error::other("trust has ended")),
                };
                if let Err(error) = served {
                    debug!(%peer, %error, "content was not served whole");
                    stream.abort();
                }
                drop(place);
            });
        }
    }
}

async fn serve(node: &Node, stream: &mut Stream, has_place: bool) -> io::Result<()> {
    let frame = timeout(SILENCE_MAX, read_frame(stream)).await??;
    let request = Request::decode(&frame.unwrap_or_default()).map_err(io::Error::other)?;
    let whole = match has_place {
        true => {
            let (content, cid) = (node.shared.content.clone(), request.cid);
            super::blocking(move || content.store.whole(cid)).await?
        }
        false => {
            node.shared.content.counts.busy.add(1);
            return refuse(stream, BUSY).await;
        }
    };
    let Some(tree) = whole else { return refuse(stream, NOT_HERE).await };
    let size = tree.pairs.tree.size();
    let wanted = request.wanted(groups(size));
    let wanted = wanted.ok_or_else(|| io::Error::other("it asks for what cannot be"))?;
    write_frame(stream, &Reply::yes(size)).await?;
    node.shared.content.counts.served.add(1);
    send(node, stream, request.cid, tree, wanted).await?;
    finish(stream).await
}

async fn refuse(stream: &mut Stream, why: u32) -> io::Result<()> {
    write_frame(stream, &Reply::no(why)).await?;
    finish(stream).await
}

/// Sends groups and their proofs: one thread hashes what the task sends.
async fn send(
    node: &Node,
    stream: &mut Stream,
    cid: ContentId,
    tree: Tree,
    wanted: Vec<(u64, u64)>,
) -> io::Result<()> {
    let (pieces, mut made) = pipe();
    let encoding = tokio::task::spawn_blocking(move || {
        let mut to = PipeWriter::new(pieces);
        let encoded = tree.encode(&wanted, &mut to);
        encoded.and_then(|()| to.flush().map_err(EncodeError::Io))
    });
    while let Some(piece) = made.recv().await {
        let bytes = piece.len() as u64;
        timeout(SILENCE_MAX, stream.write_piece(piece)).await??;
        node.shared.content.counts.served_bytes.add(bytes);
    }
    match encoding.await.map_err(io::Error::other)? {
        Ok(()) => Ok(()),
        Err(error) => {
            if is_damage(&error) {
                super::on_damaged(node, cid).await;
            }
            Err(error.into())
        }
    }
}

/// Whether what is on the disk is not what its name says.
fn is_damage(error: &EncodeError) -> bool {
    match error {
        EncodeError::ParentHashMismatch(_) | EncodeError::LeafHashMismatch(_) => true,
        EncodeError::Io(e) => e.kind() == ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// Ends our half, and waits until the peer has it all.
async fn finish(stream: &mut Stream) -> io::Result<()> {
    stream.shutdown().await?;
    timeout(SILENCE_MAX, stream.send.stopped()).await.ok();
    Ok(())
}
