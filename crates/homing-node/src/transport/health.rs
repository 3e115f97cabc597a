//! Are the relays alive? A dead home relay is left within seconds, and taken back when it answers.
//!
//! Left to itself, iroh notices a silent relay after tens of seconds and returns to a restarted one after
//! a back-off of up to 16 s. So the home relay, and any relay that is down, is asked every second over a
//! kept-alive HTTPS connection (the others every five). Two failures in a row: *down*. A relay that is
//! down is taken out of iroh's map as long as another answers, which makes iroh pick a new home at once;
//! when it answers again it is put back. A relay that answers while iroh sits in its back-off gets a new
//! URL ([`RelayBook::renew`](super::relay_book::RelayBook::renew)), so that the connection is tried at once.
//!
//! A relay that just went down, and one asked just after our own addresses changed, is asked *eagerly*: at once, and by
//! three staggered connections per probe, because the second after which TCP repeats a lost SYN would be
//! most of the gap that a repaired cable leaves. After sleep the connection is renewed: the machine may have lost it
//! long ago, and the stack does not know that it slept ([`surroundings`](super::surroundings)).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use homing_base::RelayRef;
use iroh::endpoint::RelayStatus;
use iroh::{RelayUrl, Watcher};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::https::{Http, PING_PATH};
use super::limits::{
    PROBE_AGAIN, PROBE_CONNECTION_LIFE, PROBE_DENIED, PROBE_DENIED_REPLACED, PROBE_PERIOD,
    PROBE_PERIOD_IDLE, PROBE_STAGGER, PROBE_TIMEOUT, PROBES_EAGER_DOWN, PROBES_EAGER_MOVED,
    PROBES_STAGGERED,
};
use super::surroundings::Change;
use super::tasks::Tasks;
use super::{Shared, TransportEvent};

/// Failed probes in a row that make a relay *down*.
const FAILURES_MAX: u32 = 2;
/// Probes answered while iroh is not connected, before the connection is renewed.
const PATIENCE_PROBES: u32 = 2;
/// Body of a probe's answer; honest ones have a few bytes.
const PING_BYTES_MAX: usize = 4_096;

/// One relay's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayHealth {
    /// The relay, as configured.
    pub relay: RelayRef,
    /// Why it does not serve us, for people; `None`: it does, as far as is known.
    pub error: Option<String>,
}

/// What is known about all configured relays.
pub(super) struct Health {
    down: Mutex<BTreeMap<RelayRef, String>>,
    removed: tokio::sync::Mutex<BTreeMap<RelayRef, RelayUrl>>,
    changed: watch::Sender<()>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            down: Mutex::default(),
            removed: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Wakes when a relay went down or came up.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Every relay's state, in configured order.
    pub(super) fn all(&self, configured: &[RelayRef]) -> Vec<RelayHealth> {
        let down = self.down();
        let state = |r: &RelayRef| RelayHealth { relay: r.clone(), error: down.get(r).cloned() };
        configured.iter().map(state).collect()
    }

    /// The configured relays that serve us; all of them, when none does.
    pub(super) fn usable(&self, configured: &[RelayRef]) -> Vec<RelayRef> {
        let down = self.down();
        let usable: Vec<_> = configured.iter().filter(|r| !down.contains_key(r)).cloned().collect();
        if usable.is_empty() { configured.to_vec() } else { usable }
    }

    fn is_down(&self, relay: &RelayRef) -> bool {
        self.down().contains_key(relay)
    }

    fn down(&self) -> std::sync::MutexGuard<'_, BTreeMap<RelayRef, String>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches every configured relay.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    changes: &watch::Receiver<Option<Change>>,
    tasks: &Tasks,
) {
    for relay in shared.book.configured() {
        let doctor = Doctor {
            shared: shared.clone(),
            relay: relay.clone(),
            changes: changes.clone(),
            http: None,
            kept: Duration::ZERO,
            failures: 0,
            waiting: 0,
            denied: false,
            looked: false,
            eager: 0,
        };
        tasks.spawn(doctor.watch());
    }
}

