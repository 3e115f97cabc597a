//! Values of every kind, for properties and for fixed examples.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use homing_base::limits::RECORD_LIFETIME_MAX;
use homing_base::record::CardRef;
use homing_base::statement::SignedStatement;
use homing_base::{
    AgentRecord, IdentityKey, InstanceId, Mono, Name, NodeId, Now, Record, RelayRef, Seq, Service,
    Statement, StatementKind, Ticket, Wall,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// 2026-11-21T03:00:00Z: when the fixed examples were signed.
pub(crate) const ISSUED: Wall = Wall(1_795_230_000_000);

/// Both clocks, `after` past [`ISSUED`].
pub(crate) fn at(after: Duration) -> Now {
    Now { mono: Mono(0), wall: ISSUED.after(after) }
}

/// The moment at which the fixed examples were signed.
pub(crate) fn now() -> Now {
    at(Duration::ZERO)
}

/// The key whose secret seed is 32 times `byte`.
pub(crate) fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_seed([byte; 32])
}

/// A record with the mandatory fields only.
pub(crate) fn plain(key: &IdentityKey) -> AgentRecord {
    AgentRecord::new(key.public(), InstanceId([0x11; 32]), Seq(ISSUED.0), ISSUED)
}

/// A statement with the mandatory fields only.
pub(crate) fn statement_of(key: &IdentityKey, kind: StatementKind, to: NodeId) -> Statement {
    Statement {
        kind,
        from: key.public(),
        to,
        sequence: Seq(ISSUED.0),
        issued: ISSUED,
        expires: None,
        services: None,
        reason: None,
        name: None,
    }
}

pub(crate) fn keys() -> impl Strategy<Value = IdentityKey> {
    any::<[u8; 32]>().prop_map(IdentityKey::from_seed)
}

pub(crate) fn names() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|s| s.parse().expect("a DNS label"))
}

pub(crate) fn services() -> impl Strategy<Value = Service> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|s| s.parse().expect("a DNS label"))
}

pub(crate) fn relays() -> impl Strategy<Value = RelayRef> {
    let host = prop_oneof![
        "[a-z0-9]{1,12}(\\.[a-z]{2,5}){0,2}",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ];
    let url = ("https?", host, option::of(1u16..)).prop_map(|(scheme, host, port)| match port {
        Some(port) => format!("{scheme}://{host}:{port}/"),
        None => format!("{scheme}://{host}/"),
    });
    let fields = (url, option::of(any::<[u8; 32]>()), option::of(1u16..));
    fields.prop_map(|(url, pin, quic_port)| RelayRef { url, pin, quic_port })
}

pub(crate) fn sockets() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<Ipv4Addr>(), any::<u16>()).prop_map(SocketAddr::from),
        (any::<Ipv6Addr>(), any::<u16>()).prop_map(SocketAddr::from),
    ]
}

prop_compose! {
    fn cards()(url in "https://[a-z]{1,20}/[a-z]{0,10}", sha256 in any::<[u8; 32]>()) -> CardRef {
        CardRef { url, sha256 }
    }
}

prop_compose! {
    /// Contents within every limit; small enough to fit into 1 000 bytes.
    pub(crate) fn contents(key: IdentityKey)(
        instance in any::<[u8; 32]>(),
        sequence in any::<u64>(),
        issued in 0..u64::MAX / 2,
        life in 1..=RECORD_LIFETIME_MAX.as_millis() as u64,
        name in option::of(names()),
        relays in vec(relays(), 0..=2),
        direct in vec(sockets(), 0..=4),
        services in vec(services(), 0..=6),
        tags in vec("[a-zäöü ]{0,10}", 0..=4),
        (card, attestation, withdrawn, floor) in (
            option::of(cards()), any::<Option<[u8; 32]>>(), any::<Option<bool>>(), any::<Option<u64>>(),
        ),
    ) -> AgentRecord {
        AgentRecord {
            public_key: key.public(),
            instance: InstanceId(instance),
            sequence: Seq(sequence),
            issued: Wall(issued),
            expires: Wall(issued + life),
            name, relays, direct, services, card, tags, attestation, withdrawn,
            trust_floor: floor.map(Wall),
        }
    }
}

/// Signed records of any identity.
pub(crate) fn records() -> impl Strategy<Value = Record> {
    keys().prop_flat_map(|key| {
        contents(key.clone()).prop_map(move |content| content.sign(&key).expect("within limits"))
    })
}

/// Signed statements of any identity about any other.
pub(crate) fn statements() -> impl Strategy<Value = SignedStatement> {
    let kind = prop_oneof![
        Just(StatementKind::Request),
        Just(StatementKind::Grant),
        Just(StatementKind::Reject),
        Just(StatementKind::Revoke),
    ];
    let fields =
        (keys(), kind, any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<Option<u64>>());
    let more = (option::of(vec(services(), 0..=16)), option::of("\\PC{0,60}"), option::of(names()));
    (fields, more).prop_map(|((key, kind, to, seq, issued, expires), (services, reason, name))| {
        let statement = Statement {
            kind,
            from: key.public(),
            to: NodeId(to),
            sequence: Seq(seq),
            issued: Wall(issued),
            expires: expires.map(Wall),
            services,
            reason,
            name,
        };
        statement.sign(&key).expect("within limits")
    })
}

/// Tickets as nodes make them.
pub(crate) fn tickets() -> impl Strategy<Value = Ticket> {
    (records(), vec(sockets(), 0..=16))
        .prop_map(|(record, direct)| Ticket { record: record.bytes().to_vec(), direct })
}
