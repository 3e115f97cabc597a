//! How long agents stay: a shape and one figure that people know, the median or the mean.

use std::time::Duration;

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::dht::churn::{FACTORS, Sessions};

/// Candidates from which a session under way is drawn, longer ones more often.
const CANDIDATES: usize = 8;

/// The shape of session times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Memoryless.
    #[default]
    Exponential,
    /// Many short, a few very long; `shape` below 1. Measured in the field: 0.34 to 0.59 (Stutzbach & Rejaie, IMC 2006).
    Weibull,
    /// `shape` is sigma of the underlying normal.
    LogNormal,
    /// The heaviest tail; `shape` is alpha, above 1.
    Pareto,
    /// All alike: instances with a fixed lease.
    Fixed,
}

impl std::str::FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "exponential" => Model::Exponential,
            "weibull" => Model::Weibull,
            "log-normal" => Model::LogNormal,
            "pareto" => Model::Pareto,
            "fixed" => Model::Fixed,
            _ => {
                return Err(format!("{text:?}: exponential, weibull, log-normal, pareto or fixed"));
            }
        })
    }
}

/// Session times as a scenario describes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// Their shape.
    #[serde(default)]
    pub model: Model,
    /// The model's parameter: Weibull 0.5, log-normal 1.5, Pareto 1.5 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<f64>,
    /// Half of all sessions are shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<Span>,
    /// Instead of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Span>,
}

impl Lifetimes {
    /// What is wrong with it, as a sentence.
    pub(crate) fn fault(&self) -> Option<String> {
        let shape = self.shape();
        let fits = match self.model {
            Model::Exponential | Model::Fixed => self.shape.is_none(),
            Model::Weibull | Model::LogNormal => (0.2..=5.0).contains(&shape),
            Model::Pareto => (1.05..=10.0).contains(&shape),
        };
        if !fits {
            return Some(match self.model {
                Model::Exponential | Model::Fixed => "this model has no shape".to_owned(),
                Model::Pareto => "the shape of pareto is 1.05 to 10".to_owned(),
                _ => "the shape is 0.2 to 5".to_owned(),
            });
        }
        let given = match (self.median, self.mean) {
            (Some(span), None) | (None, Some(span)) => span,
            (None, None) => return Some("say median or mean".to_owned()),
            (Some(_), Some(_)) => {
                return Some("median and mean contradict each other; say one".into());
            }
        };
        (given.as_seconds() < 5.0).then(|| format!("sessions of {given} are too short: 5s or more"))
    }

    fn shape(&self) -> f64 {
        self.shape.unwrap_or(match self.model {
            Model::Weibull => 0.5,
            _ => 1.5,
        })
    }

    /// Mean over median.
    fn mean_factor(&self) -> f64 {
        let ln2 = std::f64::consts::LN_2;
        let shape = self.shape();
        match self.model {
            Model::Exponential => 1.0 / ln2,
            Model::Weibull => gamma(1.0 + 1.0 / shape) / ln2.powf(1.0 / shape),
            Model::LogNormal => (shape * shape / 2.0).exp(),
            Model::Pareto => shape / (shape - 1.0) / 2f64.powf(1.0 / shape),
            Model::Fixed => 1.0,
        }
    }

    /// Half of all sessions are shorter, in seconds.
    #[must_use]
    pub fn median_seconds(&self) -> f64 {
        match (self.median, self.mean) {
            (Some(median), _) => median.as_seconds(),
            (None, Some(mean)) => mean.as_seconds() / self.mean_factor(),
            (None, None) => f64::INFINITY,
        }
    }

    /// The mean session, in seconds.
    #[must_use]
    pub fn mean_seconds(&self) -> f64 {
        self.mean.map_or_else(|| self.median_seconds() * self.mean_factor(), Span::as_seconds)
    }

    /// Share of the fleet that leaves per hour.
    #[must_use]
    pub fn turnover_per_hour(&self) -> f64 {
        3_600.0 / self.mean_seconds()
    }