/// Looks after one relay.
struct Doctor {
    shared: Arc<Shared>,
    relay: RelayRef,
    changes: watch::Receiver<Option<Change>>,
    http: Option<Http>,
    /// How long `http` has been kept, at most.
    kept: Duration,
    failures: u32,
    waiting: u32,
    denied: bool,
    /// The first look is over: iroh has had its time to choose a home.
    looked: bool,
    /// Probes that will still be eager.
    eager: u32,
}

/// Where iroh stands with a relay that is, or was, its home.
#[derive(PartialEq)]
enum Standing {
    NotHome,
    Connected,
    Waiting,
    Denied(String),
}

impl Doctor {
    async fn watch(mut self) {
        let Some(doors) = self.shared.doors.pair() else { return };
        let mut front = doors.front.home_relay_status();
        let mut main = doors.main.home_relay_status();
        let mut addrs = doors.main.watch_addr();
        drop(doors);
        loop {
            let standing = self.standing(front.get().into_iter().chain(main.get()));
            let pause = self.look(standing).await;
            self.kept += pause;
            if self.kept >= PROBE_CONNECTION_LIFE {
                self.http = None;
            }
            tokio::select! {
                () = sleep(pause) => {}
                changed = front.updated() => if changed.is_err() { return },
                changed = main.updated() => if changed.is_err() { return },
                changed = addrs.updated() => {
                    if changed.is_err() {
                        return;
                    }
                    self.eager = self.eager.max(PROBES_EAGER_MOVED);
                }
                // No news is no reason to stop.
                Ok(()) = self.changes.changed() => self.on_change().await,
            }
        }
    }

    /// What was connected before may be gone without a word.
    async fn on_change(&mut self) {
        let change = *self.changes.borrow_and_update();
        debug!(relay = %self.relay.authority(), ?change, "asking a relay again");
        self.http = None;
        self.eager = self.eager.max(PROBES_EAGER_MOVED);
        if change == Some(Change::Sleep) {
            self.renew().await;
        }
    }

    /// One look; answers how long to wait for the next.
    async fn look(&mut self, standing: Standing) -> Duration {
        if self.denied || matches!(standing, Standing::Denied(_)) {
            return self.on_denial(standing).await;
        }
        let alone = self.shared.book.configured().len() == 1;
        let down = self.shared.health.is_down(&self.relay);
        // The only relay is asked when iroh is not content with it: it is no home yet, or no longer.
        let young = !std::mem::replace(&mut self.looked, true);
        if alone && !down && (standing == Standing::Connected || young) {
            self.http = None;
            return if young { PROBE_PERIOD } else { PROBE_PERIOD_IDLE };
        }
        match self.probe().await {
            Ok(()) => self.on_answer(&standing, down).await,
            Err(error) => self.on_silence(error, down).await,
        }
        self.eager = self.eager.saturating_sub(1);
        let down_now = self.shared.health.is_down(&self.relay);
        if self.failures > 0 && (!down_now || self.eager > 0) {
            PROBE_AGAIN
        } else if down || standing != Standing::NotHome {
            PROBE_PERIOD
        } else {
            PROBE_PERIOD_IDLE
        }
    }

    /// A relay that denies access stays down until it lets us in, however well it answers.
    async fn on_denial(&mut self, standing: Standing) -> Duration {
        match standing {
            Standing::Connected => {
                self.denied = false;
                self.come_up().await;
            }
            Standing::Denied(reason) if !self.denied => {
                self.denied = true;
                self.go_down(format!("it denies access: {reason}")).await;
            }
            Standing::Denied(_) => {
                sleep(PROBE_DENIED).await;
                self.renew().await;
            }
            Standing::NotHome if self.is_replaced() => {
                sleep(PROBE_DENIED_REPLACED).await;
                self.denied = false;
                self.come_up().await;
            }
            Standing::NotHome | Standing::Waiting => {}
        }
        PROBE_PERIOD
    }

    /// Another relay serves us instead.
    fn is_replaced(&self) -> bool {
        !self.shared.health.usable(self.shared.book.configured()).contains(&self.relay)
    }

