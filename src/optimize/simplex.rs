//! The exact optimum of the linear relaxation of a core: a dual simplex method that starts at any prices.
//!
//! With one column per pair and the rule that a query's shares sum to 1 (a generalised upper
//! bound), a basis is one key model per query and d more columns for the d rows: ties (a second model
//! of a query), slacks, or, at first, pins that hold a price where the start put it. In terms of the
//! dual `D(π) = Σ_q min_j v_qj − b·π` a basis is a vertex: at its ties two models are equal, at its
//! slacks a price is 0. A basic column whose value is out of range names a direction in which D
//! rises while all other ties stay tight; the step is an exact line search over the breakpoints where
//! queries change model (the long-step rule), so one step may move many queries. Pins leave first
//! chance and never return. O(n·m + d²) a step, and some 3 d steps from good prices.
//!
//! Sources: Dantzig, Van Slyke, *Generalized upper bounding techniques* (1967); Forrest, Goldfarb,
//! *Steepest-edge simplex algorithms for linear programming* (1992), whose norms are computed afresh
//! here because d is small; Kostina, *The long step rule in the bounded-variable dual simplex method*
//! (2002).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::core::{Core, NO_ROW, PERTURBATION};
use super::price::Sum;
use super::values::{Pairs, Terms, add_column, closest, terms};

/// Values of basic columns may be out of range by this much (shares of a query, slots).
const RANGE: f64 = 1e-9;
/// A breakpoint counts when it closes at more than this fraction of the fastest rate there could be.
const RATE: f64 = 1e-9;
/// Steps after which the inverse is computed afresh.
const REFRESH: u32 = 60;
/// An optimum reached so soon after that needs no check.
const CONFIRM: u32 = 16;

/// A basic column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    /// The slack of a row, whose price is 0.
    Slack(u32),
    /// The price of a row is held where it started.
    Pin(u32),
    /// A query's share on a model equal to its key.
    Tie { query: u32, model: u32 },
}

