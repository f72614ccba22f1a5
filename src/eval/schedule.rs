//! Which model answers which query of a stream whose models have limited workloads: the optimizer,
//! and beside it the rules of other schedulers.
//!
//! **The setting** is that of ECCOS / OmniRouter (arXiv 2502.20576). N queries arrive in an order;
//! model j answers at most `L_j` of them; mean quality is to reach α at the least cost. Only what is
//! expected of a pair is known when its query is scheduled. [`by_rule`] and [`one_by_one`] decide each
//! query as it comes, [`in_batches`] waits for a number of them.
//!
//! Pair (i, j) stands at `i·M + j`; costs are USD.

use crate::error::{Error, Result};
use crate::optimize::stream::{Horizon, Stream, Terms};
use crate::optimize::{Options, Plan, Problem, Solver};

/// How far below the largest reachable mean quality a plan is asked for where the target itself is
/// out of reach: at the very largest the price of quality has no bound.
const BELOW_LARGEST: f64 = 1e-6;

/// Steps spent on proving the plan of one batch: some 10 ms.
const WORK: u64 = 2_000;
/// Queries that prices are made on in [`one_by_one`].
const WINDOW: usize = 512;

/// What is expected of N queries on M models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// M.
    pub models: usize,
    /// Chance of a good answer, 0 to 1.
    pub quality: Vec<f64>,
    /// USD of the call.
    pub cost: Vec<f64>,
    /// Tokens of the answer.
    pub output_tokens: Vec<f64>,
}

impl Expected {
    /// N.
    pub fn queries(&self) -> usize {
        self.quality.len() / self.models.max(1)
    }

    /// Cost and quality of some queries, model by model as the optimizer takes them.
    pub fn matrices(&self, queries: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let m = self.models;
        let matrix = |values: &[f64]| -> Vec<f64> {
            (0..m).flat_map(|j| queries.iter().map(move |&i| i * m + j)).map(|at| values[at]).collect()
        };
        (matrix(&self.cost), matrix(&self.quality))
    }
}

/// How others choose. A model is *free* while it has workload left and *capable* of a query when its
/// quality reaches the threshold; where no free model is capable, the free one of the highest quality
/// is taken. Ties go to the cheaper model, then to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The cheapest capable model, as AIOS `SmartRouting` does.
    CheapestCapable,
    /// The capable model with the least share of its workload used: balance-aware.
    LeastLoaded,
    /// The capable model with the shortest expected answer, after S3 (arXiv 2306.06000).
    Shortest,
    /// The cheapest free model, capable or not: greedy by price.
    Cheapest,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 4] = [Rule::CheapestCapable, Rule::LeastLoaded, Rule::Shortest, Rule::Cheapest];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Rule::CheapestCapable => "AIOS rule",
            Rule::LeastLoaded => "balance-aware",
            Rule::Shortest => "S3-like",
            Rule::Cheapest => "greedy by price",
        }
    }

    /// The model for query i; none when no model is free.
    fn choose(self, expected: &Expected, i: usize, threshold: f64, slots: &Slots) -> Option<usize> {
        let at = i * expected.models;
        let capable = |j: &usize| self == Rule::Cheapest || expected.quality[at + j] >= threshold;
        let key = |j: usize| match self {
            Rule::CheapestCapable | Rule::Cheapest => expected.cost[at + j],
            Rule::LeastLoaded => slots.used[j] as f64 / slots.limits[j] as f64,
            Rule::Shortest => expected.output_tokens[at + j],
        };
        let least = |candidates: &mut dyn Iterator<Item = usize>, key: &dyn Fn(usize) -> f64| {
            candidates.min_by(|&a, &b| {
                let cost = |j: usize| expected.cost[at + j];
                key(a).total_cmp(&key(b)).then(cost(a).total_cmp(&cost(b)))
            })
        };
        least(&mut slots.free().filter(capable), &key)
            .or_else(|| least(&mut slots.free(), &|j| -expected.quality[at + j]))
    }
}

/// Workloads and what is used of them.
struct Slots<'a> {
    limits: &'a [u64],
    used: Vec<u64>,
}

impl<'a> Slots<'a> {
    /// All of `limits`, which have to hold `queries`.
    fn new(limits: &'a [u64], expected: &Expected, queries: usize) -> Result<Self> {
        if limits.len() != expected.models {
            let what = format!("{} workloads for {} models", limits.len(), expected.models);
            return Err(Error::Problem { what });
        }
        let total = limits.iter().fold(0u64, |total, &limit| total.saturating_add(limit));
        if total < queries as u64 {
            return Err(Error::Problem { what: format!("{total} slots for {queries} queries") });
        }
        Ok(Slots { limits, used: vec![0; limits.len()] })
    }

