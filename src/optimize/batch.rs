//! The rows that couple all queries: mean quality, budget, group floors.
//!
//! Each coupling row `Σ w_ij x_ij ≥ W` gets a multiplier y ≥ 0; given y, what is left is a
//! transportation problem with costs `a_ij − Σ y·w_ij`, where `a` is the objective (cost, or minus
//! quality under a budget alone). Its value is concave and piecewise linear in y, and each solution
//! is a tangent. With one row, the tangents of a solution that misses W and of one that meets it
//! cross at the next y to try; when the solution there lies on both, it is the optimum. This is
//! exact and ends after finitely many tangents (a dozen in practice), with no step size. With
//! several rows the crossing is a small linear program over the tangents so far (`master`).
//! Transport prices are kept from one y to the next.
//!
//! The best plan is sought from the side that meets the rows (`finish`).

use super::finish::{Dual, Finished, finish};
use super::master::Master;
use super::price::Sum;
use super::transport::Transport;
use super::{Duals, FEASIBILITY, Infeasible, OPTIMALITY, Plan, Problem, Status};

/// Tangents after which a search stops improving its bound. A guard: one row needs some 15.
const MAX_TANGENTS: usize = 400;
/// Two values that agree to this fraction of their terms are equal up to rounding.
const ROUNDING: f64 = 1e-14;
/// With several rows, the relaxation is solved to this relative accuracy.
const MASTER_ACCURACY: f64 = 1e-10;

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
}

/// A problem as transport plus coupling rows.
pub(super) struct Coupled<'a> {
    problem: &'a Problem<'a>,
    /// Maximise quality (the objective is minus quality) instead of minimising cost.
    maximise: bool,
    pub rows: Vec<Row>,
    /// D where every quality is a whole number of 1/D, so that sums of them are too.
    grid: Option<f64>,
}

/// A whole assignment: its objective and the sum of each row.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub a: f64,
    pub w: Vec<f64>,
    pub x: Vec<u32>,
}

impl<'a> Coupled<'a> {
    fn new(problem: &'a Problem<'a>, maximise: bool) -> Self {
        let mut rows = Vec::new();
        if let (true, Some(budget)) = (maximise, problem.budget_usd) {
            rows.push(Row { kind: Kind::Budget, need: -budget * (1.0 + FEASIBILITY) });
        }
        if let (false, Some(target)) = (maximise, problem.quality_target) {
            rows.push(Row { kind: Kind::Quality, need: problem.needed_quality(target) });
        }
        if let Some(groups) = problem.groups {
            let mut sizes = vec![0usize; groups.floors.len()];
            groups.of_query.iter().for_each(|&g| sizes[g as usize] += 1);
            for (g, (floor, size)) in groups.floors.iter().zip(sizes).enumerate() {
                rows.push(Row { kind: Kind::Group(g as u32), need: (floor - FEASIBILITY) * size as f64 });
            }
        }
        // Sums of quality are never negative: such a row says nothing.
        rows.retain(|row| row.kind == Kind::Budget || row.need > 0.0);
        let grid = grid(problem.quality);
        // On a grid a sum that reaches the need reaches the next grid point: a tighter relaxation.
        if let Some(grid) = grid {
            for row in rows.iter_mut().filter(|row| row.kind != Kind::Budget) {
                row.need = (row.need * grid).ceil() / grid - FEASIBILITY * problem.queries as f64;
            }
        }
        Coupled { problem, maximise, rows, grid }
    }

    /// The least by which one plan can be better than another: 0 where values are continuous.
    pub fn step(&self) -> f64 {
        if self.maximise { self.grid.map_or(0.0, |grid| 1.0 / grid) } else { 0.0 }
    }

    /// `a_ij`.
    pub fn objective(&self, i: usize, j: usize) -> f64 {
        let at = j * self.problem.queries + i;
        if self.maximise { -self.problem.quality[at] } else { self.problem.cost[at] }
    }

    /// `w_ij` of one row.
    pub fn weight(&self, row: &Row, i: usize, j: usize) -> f64 {
        let at = j * self.problem.queries + i;
        match row.kind {
            Kind::Quality => self.problem.quality[at],
            Kind::Budget => -self.problem.cost[at],
            Kind::Group(g) if self.group(i) == g => self.problem.quality[at],
            Kind::Group(_) => 0.0,
        }
    }

