//! How good estimates are, judged on recorded outcomes.
//!
//! **The yardstick.** Every "always use model m" is a point (cost, accuracy). Their upper-left convex
//! hull is what tossing a coin between two constants gives, with no predictor at all; *gain* is
//! accuracy above the hull at the same cost. The router's own curve comes from taking, for each
//! query, the model with the largest `p − λ·c`, for a sweep of λ.
//!
//! Units: costs in [`Point`] are USD per 1,000 queries and accuracies 0 to 1; what [`Figures`] reports
//! is in points (percent), as is usual.

use std::collections::BTreeMap;

use serde::Serialize;

/// Costs, USD per 1,000 queries, at which gain is reported where they lie on the hull.
pub const TICKS: [f64; 6] = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0];

/// Probability from which the threshold rule of AIOS takes the cheapest model.
pub const THRESHOLD: f64 = 0.7;

/// Bins of the calibration error.
const BINS: usize = 15;

/// Means that are asked for when the deviation from a target is measured.
const TARGETS: usize = 9;

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
        (0..self.models.len()).map(|j| self.choose(|_| j)).collect()
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

/// The area under the ROC curve: the chance that a right answer had a higher score than a wrong one,
/// ties counting half. `None` where all answers were right or all wrong.
pub fn auc(correct: &[bool], scores: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let right = correct.iter().filter(|&&c| c).count() as f64;
    let wrong = correct.len() as f64 - right;
    let (mut ranks, mut first) = (0.0, 0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let rank = first as f64 + f64::midpoint(tied.len() as f64, 1.0);
        ranks += rank * tied.iter().filter(|&&i| correct[i]).count() as f64;
        first += tied.len();
    }
    (right > 0.0 && wrong > 0.0).then(|| (ranks - right * (right + 1.0) / 2.0) / (right * wrong))
}

/// The mean over models of each model's AUC.
pub fn mean_auc(recorded: &Recorded, estimated: &Estimated) -> Option<f64> {
    let m = recorded.models.len();
    let of_model = |j: usize| {
        let correct: Vec<bool> = recorded.correct.iter().skip(j).step_by(m).map(|&c| c >= 0.5).collect();
        let scores: Vec<f64> = estimated.quality.iter().skip(j).step_by(m).copied().collect();
        auc(&correct, &scores)
    };
    mean((0..m).filter_map(of_model))
}

