//! How sure a mean gain is: the paired bootstrap over queries.
//!
//! One accuracy on some hundred queries has a standard error of more than a point, but two choices
//! on the *same* queries mostly rise and fall together. Each resample draws the queries with
//! replacement and computes all of it anew, the hull of constants included.

use rayon::prelude::*;

use super::metrics::{Point, Recorded, Sweep, gains, hull, mean_gain};

/// Resamples drawn.
const RESAMPLES: u64 = 500;

/// The seed, fixed so that a report repeats.
const SEED: u64 = 20_261_120;

/// Ends of a central 95 % interval.
const ENDS: (f64, f64) = (0.025, 0.975);

/// Mean gains of each sweep over the hull, 0 to 1: one list per sweep, one entry per resample, where
/// entry r of every list is of the same queries.
pub fn mean_gains(recorded: &Recorded, sweeps: &[&Sweep], ticks: &[f64]) -> Vec<Vec<f64>> {
    let n = recorded.queries();
    let resample = |r: u64| -> Vec<f64> {
        let mut random = SplitMix(SEED.wrapping_add(r.wrapping_mul(0x2545_F491_4F6C_DD1D)));
        let mut weights = vec![0.0f64; n];
        for _ in 0..n {
            weights[random.below(n)] += 1.0;
        }
        let hull = hull(&constants(recorded, &weights));
        let gain = |sweep: &&Sweep| {
            mean_gain(&gains(&sweep.curve(|i| weights[i]), &hull, ticks)).unwrap_or(f64::NAN)
        };
        sweeps.iter().map(gain).collect()
    };
    let resamples: Vec<Vec<f64>> = (0..RESAMPLES).into_par_iter().map(resample).collect();
    (0..sweeps.len()).map(|s| resamples.iter().map(|gains| gains[s]).collect()).collect()
}

/// The central 95 % of some values.
pub fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(share * last as f64).round() as usize];
    Some((at(ENDS.0), at(ENDS.1)))
}

fn constants(recorded: &Recorded, weights: &[f64]) -> Vec<Point> {
    let m = recorded.models.len();
    let mut points = vec![Point { cost: 0.0, accuracy: 0.0 }; m];
    let rows = recorded.cost.chunks_exact(m).zip(recorded.correct.chunks_exact(m));
    for ((costs, corrects), &weight) in rows.zip(weights).filter(|(_, weight)| **weight > 0.0) {
        for (point, (cost, correct)) in points.iter_mut().zip(costs.iter().zip(corrects)) {
            point.cost += weight * cost;
            point.accuracy += weight * correct;
        }
    }
    let n = weights.len() as f64;
    points.iter().map(|p| Point { cost: p.cost / n * 1e3, accuracy: p.accuracy / n }).collect()
}

/// Steele, Lea, Flood, *Fast splittable pseudorandom number generators* (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; the bias of the multiplication is far below the sampling error.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::Estimated;

    #[test]
    fn intervals_repeat_and_hold_the_point() {
        let correct: Vec<f64> =
            (0..200).flat_map(|i| [f64::from(i % 3 == 0), f64::from(i % 7 != 0)]).collect();
        let recorded =
            Recorded { models: vec!["a".into(), "b".into()], correct, cost: [0.0001, 0.001].repeat(200) };
        let estimated = Estimated { quality: [0.3, 0.8].repeat(200), cost: recorded.cost.clone() };
        let sweep = Sweep::new(&recorded, &estimated);
        let [first] = &mean_gains(&recorded, &[&sweep], &[0.1, 0.5])[..] else { panic!("one sweep") };
        let (low, high) = interval(first.clone()).unwrap();
        let hull = hull(&recorded.constants());
        let point = mean_gain(&gains(&sweep.curve(|_| 1.0), &hull, &[0.1, 0.5])).unwrap();
        assert!(low <= point && point <= high && low < high, "{low} {point} {high}");
        assert_eq!(mean_gains(&recorded, &[&sweep], &[0.1, 0.5])[0], *first);
    }
}
