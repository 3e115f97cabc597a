//! Holders that lie: a real peer that is trusted and sends what it likes on the service `content`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bao_tree::io::sync::CreateOutboard;
use homing_api::content::{AddContentRequest, FetchRequest};
use homing_api::streams::Protocol;
use homing_api::trust::{ApproveRequest, HandshakeRequest};
use homing_api::{ApiError, Code};
use homing_base::ContentId;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::tree::{Tree, groups};
use super::wire::{Reply, Request, read_frame, write_frame};
use crate::node::Node;
use crate::streams::Stream;

const PATIENCE: Duration = Duration::from_secs(60);

/// 40 groups and a bit.
fn content() -> Vec<u8> {
    (0..40 * 16_384 + 1_000_u32).map(|n| (n / 3 % 253) as u8).collect()
}

fn tree(data: &[u8]) -> (ContentId, Arc<Tree>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    let cid = ContentId(*bao_tree::blake3::hash(data).as_bytes());
    let mut tree = Tree::new(cid, data.len() as u64, file, tempfile::tempfile().unwrap());
    tree.pairs.init_from(data).unwrap();
    (cid, Arc::new(tree))
}

/// How a holder lies.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// One bit of the encoding of the groups.
    Flip,
    /// One bit of what proves the size.
    FlipFirst,
    /// So much more than it is.
    Size(i64),
    /// Another size the second time.
    SecondSize,
    /// One byte after the end.
    More,
    /// Ends half way, as if that were all.
    Less,
    /// One byte a second, so that it never falls silent.
    Trickle,
}

