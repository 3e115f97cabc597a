//! What the faces wait for: messages that arrive, what became of those that were sent, how far files are.
//!
//! ```text
//! core ──Event::Message──► driver ──► Mailroom ─┬─► Follower: the inbox as it is, then what arrives
//!                                               ├─► outcomes of the last 256 messages sent
//!                                               └─► "a file waits", for the fetching task
//! ```
//! Everything here is gone with the process; what must not be lost is in the store. A follower that falls
//! behind reads the inbox again, so that it misses nothing but events that nobody keeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_api::ApiError;
use homing_base::{MessageId, NodeId, Topic};
use homing_core::io::{Incoming, MessageCommand, MessageEvent};
use homing_core::messages::wire::file_offer;
use homing_core::{Agent, Command};
use tokio::runtime::Handle;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::node::Node;

/// Messages that a slow follower may fall behind.
const ARRIVALS_MAX: usize = 1_024;
/// Messages that have left the outbox and can still be asked for.
const OUTCOMES_MAX: usize = 256;
/// Numbers that a follower remembers before it looks which of them still matter.
const SHOWN_MAX: usize = 32_768;

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) to: NodeId,
    pub(crate) id: MessageId,
    /// `None`: delivered.
    pub(crate) failed: Option<&'static str>,
}

/// Shared by driver, faces and file tasks.
#[derive(Debug)]
pub(crate) struct Mailroom {
    arrivals: broadcast::Sender<Arc<Incoming>>,
    /// A file was offered.
    pub(crate) offered: tokio::sync::Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outcomes: VecDeque<Outcome>,
    /// Bytes of files that peers have fetched in this run.
    fetched: BTreeMap<MessageId, u64>,
    /// How many followers each topic has.
    followers: BTreeMap<Topic, usize>,
    /// Who follows the inbox, by the sender that it wants; `None`: every one.
    readers: BTreeMap<Option<NodeId>, usize>,
    /// Files that somebody has asked for in this run, however large.
    asked: BTreeSet<(NodeId, MessageId)>,
}

impl Default for Mailroom {
    fn default() -> Self {
        Self {
            arrivals: broadcast::Sender::new(ARRIVALS_MAX),
            offered: tokio::sync::Notify::new(),
            state: Mutex::default(),
        }
    }
}

impl Mailroom {
    /// Something happened to a message.
    pub(crate) fn on_event(&self, event: &MessageEvent) {
        match event {
            // Nobody may follow at the moment.
            MessageEvent::Arrived(message) => {
                drop(self.arrivals.send(Arc::new((**message).clone())));
            }
            MessageEvent::Offered { .. } => self.offered.notify_one(),
            MessageEvent::Delivered { to, id } => self.settle(*to, *id, None),
            MessageEvent::Failed { to, id, why } => self.settle(*to, *id, Some(why)),
        }
    }

    fn settle(&self, to: NodeId, id: MessageId, failed: Option<&'static str>) {
        let mut state = self.state();
        state.fetched.remove(&id);
        state.outcomes.push_back(Outcome { to, id, failed });
        if state.outcomes.len() > OUTCOMES_MAX {
            state.outcomes.pop_front();
        }
    }

    pub(crate) fn outcome(&self, id: MessageId) -> Option<Outcome> {
        self.state().outcomes.iter().rev().find(|outcome| outcome.id == id).copied()
    }

    /// A peer has fetched so much of a file.
    pub(crate) fn note_fetched(&self, id: MessageId, bytes: u64) {
        self.state().fetched.insert(id, bytes);
    }

    pub(crate) fn fetched(&self, id: MessageId) -> u64 {
        self.state().fetched.get(&id).copied().unwrap_or_default()
    }

    /// Somebody looks at the inbox: files of these wait no longer at their senders.
    pub(crate) fn ask_for(&self, offers: impl IntoIterator<Item = (NodeId, MessageId)>) {
        self.state().asked.extend(offers);
        self.offered.notify_one();
    }

