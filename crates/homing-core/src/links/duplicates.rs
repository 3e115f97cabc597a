//! One link too many: both sides must drop the same one, without talking about it.
//!
//! * Same two endpoints, dialled from both sides: the one that the smaller node ID dialled stays.
//! * Same two endpoints, dialled twice from one side: only the dialler knows which came first; it
//!   drops the later one.
//! * A confirmed link between both main doors makes every other link of that run redundant.
//!
//! A link that would win but has been silent for a second wins nothing yet: either it answers the
//! probe, and the question is asked again, or it dies.

use homing_base::{InstanceId, Mono, NodeId};

use super::Link;
use crate::io::LinkId;
use crate::limits::SILENCE_DOUBT;

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
            if now.since(winner.pulse.heard) < SILENCE_DOUBT {
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
    match (a.dial, b.dial) {
        (Some(first), Some(second)) => Some(if first < second { (a, b) } else { (b, a) }),
        (Some(_), None) => Some(if i_am_smaller { (a, b) } else { (b, a) }),
        (None, Some(_)) => Some(if i_am_smaller { (b, a) } else { (a, b) }),
        (None, None) => None,
    }
}
