//! How long messages take, and what uplinks do to them.

use std::time::Duration;

use homing_base::Mono;

/// The median distance of two random points of the unit square.
const MEDIAN_DISTANCE: f64 = 0.512;
/// What two neighbours still have between them.
const RTT_FLOOR_MS: f64 = 2.0;

/// Where round trips come from.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// All pairs alike.
    Constant,
    /// Nodes are points of a square; the median round trip is as configured.
    Plane,
}

impl Latency {
    /// One way between two points; `wobble` in −1..1 stands for jitter of ±5 %.
    #[must_use]
    pub fn one_way(self, a: [f32; 2], b: [f32; 2], rtt_ms: f64, wobble: f64) -> Duration {
        let rtt = match self {
            Latency::Constant => rtt_ms,
            Latency::Plane => {
                let (dx, dy) = (f64::from(a[0] - b[0]), f64::from(a[1] - b[1]));
                let share = (dx * dx + dy * dy).sqrt() / MEDIAN_DISTANCE;
                RTT_FLOOR_MS + (rtt_ms - RTT_FLOOR_MS) * share
            }
        };
        Duration::from_secs_f64(rtt / 2_000.0 * (1.0 + 0.05 * wobble))
    }
}

/// One node's uplink: a rate and a queue in front of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uplink {
    /// Bytes per second.
    pub rate: f64,
    /// What waits longer than this is dropped on arrival.
    pub queue: Duration,
}

impl Uplink {
    /// When the last byte of a message leaves; `None`: dropped. `free` is when the uplink is idle.
    #[must_use]
    pub fn leaves(&self, bytes: usize, free: Mono, now: Mono) -> Option<Mono> {
        let start = free.max(now);
        if start.since(now) > self.queue {
            return None;
        }
        Some(start.after(Duration::from_secs_f64(bytes as f64 / self.rate)))
    }
}
