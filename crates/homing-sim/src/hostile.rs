//! An adversary that speaks the protocol: replays, forgeries, wrong times, foreign keys, floods.
//!
//! It knows every signed thing that ever crossed a wire ([`Archive`]) and every published instance, and
//! holds one honest-looking identity of its own. It never asks for trust, so whatever it gets beyond
//! a stranger's due is a finding. Not here: breaking cryptography.

use std::time::Duration;

use homing_base::limits::MESSAGE_BYTES_MAX;
use homing_base::sign1::{self, Domain};
use homing_base::{AgentRecord, IdentityKey, InstanceId, Now, Seq, Wall, cbor};
use homing_core::Message;
use homing_core::io::{DialId, DialTarget, Door, Input, LinkId};
use homing_core::message::{
    Ask, AskKey, Candidates, EndpointProof, Hello, MESH_VERSION, Network as Measured, TrustSync,
};

use crate::chance::Chance;
use crate::link::Frame;
use crate::run::{Attempt, Mind, RunIx};
use crate::world::{Event, World};

/// Signed things kept for replay, at most.
const ARCHIVE_MAX: usize = 4_096;
/// Pause between attacks.
const PAUSE: Duration = Duration::from_millis(400);

/// Signed things that crossed a wire.
#[derive(Debug, Default)]
pub struct Archive {
    records: Vec<Vec<u8>>,
    statements: Vec<Vec<u8>>,
}

impl Archive {
    pub(crate) fn keep_record(&mut self, bytes: &[u8]) {
        keep(&mut self.records, bytes);
    }

    pub(crate) fn keep_statement(&mut self, bytes: &[u8]) {
        keep(&mut self.statements, bytes);
    }
}

fn keep(list: &mut Vec<Vec<u8>>, bytes: &[u8]) {
    if list.len() < ARCHIVE_MAX && list.last().is_none_or(|last| last != bytes) {
        list.push(bytes.to_vec());
    }
}

/// The adversary's own identity.
#[derive(Debug)]
pub struct Hostile {
    key: IdentityKey,
    instance: InstanceId,
    sequence: Seq,
}

impl Hostile {
    /// An adversary at an endpoint.
    #[must_use]
    pub fn new(key: IdentityKey, instance: InstanceId) -> Self {
        Self { key, instance, sequence: Seq(0) }
    }

    /// A correctly signed record of its own, issued at `wall`.
    fn record(&mut self, wall: Wall) -> Vec<u8> {
        self.sequence = self.sequence.next(wall);
        let record = AgentRecord::new(self.key.public(), self.instance, self.sequence, wall);
        record.sign(&self.key).expect("within limits").bytes().to_vec()
    }

    /// One of many ways to open a link wrongly, or rightly.
    fn hello(&mut self, now: Now, archive: &Archive, chance: &mut Chance) -> Vec<u8> {
        let hour = 3_600_000;
        let mut proof = None;
        let record = match chance.below(8) {
            0 => self.record(Wall(now.wall.0 - 48 * hour)),
            1 => self.record(Wall(now.wall.0 + hour)),
            2 => damaged(self.record(now.wall), chance),
            3 => replayed(&archive.records, chance),
            4 => {
                let endpoint = self.instance;
                let content = EndpointProof { instance: InstanceId(chance.bytes()), endpoint };
                let payload = cbor::encode(&content);
                proof = Some(sign1::sign(&self.key, Domain::EndpointProof, &payload));
                replayed(&archive.records, chance)
            }
            _ => self.record(now.wall),
        };
        let public = Some(chance.happens(500));
        let hello = Hello {
            version: MESH_VERSION,
            record,
            proof,
            public,
            software: None,
            dht: None,
            brief: None,
        };
        Message::Hello(hello).encode()
    }

