//! How good estimates are, judged on recorded outcomes.
//!
//! **The yardstick.** Every "always use model m" is a point (cost, accuracy). Their upper-left convex
//! hull is what tossing a coin between two constants gives, with no predictor at all; *gain* is
//! accuracy above the hull at the same cost. The router's own curve comes from taking, for each
//! query, the model with the largest `p − λ·c`, for a sweep of λ.
//!
//! Whatever takes weights counts query i `weights[i]` times, which is how resamples are judged.
//!
//! Units: costs in [`Point`] are USD per 1,000 queries and accuracies 0 to 1.

use serde::Serialize;

/// Costs, USD per 1,000 queries, at which gain is reported where they lie on the hull.
pub const TICKS: [f64; 6] = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0];

/// Bins of the calibration error.
const BINS: usize = 15;

/// What N queries brought on each of M models; pair (i, j) stands at `i·M + j`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// Names of the models.
    pub models: Vec<String>,
    /// How good the answer was, 0 to 1.
    pub correct: Vec<f64>,
    /// What it cost, USD.
    pub cost: Vec<f64>,
}

/// Estimates for the same pairs, laid out like [`Recorded`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimated {
    /// Chance of a good answer.
    pub quality: Vec<f64>,
    /// Expected cost, USD.
    pub cost: Vec<f64>,
}

/// A cost, USD per 1,000 queries, and the mean accuracy it buys.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// USD per 1,000 queries.
    pub cost: f64,
    /// Mean accuracy, 0 to 1.
    pub accuracy: f64,
}

impl Recorded {
    /// N, the number of queries.
    pub fn queries(&self) -> usize {
        self.correct.len() / self.models.len().max(1)
    }

    /// What always calling each model brings.
    pub fn constants(&self) -> Vec<Point> {
        self.constants_on(&vec![1.0; self.queries()])
    }

    /// The same where query i counts `weights[i]` times.
    pub fn constants_on(&self, weights: &[f64]) -> Vec<Point> {
        let m = self.models.len();
        let (mut points, mut n) = (vec![Point { cost: 0.0, accuracy: 0.0 }; m], 0.0);
        let rows = self.cost.chunks_exact(m.max(1)).zip(self.correct.chunks_exact(m.max(1)));
        for ((costs, corrects), &weight) in rows.zip(weights).filter(|(_, weight)| **weight > 0.0) {
            for (point, (cost, correct)) in points.iter_mut().zip(costs.iter().zip(corrects)) {
                point.cost += weight * cost;
                point.accuracy += weight * correct;
            }
            n += weight;
        }
        let n = n.max(1.0);
        points.iter().map(|p| Point { cost: p.cost / n * 1e3, accuracy: p.accuracy / n }).collect()
    }

    /// What a choice per query brings.
    pub fn choose(&self, choice: impl Fn(usize) -> usize) -> Point {
        let (n, m) = (self.queries(), self.models.len());
        let (mut cost, mut correct) = (0.0, 0.0);
        for i in 0..n {
            let at = i * m + choice(i);
            cost += self.cost[at];
            correct += self.correct[at];
        }
        let n = n.max(1) as f64;
        Point { cost: cost / n * 1e3, accuracy: correct / n }
    }
}

/// The upper-left convex hull of some points, cheapest first.
pub fn hull(points: &[Point]) -> Vec<Point> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.accuracy.total_cmp(&b.accuracy)));
    let mut hull: Vec<Point> = Vec::new();
    for p in sorted {
        if hull.last().is_some_and(|last| p.accuracy <= last.accuracy) {
            continue;
        }
        while let [.., a, b] = hull[..] {
            if (b.accuracy - a.accuracy) * (p.cost - a.cost) > (p.accuracy - a.accuracy) * (b.cost - a.cost) {
                break;
            }
            hull.pop();
        }
        hull.push(p);
    }
    hull
}

/// The accuracy of a hull at a cost; beyond its ends, that of the end.
pub fn on_hull(hull: &[Point], cost: f64) -> f64 {
    let after = hull.partition_point(|p| p.cost <= cost);
    match (after.checked_sub(1).map(|i| hull[i]), hull.get(after)) {
        (Some(a), Some(b)) => a.accuracy + (b.accuracy - a.accuracy) * (cost - a.cost) / (b.cost - a.cost),
        (Some(end), None) => end.accuracy,
        (None, Some(start)) => start.accuracy,
        (None, None) => f64::NAN,
    }
}

/// Queries by score, for the area under the ROC curve.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Query, whether its answer was right, and whether its score is that of the one before.
    order: Vec<(u32, bool, bool)>,
}

impl Ranking {
    /// Ranks one score per query.
    pub fn new(right: &[bool], scores: &[f64]) -> Self {
        let mut by_score: Vec<usize> = (0..scores.len()).collect();
        by_score.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let tied = |at: usize| at > 0 && scores[by_score[at]] == scores[by_score[at - 1]];
        let order = by_score.iter().enumerate().map(|(at, &i)| (i as u32, right[i], tied(at)));
        Ranking { order: order.collect() }
    }