    fn group(&self, i: usize) -> u32 {
        self.problem.groups.map_or(0, |groups| groups.of_query[i])
    }

    /// An assignment with its sums.
    pub fn column(&self, x: Vec<u32>) -> Column {
        let choice = || x.iter().enumerate().map(|(i, &j)| (i, j as usize));
        let a: Sum = choice().map(|(i, j)| self.objective(i, j)).collect();
        let sum = |row: &Row| choice().map(|(i, j)| self.weight(row, i, j)).collect::<Sum>().value();
        Column { a: a.value(), w: self.rows.iter().map(sum).collect(), x }
    }

    /// Whether the coupling rows hold.
    pub fn feasible(&self, column: &Column) -> bool {
        self.rows.iter().zip(&column.w).all(|(row, &w)| w >= row.need)
    }

    /// `σ·a − Σ y·w` per pair: `κ·c − π·p` with κ for all and π per group.
    fn fill(&self, sigma: f64, y: &[f64], matrix: &mut [f64]) {
        let groups = self.problem.groups.map_or(1, |g| g.floors.len().max(1));
        let (mut kappa, mut pi) =
            if self.maximise { (0.0, vec![sigma; groups]) } else { (sigma, vec![0.0; groups]) };
        for (row, y) in self.rows.iter().zip(y) {
            match row.kind {
                Kind::Quality => pi.iter_mut().for_each(|pi| *pi += y),
                Kind::Budget => kappa += y,
                Kind::Group(g) => pi[g as usize] += y,
            }
        }
        let pairs = self.problem.cost.iter().zip(self.problem.quality);
        // A forbidden pair stays infinite at κ = 0 too, where ∞·0 is no number.
        let priced = |c: f64, p: f64, pi: f64| if c < f64::INFINITY { kappa * c - pi * p } else { c };
        if pi.windows(2).all(|w| w[0] == w[1]) {
            let pi = pi[0];
            matrix.iter_mut().zip(pairs).for_each(|(r, (&c, &p))| *r = priced(c, p, pi));
        } else {
            let n = self.problem.queries;
            for (at, (r, (&c, &p))) in matrix.iter_mut().zip(pairs).enumerate() {
                *r = priced(c, p, pi[self.group(at % n) as usize]);
            }
        }
    }
}

/// The coarsest 1/D of a few usual ones on which all values lie: retrieval from 16 neighbours gives
/// sixteenths, people write percent.
fn grid(values: &[f64]) -> Option<f64> {
    let on = |d: f64| values.iter().all(|v| ((v * d).round() - v * d).abs() <= 1e-12);
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 32.0, 50.0, 64.0, 100.0, 128.0, 256.0, 1000.0]
        .into_iter()
        .find(|&d| on(d))
}

/// The dual search and the best it has proven.
struct Relaxation<'a> {
    coupled: &'a Coupled<'a>,
    transport: Transport,
    matrix: Vec<f64>,
    /// Best multipliers, their transport prices, and the bound they prove.
    y: Vec<f64>,
    price: Vec<f64>,
    bound: f64,
    /// The cheapest solution met that holds all rows.
    incumbent: Option<Column>,
}

impl<'a> Relaxation<'a> {
    fn new(coupled: &'a Coupled<'a>) -> Self {
        let problem = coupled.problem;
        Relaxation {
            coupled,
            transport: Transport::new(problem.queries, problem.models, problem.limits),
            matrix: vec![0.0; problem.cost.len()],
            y: vec![0.0; coupled.rows.len()],
            price: vec![0.0; problem.models],
            bound: f64::NEG_INFINITY,
            incumbent: None,
        }
    }

    /// The transport optimum for `σ·a − Σ y·w`, and its value by the dual. At σ = 1 the value plus
    /// `Σ y·W` is a bound on the problem.
    fn evaluate(&mut self, sigma: f64, y: &[f64]) -> (Column, f64) {
        self.coupled.fill(sigma, y, &mut self.matrix);
        // The caller has checked that the limits can hold.
        let solved = self.transport.solve(&self.matrix);
        debug_assert!(solved.is_ok(), "limits were found feasible before");
        let mut value: Sum = [self.transport.dual(&self.matrix)].into_iter().collect();
        let column = self.coupled.column(self.transport.assignment.clone());
        if sigma == 1.0 {
            self.coupled.rows.iter().zip(y).for_each(|(row, y)| value.add(y * row.need));
            if value.value() > self.bound {
                self.bound = value.value();
                self.y.copy_from_slice(y);
                self.price.copy_from_slice(&self.transport.price);
            }
        }
        self.offer(&column);
        (column, value.value())
    }

