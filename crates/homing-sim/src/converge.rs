//! What must hold once misfortune is over, within a stated time.
//!
//! * Of each identity one run counts, the newest; every other knows that it is superseded.
//! * Two agents agree whether they trust each other, their stores agree with their cores, an
//!   established trust that nobody ended is still there, and an ended one is gone.
//! * Agents that trust each other are linked, directly where the translators allow it.
//! * An adversary is trusted by nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::NodeId;
use homing_core::io::{Answer, Command, TrustState};
use homing_core::view::PeerView;

use crate::link::LinkIx;
use crate::run::{AgentIx, RunIx};
use crate::world::World;

/// Two agents of which one asked the other for trust.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Who asked.
    pub a: AgentIx,
    /// Who was asked.
    pub b: AgentIx,
    /// Both stores have held mutual trust at the same time.
    pub established: bool,
    /// A revocation was answered, or the trust has run out.
    pub ended: bool,
}

/// Peers of the run that counts, by identity.
struct Views {
    current: BTreeMap<AgentIx, RunIx>,
    peers: BTreeMap<(RunIx, NodeId), PeerView>,
}

impl World {
    /// `a` asks `b` for trust; the world remembers that they are a pair.
    pub fn befriend(&mut self, a: AgentIx, b: AgentIx) {
        self.befriend_for(a, b, None);
    }

    /// As [`World::befriend`], for a limited time.
    pub fn befriend_for(&mut self, a: AgentIx, b: AgentIx, lifetime: Option<Duration>) {
        let known = |pair: &Pair| (pair.a, pair.b) == (a, b) || (pair.b, pair.a) == (a, b);
        match self.pairs.iter_mut().find(|pair| known(pair)) {
            Some(pair) => pair.ended |= lifetime.is_some(),
            None => {
                let ended = lifetime.is_some();
                self.pairs.push(Pair { a, b, established: false, ended });
            }
        }
        let run = self.counting(a);
        if self.runs_agent(run) {
            let (peer, reason) = (self.peer(b), Some("work".into()));
            self.command(run, Command::Handshake { peer, reason, services: None, lifetime });
        }
    }

    /// `a` takes its trust in `b` back.
    pub fn revoke(&mut self, a: AgentIx, b: AgentIx) {
        let run = self.counting(a);
        if !self.runs_agent(run) {
            return;
        }
        let peer = self.peer(b);
        let request = self.command(run, Command::Revoke { peer });
        // A run that dies while it takes trust back may have written so.
        let answered = self.runs[run.0].answered.get(&request);
        let done = answered.is_none_or(|answered| answered.answer.is_ok());
        let pair = self.pairs.iter_mut().find(|p| (p.a, p.b) == (a, b) || (p.b, p.a) == (a, b));
        if let Some(pair) = pair.filter(|_| done) {
            pair.ended = true;
            self.void_what_it_does_not_hold(a, run);
        }
    }

    /// A revocation raises the floor: consents that the revoking run does not hold, because a twin
    /// with another store gave them, are void from then on.
    fn void_what_it_does_not_hold(&mut self, a: AgentIx, run: RunIx) {
        let me = self.id(a);
        let disk = &self.homes[&(a, self.runs[run.0].socket.host)];
        for pair in self.pairs.iter_mut().filter(|pair| pair.a == a || pair.b == a) {
            let other = if pair.a == a { pair.b } else { pair.a };
            let held = disk.statements.contains_key(&(me, self.identities[other.0].node_id));
            pair.ended |= !held;
        }
    }

    /// Whether the core of `a` says that it and `b` trust each other.
    #[must_use]
    pub fn says_mutual(&self, a: AgentIx, b: AgentIx) -> bool {
        self.trust_state(a, b) == TrustState::Mutual
    }

    /// Where trust stands as the core of `a` sees it.
    #[must_use]
    pub fn trust_state(&self, a: AgentIx, b: AgentIx) -> TrustState {
        let run = self.counting(a);
        let peer = self.id(b);
        let core = self.runs[run.0].core();
        let peers = core.map(|core| core.peers(self.now_of(run))).unwrap_or_default();
        peers.iter().find(|p| p.node_id == peer).map_or(TrustState::None, |p| p.trust.state)
    }

    /// The whole link between the newest runs of two agents, if there is one; a direct one first.
    #[must_use]
    pub fn linked(&self, a: AgentIx, b: AgentIx) -> Option<LinkIx> {
        self.linked_runs(self.run_of(a), self.run_of(b))
    }

