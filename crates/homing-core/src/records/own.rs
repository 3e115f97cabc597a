//! The own record: when to sign it anew, with which sequence, and whether this run still may.
//!
//! ```text
//! facts, settings ──► wanted content ──differs, half its life gone, clock set back──► sign (seq+1)
//! a higher sequence of this identity from elsewhere:
//!    first 15 s of the run, at most twice ──► outbid it   (clock set back, store lost)
//!    otherwise                            ──► superseded, for the rest of this run
//! ```
//! `sequence = max(previous + 1, unix ms)`. The trust floor only rises.

use std::time::Duration;

use homing_base::cbor::CborError;
use homing_base::limits::{DIRECT_ADDRESSES_MAX, RECORD_LIFETIME_MAX, RELAYS_MAX, SERVICES_MAX};
use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, Mono, Now, Record, RecordError, Seq, Service, Wall};

use crate::io::{EndpointFacts, Settings};
use crate::limits::{ADOPT_WINDOW, ADOPTIONS_MAX, CLOCK_BACK_MAX, PUBLISH_INTERVAL};

/// What this identity says about itself.
#[derive(Debug)]
pub(crate) struct Own {
    /// The record of this run.
    record: Option<Record>,
    /// What it was made from, before anything was left out.
    wanted: Option<AgentRecord>,
    /// The highest sequence ever seen, of any run.
    previous: Seq,
    /// Consents issued before are void unless held.
    pub floor: Option<Wall>,
    pub services: Vec<Service>,
    pub card: Option<CardRef>,
    started: Mono,
    published: Option<Mono>,
    adoptions: u8,
    superseded: Option<Record>,
    superseded_at: Mono,
    /// The sequence must be outbid at the next opportunity, whatever the content.
    outbid: bool,
}

/// What a record of our own identity means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSeen {
    /// Nothing new.
    Known,
    /// An older run's, or ours: peers that show it should be given ours.
    Old,
    /// To be outbid: sign again.
    Outbid,
    /// Another instance runs: give way.
    Superseded,
}

