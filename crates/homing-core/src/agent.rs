//! One agent: the only place where two protocols meet.

use std::collections::VecDeque;

use homing_base::{IdentityKey, InstanceId, Mono, Name, NodeId, Now, Record};

use crate::io::{Failure, Input, Output, PeerRef, Settings, Stored};
use crate::view::{Counters, PeerView};

/// One agent. See the crate's documentation for the contract.
pub struct Agent {
    me: NodeId,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Agent {
    /// An agent with the state of its earlier runs; `seed` feeds its jitter and tokens.
    #[must_use]
    pub fn new(
        settings: Settings,
        key: IdentityKey,
        stored: Stored,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let _ = (settings, stored, seed, now);
        Self { me: key.node_id(), outputs: VecDeque::new(), counters: Counters::default() }
    }

    /// Decides about one input; the results wait in [`Agent::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// The next thing to do, in order; `None`: wait for [`Agent::next_wakeup`] or an input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Agent::handle`] with [`Input::Wakeup`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        None
    }

    /// Who this is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.me
    }

    /// The newest own record; `None` before the first publication.
    #[must_use]
    pub fn own_record(&self) -> Option<&Record> {
        None
    }

    /// The newer instance of this identity, if one runs elsewhere.
    #[must_use]
    pub fn superseded_by(&self) -> Option<InstanceId> {
        None
    }

    /// Every peer with a relation or a link, by node ID.
    #[must_use]
    pub fn peers(&self, now: Now) -> Vec<PeerView> {
        let _ = now;
        Vec::new()
    }

    /// Aliases, by name.
    #[must_use]
    pub fn aliases(&self) -> Vec<(Name, NodeId)> {
        Vec::new()
    }

    /// Pinned names, by name.
    #[must_use]
    pub fn pins(&self) -> Vec<(Name, NodeId)> {
        Vec::new()
    }

    /// Counts since the start of this run.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whom a reference means by local knowledge only.
    ///
    /// # Errors
    /// [`Failure::NotFound`], [`Failure::Ambiguous`], [`Failure::NameMoved`].
    pub fn find_known(&self, peer: &PeerRef) -> Result<NodeId, Failure> {
        Err(Failure::NotFound { what: peer.to_string(), asked: 0 })
    }
}
