//! The candidate list of one iterative lookup: who is known, who was asked, whom to ask next.
//!
//! Sorted by distance. Every candidate belongs to the path that named it first, so with d > 1 the
//! paths are disjoint (S/Kademlia §4.4). The list is finished when the k closest candidates that are
//! alive have answered and, with several paths, the [`PATH_WIDTH`] closest of each path too: liars who
//! fill the front of the list do not end the other paths. Nothing here sends: see [`super::drive`].

use std::time::Duration;

use homing_base::NodeId;

use super::contact::{Contact, Place, id_prefix};
use super::limits::{CANDIDATES_MAX, CANDIDATES_PER_PATH, GROUP_PER_LOOKUP, K_MAX, PATH_WIDTH};

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not asked yet.
    Fresh,
    /// Asked; its RTO has not passed.
    Asked,
    /// Asked; its RTO has passed, it may still answer.
    Slow,
    /// Answered.
    Answered,
    /// Will not answer.
    Failed,
}

/// One node that a lookup knows.
#[derive(Clone, Debug)]
pub struct Candidate<P> {
    /// Who and where.
    pub contact: Contact<P>,
    /// Where it stands.
    pub state: State,
    /// Steps from our own table: 1 for its contacts.
    pub depth: u8,
    /// Its path.
    pub path: u8,
    distance: u64,
    rtt: Option<Duration>,
}

impl<P> Candidate<P> {
    fn is_live(&self) -> bool {
        !matches!(self.state, State::Failed | State::Slow)
    }
}

/// How a lookup searches.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Width: the k closest must answer.
    pub k: usize,
    /// Requests in flight.
    pub alpha: usize,
    /// Requests in flight once nothing gets closer.
    pub alpha_last: usize,
    /// Disjoint paths.
    pub paths: usize,
    /// Enforce the cap per IP neighbourhood.
    pub caps: bool,
    /// Weigh known round trips against distance; the mean of all round trips.
    pub proximity: Option<Duration>,
}

/// The candidate list.
#[derive(Clone, Debug)]
pub struct Candidates<P> {
    me: NodeId,
    target: NodeId,
    shape: Shape,
    list: Vec<Candidate<P>>,
    improving: bool,
}

impl<P: Place> Candidates<P> {
    /// A list that begins with `start`, dealt to the paths in turn.
    #[must_use]
    pub fn new(
        me: NodeId,
        target: NodeId,
        shape: Shape,
        start: impl Iterator<Item = (Contact<P>, Option<Duration>)>,
    ) -> Self {
        let mut list = Self { me, target, shape, list: Vec::new(), improving: true };
        for (i, (contact, rtt)) in start.enumerate() {
            let path = u8::try_from(i % shape.paths).expect("few paths");
            list.add(contact, rtt, 1, path);
        }
        list
    }

    /// All candidates, closest first.
    #[must_use]
    pub fn list(&self) -> &[Candidate<P>] {
        &self.list
    }

    fn find(&mut self, id: &NodeId) -> Option<&mut Candidate<P>> {
        let distance = id_prefix(id) ^ id_prefix(&self.target);
        let at = self.list.partition_point(|c| c.distance < distance);
        self.list[at..].iter_mut().find(|c| c.contact.id == *id)
    }

    /// Adds one candidate; `false` if it is known, ourselves, or one too many of its neighbourhood.
    fn add(&mut self, contact: Contact<P>, rtt: Option<Duration>, depth: u8, path: u8) -> bool {
        let distance = id_prefix(&contact.id) ^ id_prefix(&self.target);
        let at = self.list.partition_point(|c| c.distance < distance);
        let same = |c: &Candidate<P>| c.contact.id == contact.id;
        let known = self.list[at..].iter().take_while(|c| c.distance == distance).any(same);
        if known || contact.id == self.me || self.crowded(&contact) {
            return false;
        }
        let state = State::Fresh;
        self.list.insert(at, Candidate { contact, state, depth, path, distance, rtt });
        true
    }

    fn crowded(&self, contact: &Contact<P>) -> bool {
        let Some(group) = contact.place.group().filter(|_| self.shape.caps) else { return false };
        let same = |c: &&Candidate<P>| c.contact.place.group() == Some(group);
        self.list.iter().filter(same).count() >= GROUP_PER_LOOKUP
    }