impl Own {
    pub(crate) fn new(now: Now, settings: &Settings, stored: Option<&Record>) -> Self {
        Self {
            record: None,
            wanted: None,
            previous: stored.map_or(Seq(0), |r| r.sequence),
            floor: stored.and_then(|r| r.trust_floor),
            services: settings.services.clone(),
            card: stored.and_then(|r| r.card.clone()),
            started: now.mono,
            published: None,
            adoptions: 0,
            superseded: None,
            superseded_at: now.mono,
            outbid: false,
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The record of the instance that replaced this one.
    pub(crate) fn superseded(&self) -> Option<&Record> {
        self.superseded.as_ref()
    }

    pub(crate) fn superseded_at(&self) -> Mono {
        self.superseded_at
    }

    /// Raises the floor; `true` if it rose.
    pub(crate) fn raise_floor(&mut self, to: Option<Wall>) -> bool {
        let rises = to > self.floor;
        self.floor = self.floor.max(to);
        rises
    }

    /// What a record of this identity, found elsewhere, means for this run.
    pub(crate) fn on_seen(&mut self, now: Now, seen: &Record, settings: &Settings) -> OwnSeen {
        if seen.instance == settings.instance {
            return OwnSeen::Known;
        }
        let Some(own) = &self.record else {
            self.previous = self.previous.max(seen.sequence);
            return OwnSeen::Known;
        };
        if self.superseded.as_ref().unwrap_or(own).precedence(seen).is_ge() {
            return OwnSeen::Old;
        }
        let early = now.mono.since(self.started) < ADOPT_WINDOW;
        if self.superseded.is_none() && early && self.adoptions < ADOPTIONS_MAX {
            self.adoptions += 1;
            self.previous = self.previous.max(seen.sequence);
            self.outbid = true;
            return OwnSeen::Outbid;
        }
        if self.superseded.is_none() {
            self.superseded_at = now.mono;
        }
        self.superseded = Some(seen.clone());
        OwnSeen::Superseded
    }

    /// When [`Own::due`] may turn true by itself.
    pub(crate) fn deadline(&self, now: Now, settings: &Settings) -> Option<Mono> {
        let record = self.record.as_ref().filter(|_| self.superseded.is_none())?;
        let half = record.issued.after(half_life(settings));
        Some(now.mono.after(half.since(now.wall).max(Duration::from_millis(1))))
    }

    /// When a changed content may be published.
    pub(crate) fn not_before(&self) -> Option<Mono> {
        self.published.map(|at| at.after(PUBLISH_INTERVAL))
    }

    /// Whether the record must be signed anew, and may be.
    pub(crate) fn due(
        &self,
        now: Now,
        key: &IdentityKey,
        settings: &Settings,
        facts: &EndpointFacts,
    ) -> bool {
        let Some(record) = &self.record else { return true };
        let aged = now.wall.since(record.issued) >= half_life(settings);
        let clock_went_back = record.issued.since(now.wall) > CLOCK_BACK_MAX;
        if self.outbid || aged || clock_went_back {
            return true;
        }
        self.differs(key, settings, facts)
    }

    /// Only a change of content waits for its turn.
    pub(crate) fn may_publish(&self, now: Now) -> bool {
        self.outbid || self.not_before().is_none_or(|at| at <= now.mono)
    }

    fn differs(&self, key: &IdentityKey, settings: &Settings, facts: &EndpointFacts) -> bool {
        self.wanted.as_ref() != Some(&self.content(key, settings, facts))
    }

    /// Everything but sequence and lifetime, cut to the format's bounds.
    fn content(
        &self,
        key: &IdentityKey,
        settings: &Settings,
        facts: &EndpointFacts,
    ) -> AgentRecord {
        let mut content =
            AgentRecord::new(key.public(), settings.instance, Seq::default(), Wall::default());
        content.name = settings.name.clone();
        content.relays = facts.relays.iter().take(RELAYS_MAX).cloned().collect();
        if facts.publish_direct {
            content.direct = facts.direct.iter().take(DIRECT_ADDRESSES_MAX).copied().collect();
        }
        content.services = self.services.iter().take(SERVICES_MAX).cloned().collect();
        content.card = self.card.clone();
        content.trust_floor = self.floor;
        content
    }

    /// Signs the next record; it counts only after [`Own::keep`]. What does not fit into a record
    /// is left out: addresses first, then services, then relays but the home relay.
    pub(crate) fn sign(
        &self,
        now: Now,
        key: &IdentityKey,
        settings: &Settings,
        facts: &EndpointFacts,
    ) -> Result<Signed, RecordError> {
        let content = self.content(key, settings, facts);
        let mut record = content.clone();
        record.sequence = self.previous.next(now.wall);
        record.issued = now.wall;
        record.expires = now.wall.after(settings.record_lifetime.min(RECORD_LIFETIME_MAX));
        loop {
            match record.clone().sign(key) {
                Err(RecordError::Encoding(CborError::TooLong { .. })) if shrink(&mut record) => {}
                Err(e) => return Err(e),
                Ok(record) => return Ok(Signed { record, content }),
            }
        }
    }

    /// The signed record was persisted: it is the own record now.
    pub(crate) fn keep(&mut self, now: Now, signed: Signed) {
        self.previous = self.previous.max(signed.record.sequence);
        self.record = Some(signed.record);
        self.wanted = Some(signed.content);
        self.published = Some(now.mono);
        self.outbid = false;
    }
}

/// A record that is to be persisted before it is [kept](Own::keep).
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub record: Record,
    content: AgentRecord,
}

fn shrink(record: &mut AgentRecord) -> bool {
    let shorter = record.direct.pop().is_some() || record.services.pop().is_some();
    shorter || (record.relays.len() > 1 && record.relays.pop().is_some())
}

fn half_life(settings: &Settings) -> Duration {
    settings.record_lifetime.min(RECORD_LIFETIME_MAX) / 2
}