    /// Of the files that are not here yet, those that are wanted now: small ones, and what somebody has asked for.
    pub(crate) fn keep_wanted(&self, offers: &mut Vec<Incoming>, unasked_bytes_max: u64) {
        let mut state = self.state();
        let open: BTreeSet<_> = offers.iter().map(|offer| (offer.from, offer.parcel.id)).collect();
        state.asked.retain(|key| open.contains(key));
        let State { readers, asked, .. } = &mut *state;
        for offer in offers.iter() {
            if readers.contains_key(&None) || readers.contains_key(&Some(offer.from)) {
                asked.insert((offer.from, offer.parcel.id));
            }
        }
        offers.retain(|offer| {
            let size = file_offer(&offer.parcel.body).map_or(0, |file| file.size);
            size <= unasked_bytes_max || asked.contains(&(offer.from, offer.parcel.id))
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which messages a follower wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Of this sender only.
    pub(crate) from: Option<NodeId>,
    /// Events of this topic; `None`: everything that is no event.
    pub(crate) topic: Option<Topic>,
}

impl Wanted {
    pub(crate) fn fits(&self, message: &Incoming) -> bool {
        self.from.is_none_or(|from| from == message.from)
            && self.topic == message.parcel.topic
            && message.is_complete()
    }

    /// Files among it that are not here yet.
    pub(crate) fn offered(&self, agent: &Agent) -> Vec<(NodeId, MessageId)> {
        let open = agent.inbox().filter(|message| !message.is_complete());
        let ours = open.filter(|message| self.from.is_none_or(|from| from == message.from));
        ours.map(|message| (message.from, message.parcel.id)).collect()
    }

    /// What of this is in the inbox.
    pub(crate) fn unread(&self, agent: &Agent) -> Vec<Incoming> {
        agent.inbox().filter(|message| self.fits(message)).cloned().collect()
    }
}

/// The inbox as it is, then what arrives.
pub(crate) struct Follower {
    node: Node,
    wanted: Wanted,
    arrivals: broadcast::Receiver<Arc<Incoming>>,
    ready: VecDeque<Incoming>,
    shown: BTreeSet<u64>,
    _listening: Option<Listening>,
    _reading: Option<Reading>,
}

impl Follower {
    /// Begins to follow; nothing that arrives from now on is missed.
    pub(crate) async fn begin(node: &Node, wanted: Wanted) -> Result<Self, ApiError> {
        let listening = match wanted.topic.clone() {
            Some(topic) => Some(Listening::begin(node, topic).await?),
            None => None,
        };
        let reading = wanted.topic.is_none().then(|| Reading::begin(node, wanted.from));
        let mut follower = Self {
            node: node.clone(),
            wanted,
            arrivals: node.shared.mailroom.arrivals.subscribe(),
            ready: VecDeque::new(),
            shown: BTreeSet::new(),
            _listening: listening,
            _reading: reading,
        };
        follower.read_inbox().await?;
        Ok(follower)
    }

    /// The next message; `None` when the node has stopped.
    pub(crate) async fn recv(&mut self) -> Option<Incoming> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            let arrived = tokio::select! {
                arrived = self.arrivals.recv() => arrived,
                _ = self.node.ended() => return None,
            };
            match arrived {
                Ok(message) => {
                    if self.wanted.fits(&message) && self.shown.insert(message.number) {
                        self.ready.push_back((*message).clone());
                    }
                }
                Err(RecvError::Lagged(_)) => self.read_inbox().await.ok()?,
                Err(RecvError::Closed) => return None,
            }
            if self.shown.len() > SHOWN_MAX {
                self.read_inbox().await.ok()?;
            }
        }
    }

    async fn read_inbox(&mut self) -> Result<(), ApiError> {
        let wanted = self.wanted.clone();
        let unread = self.node.query(move |agent| wanted.unread(agent)).await?;
        let numbers: BTreeSet<u64> = unread.iter().map(|message| message.number).collect();
        let news = unread.into_iter().filter(|message| !self.shown.contains(&message.number));
        self.ready.extend(news);
        self.shown = numbers;
        Ok(())
    }
}

/// Somebody here follows the inbox as long as this lives: what is offered meanwhile was asked for.
struct Reading {
    node: Node,
    from: Option<NodeId>,
}

impl Reading {
    fn begin(node: &Node, from: Option<NodeId>) -> Self {
        *node.shared.mailroom.state().readers.entry(from).or_default() += 1;
        node.shared.mailroom.offered.notify_one();
        Self { node: node.clone(), from }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.node.shared.mailroom.state();
        if let Some(count) = state.readers.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                state.readers.remove(&self.from);
            }
        }
    }
}

/// Somebody here listens to a topic as long as this lives.
struct Listening {
    node: Node,
    topic: Topic,
    /// Whoever drops this need not be a task.
    runtime: Handle,
}

impl Listening {
    async fn begin(node: &Node, topic: Topic) -> Result<Self, ApiError> {
        *node.shared.mailroom.state().followers.entry(topic.clone()).or_default() += 1;
        let listening = Self { node: node.clone(), topic, runtime: Handle::current() };
        listening.node.tell_listening().await?;
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mailroom = &self.node.shared.mailroom;
        let mut state = mailroom.state();
        if let Some(count) = state.followers.get_mut(&self.topic) {
            *count -= 1;
            if *count == 0 {
                state.followers.remove(&self.topic);
                let node = self.node.clone();
                self.runtime.spawn(async move { drop(node.tell_listening().await) });
            }
        }
    }
}

impl Node {
    /// Tells the core which topics have followers now.
    async fn tell_listening(&self) -> Result<(), ApiError> {
        let topics = self.shared.mailroom.state().followers.keys().cloned().collect();
        self.command("the topics", Command::Messages(MessageCommand::Listen(topics))).await?;
        Ok(())
    }
}
