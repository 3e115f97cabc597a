//! Looks at the agent's part of the DHT now and then, for conditions and events.
//!
//! The core keeps the state; a look copies its table, so it is taken every few seconds at most, and
//! only when the loop turns anyway.

use std::time::Duration;

use homing_base::{Mono, Now};
use homing_core::Agent;
use homing_core::view::DhtView;

use crate::events::Events;

/// Between two looks, before the network was entered; a user waits for that.
const LOOK_EVERY_JOINING: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was seen the last time.
#[derive(Debug, Default)]
pub(crate) struct DhtWatch {
    next: Mono,
    joined: bool,
    serving: Option<bool>,
}

impl DhtWatch {
    /// The state, when it is time to look again and there is any.
    pub(crate) fn look(&mut self, agent: &Agent, now: Now) -> Option<DhtView> {
        if now.mono < self.next {
            return None;
        }
        let every = if self.joined { LOOK_EVERY } else { LOOK_EVERY_JOINING };
        self.next = now.mono.after(every);
        agent.dht_view(now)
    }

    /// Tells what changed since the last look.
    pub(crate) fn tell(&mut self, view: &DhtView, events: &Events) {
        if view.joined != self.joined {
            self.joined = view.joined;
            events.dht_joined(view.joined, view.contacts.len());
        }
        if self.serving != Some(view.serving) {
            // The first look finds a role, it does not see it change.
            if self.serving.is_some() {
                events.dht_role(view.serving);
            }
            self.serving = Some(view.serving);
        }
    }
}
