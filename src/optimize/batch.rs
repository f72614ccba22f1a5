//! Puts the parts together: near-optimal prices, an exact core, a whole plan, a verdict.
//!
//! 1. `newton` finds prices near the dual optimum of the relaxation.
//! 2. The queries whose two best models are closest at these prices are the core; the others keep
//!    their best model. `simplex` finds the optimum of the core's relaxation.
//! 3. One pass at the exact prices proves the bound. A query outside the core that would now change
//!    joins it, and 2. is repeated from where it stood.
//! 4. The vertex is moved to a whole plan, `polish` makes it better, and `branch` proves the best.
//!
//! Infeasibility is proven by prices along which the dual rises for ever; what is reachable is then a
//! transportation problem (one row) or a search over the common fraction of all rows.

use super::branch::{Found, branch};
use super::core::{Column, Core};
use super::newton::Newton;
use super::polish::{Dual, FAR, NEAR, polish};
use super::price::Sum;
use super::rows::{Coupled, Goal, Kind, Row, Share};
use super::simplex::{Outcome, Simplex, Vertex};
use super::sweep::{Prices, View};
use super::transport::Transport;
use super::{Duals, Effort, FEASIBILITY, Groups, Infeasible, OPTIMALITY, Plan, Problem, Stage, Status, any};
use crate::error::Result;

/// Up to so many queries the core is the whole problem, and its optimum is to be proven.
const ALL: usize = 512;
/// The core of a larger problem: this times the root of N.
const CORE: f64 = 8.0;
/// With more models than this and no coupling rows, `transport` is faster: its paths pass M nodes, a
/// basis has M² entries.
const MANY_MODELS: usize = 48;
/// What a core that ran out of queries grows by.
const GROWTH: usize = 8;
/// Rounds in which the core may grow. A guard: one or two are usual.
const ROUNDS: usize = 12;
/// Dual simplex steps per row, and one per query of the core. A guard: ten per row are usual.
const STEPS: u64 = 60;
/// Margins on the rows, in the quality of one query (or its mean cost), tried where rounding breaks one.
const MARGINS: [f64; 6] = [1e-8, 0.05, 0.15, 0.3, 0.6, 1.0];
/// Steps of a short proof, some 10 ms.
const SHORT: u64 = 2_000;
/// Steps of the search for a first plan where the vertex gives none.
const REPAIR: u64 = 500;
/// Halvings of the fraction of all rows that can be met.
const FRACTION_BITS: u32 = 24;

/// Everything that is kept from one problem to the next, so that memory is reused.
#[derive(Default)]
pub(super) struct Workspace {
    newton: Newton,
    simplex: Simplex,
    rho: Vec<f64>,
}

/// The optimum of the relaxation.
struct Relaxed {
    core: Core,
    /// Per row of the core.
    pi: Vec<f64>,
    /// The choice of every query; that of the core's is not decided.
    choice: Vec<u32>,
    /// The bound on the objective, not scaled.
    bound: f64,
    /// y, then μ per model.
    prices: Vec<f64>,
}

