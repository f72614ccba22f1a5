//! Which model should answer which query of a batch, so that the whole is cheapest?
//!
//! # The problem
//!
//! N queries i, M models j (5 to 20). Choosing j for i costs `c_ij` USD and answers well with
//! chance `p_ij`; `x_ij` = 1 where j is chosen. Every query gets exactly one model:
//!
//! ```text
//! min  Σ c_ij x_ij                     total cost
//! s.t. Σ_j x_ij = 1                    one model per query; pairs with c_ij = +inf are forbidden
//!      Σ_i x_ij ≤ L_j                  workload:      price μ_j ≥ 0, USD per slot
//!      Σ p_ij x_ij ≥ α N               mean quality:  price λ ≥ 0,   USD per unit of quality
//!      Σ_{i∈g} p_ij x_ij ≥ α_g |g|     group floors:  price ν_g ≥ 0, likewise
//! ```
//!
//! or its mirror image: the most quality with total cost ≤ B ([`Problem::budget_usd`] alone).
//!
//! # How it is solved
//!
//! The linear relaxation first, through its dual: prices `π = (λ, ν, μ)`, one per row, M + a few of
//! them whatever N is. `newton` climbs the dual of small samples, then larger ones, O(N·M) a step; at
//! its prices all but some 8·√N queries are far from changing their model. On that `core`, `simplex`
//! finds the exact optimum, whatever the rows are (workloads, quality, budget and floors are treated
//! alike); one pass over all queries proves the bound, or names the queries that must join the core.
//! At N = 100,000 all of it takes the time of some eight passes over the matrices.
//!
//! Then a whole plan: the vertex of the relaxation splits few queries, and is moved to a neighbour that
//! splits none and costs no reduced cost; `polish` uses up its surplus by exchanges. Up to 512 queries
//! the best plan is proven, by branch and bound on the few pairs that the gap leaves open (`branch`).
//!
//! Without coupling rows the problem is a min-cost flow and the vertex whole by itself. `transport` solves
//! that by successive shortest paths on a graph contracted to M nodes: for many models, and to prove why
//! queries cannot be placed. `price` is the case without limits, where one query takes one pass over its
//! row; `stream` the case of queries that come one at a time, `curve` that of all targets at once.
//!
//! # The certificate
//!
//! With reduced costs `r_ij = c_ij − (λ + ν_g(i))·p_ij + μ_j − min_k(…)` ≥ 0, every plan obeys
//!
//! ```text
//! cost − dual = Σ r_ij x_ij + λ·(quality surplus) + Σ ν_g·(surplus of g) + Σ μ_j·(unused slots of j)
//! ```
//!
//! where `dual = Σ_i min_j(c_ij − (λ + ν)·p_ij + μ_j) − Σ μ_j L_j + λ α N + Σ ν_g α_g |g|`. Every
//! term on the right is ≥ 0, so `dual` is a lower bound for **any** prices ≥ 0: the reported
//! [`Plan::bound`] needs no trust in the search that found them. A pair with `r_ij` above the gap
//! is in no better plan, which is what `branch` prunes by.
//!
//! # Numbers
//!
//! Costs stay f64, and are scaled by a power of two at most, which is exact. Prices carry the rounding of a
//! basis of M rows; what they prove is computed from them afresh, over all queries. A mean quality may fall short
//! of its target by 1e-12 and a total cost exceed the budget by 1e-12 of it (rounding of the sums;
//! both sums are compensated). Ties are broken by index, in a
//! core by a perturbation of 1e-13, and no sum is reordered, so runs repeat, on every host.
//! Matrices are model-major: pair (i, j) stands at `j·N + i`.
//!
//! # Sources
//!
//! ECCOS / `OmniRouter` (arXiv 2502.20576) states the problem. Semismooth Newton on the dual: Qi, Sun,
//! *A nonsmooth version of Newton's method* (1993). Generalised upper bounds: Dantzig, Van Slyke (1967);
//! the long-step rule of the dual simplex: Kostina (2002); reduced-cost fixing: Crowder, Johnson, Padberg
//! (1983). Successive shortest paths with potentials: Ahuja, Magnanti, Orlin, *Network Flows*, ch. 9;
//! contraction to the M nodes: Tokuyama, Nakano, *Efficient algorithms for the Hitchcock transportation
//! problem* (1995).