impl Basic {
    fn query(self) -> u32 {
        match self {
            Basic::Tie { query, .. } => query,
            Basic::Slack(_) | Basic::Pin(_) => u32::MAX,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Optimal,
    /// D rises for ever: the core has no solution.
    Unbounded,
    /// The limit on steps, or rounding, came first.
    Stopped,
}

/// What a branch must restore.
#[derive(Clone, Default)]
pub(super) struct Vertex {
    pi: Vec<f64>,
    key: Vec<u32>,
    basis: Vec<Basic>,
    inverse: Vec<f64>,
    rest: Vec<f64>,
    age: u32,
}

/// A vertex and the workspace.
#[derive(Clone, Default)]
pub(super) struct Simplex {
    d: usize,
    /// Prices of the rows.
    pub pi: Vec<f64>,
    /// Key model per query.
    pub key: Vec<u32>,
    basis: Vec<Basic>,
    /// The query of each basic tie; `u32::MAX` for the others.
    query: Vec<u32>,
    /// Inverse of the basis, row-major.
    inverse: Vec<f64>,
    /// What the keys leave of the right-hand sides.
    rest: Vec<f64>,
    /// Values of the basic columns.
    theta: Vec<f64>,
    // Workspace.
    key_before: Vec<u32>,
    rho: Vec<f64>,
    rho_now: Vec<f64>,
    turn: Vec<f64>,
    tied: Vec<u32>,
    column: Vec<f64>,
    alpha: Vec<f64>,
    pivot: Vec<f64>,
    /// μ and its rate per model.
    slots: Vec<(f64, f64)>,
    now: Vec<f64>,
    rate: Vec<f64>,
    /// `v` of all pairs and its rate along the step.
    values: Vec<f64>,
    rates: Vec<f64>,
    rho_of: Vec<f64>,
    turn_of: Vec<f64>,
    nearest: Vec<f64>,
    model: Vec<f64>,
    heap: BinaryHeap<Break>,
    age: u32,
    pub steps: u64,
}

/// Query q changes to a model at distance t.
#[derive(Clone, Copy, PartialEq)]
struct Break {
    t: f64,
    q: u32,
    model: u32,
}

impl Eq for Break {}

impl Ord for Break {
    fn cmp(&self, other: &Self) -> Ordering {
        other.t.total_cmp(&self.t).then(other.q.cmp(&self.q))
    }
}

impl PartialOrd for Break {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Simplex {
    /// The vertex, to be restored by [`Simplex::load`].
    pub fn save(&self, to: &mut Vertex) {
        to.pi.clone_from(&self.pi);
        to.key.clone_from(&self.key);
        to.basis.clone_from(&self.basis);
        to.inverse.clone_from(&self.inverse);
        to.rest.clone_from(&self.rest);
        to.age = self.age;
    }

    pub fn load(&mut self, from: &Vertex) {
        self.pi.clone_from(&from.pi);
        self.key.clone_from(&from.key);
        self.basis.clone_from(&from.basis);
        self.query.clear();
        self.query.extend(from.basis.iter().map(|basic| basic.query()));
        self.inverse.clone_from(&from.inverse);
        self.rest.clone_from(&from.rest);
        self.age = from.age;
    }

    /// Starts at prices `pi` (per row of the core) with every price above 0 pinned.
    pub fn start(&mut self, core: &Core, pi: Vec<f64>) {
        let d = core.d;
        self.d = d;
        let pin =
            |(r, &pi): (usize, &f64)| if pi > 0.0 { Basic::Pin(r as u32) } else { Basic::Slack(r as u32) };
        self.basis.clear();
        self.basis.extend(pi.iter().enumerate().map(pin));
        self.query.clear();
        self.query.resize(d, u32::MAX);
        self.pi = pi;
        self.inverse.clear();
        self.inverse.resize(d * d, 0.0);
        (0..d).for_each(|r| self.inverse[r * d + r] = 1.0);
        self.key.clear();
        self.extend(core);
        self.age = 0;
    }

    /// Gives queries that joined the core their best model.
    pub fn extend(&mut self, core: &Core) {
        let at = terms(core, 1.0, &self.pi, &mut self.rho);
        for q in self.key.len()..core.n {
            let (mut key, mut least) = (0, f64::INFINITY);
            for j in 0..core.m {
                let value = at.of(core, q, j);
                if value < least {
                    (key, least) = (j as u32, value);
                }
            }
            self.key.push(key);
        }
        self.recount(core);
    }

    /// What the keys leave of the right-hand sides, summed afresh.
    fn recount(&mut self, core: &Core) {
        let k = core.rows.len();
        self.rest.clear();
        self.rest.resize(core.d, 0.0);
        for (rest, row) in self.rest.iter_mut().zip(&core.rows) {
            *rest = -row.need;
        }
        for (j, &row) in core.row_of.iter().enumerate().filter(|(_, row)| **row != NO_ROW) {
            self.rest[row as usize] = core.limits[j];
        }
        let mut sums = vec![Sum::default(); k];
        for (q, &j) in self.key.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&core.rows) {
                sum.add(core.weight(row, q, j as usize));
            }
            if core.row_of[j as usize] != NO_ROW {
                self.rest[core.row_of[j as usize] as usize] -= 1.0;
            }
        }
        self.rest.iter_mut().zip(&sums).for_each(|(rest, sum)| *rest += sum.value());
    }

    /// Goes on after the right-hand sides of the core have changed.
    pub fn resume(&mut self, core: &Core, limit: u64) -> Outcome {
        self.recount(core);
        self.run(core, limit)
    }

    /// Steps to the optimum.
    pub fn run(&mut self, core: &Core, limit: u64) -> Outcome {
        for _ in 0..limit {
            if self.age >= REFRESH && !self.refresh(core) {
                return Outcome::Stopped;
            }
            self.values();
            let Some((r, sign)) = self.leaving(core) else {
                if self.age < CONFIRM {
                    return Outcome::Optimal;
                }
                // Once more with an inverse free of drift.
                if !self.refresh(core) {
                    return Outcome::Stopped;
                }
                continue;
            };
            self.steps += 1;
            match self.step(core, r, sign) {
                Some(true) => {}
                Some(false) if self.age == 0 => return Outcome::Unbounded,
                Some(false) => {
                    // Rounding must not prove a problem infeasible: back to where the step began, afresh.
                    self.key.clone_from(&self.key_before);
                    if !self.refresh(core) {
                        return Outcome::Stopped;
                    }
                }
                None => {
                    if self.age == 0 || !self.refresh(core) {
                        return Outcome::Stopped;
                    }
                }
            }
        }
        Outcome::Stopped
    }

    /// From the optimum to a whole choice of the same reduced cost, 0: the slacks of all coupling rows
    /// are brought in one by one, which raises the rows above their needs; what then remains basic is
    /// a flow, and flows are integral. Where another row would break, shares are rounded.
    pub fn whole(&mut self, core: &Core) -> Vec<u32> {
        let k = core.rows.len();
        for _ in 0..2 * k {
            self.values();
            let basic = |row: u32| self.basis.contains(&Basic::Slack(row));
            let Some(row) = (0..k as u32).find(|&row| !basic(row)) else { break };
            if !self.raise(core, row) {
                break;
            }
        }
        self.values();
        let mut x = self.key.clone();
        let mut most: Vec<(u32, f64)> = Vec::new();
        for (basic, &theta) in self.basis.iter().zip(&self.theta) {
            let Basic::Tie { query, model } = *basic else { continue };
            let rest = 1.0 - self.ties(query).map(|t| self.theta[t]).sum::<f64>();
            let best = most.iter().find(|(q, _)| *q == query).map_or(rest, |(_, best)| *best);
            if theta > best {
                most.retain(|(q, _)| *q != query);
                most.push((query, theta));
                x[query as usize] = model;
            }
        }
        x
    }

    /// The bound that the prices prove on the core's objective.
    pub fn bound(&mut self, core: &Core) -> f64 {
        let mut rho = std::mem::take(&mut self.rho);
        let at = terms(core, 1.0, &self.pi, &mut rho);
        let least = |q: usize| (0..core.m).map(|j| at.of(core, q, j)).fold(f64::INFINITY, f64::min);
        let mut value: Sum = (0..core.n).map(least).collect();
        core.rows.iter().zip(&self.pi).for_each(|(row, y)| value.add(y * row.need));
        for (j, &row) in core.row_of.iter().enumerate().filter(|(_, row)| **row != NO_ROW) {
            value.add(-self.pi[row as usize] * core.limits[j]);
        }
        self.rho = rho;
        // The perturbation may have raised it by so much.
        value.value() - core.n as f64 * PERTURBATION
    }

    /// The query of each basic tie; `u32::MAX` for other basic columns.
    pub fn tied_queries(&self) -> &[u32] {
        &self.query
    }

    /// The split query to branch on, and the model of its largest share.
    pub fn split(&mut self, core: &Core) -> Option<(u32, u32)> {
        self.values();
        let mut most = (0.0, None);
        for (r, basic) in self.basis.iter().enumerate() {
            let Basic::Tie { query, .. } = *basic else { continue };
            if self.ties(query).next() != Some(r) {
                continue;
            }
            let key = 1.0 - self.ties(query).map(|t| self.theta[t]).sum::<f64>();
            let mut largest = (key, self.key[query as usize]);
            let here = core.objective(query as usize, largest.1 as usize);
            let mut apart = 0.0f64;
            for t in self.ties(query) {
                let Basic::Tie { model, .. } = self.basis[t] else { continue };
                apart = apart.max((core.objective(query as usize, model as usize) - here).abs());
                if self.theta[t] > largest.0 {
                    largest = (self.theta[t], model);
                }
            }
            // Split widely, and between models that differ: that moves the bound most.
            let score = (1.0 - largest.0) * (apart + f64::MIN_POSITIVE);
            if largest.0 < 1.0 - 1e-7 && score > most.0 {
                most = (score, Some((query, largest.1)));
            }
        }
        if most.1.is_none() {
            // Whole: the keys become the choice.
            for r in 0..self.d {
                if let Basic::Tie { query, model } = self.basis[r]
                    && self.theta[r] > 0.5
                {
                    self.key[query as usize] = model;
                }
            }
        }
        most.1
    }

    /// Gives a query whose key was closed another one.
    pub fn expel(&mut self, core: &Core, query: u32) {
        let q = query as usize;
        if core.is_open(q, self.key[q] as usize) {
            return;
        }
        self.values();
        let tie = self.open_ties(core, query).max_by(|&a, &b| self.theta[a].total_cmp(&self.theta[b]));
        if let Some(r) = tie {
            self.rekey(core, r);
            return;
        }
        let mut rho = std::mem::take(&mut self.rho);
        let at = terms(core, 1.0, &self.pi, &mut rho);
        let values = (0..core.m).map(|j| at.of(core, q, j));
        let best = values
            .enumerate()
            .fold((0, f64::INFINITY), |best, (j, v)| if v < best.1 { (j, v) } else { best })
            .0;
        self.rho = rho;
        add_column(core, q, self.key[q] as usize, 1.0, &mut self.rest);
        add_column(core, q, best, -1.0, &mut self.rest);
        // Ties of the query were relative to the old key: all are closed and must be computed anew.
        self.key[q] = best as u32;
        self.refresh(core);
    }

    /// Follows the queries of a core into a part of it.
    pub fn rename(&mut self, part: &Core) {
        let mut to = vec![u32::MAX; self.key.len()];
        part.id.iter().enumerate().for_each(|(at, &q)| to[q as usize] = at as u32);
        for basic in &mut self.basis {
            if let Basic::Tie { query, .. } = basic {
                *query = to[*query as usize];
            }
        }
        self.query.clear();
        self.query.extend(self.basis.iter().map(|basic| basic.query()));
        self.key = part.id.iter().map(|&q| self.key[q as usize]).collect();
        self.recount(part);
    }

    /// Closes the pairs whose reduced cost reaches `gap`: none is in a plan better by so much. Returns what
    /// their offsets were.
    pub fn close(&mut self, core: &mut Core, gap: f64) -> Vec<(u32, f64)> {
        let mut rho = std::mem::take(&mut self.rho);
        let at = terms(core, 1.0, &self.pi, &mut rho);
        let mut closing = Vec::new();
        for (q, &key) in self.key.iter().enumerate() {
            let least = at.of(core, q, key as usize);
            for j in (0..core.m).filter(|&j| core.is_open(q, j)) {
                let basic = Basic::Tie { query: q as u32, model: j as u32 };
                if at.of(core, q, j) - least >= gap + PERTURBATION && !self.basis.contains(&basic) {
                    closing.push(((j * core.n + q) as u32, core.offset[j * core.n + q]));
                }
            }
        }
        for &(pair, _) in &closing {
            core.offset[pair as usize] = f64::INFINITY;
        }
        self.rho = rho;
        closing
    }

    /// Brings the slack of a row into the basis and keeps all values in range.
    fn raise(&mut self, core: &Core, row: u32) -> bool {
        let d = self.d;
        let alpha: Vec<f64> = (0..d).map(|r| self.inverse[r * d + row as usize]).collect();
        let mut stop = (f64::INFINITY, usize::MAX, false);
        for r in 0..d {
            // A pin stays at 0: it gives way at once.
            let pin = matches!(self.basis[r], Basic::Pin(_));
            if alpha[r] > 1e-9 || pin && alpha[r] < -1e-9 {
                let t = if pin { 0.0 } else { self.theta[r].max(0.0) / alpha[r] };
                if t < stop.0 {
                    stop = (t, r, false);
                }
            }
            let Basic::Tie { query, .. } = self.basis[r] else { continue };
            if self.ties(query).next() == Some(r) {
                let sum: f64 = self.ties(query).map(|t| alpha[t]).sum();
                let key = 1.0 - self.ties(query).map(|t| self.theta[t]).sum::<f64>();
                if sum < -1e-9 && key.max(0.0) / -sum < stop.0 {
                    stop = (key.max(0.0) / -sum, r, true);
                }
            }
        }
        let (_, r, is_key) = stop;
        if r == usize::MAX {
            return false;
        }
        if is_key {
            self.rekey(core, r);
        }
        self.enter(core, r, Basic::Slack(row))
    }

    /// θ = B⁻¹·rest.
    fn values(&mut self) {
        self.theta.clear();
        for row in self.inverse.chunks_exact(self.d.max(1)) {
            self.theta.push(row.iter().zip(&self.rest).map(|(a, b)| a * b).sum());
        }
    }

    /// Positions of the ties of a query.
    fn ties(&self, query: u32) -> impl Iterator<Item = usize> + '_ {
        self.query.iter().enumerate().filter(move |(_, q)| **q == query).map(|(r, _)| r)
    }

