//! Links: reliable, ordered streams of messages between two runs, as QUIC gives them.
//!
//! ```text
//! end 0 ══ lane 0→1: frames in order, each later than the one before ══► end 1
//!       ◄══ lane 1→0 ══
//! ```
//! Loss (Gilbert–Elliott) becomes retransmission delay. While no path carries a lane its frames wait;
//! nobody is told until the transport's idle timeout. Not here: which path there is ([`crate::dial`]).

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::InstanceId;
use homing_core::io::{DialId, Door, LinkId};

use crate::chance::Chance;
use crate::clock::WorldTime;
use crate::run::RunIx;

/// A connection dies this long after its path did; iroh's default.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// One of all links of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkIx(pub usize);

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Whose.
    pub run: RunIx,
    /// How that run calls the link.
    pub id: LinkId,
    /// Over which of its doors.
    pub door: Door,
    /// The endpoint key of that door.
    pub endpoint: InstanceId,
    /// The attempt that led to it.
    pub dial: Option<DialId>,
    /// The run has been told that the link stands, and not yet that it is gone.
    pub open: bool,
}

/// What carries a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The relay that both ends use, by the run that serves it.
    pub relay: Option<RelayIx>,
    /// UDP packets pass between the two ends.
    pub direct: bool,
}

/// One of all relays of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayIx(pub usize);

/// What travels.
#[derive(Clone, Debug)]
pub enum Frame {
    /// An encoded message.
    Message(Vec<u8>),
    /// The sender closes the connection.
    Close(String),
}

/// One direction.
#[derive(Debug, Default)]
pub struct Lane {
    /// Frames and when they arrive at the earliest.
    pub frames: VecDeque<(WorldTime, Frame)>,
    last_due: WorldTime,
    losing: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// The dialler first.
    pub ends: [End; 2],
    /// What carries it now.
    pub paths: Paths,
    /// Since when nothing does.
    pub broken_since: Option<WorldTime>,
    /// Frames on their way, by the sending end.
    pub lanes: [Lane; 2],
}

/// How a world's links lose packets, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Good to bad, per message.
    pub worsens: u32,
    /// Bad to good, per message.
    pub recovers: u32,
    /// Lost while good.
    pub good: u32,
    /// Lost while bad.
    pub bad: u32,
}

impl Loss {
    /// A quiet network.
    pub const NONE: Loss = Loss { worsens: 0, recovers: 1_000, good: 0, bad: 0 };
    /// Wireless on a bad day: 1 % in good times, 40 % in bad ones, which last some twenty packets.
    pub const WIRELESS: Loss = Loss { worsens: 10, recovers: 50, good: 10, bad: 400 };
}

impl Lane {
    /// A lane whose first frame arrives after `opened`.
    #[must_use]
    pub fn opened(opened: WorldTime) -> Self {
        Self { frames: VecDeque::new(), last_due: opened, losing: false }
    }

    /// Queues a frame and returns when it arrives: never before the frame ahead of it.
    pub fn push(
        &mut self,
        now: WorldTime,
        one_way: Duration,
        loss: Loss,
        chance: &mut Chance,
        frame: Frame,
    ) -> WorldTime {
        let jitter = Duration::from_micros(chance.below(one_way.as_micros() as u64 / 8 + 50));
        let delay = one_way + jitter + self.retransmissions(one_way, loss, chance);
        let due = now.after(delay).max(WorldTime(self.last_due.0 + 1));
        self.last_due = due;
        self.frames.push_back((due, frame));
        due
    }

    /// Delay by lost packets: probe timeouts (RFC 9002 §6.2) that double.
    fn retransmissions(&mut self, one_way: Duration, loss: Loss, chance: &mut Chance) -> Duration {
        if loss.good == 0 && loss.bad == 0 {
            return Duration::ZERO;
        }
        let flips = if self.losing { loss.recovers } else { loss.worsens };
        self.losing ^= chance.happens(flips);
        let lost = if self.losing { loss.bad } else { loss.good };
        let mut timeout = one_way * 3 + Duration::from_millis(25);
        let mut delay = Duration::ZERO;
        while chance.happens(lost) && delay < Duration::from_secs(2) {
            delay += timeout;
            timeout *= 2;
        }
        delay
    }
}

impl Link {
    /// Which end is `run`'s `id`.
    #[must_use]
    pub fn side_of(&self, run: RunIx, id: LinkId) -> Option<usize> {
        self.ends.iter().position(|end| end.run == run && end.id == id)
    }

    /// Whether either end still knows the link.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.ends.iter().any(|end| end.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_order_whatever_is_lost() {
        let mut chance = Chance::new(1);
        let mut lane = Lane::opened(WorldTime(0));
        let ms = Duration::from_millis(30);
        let due: Vec<_> = (0..500)
            .map(|i| {
                let now = WorldTime(i * 1_000);
                lane.push(now, ms, Loss::WIRELESS, &mut chance, Frame::Message(vec![]))
            })
            .collect();
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
        let late = due.iter().zip(0..).filter(|(due, i)| due.since(WorldTime(i * 1_000)) > ms * 2);
        assert!(late.count() > 10, "a lossy lane is sometimes slow");
    }
}
