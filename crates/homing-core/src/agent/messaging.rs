//! Messages as this agent uses them: who may send and subscribe, over which link, and in what order
//! things become durable.
//!
//! ```text
//! Command::Send, Command::Messages ─┐                       ┌─► Persist   before the Send behind it
//! Message::Mail ────────────────────┼─► Messages ─► pump ───┼─► Send      over the best link
//! links and trust: PeerUp, PeerDown ┘                       └─► Event::Message
//! ```
//! Both ends must consent: the sender needs the service `message`, a subscriber the service `topic` in the
//! other's statement. Not here: the machine ([`crate::messages`]).

use std::collections::BTreeMap;

use homing_base::{InstanceId, MessageId, Mono, NodeId, Now, Scope, Service};

use super::Agent;
use crate::io::{
    Answer, Batch, Draft, Event, Failure, Incoming, LinkId, MessageCommand, MessagesView, Outgoing,
    OutgoingState, StoredMessages, Subscription, Write,
};
use crate::message::Message;
use crate::messages::wire::{self, Mail, Receipt};
use crate::messages::{Full, Messages, MessagesInput, MessagesOutput, Rights, SendError};

/// This agent's part of messages.
pub(super) struct Messaging {
    messages: Messages,
    /// Peers that the machine was told of, and over what.
    up: BTreeMap<NodeId, (LinkId, InstanceId)>,
}

impl Messaging {
    pub(super) fn new(me: NodeId, stored: StoredMessages, seed: [u8; 32], now: Now) -> Box<Self> {
        Box::new(Self { messages: Messages::new(me, seed, stored, now), up: BTreeMap::new() })
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.messages.next_wakeup()
    }
}

impl Agent {
    // ---- with whom

    /// The link over which `peer` is told something, and its run; trust must be mutual.
    pub(super) fn mail_link(&self, now: Now, peer: NodeId) -> Option<(LinkId, InstanceId)> {
        let main = self.candidates.get(&peer).map(|door| door.endpoint);
        let link = self.links.best(peer, main).filter(|l| !l.brief && l.told.record.is_some())?;
        let proven = link.proven.filter(|_| self.trust.is_mutual(now, peer))?;
        Some((link.id, proven.instance))
    }

    /// Tells the machine whose links came and went, and that time has passed.
    pub(super) fn tend_messages(&mut self, now: Now) {
        if !self.active() {
            return;
        }
        let peers: Vec<NodeId> = self.links.peers().collect();
        let up: BTreeMap<_, _> =
            peers.into_iter().filter_map(|peer| Some((peer, self.mail_link(now, peer)?))).collect();
        let before = std::mem::replace(&mut self.messaging.up, up.clone());
        for peer in before.keys().filter(|peer| !up.contains_key(peer)) {
            self.messaging.messages.handle(now, MessagesInput::PeerDown { peer: *peer });
        }
        for (peer, place) in up.iter().filter(|(peer, place)| before.get(peer) != Some(place)) {
            let input = MessagesInput::PeerUp { peer: *peer, instance: place.1 };
            self.messaging.messages.handle(now, input);
        }
        if self.messaging.deadline().is_some_and(|at| at <= now.mono) {
            self.messaging.messages.handle(now, MessagesInput::Wakeup);
        }
        self.pump_messages(now);
    }

    /// What a peer may do here, by our own word.
    fn rights_of(&self, now: Now, peer: NodeId) -> Rights {
        let trusted = self.trust.is_mutual(now, peer);
        let ours = self.trust.pair(peer).and_then(|p| p.ours.as_ref());
        let scope = ours.map_or(Scope::Only([].into()), |s| s.scope());
        let covers = |service: &str| {
            trusted && service.parse::<Service>().is_ok_and(|service| scope.covers(&service))
        };
        Rights { trusted, message: covers(Service::MESSAGE), topic: covers(Service::TOPIC) }
    }

    pub(super) fn on_mail(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        if !self.active() {
            return;
        }
        let mail = match wire::decode(bytes) {
            Ok(mail) => mail,
            Err(_) => return self.on_garbage(now, id),
        };
        if !self.messaging.up.contains_key(&peer) {
            // Trust, or the greeting, may be a moment old.
            self.tend_messages(now);
        }
        let rights = self.rights_of(now, peer);
        if !rights.trusted {
            self.counters.mail_refused += 1;
            return self.refuse_mail(id, &mail);
        }
        self.messaging.messages.handle(now, MessagesInput::Mail { from: peer, mail, rights });
        self.pump_messages(now);
    }

