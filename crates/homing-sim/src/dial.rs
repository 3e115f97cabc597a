//! Which way a connection takes, and whether it keeps one.
//!
//! A door dials through a relay at which the target is attached, or straight to an address whose
//! translators let the packet in; a relayed link between doors with UDP then punches and moves over.
//! An attempt sends at 0, 1, 3 and 7 s and fails at 10 s. Not here: the messages ([`crate::link`]).

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{InstanceId, RelayRef};
use homing_core::io::{DialError, DialId, DialTarget, Door, Input, LinkId};

use crate::link::{End, Lane, Link, LinkIx, Paths, RelayIx};
use crate::network::{HostIx, Network};
use crate::run::RunIx;
use crate::world::{Event, World};

/// When the packets of an attempt leave, after its start.
const RETRIES_MS: [u64; 4] = [0, 1_000, 3_000, 7_000];
/// When an attempt is given up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// When a link that found no direct path looks again; as iroh does.
const PUNCH_AGAIN: Duration = Duration::from_secs(5);
/// How long asking a relay for the record of its node may take when nobody answers.
const RELAY_TIMEOUT: Duration = Duration::from_secs(3);

/// A way to somebody.
struct Route {
    to: RunIx,
    /// The target's door.
    door: Door,
    /// The dialler's door.
    from: Door,
    paths: Paths,
}

impl World {
    /// One packet of an attempt.
    pub(crate) fn attempt(&mut self, run: RunIx, dial: DialId, number: u32) {
        let Some(attempt) = self.runs[run.0].dials.get(&dial).cloned() else { return };
        if self.now().since(attempt.since) >= limit(&attempt.target) {
            self.runs[run.0].dials.remove(&dial);
            let error = match &attempt.target {
                DialTarget::Relay(relay) => DialError::Relay(format!("{relay} does not answer")),
                _ => DialError::Unreachable("nobody answered".into()),
            };
            self.feed(run, Input::DialFailed { dial, error });
            return;
        }
        if !self.has_address(run, &attempt.target) {
            self.runs[run.0].dials.remove(&dial);
            self.feed(run, Input::DialFailed { dial, error: DialError::NoAddress });
            return;
        }
        let lost = self.chance.happens(self.options.loss.bad / 8);
        match self.route(run, &attempt.target).filter(|_| !lost) {
            Some(route) => self.establish(run, dial, route),
            None => self.attempt_later(run, dial, number, limit(&attempt.target)),
        }
    }

    fn attempt_later(&mut self, run: RunIx, dial: DialId, number: u32, limit: Duration) {
        let since = self.runs[run.0].dials[&dial].since;
        let next = RETRIES_MS.get(number as usize + 1).map(|ms| Duration::from_millis(*ms));
        let at = since.after(next.unwrap_or(limit).min(limit));
        self.queue.push(at, Event::Attempt(run, dial, number + 1));
    }

    fn has_address(&self, run: RunIx, target: &DialTarget) -> bool {
        let run = &self.runs[run.0];
        match target {
            DialTarget::Endpoint { from, relays, direct, .. } => {
                let relay_only = run.two_doors() && *from == Door::Front;
                !relays.is_empty() || (!relay_only && !direct.is_empty())
            }
            DialTarget::Sockets { direct } => !direct.is_empty(),
            DialTarget::Relay(_) => true,
        }
    }

    fn route(&mut self, run: RunIx, target: &DialTarget) -> Option<Route> {
        match target {
            DialTarget::Endpoint { endpoint, from, relays, direct } => {
                self.route_to_endpoint(run, *endpoint, *from, relays, direct)
            }
            DialTarget::Sockets { direct } => {
                let to = direct.iter().find_map(|addr| self.direct(run, *addr))?;
                let paths = Paths { relay: None, direct: true };
                Some(Route { to, door: Door::Main, from: Door::Main, paths })
            }
            DialTarget::Relay(reference) => {
                let relay = self.relay_called(reference)?;
                let to = self.relay_run(relay)?;
                let reached = to != run && self.reaches_relay(run, relay);
                let from = if self.runs[run.0].two_doors() { Door::Front } else { Door::Main };
                let paths = Paths { relay: Some(relay), direct: false };
                reached.then_some(Route { to, door: Door::Main, from, paths })
            }
        }
    }

