//! The fetcher's side: one holder after another, until every group is here.
//!
//! ```text
//! holders: those named, then trusted peers, connected ones first
//!   ask ─► the last group (proves the size) ─► limit, room ─► what is missing ─► name it
//!    │ not here, not trusted, lied: never again      │ broke: what came stays, the next holder goes on
//! ```
//! Nothing is written that its proof does not cover, so who gave it does not matter afterwards. While bytes have come,
//! holders are tried again for [`PATIENCE`]; a fetch that nobody can begin ends at once.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bao_tree::io::sync::{DecodeResponseIter, OutboardMut};
use bao_tree::io::{BaoContentItem, DecodeError};
use bytes::BytesMut;
use homing_api::{ApiError, Code};
use homing_base::{ContentId, NodeId, Service};
use homing_core::io::TrustState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::limits::{
    AGAIN_MAX, CONNECT_TIMEOUT, HOLDERS_MAX, PACE_BYTES, PACE_TIME, PATIENCE, PIECE_BYTES,
    RANGES_MAX, STALL_MAX,
};
use super::pipe::{PipeReader, pipe};
use super::store::{Partial, failed};
use super::tree::{GROUP_BYTES, bytes_in, geometry, groups, last_group, ranges};
use super::wire::{BUSY, NOT_HERE, Reply, Request, read_frame, write_frame};
use super::{Content, blocking};
use crate::clock::Clock;
use crate::node::Node;
use crate::streams::Stream;

/// What somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) cid: ContentId,
    /// Asked before all others.
    pub(crate) from: Vec<String>,
    pub(crate) size_max: Option<u64>,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) received: u64,
    /// 0: not proven yet.
    pub(crate) size: u64,
    pub(crate) from: Option<NodeId>,
}

/// How a fetch ended well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) size: u64,
    /// Bytes that came from peers.
    pub(crate) fetched: u64,
    pub(crate) from: Vec<NodeId>,
    /// Who sent what is not this content.
    pub(crate) blamed: Vec<NodeId>,
}

/// One content on its way; who wants the same waits and finds it here.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) gate: tokio::sync::Mutex<()>,
    progress: Mutex<Progress>,
}

/// Why a holder did not give it.
enum Miss {
    /// It will not help to ask this one again.
    Never(Code, String),
    /// It sent what is not this content.
    Lied(String),
    /// It may go on later.
    Broke(String),
    /// It will not help to ask anybody.
    Over(ApiError),
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        Miss::Broke(error.to_string())
    }
}

impl Content {
    pub(super) fn flight(&self, cid: ContentId) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        flights.entry(cid).or_default().clone()
    }
}