    /// `from` answered and named `contacts`. Those beyond the k-th live candidate are worth nothing.
    pub fn on_answer(&mut self, from: &NodeId, contacts: Vec<Contact<P>>) {
        let Some(candidate) = self.find(from) else { return };
        candidate.state = State::Answered;
        let (depth, path) = (candidate.depth.saturating_add(1), candidate.path);
        let bound = self.reach(path);
        let mut improved = false;
        for contact in contacts {
            let distance = id_prefix(&contact.id) ^ id_prefix(&self.target);
            if distance < bound {
                improved |= self.add(contact, None, depth, path);
            }
        }
        let nearest = self.live(path).next().map(|c| c.state);
        self.improving = improved || nearest != Some(State::Answered);
        self.truncate();
    }

    /// The distance of the k-th live candidate of a path; anything farther is of no use.
    fn reach(&self, path: u8) -> u64 {
        self.live(path).nth(self.shape.k - 1).map_or(u64::MAX, |c| c.distance)
    }

    fn live(&self, path: u8) -> impl Iterator<Item = &Candidate<P>> {
        self.list.iter().filter(move |c| c.path == path && c.is_live())
    }

    /// How many of a path's closest live candidates must answer.
    fn width(&self) -> usize {
        if self.shape.paths == 1 { self.shape.k } else { PATH_WIDTH }
    }

    fn truncate(&mut self) {
        let wide = CANDIDATES_MAX.max(3 * self.shape.k.min(K_MAX)).max(self.shape.k);
        let max = wide + (self.shape.paths - 1) * CANDIDATES_PER_PATH;
        while self.list.len() > max {
            let last = self.list.iter().rposition(|c| c.state == State::Fresh);
            let Some(last) = last else { return };
            self.list.remove(last);
        }
    }

    /// What became of a request to `id`.
    pub fn mark(&mut self, id: &NodeId, state: State) {
        if let Some(candidate) = self.find(id) {
            candidate.state = state;
        }
    }

    /// Whom to ask next, if anybody now; it counts as asked.
    pub fn ask_next(&mut self) -> Option<Contact<P>> {
        let paths = u8::try_from(self.shape.paths).expect("few paths");
        let at = (0..paths).find_map(|path| self.next_on(path))?;
        self.list[at].state = State::Asked;
        Some(self.list[at].contact.clone())
    }

    fn next_on(&self, path: u8) -> Option<usize> {
        let places = match (self.shape.paths, self.improving) {
            (1, true) => self.shape.alpha,
            (1, false) => self.shape.alpha_last,
            (_, true) => 1,
            (_, false) => self.shape.alpha,
        };
        let (mut live, mut of_path, mut in_flight) = (0, 0, 0);
        let mut best: Option<(i64, usize)> = None;
        for (at, candidate) in self.list.iter().enumerate().filter(|(_, c)| c.is_live()) {
            if live >= self.shape.k && of_path >= self.width() {
                break;
            }
            live += 1;
            if candidate.path != path {
                continue;
            }
            of_path += 1;
            match candidate.state {
                State::Asked => in_flight += 1,
                State::Fresh => {
                    let cost = self.cost(candidate);
                    if best.is_none_or(|(least, _)| cost < least) {
                        best = Some((cost, at));
                    }
                }
                _ => {}
            }
        }
        best.filter(|_| in_flight < places).map(|(_, at)| at)
    }

    /// What asking it first would cost: its round trip, minus what its distance saves later. One
    /// step of a lookup covers some log2 k bits, so a bit is worth that share of a mean round trip.
    fn cost(&self, candidate: &Candidate<P>) -> i64 {
        let Some(mean) = self.shape.proximity else { return 0 };
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX / 1_024);
        let bit = micros(mean) * 2 / 9;
        micros(candidate.rtt.unwrap_or(mean)) - bit * i64::from(candidate.distance.leading_zeros())
    }

    /// Whether everybody who has to answer has.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let answered = |c: &Candidate<P>| c.state == State::Answered;
        let paths = if self.shape.paths == 1 { 0 } else { self.shape.paths };
        let paths = u8::try_from(paths).expect("few paths");
        self.list.iter().filter(|c| c.is_live()).take(self.shape.k).all(answered)
            && (0..paths).all(|p| self.live(p).take(PATH_WIDTH).all(answered))
    }

    /// Those that answered, closest first.
    pub fn answered(&self) -> impl Iterator<Item = &Candidate<P>> {
        self.list.iter().filter(|c| c.state == State::Answered)
    }

    /// The candidate with this ID.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<&Candidate<P>> {
        self.list.iter().find(|c| c.contact.id == *id)
    }
}
