//! One DNS message in, one out.
//!
//! ```text
//! AAAA of an agent         its address                     A, and any other type: no data (RFC 2308 §2.2)
//! PTR of an address        its name, or ….address          unknown, untrusted: NXDOMAIN
//! two agents, one name     SERVFAIL                        outside of both zones: REFUSED, never forwarded
//! ```
//! Whoever sends EDNS is told why, as an extended error (RFC 8914). Answers live 30 s at most and no longer than the
//! record of the agent; what is not there is remembered for 5 s.

use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use homing_base::{Address, NodeId, Now};
use homing_core::Agent;
use homing_core::io::{Failure, PeerRef, TrustState};

use super::limits::{NEGATIVE_TTL_S, REASON_CHARS_MAX, RESOLVE_MAX, TTL_S_MAX, UDP_BYTES_MAX};
use super::zone::{Asked, BY_ADDRESS, Zone, asked};
use crate::config::DnsScope;
use crate::node::Node;

/// Extended errors of RFC 8914 §4.
const OTHER: u16 = 0;
const PROHIBITED: u16 = 18;
const NOT_AUTHORITATIVE: u16 = 20;
/// Their option in EDNS (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

/// What there is to say about a question.
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    /// Whose start of authority bounds a negative answer.
    zone: Option<Zone>,
    why: Option<(u16, String)>,
}

impl Reply {
    fn of(code: ResponseCode, zone: Option<Zone>) -> Self {
        Self { code, answers: Vec::new(), zone, why: None }
    }

    fn no_data(zone: Zone) -> Self {
        Self::of(ResponseCode::NoError, Some(zone))
    }

    fn nothing(zone: Zone) -> Self {
        Self::of(ResponseCode::NXDomain, Some(zone))
    }

    fn record(record: Record) -> Self {
        Self { answers: vec![record], ..Self::of(ResponseCode::NoError, None) }
    }

    fn why(self, code: u16, text: impl Into<String>) -> Self {
        let text = text.into().chars().take(REASON_CHARS_MAX).collect();
        Self { why: Some((code, text)), ..self }
    }
}

/// An agent that may be told of.
struct Found {
    address: Address,
    /// What it is called here, when that name means it and nobody else.
    name: Option<homing_base::Name>,
    ttl_s: u32,
}

/// Whose names are answered, and by whom.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) node: Node,
    pub(super) scope: DnsScope,
}

impl Answering {
    /// The answer to one message; `None`: it deserves none.
    pub(super) async fn answer(&self, bytes: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let Ok(request) = Message::from_vec(bytes) else { return malformed(bytes) };
        if request.metadata.message_type == MessageType::Response {
            return None;
        }
        let reply = self.reply(&request).await;
        let room = match over_udp {
            true => usize::from(request.max_payload()).min(UDP_BYTES_MAX),
            false => usize::from(u16::MAX),
        };
        let message = message(&request, reply);
        let whole = message.to_vec().ok()?;
        if whole.len() <= room { Some(whole) } else { message.truncate().to_vec().ok() }
    }

    async fn reply(&self, request: &Message) -> Reply {
        let plain = |code| Reply::of(code, None);
        if request.version() > 0 {
            return plain(ResponseCode::BADVERS);
        }
        if request.metadata.op_code != OpCode::Query {
            return plain(ResponseCode::NotImp);
        }
        let [query] = request.queries.as_slice() else { return plain(ResponseCode::FormErr) };
        if query.query_class() != DNSClass::IN {
            return plain(ResponseCode::Refused).why(NOT_AUTHORITATIVE, "class IN only");
        }
        match asked(query.name()) {
            Asked::Outside => plain(ResponseCode::Refused)
                .why(NOT_AUTHORITATIVE, "only agent.internal and fd00::/8 are answered here"),
            Asked::Apex(zone) => match query.query_type() {
                RecordType::SOA => Reply::record(start_of_authority(zone)),
                _ => Reply::no_data(zone),
            },
            Asked::Between(zone) => Reply::no_data(zone),
            Asked::Nothing(zone) => Reply::nothing(zone),
            Asked::Agent(peer) => self.forward(query, peer).await,
            Asked::Reverse(address) => self.reverse(query, address).await,
        }
    }

    async fn forward(&self, query: &Query, peer: PeerRef) -> Reply {
        let found = match self.find(peer, Zone::Names).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        match query.query_type() {
            RecordType::AAAA | RecordType::ANY => {
                let address = RData::AAAA(AAAA(found.address.ip()));
                Reply::record(Record::from_rdata(query.name().clone(), found.ttl_s, address))
            }
            // An A record asked for: there is none, and the AAAA is there.
            _ => Reply::no_data(Zone::Names),
        }
    }