    /// The chance that a right answer had a higher score than a wrong one, ties counting half.
    /// `None` where all answers were right or all wrong.
    pub fn auc(&self, weights: &[f64]) -> Option<f64> {
        let (mut right, mut wrong, mut won) = (0.0, 0.0, 0.0);
        for tied in self.order.chunk_by(|_, next| next.2) {
            let mut group = (0.0, 0.0);
            for &(i, correct, _) in tied {
                let side = if correct { &mut group.0 } else { &mut group.1 };
                *side += weights[i as usize];
            }
            won += group.0 * (wrong + group.1 / 2.0);
            right += group.0;
            wrong += group.1;
        }
        (right > 0.0 && wrong > 0.0).then(|| won / (right * wrong))
    }
}

/// What the calibration error is made of.
#[derive(Debug, Clone)]
pub struct Calibration {
    models: usize,
    /// Per query, the sum of `p − y` in each bin of p.
    excess: Vec<[f64; BINS]>,
}

impl Calibration {
    /// Sorts the estimates into bins.
    pub fn new(recorded: &Recorded, estimated: &Estimated) -> Self {
        let m = recorded.models.len();
        let mut excess = vec![[0.0; BINS]; recorded.queries()];
        for (at, (&p, &y)) in estimated.quality.iter().zip(&recorded.correct).enumerate() {
            excess[at / m][((p * BINS as f64) as usize).min(BINS - 1)] += p - y;
        }
        Calibration { models: m, excess }
    }

    /// The expected calibration error, 0 to 1: the mean distance between estimated and actual success
    /// over bins of the estimate, weighted by their sizes. `None` where no query counts.
    pub fn error(&self, weights: &[f64]) -> Option<f64> {
        let (mut bins, mut n) = ([0.0; BINS], 0.0);
        for (excess, &weight) in self.excess.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            bins.iter_mut().zip(excess).for_each(|(bin, e)| *bin += weight * e);
            n += weight;
        }
        // |Σp/k − Σy/k| · k/n = |Σ(p − y)| / n
        (n > 0.0).then(|| bins.iter().map(|bin| bin.abs()).sum::<f64>() / (n * self.models as f64))
    }
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// The model with the largest `p − λ·c`, the first one on a tie.
pub fn pick(quality: &[f64], cost: &[f64], lambda: f64) -> usize {
    let values = quality.iter().zip(cost).map(|(p, c)| p - c * lambda);
    let first = (0, f64::NEG_INFINITY);
    values.enumerate().fold(first, |best, (j, value)| if value > best.1 { (j, value) } else { best }).0
}

/// The same for every query.
pub fn picks(estimated: &Estimated, models: usize, lambda: f64) -> Vec<usize> {
    let rows = estimated.quality.chunks_exact(models.max(1)).zip(estimated.cost.chunks_exact(models.max(1)));
    rows.map(|(quality, cost)| pick(quality, cost, lambda)).collect()
}

/// The sweep of prices: 0, then 900 from 1e-4 to 1e7 in equal ratios.
pub fn prices() -> Vec<f64> {
    let exponent = |i: u32| -4.0 + 11.0 * f64::from(i) / 899.0;
    std::iter::once(0.0).chain((0..900).map(|i| 10f64.powf(exponent(i)))).collect()
}

/// What each query would be answered with along the sweep of prices.
///
/// Kept as what the first price chooses and the changes from there on, of which there are at most
/// M − 1 per query, so that a resample of the queries costs little.
#[derive(Debug, Clone)]
pub struct Sweep {
    first: Vec<(f64, f64)>,
    /// Per further price: query, and the change in cost and correctness.
    changes: Vec<Vec<(u32, f64, f64)>>,
}

impl Sweep {
    /// Picks a model per query for every price λ.
    pub fn new(recorded: &Recorded, estimated: &Estimated) -> Self {
        let (n, m) = (recorded.queries(), recorded.models.len());
        let brought = |i: usize, j: usize| (recorded.cost[i * m + j], recorded.correct[i * m + j]);
        let mut chosen: Vec<usize> = Vec::new();
        let mut sweep = Sweep { first: Vec::new(), changes: Vec::new() };
        for lambda in prices() {
            let next = picks(estimated, m, lambda);
            if chosen.is_empty() {
                sweep.first = next.iter().enumerate().map(|(i, &j)| brought(i, j)).collect();
            } else {
                let moved = (0..n).filter(|&i| next[i] != chosen[i]);
                let change = |i: usize| {
                    let (before, after) = (brought(i, chosen[i]), brought(i, next[i]));
                    (i as u32, after.0 - before.0, after.1 - before.1)
                };
                sweep.changes.push(moved.map(change).collect());
            }
            chosen = next;
        }
        sweep
    }

    /// The cost-accuracy curve by price.
    pub fn curve(&self, weights: &[f64]) -> Vec<Point> {
        let (mut cost, mut correct, mut n) = (0.0, 0.0, 0.0);
        for (brought, w) in self.first.iter().zip(weights) {
            cost += w * brought.0;
            correct += w * brought.1;
            n += w;
        }
        let point = |cost: f64, correct: f64| Point { cost: cost / n * 1e3, accuracy: correct / n };
        let mut curve = vec![point(cost, correct)];
        for changes in &self.changes {
            for &(i, more_cost, more_correct) in changes {
                let w = weights[i as usize];
                cost += w * more_cost;
                correct += w * more_correct;
            }
            curve.push(point(cost, correct));
        }
        curve
    }
}