mod batch;
mod branch;
mod core;
mod curve;
mod lanes;
mod newton;
mod order;
mod polish;
pub mod price;
mod rows;
mod simplex;
pub mod stream;
mod sweep;
mod transport;
mod values;

pub use price::{PricePoint, frontier, price_of_quality, price_on};

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use price::Sum;

/// The largest cost of one pair: sums of any number of them stay finite.
const MAX_COST_USD: f64 = 1e12;
/// The most groups with floors: each is a row of a dense basis.
const MAX_GROUPS: usize = 1000;
/// Mean quality may miss its target, and cost its budget (relatively), by this much.
const FEASIBILITY: f64 = 1e-12;
/// A plan is called optimal when its cost is within this fraction of a proven bound.
const OPTIMALITY: f64 = 1e-9;

/// A batch to plan. Build it with [`Problem::new`] and set the constraints that apply; with none,
/// every query gets its cheapest model.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// N, the number of queries.
    pub queries: usize,
    /// M, the number of models.
    pub models: usize,
    /// `c`, USD per pair, model-major; finite, 0 to 1e12, or +inf for a forbidden pair.
    pub cost: &'a [f64],
    /// `p`, the chance of a good answer per pair, model-major, 0 to 1 (also where forbidden, though
    /// it then has no effect).
    pub quality: &'a [f64],
    /// α: the least mean quality, 0 to 1. Default: none.
    pub quality_target: Option<f64>,
    /// B: the most the batch may cost, USD, finite and >= 0. With [`Problem::quality_target`] the
    /// plan minimises cost and must stay within both; alone it maximises quality. Default: none.
    pub budget_usd: Option<f64>,
    /// L: the most queries per model, one entry per model; `u64::MAX` is unlimited. Default: none.
    pub limits: Option<&'a [u64]>,
    /// Floors on the mean quality of groups of queries, 1,000 at most. Default: none.
    pub groups: Option<Groups<'a>>,
}

/// Floors on the mean quality of groups of queries (fairness between user groups, or tenants).
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// The group of each query, an index into `floors`.
    pub of_query: &'a [u32],
    /// `α_g`: the least mean quality of each group, 0 to 1 (0: no floor). An empty group meets any.
    pub floors: &'a [f64],
}

/// What is known about a [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No plan is better by more than 1e-9 of its objective: the bound proves it.
    Optimal,
    /// The plan meets every constraint; [`Plan::gap`] says how far from optimal it may be.
    Feasible,
    /// There is no plan; [`Plan::infeasible`] says why.
    Infeasible,
}

/// Shadow prices: what one unit more of a requirement costs, at the optimum of the relaxation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Duals {
    /// USD per 0.01 of mean quality: `0.01·N·λ`. Under a budget alone it is what the last 0.01
    /// cost; 0 when the budget does not bind.
    pub quality: f64,
    /// USD that one more slot saves, per model (`μ_j`); 0 without limits. Under a budget alone: the
    /// dollars that would buy as much quality as the slot does, 0 when the budget does not bind.
    pub workloads: Vec<f64>,
    /// USD per 0.01 of the group's mean quality: `0.01·|g|·ν_g`, per group; empty without groups.
    pub groups: Vec<f64>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Infeasible {
    /// Stable code, with what [`Infeasible::largest`] then is:
    ///
    /// - `no_candidate`: a query may use no model; at most so many queries can be served.
    /// - `workload_total`: fewer slots than queries; at most so many queries can be served.
    /// - `workload_hall`: queries confined to some models outnumber their slots; so many queries
    ///   can be served.
    /// - `quality_unreachable`: the largest mean quality.
    /// - `budget_unreachable`: the cheapest plan exceeds the budget; its cost in USD.
    /// - `budget_too_small`: the quality target exceeds the budget; the mean quality it does buy.
    /// - `floors_unreachable`: the fraction of every floor (and target) that can be met at once.
    pub code: &'static str,
    /// The same in words, with the numbers that prove it.
    pub reason: String,
    /// The largest feasible value of what was asked for, see [`Infeasible::code`].
    pub largest: f64,
    /// Whether the reason is proven. False where the relaxation is feasible and yet the search for a plan
    /// ended without one ([`Plan::stopped`], or a problem too large for a proof), where a target and a
    /// budget meet within rounding to whole queries, and where rounding stands in the way.
    pub proven: bool,
}