    /// Positions of the ties of a query that no branch has closed.
    fn open_ties<'a>(&'a self, core: &'a Core, query: u32) -> impl Iterator<Item = usize> + 'a {
        let open = move |r: &usize| match self.basis[*r] {
            Basic::Tie { model, .. } => core.is_open(query as usize, model as usize),
            Basic::Slack(_) | Basic::Pin(_) => false,
        };
        self.ties(query).filter(open)
    }

    /// The basic column furthest out of range, relative to its edge, and whether its own reduced cost
    /// rises (+1) or falls (−1). A key out of range is first made a tie.
    fn leaving(&mut self, core: &Core) -> Option<(usize, f64)> {
        let d = self.d;
        let norm = |row: &[f64]| row.iter().map(|a| a * a).sum::<f64>();
        let mut worst = (0.0, usize::MAX, 0.0, false);
        for r in 0..d {
            let theta = self.theta[r];
            let (out, sign) = match self.basis[r] {
                Basic::Pin(_) => (theta.abs(), if theta > 0.0 { -1.0 } else { 1.0 }),
                // A branch has closed the pair: its share must be 0.
                Basic::Tie { query, model } if !core.is_open(query as usize, model as usize) => {
                    (theta.abs(), if theta > 0.0 { -1.0 } else { 1.0 })
                }
                _ => (-theta, 1.0),
            };
            if out > RANGE {
                let score = out * out / norm(&self.inverse[r * d..][..d]);
                if score > worst.0 {
                    worst = (score, r, sign, false);
                }
            }
            let Basic::Tie { query, .. } = self.basis[r] else { continue };
            if self.ties(query).next() != Some(r) {
                continue;
            }
            // Once per query: its key.
            let over = self.ties(query).map(|t| self.theta[t]).sum::<f64>() - 1.0;
            // A key that no open tie can replace stays.
            if over > RANGE && self.open_ties(core, query).next().is_some() {
                self.column.clear();
                self.column.resize(d, 0.0);
                for t in (0..d).filter(|&t| self.query[t] == query) {
                    self.column.iter_mut().zip(&self.inverse[t * d..][..d]).for_each(|(c, a)| *c += a);
                }
                let score = over * over / norm(&self.column);
                if score > worst.0 {
                    worst = (score, r, 1.0, true);
                }
            }
        }
        let (_, r, sign, is_key) = worst;
        if r == usize::MAX {
            return None;
        }
        if is_key {
            let Basic::Tie { query, .. } = self.basis[r] else { return None };
            let largest =
                self.open_ties(core, query).max_by(|&a, &b| self.theta[a].total_cmp(&self.theta[b]));
            let r = largest?;
            self.rekey(core, r);
            return Some((r, 1.0));
        }
        Some((r, sign))
    }

