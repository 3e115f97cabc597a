//! BBR that does not make a conversation wait, and leaves near paths to CUBIC.
//!
//! **A conversation is not a slow path.** Who sends a few small messages now and then shows the controller no more
//! bandwidth than those messages had. `noq` 1.4.0 forgets for every second batch of acknowledgements that there was
//! nothing else to send, takes such a batch for the path's bandwidth, and paces by it: 2 kB behind 20 pings a second
//! waited 0.4 s. So:
//!
//! * the end of a batch is told twice while the sender has nothing more to send; the second time marks what the first
//!   one cleared, and computes the same rate again;
//! * the pacing rate is never below one initial window per round trip, which any sender may have in flight unasked
//!   (RFC 9002 §7.2, §7.7). The congestion window, which is what losses shrink, stays the inner controller's.
//!
//! **A near path needs no model.** BBR derives window and pace from the shortest round trip it saw. On one host or one
//! rack that is a tenth of a millisecond, while programs are scheduled in whole ones: the model takes the scheduler's
//! pauses for the path's. What BBR is good at, carrying on through losses, is worth little where a loss is repaired
//! within a millisecond. So each path begins with BBR, is handed to CUBIC once a round trip of [`NEAR`] was seen, and
//! back for good once its round trips stay above [`QUEUED`]: then it has a narrow place with a long queue, which CUBIC fills
//! and BBR leaves empty, or it leads elsewhere now.
//!
//! A peer can feign a near path by acknowledging what it has not received. It gains CUBIC on its own path.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noq::congestion::{Bbr3Config, Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use noq_proto::RttEstimator;

/// A path whose shortest round trip is at most this is near.
const NEAR: Duration = Duration::from_millis(1);
/// A near path whose smoothed round trip stays longer than this has a queue.
const QUEUED: Duration = Duration::from_millis(25);
/// So many batches of acknowledgements in a row: a single late one is forgotten sooner, as each weighs an eighth (RFC 9002 §5.3).
const QUEUED_BATCHES: u8 = 32;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// BBR: nothing as short as [`NEAR`] was seen yet.
    Far,
    /// CUBIC.
    Near {
        /// Batches of acknowledgements in a row with a smoothed round trip above [`QUEUED`].
        queued: u8,
    },
    /// BBR whatever is seen: near with a queue, or so configured.
    Settled,
}

impl Stage {
    const NEAR: Self = Self::Near { queued: 0 };

    /// After one more batch of acknowledgements.
    fn after(self, Trips { shortest, smoothed }: Trips) -> Self {
        match self {
            Self::Far if shortest <= NEAR => Self::NEAR,
            Self::Near { .. } if smoothed <= QUEUED => Self::NEAR,
            Self::Near { queued } if queued + 1 == QUEUED_BATCHES => Self::Settled,
            Self::Near { queued } => Self::Near { queued: queued + 1 },
            Self::Far | Self::Settled => self,
        }
    }

    fn by_cubic(self) -> bool {
        matches!(self, Self::Near { .. })
    }
}

/// Makes a controller for each path.
#[derive(Clone)]
pub(super) struct SteeredConfig {
    begin: Stage,
    bbr: Arc<Bbr3Config>,
    cubic: Arc<CubicConfig>,
}

impl SteeredConfig {
    /// BBR on far paths, CUBIC on near ones.
    pub(super) fn by_distance() -> Self {
        Self { begin: Stage::Far, bbr: Arc::default(), cubic: Arc::default() }
    }

    /// BBR on every path.
    pub(super) fn everywhere() -> Self {
        Self { begin: Stage::Settled, ..Self::by_distance() }
    }

    fn inner(&self, stage: Stage, now: Instant, mtu: u16) -> Box<dyn Controller> {
        if stage.by_cubic() {
            self.cubic.clone().build(now, mtu)
        } else {
            self.bbr.clone().build(now, mtu)
        }
    }
}

impl ControllerFactory for SteeredConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let inner = self.inner(self.begin, now, mtu);
        let (stage, config) = (self.begin, (*self).clone());
        Box::new(Steered { inner, config, stage, mtu, handed_over: None, rtt: None })
    }
}

/// Round trips of a path.
#[derive(Clone, Copy)]
struct Trips {
    shortest: Duration,
    smoothed: Duration,
}

/// The controller of one path: see the head of this file.
struct Steered {
    inner: Box<dyn Controller>,
    config: SteeredConfig,
    stage: Stage,
    /// Bytes.
    mtu: u16,
    /// When the inner controller took over from another.
    handed_over: Option<Instant>,
    /// As the last acknowledgement found them; `None` before the first.
    rtt: Option<Trips>,
}

impl Steered {
    /// Another controller begins as on a new path: what it needs to know, it learns within a few round trips.
    fn go_on_as(&mut self, stage: Stage, now: Instant) {
        if stage.by_cubic() != self.stage.by_cubic() {
            self.inner = self.config.inner(stage, now, self.mtu);
            self.handed_over = Some(now);
        }
        self.stage = stage;
    }