    /// Somebody without trust is told so once per batch; nothing of it is looked at.
    fn refuse_mail(&mut self, id: LinkId, mail: &Mail) {
        if let Mail::Deliver(parcels) = mail
            && let Some(first) = parcels.first()
        {
            let verdict = crate::io::Verdict::NotTrusted;
            let receipts = Mail::Receipts(vec![Receipt { id: first.id, verdict }]);
            self.send(id, Message::Mail(wire::encode(&receipts)));
        }
    }

    // ---- what the user wants

    /// Takes a message for a peer that lets us.
    pub(super) fn send_message(
        &mut self,
        now: Now,
        peer: NodeId,
        draft: Draft,
    ) -> Result<Answer, Failure> {
        self.check_active()?;
        let service = Service::MESSAGE.parse().expect("a service name");
        self.check_scope(now, peer, &service)?;
        let sent = self.messaging.messages.send(now, peer, draft);
        self.pump_messages(now);
        Ok(Answer::Sent { peer, id: sent.map_err(failure)? })
    }

    pub(super) fn on_message_command(
        &mut self,
        now: Now,
        command: MessageCommand,
    ) -> Result<Answer, Failure> {
        self.check_active()?;
        let messages = &mut self.messaging.messages;
        let full = |full: Full| Failure::Limit { what: full.what, max: full.max };
        let answer = match command {
            MessageCommand::Cancel(id) => Ok(Answer::Done { changed: messages.cancel(id) }),
            MessageCommand::Consume(list) => {
                Ok(Answer::Done { changed: messages.consume(&list) > 0 })
            }
            MessageCommand::Fetched { from, id, outcome } => {
                Ok(Answer::Done { changed: messages.fetched(from, id, outcome) })
            }
            MessageCommand::Listen(topics) => {
                messages.listen(topics).map(|changed| Answer::Done { changed }).map_err(full)
            }
            MessageCommand::Keep(topic, keep) => {
                messages.keep(topic, keep).map(|changed| Answer::Done { changed }).map_err(full)
            }
            MessageCommand::Publish { topic, body } => {
                let subscribers = messages.subscribers();
                let mut allowed: Vec<NodeId> = subscribers.into_iter().map(|(p, _)| p).collect();
                allowed.retain(|peer| self.rights_of(now, *peer).topic);
                let messages = &mut self.messaging.messages;
                let told = messages.publish(now, &topic, &body, |peer| allowed.contains(&peer));
                told.map(|peers| Answer::Published { peers }).map_err(failure)
            }
        };
        self.pump_messages(now);
        answer
    }

    // ---- what comes out

    fn pump_messages(&mut self, now: Now) {
        let mut batch = Batch::new();
        while let Some(output) = self.messaging.messages.poll_output() {
            match output {
                MessagesOutput::Persist(write) => batch.push(Write::Message(write)),
                MessagesOutput::Send { to, mail } => {
                    // What a receipt says, or a batch carries, is durable before it leaves.
                    self.persist(std::mem::take(&mut batch));
                    if let Some((link, _)) = self.mail_link(now, to) {
                        self.send(link, Message::Mail(wire::encode(&mail)));
                    }
                }
                MessagesOutput::Notify(event) => {
                    self.persist(std::mem::take(&mut batch));
                    self.notify(Event::Message(event));
                }
            }
        }
        self.persist(batch);
        if let Some(at) = self.messaging.deadline() {
            self.wake_by(at);
        }
    }

    // ---- questions

    /// Unread messages, oldest first; files that are not fetched yet included.
    pub fn inbox(&self) -> impl Iterator<Item = &Incoming> {
        self.messaging.messages.inbox()
    }

    /// Messages that are not delivered yet, by peer and age.
    pub fn outbox(&self) -> impl Iterator<Item = (&Outgoing, OutgoingState)> {
        self.messaging.messages.outbox()
    }

    /// One message that is not delivered yet.
    #[must_use]
    pub fn outgoing(&self, id: MessageId) -> Option<(&Outgoing, OutgoingState)> {
        self.messaging.messages.outgoing(id)
    }

    /// Topics that this agent hears.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.messaging.messages.subscriptions()
    }

    /// Who hears which of this agent's topics.
    #[must_use]
    pub fn subscribers(&self) -> Vec<(NodeId, Subscription)> {
        self.messaging.messages.subscribers()
    }

    /// Sizes and counts of messages.
    #[must_use]
    pub fn messages_view(&self) -> MessagesView {
        self.messaging.messages.view()
    }
}

fn failure(error: SendError) -> Failure {
    match error {
        SendError::Full(Full { what, max }) => Failure::Limit { what, max },
        SendError::Long(bytes) => Failure::Invalid(format!(
            "a message has at most {} bytes, this has {bytes}; send it as a file",
            crate::messages::limits::BODY_BYTES_MAX
        )),
        SendError::Malformed => Failure::Invalid("the body is not what its kind says".into()),
    }
}
