//! A problem as transport plus coupling rows.
//!
//! Each coupling row `Σ w_ij x_ij ≥ W` (mean quality, budget, group floors) gets a multiplier
//! y ≥ 0. Given y and the prices μ of the slots, a pair is worth
//!
//! ```text
//! v_ij = a_ij − Σ y·w_ij + μ_j  =  κ·c_ij − ρ_g(i)·p_ij + μ_j
//! ```
//!
//! where `a` is the objective (cost, or minus quality under a budget alone), κ gathers what stands
//! before the cost and `ρ_g` what stands before the quality of the queries of group g.

use super::order::{Keyed, at_rank};
use super::sweep::View;
use super::{FEASIBILITY, Problem};

/// Costs looked at for their median.
const SCALE_SAMPLE: usize = 997;

/// What a coupling row adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Quality of all queries.
    Quality,
    /// Minus the cost.
    Budget,
    /// Quality of the queries of one group.
    Group(u32),
}

/// A coupling row: `Σ w_ij x_ij ≥ need`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub kind: Kind,
    pub need: f64,
    /// The number of queries it adds up.
    pub size: usize,
}

impl Row {
    /// `w_ij` of a pair of cost `c` and quality `p`, for a query of `group`.
    pub fn weight(&self, c: f64, p: f64, group: u32) -> f64 {
        match self.kind {
            Kind::Quality => p,
            Kind::Budget => -c,
            Kind::Group(g) if g == group => p,
            Kind::Group(_) => 0.0,
        }
    }
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Cost.
    Cost,
    /// Minus quality.
    Quality,
    /// Cost minus quality at this price, with no coupling rows.
    Tilted(f64),
}

impl Goal {
    /// What stands before cost and before minus quality.
    pub fn weights(self) -> (f64, f64) {
        match self {
            Goal::Cost => (1.0, 0.0),
            Goal::Quality => (0.0, 1.0),
            Goal::Tilted(lambda) => (1.0, lambda),
        }
    }
}

/// A problem with one objective and the rows that can bind.
pub(super) struct Coupled<'a> {
    pub problem: &'a Problem<'a>,
    pub goal: Goal,
    pub rows: Vec<Row>,
    /// `L_j`, cut to N.
    pub limits: Vec<u64>,
    /// A power of two that brings costs near 1.
    pub scale: f64,
    /// D where every quality is a whole number of 1/D, so that sums of them are too.
    grid: Option<f64>,
}

impl<'a> Coupled<'a> {
    pub fn new(problem: &'a Problem<'a>, goal: Goal) -> Self {
        let n = problem.queries;
        let mut rows = Vec::new();
        if let (Goal::Quality, Some(budget)) = (goal, problem.budget_usd) {
            rows.push(Row { kind: Kind::Budget, need: -budget * (1.0 + FEASIBILITY), size: n });
        }
        if let (Goal::Cost, Some(target)) = (goal, problem.quality_target) {
            rows.push(Row { kind: Kind::Quality, need: problem.needed_quality(target), size: n });
        }
        if let Some(groups) = problem.groups.filter(|_| !matches!(goal, Goal::Tilted(_))) {
            let mut sizes = vec![0usize; groups.floors.len()];
            groups.of_query.iter().for_each(|&g| sizes[g as usize] += 1);
            for (g, (floor, size)) in groups.floors.iter().zip(sizes).enumerate() {
                let need = (floor - FEASIBILITY) * size as f64;
                rows.push(Row { kind: Kind::Group(g as u32), need, size });
            }
        }
        // Sums of quality are never negative: such a row says nothing.
        rows.retain(|row| row.kind == Kind::Budget || row.need > 0.0);
        let grid = if rows.is_empty() { None } else { grid(problem.quality) };
        // On a grid a sum that reaches the need reaches the next grid point: a tighter relaxation.
        if let Some(grid) = grid {
            for row in rows.iter_mut().filter(|row| row.kind != Kind::Budget) {
                row.need = (row.need * grid).ceil() / grid - FEASIBILITY * n as f64;
            }
        }
        let limits = problem.limits.map_or_else(
            || vec![n as u64; problem.models],
            |limits| limits.iter().map(|&l| l.min(n as u64)).collect(),
        );
        Coupled { problem, goal, rows, limits, scale: scale(problem.cost), grid }
    }