    /// Bytes per second.
    fn slowest_pace(&self) -> u64 {
        let Some(rtt) = self.rtt else { return 0 };
        let nanos = rtt.smoothed.as_nanos().max(1);
        let rate = u128::from(self.inner.initial_window()) * 1_000_000_000 / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Steered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Steered");
        out.field("inner", &self.inner).field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Controller for Steered {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest: u64) {
        self.inner.on_sent(now, bytes, largest);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, number: u64) {
        self.inner.on_packet_sent(now, bytes, number);
    }

    fn on_cwnd_limited(&mut self) {
        self.inner.on_cwnd_limited();
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        number: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.rtt = Some(Trips { shortest: rtt.min(), smoothed: rtt.get() });
        self.inner.on_ack(now, sent, bytes, number, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
        if let Some(rtt) = self.rtt {
            self.go_on_as(self.stage.after(rtt), now);
        }
        for _ in 0..=u8::from(app_limited) {
            self.inner.on_end_acks(now, in_flight, app_limited, largest);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        persistent: bool,
        ecn: bool,
        lost_bytes: u64,
        largest_lost: u64,
    ) {
        // What the one before sent too much of is not its successor's fault.
        if !persistent && self.handed_over.is_some_and(|since| sent <= since) {
            return;
        }
        self.inner.on_congestion_event(now, sent, persistent, ecn, lost_bytes, largest_lost);
    }

    fn on_packet_lost(&mut self, bytes: u16, number: u64, now: Instant) {
        self.inner.on_packet_lost(bytes, number, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.inner.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.inner.on_mtu_update(mtu);
    }

    fn on_ack_frequency_update(&mut self, threshold: u64, max_ack_delay: Duration) {
        self.inner.on_ack_frequency_update(threshold, max_ack_delay);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.inner.metrics();
        metrics.pacing_rate = metrics.pacing_rate.map(|rate| rate.max(self.slowest_pace()));
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let (inner, config) = (self.inner.clone_box(), self.config.clone());
        Box::new(Self { inner, config, ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self.inner.into_any()
    }
}

#[cfg(test)]
mod tests {
    use noq::congestion::{Bbr3, Cubic};

    use super::*;

    /// Believes in a byte per second, and counts.
    #[derive(Clone, Debug, Default)]
    struct Timid {
        batches: u32,
    }

    impl Controller for Timid {
        fn on_end_acks(&mut self, _: Instant, _: u64, _: bool, _: Option<u64>) {
            self.batches += 1;
        }
        fn on_congestion_event(
            &mut self,
            _: Instant,
            _: Instant,
            _: bool,
            _: bool,
            _: u64,
            _: u64,
        ) {
        }
        fn on_mtu_update(&mut self, _: u16) {}
        fn window(&self) -> u64 {
            2_400
        }
        fn metrics(&self) -> ControllerMetrics {
            let mut metrics = ControllerMetrics::default();
            (metrics.congestion_window, metrics.pacing_rate) = (self.window(), Some(1));
            metrics
        }
        fn clone_box(&self) -> Box<dyn Controller> {
            Box::new(self.clone())
        }
        fn initial_window(&self) -> u64 {
            12_000
        }
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    fn steered(inner: Box<dyn Controller>) -> Steered {
        let config = SteeredConfig::everywhere();
        Steered { inner, config, stage: Stage::Settled, mtu: 1_200, handed_over: None, rtt: None }
    }

    #[test]
    fn an_initial_window_per_round_trip_is_never_held_back() {
        let mut one = steered(Box::new(Timid::default()));
        assert_eq!(one.metrics().pacing_rate, Some(1), "nothing is known yet");
        let trip = Duration::from_millis(50);
        one.rtt = Some(Trips { shortest: trip, smoothed: trip });
        assert_eq!(one.metrics().pacing_rate, Some(240_000));
        assert_eq!(one.clone_box().metrics().pacing_rate, Some(240_000));
        assert_eq!(one.metrics().congestion_window, 2_400);
    }

    #[test]
    fn a_batch_after_which_there_is_nothing_to_send_is_told_twice() {
        let mut one = steered(Box::new(Timid::default()));
        for (limited, batches) in [(false, 1), (true, 3), (false, 4)] {
            one.on_end_acks(Instant::now(), 0, limited, Some(7));
            let inner = one.inner.clone_box().into_any();
            assert_eq!(inner.downcast::<Timid>().unwrap().batches, batches);
        }
    }

    #[test]
    fn a_path_is_near_once_and_settled_for_good() {
        let after = |stage: Stage, shortest, smoothed| {
            let (shortest, smoothed) =
                (Duration::from_micros(shortest), Duration::from_micros(smoothed));
            stage.after(Trips { shortest, smoothed })
        };
        assert_eq!(after(Stage::Far, 1_001, 1_001), Stage::Far);
        assert_eq!(after(Stage::Far, 1_000, 40_000), Stage::NEAR);
        let mut stage = Stage::NEAR;
        for queued in 1..QUEUED_BATCHES {
            stage = after(stage, 100, 25_001);
            assert_eq!(stage, Stage::Near { queued });
        }
        assert_eq!(after(stage, 100, 25_000), Stage::NEAR, "counted in a row");
        assert_eq!(after(stage, 100, 25_001), Stage::Settled);
        assert_eq!(after(Stage::Settled, 100, 100), Stage::Settled);
    }

    #[test]
    fn near_paths_are_cubic_s_all_others_bbr_s() {
        let mut one = steered(Box::new(Timid::default()));
        let is = |one: &Steered| {
            let inner = || one.inner.clone_box().into_any();
            (inner().is::<Bbr3>(), inner().is::<Cubic>())
        };
        one.go_on_as(Stage::NEAR, Instant::now());
        assert_eq!(is(&one), (false, true));
        one.go_on_as(Stage::Settled, Instant::now());
        assert_eq!(is(&one), (true, false));
    }

    #[test]
    fn a_controller_does_not_answer_for_what_another_sent() {
        let mut one = steered(Box::new(Timid::default()));
        let (before, then) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        one.go_on_as(Stage::NEAR, then);
        let window = one.window();
        one.on_congestion_event(then, before, false, false, 1_200, 1);
        assert_eq!(one.window(), window);
        let after = then + Duration::from_millis(1);
        one.on_congestion_event(after, after, false, false, 1_200, 2);
        assert!(one.window() < window);
    }
}