    /// Makes tie r the key of its query, and the key the tie.
    fn rekey(&mut self, core: &Core, r: usize) {
        let Basic::Tie { query, .. } = self.basis[r] else { return };
        let d = self.d;
        // With key k the tie of the old key is the negative column, and all other ties lose column k:
        // the inverse of that change adds all rows of the query and negates.
        let others: Vec<usize> = self.ties(query).filter(|&t| t != r).collect();
        for c in 0..d {
            let sum: f64 =
                self.inverse[r * d + c] + others.iter().map(|&t| self.inverse[t * d + c]).sum::<f64>();
            self.inverse[r * d + c] = -sum;
        }
        self.theta[r] = 1.0 - self.theta[r] - others.iter().map(|&t| self.theta[t]).sum::<f64>();
        if let Basic::Tie { model, .. } = &mut self.basis[r] {
            let key = self.key[query as usize];
            self.key[query as usize] = *model;
            let new = std::mem::replace(model, key);
            add_column(core, query as usize, key as usize, 1.0, &mut self.rest);
            add_column(core, query as usize, new as usize, -1.0, &mut self.rest);
        }
    }

    /// Moves the prices in the direction of row r until D stops rising, and brings in what stops it.
    /// `Some(false)`: nothing does. `None`: only rounding stands in the way.
    fn step(&mut self, core: &Core, r: usize, sign: f64) -> Option<bool> {
        let (d, n) = (self.d, core.n);
        self.key_before.clone_from(&self.key);
        self.turn.clear();
        self.turn.extend(self.inverse[r * d..][..d].iter().map(|a| sign * a));
        let mut rise = self.theta[r].abs();
        // What is left when all of it is used up, but for rounding.
        let level = 1e-10 * rise;
        let mut turn_rho = std::mem::take(&mut self.rho);
        let turn_vec = std::mem::take(&mut self.turn);
        let turn = terms(core, 0.0, &turn_vec, &mut turn_rho);
        let mut rho = std::mem::take(&mut self.rho_now);
        let pi = std::mem::take(&mut self.pi);
        let at = terms(core, 1.0, &pi, &mut rho);
        let fastest = turn.kappa.abs()
            + turn.rho.iter().fold(0.0f64, |a, b| a.max(b.abs()))
            + turn.mu[core.rows.len()..].iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let least_rate = RATE * fastest;

        // Prices that fall to 0.
        let mut stop = (f64::INFINITY, None);
        for (row, (&pi, &turn)) in pi.iter().zip(&turn_vec).enumerate() {
            if turn < -least_rate && pi < -turn * stop.0 {
                stop = (pi / -turn, Some(Basic::Slack(row as u32)));
            }
        }
        self.breakpoints(core, &at, &turn, least_rate);
        // Queries with ties that stay: a third model ends the step.
        self.tied.clear();
        for (s, basic) in self.basis.iter().enumerate() {
            let query = basic.query();
            if query != u32::MAX && s != r && !self.tied.contains(&query) {
                self.tied.push(query);
            }
        }
        for &query in &self.tied {
            let (q, key) = (query as usize, self.key[query as usize]);
            let (now, rate) = (self.values[key as usize * n + q], self.rates[key as usize * n + q]);
            for j in 0..core.m {
                let closing = rate - self.rates[j * n + q];
                // Its ties stay where they are: they close at no rate.
                if closing > least_rate {
                    let t = ((self.values[j * n + q] - now) / closing).max(0.0);
                    if t < stop.0 && !self.basis.contains(&Basic::Tie { query, model: j as u32 }) {
                        stop = (t, Some(Basic::Tie { query, model: j as u32 }));
                    }
                }
            }
        }

        for &query in &self.tied {
            self.nearest[query as usize] = f64::INFINITY;
        }
        let mut heap = std::mem::take(&mut self.heap).into_vec();
        heap.clear();
        for q in 0..n {
            if self.nearest[q] < stop.0 {
                heap.push(Break { t: self.nearest[q], q: q as u32, model: self.model[q] as u32 });
            }
        }
        let mut heap = BinaryHeap::from(heap);
        while let Some(next) = heap.pop() {
            let (q, key) = (next.q as usize, self.key[next.q as usize] as usize);
            let rate = self.rates[next.model as usize * n + q];
            rise -= self.rates[key * n + q] - rate;
            if rise <= level {
                stop = (next.t, Some(Basic::Tie { query: next.q, model: next.model }));
                break;
            }
            // The query changes and the step goes on.
            add_column(core, q, key, 1.0, &mut self.rest);
            add_column(core, q, next.model as usize, -1.0, &mut self.rest);
            self.key[q] = next.model;
            let now = self.values[next.model as usize * n + q];
            let mut again = Break { t: stop.0, q: next.q, model: u32::MAX };
            for j in 0..core.m {
                let closing = rate - self.rates[j * n + q];
                if closing > least_rate {
                    let t = ((self.values[j * n + q] - now) / closing).max(next.t);
                    if t < again.t {
                        again = Break { t, model: j as u32, ..again };
                    }
                }
            }
            if again.model != u32::MAX {
                heap.push(again);
            }
        }
        self.heap = heap;
        self.pi = pi;
        self.rho = turn_rho;
        self.rho_now = rho;
        self.turn = turn_vec;

        let (t, Some(enters)) = stop else { return Some(false) };
        for (pi, turn) in self.pi.iter_mut().zip(&self.turn) {
            *pi = (*pi + t * turn).max(0.0);
        }
        if let Basic::Slack(row) = enters {
            self.pi[row as usize] = 0.0;
        }
        if self.enter(core, r, enters) { Some(true) } else { None }
    }

