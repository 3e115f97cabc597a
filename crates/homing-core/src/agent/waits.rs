//! Commands that take time: each waits for one thing and ends by its deadline at the latest.
//!
//! ```text
//! Find ──landed──► the command runs with a node ID ──► Record | Echo | Path ──► Reply
//!                      └─► Word ──► runs again          (Word: see super::restoring)
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Service};

use super::Agent;
use super::lookups::{ask_key, came_from};
use crate::io::{
    Answer, Command, DialTarget, Door, Failure, Layer, LinkId, Output, PeerRef, RequestId,
    Resolution, TrustState,
};
use crate::limits::{ECHO_AFTER_REFUSAL, ECHO_REFUSALS_MAX, ECHO_REPEAT};
use crate::links::redial::Goal;
use crate::message::{AskKey, EchoReply, Message, Refusal};
use crate::resolve::Landing;

/// A command in progress.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) stage: Stage,
    pub(super) started: Mono,
    /// When it ends, whatever happened.
    pub(super) ends: Mono,
}

/// What a command waits for.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Whom the reference means.
    Find { reference: PeerRef, command: Box<Command> },
    /// That the peer tells again whether it is trusted.
    Word { peer: NodeId, command: Box<Command>, until: Mono },
    /// A record of the peer.
    Record { peer: NodeId },
    /// The peer's answer to a ping.
    Echo { peer: NodeId, echoes: Echoes },
    /// A confirmed link between both main doors.
    Path { peer: NodeId, service: Service },
    /// The end of a lookup in the DHT.
    DhtLookup,
}

/// A user's ping and its repetitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Echoes {
    sent: BTreeMap<u64, (LinkId, Mono)>,
    again: Option<Mono>,
    refusals: u32,
    refusal: Option<Refusal>,
}

impl Wait {
    pub(super) fn peer(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Find { .. } | Stage::Word { .. } | Stage::DhtLookup => None,
            Stage::Record { peer } | Stage::Echo { peer, .. } | Stage::Path { peer, .. } => {
                Some(*peer)
            }
        }
    }

    /// The peer that must be connected for this.
    pub(super) fn wants_link(&self) -> Option<NodeId> {
        self.peer().filter(|_| !matches!(self.stage, Stage::Record { .. }))
    }

    pub(super) fn deadline(&self) -> Mono {
        match &self.stage {
            Stage::Echo { echoes, .. } => echoes.again.unwrap_or(Mono::MAX).min(self.ends),
            Stage::Word { until, .. } => (*until).min(self.ends),
            _ => self.ends,
        }
    }
}

impl Agent {
    pub(super) fn reply(&mut self, request: RequestId, answer: Result<Answer, Failure>) {
        self.waits.remove(&request);
        self.dirty = true;
        self.outputs.push_back(Output::Reply { request, answer });
    }

    pub(super) fn wait(&mut self, now: Now, request: RequestId, stage: Stage, ends: Mono) {
        let started = self.waits.get(&request).map_or(now.mono, |wait| wait.started);
        self.waits.insert(request, Wait { stage, started, ends });
        self.dirty = true;
    }

    /// A lookup is over: commands that waited for it go on.
    pub(super) fn resume_waits(&mut self, now: Now, landing: &Landing) {
        let waiting = |wait: &Wait| match &wait.stage {
            Stage::Find { reference, .. } => ask_key(reference) == landing.key,
            Stage::Record { peer } => AskKey::NodeId(*peer) == landing.key,
            _ => false,
        };
        let resumed: Vec<(RequestId, Wait)> = self
            .waits
            .iter()
            .filter(|(_, wait)| waiting(wait))
            .map(|(request, wait)| (*request, wait.clone()))
            .collect();
        for (request, wait) in resumed {
            match wait.stage {
                Stage::Find { reference, command } => {
                    match self.decide(now, &reference, landing.flight.asked.len()) {
                        Ok(meaning) => {
                            self.run(now, request, *command, meaning, wait.ends, Some(landing));
                        }
                        Err(failure) => self.reply(request, Err(failure)),
                    }
                }
                Stage::Record { peer } => self.finish_record(now, request, peer, Some(landing)),
                Stage::Word { .. } | Stage::Echo { .. } | Stage::Path { .. } | Stage::DhtLookup => {
                }
            }
        }
    }

    /// Whether a user waits for this lookup.
    pub(super) fn is_awaited(&self, key: &AskKey) -> bool {
        self.waits.values().any(|wait| match &wait.stage {
            Stage::Find { reference, .. } => ask_key(reference) == *key,
            Stage::Record { peer } | Stage::Echo { peer, .. } | Stage::Path { peer, .. } => {
                AskKey::NodeId(*peer) == *key
            }
            Stage::Word { .. } | Stage::DhtLookup => false,
        })
    }

