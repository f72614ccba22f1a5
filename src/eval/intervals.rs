//! Whether intervals hold as often as they say: nine times in ten.
//!
//! **Quality.** An interval is of a chance, and an answer is only right or wrong; so the pairs of query
//! and model are sorted by the estimated chance and cut into bins of at least 40 neighbors. Of a bin
//! with n pairs the estimate p and the ends lo, hi are the means over its pairs. The share of right
//! answers strays from the true chance by binomial noise, which widens the interval:
//!
//! ```text
//! lo' = p − √( (p − lo)² + (1.645)²·p(1 − p)/n )      hi' = p + √( (hi − p)² + (1.645)²·p(1 − p)/n )
//! ```
//!
//! **Cost and length** are of the call itself, and either lie inside or do not.

use serde::Serialize;

use super::bootstrap::{Measured, Resamples, Tally};
use super::metrics::mean;
use crate::estimate::Interval;

/// Least pairs per bin.
const BIN: usize = 40;

/// Normal quantile at 95 %, as intervals are central 90 %.
const Z90: f64 = 1.645;

/// How often the intervals of quality hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualityIntervals {
    /// With bins of one model each; absent where no model has pairs for one.
    pub by_model: Option<Bins>,
    /// With bins over all models.
    pub pooled: Option<Bins>,
}

/// Bins, and what happened in them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bins {
    /// How many there are.
    pub bins: usize,
    /// Those whose share of right answers lies in the widened interval, percent.
    pub inside: f64,
    /// Mean width of the intervals, points.
    pub width: f64,
    /// Mean width with binomial noise, points.
    pub widened: f64,
}

/// Tests the intervals of N queries × `models`, query by query; `None` where there are none.
pub fn quality_intervals(qualities: &[Interval], correct: &[f64], models: usize) -> Option<QualityIntervals> {
    if qualities.is_empty() || qualities.iter().any(|q| q.lo.is_nan() || q.hi.is_nan()) {
        return None;
    }
    let pairs: Vec<(Interval, f64)> = qualities.iter().copied().zip(correct.iter().copied()).collect();
    let of_model = |j: usize| bins(pairs.iter().skip(j).step_by(models).copied().collect());
    let by_model: Vec<Bin> = (0..models).flat_map(of_model).collect();
    Some(QualityIntervals { by_model: summary(&by_model), pooled: summary(&bins(pairs)) })
}

/// Whether the share of right answers lies inside, and the width without and with noise.
type Bin = (bool, f64, f64);

fn bins(mut pairs: Vec<(Interval, f64)>) -> Vec<Bin> {
    pairs.sort_by(|a, b| a.0.estimate.total_cmp(&b.0.estimate));
    let (n, count) = (pairs.len(), pairs.len() / BIN);
    (0..count).map(|b| bin(&pairs[b * n / count..(b + 1) * n / count])).collect()
}

fn bin(pairs: &[(Interval, f64)]) -> Bin {
    let n = pairs.len() as f64;
    let mean = |value: fn(&(Interval, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / n;
    let (p, lo, hi) = (mean(|q| q.0.estimate), mean(|q| q.0.lo), mean(|q| q.0.hi));
    let noise = Z90 * (p * (1.0 - p) / n).sqrt();
    let (below, above) = ((p - lo).hypot(noise), (hi - p).hypot(noise));
    let observed = mean(|q| q.1);
    ((p - below..=p + above).contains(&observed), hi - lo, below + above)
}

fn summary(bins: &[Bin]) -> Option<Bins> {
    let percent = |value: fn(&Bin) -> f64| mean(bins.iter().map(value)).map(|share| 100.0 * share);
    Some(Bins {
        bins: bins.len(),
        inside: percent(|bin| f64::from(u8::from(bin.0)))?,
        width: percent(|bin| bin.1)?,
        widened: percent(|bin| bin.2)?,
    })
}

/// The percentage of values that lie in their intervals, given as (query, value, interval); `None`
/// where nothing has one.
pub fn inside(
    values: impl Iterator<Item = (usize, f64, Interval)>,
    resamples: &Resamples,
) -> Option<Measured> {
    let mut tally = Tally::new(resamples.queries());
    for (query, value, interval) in values.filter(|(_, _, i)| !i.lo.is_nan() && !i.hi.is_nan()) {
        tally.count(query, (interval.lo..=interval.hi).contains(&value));
    }
    resamples.measure(|weights| tally.percent(weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_allow_for_binomial_noise() {
        // 80 pairs estimated at 0.2 and 80 at 0.8, in bins of 40: [0.1, 0.3] and [0.7, 0.9]. Noise is
        // 1.645·√(0.16/40) = 0.104, so that the ends are 0.2 ± √(0.1² + 0.104²) = 0.2 ± 0.1443.
        let interval = |p: f64| Interval { estimate: p, lo: p - 0.1, hi: p + 0.1 };
        let pairs =
            |p: f64, right: usize| (0..40).map(move |i| (interval(p), f64::from(u8::from(i < right))));
        let share = |low: [usize; 2], high: [usize; 2]| {
            let all = pairs(0.2, low[0]).chain(pairs(0.2, low[1]));
            let (q, y): (Vec<_>, Vec<_>) = all.chain(pairs(0.8, high[0])).chain(pairs(0.8, high[1])).unzip();
            quality_intervals(&q, &y, 1).unwrap()
        };
        // 13/40 = 0.325 and 3/40 = 0.075 are inside, 14/40 = 0.35 and 2/40 = 0.05 are not.
        let tested = share([13, 3], [32, 38]);
        let Some(bins) = tested.by_model else { panic!("four bins") };
        assert_eq!((bins.bins, bins.inside), (4, 75.0));
        assert!((bins.width - 20.0).abs() < 1e-9 && (bins.widened - 28.86).abs() < 0.01, "{bins:?}");
        assert_eq!(tested.pooled, tested.by_model);
        assert_eq!(share([14, 2], [32, 38]).pooled.map(|b| b.inside), Some(25.0));
    }

    #[test]
    fn what_states_no_interval_is_not_tested() {
        let bare = Interval { estimate: 0.5, lo: f64::NAN, hi: f64::NAN };
        assert_eq!(quality_intervals(&[bare; 80], &[1.0; 80], 1), None);
        // Too few pairs for a bin.
        let few = quality_intervals(&[Interval { estimate: 0.5, lo: 0.4, hi: 0.6 }; 39], &[1.0; 39], 1);
        assert_eq!(few, Some(QualityIntervals { by_model: None, pooled: None }));
    }

    #[test]
    fn costs_lie_inside_or_not() {
        let resamples = Resamples::new(&[None, None]);
        let cent = Interval { estimate: 0.01, lo: 0.005, hi: 0.02 };
        let unknown = Interval { estimate: 0.01, lo: f64::NAN, hi: f64::NAN };
        let values = [(0, 0.005, cent), (0, 0.03, cent), (1, 0.02, cent), (1, 0.01, cent), (1, 9.0, unknown)];
        assert_eq!(inside(values.into_iter(), &resamples).map(|share| share.value), Some(75.0));
        assert_eq!(inside([(1, 9.0, unknown)].into_iter(), &resamples), None);
    }
}