/// Plans a batch whose arrays are valid.
pub(super) fn solve(problem: &Problem, workspace: &mut Workspace, effort: &mut Effort) -> Result<Plan> {
    if let Some(why) = unplaceable(problem) {
        return Ok(nothing(why));
    }
    if problem.queries == 0 {
        let workloads = vec![0.0; problem.models];
        let groups = vec![0.0; problem.groups.map_or(0, |groups| groups.floors.len())];
        let duals = Duals { quality: 0.0, workloads, groups };
        return Ok(Plan { duals, ..empty(Status::Optimal) });
    }
    // A pair that costs more than all there is helps nobody, and its size hides the others.
    let affordable = problem.budget_usd.and_then(|budget| affordable(problem, budget));
    let means = Problem { cost: affordable.as_deref().unwrap_or(problem.cost), ..*problem };
    let (Some(budget), Some(target)) = (problem.budget_usd, problem.quality_target) else {
        return match problem.budget_usd {
            Some(_) => optimise(&means, Goal::Quality, workspace, effort),
            None => optimise(problem, Goal::Cost, workspace, effort),
        };
    };
    // Least cost first; the budget then either holds or not.
    let within = |cost: f64| cost <= budget * (1.0 + FEASIBILITY);
    let plan = optimise(problem, Goal::Cost, workspace, effort)?;
    if plan.status == Status::Infeasible || within(plan.cost_usd) {
        return Ok(plan);
    }
    // The most quality within the budget says what is reachable, and may itself be a plan.
    let rich = optimise(&Problem { quality_target: None, ..means }, Goal::Quality, workspace, effort)?;
    if rich.status == Status::Infeasible {
        return Ok(rich);
    }
    if problem.broken(&rich.assignment).is_none() {
        let gap = relative_gap(rich.cost_usd, plan.bound);
        let status = if gap <= OPTIMALITY { Status::Optimal } else { Status::Feasible };
        let stopped = plan.stopped && status == Status::Feasible;
        return Ok(Plan { status, gap, bound: plan.bound, duals: plan.duals, stopped, ..rich });
    }
    Ok(nothing(Infeasible {
        code: "budget_too_small",
        reason: format!(
            "mean quality {target} costs at least {:.6} USD, the budget is {budget} USD; it buys mean quality {:.6}",
            plan.bound, rich.quality
        ),
        largest: rich.quality,
        proven: !within(plan.bound) || rich.bound < target - FEASIBILITY,
    }))
}

/// The costs with all pairs forbidden that exceed the budget alone, but for each query's cheapest; `None`
/// where there are no such pairs.
fn affordable(problem: &Problem, budget: f64) -> Option<Vec<f64>> {
    let n = problem.queries;
    let too_dear = |c: f64| c > budget * (1.0 + FEASIBILITY) && c < f64::INFINITY;
    if !any(problem.cost, too_dear) {
        return None;
    }
    let mut cheapest = vec![f64::INFINITY; n];
    for row in problem.cost.chunks_exact(n) {
        cheapest.iter_mut().zip(row).for_each(|(least, &c)| *least = least.min(c));
    }
    let keep = |(at, &c): (usize, &f64)| if too_dear(c) && c > cheapest[at % n] { f64::INFINITY } else { c };
    Some(problem.cost.iter().enumerate().map(keep).collect())
}

/// Why not every query can be placed at all, whatever it costs.
pub(super) fn unplaceable(problem: &Problem) -> Option<Infeasible> {
    let n = problem.queries;
    // Most problems forbid nothing.
    if problem.models == 0 || any(problem.cost, f64::is_infinite) {
        let mut open = vec![false; n];
        for row in problem.cost.chunks_exact(n.max(1)) {
            open.iter_mut().zip(row).for_each(|(open, c)| *open |= c.is_finite());
        }
        let closed = open.iter().filter(|open| !**open).count();
        if let Some(first) = open.iter().position(|open| !open) {
            return Some(Infeasible {
                code: "no_candidate",
                reason: format!("{closed} of {n} queries may use no model, the first is query {first}"),
                largest: (n - closed) as f64,
                proven: true,
            });
        }
    }
    let limits = problem.limits?;
    let slots = limits.iter().fold(0u64, |sum, &l| sum.saturating_add(l));
    if slots < n as u64 {
        return Some(Infeasible {
            code: "workload_total",
            reason: format!("{n} queries, {slots} slots over all models"),
            largest: slots as f64,
            proven: true,
        });
    }
    None
}

/// Queries confined to models with too few slots, if that is what keeps them from being placed.
fn confined(problem: &Problem) -> Option<Infeasible> {
    let (n, m) = (problem.queries, problem.models);
    let limits = problem.limits?;
    let free: Vec<f64> =
        problem.cost.iter().map(|c| if c.is_finite() { 0.0 } else { f64::INFINITY }).collect();
    let hall = Transport::new(n, m, Some(limits)).solve(&free).err()?;
    Some(Infeasible {
        code: "workload_hall",
        reason: format!(
            "{} queries may only use models {:?}, which have {} slots",
            hall.confined, hall.models, hall.slots
        ),
        largest: (n as u64 - (hall.confined - hall.slots)) as f64,
        proven: true,
    })
}

