//! How long nodes stay: distributions of session times with a given median.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A session is between these shares of the median: a heavy tail must not outlast every clock.
pub(crate) const FACTORS: (f64, f64) = (1e-3, 1e4);

/// The shape of session times. Measured ones: Weibull with shape 0.34–0.59 (Stutzbach & Rejaie, IMC
/// 2006), log-normal nearly as good; exponential for comparison with Rhea et al. 2004.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "model")]
pub enum Sessions {
    /// Memoryless.
    Exponential,
    /// Many short, a few very long.
    Weibull {
        /// Below 1: the longer a node stayed, the longer it will.
        shape: f64,
    },
    /// Sigma of the underlying normal.
    LogNormal {
        /// Spread.
        sigma: f64,
    },
}

impl Sessions {
    /// A session length. `u` and `v` are uniform in 0..1.
    #[must_use]
    pub fn draw(self, median: Duration, u: f64, v: f64) -> Duration {
        let (least, most) = FACTORS;
        median.mul_f64(self.factor(u, v).clamp(least, most))
    }

    /// A session length over the median, unbounded.
    pub(crate) fn factor(self, u: f64, v: f64) -> f64 {
        let u = u.clamp(1e-12, 1.0 - 1e-12);
        let ln2 = std::f64::consts::LN_2;
        match self {
            Sessions::Exponential => -u.ln() / ln2,
            Sessions::Weibull { shape } => (-u.ln() / ln2).powf(1.0 / shape),
            Sessions::LogNormal { sigma } => {
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                (sigma * normal).exp()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_all_sessions_are_shorter_than_the_median() {
        let median = Duration::from_secs(100);
        for model in [
            Sessions::Exponential,
            Sessions::Weibull { shape: 0.5 },
            Sessions::LogNormal { sigma: 1.5 },
        ] {
            let shorter = (0..10_000)
                .filter(|i| {
                    let u = (f64::from(*i) + 0.5) / 10_000.0;
                    let v = (f64::from(*i) * 0.618_034).fract();
                    model.draw(median, u, v) < median
                })
                .count();
            assert!((4_800..5_200).contains(&shorter), "{model:?}: {shorter}");
        }
    }
}
