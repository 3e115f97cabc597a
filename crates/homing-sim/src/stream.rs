//! Application streams, as far as trust is concerned: opened, let in or not, severed.
//!
//! ```text
//! opener: Connect ─► Connected{target} ─knock─► acceptor's shell: Authorize ─yes─► open at both ends
//! ```
//! Not here: bytes. A stream exists to see whether it ends when trust does.

use std::time::Duration;

use homing_base::{InstanceId, NodeId, Service};
use homing_core::io::{Command, DialTarget, Door, PeerRef};

use crate::clock::WorldTime;
use crate::run::{About, RunIx};
use crate::world::{Canary, Event, World};

/// One stream. Side 0 opened it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The runs at its ends.
    pub runs: [RunIx; 2],
    /// The main doors at its ends.
    pub endpoints: [InstanceId; 2],
    /// The identities at its ends.
    pub peers: [NodeId; 2],
    /// Which ends still have it open.
    pub open: [bool; 2],
    /// The service that it asked for.
    pub service: Service,
    /// When it was let in.
    pub since: Option<WorldTime>,
}

/// The service that simulated streams use.
#[must_use]
pub fn service() -> Service {
    "echo".parse().expect("a label")
}

impl World {
    /// A user opens a stream to a peer.
    pub fn connect(&mut self, run: RunIx, peer: NodeId) {
        let timeout = Duration::from_secs(5);
        let peer = PeerRef::NodeId(peer);
        let command = Command::Connect { peer, service: service(), timeout };
        self.command_about(run, command, About::Connect);
    }

    /// Streams that are open at both ends between two identities.
    #[must_use]
    pub fn open_streams(&self, a: NodeId, b: NodeId) -> usize {
        let between = |s: &&Stream| s.peers == [a, b] || s.peers == [b, a];
        self.streams.iter().filter(between).filter(|s| s.open == [true, true]).count()
    }

    pub(crate) fn open_stream(&mut self, run: RunIx, peer: NodeId, target: DialTarget) {
        let DialTarget::Endpoint { endpoint, .. } = target else { return };
        let Some((to, door)) = self.endpoints.get(&endpoint).copied() else { return };
        let main = self.runs[run.0].main;
        let relayed = !self.runs[to.0].two_doors() || door == Door::Main;
        if !relayed || !self.runs[to.0].alive() {
            return;
        }
        self.streams.push(Stream {
            runs: [run, to],
            endpoints: [main, endpoint],
            peers: [self.runs[run.0].node_id, peer],
            open: [true, false],
            service: service(),
            since: None,
        });
        self.later(Duration::from_millis(40), Event::StreamKnock(self.streams.len() - 1));
    }

    /// The acceptor's shell asks before the application sees a byte.
    pub(crate) fn stream_knock(&mut self, ix: usize) {
        let stream = self.streams[ix].clone();
        let acceptor = stream.runs[1];
        if !self.runs_agent(acceptor) || !self.runs[stream.runs[0].0].alive() {
            self.streams[ix].open = [false, false];
            return;
        }
        let command = Command::Authorize { endpoint: stream.endpoints[0], service: stream.service };
        self.command_about(acceptor, command, About::Authorize { stream: ix });
    }

    pub(crate) fn stream_decided(&mut self, ix: usize, yes: bool) {
        let now = self.now();
        let stream = &mut self.streams[ix];
        if yes && stream.open[0] {
            stream.open[1] = true;
            stream.since = Some(now);
        } else {
            stream.open = [false, false];
        }
    }

    pub(crate) fn sever(&mut self, run: RunIx, peer: NodeId) {
        if self.options.canary == Some(Canary::KeepStreamsAfterRevoke) {
            return;
        }
        self.end_streams(run, |stream, side| stream.peers[1 - side] == peer);
    }

    pub(crate) fn end_streams_with(&mut self, run: RunIx, endpoint: InstanceId) {
        if self.options.canary == Some(Canary::KeepStreamsAfterRevoke) {
            return;
        }
        self.end_streams(run, |stream, side| stream.endpoints[1 - side] == endpoint);
    }

    /// Every stream of a run that is over ends; the other side learns it when its transport does.
    pub(crate) fn end_all_streams(&mut self, run: RunIx) {
        self.end_streams(run, |_, _| true);
    }

    fn end_streams(&mut self, run: RunIx, which: impl Fn(&Stream, usize) -> bool) {
        for ix in 0..self.streams.len() {
            for side in [0, 1] {
                let stream = &self.streams[ix];
                if stream.runs[side] == run && stream.open[side] && which(stream, side) {
                    self.streams[ix].open[side] = false;
                    self.later(Duration::from_millis(50), Event::StreamEnd(ix, 1 - side));
                }
            }
        }
    }

    pub(crate) fn stream_end(&mut self, ix: usize, side: usize) {
        self.streams[ix].open[side] = false;
    }
}