/// The answer to a [`Problem`], verified against every constraint before it is returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Whether there is a plan, and whether it is proven optimal.
    pub status: Status,
    /// The model of each query; empty when infeasible.
    pub assignment: Vec<u32>,
    /// Total cost, USD; 0 when infeasible.
    pub cost_usd: f64,
    /// Mean quality; 0 when infeasible or without queries.
    pub quality: f64,
    /// The proven bound: no plan costs less (USD), or, under a budget alone, none has a higher mean
    /// quality. 0 when infeasible.
    pub bound: f64,
    /// `(cost − bound) / bound`, or `(bound − quality) / bound` under a budget alone; ≥ 0. A plan
    /// proven by search states 1e-10, the least difference it looks for (0 on a grid of qualities).
    pub gap: f64,
    /// Shadow prices.
    pub duals: Duals,
    /// The work limit ended the search for a proof ([`Options::work`]): more might find a better plan or
    /// prove this one. False where the plan is optimal, or too large for a proof to be tried.
    pub stopped: bool,
    /// Why there is no plan; `None` when there is one.
    pub infeasible: Option<Infeasible>,
}

impl<'a> Problem<'a> {
    /// N queries and M models with costs and qualities, nothing constrained yet.
    pub fn new(queries: usize, models: usize, cost: &'a [f64], quality: &'a [f64]) -> Self {
        Problem {
            queries,
            models,
            cost,
            quality,
            quality_target: None,
            budget_usd: None,
            limits: None,
            groups: None,
        }
    }

    /// Refuses what cannot be represented, naming the place.
    fn check(&self) -> Result<()> {
        let (n, m) = (self.queries, self.models);
        let size = pairs(n, m)?;
        same_length("cost", self.cost.len(), size)?;
        same_length("quality", self.quality.len(), size)?;
        check_pairs(self.cost, self.quality, n, MAX_COST_USD)?;
        if let Some(target) = self.quality_target {
            unit("quality target", target)?;
        }
        if let Some(budget) = self.budget_usd
            && !(budget.is_finite() && budget >= 0.0)
        {
            return Err(number("budget", budget, "a finite number of USD >= 0"));
        }
        if let Some(limits) = self.limits {
            same_length("limits", limits.len(), m)?;
        }
        if let Some(groups) = self.groups {
            if groups.floors.len() > MAX_GROUPS {
                let what = format!("{} groups have floors, {MAX_GROUPS} is the most", groups.floors.len());
                return Err(Error::Problem { what });
            }
            same_length("groups", groups.of_query.len(), n)?;
            for (g, &floor) in groups.floors.iter().enumerate() {
                unit(&format!("floor of group {g}"), floor)?;
            }
            let count = groups.floors.len();
            if let Some(i) = groups.of_query.iter().position(|&g| g as usize >= count) {
                let what = format!("query {i} is in group {}, there are {count} floors", groups.of_query[i]);
                return Err(Error::Problem { what });
            }
        }
        Ok(())
    }

    /// Total cost and summed quality of an assignment.
    fn totals(&self, assignment: &[u32]) -> (f64, f64) {
        let at = |(i, &j): (usize, &u32)| j as usize * self.queries + i;
        let cost: Sum = assignment.iter().enumerate().map(|pair| self.cost[at(pair)]).collect();
        let quality: Sum = assignment.iter().enumerate().map(|pair| self.quality[at(pair)]).collect();
        (cost.value(), quality.value())
    }

    /// The summed quality the whole batch must reach.
    fn needed_quality(&self, target: f64) -> f64 {
        (target - FEASIBILITY) * self.queries as f64
    }