    /// Where each query first changes its model along a direction.
    fn breakpoints(&mut self, core: &Core, at: &Terms, turn: &Terms, least_rate: f64) {
        let n = core.n;
        let mu = |terms: &Terms, j: usize| {
            if core.row_of[j] == NO_ROW { 0.0 } else { terms.mu[core.row_of[j] as usize] }
        };
        self.slots.clear();
        self.slots.extend((0..core.m).map(|j| (mu(at, j), mu(turn, j))));
        self.now.resize(n, 0.0);
        self.rate.resize(n, 0.0);
        let keys = self.key.iter().zip(&core.group).enumerate();
        for ((q, (&key, &group)), (now, rate)) in keys.zip(self.now.iter_mut().zip(&mut self.rate)) {
            let (key, group) = (key as usize, group as usize);
            let (cost, quality) = (core.cost[key * n + q], core.quality[key * n + q]);
            let (mu, turn_mu) = self.slots[key];
            *now = at.kappa * cost - at.rho[group] * quality + mu + core.offset[key * n + q];
            *rate = turn.kappa * cost - turn.rho[group] * quality + turn_mu;
        }
        for (to, rho) in [(&mut self.rho_of, at.rho), (&mut self.turn_of, turn.rho)] {
            to.clear();
            if rho.len() > 1 {
                to.extend(core.group.iter().map(|&g| rho[g as usize]));
            } else {
                to.resize(n, rho[0]);
            }
        }
        self.values.resize(n * core.m, 0.0);
        self.rates.resize(n * core.m, 0.0);
        self.nearest.clear();
        self.nearest.resize(n, f64::INFINITY);
        self.model.clear();
        self.model.resize(n, 0.0);
        for j in 0..core.m {
            let (mu, turn_mu) = self.slots[j];
            let slice = j * n..(j + 1) * n;
            let pairs = Pairs {
                model: j as f64,
                cost: &core.cost[slice.clone()],
                quality: &core.quality[slice.clone()],
                offset: &core.offset[slice],
                now: &self.now,
                rate: &self.rate,
                at: (at.kappa, &self.rho_of, mu),
                turn: (turn.kappa, &self.turn_of, turn_mu),
                least_rate,
            };
            let slice = j * n..(j + 1) * n;
            let (values, rates) = (&mut self.values[slice.clone()], &mut self.rates[slice]);
            closest(&pairs, &mut self.nearest, &mut self.model, values, rates);
        }
    }

