//! Who is there, as several daemons see it, and the lines that follow when it changes.
//!
//! An agent joins when a daemon hears it, and leaves when none has heard it for the patience. While no daemon
//! answers nothing is concluded: an outage of the watchers is no outage of the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{NodeId, Wall};
use serde::{Deserialize, Serialize};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// When, RFC 3339.
    pub(super) at: String,
    /// `join` or `leave`.
    pub(super) event: String,
    /// Who.
    pub(super) agent: String,
}

/// Most agents that are followed.
const AGENTS_MAX: usize = 200_000;

/// Who is there.
#[derive(Debug)]
pub(super) struct Roster {
    up: BTreeMap<NodeId, Wall>,
    patience: Duration,
    last: Wall,
    watched: Wall,
}

impl Roster {
    /// With what a log that is continued says: who was up, and when it ended.
    pub(super) fn new(patience: Duration, up: Vec<NodeId>, last: Wall, now: Wall) -> Self {
        // Who was up gets the full patience to be heard again.
        let up = up.into_iter().map(|id| (id, now)).collect();
        Self { up, patience, last, watched: now }
    }

    pub(super) fn len(&self) -> usize {
        self.up.len()
    }

    /// Times in a log do not go back, whatever the clock does.
    fn line(&mut self, at: Wall, event: &str, agent: &NodeId) -> Line {
        self.last = self.last.max(at);
        Line { at: self.last.to_string(), event: event.to_owned(), agent: agent.to_string() }
    }

    /// These were heard now.
    pub(super) fn heard(&mut self, now: Wall, who: &[NodeId]) -> Vec<Line> {
        let mut lines = Vec::new();
        for id in who {
            let new = !self.up.contains_key(id);
            if new && self.up.len() >= AGENTS_MAX {
                continue;
            }
            self.up.insert(*id, now);
            if new {
                lines.push(self.line(now, "join", id));
            }
        }
        lines
    }

    /// All daemons were asked; `answered`: at least one did.
    pub(super) fn looked(&mut self, now: Wall, answered: bool) -> Vec<Line> {
        if !answered {
            return Vec::new();
        }
        let blind = now.since(self.watched);
        self.watched = now;
        if blind > self.patience {
            // Nobody watched for a while: silence in that time says nothing.
            self.up.values_mut().for_each(|heard| *heard = now);
            return Vec::new();
        }
        let silent =
            |(id, heard): (&NodeId, &Wall)| (now.since(*heard) > self.patience).then_some(*id);
        let gone: Vec<NodeId> = self.up.iter().filter_map(silent).collect();
        gone.into_iter()
            .map(|id| {
                self.up.remove(&id);
                self.line(now, "leave", &id)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn at(seconds: u64) -> Wall {
        Wall(1_800_000_000_000 + seconds * 1_000)
    }

    fn events(lines: &[Line]) -> Vec<(&str, &str)> {
        lines.iter().map(|l| (l.event.as_str(), &l.agent[..2])).collect()
    }

    #[test]
    fn agents_join_when_heard_and_leave_when_silent() {
        let mut roster = Roster::new(PATIENCE, Vec::new(), Wall(0), at(0));
        let joined = roster.heard(at(1), &[id(1), id(2), id(1)]);
        assert_eq!(events(&joined), [("join", "01"), ("join", "02")]);
        assert!(roster.heard(at(20), &[id(1)]).is_empty());
        assert!(roster.looked(at(25), true).is_empty());
        assert_eq!(events(&roster.looked(at(32), true)), [("leave", "02")]);
        assert_eq!(roster.len(), 1);
    }

    #[test]
    fn while_nobody_watches_nobody_leaves() {
        let mut roster = Roster::new(PATIENCE, vec![id(1)], at(0), at(0));
        for second in (5..300).step_by(5) {
            assert!(roster.looked(at(second), false).is_empty());
        }
        assert!(roster.looked(at(300), true).is_empty(), "a restarted daemon knows nothing yet");
        assert!(roster.looked(at(325), true).is_empty());
        assert_eq!(events(&roster.looked(at(335), true)), [("leave", "01")]);
    }

    #[test]
    fn times_do_not_go_back_with_the_clock() {
        let mut roster = Roster::new(PATIENCE, Vec::new(), at(100), at(50));
        let lines = roster.heard(at(50), &[id(1)]);
        assert_eq!(lines[0].at, at(100).to_string());
    }
}
