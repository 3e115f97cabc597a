//! What entities look like in JSON. The signed record travels along whole (`record`, base64url), so that whoever reads
//! it can verify it and dial the agent without believing the registry.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use homing_base::{Address, Now, Record, Wall};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::entity::{Entity, Source, Status};
use crate::listing::{EntityKind, Listing, Skill};
use crate::storage::Version;

/// One agent as the registry knows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Entity")]
pub(super) struct EntityView {
    /// `homing.entity/v1`.
    pub(super) schema: &'static str,
    /// SHA-256 of its public key, 64 hexadecimal digits.
    #[schema(min_length = 64, max_length = 64)]
    pub(super) node_id: String,
    /// Its permanent address, an IPv6 address.
    pub(super) address: String,
    /// The name it claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) name: Option<String>,
    /// Whether it is true now.
    pub(super) status: StatusView,
    /// The record's sequence: the highest wins.
    pub(super) sequence: u64,
    /// When the record was signed.
    #[schema(format = DateTime)]
    pub(super) issued: String,
    /// When it stops being true.
    #[schema(format = DateTime)]
    pub(super) expires: String,
    /// When its first record came here.
    #[schema(format = DateTime)]
    pub(super) registered: String,
    /// When this record came here.
    #[schema(format = DateTime)]
    pub(super) updated: String,
    /// How this record came here.
    pub(super) source: SourceView,
    /// The newest heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub(super) heartbeat: Option<String>,
    /// Agent or service.
    #[serde(rename = "type")]
    pub(super) kind: KindView,
    /// What it is called in lists.
    pub(super) title: String,
    /// What it does, in a sentence or two.
    pub(super) summary: String,
    /// One word for what it is about; empty: none.
    pub(super) category: String,
    /// Words for the search.
    pub(super) tags: Vec<String>,
    /// What it can do.
    pub(super) skills: Vec<SkillView>,
    /// Protocols it speaks, lower case.
    pub(super) protocols: Vec<String>,
    /// Where programs without a node reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) service_url: Option<String>,
    /// Where its API is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) openapi_url: Option<String>,
    /// What it costs, as its card says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    pub(super) pricing: Option<Value>,
    /// The identity that vouches for it, by a proof that was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) owner: Option<String>,
    /// Named services that it offers to peers it trusts.
    pub(super) services: Vec<String>,
    /// Relays at which it can be reached, home relay first.
    pub(super) relays: Vec<String>,
    /// Its card, if the record names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) card: Option<CardView>,
    /// The signed record, base64url of the COSE object.
    pub(super) record: String,
}

/// What a record says about its agent's card.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CardView {
    /// Where the agent serves it.
    pub(super) url: String,
    /// What its bytes must hash to, 64 hexadecimal digits.
    pub(super) sha256: String,
    /// Whether this registry has it.
    pub(super) stored: bool,
}

/// One skill.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SkillView {
    /// The card's identifier for it.
    pub(super) id: String,
    /// For people.
    pub(super) name: String,
    /// For people.
    pub(super) description: String,
    /// Words.
    pub(super) tags: Vec<String>,
}

/// Whether an entity is true now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusView {
    /// Its record is valid.
    Active,
    /// Its record is valid, but its heartbeats have stopped.
    Inactive,
    /// Its record has expired.
    Expired,
    /// Its agent has withdrawn it.
    Withdrawn,
}

/// How a record came here.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceView {
    /// Registered here.
    Registered,
    /// Heard from a peer.
    Gossip,
    /// Found in the DHT.
    Dht,
    /// Found by another registry, in a federated search.
    Federation,
}

/// Agent or service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindView {
    /// An agent.
    Agent,
    /// A service that answers without a mind of its own.
    Service,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
            Status::Expired => Self::Expired,
            Status::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<StatusView> for Status {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Active => Self::Active,
            StatusView::Inactive => Self::Inactive,
            StatusView::Expired => Self::Expired,
            StatusView::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        match source {
            Source::Registered => Self::Registered,
            Source::Gossip => Self::Gossip,
            Source::Dht => Self::Dht,
        }
    }
}

impl From<KindView> for EntityKind {
    fn from(kind: KindView) -> Self {
        match kind {
            KindView::Agent => Self::Agent,
            KindView::Service => Self::Service,
        }
    }
}

impl From<&Skill> for SkillView {
    fn from(skill: &Skill) -> Self {
        let Skill { id, name, description, tags } = skill.clone();
        Self { id, name, description, tags }
    }
}

/// When something came and how, for views of what is not an [`Entity`].
pub(super) struct Known {
    pub(super) status: StatusView,
    pub(super) source: SourceView,
    pub(super) registered: Wall,
    pub(super) updated: Wall,
    pub(super) heartbeat: Option<Wall>,
    pub(super) card_stored: bool,
}