    fn offer(&mut self, column: &Column) {
        let better = self.incumbent.as_ref().is_none_or(|best| column.a < best.a);
        if better && self.coupled.feasible(column) {
            self.incumbent = Some(column.clone());
        }
    }

    /// One row: tangents from both sides until they meet. `Err` holds the most the row can reach.
    fn tangents(&mut self) -> Result<Column, f64> {
        let need = self.coupled.rows[0].need;
        let (mut low, _) = self.evaluate(1.0, &[0.0]);
        if low.w[0] >= need {
            return Ok(low);
        }
        let cheapest = self.transport.price.clone();
        let (mut high, most) = self.evaluate(0.0, &[1.0]);
        if high.w[0] < need {
            // −most is what the prices prove; the solution attains it up to rounding.
            debug_assert!(-most < need + ROUNDING * need.abs().max(1.0) * 1e3);
            return Err(high.w[0]);
        }
        self.transport.price.copy_from_slice(&cheapest);
        for _ in 0..MAX_TANGENTS {
            let y = (high.a - low.a) / (high.w[0] - low.w[0]);
            if !(y.is_finite() && y >= 0.0) {
                break;
            }
            let (column, _) = self.evaluate(1.0, &[y]);
            // Where the two tangents cross; no solution lies above.
            let crossing = high.a - y * (high.w[0] - need);
            let value = column.a - y * (column.w[0] - need);
            let terms = high.a.abs() + y * (high.w[0].abs() + need.abs());
            if value >= crossing - ROUNDING * terms {
                break;
            }
            let side = if column.w[0] >= need { &mut high } else { &mut low };
            if side.w == column.w && side.a == column.a {
                break;
            }
            *side = column;
        }
        Ok(high)
    }

    /// Several rows: the largest t ≤ 1 such that a mix of assignments meets t times every row (the
    /// budget in full). `Err(t)` proves that no mix meets all rows.
    fn reachable(&mut self, pool: &mut Vec<Column>) -> Result<(), f64> {
        let rows = &self.coupled.rows;
        let scale: Vec<f64> = rows.iter().map(|row| row.need.abs().max(f64::MIN_POSITIVE)).collect();
        let fixed = |row: &Row| row.kind == Kind::Budget;
        // Surplus over t·need, in units of the need, without the part that t carries.
        let surplus = |column: &Column| -> Vec<f64> {
            let one =
                |(r, row): (usize, &Row)| (column.w[r] - if fixed(row) { row.need } else { 0.0 }) / scale[r];
            rows.iter().enumerate().map(one).collect()
        };
        let mut master = Master::new(0.0, &surplus(&pool[0]), 1e6);
        pool[1..].iter().for_each(|column| master.add(0.0, &surplus(column)));
        master
            .add_free(-1.0, &rows.iter().map(|row| if fixed(row) { 0.0 } else { -1.0 }).collect::<Vec<_>>());
        let mut reached = 0.0;
        for _ in 0..MAX_TANGENTS {
            let Some(optimum) = master.solve() else { break };
            reached = -optimum.value;
            if reached >= 1.0 {
                return Ok(());
            }
            let free: f64 = rows.iter().zip(&optimum.y).filter(|(row, _)| !fixed(row)).map(|(_, y)| y).sum();
            if free <= 0.0 {
                break;
            }
            // Σ y = 1 over the rows that t scales, so that t cancels from the Lagrangian.
            let y: Vec<f64> = optimum.y.iter().zip(&scale).map(|(y, s)| y / free / s).collect();
            let (column, value) = self.evaluate(0.0, &y);
            let budget: f64 =
                rows.iter().zip(&y).filter(|(row, _)| fixed(row)).map(|(row, y)| y * row.need).sum();
            let most = -(value + budget);
            if most < 1.0 - ROUNDING * 1e2 && most <= reached + MASTER_ACCURACY {
                return Err(reached);
            }
            let old = most <= reached + MASTER_ACCURACY * 1e-2;
            master.add(0.0, &surplus(&column));
            pool.push(column);
            if old {
                break; // within rounding of t = 1: let the main search decide
            }
        }
        if reached < 1.0 - 1e-9 { Err(reached) } else { Ok(()) }
    }