    /// Puts a column in place of the basic column r.
    fn enter(&mut self, core: &Core, r: usize, enters: Basic) -> bool {
        let d = self.d;
        self.column.clear();
        self.column.resize(d, 0.0);
        match enters {
            Basic::Slack(row) | Basic::Pin(row) => self.column[row as usize] = 1.0,
            Basic::Tie { query, model } => {
                add_column(core, query as usize, model as usize, 1.0, &mut self.column);
                add_column(core, query as usize, self.key[query as usize] as usize, -1.0, &mut self.column);
            }
        }
        self.alpha.clear();
        for row in self.inverse.chunks_exact(d) {
            self.alpha.push(row.iter().zip(&self.column).map(|(a, b)| a * b).sum());
        }
        let largest = self.alpha.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        if self.alpha[r].abs() <= 1e-9 * largest {
            return false;
        }
        let scale = 1.0 / self.alpha[r];
        self.pivot.clear();
        self.pivot.extend(self.inverse[r * d..][..d].iter().map(|a| a * scale));
        self.inverse[r * d..][..d].copy_from_slice(&self.pivot);
        for (s, row) in self.inverse.chunks_exact_mut(d).enumerate() {
            let alpha = self.alpha[s];
            if s != r && alpha != 0.0 {
                row.iter_mut().zip(&self.pivot).for_each(|(a, p)| *a -= alpha * p);
            }
        }
        self.basis[r] = enters;
        self.query[r] = enters.query();
        self.age += 1;
        true
    }

