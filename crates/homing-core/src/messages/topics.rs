//! Who wants to hear of what: this agent's subscriptions, and peers' subscriptions to this agent's topics.
//!
//! A subscription without `keep` lives as long as the subscriber's run says so; one with `keep` is durable on
//! both sides until the subscriber ends it.

use std::collections::{BTreeMap, BTreeSet};

use homing_base::{InstanceId, NodeId, Topic};

use super::limits::TOPICS_MAX;
use super::outbox::Full;
use super::wire::Mail;
use super::{Messages, MessagesOutput};
use crate::io::{MessageWrite, Subscription};

/// What is wanted.
#[derive(Debug)]
pub(super) struct Topics {
    me: NodeId,
    /// Heard as long as somebody here listens.
    live: BTreeSet<Topic>,
    /// Heard always.
    kept: BTreeSet<Topic>,
    /// What peers want, and whether they want it kept.
    subscribers: BTreeMap<NodeId, BTreeMap<Topic, bool>>,
    /// The runs of peers, as they were last met.
    instances: BTreeMap<NodeId, InstanceId>,
}

impl Topics {
    pub(super) fn new(me: NodeId, stored: Vec<(NodeId, Topic)>) -> Self {
        let mut topics = Self {
            me,
            live: BTreeSet::new(),
            kept: BTreeSet::new(),
            subscribers: BTreeMap::new(),
            instances: BTreeMap::new(),
        };
        for (who, topic) in stored {
            match who == me {
                true => drop(topics.kept.insert(topic)),
                false => drop(topics.subscribers.entry(who).or_default().insert(topic, true)),
            }
        }
        topics
    }

    pub(super) fn keeps(&self, topic: &Topic) -> bool {
        self.kept.contains(topic)
    }

    pub(super) fn listens(&self, topic: &Topic) -> bool {
        self.live.contains(topic)
    }

    /// Who wants to hear of it, and whether also while it is away.
    pub(super) fn subscribers(&self, topic: &Topic) -> Vec<(NodeId, bool)> {
        let wanting = self.subscribers.iter();
        wanting.filter_map(|(peer, list)| Some((*peer, *list.get(topic)?))).collect()
    }

    /// A peer is there; another run of it wants nothing yet but what it keeps.
    pub(super) fn on_up(&mut self, peer: NodeId, instance: InstanceId) {
        if self.instances.insert(peer, instance) == Some(instance) {
            return;
        }
        if let Some(list) = self.subscribers.get_mut(&peer) {
            list.retain(|_, keep| *keep);
        }
    }

    /// A peer says all that it wants.
    pub(super) fn on_list(&mut self, peer: NodeId, list: Vec<Subscription>) -> Vec<MessageWrite> {
        let new: BTreeMap<Topic, bool> =
            list.into_iter().map(|Subscription { topic, keep }| (topic, keep)).collect();
        let old = match new.is_empty() {
            true => self.subscribers.remove(&peer),
            false => self.subscribers.insert(peer, new.clone()),
        };
        let old = old.unwrap_or_default();
        let kept = |list: &BTreeMap<Topic, bool>| -> BTreeSet<Topic> {
            list.iter().filter(|(_, keep)| **keep).map(|(topic, _)| topic.clone()).collect()
        };
        let (old, new) = (kept(&old), kept(&new));
        let begun = new.difference(&old).cloned().map(|t| MessageWrite::Subscriber(peer, t));
        let ended = old.difference(&new).cloned().map(|t| MessageWrite::ForgetSubscriber(peer, t));
        begun.chain(ended).collect()
    }

    fn list(&self) -> Vec<Subscription> {
        let all: BTreeSet<&Topic> = self.live.union(&self.kept).collect();
        let wanted = |topic: &Topic| Subscription { keep: self.keeps(topic), topic: topic.clone() };
        all.into_iter().map(wanted).collect()
    }

    fn peers(&self) -> Vec<NodeId> {
        self.instances.keys().copied().collect()
    }
}

impl Messages {
    /// These are heard now, beside what is kept.
    ///
    /// # Errors
    /// [`Full`] beyond [`TOPICS_MAX`]; nothing changed then.
    pub fn listen(&mut self, topics: Vec<Topic>) -> Result<bool, Full> {
        let live: BTreeSet<Topic> = topics.into_iter().collect();
        check(live.union(&self.topics.kept).count())?;
        let before = self.topics.list();
        self.topics.live = live;
        Ok(self.tell_all(&before))
    }

    /// Begins or ends to keep a topic. Whether that changed anything.
    ///
    /// # Errors
    /// [`Full`] beyond [`TOPICS_MAX`]; nothing changed then.
    pub fn keep(&mut self, topic: Topic, keep: bool) -> Result<bool, Full> {
        let before = self.topics.list();
        let changed = match keep {
            true => {
                check(before.len() + usize::from(before.iter().all(|s| s.topic != topic)))?;
                self.topics.kept.insert(topic.clone())
            }
            false => self.topics.kept.remove(&topic),
        };
        if changed {
            let me = self.topics.me;
            self.persist(match keep {
                true => MessageWrite::Subscriber(me, topic),
                false => MessageWrite::ForgetSubscriber(me, topic),
            });
        }
        self.tell_all(&before);
        Ok(changed)
    }

    /// Own subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.topics.list()
    }

    /// Peers' subscriptions to own topics.
    #[must_use]
    pub fn subscribers(&self) -> Vec<(NodeId, Subscription)> {
        let lists = self.topics.subscribers.iter();
        let one =
            |(topic, keep): (&Topic, &bool)| Subscription { topic: topic.clone(), keep: *keep };
        lists.flat_map(|(peer, list)| list.iter().map(|s| (*peer, one(s)))).collect()
    }

    fn tell_all(&mut self, before: &[Subscription]) -> bool {
        let changed = self.topics.list() != before;
        if changed {
            let there = self.topics.peers().into_iter().filter(|p| self.outbox.is_up(*p));
            there.collect::<Vec<_>>().into_iter().for_each(|peer| self.tell_topics_anew(peer));
        }
        changed
    }

    /// A new link: the peer knows nothing, or what it keeps.
    pub(super) fn tell_topics(&mut self, peer: NodeId) {
        if !self.topics.list().is_empty() {
            self.tell_topics_anew(peer);
        }
    }

    pub(super) fn tell_topics_anew(&mut self, to: NodeId) {
        let mail = Mail::Topics(self.topics.list());
        self.outputs.push_back(MessagesOutput::Send { to, mail });
    }
}

fn check(count: usize) -> Result<(), Full> {
    match count {
        0..=TOPICS_MAX => Ok(()),
        _ => Err(Full { what: "topics", max: TOPICS_MAX }),
    }
}
