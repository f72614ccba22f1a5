//! The figures of one set of estimates, on the queries as they are and on any resample of them.
//!
//! What depends on the estimates alone (choices by price, ranks, plans) is worked out once; a resample
//! then only weighs the queries. All of it is as in the judge that everyone's estimates are compared
//! with (see PREDICTOR.md), which breaks ties by the order of the models: here by name, its `all`.
//! Accuracies and errors are in points (percent).

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::interval;
use super::metrics::{self, Calibration, Estimated, Point, Ranking, Recorded, Sweep, mean};

/// Probability from which the threshold rule of AIOS takes the cheapest model.
pub const THRESHOLD: f64 = 0.7;

/// Means that are asked for when the deviation from a target is measured.
const TARGETS: usize = 9;

/// What constants offer: the yardstick of every figure.
#[derive(Debug, Clone)]
pub struct Yardstick {
    /// Every constant choice, in the order of the models.
    pub constants: Vec<Point>,
    /// Their convex hull, cheapest first.
    pub hull: Vec<Point>,
    /// Position of the best of them.
    pub best: usize,
    /// Costs at which gain is reported.
    pub ticks: Vec<f64>,
}

impl Yardstick {
    /// The constants of the queries as they are.
    pub fn new(recorded: &Recorded) -> Self {
        let mut yardstick = Self::of(recorded.constants(), Vec::new());
        yardstick.ticks = metrics::ticks(&yardstick.hull, yardstick.constants[yardstick.best]);
        yardstick
    }

    /// The constants of a resample, at the same ticks.
    pub fn resampled(&self, recorded: &Recorded, weights: &[f64]) -> Self {
        Self::of(recorded.constants_on(weights), self.ticks.clone())
    }

    fn of(constants: Vec<Point>, ticks: Vec<f64>) -> Self {
        let (hull, best) = (metrics::hull(&constants), metrics::best(&constants));
        Yardstick { constants, hull, best, ticks }
    }
}

/// A plan made for one target.
struct Plan {
    /// What it asks for above what it promises, 0 to 1: nothing but the last step of the bisection.
    slack: f64,
    /// Per query, what it promises minus what was achieved.
    short: Vec<f64>,
}

/// Estimates that are ready to be judged.
pub struct Judge {
    sweep: Sweep,
    rankings: Vec<Ranking>,
    calibration: Calibration,
    plans: Vec<Plan>,
    /// Cost and correctness per query by the threshold rule.
    rule: Vec<(f64, f64)>,
}

impl Judge {
    /// Takes in the estimates and the outcomes of the same queries.
    pub fn new(recorded: &Recorded, estimated: &Estimated) -> Self {
        let (n, m) = (recorded.queries(), recorded.models.len());
        let ranking = |j: usize| {
            let right: Vec<bool> = recorded.correct.iter().skip(j).step_by(m).map(|&c| c >= 0.5).collect();
            let scores: Vec<f64> = estimated.quality.iter().skip(j).step_by(m).copied().collect();
            Ranking::new(&right, &scores)
        };
        let plan = |target: f64| {
            let choice = metrics::plan(recorded, estimated, target);
            let at = |i: usize| i * m + choice[i];
            let promised = (0..n).map(|i| estimated.quality[at(i)]).sum::<f64>() / n.max(1) as f64;
            let short = |i: usize| estimated.quality[at(i)] - recorded.correct[at(i)];
            Plan { slack: target - promised, short: (0..n).map(short).collect() }
        };
        let rule = metrics::threshold_rule(recorded, estimated, THRESHOLD);
        let brought = |(i, j): (usize, usize)| (recorded.cost[i * m + j], recorded.correct[i * m + j]);
        Judge {
            sweep: Sweep::new(recorded, estimated),
            rankings: (0..m).map(ranking).collect(),
            calibration: Calibration::new(recorded, estimated),
            plans: targets(recorded).into_iter().map(plan).collect(),
            rule: rule.into_iter().enumerate().map(brought).collect(),
        }
    }

    /// The calibration of some of the queries.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The cost-accuracy curve by price.
    pub fn curve(&self, weights: &[f64]) -> Vec<Point> {
        self.sweep.curve(weights)
    }