/// Solves with one objective; every query is known to have a model, and there are slots for all.
fn optimise(problem: &Problem, goal: Goal, workspace: &mut Workspace, effort: &mut Effort) -> Result<Plan> {
    let coupled = Coupled::new(problem, goal);
    let free = (0..problem.models).all(|j| !coupled.limited(j));
    if coupled.rows.is_empty() && (free || problem.models > MANY_MODELS) {
        return Ok(flow(&coupled));
    }
    let view = View::of(problem);
    let Some(relaxed) = relax(&coupled, &view, workspace, effort)? else {
        return Ok(nothing(unreachable(&coupled, workspace, effort)?));
    };
    let Relaxed { mut core, pi, mut choice, bound, prices } = relaxed;
    let scale = core.unit;
    let dual = Dual { pi: &pi, bound: bound * scale - core.fixed };
    let found = whole(&mut core, &dual, coupled.step(), view.n <= ALL, &mut workspace.simplex, effort);
    let Some(best) = found.best else {
        if coupled.rows.is_empty() {
            return Ok(flow(&coupled));
        }
        let why = Infeasible {
            code: "floors_unreachable",
            reason: "all can be met on average of several plans, but no single plan was found".into(),
            largest: 1.0,
            proven: found.proven,
        };
        return Ok(Plan { stopped: found.stopped, ..nothing(why) });
    };
    for (&i, &j) in core.id.iter().zip(&best.x) {
        choice[i as usize] = j;
    }
    let (cost, quality) = problem.totals(&choice);
    let value = if goal == Goal::Quality { -quality } else { cost };
    let proven = value - 0.1 * OPTIMALITY * value.abs();
    let mut bound = if found.proven { bound.max(proven) } else { bound };
    if goal == Goal::Cost {
        bound = bound.max(0.0);
    }
    if coupled.step() > 0.0 {
        // The optimum lies on the grid, at or above the bound.
        bound = (bound / coupled.step() - 1e-6).ceil() * coupled.step();
    }
    let plan = report(&coupled, &prices, choice, value, bound.min(value));
    Ok(Plan { stopped: plan.status == Status::Feasible && found.stopped, ..plan })
}

/// Limits alone, and more models than a basis of as many rows is good for: a flow by shortest paths.
fn flow(coupled: &Coupled) -> Plan {
    let problem = coupled.problem;
    let (on_cost, on_quality) = coupled.goal.weights();
    let pairs = problem.cost.iter().zip(problem.quality);
    let value = |(&c, &p): (&f64, &f64)| if c < f64::INFINITY { on_cost * c - on_quality * p } else { c };
    let matrix: Vec<f64> = pairs.map(value).collect();
    let mut transport = Transport::new(problem.queries, problem.models, problem.limits);
    if transport.solve(&matrix).is_err() {
        return confined(problem).map_or_else(|| empty(Status::Infeasible), nothing);
    }
    let bound = transport.dual(&matrix);
    let value =
        transport.assignment.iter().enumerate().map(|(i, &j)| matrix[j as usize * problem.queries + i]);
    let value = value.collect::<Sum>().value();
    report(coupled, &transport.price, transport.assignment, value, bound.min(value))
}