    pub(super) fn finish_record(
        &mut self,
        now: Now,
        request: RequestId,
        peer: NodeId,
        landing: Option<&Landing>,
    ) {
        let Some(record) = self.known.valid(now, peer).cloned() else {
            let asked = landing.map_or(0, |l| l.flight.asked.len());
            let failure = Failure::NotFound { what: peer.to_string(), asked };
            return self.reply(request, Err(failure));
        };
        let local = (Layer::Local, Duration::ZERO);
        let asked = landing.iter().flat_map(|l| l.flight.spent.iter().copied());
        let found = landing.and_then(|l| l.flight.found_in);
        let resolution = Resolution {
            age: now.wall.since(record.issued),
            record,
            layer: found.unwrap_or(Layer::Local),
            spent: [local].into_iter().chain(asked).collect(),
            from: came_from(landing),
            replicas: landing.and_then(|l| l.flight.replicas),
        };
        self.reply(request, Ok(Answer::Resolved(Box::new(resolution))));
    }

    /// Does what can be done for every waiting command.
    pub(super) fn advance_waits(&mut self, now: Now) {
        self.end_recalls(now);
        for request in self.waits.keys().copied().collect::<Vec<_>>() {
            if let Some(by) = self.superseded_by() {
                self.reply(request, Err(Failure::Superseded { by }));
                continue;
            }
            let recalls = |wait: &&Wait| matches!(wait.stage, Stage::Word { .. });
            let wait = self.waits.get(&request).filter(|wait| !recalls(wait));
            let Some(wait) = wait.cloned() else { continue };
            let is_over = wait.ends <= now.mono;
            match wait.stage {
                Stage::Find { reference, .. } if is_over => {
                    let failure = self.decide(now, &reference, 0).err();
                    let what = format!("an answer about {reference}");
                    self.reply(request, Err(failure.unwrap_or(Failure::Timeout { what })));
                }
                Stage::Record { peer } if is_over => {
                    self.finish_record(now, request, peer, None);
                }
                Stage::DhtLookup if is_over => {
                    let what = "the DHT to answer".to_owned();
                    self.reply(request, Err(Failure::Timeout { what }));
                }
                Stage::Find { .. }
                | Stage::Word { .. }
                | Stage::Record { .. }
                | Stage::DhtLookup => {}
                Stage::Echo { peer, echoes } => {
                    self.advance_echo(now, request, peer, echoes, is_over);
                }
                Stage::Path { peer, service } => {
                    self.advance_path(now, request, peer, &service, is_over);
                }
            }
        }
    }

    fn advance_echo(
        &mut self,
        now: Now,
        request: RequestId,
        peer: NodeId,
        mut echoes: Echoes,
        is_over: bool,
    ) {
        if let Err(failure) = self.check_trusted(now, peer) {
            return self.reply(request, Err(failure));
        }
        let main = self.candidates.get(&peer).map(|c| c.endpoint);
        let Some(link) = self.links.best(peer, main).map(|l| l.id) else {
            return self.advance_unconnected(now, request, peer, is_over);
        };
        if is_over {
            let what = "an answer over a live link".to_owned();
            let failure = match echoes.refusal {
                Some(refusal) => Failure::Refused { peer, refusal },
                None => Failure::Timeout { what },
            };
            return self.reply(request, Err(failure));
        }
        let is_new_link = echoes.sent.values().all(|(over, _)| *over != link);
        if is_new_link || echoes.again.is_none_or(|at| at <= now.mono) {
            let token = self.chance.token();
            echoes.sent.insert(token, (link, now.mono));
            echoes.again = Some(now.mono.after(ECHO_REPEAT));
            self.send(link, Message::Echo(token));
            if let Some(wait) = self.waits.get_mut(&request) {
                wait.stage = Stage::Echo { peer, echoes };
            }
        }
    }