/// The ticks that a data set has a hull for: from its cheapest model to below its best one.
pub fn ticks(hull: &[Point], best: Point) -> Vec<f64> {
    let cheapest = hull.first().map_or(f64::INFINITY, |p| p.cost);
    TICKS.into_iter().filter(|&tick| cheapest <= tick && tick < best.cost).collect()
}

/// Accuracy above the hull at each tick; `None` where the curve has no point as cheap.
pub fn gains(curve: &[Point], hull: &[Point], ticks: &[f64]) -> Vec<Option<f64>> {
    let gain = |&tick: &f64| {
        let affordable = curve.iter().filter(|p| p.cost <= tick).map(|p| p.accuracy);
        affordable.reduce(f64::max).map(|accuracy| accuracy - on_hull(hull, tick))
    };
    ticks.iter().map(gain).collect()
}

/// The mean over the ticks that have a gain.
pub fn mean_gain(gains: &[Option<f64>]) -> Option<f64> {
    mean(gains.iter().copied().flatten())
}

/// The best single model: the most accurate, the first of several.
pub fn best(constants: &[Point]) -> usize {
    let better =
        |best: usize, j: usize| if constants[j].accuracy > constants[best].accuracy { j } else { best };
    (0..constants.len()).fold(0, better)
}

/// The plan that the estimates say just reaches a mean quality of `target` (no workloads): per query
/// the model with the least `c − λ·p`, λ found by bisection.
pub fn plan(recorded: &Recorded, estimated: &Estimated, target: f64) -> Vec<usize> {
    let (n, m) = (recorded.queries(), recorded.models.len());
    let choose = |price: f64| -> Vec<usize> {
        let cheapest = |i: usize| {
            let row = i * m..(i + 1) * m;
            let values = estimated.cost[row.clone()]
                .iter()
                .zip(&estimated.quality[row])
                .map(|(c, p)| c - price * 1e-6 * p);
            let first = (0, f64::INFINITY);
            values
                .enumerate()
                .fold(first, |best, (j, value)| if value < best.1 { (j, value) } else { best })
                .0
        };
        (0..n).map(cheapest).collect()
    };
    let expected =
        |choice: &[usize]| choice.iter().enumerate().map(|(i, j)| estimated.quality[i * m + j]).sum::<f64>();
    // Prices in USD per million units of quality.
    let (mut low, mut high) = (0.0f64, 1e9f64);
    for _ in 0..80 {
        let middle = if low > 0.0 { (low.max(1e-12) * high).sqrt() } else { high * 1e-3 };
        if expected(&choose(middle)) / n as f64 >= target {
            high = middle;
        } else {
            low = middle;
        }
        if low > 0.0 && high / low < 1.0 + 1e-9 {
            break;
        }
    }
    choose(high)
}

/// The rule of AIOS `SmartRouting`: the cheapest model whose estimate reaches the threshold, else the
/// one with the highest estimate.
pub fn threshold_rule(recorded: &Recorded, estimated: &Estimated, threshold: f64) -> Vec<usize> {
    let m = recorded.models.len();
    let choose = |i: usize| {
        let row = i * m..(i + 1) * m;
        let (quality, cost) = (&estimated.quality[row.clone()], &estimated.cost[row]);
        let reaching = (0..m).filter(|&j| quality[j] >= threshold);
        let cheapest = reaching.reduce(|a, b| if cost[b] < cost[a] { b } else { a });
        cheapest.unwrap_or_else(|| (0..m).fold(0, |a, b| if quality[b] > quality[a] { b } else { a }))
    };
    (0..recorded.queries()).map(choose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(cost: f64, accuracy: f64) -> Point {
        Point { cost, accuracy }
    }

    #[test]
    fn auc_counts_ties_half() {
        let auc = |right: &[bool], scores: &[f64]| Ranking::new(right, scores).auc(&vec![1.0; scores.len()]);
        assert_eq!(auc(&[false, true], &[0.1, 0.2]), Some(1.0));
        assert_eq!(auc(&[false, true], &[0.2, 0.2]), Some(0.5));
        assert_eq!(auc(&[true, false, true, false], &[0.9, 0.5, 0.5, 0.1]), Some(0.875));
        assert_eq!(auc(&[true, true], &[0.1, 0.2]), None);
    }

    #[test]
    fn the_hull_leaves_out_what_a_coin_beats() {
        let hull =
            hull(&[point(2.0, 0.6), point(1.0, 0.5), point(3.0, 0.9), point(4.0, 0.85), point(1.0, 0.4)]);
        assert_eq!(hull, [point(1.0, 0.4), point(1.0, 0.5), point(3.0, 0.9)]);
        assert_eq!(on_hull(&hull, 2.0), 0.7);
        assert_eq!(on_hull(&hull, 0.1), 0.4);
        assert_eq!(on_hull(&hull, 9.0), 0.9);
    }
}