    /// The least by which one plan can be better than another: 0 where values are continuous.
    pub fn step(&self) -> f64 {
        if self.goal == Goal::Quality { self.grid.map_or(0.0, |grid| 1.0 / grid) } else { 0.0 }
    }

    /// Whether a model's slots can run out.
    pub fn limited(&self, j: usize) -> bool {
        self.limits[j] < self.problem.queries as u64
    }

    /// Number of groups told apart, at least one.
    pub fn groups(&self) -> usize {
        self.problem.groups.map_or(1, |groups| groups.floors.len().max(1))
    }

    /// The group of a query, 0 without groups.
    pub fn group(&self, i: usize) -> u32 {
        self.problem.groups.map_or(0, |groups| groups.of_query[i])
    }

    /// κ, with ρ per group into `rho`, at the prices of the rows.
    pub fn weights(&self, y: &[f64], rho: &mut Vec<f64>) -> f64 {
        weights(&self.rows, self.goal.weights(), y, self.groups(), rho)
    }
}

/// κ, with ρ per group into `rho`, for what stands before cost and minus quality in the objective.
pub(super) fn weights(
    rows: &[Row],
    (cost, quality): (f64, f64),
    y: &[f64],
    groups: usize,
    rho: &mut Vec<f64>,
) -> f64 {
    let mut kappa = cost;
    rho.clear();
    rho.resize(groups, quality);
    for (row, y) in rows.iter().zip(y) {
        match row.kind {
            Kind::Quality => rho.iter_mut().for_each(|rho| *rho += y),
            Kind::Budget => kappa += y,
            Kind::Group(g) => rho[g as usize] += y,
        }
    }
    kappa
}

/// The power of two nearest to one over the median of some costs: one huge cost must not hide the rest.
fn scale(costs: &[f64]) -> f64 {
    let some = costs.iter().step_by(costs.len().div_ceil(SCALE_SAMPLE).max(1));
    let mut some: Vec<Keyed> = some.filter(|c| **c > 0.0 && c.is_finite()).map(|&c| (c, 0)).collect();
    if some.is_empty() {
        return 1.0;
    }
    let half = some.len() / 2;
    (-at_rank(&mut some, half).log2().round()).clamp(-900.0, 900.0).exp2()
}

/// The coarsest 1/D of a few usual ones on which all values lie: retrieval from 16 neighbours gives
/// sixteenths, people write percent.
fn grid(values: &[f64]) -> Option<f64> {
    let on = |d: f64| values.iter().all(|v| ((v * d).round() - v * d).abs() <= 1e-12);
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 32.0, 50.0, 64.0, 100.0, 128.0, 256.0, 1000.0]
        .into_iter()
        .find(|&d| on(d))
}

/// The right-hand sides for a part of the queries.
pub(super) struct Share {
    /// Per coupling row.
    pub need: Vec<f64>,
    /// Per model.
    pub limit: Vec<f64>,
}

impl Share {
    /// Needs and limits in proportion to `part`; of a group's floor, to its members there.
    pub fn of(coupled: &Coupled, part: &View) -> Self {
        let scale = part.n as f64 / coupled.problem.queries as f64;
        let need = |row: &Row| match (row.kind, part.group) {
            (Kind::Group(g), Some(group)) if part.n < coupled.problem.queries => {
                let members = group.iter().filter(|&&x| x == g).count();
                row.need * members as f64 / row.size as f64
            }
            _ => row.need * scale,
        };
        Share {
            need: coupled.rows.iter().map(need).collect(),
            limit: coupled.limits.iter().map(|&l| l as f64 * scale).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_raises_the_need_to_what_whole_plans_can_reach() {
        // Tenths: a sum of at least 1.35 of fifths is at least 1.4.
        let (cost, quality) = ([1.0, 1.0, 1.0, 2.0, 3.0, 4.0], [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]);
        let problem = Problem { quality_target: Some(0.45), ..Problem::new(3, 2, &cost, &quality) };
        let coupled = Coupled::new(&problem, Goal::Cost);
        assert!((coupled.rows[0].need - 1.4).abs() < 1e-9);
        assert_eq!(grid(&[0.25, 0.5625]), Some(16.0));
        assert_eq!(grid(&[0.25, 0.123_456_789]), None);
    }

    #[test]
    fn costs_are_scaled_by_a_power_of_two() {
        assert_eq!(scale(&[0.001, f64::INFINITY, 0.003, 1e9, 0.0]), 256.0);
        assert_eq!(scale(&[0.0, f64::INFINITY]), 1.0);
    }
}
