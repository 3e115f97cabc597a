//! Properties of gossip, on real records.

mod hostile;
mod table;
mod two;

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, NodeId, Now, Record, Seq, Wall};

use super::wire::RealMessage;
use super::*;

type Node = Gossip<Record>;
type Wire = <Record as Value>::Wire;

const START: Wall = Wall(1_800_000_000_000);
const HOUR: u64 = 3_600;

fn at(seconds: u64) -> Now {
    Now { mono: Mono(1 + seconds * 1_000_000), wall: Wall(START.0 + seconds * 1_000) }
}

fn key(n: u16) -> IdentityKey {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    IdentityKey::from_seed(seed)
}

fn id(n: u16) -> NodeId {
    key(n).node_id()
}

/// A record signed at `seconds`, living for `life` seconds.
fn signed(n: u16, seconds: u64, life: u64, change: impl Fn(&mut AgentRecord)) -> Record {
    let (key, wall) = (key(n), at(seconds).wall);
    let mut record = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(wall.0), wall);
    record.expires = wall.after(Duration::from_secs(life));
    change(&mut record);
    record.sign(&key).expect("a small record")
}

fn record(n: u16, seconds: u64) -> Record {
    signed(n, seconds, 24 * HOUR, |_| {})
}

fn node(n: u16) -> Node {
    with_capacity(n, Capacity::PUBLIC)
}

fn with_capacity(n: u16, capacity: Capacity) -> Node {
    let config = Config { capacity, ..Config::of(true) };
    Gossip::new(config, id(n), [n as u8; 32], at(0))
}

fn drain(node: &mut Node) -> Vec<GossipOutput<Record>> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn sent(outputs: &[GossipOutput<Record>]) -> Vec<(NodeId, RealMessage)> {
    let sent = outputs.iter().filter_map(|output| match output {
        GossipOutput::Send { to, message } => Some((*to, message.clone())),
        _ => None,
    });
    sent.collect()
}

fn up(node: &mut Node, peer: u16, now: Now) {
    node.handle(now, GossipInput::PeerUp { peer: id(peer) });
}

fn says(node: &mut Node, from: u16, message: RealMessage, now: Now) -> Vec<GossipOutput<Record>> {
    node.handle(now, GossipInput::Message { from: id(from), message });
    drain(node)
}

fn push(records: &[Record]) -> RealMessage {
    let carried = |r: &Record| Carried { hops: 1, wire: r.wire() };
    Message::Push(records.iter().map(carried).collect())
}

fn held(node: &Node, n: u16) -> Option<Record> {
    node.table().entry(&id(n)).map(|e| e.value.clone())
}

/// Nodes that hear each other at once; time passes in steps of 50 ms.
struct Room {
    nodes: BTreeMap<NodeId, Node>,
    now: Now,
    bytes: usize,
}

impl Room {
    fn of(nodes: Vec<Node>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.me, node)).collect();
        Self { nodes, now: at(0), bytes: 0 }
    }

    fn node(&mut self, n: u16) -> &mut Node {
        self.nodes.get_mut(&id(n)).expect("it is in the room")
    }

    fn link(&mut self, a: u16, b: u16) {
        let now = self.now;
        up(self.node(a), b, now);
        up(self.node(b), a, now);
    }

    fn publish(&mut self, n: u16, record: Record) {
        let now = self.now;
        self.node(n).handle(now, GossipInput::Publish(record));
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            let step = Duration::from_millis(50);
            self.now = Now { mono: self.now.mono.after(step), wall: self.now.wall.after(step) };
            let mut under_way = Vec::new();
            for (from, node) in &mut self.nodes {
                node.handle(self.now, GossipInput::Wakeup);
                let sent = sent(&drain(node));
                under_way.extend(sent.into_iter().map(|(to, message)| (*from, to, message)));
            }
            for (from, to, message) in under_way {
                let bytes = wire::encode(&message);
                assert_eq!(bytes.len(), message.wire_len::<Record>());
                self.bytes += bytes.len();
                let message = wire::decode(&bytes).expect("own messages decode");
                let node = self.nodes.get_mut(&to).expect("it is in the room");
                node.handle(self.now, GossipInput::Message { from, message });
            }
        }
    }
}
