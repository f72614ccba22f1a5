//! How sure a figure is: the paired bootstrap over queries.
//!
//! One accuracy on some hundred queries has a standard error of more than a point, but two choices
//! on the *same* queries mostly rise and fall together. So every figure is taken again on the same
//! resamples of the queries, the hull of constants included. What is drawn, with replacement, is
//! clusters: near-duplicates of a query come and go with it.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

/// Resamples drawn.
const RESAMPLES: u64 = 500;

/// The seed, fixed so that a report repeats.
const SEED: u64 = 20_261_120;

/// Ends of a central 95 % interval.
const ENDS: (f64, f64) = (0.025, 0.975);

/// A figure and its central 95 % over resamples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// On the queries as they are.
    pub value: f64,
    /// Ends of the interval.
    pub interval: Option<(f64, f64)>,
}

/// How often each query is drawn, per resample.
pub struct Resamples {
    queries: usize,
    weights: Vec<Vec<f64>>,
}

impl Resamples {
    /// Draws clusters; a query without one is a cluster of its own.
    pub fn new(clusters: &[Option<&str>]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut unit_of, mut units) = (Vec::new(), 0);
        for cluster in clusters {
            let unit = cluster.map_or(units, |name| *numbers.entry(name).or_insert(units));
            unit_of.push(unit);
            units = units.max(unit + 1);
        }
        let draw = |r: u64| {
            let mut random = SplitMix::new(SEED.wrapping_add(r.wrapping_mul(0x2545_F491_4F6C_DD1D)));
            let mut drawn = vec![0.0; units];
            for _ in 0..units {
                drawn[random.below(units)] += 1.0;
            }
            unit_of.iter().map(|&unit| drawn[unit]).collect()
        };
        Resamples { queries: clusters.len(), weights: (0..RESAMPLES).map(draw).collect() }
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// A statistic of the weights of the queries, on every resample.
    pub fn each<T: Send>(&self, statistic: impl Fn(&[f64]) -> T + Sync) -> Vec<T> {
        self.weights.par_iter().map(|weights| statistic(weights)).collect()
    }

    /// A statistic of the weights of the queries with its interval; `None` where it has no value.
    pub fn measure(&self, statistic: impl Fn(&[f64]) -> Option<f64> + Sync) -> Option<Measured> {
        let value = statistic(&vec![1.0; self.queries])?;
        let resampled = self.each(|weights| statistic(weights).unwrap_or(f64::NAN));
        Some(Measured { value, interval: interval(resampled) })
    }
}

/// The central 95 % of some values; what is not a number is left out.
pub fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(share * last as f64).round() as usize];
    Some((at(ENDS.0), at(ENDS.1)))
}

/// A share of cells, such as of model answers, by the query that they belong to.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Hits and cells per query.
    of_query: Vec<(f64, f64)>,
}

impl Tally {
    /// No cell of any of `queries` yet.
    pub fn new(queries: usize) -> Self {
        Tally { of_query: vec![(0.0, 0.0); queries] }
    }

    /// Counts a cell.
    pub fn count(&mut self, query: usize, hit: bool) {
        self.of_query[query].0 += f64::from(u8::from(hit));
        self.of_query[query].1 += 1.0;
    }

    /// The share of hits in percent; `None` where no cell counts.
    pub fn percent(&self, weights: &[f64]) -> Option<f64> {
        let sums = self.of_query.iter().zip(weights);
        let (hits, cells) = sums.fold((0.0, 0.0), |(a, b), ((hits, n), w)| (a + w * hits, b + w * n));
        (cells > 0.0).then(|| 100.0 * hits / cells)
    }
}

/// A quantile of cells by the query that they belong to.
#[derive(Debug, Clone)]
pub struct Quantiles {
    /// Value and query, by value.
    sorted: Vec<(f64, usize)>,
}

impl Quantiles {
    /// Of (value, query) pairs.
    pub fn new(mut cells: Vec<(f64, usize)>) -> Self {
        cells.sort_by(|a, b| a.0.total_cmp(&b.0));
        Quantiles { sorted: cells }
    }

    /// The value that a share of the cells lies below; midway where it falls between two, as with the
    /// median of an even number. `None` where no cell counts.
    pub fn at(&self, share: f64, weights: &[f64]) -> Option<f64> {
        let cells =
            || self.sorted.iter().map(|&(value, query)| (value, weights[query])).filter(|c| c.1 > 0.0);
        let below = share * cells().map(|(_, weight)| weight).sum::<f64>();
        let mut passed = 0.0;
        let mut cells = cells();
        while let Some((value, weight)) = cells.next() {
            passed += weight;
            if passed > below {
                return Some(value);
            }
            if passed == below {
                return Some(cells.next().map_or(value, |(next, _)| f64::midpoint(value, next)));
            }
        }
        None
    }
}

/// Steele, Lea, Flood, *Fast splittable pseudorandom number generators* (2014).
pub struct SplitMix(u64);

impl SplitMix {
    /// Random numbers that depend on nothing but the seed.
    pub fn new(seed: u64) -> Self {
        SplitMix(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; the bias of the multiplication is far below the sampling error.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_repeat_and_hold_the_point() {
        let resamples = Resamples::new(&vec![None; 200]);
        let mut tally = Tally::new(200);
        (0..200).for_each(|i| tally.count(i, i % 4 == 0));
        let share = resamples.measure(|weights| tally.percent(weights)).unwrap();
        assert_eq!(share.value, 25.0);
        // A standard error of √(0.25·0.75/200) = 3.06 points.
        let (low, high) = share.interval.unwrap();
        assert!((17.0..21.0).contains(&low) && (29.0..33.0).contains(&high), "{low} {high}");
        let again = Resamples::new(&vec![None; 200]).measure(|weights| tally.percent(weights));
        assert_eq!(again, Some(share));
    }

    #[test]
    fn clusters_come_and_go_together() {
        let resamples = Resamples::new(&[Some("a"), None, Some("a"), Some("b"), None]);
        for weights in &resamples.weights {
            assert_eq!(weights[0], weights[2]);
            // Four units are drawn from four, one of which has two queries.
            assert_eq!(weights.iter().sum::<f64>(), 4.0 + weights[0]);
        }
        assert!(
            resamples.weights.iter().any(|w| w[1] != w[4]) && resamples.weights.iter().any(|w| w[0] > 1.0)
        );
    }

    #[test]
    fn quantiles_count_weights() {
        let quantiles = Quantiles::new(vec![(0.5, 0), (3.0, 1), (0.0, 2), (1.0, 1)]);
        assert_eq!(quantiles.at(0.5, &[1.0, 1.0, 1.0]), Some(0.75));
        assert_eq!(quantiles.at(0.5, &[1.0, 1.0, 0.0]), Some(1.0));
        assert_eq!(quantiles.at(0.5, &[2.0, 0.0, 3.0]), Some(0.0));
        assert_eq!(quantiles.at(0.9, &[1.0, 1.0, 1.0]), Some(3.0));
        assert_eq!(quantiles.at(0.5, &[0.0; 3]), None);
    }

    #[test]
    fn what_is_never_reached_sorts_last() {
        assert_eq!(interval(vec![f64::INFINITY, 1.0, f64::NAN]), Some((1.0, f64::INFINITY)));
        assert_eq!(interval(vec![f64::NAN]), None);
    }
}