/// From the vertex in `simplex` to the best whole plan of the core that can be found, and proven where
/// the core is `all` there is.
fn whole(
    core: &mut Core,
    dual: &Dual,
    step: f64,
    all: bool,
    simplex: &mut Simplex,
    effort: &mut Effort,
) -> Found {
    let mut vertex = Vertex::default();
    simplex.save(&mut vertex);
    let mut best = Some(Column::new(core, simplex.whole(core))).filter(|plan| plan.feasible(core));
    if let Some(plan) = &mut best {
        polish(core, dual, plan, &NEAR);
    }
    let near = |plan: &Column| relative_gap(plan.a + core.fixed, dual.bound + core.fixed) <= OPTIMALITY;
    if best.as_ref().is_some_and(near) {
        return Found { best, proven: false, stopped: false };
    }
    if best.is_none() {
        best = with_margin(core, dual, &vertex, simplex);
    }
    if best.is_none() {
        // A search for a proof meets a plan soon, too.
        simplex.load(&vertex);
        let mut some = Effort { work: REPAIR, watch: None, reported: 0 };
        best = branch(core, simplex, dual.bound, None, step, &mut some).best;
        if let Some(plan) = &mut best {
            polish(core, dual, plan, &NEAR);
        }
    }
    if !all || effort.left() == 0 {
        return Found { best, proven: false, stopped: all };
    }
    // Most proofs are short. A longer one is worth a better plan first: it leaves fewer pairs open.
    let mut short = effort.part(SHORT);
    let given = short.left();
    simplex.load(&vertex);
    let mut found = branch(core, simplex, dual.bound, best, step, &mut short);
    effort.spend(given - short.left());
    if found.proven || effort.left() == 0 {
        return found;
    }
    if let Some(plan) = &mut found.best {
        polish(core, dual, plan, &FAR);
    }
    simplex.load(&vertex);
    branch(core, simplex, dual.bound, found.best, step, effort)
}

/// Where several rows bind, a vertex made whole breaks one or another by a part of a query: it is sought
/// with all needs raised by so much, and then holds the real ones. The best plan over some margins.
fn with_margin(core: &mut Core, dual: &Dual, vertex: &Vertex, simplex: &mut Simplex) -> Option<Column> {
    let mut best: Option<Column> = None;
    let rows = core.rows.clone();
    for margin in MARGINS {
        simplex.load(vertex);
        core.rows.iter_mut().zip(&rows).for_each(|(row, real)| row.need = real.need + margin);
        let solved = simplex.resume(core, STEPS * core.d as u64) == Outcome::Optimal;
        let x = simplex.whole(core);
        core.rows.clone_from(&rows);
        let mut plan = Column::new(core, x);
        if solved && plan.feasible(core) {
            polish(core, dual, &mut plan, &NEAR);
            if best.as_ref().is_none_or(|best| plan.a < best.a) {
                best = Some(plan);
            }
        }
    }
    best
}

/// The best whole plan for a goal, of a problem with limits alone: its summed quality and cost. `None`
/// where there is no plan.
pub(super) fn at_price(
    problem: &Problem,
    goal: Goal,
    workspace: &mut Workspace,
    effort: &mut Effort,
) -> Result<Option<(f64, f64)>> {
    let coupled = Coupled::new(problem, goal);
    let Some(relaxed) = relax(&coupled, &View::of(problem), workspace, effort)? else { return Ok(None) };
    let Relaxed { core, mut choice, .. } = relaxed;
    // Limits alone make a flow: the vertex is whole.
    let x = workspace.simplex.whole(&core);
    core.id.iter().zip(x).for_each(|(&i, j)| choice[i as usize] = j);
    let (cost, quality) = problem.totals(&choice);
    Ok(Some((quality, cost)))
}