    /// The figures where query i counts `weights[i]` times; `yardstick` is that of the same weights.
    ///
    /// Plans stay as they were made: a plan for a resample would promise there what was asked, so
    /// what it falls short by is what the plan at hand promises there minus what it achieves.
    pub fn figures(&self, yardstick: &Yardstick, weights: &[f64]) -> Figures {
        let curve = self.curve(weights);
        let best = yardstick.constants[yardstick.best];
        let gains = metrics::gains(&curve, &yardstick.hull, &yardstick.ticks);
        let share = |part: f64| {
            let reaching = curve.iter().filter(|p| p.accuracy >= part * best.accuracy).map(|p| p.cost);
            reaching.reduce(f64::min).map(|cost| cost / best.cost)
        };
        let n = weights.iter().sum::<f64>().max(1.0);
        let weighted = |values: &mut dyn Iterator<Item = f64>| {
            values.zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / n
        };
        let (mut largest, mut shortfall) = (0.0f64, f64::NEG_INFINITY);
        for plan in &self.plans {
            let short = plan.slack + weighted(&mut plan.short.iter().copied());
            largest = largest.max(short.abs());
            shortfall = shortfall.max(short);
        }
        let rule = (
            100.0 * weighted(&mut self.rule.iter().map(|brought| brought.1)),
            1e3 * weighted(&mut self.rule.iter().map(|brought| brought.0)),
        );
        let named = |(tick, gain): (&f64, &Option<f64>)| (format!("{tick:?}"), gain.map(|g| 100.0 * g));
        Figures {
            auc: mean(self.rankings.iter().filter_map(|ranking| ranking.auc(weights))),
            ece: 100.0 * self.calibration.error(weights).unwrap_or_default(),
            gain: yardstick.ticks.iter().zip(&gains).map(named).collect(),
            mean_gain: metrics::mean_gain(&gains).map(|g| 100.0 * g),
            c95: share(0.95),
            c100: share(1.0),
            peak: 100.0 * curve.iter().map(|p| p.accuracy).fold(0.0, f64::max),
            alpha_dev: 100.0 * largest,
            alpha_short: 100.0 * shortfall,
            threshold_rule: [(THRESHOLD.to_string(), rule)].into(),
        }
    }
}

/// Nine targets between the cheapest and the best model.
fn targets(recorded: &Recorded) -> Vec<f64> {
    let constants = recorded.constants();
    let cheapest = constants.iter().copied().reduce(|a, b| if b.cost < a.cost { b } else { a });
    let low = (cheapest.map_or(0.0, |c| c.accuracy) + 0.05).max(0.05);
    let high = constants.get(metrics::best(&constants)).map_or(0.0, |b| b.accuracy) - 0.005;
    (0..TARGETS).map(|t| low + (high - low) * t as f64 / (TARGETS - 1) as f64).collect()
}

/// Judges estimates on the outcomes of the same queries.
pub fn figures(recorded: &Recorded, estimated: &Estimated) -> Figures {
    let weights = vec![1.0; recorded.queries()];
    Judge::new(recorded, estimated).figures(&Yardstick::new(recorded), &weights)
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
    /// Largest asked − achieved, points; negative where every plan did better than asked.
    pub alpha_short: f64,
    /// Accuracy (points) and cost (USD per 1,000 queries) of the threshold rule, by threshold.
    pub threshold_rule: BTreeMap<String, (f64, f64)>,
}

/// The central 95 % of every figure over resamples, as (low, high); infinite, and null in JSON, is a cost
/// share at which the accuracy is never reached.
///
/// The calibration error and the α deviation add up distances or take the largest, and so grow with
/// the noise that a resample adds: their intervals lean upwards.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in `Figures`")]
pub struct Intervals {
    pub auc: Option<(f64, f64)>,
    pub ece: Option<(f64, f64)>,
    pub gain: BTreeMap<String, Option<(f64, f64)>>,
    pub mean_gain: Option<(f64, f64)>,
    pub c95: Option<(f64, f64)>,
    pub c100: Option<(f64, f64)>,
    pub peak: Option<(f64, f64)>,
    pub alpha_dev: Option<(f64, f64)>,
    pub alpha_short: Option<(f64, f64)>,
}

