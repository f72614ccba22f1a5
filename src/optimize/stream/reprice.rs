//! Prices for what remains: the duals of a batch problem over the history.

use super::Prices;
use super::history::History;
use crate::error::Result;
use crate::optimize::{Duals, Problem, Solver};

/// λ where quality is all that counts, as a multiple of the largest cost: a thousandth of a point of
/// quality outweighs it.
const ALL_THAT_COUNTS: f64 = 1e5;

/// What is left for the queries to come.
pub(super) struct Remainder {
    /// R: how many they are, > 0.
    pub(super) queries: f64,
    /// The mean quality they must have, 0 to 1.
    pub(super) mean_quality: Option<f64>,
    /// USD.
    pub(super) budget_usd: Option<f64>,
    /// Slots per model.
    pub(super) limits: Option<Vec<u64>>,
}

/// The prices at which the history would spend its share of the remainder best; none where it cannot
/// be placed at all (queries confined to models that are used up): then the prices stay.
pub(super) fn solve(history: &History, models: usize, rest: &Remainder) -> Result<Option<Prices>> {
    let (n, cost, quality) = history.matrices(models);
    // Where slots run out before the queries do, the rest of them will be rejected whatever the
    // prices are: plan for those that can be served, which must make up for them.
    let slots = rest.limits.as_ref().map_or(u64::MAX, |l| l.iter().fold(0, |sum, &l| l.saturating_add(sum)));
    let served = rest.queries.min(slots.max(1) as f64);
    let scale = n as f64 / served;
    let limits: Option<Vec<u64>> =
        rest.limits.as_ref().map(|l| l.iter().map(|&l| (l as f64 * scale).ceil() as u64).collect());
    let problem = Problem {
        quality_target: rest.mean_quality.map(|mean| (mean * rest.queries / served).min(1.0)),
        budget_usd: rest.budget_usd.map(|budget| budget * scale),
        limits: limits.as_deref(),
        ..Problem::new(n, models, &cost, &quality)
    };
    duals(&problem)
}

/// The prices of a problem, or of the nearest one that can be solved.
fn duals(problem: &Problem) -> Result<Option<Prices>> {
    let unpriced = Problem { quality_target: None, budget_usd: None, ..*problem };
    let solved = Solver::default().duals(problem)?;
    match solved.map_err(|why| why.code) {
        // A budget alone that does not bind leaves quality alone to choose by.
        Ok(duals)
            if problem.quality_target.is_none() && problem.budget_usd.is_some() && duals.quality == 0.0 =>
        {
            most_quality(&unpriced)
        }
        Ok(found) => Ok(Some(prices(problem, found, 1.0))),
        Err("budget_too_small") => duals(&Problem { quality_target: None, ..*problem }),
        Err("budget_unreachable") => duals(&unpriced),
        Err("quality_unreachable") if problem.budget_usd.is_some() => {
            duals(&Problem { quality_target: None, ..*problem })
        }
        Err("quality_unreachable") => most_quality(&unpriced),
        Err(_) => Ok(None),
    }
}

/// Prices under which quality alone counts, and cost among equals.
fn most_quality(problem: &Problem) -> Result<Option<Prices>> {
    let error = |(c, p): (&f64, &f64)| if c.is_finite() { 1.0 - p } else { f64::INFINITY };
    let errors: Vec<f64> = problem.cost.iter().zip(problem.quality).map(error).collect();
    let solved = Solver::default().duals(&Problem { cost: &errors, ..*problem })?;
    let largest = problem.cost.iter().copied().filter(|c| c.is_finite()).fold(0.0, f64::max);
    let lambda = if largest > 0.0 { ALL_THAT_COUNTS * largest } else { 1.0 };
    Ok(solved.ok().map(|duals| Prices { quality: lambda, ..prices(problem, duals, lambda) }))
}

/// Duals as prices, in USD when one unit of what was minimised is worth `usd`.
fn prices(problem: &Problem, duals: Duals, usd: f64) -> Prices {
    let mut workloads: Vec<f64> = duals.workloads.iter().map(|price| price * usd).collect();
    workloads.resize(problem.models, 0.0);
    Prices { quality: duals.quality / (0.01 * problem.queries as f64), workloads }
}