/// The optimum of the relaxation, or `None` where it has no solution.
fn relax(
    coupled: &Coupled,
    view: &View,
    workspace: &mut Workspace,
    effort: &mut Effort,
) -> Result<Option<Relaxed>> {
    let k = coupled.rows.len();
    let share = Share::of(coupled, view);
    let mut prices = workspace.newton.prices(coupled, view, &mut workspace.simplex, effort)?;
    if !workspace.newton.fresh {
        sweep(coupled, view, &prices, workspace);
    }
    let used = workspace.newton.sweep.used(&prices);
    let mut wanted = if view.n <= ALL { view.n } else { (CORE * (view.n as f64).sqrt()) as usize };
    let part = |id: Vec<u32>| {
        let used = Some(&used).filter(|_| id.len() < view.n);
        Core::new(coupled, view, &share, id, used)
    };
    let mut core = part(workspace.newton.closest(view, wanted));
    workspace.simplex.start(&core, core.scaled(&prices));
    let mut bound = f64::NEG_INFINITY;
    for _ in 0..ROUNDS {
        effort.tell(Stage::Relaxation)?;
        let limit = STEPS * core.d as u64 + core.n as u64;
        if workspace.simplex.run(&core, limit) == Outcome::Unbounded {
            if core.n == view.n {
                return Ok(None);
            }
            // The core ran out of queries to move, not the problem.
            wanted *= GROWTH;
            core = part(workspace.newton.closest(view, wanted));
            workspace.simplex.start(&core, core.scaled(&prices));
            continue;
        }
        prices = core.unscaled(&workspace.simplex.pi);
        bound = sweep(coupled, view, &prices, workspace);
        if core.n == view.n {
            break;
        }
        let kappa = coupled.weights(&prices[..k], &mut workspace.rho);
        let at = Prices { kappa, rho: &workspace.rho, mu: &prices[k..] };
        let mut open = vec![false; view.n];
        core.id.iter().for_each(|&i| open[i as usize] = true);
        let choices = workspace.newton.sweep.first.iter().zip(&used.choice).enumerate();
        let changed = choices.filter(|&(i, (&now, &before))| {
            now != before && !open[i] && at.value(view, i, now as usize) < at.value(view, i, before as usize)
        });
        let changed: Vec<u32> = changed.map(|(i, _)| i as u32).collect();
        if changed.is_empty() {
            break;
        }
        core = part(core.id.iter().copied().chain(changed).collect());
        workspace.simplex.extend(&core);
    }
    Ok(Some(Relaxed { pi: workspace.simplex.pi.clone(), core, choice: used.choice, bound, prices }))
}

/// One pass at the given prices; the bound they prove.
fn sweep(coupled: &Coupled, view: &View, prices: &[f64], workspace: &mut Workspace) -> f64 {
    let (y, mu) = prices.split_at(coupled.rows.len());
    let kappa = coupled.weights(y, &mut workspace.rho);
    let sweep = &mut workspace.newton.sweep;
    sweep.run(view, &Prices { kappa, rho: &workspace.rho, mu }, &coupled.rows);
    let mut value: Sum = [sweep.value].into_iter().collect();
    let mut terms = sweep.value.abs();
    let rows = coupled.rows.iter().zip(y).map(|(row, y)| y * row.need);
    for term in rows.chain(coupled.limits.iter().zip(mu).map(|(&limit, mu)| -mu * limit as f64)) {
        value.add(term);
        terms += term.abs();
    }
    // Each value carries the rounding of its own terms.
    value.value() - 4.0 * f64::EPSILON * terms
}

/// What keeps a problem from having a solution, and how much is reachable.
fn unreachable(coupled: &Coupled, workspace: &mut Workspace, effort: &mut Effort) -> Result<Infeasible> {
    let problem = coupled.problem;
    let (n, m) = (problem.queries, problem.models);
    if let Some(why) = confined(problem) {
        return Ok(why);
    }
    // Each row by itself next: a clearer reason.
    for row in &coupled.rows {
        let mut transport = Transport::new(n, m, problem.limits);
        let weight = |(at, (&c, &p)): (usize, (&f64, &f64))| {
            if c < f64::INFINITY { -row.weight(c, p, coupled.group(at % n)) } else { c }
        };
        let matrix: Vec<f64> = problem.cost.iter().zip(problem.quality).enumerate().map(weight).collect();
        // The caller has checked that the limits can hold.
        let solved = transport.solve(&matrix);
        debug_assert!(solved.is_ok(), "limits were found feasible before");
        let most = -transport.dual(&matrix);
        if most < row.need {
            return Ok(alone(problem, *row, most));
        }
    }
    // All but a budget scaled down together until a mix of plans meets them.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..FRACTION_BITS {
        let fraction = 0.5 * (low + high);
        let floors: Option<Vec<f64>> =
            problem.groups.map(|groups| groups.floors.iter().map(|floor| floor * fraction).collect());
        let groups =
            problem.groups.zip(floors.as_deref()).map(|(groups, floors)| Groups { floors, ..groups });
        let part =
            Problem { quality_target: problem.quality_target.map(|t| t * fraction), groups, ..*problem };
        let rows = Coupled::new(&part, coupled.goal);
        let meets = relax(&rows, &View::of(&part), workspace, effort)?.is_some();
        if meets { low = fraction } else { high = fraction }
    }
    Ok(Infeasible {
        code: "floors_unreachable",
        reason: format!("no mix of plans meets more than {low:.6} of every floor and target at once"),
        largest: low,
        // One row that a flow does meet: only rounding stands in the way.
        proven: coupled.rows.len() > 1,
    })
}