    /// Computes the inverse and the right-hand side afresh. False if the basis is singular.
    fn refresh(&mut self, core: &Core) -> bool {
        let d = self.d;
        self.recount(core);
        let mut matrix = vec![0.0; d * d];
        for (c, basic) in self.basis.iter().enumerate() {
            let mut column = vec![0.0; d];
            match *basic {
                Basic::Slack(row) | Basic::Pin(row) => column[row as usize] = 1.0,
                Basic::Tie { query, model } => {
                    add_column(core, query as usize, model as usize, 1.0, &mut column);
                    add_column(core, query as usize, self.key[query as usize] as usize, -1.0, &mut column);
                }
            }
            (0..d).for_each(|row| matrix[row * d + c] = column[row]);
        }
        let regular = invert(&mut matrix, &mut self.inverse, d);
        // What is left of a singular basis is trusted by nobody: whoever runs next comes here first.
        self.age = if regular { 0 } else { REFRESH };
        regular
    }
}

/// Gauss–Jordan with partial pivoting; `matrix` is used up.
fn invert(matrix: &mut [f64], inverse: &mut [f64], d: usize) -> bool {
    inverse.fill(0.0);
    (0..d).for_each(|r| inverse[r * d + r] = 1.0);
    for c in 0..d {
        let pivot = (c..d).max_by(|&a, &b| matrix[a * d + c].abs().total_cmp(&matrix[b * d + c].abs()));
        let Some(pivot) = pivot.filter(|&p| matrix[p * d + c].abs() > 1e-12) else { return false };
        if pivot != c {
            for t in 0..d {
                matrix.swap(pivot * d + t, c * d + t);
                inverse.swap(pivot * d + t, c * d + t);
            }
        }
        let scale = 1.0 / matrix[c * d + c];
        for t in 0..d {
            matrix[c * d + t] *= scale;
            inverse[c * d + t] *= scale;
        }
        for r in (0..d).filter(|&r| r != c) {
            let factor = matrix[r * d + c];
            if factor != 0.0 {
                for t in 0..d {
                    matrix[r * d + t] -= factor * matrix[c * d + t];
                    inverse[r * d + t] -= factor * inverse[c * d + t];
                }
            }
        }
    }
    true
}