    fn linked_runs(&self, a: RunIx, b: RunIx) -> Option<LinkIx> {
        let whole = |ix: &&LinkIx| {
            let link = &self.links[ix.0];
            let between = [link.ends[0].run, link.ends[1].run];
            let both = between == [a, b] || between == [b, a];
            both && link.ends.iter().all(|end| end.open) && link.broken_since.is_none()
        };
        let links = self.runs[a.0].links.values().filter(whole);
        links.copied().max_by_key(|ix| self.links[ix.0].paths.direct)
    }

    pub(crate) fn watch_pairs(&mut self) {
        let runs = self.counting_runs();
        for i in 0..self.pairs.len() {
            let pair = self.pairs[i];
            let (Some(a), Some(b)) = (runs[pair.a.0], runs[pair.b.0]) else { continue };
            if !pair.established && self.trusts(a, self.id(pair.b)) {
                self.pairs[i].established = self.trusts(b, self.id(pair.a));
            }
        }
    }

    /// For each identity the newest run that goes on and is not superseded.
    fn counting_runs(&self) -> Vec<Option<RunIx>> {
        let mut runs = vec![None; self.identities.len()];
        for (ix, run) in self.runs.iter().enumerate() {
            if run.core().is_some_and(|core| core.superseded_by().is_none()) {
                runs[run.agent.0] = Some(RunIx(ix));
            }
        }
        runs
    }

    /// Whether everything that must hold in the end holds now.
    ///
    /// # Errors
    /// The first thing that does not, for people.
    pub fn converged(&self) -> Result<(), String> {
        let views = self.views()?;
        for pair in &self.pairs {
            self.pair_converged(&views, pair)?;
        }
        self.strangers_stay_strangers(&views)
    }

    fn views(&self) -> Result<Views, String> {
        let mut current = BTreeMap::new();
        for ix in (0..self.identities.len()).map(AgentIx) {
            if !self.identities[ix.0].hostile {
                current.insert(ix, self.counting_run(ix)?);
            }
        }
        let mut peers = BTreeMap::new();
        for run in current.values().copied() {
            let core = self.runs[run.0].core().expect("a counting run has a core");
            for view in core.peers(self.now_of(run)) {
                peers.insert((run, view.node_id), view);
            }
        }
        Ok(Views { current, peers })
    }

    /// The one run of an identity that is not superseded; it must have the newest record.
    fn counting_run(&self, agent: AgentIx) -> Result<RunIx, String> {
        let runs = (0..self.runs.len()).map(RunIx).filter(|run| self.runs[run.0].agent == agent);
        let live: Vec<_> = runs.filter(|run| self.runs_agent(*run)).collect();
        let sequence = |run: RunIx| {
            let record = self.runs[run.0].core().and_then(|core| core.own_record());
            record.map(|record| record.sequence)
        };
        let mine = |run: RunIx| {
            let core = self.runs[run.0].core();
            core.is_some_and(|core| core.superseded_by().is_none())
        };
        let counting: Vec<_> = live.iter().copied().filter(|run| mine(*run)).collect();
        let [one] = counting[..] else {
            return Err(format!("agent {} has runs {counting:?} that count", agent.0));
        };
        let newest = live.iter().copied().max_by_key(|run| sequence(*run));
        if sequence(one).is_none() || newest.map(sequence) != Some(sequence(one)) {
            return Err(format!("run {} of agent {} has no newest record", one.0, agent.0));
        }
        Ok(one)
    }

    fn pair_converged(&self, views: &Views, pair: &Pair) -> Result<(), String> {
        let [a, b] = [pair.a, pair.b].map(|agent| views.current[&agent]);
        let [ia, ib] = [pair.a, pair.b].map(|agent| self.id(agent));
        let state = |run, peer| {
            views.peers.get(&(run, peer)).map_or(TrustState::None, |view| view.trust.state)
        };
        let (at_a, at_b) = (state(a, ib), state(b, ia));
        let mutual = at_a == TrustState::Mutual;
        let named = format!("agents {} and {} (runs {}, {})", pair.a.0, pair.b.0, a.0, b.0);
        if mutual != (at_b == TrustState::Mutual) {
            return Err(format!("{named}: trust is half: {at_a:?} and {at_b:?}"));
        }
        if self.trusts(a, ib) != mutual || self.trusts(b, ia) != mutual {
            return Err(format!("{named}: a store disagrees with its core ({at_a:?}, {at_b:?})"));
        }
        if !pair.ended && !mutual {
            let what = if pair.established { "was lost" } else { "never came" };
            return Err(format!("{named}: trust {what}: {at_a:?} and {at_b:?}"));
        }
        let revoked = matches!(at_a, TrustState::RevokedByUs | TrustState::RevokedByPeer);
        if revoked && self.open_streams(ia, ib) > 0 {
            return Err(format!("{named}: a stream outlived the trust"));
        }
        if mutual { self.pair_linked(views, (a, ib), (b, ia), &named) } else { Ok(()) }
    }