    async fn reverse(&self, query: &Query, address: Address) -> Reply {
        let found = match self.find(PeerRef::Address(address), Zone::Addresses).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        if !matches!(query.query_type(), RecordType::PTR | RecordType::ANY) {
            return Reply::no_data(Zone::Addresses);
        }
        let labels = match found.name {
            Some(name) => name.to_string(),
            None => format!("{}.{BY_ADDRESS}", address.to_string().replace(':', "-")),
        };
        match Name::from_ascii(format!("{labels}.{}", Zone::Names.text())) {
            Ok(name) => {
                let pointer = RData::PTR(PTR(name));
                Reply::record(Record::from_rdata(query.name().clone(), found.ttl_s, pointer))
            }
            Err(_) => Reply::no_data(Zone::Addresses),
        }
    }

    /// Who is meant, if this agent tells of it.
    async fn find(&self, peer: PeerRef, zone: Zone) -> Result<Found, Reply> {
        if self.scope == DnsScope::All {
            // Asks the mesh when nothing is known here; what it finds is known afterwards.
            let command =
                homing_core::Command::Resolve { peer: peer.clone(), timeout: RESOLVE_MAX };
            let _ = self.node.raw_command(command).await;
        }
        let now = self.node.shared.clock.now();
        let scope = self.scope;
        let look = move |agent: &Agent| look(agent, now, &peer, scope, zone);
        match self.node.query(look).await {
            Ok(found) => found,
            Err(error) => {
                Err(Reply::of(ResponseCode::ServFail, None).why(OTHER, error.to_string()))
            }
        }
    }
}

/// What the agent knows, asking nobody.
fn look(
    agent: &Agent,
    now: Now,
    peer: &PeerRef,
    scope: DnsScope,
    zone: Zone,
) -> Result<Found, Reply> {
    let id = agent.meaning(now, peer).map_err(|failure| refused(&failure, zone))?;
    if id == agent.node_id() {
        let name = agent.own_record().and_then(|record| record.name.clone());
        let expires = agent.own_record().map(|record| record.expires);
        return Ok(found(agent, now, id, name, expires));
    }
    let view = agent.peer(now, id);
    if scope == DnsScope::Trusted && view.trust.state != TrustState::Mutual {
        return Err(Reply::nothing(zone).why(
            PROHIBITED,
            "that agent is not trusted here: homing handshake, or dns.scope = \"all\"",
        ));
    }
    let expires = view.record.as_ref().map(|record| record.expires);
    Ok(found(agent, now, id, view.alias.or(view.name), expires))
}

fn found(
    agent: &Agent,
    now: Now,
    id: NodeId,
    name: Option<homing_base::Name>,
    expires: Option<homing_base::Wall>,
) -> Found {
    let means = |name: &homing_base::Name| {
        agent.meaning(now, &PeerRef::Name(name.clone())).is_ok_and(|peer| peer == id)
    };
    let left = expires.map_or(Duration::ZERO, |end| end.since(now.wall)).as_secs();
    Found {
        address: Address::of(&id),
        name: name.filter(means),
        ttl_s: u32::try_from(left).unwrap_or(u32::MAX).min(TTL_S_MAX),
    }
}

fn refused(failure: &Failure, zone: Zone) -> Reply {
    match failure {
        Failure::NotFound { .. } => Reply::nothing(zone),
        Failure::Ambiguous { name, claimants } => {
            let ids: Vec<String> = claimants.iter().map(|id| id.fmt_short().to_string()).collect();
            Reply::of(ResponseCode::ServFail, None).why(
                OTHER,
                format!("{name} is claimed by {}: homing name alias decides", ids.join(", ")),
            )
        }
        Failure::NameMoved { name, .. } => Reply::of(ResponseCode::ServFail, None).why(
            OTHER,
            format!("{name} is claimed by another agent than before: homing name alias decides"),
        ),
        _ => Reply::of(ResponseCode::ServFail, None),
    }
}

fn message(request: &Message, reply: Reply) -> Message {
    let mut message =
        Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    message.metadata = Metadata::response_from_request(&request.metadata);
    message.metadata.response_code = reply.code;
    message.metadata.authoritative = reply.zone.is_some() || !reply.answers.is_empty();
    message.queries = request.queries.clone();
    message.answers = reply.answers;
    message.authorities = reply.zone.map(start_of_authority).into_iter().collect();
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX as u16);
        if let Some((code, text)) = reply.why {
            let data = [&code.to_be_bytes()[..], text.as_bytes()].concat();
            edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, data));
        }
        message.set_edns(edns);
    }
    message
}

/// Carries how long a negative answer counts (RFC 2308 §5).
fn start_of_authority(zone: Zone) -> Record {
    let apex = Name::from_ascii(zone.text()).expect("a zone is a name");
    let seconds = NEGATIVE_TTL_S as i32;
    let soa = SOA::new(apex.clone(), apex.clone(), 1, seconds, seconds, seconds, NEGATIVE_TTL_S);
    Record::from_rdata(apex, NEGATIVE_TTL_S, RData::SOA(soa))
}

/// `FORMERR` for what has at least the header of a query.
fn malformed(bytes: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = *bytes.get(..12)? else { return None };
    let is_query = flags & 0x80 == 0;
    let id = u16::from_be_bytes([high, low]);
    is_query
        .then(|| Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok())
        .flatten()
}
