//! Identities, records and registrations with small numbers for names.

use std::time::Duration;

use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, Name, Now, Seq, Wall};
use homing_registry::entity::{Source, StoredCard};
use homing_registry::listing::{Listing, Skill};
use homing_registry::storage::Registration;
use sha2::{Digest, Sha256};

/// The clock of all tests at their beginning, Unix milliseconds.
pub(crate) const T0: u64 = 1_780_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000;

pub(crate) fn at(ms: u64) -> Now {
    Now { mono: Mono(ms), wall: Wall(T0 + ms) }
}

pub(crate) fn key(n: u32) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    IdentityKey::from_seed(seed)
}

/// A registration that can be varied before it is signed.
pub(crate) struct Draft {
    key: IdentityKey,
    pub(crate) record: AgentRecord,
    pub(crate) listing: Listing,
    pub(crate) card: Option<StoredCard>,
    pub(crate) source: Source,
}

/// Identity `n` says its `sequence`-th word, `sequence` ms after the beginning.
pub(crate) fn draft(n: u32, sequence: u64) -> Draft {
    let key = key(n);
    let wall = Wall(T0 + sequence);
    let instance = InstanceId([3; 32]);
    let record = AgentRecord::new(key.public(), instance, Seq(T0 + sequence), wall);
    let listing = Listing { title: format!("agent {n}"), ..Listing::default() };
    Draft { key, record, listing, card: None, source: Source::Registered }
}

impl Draft {
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.record.name = Some(name.parse::<Name>().unwrap());
        self
    }

    pub(crate) fn title(mut self, title: &str) -> Self {
        self.listing.title = title.into();
        self
    }

    pub(crate) fn summary(mut self, summary: &str) -> Self {
        self.listing.summary = summary.into();
        self
    }

    pub(crate) fn category(mut self, category: &str) -> Self {
        self.listing.category = category.into();
        self
    }

    pub(crate) fn tags(mut self, tags: &[&str]) -> Self {
        self.listing.tags = tags.iter().map(|t| (*t).to_owned()).collect();
        self.record.tags = self.listing.tags.clone();
        self
    }

    pub(crate) fn protocols(mut self, protocols: &[&str]) -> Self {
        self.listing.protocols = protocols.iter().map(|p| (*p).to_owned()).collect();
        self
    }

    pub(crate) fn skill(mut self, id: &str, description: &str) -> Self {
        let name = id.replace('-', " ");
        let description = description.to_owned();
        self.listing.skills.push(Skill { id: id.into(), name, description, tags: Vec::new() });
        self
    }

    /// Lives for so long after it was issued.
    pub(crate) fn lives(mut self, ms: u64) -> Self {
        self.record.expires = self.record.issued.after(Duration::from_millis(ms));
        self
    }

    pub(crate) fn withdrawn(mut self) -> Self {
        self.record.withdrawn = Some(true);
        self
    }

    /// Other bytes, the same sequence.
    pub(crate) fn varied(mut self, by: u8) -> Self {
        self.record.attestation = Some([by; 32]);
        self
    }

    pub(crate) fn with_card(mut self, bytes: &[u8]) -> Self {
        let card = card(bytes);
        self.record.card =
            Some(CardRef { url: "https://example.org/card".into(), sha256: card.sha256 });
        self.card = Some(card);
        self
    }

    pub(crate) fn done(self) -> Registration {
        let record = self.record.sign(&self.key).unwrap();
        Registration { record, listing: self.listing, card: self.card, source: self.source }
    }
}

pub(crate) fn card(bytes: &[u8]) -> StoredCard {
    let sha256 = Sha256::digest(bytes).into();
    StoredCard { bytes: bytes.to_vec(), sha256, fetched: Wall(T0) }
}