    /// The same shape at another turnover.
    #[must_use]
    pub fn at_turnover(&self, per_hour: f64) -> Self {
        Self { median: None, mean: Some(Span::seconds(3_600.0 / per_hour)), ..*self }
    }

    /// A whole session, of an agent that begins now.
    pub(crate) fn draw(&self, chance: &mut impl Rng) -> Duration {
        let (u, v) = (unit(chance), unit(chance));
        let shape = self.shape();
        let factor = match self.model {
            Model::Exponential => Sessions::Exponential.factor(u, v),
            Model::Weibull => Sessions::Weibull { shape }.factor(u, v),
            Model::LogNormal => Sessions::LogNormal { sigma: shape }.factor(u, v),
            Model::Pareto => (2.0 * u).powf(-1.0 / shape),
            Model::Fixed => 1.0,
        };
        Duration::from_secs_f64(self.median_seconds() * factor.clamp(FACTORS.0, FACTORS.1))
    }

    /// What is left of a session that somebody who looks at a running fleet meets: long ones are met more often.
    pub(crate) fn draw_rest(&self, chance: &mut impl Rng) -> Duration {
        if self.model == Model::Exponential {
            return self.draw(chance);
        }
        let lengths: Vec<f64> = (0..CANDIDATES).map(|_| self.draw(chance).as_secs_f64()).collect();
        let mut at = unit(chance) * lengths.iter().sum::<f64>();
        let met = lengths.iter().find(|length| {
            at -= **length;
            at <= 0.0
        });
        Duration::from_secs_f64(met.unwrap_or(&lengths[0]) * unit(chance))
    }
}

fn unit(chance: &mut impl Rng) -> f64 {
    ((f64::from(chance.next_u32()) + 0.5) / 4_294_967_296.0).clamp(1e-12, 1.0 - 1e-12)
}

/// The gamma function for x ≥ 1, after Lanczos (g = 7, n = 9; relative error below 1e-13).
fn gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series = COEFFICIENTS
        .iter()
        .zip(1u8..)
        .fold(0.999_999_999_999_809_9, |sum, (c, i)| sum + c / (x + f64::from(i)));
    let t = x + 7.5;
    (std::f64::consts::TAU).sqrt() * t.powf(x + 0.5) * (-t).exp() * series
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn of(model: Model, shape: Option<f64>) -> Lifetimes {
        Lifetimes { model, shape, median: Some(Span::seconds(600.0)), mean: None }
    }

    #[test]
    fn medians_and_means_are_as_promised() {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let cases = [
            of(Model::Exponential, None),
            of(Model::Weibull, Some(0.8)),
            of(Model::LogNormal, Some(0.8)),
            of(Model::Pareto, Some(3.0)),
            of(Model::Fixed, None),
        ];
        for lifetimes in cases {
            let mut drawn: Vec<f64> =
                (0..40_000).map(|_| lifetimes.draw(&mut chance).as_secs_f64()).collect();
            drawn.sort_unstable_by(f64::total_cmp);
            let (median, mean) = (drawn[20_000], drawn.iter().sum::<f64>() / 40_000.0);
            assert!((median / 600.0 - 1.0).abs() < 0.05, "{lifetimes:?}: median {median}");
            let expected = lifetimes.mean_seconds();
            assert!((mean / expected - 1.0).abs() < 0.06, "{lifetimes:?}: {mean}, not {expected}");
            let again = lifetimes.at_turnover(lifetimes.turnover_per_hour());
            assert!((again.median_seconds() - 600.0).abs() < 0.01, "{again:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let both = Lifetimes { mean: Some(Span::seconds(9.0)), ..of(Model::Fixed, None) };
        assert!(both.fault().is_some_and(|f| f.contains("contradict")));
        assert!(of(Model::Pareto, Some(0.9)).fault().is_some());
        assert!(of(Model::Fixed, Some(1.0)).fault().is_some());
        assert!(of(Model::Weibull, None).fault().is_none());
    }
}
