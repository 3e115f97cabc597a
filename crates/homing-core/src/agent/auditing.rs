//! What of an agent's doings goes into the audit log. Each [`Output::Audit`] stands before the outputs that
//! tell others of it.

use homing_base::{InstanceId, IpnsRecord, NodeId, Now, Record, Seq};

use super::Agent;
use crate::audit::Hash;
use crate::audit::entry::{
    EvidenceVerdict, Fact, KeyEvent, RecordChange, ReferenceUpdate, RoleChange, TrustChange,
    endpoints_digest,
};
use crate::io::{Output, TrustState, Version};

impl Agent {
    /// Puts a fact into the log.
    pub(super) fn audit(&mut self, now: Now, fact: Fact) {
        self.outputs.push_back(Output::Audit { time: now.wall, fact: Box::new(fact) });
    }

    /// The own record: logged when its endpoints are others, or when it is a tombstone.
    pub(super) fn audit_record(&mut self, now: Now, record: &Record) {
        let new = endpoints_digest(record);
        let old = self.audited_endpoints.replace(new);
        if old == Some(new) && record.withdrawn.is_none() {
            return;
        }
        let (sequence, withdrawn) = (record.sequence.0, record.withdrawn);
        let record = Hash::digest(record.bytes());
        self.audit(now, Fact::Record(RecordChange { sequence, old, new, record, withdrawn }));
    }

    pub(super) fn audit_trust(&mut self, now: Now, peer: NodeId, from: TrustState, to: TrustState) {
        let pair = self.trust.pair(peer);
        let ours = pair.and_then(|p| p.ours.as_ref()).map(|s| Hash::digest(s.bytes()));
        let theirs = pair.and_then(|p| p.theirs.as_ref()).map(|s| Hash::digest(s.bytes()));
        let (from, to) = (from.label().into(), to.label().into());
        self.audit(now, Fact::Trust(TrustChange { peer, from, to, ours, theirs }));
    }

    /// A new version of a reference, or its end.
    pub(super) fn audit_reference(&mut self, now: Now, version: &Version, record: &IpnsRecord) {
        let update = ReferenceUpdate {
            name: version.ipns.to_string(),
            sequence: version.sequence,
            previous: version.previous.clone(),
            value: if version.withdrawn { String::new() } else { version.value.clone() },
            timestamp: version.at,
            signature: record.signature().to_vec(),
            record: Hash::digest(record.bytes()),
        };
        self.audit(now, Fact::Reference(update));
    }

    pub(super) fn audit_equivocation(&mut self, now: Now, first: &Record, second: &Record) {
        let both = [first.bytes(), second.bytes()].concat();
        let verdict = EvidenceVerdict {
            subject: first.node_id(),
            evidence: "record_equivocation".into(),
            digest: Hash::digest(&both),
            verdict: format!("two records of sequence {}", first.sequence.0),
        };
        self.audit(now, Fact::Evidence(verdict));
    }

    pub(super) fn audit_superseded(&mut self, now: Now, by: InstanceId, sequence: Seq) {
        let event = KeyEvent {
            event: format!("superseded at sequence {}", sequence.0),
            purpose: "instance".into(),
            key: None,
            digest: Some(Hash::digest(&by.0)),
        };
        self.audit(now, Fact::Key(event));
    }

    pub(super) fn audit_role(&mut self, now: Now, role: &str, on: bool) {
        self.audit(now, Fact::Role(RoleChange { role: role.into(), on }));
    }
}