    /// The first constraint that an assignment breaks, in words.
    fn broken(&self, assignment: &[u32]) -> Option<String> {
        let (n, m) = (self.queries, self.models);
        if assignment.len() != n {
            return Some(format!("{} of {n} queries have a model", assignment.len()));
        }
        let mut load = vec![0u64; m];
        for (i, &j) in assignment.iter().enumerate() {
            match self.cost.get(j as usize * n + i) {
                Some(c) if (j as usize) < m && c.is_finite() => load[j as usize] += 1,
                _ => return Some(format!("query {i} may not use model {j}")),
            }
        }
        if let Some(limits) = self.limits
            && let Some(j) = (0..m).find(|&j| load[j] > limits[j])
        {
            return Some(format!("model {j} has {} queries, limit {}", load[j], limits[j]));
        }
        let (cost, quality) = self.totals(assignment);
        if let Some(target) = self.quality_target
            && quality < self.needed_quality(target)
        {
            return Some(format!("mean quality {} is below {target}", quality / n as f64));
        }
        if let Some(budget) = self.budget_usd
            && cost > budget * (1.0 + FEASIBILITY)
        {
            return Some(format!("cost {cost} exceeds the budget {budget}"));
        }
        let groups = self.groups?;
        let mut sums = vec![(Sum::default(), 0usize); groups.floors.len()];
        for (i, &j) in assignment.iter().enumerate() {
            let group = &mut sums[groups.of_query[i] as usize];
            group.0.add(self.quality[j as usize * n + i]);
            group.1 += 1;
        }
        let short = |g: &usize| sums[*g].0.value() < (groups.floors[*g] - FEASIBILITY) * sums[*g].1 as f64;
        (0..sums.len()).find(short).map(|g| format!("group {g} is below its floor {}", groups.floors[g]))
    }
}

/// Part of a solve, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Looking for prices near the optimum.
    Prices,
    /// Making them exact.
    Relaxation,
    /// Proving a whole plan, or finding a better one.
    Proof,
}

/// What a caller who watches a solve is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The part that is under way.
    pub stage: Stage,
    /// Steps of the proof that are left, see [`Options::work`].
    pub work_left: u64,
}

/// How long to search, and who watches.
pub struct Options<'a> {
    /// The most steps (of some microseconds each) in the proof of the best whole plan, which is tried for
    /// up to 512 queries. With 0 the plan is the best that comes without a search, a fraction of a
    /// percent from the bound; prices and bound are the same. Default: 2,000,000.
    pub work: u64,
    /// Called between the parts of a solve and about every thousand steps of a proof beyond the first 2,000. `Break` ends it: with
    /// the best plan so far during the proof ([`Plan::stopped`]), with [`Error::Cancelled`] before.
    /// Default: nobody.
    pub watch: Option<Watch<'a>>,
}

/// See [`Options::watch`].
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

impl Default for Options<'_> {
    fn default() -> Self {
        Options { work: 2_000_000, watch: None }
    }
}

/// The work that is left, and who watches it go.
struct Effort<'a> {
    work: u64,
    watch: Option<Watch<'a>>,
    /// Work at the last report.
    reported: u64,
}

/// Steps of a proof between two reports.
const REPORT: u64 = 1000;