    fn pair_linked(
        &self,
        views: &Views,
        (a, ib): (RunIx, NodeId),
        (b, ia): (RunIx, NodeId),
        named: &str,
    ) -> Result<(), String> {
        let Some(link) = self.linked_runs(a, b) else {
            return Err(format!("{named}: not linked"));
        };
        let proven = |run, peer| views.peers.get(&(run, peer)).is_some_and(|v| !v.links.is_empty());
        if !proven(a, ib) || !proven(b, ia) {
            return Err(format!("{named}: linked, but not proven on both sides"));
        }
        if self.could_punch(a, b) && !self.links[link.0].paths.direct {
            return Err(format!("{named}: could be direct and is not"));
        }
        Ok(())
    }

    fn strangers_stay_strangers(&self, views: &Views) -> Result<(), String> {
        let hostile: Vec<_> =
            self.identities.iter().filter(|i| i.hostile).map(|i| i.node_id).collect();
        for ((run, peer), view) in &views.peers {
            if hostile.contains(peer) && view.trust.state != TrustState::None {
                let state = view.trust.state;
                return Err(format!("run {} and the adversary: {state:?}", run.0));
            }
        }
        Ok(())
    }

    /// Demands convergence within `bound`, for a second at least; what is missing becomes a finding.
    /// Returns how long it took.
    pub fn demand_convergence(&mut self, bound: Duration) -> Option<Duration> {
        let (start, step) = (self.now(), Duration::from_millis(500));
        let mut since = None;
        while self.findings().is_empty() {
            match (self.converged(), since) {
                (Ok(()), Some(since)) if self.now().since(since) >= step * 2 => {
                    return Some(since.since(start));
                }
                (Ok(()), _) => since = since.or(Some(self.now())),
                (Err(missing), _) => {
                    since = None;
                    if self.now().since(start) >= bound {
                        self.found_anywhere(format!("not converged after {bound:?}: {missing}"));
                    }
                }
            }
            self.run_for(step);
        }
        None
    }

    /// Every pair that trusts pings each other, at most `most` pairs; each ping must be answered.
    pub fn demand_pings(&mut self, most: usize) {
        let lasting = |p: &Pair| !p.ended && self.says_mutual(p.a, p.b);
        let pairs: Vec<_> = self.pairs.iter().copied().filter(lasting).collect();
        let timeout = Duration::from_secs(3);
        let mut asked = Vec::new();
        for pair in pairs.into_iter().take(most) {
            let (run, peer) = (self.counting(pair.a), self.peer(pair.b));
            asked.push((run, self.command(run, Command::Ping { peer, timeout })));
        }
        let waits = asked.clone();
        self.run_until(timeout + Duration::from_millis(300), |world| {
            let open =
                |(run, request): &(RunIx, _)| world.runs[run.0].waiting.contains_key(request);
            !waits.iter().any(open)
        });
        for (run, request) in asked {
            let answered = self.runs[run.0].answered.get(&request);
            let answer = answered.map(|answered| answered.answer.clone());
            if !matches!(answer, Some(Ok(Answer::Pinged { .. }))) {
                self.found(run, format!("a trusted peer did not answer a ping: {answer:?}"));
            }
        }
    }

    /// The run that the user of an agent talks to: the newest that is not superseded.
    fn counting(&self, agent: AgentIx) -> RunIx {
        let counts = |run: &RunIx| {
            let run = &self.runs[run.0];
            run.agent == agent && run.core().is_some_and(|core| core.superseded_by().is_none())
        };
        let newest = (0..self.runs.len()).rev().map(RunIx).find(counts);
        newest.unwrap_or_else(|| self.run_of(agent))
    }
}