impl EntityView {
    /// An entity of this registry.
    pub(super) fn of(entity: &Entity, now: Now) -> Self {
        let known = Known {
            status: entity.status(now).into(),
            source: entity.source.into(),
            registered: entity.registered,
            updated: entity.updated,
            heartbeat: entity.heartbeat,
            card_stored: entity.card.is_some(),
        };
        Self::build(&entity.record, &entity.listing, &known)
    }

    /// Any verified record with the words that were derived from it.
    pub(super) fn build(record: &Record, listing: &Listing, known: &Known) -> Self {
        let kind = match listing.kind {
            EntityKind::Agent => KindView::Agent,
            EntityKind::Service => KindView::Service,
        };
        Self {
            schema: "homing.entity/v1",
            node_id: record.node_id().to_string(),
            address: Address::of(&record.node_id()).to_string(),
            name: record.name.as_ref().map(ToString::to_string),
            status: known.status,
            sequence: record.sequence.0,
            issued: time(record.issued),
            expires: time(record.expires),
            registered: time(known.registered),
            updated: time(known.updated),
            source: known.source,
            heartbeat: known.heartbeat.map(time),
            kind,
            title: listing.title.clone(),
            summary: listing.summary.clone(),
            category: listing.category.clone(),
            tags: listing.tags.clone(),
            skills: listing.skills.iter().map(SkillView::from).collect(),
            protocols: listing.protocols.clone(),
            service_url: listing.service_url.clone(),
            openapi_url: listing.openapi_url.clone(),
            pricing: listing.pricing.clone(),
            owner: listing.owner.clone(),
            services: record.services.iter().map(ToString::to_string).collect(),
            relays: record.relays.iter().map(|r| r.url.clone()).collect(),
            card: record.card.as_ref().map(|card| CardView {
                url: card.url.clone(),
                sha256: HEXLOWER.encode(&card.sha256),
                stored: known.card_stored,
            }),
            record: BASE64URL_NOPAD.encode(record.bytes()),
        }
    }
}

/// RFC 3339. A record may name times that no calendar of RFC 3339 has: years past 9999 are cut there.
pub(super) fn time(wall: Wall) -> String {
    const LAST: Wall = Wall(253_402_300_799_999);
    wall.min(LAST).to_string()
}

/// Where and how fast an answer was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FoundView {
    /// The layer that had it.
    pub(super) layer: LayerView,
    /// Time since the record was signed.
    pub(super) age_ms: u64,
    /// Time spent in each layer that was asked, in order.
    pub(super) spent: Vec<SpentView>,
}

/// Time spent in one layer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SpentView {
    /// Which.
    pub(super) layer: LayerView,
    /// How long, in microseconds.
    pub(super) us: u64,
}

/// Where answers come from, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LayerView {
    /// This registry's own tables.
    Local,
    /// Connected neighbours.
    Neighbours,
    /// What gossip brought.
    Gossip,
    /// The DHT.
    Dht,
}

impl From<crate::network::Layer> for LayerView {
    fn from(layer: crate::network::Layer) -> Self {
        use crate::network::Layer;
        match layer {
            Layer::Local => Self::Local,
            Layer::Neighbours => Self::Neighbours,
            Layer::Gossip => Self::Gossip,
            Layer::Dht => Self::Dht,
        }
    }
}

impl LayerView {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Neighbours => "neighbours",
            Self::Gossip => "gossip",
            Self::Dht => "dht",
        }
    }
}

/// An entity, and where it was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FoundEntity {
    #[serde(flatten)]
    pub(super) entity: EntityView,
    /// Where and how fast.
    pub(super) found: FoundView,
}

/// One page of entities.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct EntityPage {
    /// `homing.entities/v1`.
    pub(super) schema: &'static str,
    /// In the order of registration.
    pub(super) items: Vec<EntityView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) next: Option<String>,
}

/// One version of an entity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct VersionView {
    /// Its sequence.
    pub(super) sequence: u64,
    /// When it was signed.
    #[schema(format = DateTime)]
    pub(super) issued: String,
    /// When it stops or stopped being true.
    #[schema(format = DateTime)]
    pub(super) expires: String,
    /// When it came here.
    #[schema(format = DateTime)]
    pub(super) received: String,
    /// How it came here.
    pub(super) source: SourceView,
    /// Whether it is a tombstone.
    pub(super) withdrawn: bool,
    /// The signed record, base64url of the COSE object.
    pub(super) record: String,
}

impl From<&Version> for VersionView {
    fn from(version: &Version) -> Self {
        let record = &version.record;
        Self {
            sequence: record.sequence.0,
            issued: time(record.issued),
            expires: time(record.expires),
            received: time(version.received),
            source: version.source.into(),
            withdrawn: record.is_withdrawn(),
            record: BASE64URL_NOPAD.encode(record.bytes()),
        }
    }
}

/// One page of versions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct HistoryPage {
    /// `homing.history/v1`.
    pub(super) schema: &'static str,
    /// Whose.
    pub(super) node_id: String,
    /// Newest first.
    pub(super) items: Vec<VersionView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) next: Option<String>,
}