impl Effort<'_> {
    fn left(&self) -> u64 {
        self.work
    }

    /// At most so much of it, unwatched.
    fn part(&self, most: u64) -> Effort<'static> {
        Effort { work: self.work.min(most), watch: None, reported: 0 }
    }

    /// Uses up steps of a proof; a caller who breaks leaves none.
    fn spend(&mut self, steps: u64) {
        self.work = self.work.saturating_sub(steps);
        if self.reported.saturating_sub(self.work) >= REPORT {
            self.reported = self.work;
            if self.tell(Stage::Proof).is_err() {
                self.work = 0;
            }
        }
    }

    /// Reports; an error when the caller breaks.
    fn tell(&mut self, stage: Stage) -> Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        match watch(Progress { stage, work_left: self.work }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

/// A solver that keeps its memory from one problem to the next.
#[derive(Default)]
pub struct Solver {
    workspace: batch::Workspace,
}

impl Solver {
    /// Solves a batch, see [`solve`].
    pub fn solve(&mut self, problem: &Problem, options: Options) -> Result<Plan> {
        problem.check()?;
        let mut effort = Effort { work: options.work, watch: options.watch, reported: options.work };
        let plan = batch::solve(problem, &mut self.workspace, &mut effort)?;
        if plan.status == Status::Infeasible {
            return Ok(plan);
        }
        match problem.broken(&plan.assignment) {
            None => Ok(plan),
            Some(what) => Err(Error::Internal { what: format!("a plan failed its verification: {what}") }),
        }
    }
}

impl Solver {
    /// The shadow prices of [`Solver::solve`] alone, from the relaxation: exact, and a third of the work.
    /// Where a target costs more than the budget, [`Infeasible::largest`] is not computed (0).
    pub fn duals(&mut self, problem: &Problem) -> Result<std::result::Result<Duals, Infeasible>> {
        problem.check()?;
        let mut effort = Effort { work: 0, watch: None, reported: 0 };
        if problem.queries == 0 {
            return Ok(Ok(batch::solve(problem, &mut self.workspace, &mut effort)?.duals));
        }
        batch::duals(problem, &mut self.workspace, &mut effort)
    }

    /// The frontier of cost against quality under the problem's limits and forbidden pairs, from the
    /// cheapest plan to the best (what would 85 % cost?); its target, budget and floors are left out.
    /// Up to `points` (>= 2) vertices of the lower hull, whole plans each, as mean quality and mean cost
    /// per query; `lambda` is the slope of the edge that leads to the point, USD per unit of quality.
    /// Without limits [`frontier`] gives all of it at once. No points when there are no queries.
    pub fn curve(&mut self, problem: &Problem, points: usize, options: Options) -> Result<Vec<PricePoint>> {
        problem.check()?;
        let mut effort = Effort { work: options.work, watch: options.watch, reported: options.work };
        curve::curve(problem, points, &mut self.workspace, &mut effort)
    }
}

/// Solves a batch exactly: a plan with a proven bound, or a proof that there is none.
///
/// ```
/// use pennyroute::optimize::{Problem, Status, solve};
///
/// // Two queries; model 0 is cheap and right half the time, model 1 dear and nearly always.
/// let (cost, quality) = ([0.001, 0.001, 0.02, 0.03], [0.5, 0.5, 0.9, 0.9]);
/// let plan = solve(&Problem { quality_target: Some(0.7), ..Problem::new(2, 2, &cost, &quality) })?;
/// assert_eq!(plan.status, Status::Optimal);
/// assert_eq!(plan.assignment, [1, 0]); // the dear model where it is less dear
/// # Ok::<(), pennyroute::Error>(())
/// ```
pub fn solve(problem: &Problem) -> Result<Plan> {
    Solver::default().solve(problem, Options::default())
}

/// N·M, refused where it or an index would not fit.
fn pairs(n: usize, m: usize) -> Result<usize> {
    let size = n.checked_mul(m).filter(|_| u32::try_from(n).is_ok() && u32::try_from(m).is_ok());
    size.ok_or_else(|| Error::Problem { what: format!("{n} queries × {m} models are too many") })
}

fn same_length(name: &str, found: usize, needed: usize) -> Result<()> {
    if found == needed {
        return Ok(());
    }
    Err(Error::Problem { what: format!("{name} has {found} entries where {needed} are needed") })
}

/// Costs must be in [0, `max`] or +inf, qualities in [0, 1].
fn check_pairs(cost: &[f64], quality: &[f64], n: usize, max: f64) -> Result<()> {
    let place = |name: &str, at: usize| format!("{name} of query {} on model {}", at % n, at / n);
    let bad_cost = |c: f64| !((0.0..=max).contains(&c) || c == f64::INFINITY);
    if any(cost, bad_cost)
        && let Some(at) = cost.iter().position(|&c| bad_cost(c))
    {
        return Err(number(
            &place("cost", at),
            cost[at],
            "a number of USD from 0 to 1e12, or +inf where forbidden",
        ));
    }
    let bad_quality = |p: f64| !(0.0..=1.0).contains(&p);
    if any(quality, bad_quality)
        && let Some(at) = quality.iter().position(|&p| bad_quality(p))
    {
        return Err(number(&place("quality", at), quality[at], "a number from 0 to 1"));
    }
    Ok(())
}

/// Whether any value is so: without a branch per value, which a search for the first would need.
fn any(values: &[f64], is: impl Fn(f64) -> bool) -> bool {
    values.chunks(1024).any(|chunk| chunk.iter().fold(false, |found, &v| found | is(v)))
}

fn unit(place: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(number(place, value, "a number from 0 to 1")) }
}

fn number(place: &str, value: f64, expected: &'static str) -> Error {
    Error::Number { place: place.to_owned(), value: value.to_string(), expected }
}
