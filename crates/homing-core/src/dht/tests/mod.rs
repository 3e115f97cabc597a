//! Properties of the DHT node, on real records.

mod node;
mod parts;
mod table;
mod values;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, NodeId, Now, Record, Seq, Wall};

use super::wire::RealMessage;
use super::*;

type RealDht = Dht<Reach, Record>;

const START: Wall = Wall(1_800_000_000_000);

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

/// A node in a /24 of its own.
fn contact(n: u16) -> Contact<Reach> {
    let [a, b] = n.to_be_bytes();
    place(id(n), SocketAddr::from(([100, a, b, 1], 4_433)))
}

fn place(id: NodeId, addr: SocketAddr) -> Contact<Reach> {
    let instance = InstanceId([1; 32]);
    Contact { id, place: Reach { instance, direct: Some(addr), relay: None } }
}

fn record(n: u16, sequence: u64, now: Now) -> Record {
    let key = key(n);
    let record = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(sequence), now.wall);
    record.sign(&key).expect("a minimal record")
}

fn node(n: u16) -> RealDht {
    Dht::new(Config::default(), contact(n), true, [3; 32], at(0))
}

fn request(id: u32, body: Body<Reach, <Record as Value>::Wire>) -> RealMessage {
    Message { id, server: true, body }
}

fn says(dht: &mut RealDht, from: u16, message: RealMessage, now: Now) -> Vec<RealMessage> {
    dht.handle(now, DhtInput::Message { from: contact(from), message });
    sent(dht).into_iter().map(|(_, message)| message).collect()
}

fn sent(dht: &mut RealDht) -> Vec<(Contact<Reach>, RealMessage)> {
    std::iter::from_fn(|| dht.poll_output())
        .filter_map(|output| match output {
            DhtOutput::Send { to, message, .. } => Some((to, message)),
            _ => None,
        })
        .collect()
}

/// Joins through `seeds`, who all answer and know nobody else.
fn joined(n: u16, seeds: std::ops::Range<u16>) -> RealDht {
    let mut dht = node(n);
    let contacts = seeds.clone().map(contact).collect();
    let command = DhtCommand::Join { seeds: contacts };
    dht.handle(at(0), DhtInput::Command { id: CommandId(1), command });
    let mut now = 0;
    loop {
        let asked = sent(&mut dht);
        if asked.is_empty() {
            return dht;
        }
        now += 1;
        for (to, message) in asked {
            let body = Body::Nodes { contacts: vec![] };
            let answer = Message { id: message.id, server: true, body };
            let mut time = at(0);
            time.mono = time.mono.after(Duration::from_millis(10 * now));
            dht.handle(time, DhtInput::Message { from: to, message: answer });
        }
    }
}