    fn free(&self) -> impl Iterator<Item = usize> {
        (0..self.limits.len()).filter(|&j| self.used[j] < self.limits[j])
    }
}

/// Schedules the queries of `order` as they come by a rule of others; the model of each, in that order.
///
/// # Errors
/// Where there are fewer slots than queries.
pub fn by_rule(
    expected: &Expected,
    order: &[usize],
    limits: &[u64],
    rule: Rule,
    threshold: f64,
) -> Result<Vec<usize>> {
    let mut slots = Slots::new(limits, expected, order.len())?;
    let mut chosen = Vec::with_capacity(order.len());
    for &i in order {
        let j = rule.choose(expected, i, threshold, &slots).ok_or_else(no_slot)?;
        slots.used[j] += 1;
        chosen.push(j);
    }
    Ok(chosen)
}

/// Schedules the queries of `order` in batches of `size`, each planned by the optimizer.
///
/// A batch is asked for what brings the mean over everything scheduled, itself included, to the
/// target, or for the most that is reachable. Of each workload a batch may use what has accrued by its
/// end, `⌈L_j·(share of the queries that have come)⌉`, so that early batches leave good models to later
/// ones.
///
/// # Errors
/// Where there are fewer slots than queries, or what [`Solver::solve`] refuses.
pub fn in_batches(
    expected: &Expected,
    order: &[usize],
    limits: &[u64],
    target: f64,
    size: usize,
) -> Result<Vec<usize>> {
    let mut slots = Slots::new(limits, expected, order.len())?;
    let mut chosen = Vec::with_capacity(order.len());
    let mut quality = 0.0;
    for batch in order.chunks(size.max(1)) {
        let after = chosen.len() + batch.len();
        let share = after as f64 / order.len() as f64;
        let accrued = |j: usize| (limits[j] as f64 * share).ceil() as u64 - slots.used[j];
        let accrued: Vec<u64> = (0..expected.models).map(accrued).collect();
        let needed = (target * after as f64 - quality) / batch.len() as f64;
        let plan = plan(expected, batch, &accrued, needed)?;
        for (&i, &j) in batch.iter().zip(&plan.assignment) {
            let j = j as usize;
            slots.used[j] += 1;
            quality += expected.quality[i * expected.models + j];
            chosen.push(j);
        }
    }
    Ok(chosen)
}

/// Schedules the queries of `order` as they come, at prices that start from those of the queries of
/// `past`; see [`stream`](crate::optimize::stream).
///
/// # Errors
/// Where there are fewer slots than queries, or what [`Stream`] refuses.
pub fn one_by_one(
    expected: &Expected,
    order: &[usize],
    limits: &[u64],
    target: f64,
    past: &Expected,
) -> Result<Vec<usize>> {
    Slots::new(limits, expected, order.len())?;
    let m = expected.models;
    let mut stream = Stream::new(Terms {
        quality_target: Some(target),
        limits: Some(limits.to_vec()),
        window: WINDOW,
        ..Terms::new(m, Horizon::Total(order.len().max(1) as u64))
    })?;
    let all: Vec<usize> = (0..past.queries()).collect();
    let (cost, quality) = past.matrices(&all);
    stream.observe(all.len(), &cost, &quality)?;
    let mut chosen = Vec::with_capacity(order.len());
    for &i in order {
        let row = i * m..(i + 1) * m;
        let model = stream.choose(&expected.cost[row.clone()], &expected.quality[row])?;
        chosen.push(model.ok_or_else(no_slot)?);
    }
    Ok(chosen)
}

/// The cheapest plan for some queries at a mean quality of `target`, or just below the largest that
/// is reachable.
fn plan(expected: &Expected, queries: &[usize], limits: &[u64], target: f64) -> Result<Plan> {
    let (cost, quality) = expected.matrices(queries);
    let batch = Problem::new(queries.len(), expected.models, &cost, &quality);
    let problem = Problem { limits: Some(limits), ..batch };
    let at = |target: f64| {
        let options = Options { work: WORK, ..Options::default() };
        Solver::default().solve(&Problem { quality_target: Some(target.clamp(0.0, 1.0)), ..problem }, options)
    };
    let mut plan = at(target)?;
    if let Some(why) = plan.infeasible.as_ref().filter(|why| why.code == "quality_unreachable") {
        plan = at(why.largest - BELOW_LARGEST)?;
    }
    match plan.infeasible {
        None => Ok(plan),
        Some(why) => Err(Error::Problem { what: why.reason }),
    }
}

