//! Retransmission timeouts: RFC 6298 with Bamboo's first sample.
//!
//! `RTO = srtt + 4·rttvar + 10 ms`, first sample `4·RTT + 10 ms`, doubled per failure, within
//! [`RTO_MIN`]–[`RTO_MAX`]. Whom we never measured gets the same formula over everybody.

use std::time::Duration;

use super::limits::{RTO_MAX, RTO_MIN, RTO_UNKNOWN};

/// Smoothed round trip of one contact (or of all). Microseconds; zero: never measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtt {
    srtt_us: u32,
    var_us: u32,
}

impl Rtt {
    /// Takes one measurement. Only answers to requests sent once count (Karn's rule).
    pub fn sample(&mut self, rtt: Duration) {
        let us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX / 8).clamp(1, u32::MAX / 8);
        if self.srtt_us == 0 {
            (self.srtt_us, self.var_us) = (us, us * 3 / 4);
            return;
        }
        let deviation = self.srtt_us.abs_diff(us);
        self.var_us = self.var_us - self.var_us / 4 + deviation / 4;
        self.srtt_us = self.srtt_us - self.srtt_us / 8 + us / 8;
    }

    /// The smoothed round trip.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.srtt_us > 0).then(|| Duration::from_micros(u64::from(self.srtt_us)))
    }

    /// How long to wait after `failures` in a row; `of_all` stands in for an unmeasured contact.
    #[must_use]
    pub fn timeout(&self, failures: u8, of_all: &Rtt) -> Duration {
        let measured = if self.srtt_us > 0 { self } else { of_all };
        let base = match measured.srtt_us {
            0 => RTO_UNKNOWN,
            srtt => {
                Duration::from_micros(u64::from(srtt) + 4 * u64::from(measured.var_us) + 10_000)
            }
        };
        (base * (1 << failures.min(5))).clamp(RTO_MIN, RTO_MAX)
    }
}