/// A row that no assignment meets; `most` is the largest sum there is.
fn alone(problem: &Problem, row: Row, most: f64) -> Infeasible {
    let n = problem.queries as f64;
    let (code, reason, largest) = match row.kind {
        Kind::Quality => {
            let (best, target) = (most / n, problem.quality_target.unwrap_or_default());
            (
                "quality_unreachable",
                format!("mean quality {target} is asked for, {best:.6} is the most there is"),
                best,
            )
        }
        Kind::Budget => {
            let budget = problem.budget_usd.unwrap_or_default();
            (
                "budget_unreachable",
                format!("the cheapest plan costs {:.6} USD, the budget is {budget} USD", -most),
                -most,
            )
        }
        Kind::Group(g) => {
            let floor = problem.groups.map_or(1.0, |groups| groups.floors[g as usize]) * row.size as f64;
            let reason = format!("group {g} reaches {:.6} of its floor at most", most / floor);
            ("floors_unreachable", reason, most / floor)
        }
    };
    Infeasible { code, reason, largest, proven: true }
}

fn nothing(why: Infeasible) -> Plan {
    Plan { infeasible: Some(why), ..empty(Status::Infeasible) }
}

fn empty(status: Status) -> Plan {
    Plan {
        status,
        assignment: Vec::new(),
        cost_usd: 0.0,
        quality: 0.0,
        bound: 0.0,
        gap: 0.0,
        duals: Duals::default(),
        stopped: false,
        infeasible: None,
    }
}

/// `(value − bound) / |bound|`, relative to the value where the bound is 0.
fn relative_gap(value: f64, bound: f64) -> f64 {
    let distance = (value - bound).max(0.0);
    let scale = if bound == 0.0 { value.abs() } else { bound.abs() };
    if distance == 0.0 { 0.0 } else { distance / scale }
}

fn report(coupled: &Coupled, prices: &[f64], assignment: Vec<u32>, value: f64, bound: f64) -> Plan {
    let gap = relative_gap(value, bound);
    let (cost_usd, quality) = coupled.problem.totals(&assignment);
    let n = coupled.problem.queries.max(1) as f64;
    Plan {
        status: if gap <= OPTIMALITY { Status::Optimal } else { Status::Feasible },
        assignment,
        cost_usd,
        quality: quality / n,
        bound: if coupled.goal == Goal::Quality { -bound / n } else { bound },
        gap,
        duals: shadow_prices(coupled, prices),
        stopped: false,
        infeasible: None,
    }
}

/// Prices (y, then μ) in the units that [`Duals`] states.
fn shadow_prices(coupled: &Coupled, prices: &[f64]) -> Duals {
    let problem = coupled.problem;
    let price_of = |kind: Kind| {
        let at = coupled.rows.iter().position(|row| row.kind == kind);
        at.map_or(0.0, |at| prices[at])
    };
    // Under a budget, prices come in quality; what a dollar buys turns them into USD.
    let mirrored = coupled.goal == Goal::Quality;
    let usd = match mirrored {
        false => 1.0,
        true if price_of(Kind::Budget) > 0.0 => 1.0 / price_of(Kind::Budget),
        true => 0.0,
    };
    let groups = problem.groups.map_or(&[][..], |groups| groups.floors);
    let mut sizes = vec![0usize; groups.len()];
    problem.groups.into_iter().flat_map(|of| of.of_query).for_each(|&g| sizes[g as usize] += 1);
    let of_quality = if mirrored { usd } else { price_of(Kind::Quality) };
    Duals {
        quality: 0.01 * problem.queries as f64 * of_quality,
        workloads: prices[coupled.rows.len()..].iter().map(|price| price * usd).collect(),
        groups: (0..groups.len())
            .map(|g| 0.01 * sizes[g] as f64 * price_of(Kind::Group(g as u32)) * usd)
            .collect(),
    }
}