fn no_slot() -> Error {
    Error::Internal { what: "the workloads hold every query, and yet no model is free".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Models: cheap and weak; dear, strong and brief; in between on both, and long-winded.
    fn example(queries: usize) -> Expected {
        Expected {
            models: 3,
            quality: [0.4, 0.9, 0.8].repeat(queries),
            cost: [0.001, 0.009, 0.004].repeat(queries),
            output_tokens: [100.0, 50.0, 300.0].repeat(queries),
        }
    }

    #[test]
    fn every_rule_has_its_own_choice() {
        let expected = example(4);
        let schedule =
            |rule, limits: [u64; 3]| by_rule(&expected, &[0, 1, 2, 3], &limits, rule, 0.7).unwrap();
        let roomy = [4, 4, 4];
        assert_eq!(schedule(Rule::CheapestCapable, roomy), [2, 2, 2, 2]);
        assert_eq!(schedule(Rule::Shortest, roomy), [1, 1, 1, 1]);
        assert_eq!(schedule(Rule::Cheapest, roomy), [0, 0, 0, 0]);
        // In turns between the capable ones; the cheaper first.
        assert_eq!(schedule(Rule::LeastLoaded, roomy), [2, 1, 2, 1]);
        // By share, not by number: after one query each, model 1 has used a third and model 2 all.
        assert_eq!(schedule(Rule::LeastLoaded, [4, 3, 1]), [2, 1, 1, 1]);
    }

    #[test]
    fn without_a_capable_free_model_the_best_free_one_is_taken() {
        let expected = example(4);
        let schedule =
            |rule, threshold| by_rule(&expected, &[0, 1, 2, 3], &[2, 1, 1], rule, threshold).unwrap();
        assert_eq!(schedule(Rule::CheapestCapable, 0.7), [2, 1, 0, 0]);
        assert_eq!(schedule(Rule::Shortest, 0.95), [1, 2, 0, 0]);
        assert_eq!(schedule(Rule::Cheapest, 0.95), [0, 0, 2, 1]);
    }

    #[test]
    fn orders_are_kept() {
        let mut expected = example(2);
        expected.quality[5] = 0.1; // the third model on the second query
        let schedule =
            |order: &[usize]| by_rule(&expected, order, &[2, 2, 2], Rule::CheapestCapable, 0.7).unwrap();
        assert_eq!((schedule(&[0, 1]), schedule(&[1, 0])), (vec![2, 1], vec![1, 2]));
    }

    #[test]
    fn batches_reach_the_mean_and_leave_workload_for_later_ones() {
        let expected = example(8);
        let order: Vec<usize> = (0..8).collect();
        let mean = |chosen: &[usize]| chosen.iter().map(|&j| expected.quality[j]).sum::<f64>() / 8.0;
        for size in [1, 2, 3, 8, 100] {
            let chosen = in_batches(&expected, &order, &[8, 8, 4], 0.6, size).unwrap();
            assert!(mean(&chosen) >= 0.6 - 1e-9, "{size}: {chosen:?}");
            // Half of the third model's workload is there by half-time.
            if size == 2 {
                assert!(chosen[..4].iter().filter(|&&j| j == 2).count() <= 2, "{chosen:?}");
            }
        }
        // Out of reach: the best there is.
        let chosen = in_batches(&expected, &order, &[8, 2, 2], 0.95, 4).unwrap();
        assert_eq!([0, 1, 2].map(|j| chosen.iter().filter(|&&k| k == j).count()), [4, 2, 2]);
    }

    #[test]
    fn one_by_one_follows_the_prices() {
        // No two queries alike: prices tell them apart.
        let mut expected = example(20);
        for (at, cost) in expected.cost.iter_mut().enumerate() {
            *cost *= 1.0 + (at / 3 * 7 % 40) as f64 / 40.0;
            expected.quality[at] *= 1.0 - (at * 11 % 120) as f64 / 1200.0;
        }
        let order: Vec<usize> = (0..20).collect();
        let limits = [20, 8, 10];
        let chosen = one_by_one(&expected, &order, &limits, 0.6, &expected).unwrap();
        let used = [0, 1, 2].map(|j| chosen.iter().filter(|&&k| k == j).count() as u64);
        assert!(used.iter().zip(limits).all(|(used, limit)| *used <= limit), "{used:?}");
        let mean = chosen.iter().map(|&j| expected.quality[j]).sum::<f64>() / 20.0;
        assert!((mean - 0.6).abs() < 0.05, "{mean}");
    }

    #[test]
    fn too_few_slots_are_refused() {
        let expected = example(2);
        assert!(by_rule(&expected, &[0, 1], &[1, 0, 0], Rule::Cheapest, 0.7).is_err());
        assert!(in_batches(&expected, &[0, 1], &[1, 1], 0.7, 1).is_err());
    }
}