    async fn on_answer(&mut self, standing: &Standing, down: bool) {
        self.failures = 0;
        if down {
            return self.come_up().await;
        }
        self.waiting = if *standing == Standing::Waiting { self.waiting + 1 } else { 0 };
        if self.waiting > PATIENCE_PROBES {
            self.waiting = 0;
            self.renew().await;
        }
    }

    async fn on_silence(&mut self, error: String, down: bool) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX && !down {
            self.eager = PROBES_EAGER_DOWN;
            self.go_down(error).await;
        }
    }

    async fn probe(&mut self) -> Result<(), String> {
        let asked = timeout(PROBE_TIMEOUT, self.ask());
        let answer = asked.await.unwrap_or_else(|_| Err("no answer within a second".into()));
        if answer.is_err() {
            self.http = None;
        }
        answer
    }

    async fn ask(&mut self) -> Result<(), String> {
        // A kept connection may have been closed meanwhile: that alone is no failure.
        if let Some(http) = &mut self.http
            && http.get(PING_PATH, PING_BYTES_MAX).await.is_ok_and(|(s, _)| s.is_success())
        {
            return Ok(());
        }
        self.kept = Duration::ZERO;
        let http = self.connect().await?;
        let http = self.http.insert(http);
        match http.get(PING_PATH, PING_BYTES_MAX).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(format!("it answered {status}")),
        }
    }

    /// A connection; while eager, the first of several.
    async fn connect(&self) -> Result<Http, String> {
        let attempt = |turn: u32| async move {
            sleep(PROBE_STAGGER * turn).await;
            Http::connect(&self.shared.book, &self.relay).await
        };
        let count = if self.eager > 0 { PROBES_STAGGERED } else { 1 };
        let mut attempts: FuturesUnordered<_> = (0..count).map(attempt).collect();
        let mut last = Err("no attempt".to_owned());
        while let Some(ended) = attempts.next().await {
            last = ended;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn standing(&self, homes: impl Iterator<Item = RelayStatus>) -> Standing {
        let mut standing = Standing::NotHome;
        for home in homes.filter(|h| self.shared.book.relay(h.url()) == self.relay) {
            if let Some(reason) = home.auth_denied_reason() {
                return Standing::Denied(reason.to_owned());
            }
            if !home.is_connected() {
                standing = Standing::Waiting;
            } else if standing == Standing::NotHome {
                standing = Standing::Connected;
            }
        }
        standing
    }

    async fn go_down(&self, error: String) {
        self.shared.health.down().insert(self.relay.clone(), error.clone());
        self.settle().await;
        let relay = self.relay.clone();
        self.shared.tell(TransportEvent::RelayDown { relay, error }).await;
    }

    async fn come_up(&self) {
        self.shared.health.down().remove(&self.relay);
        if self.settle().await == 0 {
            self.renew().await;
        }
        self.shared.tell(TransportEvent::RelayUp { relay: self.relay.clone() }).await;
    }

    /// Brings iroh's relay map in line with what answers. Answers how many relays were put back.
    async fn settle(&self) -> usize {
        let Shared { health, book, doors, .. } = &*self.shared;
        let mut removed = health.removed.lock().await;
        let wanted = health.usable(book.configured());
        let mut back = 0;
        for relay in &wanted {
            if removed.remove(relay).is_some() {
                doors.insert_relay(book, relay).await;
                back += 1;
            }
        }
        for relay in book.configured().iter().filter(|r| !wanted.contains(r)) {
            if !removed.contains_key(relay)
                && let Some(url) = book.renew(relay)
            {
                doors.remove_relay(&url).await;
                removed.insert(relay.clone(), url);
            }
        }
        health.changed.send_replace(());
        back
    }

    /// Connects anew, now.
    async fn renew(&self) {
        let Shared { health, book, doors, .. } = &*self.shared;
        let removed = health.removed.lock().await;
        if !removed.contains_key(&self.relay)
            && let Some(old) = book.renew(&self.relay)
        {
            doors.insert_relay(book, &self.relay).await;
            doors.remove_relay(&old).await;
        }
    }
}
