//! One link too many: both sides must drop the same one, without talking about it.
//!
//! * Same two endpoints: the older one stays, which may have streams.
//! * Same two endpoints, dialled from both sides at once: the one that the smaller node ID dialled stays.
//! * Same two endpoints, dialled twice from one side: only the dialler knows which came first; it
//!   drops the later one.
//! * A confirmed link between both main doors makes every other link of that run redundant.
//!
//! While the winner is doubted or either has been silent for a moment, both stay: the winner may be dead, and the loser
//! has streams and may be about to come back. Either it answers the probe, and the question is asked again, or it
//! dies.

use homing_base::{InstanceId, Mono, NodeId};

use super::Link;
use crate::io::LinkId;
use crate::limits::{CROSSING, SILENCE_DOUBT};

/// The links to close among all proven `links` with one peer. `main_there` is the peer's main
/// endpoint, when it told us.
pub(crate) fn redundant(
    now: Mono,
    links: &[&Link],
    me: NodeId,
    peer: NodeId,
    main_there: Option<InstanceId>,
) -> Vec<LinkId> {
    let mut closed = Vec::new();
    for (i, a) in links.iter().enumerate() {
        for b in &links[i + 1..] {
            if closed.contains(&a.id) || closed.contains(&b.id) {
                continue;
            }
            let Some((winner, loser)) = order(a, b, me < peer, main_there) else { continue };
            let heard = winner.pulse.heard.min(loser.pulse.heard);
            if !winner.pulse.is_doubted() && now.since(heard) < SILENCE_DOUBT {
                closed.push(loser.id);
            }
        }
    }
    closed
}

/// `(winner, loser)`; `None` when both may stay or the other side decides.
fn order<'l>(
    a: &'l Link,
    b: &'l Link,
    i_am_smaller: bool,
    main_there: Option<InstanceId>,
) -> Option<(&'l Link, &'l Link)> {
    if a.remote != b.remote || a.main_here != b.main_here {
        let is_main = |l: &Link| l.main_here && main_there == Some(l.remote) && l.is_confirmed();
        return match (is_main(a), is_main(b)) {
            (true, false) => Some((a, b)),
            (false, true) => Some((b, a)),
            _ => None,
        };
    }
    let (older, newer) = if a.up_at <= b.up_at { (a, b) } else { (b, a) };
    if newer.up_at.since(older.up_at) >= CROSSING {
        return Some((older, newer));
    }
    match (a.dial, b.dial) {
        (Some(first), Some(second)) => Some(if first < second { (a, b) } else { (b, a) }),
        (Some(_), None) => Some(if i_am_smaller { (a, b) } else { (b, a) }),
        (None, Some(_)) => Some(if i_am_smaller { (b, a) } else { (a, b) }),
        (None, None) => None,
    }
}