/// The expected calibration error, 0 to 1: the mean distance between estimated and actual success
/// over bins of the estimate, weighted by their sizes.
pub fn calibration_error(recorded: &Recorded, estimated: &Estimated) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for (&p, &y) in estimated.quality.iter().zip(&recorded.correct) {
        let bin = &mut bins[((p * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += p;
        bin.1 += y;
    }
    // |Σp/k − Σy/k| · k/n = |Σp − Σy| / n
    bins.iter().map(|(p, y)| (p - y).abs()).sum::<f64>() / recorded.correct.len().max(1) as f64
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// The sweep of prices: 0, then 900 from 1e-4 to 1e7 in equal ratios.
fn prices() -> Vec<f64> {
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
    /// Chooses the largest `p − λ·c` per query, the first model on a tie, for every price λ.
    pub fn new(recorded: &Recorded, estimated: &Estimated) -> Self {
        let (n, m) = (recorded.queries(), recorded.models.len());
        let choose = |lambda: f64| -> Vec<usize> {
            let best = |i: usize| {
                let row = i * m..(i + 1) * m;
                let values = estimated.quality[row.clone()]
                    .iter()
                    .zip(&estimated.cost[row])
                    .map(|(p, c)| p - c * lambda);
                let first = (0, f64::NEG_INFINITY);
                values
                    .enumerate()
                    .fold(first, |best, (j, value)| if value > best.1 { (j, value) } else { best })
                    .0
            };
            (0..n).map(best).collect()
        };
        let brought = |i: usize, j: usize| (recorded.cost[i * m + j], recorded.correct[i * m + j]);
        let mut chosen: Vec<usize> = Vec::new();
        let mut sweep = Sweep { first: Vec::new(), changes: Vec::new() };
        for lambda in prices() {
            let next = choose(lambda);
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

    /// The cost-accuracy curve where query i counts `weight(i)` times.
    pub fn curve(&self, weight: impl Fn(usize) -> f64) -> Vec<Point> {
        let (mut cost, mut correct, mut n) = (0.0, 0.0, 0.0);
        for (i, brought) in self.first.iter().enumerate() {
            let w = weight(i);
            cost += w * brought.0;
            correct += w * brought.1;
            n += w;
        }
        let point = |cost: f64, correct: f64| Point { cost: cost / n * 1e3, accuracy: correct / n };
        let mut curve = vec![point(cost, correct)];
        for changes in &self.changes {
            for &(i, more_cost, more_correct) in changes {
                let w = weight(i as usize);
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

/// A plan that the estimates say just reaches a mean quality of `target` (no workloads): the model
/// with the least `c − λ·p`, λ found by bisection.
fn plan(recorded: &Recorded, estimated: &Estimated, target: f64) -> Point {
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
    let choice = choose(high);
    recorded.choose(|i| choice[i])
}

/// How far plans made on the estimates alone miss the mean quality they were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// The largest `|achieved − asked|`, 0 to 1.
    pub largest: f64,
    /// The largest `asked − achieved`; negative where every plan did better than asked.
    pub shortfall: f64,
}

/// Plans for nine targets between the cheapest and the best model.
pub fn deviation(recorded: &Recorded, estimated: &Estimated) -> Deviation {
    let constants = recorded.constants();
    let cheapest = constants.iter().copied().reduce(|a, b| if b.cost < a.cost { b } else { a });
    let low = (cheapest.map_or(0.0, |c| c.accuracy) + 0.05).max(0.05);
    let high = constants.get(best(&constants)).map_or(0.0, |b| b.accuracy) - 0.005;
    let mut deviation = Deviation { largest: 0.0, shortfall: f64::NEG_INFINITY };
    for t in 0..TARGETS {
        let target = low + (high - low) * t as f64 / (TARGETS - 1) as f64;
        let short = target - plan(recorded, estimated, target).accuracy;
        deviation.largest = deviation.largest.max(short.abs());
        deviation.shortfall = deviation.shortfall.max(short);
    }
    deviation
}

/// The rule of AIOS `SmartRouting`: the cheapest model whose estimate reaches the threshold, else the
/// one with the highest estimate.
pub fn threshold_rule(recorded: &Recorded, estimated: &Estimated, threshold: f64) -> Point {
    let m = recorded.models.len();
    let choose = |i: usize| {
        let row = i * m..(i + 1) * m;
        let (quality, cost) = (&estimated.quality[row.clone()], &estimated.cost[row]);
        let reaching = (0..m).filter(|&j| quality[j] >= threshold);
        let cheapest = reaching.reduce(|a, b| if cost[b] < cost[a] { b } else { a });
        cheapest.unwrap_or_else(|| (0..m).fold(0, |a, b| if quality[b] > quality[a] { b } else { a }))
    };
    recorded.choose(choose)
}

/// The median of `|estimated − counted| / counted` over pairs (counted, estimated) of output tokens.
pub fn token_error(pairs: &[(f64, f64)]) -> Option<f64> {
    let mut errors: Vec<f64> =
        pairs.iter().map(|(counted, estimated)| (estimated - counted).abs() / counted.max(1.0)).collect();
    errors.sort_by(f64::total_cmp);
    let middle = errors.len() / 2;
    match errors.len() {
        0 => None,
        n if n % 2 == 1 => Some(errors[middle]),
        _ => Some(f64::midpoint(errors[middle - 1], errors[middle])),
    }
}

/// Everything that is reported about one set of estimates; accuracies and errors in points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Mean over models of the area under the ROC curve, 0 to 1.
    pub auc: Option<f64>,
    /// Expected calibration error, points.
    pub ece: f64,
    /// Accuracy above the hull of constants, points, by cost in USD per 1,000 queries.
    pub gain: BTreeMap<String, Option<f64>>,
    /// Mean of the gains, points.
    pub mean_gain: Option<f64>,
    /// Lowest cost that reaches 95 % of the best model's accuracy, as a share of its cost.
    pub c95: Option<f64>,
    /// The same for all of its accuracy.
    pub c100: Option<f64>,
    /// Highest accuracy on the curve, points.
    pub peak: f64,
    /// Largest |achieved − asked| over nine targets, points.
    pub alpha_dev: f64,
    /// Largest asked − achieved, points.
    pub alpha_short: f64,
    /// Accuracy (points) and cost (USD per 1,000 queries) of the threshold rule, by threshold.
    pub threshold_rule: BTreeMap<String, (f64, f64)>,
}

/// Judges estimates on the outcomes of the same queries.
pub fn figures(recorded: &Recorded, estimated: &Estimated, curve: &[Point]) -> Figures {
    let constants = recorded.constants();
    let hull = hull(&constants);
    let best = constants[best(&constants)];
    let ticks = ticks(&hull, best);
    let gains = gains(curve, &hull, &ticks);
    let share = |part: f64| {
        let reaching = curve.iter().filter(|p| p.accuracy >= part * best.accuracy).map(|p| p.cost);
        reaching.reduce(f64::min).map(|cost| cost / best.cost)
    };
    let deviation = deviation(recorded, estimated);
    let rule = threshold_rule(recorded, estimated, THRESHOLD);
    Figures {
        auc: mean_auc(recorded, estimated),
        ece: 100.0 * calibration_error(recorded, estimated),
        gain: ticks
            .iter()
            .zip(&gains)
            .map(|(tick, gain)| (format!("{tick:?}"), gain.map(|g| 100.0 * g)))
            .collect(),
        mean_gain: mean_gain(&gains).map(|g| 100.0 * g),
        c95: share(0.95),
        c100: share(1.0),
        peak: 100.0 * curve.iter().map(|p| p.accuracy).fold(0.0, f64::max),
        alpha_dev: 100.0 * deviation.largest,
        alpha_short: 100.0 * deviation.shortfall,
        threshold_rule: [(THRESHOLD.to_string(), (100.0 * rule.accuracy, rule.cost))].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(cost: f64, accuracy: f64) -> Point {
        Point { cost, accuracy }
    }

    #[test]
    fn auc_counts_ties_half() {
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

    /// Two models; the dear one is right always, the cheap one on even queries.
    fn example(n: usize) -> Recorded {
        let correct = (0..n).flat_map(|i| [f64::from(i % 2 == 0), 1.0]).collect();
        Recorded { models: vec!["cheap".into(), "dear".into()], correct, cost: [0.0002, 0.002].repeat(n) }
    }

    #[test]
    fn knowing_the_outcomes_gains_all_there_is() {
        let recorded = example(100);
        let estimated = Estimated { quality: recorded.correct.clone(), cost: recorded.cost.clone() };
        let curve = Sweep::new(&recorded, &estimated).curve(|_| 1.0);
        let figures = figures(&recorded, &estimated, &curve);
        assert_eq!(figures.peak, 100.0);
        assert!((figures.c100.unwrap() - 1.1 / 2.0).abs() < 1e-9, "{figures:?}");
        assert!(figures.ece < 1e-9 && figures.alpha_short < 0.0, "{figures:?}");
        assert_eq!(figures.threshold_rule["0.7"].0, 100.0);
        // The hull at $1 lies at 50 + 50·0.8/1.8; nothing between the two models is offered there.
        assert!((figures.gain["1.0"].unwrap() + 100.0 * 0.5 * 0.8 / 1.8).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn a_weighted_curve_is_that_of_the_repeated_queries() {
        let recorded = example(3);
        let estimated =
            Estimated { quality: vec![0.5, 0.9, 0.2, 0.7, 0.6, 0.6], cost: recorded.cost.clone() };
        let doubled = |values: &[f64]| [&values[..2], &values[..2], &values[4..]].concat();
        let repeated = Recorded {
            correct: doubled(&recorded.correct),
            cost: doubled(&recorded.cost),
            ..recorded.clone()
        };
        let again = Estimated { quality: doubled(&estimated.quality), cost: doubled(&estimated.cost) };
        let weighted = Sweep::new(&recorded, &estimated).curve(|i| [2.0, 0.0, 1.0][i]);
        let plain = Sweep::new(&repeated, &again).curve(|_| 1.0);
        for (a, b) in weighted.iter().zip(&plain) {
            assert!((a.cost - b.cost).abs() < 1e-9 && (a.accuracy - b.accuracy).abs() < 1e-9);
        }
    }

    #[test]
    fn token_errors_have_a_median() {
        assert_eq!(token_error(&[(100.0, 150.0), (0.0, 3.0), (10.0, 10.0)]), Some(0.5));
        assert_eq!(token_error(&[(100.0, 150.0), (10.0, 10.0)]), Some(0.25));
        assert_eq!(token_error(&[]), None);
    }
}