    fn route_to_endpoint(
        &mut self,
        run: RunIx,
        endpoint: InstanceId,
        from: Door,
        relays: &[RelayRef],
        direct: &[SocketAddr],
    ) -> Option<Route> {
        let (to, door) = *self.endpoints.get(&endpoint)?;
        if to == run || !self.runs[to.0].alive() {
            return None;
        }
        let mine = self.runs[run.0].endpoint(from);
        let called: Vec<_> = relays.iter().filter_map(|r| self.relay_called(r)).collect();
        let relay = called.into_iter().find(|relay| {
            self.reaches_relay(run, *relay)
                && self.attached(to, *relay)
                && self.accepts_relayed(to, door, mine)
        });
        let udp = self.has_udp(run, from) && self.has_udp(to, door);
        let direct = udp && direct.iter().any(|addr| self.direct(run, *addr) == Some(to));
        let found = relay.is_some() || direct;
        found.then_some(Route { to, door, from, paths: Paths { relay, direct } })
    }

    /// The main door refuses relayed connections of endpoints that nobody admitted.
    fn accepts_relayed(&self, to: RunIx, door: Door, dialler: InstanceId) -> bool {
        let to = &self.runs[to.0];
        !to.two_doors() || door == Door::Front || to.admitted.contains_key(&dialler)
    }

    fn has_udp(&self, run: RunIx, door: Door) -> bool {
        !self.runs[run.0].two_doors() || door == Door::Main
    }

    /// Who answers a UDP packet of `run` to `addr`.
    fn direct(&mut self, run: RunIx, addr: SocketAddr) -> Option<RunIx> {
        let (now, from) = (self.now(), self.runs[run.0].socket);
        let (arrived, seen) = self.network.send(now, from, addr)?;
        let to = *self.sockets.get(&arrived).filter(|to| **to != run)?;
        let back = self.network.send(now, arrived, seen).is_some_and(|(back, _)| back == from);
        (back && self.runs[to.0].alive()).then_some(to)
    }

    /// The relay that a reference names.
    pub(crate) fn relay_called(&self, reference: &RelayRef) -> Option<RelayIx> {
        self.relays.iter().position(|relay| relay.reference == *reference).map(RelayIx)
    }

    /// The run that serves a relay now.
    pub(crate) fn relay_run(&self, relay: RelayIx) -> Option<RunIx> {
        let run = self.identities[self.relays[relay.0].agent.0].run?;
        self.runs[run.0].alive().then_some(run)
    }

    pub(crate) fn relay_host(&self, relay: RelayIx) -> HostIx {
        self.identities[self.relays[relay.0].agent.0].host
    }

    /// Whether a run can talk to a relay that is up, by TCP.
    pub(crate) fn reaches_relay(&self, run: RunIx, relay: RelayIx) -> bool {
        let (here, there) = (self.runs[run.0].socket.host, self.relay_host(relay));
        self.relay_run(relay).is_some()
            && self.network.passes(here, there)
            && self.network.passes(there, here)
    }

    /// Whether a relay forwards packets to a run.
    pub(crate) fn attached(&self, run: RunIx, relay: RelayIx) -> bool {
        let since = self.runs[run.0].attached.get(&relay);
        since.is_some_and(|since| *since <= self.now()) && self.reaches_relay(run, relay)
    }

    fn establish(&mut self, run: RunIx, dial: DialId, route: Route) {
        let Route { to, door, from, paths } = route;
        let ix = LinkIx(self.links.len());
        let one_way = self.one_way(run, to, paths);
        let ends = [self.end(run, from, Some(dial)), self.end(to, door, None)];
        let dialler_up = self.now().after(one_way * 2);
        let acceptor_up = self.now().after(one_way * 3);
        let lanes = [Lane::opened(acceptor_up), Lane::opened(dialler_up)];
        self.links.push(Link { ends, paths, broken_since: None, lanes });
        self.queue.push(acceptor_up, Event::LinkUp(ix, 1));
        if self.chance.happens(self.options.ghosts) {
            // Only the acceptor ever hears of it: the dialler's attempt goes on.
            self.attempt_later(run, dial, 0, DIAL_TIMEOUT);
            return;
        }
        self.queue.push(dialler_up, Event::LinkUp(ix, 0));
        if paths.relay.is_some() && !paths.direct && self.may_punch(ix) {
            self.queue.push(acceptor_up.after(one_way), Event::Punch(ix));
        }
    }