impl Flight {
    fn set(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A fetch under way, and the part of its state that others may look at.
struct Fetch<'a> {
    node: &'a Node,
    flight: Arc<Flight>,
    wanted: Wanted,
    partial: Option<Partial>,
    done: Done,
}

impl Node {
    /// How far the fetch of `cid` is.
    pub(crate) fn fetch_progress(&self, cid: ContentId) -> Progress {
        *self.shared.content.flight(cid).progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes content whole here, and verifies it. Ends when the caller is gone; what has arrived stays.
    ///
    /// # Errors
    /// `not_found` when nobody has it, `content_invalid` when somebody lied and nobody else has it, `limit_reached`,
    /// `disk_full`, and why the holders could not be asked.
    pub(crate) async fn fetch_content(&self, wanted: Wanted) -> Result<Done, ApiError> {
        let content = &self.shared.content;
        let flight = content.flight(wanted.cid);
        let _gate = flight.gate.lock().await;
        let _place = content.fetching.acquire().await.expect("never closed");
        flight.set(|progress| *progress = Progress::default());
        let mut fetch = Fetch {
            node: self,
            flight: flight.clone(),
            wanted,
            partial: None,
            done: Done::default(),
        };
        if let Some(size) = fetch.here().await? {
            fetch.check_size(size)?;
            return Ok(Done { size, ..fetch.done });
        }
        let asked = fetch.ask_holders().await;
        let counts = &content.counts;
        counts.fetched_bytes.add(fetch.done.fetched);
        counts.blamed.add(fetch.done.blamed.len() as u64);
        if asked.is_ok() { &counts.fetched } else { &counts.failed }.add(1);
        asked.map(|()| fetch.done)
    }

    /// Who may have content: those named, then trusted peers, connected ones first.
    async fn holders(&self, named: &[String]) -> Result<Vec<String>, ApiError> {
        let now = self.shared.clock.now();
        let mut peers = self.query(move |agent| agent.peers(now)).await?;
        peers.retain(|peer| peer.trust.state == TrustState::Mutual);
        peers.sort_by_key(|peer| (peer.links.is_empty(), std::cmp::Reverse(peer.last_seen)));
        let mut holders = Vec::new();
        for text in named {
            let is_meant = |label: &Option<homing_base::Name>| {
                label.as_ref().is_some_and(|label| label.as_str() == text)
            };
            let known = peers.iter().find(|p| is_meant(&p.alias) || is_meant(&p.name));
            holders.push(known.map_or(text.clone(), |peer| peer.node_id.to_string()));
        }
        holders.extend(peers.iter().map(|peer| peer.node_id.to_string()));
        let mut seen = std::collections::BTreeSet::new();
        holders.retain(|holder| seen.insert(holder.clone()));
        holders.truncate(HOLDERS_MAX);
        Ok(holders)
    }
}

impl Fetch<'_> {
    /// The size, when all of it is here; what is damaged is set aside and fetched anew.
    async fn here(&self) -> Result<Option<u64>, ApiError> {
        let (content, cid) = (self.node.shared.content.clone(), self.wanted.cid);
        let looked = blocking(move || match content.store.whole(cid)? {
            Some(tree) => Ok(Some((tree.pairs.tree.size(), tree.missing()?.is_empty()))),
            None => Ok(None),
        });
        match looked.await.map_err(|e| failed("the content cannot be read", &e))? {
            Some((size, true)) => Ok(Some(size)),
            Some((_, false)) => {
                super::on_damaged(self.node, cid).await;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    async fn ask_holders(&mut self) -> Result<(), ApiError> {
        let mut holders = self.node.holders(&self.wanted.from).await?;
        let mut notes: BTreeMap<String, Miss> = BTreeMap::new();
        let clock = self.node.shared.clock;
        let (mut last_byte, mut wait) = (clock.mono(), Duration::from_millis(250));
        loop {
            let before = self.done.fetched;
            for holder in std::mem::take(&mut holders) {
                match self.ask(&holder).await {
                    Ok(()) => return Ok(()),
                    Err(Miss::Over(error)) => return Err(error),
                    Err(miss) => {
                        if matches!(miss, Miss::Broke(_)) {
                            holders.push(holder.clone());
                        }
                        notes.insert(holder, miss);
                    }
                }
            }
            if self.done.fetched > before {
                (last_byte, wait) = (clock.mono(), Duration::from_millis(250));
            }
            let waits = self.done.fetched > 0 && clock.mono().since(last_byte) < PATIENCE;
            if holders.is_empty() || !waits {
                return Err(self.nobody(&notes).await);
            }
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(AGAIN_MAX);
        }
    }

    /// Gets everything that is missing from one holder.
    async fn ask(&mut self, holder: &str) -> Result<(), Miss> {
        self.node.shared.content.counts.asked.add(1);
        let (mut stream, size) =
            self.open(holder, &Request { cid: self.wanted.cid, groups: None }).await?;
        let peer = stream.peer();
        self.flight.set(|progress| progress.from = Some(peer));
        let asked = self.take(holder, &mut stream, size).await;
        if let Err(Miss::Lied(why)) = &asked {
            warn!(peer = %peer.fmt_short(), cid = %self.wanted.cid, why, "a peer sent what is not this content");
            self.done.blamed.push(peer);
        }
        asked
    }

    async fn take(&mut self, holder: &str, stream: &mut Stream, size: u64) -> Result<(), Miss> {
        let cid = self.wanted.cid;
        let last = last_group(size);
        let items = Arc::new(Mutex::new(Vec::new()));
        let kept = items.clone();
        let keep = move |item| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(item);
            Ok(())
        };
        receive(self.node.shared.clock, stream, (cid, size), &last, keep).await?;
        // From here on the size is proven.
        let items = std::mem::take(&mut *items.lock().unwrap_or_else(PoisonError::into_inner));
        let peer = stream.peer();
        self.begin(peer, size, items).await.map_err(Miss::Over)?;
        while let Some(wanted) = self.next_ranges() {
            let (mut stream, again) = self.open(holder, &Request::new(cid, &wanted)).await?;
            if again != size {
                return Err(Miss::Lied("it says another size than it had proven".into()));
            }
            self.groups(&mut stream, peer, &wanted).await?;
        }
        let Some(partial) = self.partial.take() else { return Ok(()) };
        let content = self.node.shared.content.clone();
        let settled = tokio::task::spawn_blocking(move || content.store.settle(cid, &partial.tree));
        settled.await.map_err(|e| Miss::Over(super::lost(&e)))?.map_err(Miss::Over)?;
        self.node.note_damage(cid, false);
        Ok(())
    }

    /// Takes room for content of a proven size, and notes its last group.
    async fn begin(
        &mut self,
        peer: NodeId,
        size: u64,
        items: Vec<BaoContentItem>,
    ) -> Result<(), ApiError> {
        if self.partial.is_some() {
            return Ok(());
        }
        self.check_size(size)?;
        self.done.size = size;
        let (content, cid) = (self.node.shared.content.clone(), self.wanted.cid);
        let opened = tokio::task::spawn_blocking(move || content.store.partial(cid, size)).await;
        let mut partial = opened.map_err(|e| super::lost(&e))??;
        let mut sink = partial.sink().map_err(|e| failed("the content cannot be kept", &e))?;
        for item in items {
            sink(item).map_err(|e| failed("the content cannot be kept", &e))?;
        }
        let last = groups(size) - 1;
        if partial.missing.last().is_some_and(|(_, to)| *to > last) {
            self.done.fetched += bytes_in(&last_group(size), size);
            self.done.from.push(peer);
            let range = partial.missing.last_mut().expect("just seen");
            range.1 = last;
            partial.missing.retain(|(from, to)| from < to);
        }
        let received = size - bytes_in(&partial.missing, size);
        self.flight.set(|progress| (progress.size, progress.received) = (size, received));
        self.partial = Some(partial);
        Ok(())
    }

    fn next_ranges(&self) -> Option<Vec<(u64, u64)>> {
        let missing = &self.partial.as_ref()?.missing;
        (!missing.is_empty()).then(|| missing.iter().take(RANGES_MAX).copied().collect())
    }

    /// Gets some groups, and notes how far it came even if it breaks.
    async fn groups(
        &mut self,
        stream: &mut Stream,
        peer: NodeId,
        wanted: &[(u64, u64)],
    ) -> Result<(), Miss> {
        let partial = self.partial.as_mut().expect("begun");
        let size = self.done.size;
        let mut write = partial.sink()?;
        let reached = Arc::new(AtomicU64::new(0));
        let (noted, flight) = (reached.clone(), self.flight.clone());
        let keep = move |item: BaoContentItem| {
            let leaf = match &item {
                BaoContentItem::Leaf(leaf) => Some((leaf.offset, leaf.data.len() as u64)),
                BaoContentItem::Parent(_) => None,
            };
            write(item)?;
            if let Some((offset, bytes)) = leaf {
                noted.store(offset / GROUP_BYTES + 1, Ordering::Release);
                flight.set(|progress| progress.received += bytes);
            }
            Ok(())
        };
        let (clock, content) = (self.node.shared.clock, (self.wanted.cid, size));
        let came = receive(clock, stream, content, wanted, keep).await;
        let before = bytes_in(&partial.missing, size);
        let reached = reached.load(Ordering::Acquire);
        partial.missing.iter_mut().for_each(|range| range.0 = range.0.max(reached));
        partial.missing.retain(|(from, to)| from < to);
        let fetched = before - bytes_in(&partial.missing, size);
        self.done.fetched += fetched;
        if fetched > 0 && self.done.from.last() != Some(&peer) {
            self.done.from.push(peer);
        }
        came
    }

    /// A stream on which the holder has said yes, and the size it claims.
    async fn open(&self, holder: &str, request: &Request) -> Result<(Stream, u64), Miss> {
        let service: Service = Service::CONTENT.parse().expect("a service name");
        let connected = self.node.connect(holder, &service, CONNECT_TIMEOUT).await;
        let mut stream = connected.map_err(|error| match error.retryable {
            true => Miss::Broke(error.message),
            false => Miss::Never(error.code, error.message),
        })?;
        let said = async {
            write_frame(&mut stream, request).await?;
            stream.shutdown().await
        };
        timeout(STALL_MAX, said).await.map_err(io::Error::from)??;
        let frame =
            timeout(STALL_MAX, read_frame(&mut stream)).await.map_err(io::Error::from)??;
        let reply = Reply::decode(&frame.unwrap_or_default()).ok().and_then(Reply::outcome);
        match reply {
            Some(Ok(size)) => Ok((stream, size)),
            Some(Err(NOT_HERE)) => Err(Miss::Never(Code::NotFound, "it does not have it".into())),
            Some(Err(BUSY)) => Err(Miss::Broke("it serves as many as it can".into())),
            Some(Err(other)) => Err(Miss::Broke(format!("it refused with {other}"))),
            None => Err(Miss::Broke("its answer makes no sense".into())),
        }
    }

    fn check_size(&self, size: u64) -> Result<(), ApiError> {
        match self.wanted.size_max {
            Some(max) if size > max => {
                Err(ApiError::new(Code::LimitReached, format!("{} is too large", self.wanted.cid))
                    .why(format!("it has {size} bytes, at most {max} were wanted"))
                    .hint("allow more with --max-size"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody gave it: the reason that says most, and what each one said.
    async fn nobody(&self, notes: &BTreeMap<String, Miss>) -> ApiError {
        let mut said = Vec::new();
        let mut code = Code::NotFound;
        let weight = |code: Code| match code {
            Code::NotFound | Code::NoSuchService => 0,
            Code::ContentInvalid => 3,
            Code::PeerOffline => 2,
            _ => 1,
        };
        for (holder, miss) in notes {
            let (this, text) = match miss {
                Miss::Never(code, text) => (*code, text.clone()),
                Miss::Lied(text) => (Code::ContentInvalid, text.clone()),
                Miss::Broke(text) => (Code::PeerOffline, text.clone()),
                Miss::Over(_) => continue,
            };
            if weight(this) > weight(code) {
                code = this;
            }
            said.push(format!("{}: {text}", self.label(holder).await));
        }
        let cid = self.wanted.cid;
        let message = match (code, self.done.fetched) {
            (_, 1..) => format!("{cid} did not come whole"),
            (Code::NotFound, _) => format!("nobody who was asked has {cid}"),
            _ => format!("{cid} could not be fetched"),
        };
        let why = if said.is_empty() {
            "there is no trusted peer to ask".into()
        } else {
            said.join("; ")
        };
        let hint = match (&self.partial, code) {
            (Some(_), _) => {
                "what has arrived is kept: run the same command again, or name a holder with --from"
            }
            (None, Code::PeerNotTrusted | Code::ScopeDenied | Code::TrustExpired) => {
                "content goes to trusted peers only: homing handshake PEER --allow content, which its owner approves"
            }
            (None, _) => {
                "name a peer that has it with --from PEER; homing status shows who is there"
            }
        };
        ApiError::new(code, message).why(why).hint(hint)
    }

    async fn label(&self, holder: &str) -> String {
        match holder.parse() {
            Ok(id) => self.node.summary(id).await.map_or(holder.to_owned(), |s| s.label()),
            Err(_) => holder.to_owned(),
        }
    }
}

impl Partial {
    /// Writes verified items; may be used by another thread.
    fn sink(&self) -> io::Result<impl FnMut(BaoContentItem) -> io::Result<()> + Send + use<>> {
        let data = self.tree.data.try_clone()?;
        let mut pairs = self.tree.pairs_to_write()?;
        Ok(move |item| match item {
            BaoContentItem::Parent(parent) => pairs.save(parent.node, &parent.pair),
            BaoContentItem::Leaf(leaf) => data.write_all_at(&leaf.data, leaf.offset),
        })
    }
}

/// Takes an encoding of groups from a stream to its end: one thread verifies what the task reads. `keep` sees what is proven.
async fn receive(
    clock: Clock,
    stream: &mut Stream,
    (cid, size): (ContentId, u64),
    groups: &[(u64, u64)],
    mut keep: impl FnMut(BaoContentItem) -> io::Result<()> + Send + 'static,
) -> Result<(), Miss> {
    let (pieces, arriving) = pipe();
    let ranges = ranges(groups);
    let decoding = tokio::task::spawn_blocking(move || {
        let mut from = PipeReader::new(arriving);
        let items = DecodeResponseIter::new(cid.0.into(), geometry(size), &mut from, &ranges);
        for item in items {
            let kept = keep(item.map_err(|e| broke_or_lied(&e))?);
            kept.map_err(|e| Miss::Over(failed("the content cannot be kept", &e)))?;
        }
        match from.has_more() {
            true => Err(Miss::Lied("it sent more than was asked for".into())),
            false => Ok(()),
        }
    });
    let read = async {
        let (mut pace, mut buffer) = (Pace::default(), BytesMut::new());
        loop {
            // All that has come in one piece: to wake the other thread for each packet costs more than the packet.
            if buffer.capacity() < PIECE_BYTES / 4 {
                buffer.reserve(PIECE_BYTES);
            }
            let asked = clock.mono();
            let read = timeout(STALL_MAX, stream.read_buf(&mut buffer)).await;
            let read = read.map_err(io::Error::from)??;
            if read == 0 {
                return Ok(());
            }
            pace.note(clock.mono().since(asked), read)?;
            if pieces.send(buffer.split().freeze()).await.is_err() {
                // The other thread has seen enough.
                return Ok::<_, io::Error>(());
            }
        }
    }
    .await;
    drop(pieces);
    let decoded = decoding.await.map_err(|e| Miss::Over(super::lost(&e)))?;
    match (decoded, read) {
        (Err(Miss::Broke(_)), Err(error)) => Err(error.into()),
        (decoded, _) => decoded,
    }
}

/// How fast a holder sends while we wait for it; our own disk and hashing do not count.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
}

impl Pace {
    fn note(&mut self, waited: Duration, bytes: usize) -> io::Result<()> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < PACE_TIME {
            return Ok(());
        }
        if self.bytes < PACE_BYTES {
            let why = format!("it sent {} bytes in {} s", self.bytes, self.waited.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        *self = Self::default();
        Ok(())
    }
}

fn broke_or_lied(error: &DecodeError) -> Miss {
    match error {
        DecodeError::ParentHashMismatch(node) => {
            let from = node.chunk_range().start.to_bytes();
            Miss::Lied(format!("it sent a wrong proof for the bytes from {from} on"))
        }
        DecodeError::LeafHashMismatch(chunk) => {
            let (from, to) = (chunk.to_bytes(), chunk.to_bytes() + GROUP_BYTES);
            Miss::Lied(format!("it sent wrong bytes between {from} and {to}"))
        }
        DecodeError::LeafNotFound(chunk) => {
            Miss::Broke(format!("it ended before byte {}", chunk.to_bytes()))
        }
        other => {
            debug!(%other, "an encoding ended early");
            Miss::Broke("it ended early".into())
        }
    }
}