impl Lie {
    async fn tell(self, stream: &mut Stream, tree: &Tree) -> Option<()> {
        let frame = read_frame(stream).await.ok()??;
        let request = Request::decode(&frame).unwrap();
        let size = tree.pairs.tree.size();
        let mut bytes = Vec::new();
        tree.encode(&request.wanted(groups(size)).unwrap(), &mut bytes).unwrap();
        let first = request.groups.is_none();
        let claimed = match self {
            Lie::Size(more) => size.checked_add_signed(more).unwrap(),
            Lie::SecondSize if !first => size + 1,
            _ => size,
        };
        let half = bytes.len() / 2;
        match self {
            Lie::Flip if !first => bytes[half] ^= 4,
            Lie::FlipFirst if first => bytes[half] ^= 4,
            Lie::More if !first => bytes.push(0),
            Lie::Less if !first => bytes.truncate(half),
            _ => {}
        }
        write_frame(stream, &Reply::yes(claimed)).await.ok()?;
        if matches!(self, Lie::Trickle) && !first {
            for byte in bytes {
                stream.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return None;
        }
        stream.write_all(&bytes).await.ok()?;
        stream.shutdown().await.ok()
    }
}

struct Liar {
    node: Node,
    _home: TempDir,
}

impl Liar {
    async fn start(lie: Lie, tree: Arc<Tree>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = start(&home, "liar", "content.serve", "false").await;
        let service = "content".parse().unwrap();
        let mut listener = node.shared.streams.listen_built_in(service, Protocol::Bytes).unwrap();
        tokio::spawn(async move {
            while let Some(mut stream) = listener.accept().await {
                lie.tell(&mut stream, &tree).await;
            }
        });
        Self { node, _home: home }
    }
}

async fn start(home: &TempDir, name: &str, key: &str, value: &str) -> Node {
    let builder = Node::builder().home(home.path()).name(name).set(key, value).without_api();
    builder.listen("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

async fn befriend(asker: &Node, owner: &Node) {
    let peer = owner.ticket().await.unwrap();
    asker.add_peer(homing_api::peers::AddPeerRequest { peer }).await.unwrap();
    let (owner_id, me) = (owner.node_id().to_string(), asker.node_id().to_string());
    asker.handshake(HandshakeRequest::to(owner_id.clone())).await.unwrap();
    let approved = async {
        while owner.approve(ApproveRequest::of(me.clone())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, approved).await.unwrap();
    asker.trusted(&owner_id, PATIENCE).await.unwrap();
}

async fn fetch_from_liar(lie: Lie) -> (TempDir, Node, ContentId, Result<(), ApiError>) {
    let (cid, tree) = tree(&content());
    let liar = Liar::start(lie, tree).await;
    let home = tempfile::tempdir().unwrap();
    let node = start(&home, "fetcher", "log.level", "info").await;
    befriend(&node, &liar.node).await;
    let request = FetchRequest { what: cid.to_string(), ..FetchRequest::default() };
    // A holder that breaks off is tried again for a while; that is not of interest here.
    let fetched = match tokio::time::timeout(Duration::from_secs(10), node.fetch(request)).await {
        Ok(fetched) => fetched.map(drop),
        Err(_) => Err(ApiError::new(Code::Timeout, "it is tried again and again")),
    };
    (home, node, cid, fetched)
}

#[tokio::test]
async fn a_holder_that_lies_is_named_and_another_one_completes_it() {
    let (home, node, cid, fetched) = fetch_from_liar(Lie::Flip).await;
    let error = fetched.unwrap_err();
    assert_eq!(error.code, Code::ContentInvalid, "{error:?}");
    let why = error.why.unwrap();
    assert!(why.contains("liar: it sent wrong"), "{why}");
    assert!(!node.content_path(cid).exists());

    let honest_home = tempfile::tempdir().unwrap();
    let honest = start(&honest_home, "honest", "log.level", "info").await;
    let file = home.path().join("model.bin");
    std::fs::write(&file, content()).unwrap();
    let path = file.to_str().unwrap().to_owned();
    assert_eq!(honest.add_content(AddContentRequest { path }).await.unwrap().cid, cid);
    befriend(&node, &honest).await;
    let from = vec!["liar".to_owned()];
    let request = FetchRequest { what: cid.to_string(), from, ..FetchRequest::default() };
    let fetched = node.fetch(request).await.unwrap();
    let names = |peers: &[homing_api::peers::PeerSummary]| -> Vec<String> {
        peers.iter().map(|peer| peer.label()).collect()
    };
    assert_eq!(names(&fetched.blamed), ["liar"]);
    // What the liar sent rightly is kept.
    assert_eq!(names(&fetched.from), ["liar", "honest"]);
    assert!(std::fs::read(&fetched.path).unwrap() == content());
}

#[tokio::test]
async fn every_lie_about_size_and_length_is_caught_before_anything_is_kept() {
    for lie in [Lie::FlipFirst, Lie::Size(1), Lie::Size(-1), Lie::Size(16_384), Lie::Size(1 << 45)]
    {
        let (home, _node, _, fetched) = fetch_from_liar(lie).await;
        // An answer that is too short may be one that broke off.
        let code = fetched.unwrap_err().code;
        assert!([Code::ContentInvalid, Code::PeerOffline].contains(&code), "{lie:?}: {code}");
        assert!(!home.path().join("content").exists(), "{lie:?}");
    }
    let (.., fetched) = fetch_from_liar(Lie::SecondSize).await;
    assert_eq!(fetched.unwrap_err().code, Code::ContentInvalid);
}

#[tokio::test]
async fn an_answer_that_is_too_short_or_too_long_never_becomes_content() {
    let (_home, node, cid, fetched) = fetch_from_liar(Lie::More).await;
    assert_eq!(fetched.unwrap_err().code, Code::ContentInvalid);
    assert!(!node.content_path(cid).exists());
    // It gets on by halves: the rest is asked for each time.
    let (_home, node, cid, fetched) = fetch_from_liar(Lie::Less).await;
    match fetched {
        Ok(()) => assert!(std::fs::read(node.content_path(cid)).unwrap() == content()),
        Err(error) => assert_eq!(error.code, Code::Timeout, "{error:?}"),
    }
}

#[tokio::test]
async fn a_holder_that_trickles_is_left_for_the_next_one() {
    let (cid, tree) = tree(&content());
    let liar = Liar::start(Lie::Trickle, tree).await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let node = start(&homes[0], "fetcher", "log.level", "info").await;
    let honest = start(&homes[1], "honest", "log.level", "info").await;
    let file = homes[1].path().join("model.bin");
    std::fs::write(&file, content()).unwrap();
    let path = file.to_str().unwrap().to_owned();
    honest.add_content(AddContentRequest { path }).await.unwrap();
    befriend(&node, &liar.node).await;
    befriend(&node, &honest).await;
    let from = vec!["liar".to_owned()];
    let request = FetchRequest { what: cid.to_string(), from, ..FetchRequest::default() };
    // 650 KB at one byte a second would take a week.
    let fetched = tokio::time::timeout(2 * PATIENCE, node.fetch(request)).await.unwrap().unwrap();
    assert!(std::fs::read(&fetched.path).unwrap() == content());
    assert!(fetched.from.iter().any(|peer| peer.label() == "honest") && fetched.blamed.is_empty());
}
