//! The mesh messages: one deterministic CBOR envelope each, at most 64 KiB, on `homing/mesh/1`.
//!
//! ```text
//! dialer                                   acceptor
//!   Hello {record, proof?}     ───────────►            first message both ways; nothing else counts
//!                              ◄───────────  Hello      until the record proved who speaks
//!   Trust {mine, yours}        ◄──────────►            both sides, on every new link and change
//!   Candidates {endpoint, …}   ◄──────────►            only between peers that trust each other
//!   Records · Ask/Answer · Watch · Ping/Pong · Echo/EchoReply · Dht · Gossip · Mail · Reference · Audit · Port · Bye
//! ```
//! Enum encoding: `[index, [fields…]]`; structs are integer-keyed maps. Unknown keys are skipped,
//! an unknown index is a message to ignore. Normative: `spec/04-mesh.md`.

use std::net::SocketAddr;

use homing_base::cbor::{self, CborError};
use homing_base::limits::MESSAGE_BYTES_MAX;
use homing_base::{InstanceId, Name, NodeId, Record, RelayRef};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// The protocol version that [`Hello`] carries.
pub const MESH_VERSION: u32 = 1;

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Message {
    /// Who speaks. First on every link, from both sides.
    #[n(1)]
    Hello(#[n(0)] Hello),
    /// Fresh agent records, unasked: "this changed". At most 32.
    #[n(2)]
    Records(#[n(0)] Vec<ByteVec>),
    /// "Do you know this key or name?"
    #[n(3)]
    Ask(#[n(0)] Ask),
    /// What is known: zero or more records.
    #[n(4)]
    Answer(#[n(0)] AskAnswer),
    /// "Tell me at once when the record of one of these changes." Replaces the previous list.
    #[n(5)]
    Watch(#[n(0)] Vec<NodeId>),
    /// The newest trust statements that the sender holds, both directions.
    #[n(6)]
    Trust(#[n(0)] TrustSync),
    /// Where a trusted peer may reach the sender directly.
    #[n(7)]
    Candidates(#[n(0)] Candidates),
    /// "Are you there?" Liveness of the link.
    #[n(8)]
    Ping(#[n(0)] u64),
    /// "I am."
    #[n(9)]
    Pong(#[n(0)] u64),
    /// A user's ping: answered only within the trust given.
    #[n(10)]
    Echo(#[n(0)] u64),
    /// Answer to [`Message::Echo`].
    #[n(11)]
    EchoReply(#[n(0)] EchoReply),
    /// The sender is about to close this link, and why.
    #[n(12)]
    Bye(#[n(0)] ByeReason),
    /// A message between nodes of the DHT, in the form of [`crate::dht::wire`]. Not read here, so that
    /// one that this version does not know costs nothing.
    #[n(13)]
    Dht(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Gossip, in the form of [`crate::gossip::wire`]. Not read here either.
    #[n(14)]
    Gossip(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Messages between agents, in the form of [`crate::messages::wire`]. Not read here either.
    #[n(15)]
    Mail(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// References, in the form of [`crate::references::wire`]. Not read here either.
    #[n(16)]
    Reference(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Audit logs and their witnesses, in the form of [`crate::audit::witness::Word`]. Not read here either.
    #[n(17)]
    Audit(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Port prediction, in the form of [`crate::ports::wire`]. Not read here either.
    #[n(18)]
    Port(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// Opens a link: the record is the proof of who speaks.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`MESH_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The sender's signed agent record; names the endpoint of this link, or `proof` does.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub record: Vec<u8>,
    /// COSE_Sign1 by the identity that binds the endpoint of this link to the record's instance;
    /// absent when the endpoint *is* the record's instance.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub proof: Option<Vec<u8>>,
    /// The sender answers strangers' questions (relay, registry or DHT server).
    #[n(4)]
    pub public: Option<bool>,
    /// The sender's program version, for people.
    #[n(5)]
    pub software: Option<String>,
    /// The sender takes part in the DHT: it serves (`true`) or only asks (`false`).
    #[n(6)]
    pub dht: Option<bool>,
    /// The sender wants this link for a few DHT messages only: it does not probe it, and closes
    /// it when it has fallen silent.
    #[n(7)]
    pub brief: Option<bool>,
}

/// The payload of [`Hello::proof`].
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct EndpointProof {
    /// The instance that the record names.
    #[n(1)]
    pub instance: InstanceId,
    /// The other endpoint key of the same run.
    #[n(2)]
    pub endpoint: InstanceId,
}

/// What an [`Ask`] is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum AskKey {
    /// A whole node ID.
    #[n(1)]
    NodeId(#[n(0)] NodeId),
    /// The 15 bytes of an address.
    #[n(2)]
    Address(#[cbor(n(0), with = "minicbor::bytes")] [u8; 15]),
    /// A claimed name.
    #[n(3)]
    Name(#[n(0)] Name),
}

impl AskKey {
    /// Whether `record` answers the question.
    #[must_use]
    pub fn is_about(&self, record: &Record) -> bool {
        match self {
            AskKey::NodeId(id) => record.node_id() == *id,
            AskKey::Address(prefix) => record.node_id().0[..15] == *prefix,
            AskKey::Name(name) => record.name.as_ref() == Some(name),
        }
    }
}

/// A question to a neighbour.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// Chosen by the asker, echoed in the answer.
    #[n(1)]
    pub id: u32,
    /// What is wanted.
    #[n(2)]
    pub key: AskKey,
    /// The asker cannot reach the DHT without showing its address: a public node that serves it may
    /// ask there before it answers.
    #[n(3)]
    pub errand: Option<bool>,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct AskAnswer {
    /// The asker's id.
    #[n(1)]
    pub id: u32,
    /// Signed agent records, at most 8; empty: not here.
    #[n(2)]
    pub records: Vec<ByteVec>,
}

/// Trust statements of both directions, so that either side can recover what it lost.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct TrustSync {
    /// The sender's newest statement about the receiver.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub mine: Option<Vec<u8>>,
    /// The receiver's newest statement about the sender, as the sender holds it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub yours: Option<Vec<u8>>,
}

/// In-band candidates: sent only over an authenticated link to a trusted peer.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Candidates {
    /// The endpoint that takes direct connections, and its proof as in [`Hello::proof`].
    #[n(1)]
    pub endpoint: InstanceId,
    /// COSE_Sign1 over [`EndpointProof`]; absent when `endpoint` is the record's instance.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub proof: Option<Vec<u8>>,
    /// Local and reflexive addresses, at most 16.
    #[cbor(
        n(3),
        encode_with = "homing_base::record::encode_direct",
        decode_with = "homing_base::record::decode_direct"
    )]
    pub direct: Vec<SocketAddr>,
    /// Relays at which `endpoint` listens.
    #[n(4)]
    pub relays: Vec<RelayRef>,
    /// What the sender knows about its own network, for "why is this relayed?".
    #[n(5)]
    pub network: Network,
    /// The sender takes part in port prediction.
    #[n(6)]
    pub port_prediction: Option<bool>,
}

/// Facts about a node's own network, as it measured them; absent: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Network {
    /// UDP over IPv4 reaches the outside.
    #[n(1)]
    pub udp_v4: Option<bool>,
    /// UDP over IPv6 reaches the outside.
    #[n(2)]
    pub udp_v6: Option<bool>,
    /// The NAT gives another public port for each destination ("symmetric").
    #[n(3)]
    pub mapping_varies: Option<bool>,
}

/// Answer to a user's ping.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct EchoReply {
    /// The token of the [`Message::Echo`].
    #[n(1)]
    pub token: u64,
    /// Why it was not answered; absent: here it is.
    #[n(2)]
    pub refused: Option<Refusal>,
}

/// Why a node does not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// There is no mutual trust.
    #[n(1)]
    NotTrusted,
    /// There is trust, but not for this service.
    #[n(2)]
    ScopeDenied,
    /// There was trust; it has expired.
    #[n(3)]
    TrustExpired,
    /// Too many requests.
    #[n(4)]
    RateLimited,
    /// Nothing of that name or port is exposed here.
    #[n(5)]
    NoSuchService,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ByeReason {
    /// The node stops.
    #[n(1)]
    Stopping,
    /// Another link between the same two instances is kept.
    #[n(2)]
    Duplicate,
    /// The receiver speaks for an instance that a newer record replaced.
    #[n(3)]
    Superseded,
    /// The receiver's record was refused: bad signature, foreign key, expired.
    #[n(4)]
    RecordRefused,
    /// The receiver's record lies in the future: one of the two clocks is wrong.
    #[n(5)]
    ClockSkew,
    /// The receiver broke the protocol.
    #[n(6)]
    Protocol,
    /// No use for the link any more.
    #[n(7)]
    Idle,
    /// No shared protocol version.
    #[n(8)]
    Version,
    /// Too many links or messages.
    #[n(9)]
    Overload,
}

impl Message {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When the bytes are too long, not deterministic CBOR, or no message that we know.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, MESSAGE_BYTES_MAX)
    }

    /// The kind, in one word, for counters and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Hello(_) => "hello",
            Message::Records(_) => "records",
            Message::Ask(_) => "ask",
            Message::Answer(_) => "answer",
            Message::Watch(_) => "watch",
            Message::Trust(_) => "trust",
            Message::Candidates(_) => "candidates",
            Message::Ping(_) => "ping",
            Message::Pong(_) => "pong",
            Message::Echo(_) => "echo",
            Message::EchoReply(_) => "echo_reply",
            Message::Bye(_) => "bye",
            Message::Dht(_) => "dht",
            Message::Gossip(_) => "gossip",
            Message::Mail(_) => "mail",
            Message::Reference(_) => "reference",
            Message::Audit(_) => "audit",
            Message::Port(_) => "port",
        }
    }
}

impl ByeReason {
    /// The reason, in one word, for counters and logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            ByeReason::Stopping => "stopping",
            ByeReason::Duplicate => "duplicate",
            ByeReason::Superseded => "superseded",
            ByeReason::RecordRefused => "record_refused",
            ByeReason::ClockSkew => "clock_skew",
            ByeReason::Protocol => "protocol",
            ByeReason::Idle => "idle",
            ByeReason::Version => "version",
            ByeReason::Overload => "overload",
        }
    }
}