    fn end(&mut self, run: RunIx, door: Door, dial: Option<DialId>) -> End {
        let run_state = &mut self.runs[run.0];
        let id = LinkId(run_state.fresh_number());
        End { run, id, door, endpoint: run_state.endpoint(door), dial, open: false }
    }

    fn may_punch(&self, ix: LinkIx) -> bool {
        self.links[ix.0].ends.iter().all(|end| self.has_udp(end.run, end.door))
    }

    /// A relayed link looks for a direct path; also after an address changed.
    pub(crate) fn punch(&mut self, ix: LinkIx) {
        let [a, b] = [0, 1].map(|side| self.links[ix.0].ends[side].run);
        let stands = self.links[ix.0].ends.iter().all(|end| end.open);
        if !stands || !self.may_punch(ix) {
            return;
        }
        let (now, sockets) = (self.now(), [a, b].map(|run| self.runs[run.0].socket));
        if self.network.punch(now, sockets[0], sockets[1]) {
            self.links[ix.0].paths.direct = true;
            self.check_introduction(ix);
        } else if self.could_punch(a, b) {
            self.later(PUNCH_AGAIN, Event::Punch(ix));
        }
        self.inspect(ix);
    }

    /// Whether the networks that two runs live in allow a direct path between them.
    pub(crate) fn could_punch(&self, a: RunIx, b: RunIx) -> bool {
        let [a, b] = [a, b].map(|run| self.network.kind(self.runs[run.0].socket.host));
        Network::can_punch(a, b)
    }

    /// Least time over what carries a link.
    pub(crate) fn one_way(&self, a: RunIx, b: RunIx, paths: Paths) -> Duration {
        let [a, b] = [a, b].map(|run| self.runs[run.0].socket.host);
        match paths.relay.filter(|_| !paths.direct) {
            Some(relay) => {
                let relay = self.relay_host(relay);
                self.network.latency(a, relay) + self.network.latency(relay, b)
            }
            None => self.network.latency(a, b),
        }
    }

    /// Whether frames of this side arrive.
    pub(crate) fn carries(&self, ix: LinkIx, side: usize) -> bool {
        let link = &self.links[ix.0];
        let (from, to) = (link.ends[side].run, link.ends[1 - side].run);
        let hosts = [from, to].map(|run| self.runs[run.0].socket.host);
        if link.paths.direct && self.network.passes(hosts[0], hosts[1]) {
            return true;
        }
        link.paths.relay.is_some_and(|relay| self.through(from, relay) && self.through(to, relay))
    }

    /// A run that is configured for the relay waits for its attachment; another dials it when needed.
    fn through(&self, run: RunIx, relay: RelayIx) -> bool {
        match self.runs[run.0].attached.get(&relay) {
            Some(since) => *since <= self.now() && self.reaches_relay(run, relay),
            None => self.relay_run(relay) == Some(run) || self.reaches_relay(run, relay),
        }
    }

    /// Notes since when a link has been without a path.
    pub(crate) fn inspect(&mut self, ix: LinkIx) {
        let alive = self.links[ix.0].ends.iter().all(|end| self.runs[end.run.0].alive());
        let whole = alive && self.carries(ix, 0) && self.carries(ix, 1);
        let now = self.now();
        let broken = &mut self.links[ix.0].broken_since;
        match (whole, broken.is_some()) {
            (true, true) => *broken = None,
            (false, false) => {
                *broken = Some(now);
                self.later(crate::link::IDLE_TIMEOUT, Event::Idle(ix));
            }
            _ => {}
        }
    }

    /// Looks at every link of a run.
    pub(crate) fn inspect_run(&mut self, run: RunIx) {
        for ix in self.runs[run.0].links.values().copied().collect::<Vec<_>>() {
            self.inspect(ix);
        }
    }

    /// Looks at every link: something that carries several has changed.
    pub(crate) fn inspect_all(&mut self) {
        for ix in self.live_links.clone() {
            self.inspect(ix);
        }
    }
}

fn limit(target: &DialTarget) -> Duration {
    match target {
        DialTarget::Relay(_) => RELAY_TIMEOUT,
        _ => DIAL_TIMEOUT,
    }
}
