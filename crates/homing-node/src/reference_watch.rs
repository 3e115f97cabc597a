//! Looks at references now and then: conditions that say it before one goes dark.

use std::time::Duration;

use homing_api::references::ReferenceState;
use homing_base::{Mono, Now};
use homing_core::Agent;
use homing_core::io::ReferenceView;

use crate::health::Health;
use crate::operations::references::state_of;

/// Between two looks; a look copies all views.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// References that one condition names.
const NAMED_MAX: usize = 5;

/// When to look again.
#[derive(Debug, Default)]
pub(crate) struct ReferenceWatch {
    next: Mono,
}

impl ReferenceWatch {
    /// Raises and clears what `health` says about references.
    pub(crate) fn look(&mut self, agent: &Agent, health: &Health, now: Now) {
        if now.mono < self.next {
            return;
        }
        self.next = now.mono.after(LOOK_EVERY);
        let views = agent.references(now);
        let conditions = [
            ("reference_expired", ReferenceState::Expired),
            ("reference_expiring", ReferenceState::Expiring),
            ("reference_alone", ReferenceState::Alone),
        ];
        for (code, state) in conditions {
            let is_so = |view: &&ReferenceView| state_of(view, now.wall) == state;
            let found: Vec<_> = views.iter().filter(is_so).collect();
            health.set(code, !found.is_empty(), || list(&found, now));
        }
        let unkept: Vec<_> = views.iter().filter(|view| view.away.is_some()).collect();
        health.set("reference_unkept", !unkept.is_empty(), || list(&unkept, now));
    }
}

fn list(views: &[&ReferenceView], now: Now) -> String {
    let say = |view: &&ReferenceView| match view.remaining(now.wall).as_secs() {
        0 => view.key.to_string(),
        seconds if seconds < 7_200 => format!("{} for another {} min", view.key, seconds / 60),
        seconds => format!("{} for another {} h", view.key, seconds / 3_600),
    };
    let mut text: Vec<_> = views.iter().take(NAMED_MAX).map(say).collect();
    if views.len() > NAMED_MAX {
        text.push(format!("and {} more", views.len() - NAMED_MAX));
    }
    text.join("; ")
}
