//! One run of an agent: the real core, and what its shell would hold beside it.
//!
//! Not here: performing outputs ([`crate::shell`]); what the host provides ([`crate::network`]).

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{InstanceId, NodeId};
use homing_core::Agent;
use homing_core::io::{Answer, DialId, DialTarget, Door, Failure, LinkId, RequestId};

use crate::clock::WorldTime;
use crate::hostile::Hostile;
use crate::link::{LinkIx, RelayIx};
use crate::network::Socket;

/// One identity of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentIx(pub usize);

/// One run of all runs of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunIx(pub usize);

/// What decides in a run.
pub enum Mind {
    /// The real core.
    Agent(Box<Agent>),
    /// An adversary that speaks the protocol.
    Hostile(Box<Hostile>),
    /// The run is over.
    Over,
}

/// A command that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// When it was given.
    pub since: WorldTime,
    /// When it must have been answered.
    pub until: WorldTime,
    /// What it was about, for the checkers.
    pub about: About,
}

/// What a command was, as far as the world must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Any other command.
    Other,
    /// The shell's question before it lets a stream in.
    Authorize {
        /// Index of the stream.
        stream: usize,
    },
    /// The first half of opening a stream.
    Connect,
    /// The last command of a run.
    Stop,
}

/// An attempt to connect.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whom.
    pub target: DialTarget,
    /// Since when.
    pub since: WorldTime,
}

/// An answer and when it came.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When the command was given.
    pub asked: WorldTime,
    /// When it was answered.
    pub at: WorldTime,
    /// The answer.
    pub answer: Result<Answer, Failure>,
}

impl Answered {
    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.at.since(self.asked)
    }
}

/// One run.
pub struct Run {
    /// Whose.
    pub agent: AgentIx,
    /// Who that is.
    pub node_id: NodeId,
    /// Its main door's UDP socket.
    pub socket: Socket,
    /// What decides.
    pub mind: Mind,
    /// When it began.
    pub since: WorldTime,
    /// The front door's key.
    pub front: InstanceId,
    /// The main door's key; equal to `front` when there is one door.
    pub main: InstanceId,
    /// It serves the public.
    pub public: bool,
    /// Links by the name that the core knows.
    pub links: BTreeMap<LinkId, LinkIx>,
    /// Attempts under way.
    pub dials: BTreeMap<DialId, Attempt>,
    /// Endpoints that the main door accepts.
    pub admitted: BTreeMap<InstanceId, NodeId>,
    /// Commands that wait.
    pub waiting: BTreeMap<RequestId, Waiting>,
    /// Commands that were answered.
    pub answered: BTreeMap<RequestId, Answered>,
    /// From when on each relay carries packets to this run.
    pub attached: BTreeMap<RelayIx, WorldTime>,
    /// When the core will be woken; a later wish of the core does not move it.
    pub wake: WorldTime,
    /// Outputs performed so far.
    pub outputs: u64,
    /// Messages sent so far.
    pub messages: u64,
    /// Kill the run instead of performing the output of this number.
    pub crash_at: Option<u64>,
    /// Number of the next link or command.
    pub next_number: u64,
}

impl Run {
    /// Whether it has a relay-only door for strangers beside the one with UDP.
    #[must_use]
    pub fn two_doors(&self) -> bool {
        self.front != self.main
    }

    /// The key of one of its doors.
    #[must_use]
    pub fn endpoint(&self, door: Door) -> InstanceId {
        if door == Door::Front { self.front } else { self.main }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        !matches!(self.mind, Mind::Over)
    }

    /// The core, while it runs.
    #[must_use]
    pub fn core(&self) -> Option<&Agent> {
        match &self.mind {
            Mind::Agent(agent) => Some(agent),
            Mind::Hostile(_) | Mind::Over => None,
        }
    }

    /// A number that this run has not used.
    pub fn fresh_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