impl Intervals {
    /// The intervals of figures on resamples.
    pub fn of(resampled: &[Figures]) -> Self {
        let over = |figure: &dyn Fn(&Figures) -> f64| interval(resampled.iter().map(figure).collect());
        let ticks = resampled.first().map(|figures| figures.gain.keys());
        let gain = |tick: &String| {
            (tick.clone(), over(&|f| f.gain.get(tick).copied().flatten().unwrap_or(f64::NAN)))
        };
        Intervals {
            auc: over(&|f| f.auc.unwrap_or(f64::NAN)),
            ece: over(&|f| f.ece),
            gain: ticks.into_iter().flatten().map(gain).collect(),
            mean_gain: over(&|f| f.mean_gain.unwrap_or(f64::NAN)),
            c95: over(&|f| f.c95.unwrap_or(f64::INFINITY)),
            c100: over(&|f| f.c100.unwrap_or(f64::INFINITY)),
            peak: over(&|f| f.peak),
            alpha_dev: over(&|f| f.alpha_dev),
            alpha_short: over(&|f| f.alpha_short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two models; the dear one is right always, the cheap one on even queries.
    fn example(n: usize) -> Recorded {
        let correct = (0..n).flat_map(|i| [f64::from(i % 2 == 0), 1.0]).collect();
        Recorded { models: vec!["cheap".into(), "dear".into()], correct, cost: [0.0002, 0.002].repeat(n) }
    }

    #[test]
    fn knowing_the_outcomes_gains_all_there_is() {
        let recorded = example(100);
        let estimated = Estimated { quality: recorded.correct.clone(), cost: recorded.cost.clone() };
        let figures = figures(&recorded, &estimated);
        assert_eq!(figures.peak, 100.0);
        assert!((figures.c100.unwrap() - 1.1 / 2.0).abs() < 1e-9, "{figures:?}");
        assert!(figures.ece < 1e-9 && figures.alpha_short < 0.0, "{figures:?}");
        assert_eq!(figures.threshold_rule["0.7"].0, 100.0);
        // The hull at $1 lies at 50 + 50·0.8/1.8; nothing between the two models is offered there.
        assert!((figures.gain["1.0"].unwrap() + 100.0 * 0.5 * 0.8 / 1.8).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn weights_repeat_queries() {
        let recorded = example(4);
        let quality = vec![0.5, 0.9, 0.2, 0.7, 0.6, 0.6, 0.1, 0.8];
        let estimated = Estimated { quality, cost: recorded.cost.clone() };
        let weights = [2.0, 1.0, 0.0, 1.0];
        let repeat = |values: &[f64]| [&values[..2], &values[..4], &values[6..]].concat();
        let repeated =
            Recorded { correct: repeat(&recorded.correct), cost: repeat(&recorded.cost), ..recorded.clone() };
        let again = Estimated { quality: repeat(&estimated.quality), cost: repeat(&estimated.cost) };
        let plain = Judge::new(&repeated, &again).figures(&Yardstick::new(&repeated), &[1.0; 4]);
        let yardstick = Yardstick::new(&recorded).resampled(&recorded, &weights);
        let weighted = Judge::new(&recorded, &estimated).figures(&yardstick, &weights);
        assert_eq!(weighted.auc, plain.auc);
        assert_eq!(weighted.gain, plain.gain);
        assert!((weighted.ece - plain.ece).abs() < 1e-9, "{weighted:?} {plain:?}");
        assert!((weighted.peak - plain.peak).abs() < 1e-9, "{weighted:?} {plain:?}");
        assert!((weighted.c100.unwrap() - plain.c100.unwrap()).abs() < 1e-9, "{weighted:?} {plain:?}");
    }

    #[test]
    fn a_shortfall_is_what_was_promised_and_not_kept() {
        // Every answer is promised at 0.9 and half of them are right, whatever the target.
        let recorded =
            Recorded { models: vec!["only".into()], correct: [1.0, 0.0].repeat(20), cost: vec![0.001; 40] };
        let estimated = Estimated { quality: vec![0.9; 40], cost: recorded.cost.clone() };
        let judge = Judge::new(&recorded, &estimated);
        let yardstick = Yardstick::new(&recorded);
        // The largest target is 0.5 − 0.005, or 0.55 at the other end: 5 points more than there is.
        let figures = judge.figures(&yardstick, &[1.0; 40]);
        assert!((figures.alpha_short - 5.0).abs() < 1e-9, "{figures:?}");
        // On the wrong half it falls short by 50 more.
        let wrong = [0.0, 1.0].repeat(20);
        let figures = judge.figures(&yardstick.resampled(&recorded, &wrong), &wrong);
        assert!((figures.alpha_short - 55.0).abs() < 1e-9, "{figures:?}");
    }
}