    /// Several rows: the optimum of the relaxation, from a pool of assignments whose mixes can meet
    /// all rows. Leaves the best multipliers and their bound in `self`.
    fn decompose(&mut self, pool: &[Column]) {
        let rows = &self.coupled.rows;
        let scale: Vec<f64> = rows.iter().map(|row| row.need.abs().max(f64::MIN_POSITIVE)).collect();
        let surplus = |column: &Column| -> Vec<f64> {
            rows.iter().zip(&scale).zip(&column.w).map(|((row, scale), w)| (w - row.need) / scale).collect()
        };
        let range = pool.iter().map(|column| column.a.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let mut master = Master::new(pool[0].a, &surplus(&pool[0]), 1e6 * range);
        pool[1..].iter().for_each(|column| master.add(column.a, &surplus(column)));
        for _ in 0..MAX_TANGENTS {
            let Some(optimum) = master.solve() else { break };
            if optimum.value - self.bound <= MASTER_ACCURACY * optimum.value.abs() {
                break;
            }
            let corner: Vec<f64> = optimum.y.iter().zip(&scale).map(|(y, scale)| y / scale).collect();
            // Halfway to the best prices so far first: the corner of the tangents alone overshoots.
            // Should the tangent there not cut the corner off, the corner itself is evaluated.
            let halfway: Vec<f64> = self.y.iter().zip(&corner).map(|(a, b)| 0.5 * (a + b)).collect();
            let mut progress = false;
            for y in [&halfway, &corner] {
                let (column, _) = self.evaluate(1.0, y);
                let surplus = surplus(&column);
                let priced: f64 = surplus.iter().zip(&optimum.y).map(|(v, y)| v * y).sum();
                // A new column must undercut the mix by more than rounding.
                if column.a - priced < optimum.eta - MASTER_ACCURACY * 1e-2 * optimum.value.abs() {
                    master.add(column.a, &surplus);
                    progress = true;
                    break;
                }
            }
            if !progress {
                break;
            }
        }
    }
}

/// Plans a batch whose arrays are valid.
pub(super) fn solve(problem: &Problem) -> Plan {
    if let Some(why) = unplaceable(problem) {
        return nothing(why);
    }
    let (Some(budget), Some(target)) = (problem.budget_usd, problem.quality_target) else {
        return optimise(problem, problem.budget_usd.is_some());
    };
    // Least cost first; the budget then either holds or not.
    let within = |cost: f64| cost <= budget * (1.0 + FEASIBILITY);
    let mut plan = optimise(problem, false);
    if plan.status == Status::Infeasible || within(plan.cost_usd) {
        return plan;
    }
    // The most quality within the budget says what is reachable, and may itself be a plan.
    let rich = optimise(&Problem { quality_target: None, ..*problem }, true);
    if rich.status == Status::Infeasible {
        return rich;
    }
    if problem.broken(&rich.assignment).is_none() {
        let gap = relative_gap(rich.cost_usd, plan.bound);
        let status = if gap <= OPTIMALITY { Status::Optimal } else { Status::Feasible };
        return Plan { status, gap, bound: plan.bound, duals: plan.duals, ..rich };
    }
    plan = nothing(Infeasible {
        code: "budget_too_small",
        reason: format!(
            "mean quality {target} costs at least {:.6} USD, the budget is {budget} USD; it buys mean quality {:.6}",
            plan.bound, rich.quality
        ),
        largest: rich.quality,
        proven: !within(plan.bound) || rich.bound < target - FEASIBILITY,
    });
    plan
}

/// Why not every query can be placed at all, whatever it costs.
fn unplaceable(problem: &Problem) -> Option<Infeasible> {
    let (n, m) = (problem.queries, problem.models);
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
    if problem.cost.iter().all(|c| c.is_finite()) {
        return None;
    }
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

/// Solves with one objective; every query is known to have a place.
fn optimise(problem: &Problem, maximise: bool) -> Plan {
    let coupled = Coupled::new(problem, maximise);
    let mut relaxation = Relaxation::new(&coupled);
    let anchor = match coupled.rows.len() {
        0 => Ok(relaxation.evaluate(1.0, &[]).0),
        1 => relaxation.tangents().map_err(|most| unreachable(problem, coupled.rows[0], most)),
        _ => several(&mut relaxation),
    };
    let anchor = match anchor {
        Ok(anchor) => anchor,
        Err(why) => return nothing(why),
    };
    let incumbent = relaxation.incumbent.take();
    let open = incumbent.as_ref().is_none_or(|plan| relative_gap(plan.a, relaxation.bound) > OPTIMALITY);
    let mut finished = Finished { best: incumbent, proven: false };
    if open {
        coupled.fill(1.0, &relaxation.y, &mut relaxation.matrix);
        let dual = Dual { matrix: &relaxation.matrix, price: &relaxation.price, bound: relaxation.bound };
        finished = finish(&coupled, relaxation.transport.limits(), &dual, &anchor, finished.best);
    }
    let Some(best) = finished.best else {
        return nothing(Infeasible {
            code: "floors_unreachable",
            reason: "the floors can be met on average of several plans, but no single plan was found".into(),
            largest: 1.0,
            proven: finished.proven,
        });
    };
    let proven = best.a - 0.1 * OPTIMALITY * best.a.abs();
    let mut bound = if finished.proven { relaxation.bound.max(proven) } else { relaxation.bound };
    if coupled.step() > 0.0 {
        // The optimum lies on the grid, at or above the bound.
        bound = (bound / coupled.step() - 1e-6).ceil() * coupled.step();
    }
    report(&coupled, &relaxation, &best, bound.min(best.a))
}

/// Several rows: what is reachable, then the relaxation; its transport optimum need not meet all rows.
fn several(relaxation: &mut Relaxation) -> Result<Column, Infeasible> {
    let coupled = relaxation.coupled;
    let (problem, rows) = (coupled.problem, &coupled.rows);
    let mut pool = vec![relaxation.evaluate(1.0, &vec![0.0; rows.len()]).0];
    // Each row by itself first: a clearer reason, and its best assignment for the pool.
    for (r, row) in rows.iter().enumerate() {
        let y: Vec<f64> = (0..rows.len()).map(|k| (k == r) as u8 as f64).collect();
        let (column, _) = relaxation.evaluate(0.0, &y);
        if column.w[r] < row.need {
            return Err(unreachable(problem, *row, column.w[r]));
        }
        // The master starts from an assignment within the budget.
        let at = if row.kind == Kind::Budget { 0 } else { pool.len() };
        pool.insert(at, column);
    }
    relaxation.reachable(&mut pool).map_err(|t| Infeasible {
        code: "floors_unreachable",
        reason: format!("no mix of plans meets more than {t:.6} of every floor and target at once"),
        largest: t,
        proven: true,
    })?;
    relaxation.decompose(&pool);
    let best = relaxation.y.clone();
    Ok(relaxation.evaluate(1.0, &best).0)
}

/// A row that no assignment meets; `most` is the largest sum there is.
fn unreachable(problem: &Problem, row: Row, most: f64) -> Infeasible {
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
            let reason = format!("group {g} reaches {:.6} of its floor at most", most / row.need);
            ("floors_unreachable", reason, most / row.need)
        }
    };
    Infeasible { code, reason, largest, proven: true }
}

