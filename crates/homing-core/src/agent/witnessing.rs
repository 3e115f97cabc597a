//! The audit log and its witnesses: whom they are, over which link they are asked, what follows.
//!
//! Every trusted peer that can be told something is a witness, and this node is theirs. Not here: the
//! machine ([`crate::audit::witness`]), the log itself.

use std::collections::BTreeMap;

use homing_base::{NodeId, Now};

use super::Agent;
use crate::audit::Hash;
use crate::audit::entry::{EvidenceVerdict, Fact};
use crate::audit::witness::{Fork, Submission, WitnessOutput, Word};
use crate::io::{Answer, Event, LinkId, LogNews, LogOrder, Output, Write};
use crate::message::Message;

impl Agent {
    pub(super) fn on_log_news(&mut self, now: Now, news: LogNews) {
        match news {
            LogNews::Opened { delegation, head } => self.witness.open(now, &delegation, head),
            LogNews::Head(head) => self.witness.commit(now, head),
            LogNews::Proof { witness, head, proof } => self.witness.on_proof(witness, &head, proof),
        }
        self.pump_witness(now);
        self.dirty = true;
    }

    /// A head that came over HTTP. The cosignature is answered behind the write that keeps the head.
    pub(super) fn cosign_for_registry(&mut self, now: Now, submission: &Submission) -> Answer {
        let cosigned = self.witness.cosign(now, submission).map(Box::new);
        self.pump_witness(now);
        self.dirty = true;
        Answer::Cosigned(cosigned)
    }

    pub(super) fn on_audit_word(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        if !self.active() || !self.trust.is_mutual(now, peer) {
            return;
        }
        let Ok(word) = Word::decode(bytes) else { return self.on_garbage(now, id) };
        self.tend_witness(now);
        self.witness.on_word(now, peer, word);
        self.pump_witness(now);
    }

    /// Tells the machine whose links came and went, and that time has passed.
    pub(super) fn tend_witness(&mut self, now: Now) {
        if !self.active() {
            return;
        }
        let link = |peer| Some((peer, self.mail_link(now, peer)?.0));
        let up: BTreeMap<NodeId, LinkId> = self.links.peers().filter_map(link).collect();
        let gone: Vec<NodeId> = self.witness.up().filter(|peer| !up.contains_key(peer)).collect();
        gone.into_iter().for_each(|peer| self.witness.peer_down(peer));
        up.into_iter().for_each(|(peer, link)| self.witness.peer_up(peer, link));
        if self.witness.next_wakeup().is_some_and(|at| at <= now.mono) {
            self.witness.wake(now);
        }
        self.pump_witness(now);
    }

    fn pump_witness(&mut self, now: Now) {
        while let Some(output) = self.witness.poll_output() {
            let order = match output {
                WitnessOutput::Persist(write) => {
                    self.persist(vec![Write::Witness(write)]);
                    continue;
                }
                WitnessOutput::Send(peer, word) => {
                    if let Some((link, _)) = self.mail_link(now, peer) {
                        self.send(link, Message::Audit(word.encode()));
                    }
                    continue;
                }
                WitnessOutput::Forked(owner, fork) => {
                    self.on_log_forked(now, owner, &fork);
                    continue;
                }
                WitnessOutput::Prove { witness, old } => LogOrder::Prove { witness, old },
                WitnessOutput::Release => LogOrder::Release,
                WitnessOutput::Refuse(why) => LogOrder::Refuse(why),
                WitnessOutput::Cosigned(note, said) => LogOrder::Cosigned(note, said),
            };
            self.outputs.push_back(Output::AuditLog(order));
        }
    }

    fn on_log_forked(&mut self, now: Now, owner: NodeId, fork: &Fork) {
        let both = [fork.first.as_bytes(), fork.second.as_bytes()].concat();
        let verdict = EvidenceVerdict {
            subject: owner,
            evidence: "log_fork".into(),
            digest: Hash::digest(&both),
            verdict: "two histories".into(),
        };
        self.audit(now, Fact::Evidence(verdict));
        self.notify(Event::LogForked { owner });
    }
}