    /// Something that an honest peer would not send.
    fn attack(&mut self, now: Now, archive: &Archive, chance: &mut Chance) -> Vec<u8> {
        let some = |list: &[Vec<u8>], chance: &mut Chance| Some(replayed(list, chance));
        match chance.below(9) {
            0 => (0..64).map(|_| chance.below(256) as u8).collect(),
            1 => vec![0; MESSAGE_BYTES_MAX + 1],
            2 => {
                let old = (0..8).map(|_| replayed(&archive.records, chance).into());
                Message::Records(old.collect()).encode()
            }
            3 => {
                let forged = damaged(replayed(&archive.records, chance), chance);
                Message::Records(vec![forged.into(), self.record(now.wall).into()]).encode()
            }
            4 => {
                let mine = some(&archive.statements, chance);
                let yours = some(&archive.statements, chance);
                Message::Trust(TrustSync { mine, yours }).encode()
            }
            5 => {
                let mine = some(&archive.statements, chance).map(|s| damaged(s, chance));
                Message::Trust(TrustSync { mine, yours: None }).encode()
            }
            6 => Message::Candidates(Candidates {
                endpoint: InstanceId(chance.bytes()),
                proof: None,
                direct: Vec::new(),
                relays: Vec::new(),
                network: Measured::default(),
                port_prediction: None,
            })
            .encode(),
            7 => {
                let key = AskKey::Name("agent-1".parse().expect("a label"));
                Message::Ask(Ask { id: chance.below(10) as u32, key, errand: Some(true) }).encode()
            }
            _ => Message::Echo(chance.number()).encode(),
        }
    }
}

fn replayed(list: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    if list.is_empty() { vec![0xa0] } else { list[chance.index(list.len())].clone() }
}

fn damaged(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = chance.index(bytes.len());
    bytes[at] ^= 1 << chance.below(8);
    bytes
}

impl World {
    /// Adds an adversary with the given relays and starts it.
    pub fn add_hostile(&mut self, relays: &[crate::link::RelayIx]) -> crate::run::AgentIx {
        let host = self.add_host(crate::nat::NatKind::Public);
        let agent = self.add_agent(host, relays);
        self.identities[agent.0].hostile = true;
        let run = self.start(agent);
        self.plan(PAUSE, move |world| world.strike(run));
        agent
    }

    /// The adversary dials somebody's published instance, again and again.
    fn strike(&mut self, run: RunIx) {
        if !self.runs[run.0].alive() {
            return;
        }
        let victim = self.chance.index(self.identities.len());
        let target = self.identities[victim].run.filter(|to| *to != run).and_then(|to| {
            let record = self.runs[to.0].core()?.own_record()?;
            Some(DialTarget::Endpoint {
                endpoint: record.instance,
                from: Door::Front,
                relays: record.relays.clone(),
                direct: record.direct.clone(),
            })
        });
        if let Some(target) = target {
            let dial = DialId(self.runs[run.0].fresh_number());
            let since = self.now();
            self.runs[run.0].dials.insert(dial, Attempt { target, since });
            self.later(Duration::ZERO, Event::Attempt(run, dial, 0));
        }
        self.plan(PAUSE, move |world| world.strike(run));
    }

    pub(crate) fn feed_hostile(&mut self, run: RunIx, input: Input) {
        match input {
            Input::LinkUp(up) => {
                let now = self.now_of(run);
                let Mind::Hostile(mind) = &mut self.runs[run.0].mind else { return };
                let hello = mind.hello(now, &self.archive, &mut self.chance);
                self.throw(run, up.link, hello);
                for i in 1..=self.chance.below(8) {
                    let delay = Duration::from_millis(i * 120);
                    self.plan(delay, move |world| world.throw_attack(run, up.link));
                }
            }
            Input::Message { link, message } => {
                if let Message::Ping(token) = *message {
                    self.throw(run, link, Message::Pong(token).encode());
                }
            }
            _ => {}
        }
    }

    fn throw_attack(&mut self, run: RunIx, link: LinkId) {
        let now = self.now_of(run);
        let Mind::Hostile(mind) = &mut self.runs[run.0].mind else { return };
        let bytes = mind.attack(now, &self.archive, &mut self.chance);
        self.throw(run, link, bytes);
    }

    fn throw(&mut self, run: RunIx, link: LinkId, bytes: Vec<u8>) {
        if let Some(ix) = self.runs[run.0].links.get(&link).copied() {
            self.push_frame(run, ix, Frame::Message(bytes));
        }
    }
}