    pub(super) fn on_echo_reply(&mut self, now: Now, _: LinkId, peer: NodeId, reply: EchoReply) {
        let asked = |wait: &Wait| match &wait.stage {
            Stage::Echo { peer: asked, echoes } if *asked == peer => {
                echoes.sent.get(&reply.token).copied()
            }
            _ => None,
        };
        let found = self.waits.iter().find_map(|(r, wait)| asked(wait).map(|sent| (*r, sent)));
        let Some((request, (link, sent))) = found else { return };
        let Some(refusal) = reply.refused else {
            let rtt = now.mono.since(sent);
            return self.reply(request, Ok(Answer::Pinged { peer, rtt, link }));
        };
        let Some(Wait { stage: Stage::Echo { echoes, .. }, .. }) = self.waits.get_mut(&request)
        else {
            return;
        };
        echoes.refusals += 1;
        echoes.refusal = Some(refusal);
        echoes.again = Some(now.mono.after(ECHO_AFTER_REFUSAL));
        // We hold mutual trust and the peer does not: our statements may still be on their way.
        if refusal != Refusal::NotTrusted || echoes.refusals >= ECHO_REFUSALS_MAX {
            self.reply(request, Err(Failure::Refused { peer, refusal }));
        }
    }

    fn advance_path(
        &mut self,
        now: Now,
        request: RequestId,
        peer: NodeId,
        service: &Service,
        is_over: bool,
    ) {
        if let Err(failure) = self.check_scope(now, peer, service) {
            return self.reply(request, Err(failure));
        }
        let link = self.main_link(peer).filter(|l| l.is_confirmed()).map(|l| l.id);
        if let (Some(link), Some(door)) = (link, self.candidates.get(&peer)) {
            let target = DialTarget::Endpoint {
                endpoint: door.endpoint,
                from: Door::Main,
                relays: door.relays.clone(),
                direct: door.direct.clone(),
            };
            return self.reply(request, Ok(Answer::Connected { peer, link, target }));
        }
        if !self.links.is_connected(peer) {
            self.advance_unconnected(now, request, peer, is_over);
        } else if is_over {
            let what = "a link with the peer's main door".to_owned();
            self.reply(request, Err(Failure::Timeout { what }));
        }
    }

    /// No link: on with it, unless there is nothing to try or no time left.
    fn advance_unconnected(&mut self, now: Now, request: RequestId, peer: NodeId, is_over: bool) {
        let goal = self.goals.get(&Goal::Peer(peer));
        let tried: Vec<String> =
            goal.map(|g| g.tried.iter().cloned().collect()).unwrap_or_default();
        let was_attempted = goal.is_some_and(|g| g.seasoned);
        if was_attempted && self.is_hopeless(now, peer) {
            let missing = self.missing_for(peer);
            return self.reply(request, Err(Failure::NoRoute { peer, missing }));
        }
        if !is_over {
            return;
        }
        let last_seen = self.last_seen.get(&peer).copied();
        let failure = if self.own.record().is_none() {
            let missing = "this node has no endpoint yet".to_owned();
            Failure::NoRoute { peer, missing }
        } else if tried.is_empty() {
            Failure::NoRoute { peer, missing: self.missing_for(peer) }
        } else {
            Failure::Offline { peer, last_seen, tried }
        };
        self.reply(request, Err(failure));
    }

    /// What would have to be there to try at all.
    fn missing_for(&self, peer: NodeId) -> String {
        let neighbours = self.links.peers().filter(|p| *p != peer).count();
        let record = match self.known.record(peer) {
            None => "no record of the peer is known",
            Some(r) if r.relays.is_empty() && r.direct.is_empty() => {
                "the peer's record names neither relay nor address"
            }
            Some(r) if r.is_withdrawn() => "the peer's record is withdrawn",
            Some(_) => "the peer's last record has expired",
        };
        let relay = if self.settings.relays.is_empty() {
            "no relay is configured"
        } else {
            "no configured relay answers"
        };
        let asked = match neighbours {
            0 => "no other peer is connected to ask".to_owned(),
            n => format!("{n} connected peers know nothing newer"),
        };
        format!("{record}, no last address works, {relay}, {asked}")
    }

    pub(super) fn check_trusted(&self, now: Now, peer: NodeId) -> Result<(), Failure> {
        match self.trust.state(now, peer) {
            TrustState::Mutual => Ok(()),
            state => Err(Failure::NotTrusted { peer, state }),
        }
    }

    /// Whether the peer lets us use `service`, as far as we know.
    pub(super) fn check_scope(
        &self,
        now: Now,
        peer: NodeId,
        service: &Service,
    ) -> Result<(), Failure> {
        self.check_trusted(now, peer)?;
        let theirs = self.trust.pair(peer).and_then(|p| p.theirs.as_ref());
        match theirs.map(|s| s.scope()) {
            Some(scope) if !service.is_for_all_trusted() && !scope.covers(service) => {
                Err(Failure::ScopeDenied { peer, service: service.clone(), scope })
            }
            _ => Ok(()),
        }
    }
}
