//! How fast a sender sends: the congestion controller of every QUIC connection.
//!
//! A controller belongs to the sender; the receiver need not know it. Which is the default, and by which
//! figures, is told in `docs/decisions/009-bbr3.md`; `cargo xtask bench congestion` measures.
//!
//! BBR is wrapped ([`Unhurried`]), because left alone it takes a conversation for a slow path: see there.

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iroh::endpoint::{Controller, ControllerFactory, ControllerMetrics, RttEstimator};
use noq::congestion::{Bbr3Config, CubicConfig, NewRenoConfig};

/// A congestion controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// BBR version 3 (draft-ietf-ccwg-bbr): models the path, so that a lost packet is not yet congestion.
    #[default]
    Bbr3,
    /// CUBIC (RFC 9438): what most of the internet runs; every loss is congestion.
    Cubic,
    /// `NewReno` (RFC 9002 §7): the simplest.
    NewReno,
}

impl Congestion {
    /// All of them.
    const ALL: [Self; 3] = [Self::Bbr3, Self::Cubic, Self::NewReno];

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bbr3 => "bbr3",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
        }
    }

    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Bbr3 => Arc::new(UnhurriedConfig(Arc::new(Bbr3Config::default()))),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::NewReno => Arc::new(NewRenoConfig::default()),
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for Congestion {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.word() == word);
        found.ok_or_else(|| "expected bbr3, cubic or newreno".to_owned())
    }
}

struct UnhurriedConfig(Arc<Bbr3Config>);

impl ControllerFactory for UnhurriedConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Unhurried { inner: self.0.clone().build(now, mtu), rtt: None })
    }
}

/// A paced controller that does not make a conversation wait.
///
/// Who sends a few small messages now and then shows the controller no more bandwidth than those messages had. `noq`
/// 1.4.0 forgets for every second batch of acknowledgements that there was nothing else to send, takes such a batch for
/// the path's bandwidth, and paces by it: 2 kB behind 20 pings a second waited 0.4 s. So:
///
/// * the end of a batch is told twice while the sender has nothing more to send; the second time marks what the first
///   one cleared, and computes the same rate again;
/// * the pacing rate is never below one initial window per round trip, which any sender may have in flight unasked
///   (RFC 9002 §7.2, §7.7). The congestion window, which is what losses shrink, stays the inner controller's.
struct Unhurried {
    inner: Box<dyn Controller>,
    /// Smoothed round trip; `None` before the first acknowledgement.
    rtt: Option<Duration>,
}

impl Unhurried {
    /// Bytes per second.
    fn slowest_pace(&self) -> u64 {
        let Some(rtt) = self.rtt else { return 0 };
        let nanos = rtt.as_nanos().max(1);
        let rate = u128::from(self.inner.initial_window()) * 1_000_000_000 / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Unhurried {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Unhurried").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Controller for Unhurried {
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
        self.rtt = Some(rtt.get());
        self.inner.on_ack(now, sent, bytes, number, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
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
        self.inner.on_congestion_event(now, sent, persistent, ecn, lost_bytes, largest_lost);
    }

    fn on_packet_lost(&mut self, bytes: u16, number: u64, now: Instant) {
        self.inner.on_packet_lost(bytes, number, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.inner.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, mtu: u16) {
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
        Box::new(Self { inner: self.inner.clone_box(), rtt: self.rtt })
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

    #[test]
    fn an_initial_window_per_round_trip_is_never_held_back() {
        let mut unhurried = Unhurried { inner: Box::new(Timid::default()), rtt: None };
        assert_eq!(unhurried.metrics().pacing_rate, Some(1), "nothing is known yet");
        unhurried.rtt = Some(Duration::from_millis(50));
        assert_eq!(unhurried.metrics().pacing_rate, Some(240_000));
        assert_eq!(unhurried.clone_box().metrics().pacing_rate, Some(240_000));
        assert_eq!(unhurried.metrics().congestion_window, 2_400);
    }

    #[test]
    fn a_batch_after_which_there_is_nothing_to_send_is_told_twice() {
        let mut unhurried = Unhurried { inner: Box::new(Timid::default()), rtt: None };
        for (limited, batches) in [(false, 1), (true, 3), (false, 4)] {
            unhurried.on_end_acks(Instant::now(), 0, limited, Some(7));
            let inner = unhurried.inner.clone_box().into_any();
            assert_eq!(inner.downcast::<Timid>().unwrap().batches, batches);
        }
    }

    #[test]
    fn every_controller_has_one_word() {
        for one in Congestion::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert!("bbr".parse::<Congestion>().unwrap_err().contains("bbr3"));
    }
}