fn nothing(why: Infeasible) -> Plan {
    Plan {
        status: Status::Infeasible,
        assignment: Vec::new(),
        cost_usd: 0.0,
        quality: 0.0,
        bound: 0.0,
        gap: 0.0,
        duals: Duals::default(),
        infeasible: Some(why),
    }
}

/// `(value − bound) / |bound|`, relative to the value where the bound is 0.
fn relative_gap(value: f64, bound: f64) -> f64 {
    let distance = (value - bound).max(0.0);
    let scale = if bound == 0.0 { value.abs() } else { bound.abs() };
    if distance == 0.0 { 0.0 } else { distance / scale }
}

fn report(coupled: &Coupled, relaxation: &Relaxation, best: &Column, bound: f64) -> Plan {
    let problem = coupled.problem;
    let gap = relative_gap(best.a, bound);
    let (cost_usd, quality) = problem.totals(&best.x);
    let n = problem.queries.max(1) as f64;
    let price_of = |kind: Kind| {
        let at = coupled.rows.iter().position(|row| row.kind == kind);
        at.map_or(0.0, |at| relaxation.y[at])
    };
    // Under a budget, prices come in quality; what a dollar buys turns them into USD.
    let usd = match coupled.maximise {
        false => 1.0,
        true if price_of(Kind::Budget) > 0.0 => 1.0 / price_of(Kind::Budget),
        true => 0.0,
    };
    let groups = problem.groups.map_or(&[][..], |groups| groups.floors);
    let size =
        |g: usize| problem.groups.map_or(0, |of| of.of_query.iter().filter(|&&x| x as usize == g).count());
    let of_quality = if coupled.maximise { usd } else { price_of(Kind::Quality) };
    Plan {
        status: if gap <= OPTIMALITY { Status::Optimal } else { Status::Feasible },
        assignment: best.x.clone(),
        cost_usd,
        quality: quality / n,
        bound: if coupled.maximise { -bound / n } else { bound },
        gap,
        duals: Duals {
            quality: 0.01 * n * of_quality,
            workloads: relaxation.price.iter().map(|price| price * usd).collect(),
            groups: (0..groups.len())
                .map(|g| 0.01 * size(g) as f64 * price_of(Kind::Group(g as u32)) * usd)
                .collect(),
        },
        infeasible: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::Groups;

    /// 3 queries, cheap (0.2, 0.4, 0.6 at 1) or dear (0.8 at 2, 3, 4).
    const COST: [f64; 6] = [1.0, 1.0, 1.0, 2.0, 3.0, 4.0];
    const QUALITY: [f64; 6] = [0.2, 0.4, 0.6, 0.8, 0.8, 0.8];

    fn relax(problem: &Problem) -> (f64, Vec<f64>) {
        let coupled = Coupled::new(problem, problem.quality_target.is_none() && problem.budget_usd.is_some());
        let mut relaxation = Relaxation::new(&coupled);
        if coupled.rows.len() == 1 {
            relaxation.tangents().unwrap();
        } else {
            several(&mut relaxation).unwrap();
        }
        (relaxation.bound, relaxation.y)
    }

    #[test]
    fn tangents_end_on_the_frontier_of_the_relaxation() {
        // From 0.4 (cost 3) the first query gains 0.6/3 for 1, the second 0.4/3 for 2: λ = 5.
        // Not on a grid: 0.45·3 = 1.35 lies 0.15 above the cheapest; a quarter of the first step.
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let problem = Problem { quality_target: Some(0.45 + 1e-7), ..Problem::new(3, 2, &COST, &quality) };
        let (bound, y) = relax(&problem);
        assert!((bound - 3.25).abs() < 1e-9 && (y[0] - 1.0 / 0.6).abs() < 1e-9, "{bound} {y:?}");
    }

    #[test]
    fn a_grid_raises_the_need_to_what_whole_plans_can_reach() {
        // Tenths: a sum of at least 1.35 of fifths is at least 1.4.
        let problem = Problem { quality_target: Some(0.45), ..Problem::new(3, 2, &COST, &QUALITY) };
        let coupled = Coupled::new(&problem, false);
        assert!((coupled.rows[0].need - 1.4).abs() < 1e-9);
        assert_eq!(grid(&[0.25, 0.5625]), Some(16.0));
        assert_eq!(grid(&[0.25, 0.123_456_789]), None);
    }

    #[test]
    fn several_rows_agree_with_one() {
        // A floor on the group of all queries is the target itself; a second, slack row changes nothing.
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let plain = Problem::new(3, 2, &COST, &quality);
        let one = relax(&Problem { quality_target: Some(0.55), ..plain });
        let groups = Groups { of_query: &[0, 0, 0], floors: &[0.55] };
        let two = relax(&Problem { quality_target: Some(0.3), groups: Some(groups), ..plain });
        assert!((one.0 - two.0).abs() < 1e-9 * one.0 && (one.1[0] - two.1.iter().sum::<f64>()).abs() < 1e-6);
    }

    #[test]
    fn shadow_prices_are_in_the_units_they_state() {
        let quality: Vec<f64> = QUALITY.iter().map(|p| p + 1e-7).collect();
        let problem = Problem { quality_target: Some(0.45), ..Problem::new(3, 2, &COST, &quality) };
        let plan = solve(&problem);
        // λ = 1/0.6 USD per unit of one query's quality; 0.01 of the mean of three is 0.03 units.
        assert!((plan.duals.quality - 0.03 / 0.6).abs() < 1e-9);
        let rich = solve(&Problem { quality_target: None, budget_usd: Some(3.5), ..problem });
        assert!((rich.duals.quality - 0.03 / 0.6).abs() < 1e-9, "the mirror image has the same price");
    }
}