/// The prices of the relaxation alone, or why it has no solution.
pub(super) fn duals(
    problem: &Problem,
    workspace: &mut Workspace,
    effort: &mut Effort,
) -> Result<std::result::Result<Duals, Infeasible>> {
    if let Some(why) = unplaceable(problem) {
        return Ok(Err(why));
    }
    let goal = match (problem.quality_target, problem.budget_usd) {
        (None, Some(_)) => Goal::Quality,
        _ => Goal::Cost,
    };
    let coupled = Coupled::new(problem, goal);
    let Some(relaxed) = relax(&coupled, &View::of(problem), workspace, effort)? else {
        return Ok(Err(unreachable(&coupled, workspace, effort)?));
    };
    if let (Goal::Cost, Some(budget)) = (goal, problem.budget_usd)
        && relaxed.bound > budget * (1.0 + FEASIBILITY)
    {
        // What the budget does buy is left to `solve`.
        let reason =
            format!("the target costs at least {:.6} USD, the budget is {budget} USD", relaxed.bound);
        return Ok(Err(Infeasible { code: "budget_too_small", reason, largest: 0.0, proven: true }));
    }
    Ok(Ok(shadow_prices(&coupled, &relaxed.prices)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::{Groups, Options, Solver};

    /// 3 queries, cheap (0.2, 0.4, 0.6 at 1) or dear (0.8 at 2, 3, 4).
    const COST: [f64; 6] = [1.0, 1.0, 1.0, 2.0, 3.0, 4.0];
    const QUALITY: [f64; 6] = [0.2, 0.4, 0.6, 0.8, 0.8, 0.8];

    fn relaxed(problem: &Problem) -> (f64, Vec<f64>) {
        let coupled = Coupled::new(problem, Goal::Cost);
        let mut effort = Effort { work: 0, watch: None, reported: 0 };
        let relaxed = relax(&coupled, &View::of(problem), &mut Workspace::default(), &mut effort);
        let relaxed = relaxed.unwrap().unwrap();
        (relaxed.bound, relaxed.prices)
    }

    #[test]
    fn the_relaxation_ends_on_the_frontier() {
        // From 0.4 (cost 3) the first query gains 0.6/3 for 1, the second 0.4/3 for 2: λ = 5.
        // Not on a grid: 0.45·3 = 1.35 lies 0.15 above the cheapest; a quarter of the first step.
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let problem = Problem { quality_target: Some(0.45 + 1e-7), ..Problem::new(3, 2, &COST, &quality) };
        let (bound, prices) = relaxed(&problem);
        assert!((bound - 3.25).abs() < 1e-9 && (prices[0] - 1.0 / 0.6).abs() < 1e-9, "{bound} {prices:?}");
    }

    #[test]
    fn several_rows_agree_with_one() {
        // A floor on the group of all queries is the target itself; a second, slack row changes nothing.
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let plain = Problem::new(3, 2, &COST, &quality);
        let one = relaxed(&Problem { quality_target: Some(0.55), ..plain });
        let groups = Groups { of_query: &[0, 0, 0], floors: &[0.55] };
        let two = relaxed(&Problem { quality_target: Some(0.3), groups: Some(groups), ..plain });
        assert!((one.0 - two.0).abs() < 1e-9 * one.0 && (one.1[0] - two.1[0] - two.1[1]).abs() < 1e-6);
    }

    #[test]
    fn shadow_prices_are_in_the_units_they_state() {
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let problem = Problem { quality_target: Some(0.45), ..Problem::new(3, 2, &COST, &quality) };
        let plan = Solver::default().solve(&problem, Options::default()).unwrap();
        // λ = 1/0.6 USD per unit of one query's quality; 0.01 of the mean of three is 0.03 units.
        assert!((plan.duals.quality - 0.03 / 0.6).abs() < 1e-9);
        let rich = Problem { quality_target: None, budget_usd: Some(3.5), ..problem };
        let rich = Solver::default().solve(&rich, Options::default()).unwrap();
        assert!((rich.duals.quality - 0.03 / 0.6).abs() < 1e-9, "the mirror image has the same price");
    }
}
