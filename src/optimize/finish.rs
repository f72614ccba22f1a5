//! From the optimum of the relaxation to the best whole plan.
//!
//! At the dual optimum a plan is worse than the bound by exactly its reduced costs, its surplus and
//! its unused priced slots (the identity in `optimize`). So a plan better than the incumbent differs
//! from the anchor, a transport optimum at these prices whose reduced costs are all 0, by a set of
//! moves (query, other model) whose reduced costs sum to less than the gap G. Few pairs qualify:
//! this is a search over subsets of them, fewest moves first (singles, pairs, …), where a model
//! pushed over its limit must next shed a query. G shrinks with every better plan. When no subset
//! was left out, the incumbent is optimal; when the work limit ends the search first, it is the
//! best of all plans within so many moves.

use super::OPTIMALITY;
use super::core::{Column, Core};
use super::order::least;
use super::rows::Row;
use super::simplex::terms;

/// Subsets are searched up to this many moves.
const MAX_MOVES: u32 = 40;
/// Candidate moves kept, those of least reduced cost.
const MAX_CANDIDATES: usize = 6000;
/// Times the search moves its anchor to the best plan found, when it could not finish.
const ANCHORS: u32 = 4;

/// Prices of a core, and the bound they prove on its objective.
pub(super) struct Dual<'a> {
    /// Per row of the core, scaled as it is.
    pub pi: &'a [f64],
    pub bound: f64,
}

/// The outcome of a search.
pub(super) struct Found {
    /// The best plan, if any.
    pub best: Option<Column>,
    /// There is no better one (by more than the tolerance for optimality), or none at all.
    pub proven: bool,
    /// More work might have proven it or found a better one.
    pub stopped: bool,
}

/// Searches around `anchor`, a choice of reduced cost 0, for a plan better than `incumbent`, looking
/// at `work` candidates at most. `step`: the least by which plans differ.
pub(super) fn finish(
    core: &Core,
    dual: &Dual,
    anchor: &Column,
    incumbent: Option<Column>,
    step: f64,
    work: u64,
) -> Found {
    let mut search = Search::new(core, dual, anchor, incumbent, step);
    let proven = search.deepen(work, MAX_MOVES);
    let mut best = search.best;
    if !proven {
        for _ in 0..ANCHORS {
            let Some(from) = best.clone() else { break };
            let mut search = Search::new(core, dual, &from, best.clone(), step);
            search.deepen(work / 4, 4);
            let improved = search.best.as_ref().is_some_and(|plan| plan.a < from.a);
            best = search.best;
            if !improved {
                break;
            }
        }
    }
    Found { best, proven, stopped: !proven }
}

/// One query to another model.
#[derive(Clone, Copy)]
struct Candidate {
    i: u32,
    from: u32,
    to: u32,
    /// Reduced cost of the new pair.
    rc: f64,
    /// Change of the objective.
    da: f64,
}

struct Search<'a> {
    core: &'a Core,
    bound: f64,
    step: f64,
    anchor: &'a Column,
    /// Sorted by (reduced cost, query, model).
    candidates: Vec<Candidate>,
    /// Change of each coupling row per candidate, row-minor.
    dw: Vec<f64>,
    /// All candidates, those leaving each model, then those raising each coupling row; each list in
    /// the order of `candidates`.
    lists: Vec<Vec<u32>>,
    /// Some candidates were dropped, so nothing can be proven.
    truncated: bool,
    // The node of the search tree.
    room: Vec<i64>,
    over: i64,
    a: f64,
    surplus: Vec<f64>,
    chosen: Vec<u32>,
    moved: Vec<bool>,
    excluded: Vec<bool>,
    // The search as a whole.
    best: Option<Column>,
    /// Sums of reduced costs from here on cannot lead to a better plan.
    gap: f64,
    work: u64,
    /// A branch was left out for want of moves.
    cut: bool,
}

impl<'a> Search<'a> {
    fn new(core: &'a Core, dual: &Dual, anchor: &'a Column, incumbent: Option<Column>, step: f64) -> Self {
        let m = core.m;
        let mut room: Vec<i64> = core.limits.iter().map(|&l| l as i64).collect();
        for &j in &anchor.x {
            room[j as usize] -= 1;
        }
        let mut search = Search {
            core,
            bound: dual.bound,
            step,
            anchor,
            candidates: Vec::new(),
            dw: Vec::new(),
            lists: vec![Vec::new(); 1 + m + core.rows.len()],
            truncated: false,
            over: room.iter().map(|&r| (-r).max(0)).sum(),
            room,
            a: anchor.a,
            surplus: core.rows.iter().zip(&anchor.w).map(|(row, w)| w - row.need).collect(),
            chosen: Vec::new(),
            moved: vec![false; anchor.x.len()],
            excluded: Vec::new(),
            best: incumbent,
            gap: f64::INFINITY,
            work: 0,
            cut: false,
        };
        search.update_gap();
        search.collect(dual);
        search
    }

    /// A plan must beat the incumbent by a tenth of the tolerance for optimality to matter, or by
    /// the least step there is (less its rounding).
    fn update_gap(&mut self) {
        if let Some(best) = &self.best {
            let whole = best.a + self.core.fixed;
            let matters = (0.1 * OPTIMALITY * whole.abs()).max(self.step * (1.0 - 1e-6));
            self.gap = best.a - self.bound - matters;
        }
    }

    fn collect(&mut self, dual: &Dual) {
        let (core, m) = (self.core, self.core.m);
        let mut rho = Vec::new();
        let at = terms(core, 1.0, dual.pi, &mut rho);
        for (q, &from) in self.anchor.x.iter().enumerate() {
            let least = (0..m).map(|j| at.of(core, q, j)).fold(f64::INFINITY, f64::min);
            for to in (0..m).filter(|&to| to != from as usize) {
                let rc = at.of(core, q, to) - least;
                if rc < self.gap {
                    let da = core.objective(q, to) - core.objective(q, from as usize);
                    self.candidates.push(Candidate { i: q as u32, from, to: to as u32, rc, da });
                }
            }
        }
        self.truncated = self.candidates.len() > MAX_CANDIDATES;
        let kept = least(self.candidates.iter().map(|c| c.rc), MAX_CANDIDATES);
        self.candidates = kept.into_iter().map(|at| self.candidates[at as usize]).collect();
        for (at, c) in self.candidates.iter().enumerate() {
            self.lists[0].push(at as u32);
            self.lists[1 + c.from as usize].push(at as u32);
            for (r, row) in core.rows.iter().enumerate() {
                let weight = |j: u32| core.weight(row, c.i as usize, j as usize);
                let dw = weight(c.to) - weight(c.from);
                self.dw.push(dw);
                if dw > 0.0 {
                    self.lists[1 + m + r].push(at as u32);
                }
            }
        }
        self.excluded = vec![false; self.candidates.len()];
    }

    /// Subsets of 1, 2, … moves until none is left out (true) or the work is used up.
    fn deepen(&mut self, work: u64, moves: u32) -> bool {
        self.work = work;
        for depth in 1..=moves {
            self.cut = false;
            self.descend(0.0, depth);
            if self.work == 0 {
                return false;
            }
            if !self.cut {
                return !self.truncated;
            }
        }
        false
    }

    fn descend(&mut self, rc: f64, left: u32) {
        if self.over == 0 {
            self.consider();
        }
        if self.over > left as i64 || left == 0 {
            self.cut |= self.over > 0 || self.extends(rc);
            return;
        }
        let list = self.list();
        let mut branched = Vec::new();
        for at in 0..self.lists[list].len() {
            let c = self.lists[list][at] as usize;
            let (i, cost) = (self.candidates[c].i as usize, self.candidates[c].rc);
            if rc + cost >= self.gap || self.work == 0 {
                break;
            }
            self.work -= 1;
            if self.excluded[c] || self.moved[i] {
                continue;
            }
            self.apply(c, 1);
            self.descend(rc + cost, left - 1);
            self.apply(c, -1);
            // What follows does without this move: every subset is met once.
            self.excluded[c] = true;
            branched.push(c);
        }
        for c in branched {
            self.excluded[c] = false;
        }
    }

    /// The moves of which every feasible completion contains one: those that relieve a model over
    /// its limit, else those that raise a row below its need (the one furthest below), else all.
    fn list(&self) -> usize {
        if let Some(j) = self.room.iter().position(|&room| room < 0) {
            return 1 + j;
        }
        let short = |&(r, surplus): &(usize, &f64)| *surplus < -1e-9 * self.core.rows[r].need.abs();
        let rows = self.surplus.iter().enumerate().filter(short);
        rows.min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(r, _)| 1 + self.room.len() + r)
    }

    /// Whether one more move could still beat the incumbent.
    fn extends(&self, rc: f64) -> bool {
        let within = self.candidates.iter().enumerate().take_while(|(_, c)| rc + c.rc < self.gap);
        within.take(64).any(|(at, c)| at == 63 || !(self.excluded[at] || self.moved[c.i as usize]))
    }

    fn apply(&mut self, c: usize, sign: i64) {
        let move_ = &self.candidates[c];
        let (from, to) = if sign > 0 { (move_.from, move_.to) } else { (move_.to, move_.from) };
        let (from, to) = (from as usize, to as usize);
        self.over -= (self.room[from] < 0) as i64;
        self.room[from] += 1;
        self.room[to] -= 1;
        self.over += (self.room[to] < 0) as i64;
        self.a += sign as f64 * move_.da;
        let k = self.surplus.len();
        for (surplus, dw) in self.surplus.iter_mut().zip(&self.dw[c * k..]) {
            *surplus += sign as f64 * dw;
        }
        self.moved[move_.i as usize] = sign > 0;
        if sign > 0 {
            self.chosen.push(c as u32);
        } else {
            self.chosen.pop();
        }
    }

    /// Takes the current node as incumbent if it is feasible and better, recomputed without drift.
    fn consider(&mut self) {
        // Sums that drifted by rounding are let through here and judged exactly below.
        let near = |(surplus, row): (&f64, &Row)| *surplus >= -1e-9 * row.need.abs();
        let better = self.best.as_ref().is_none_or(|best| self.a < best.a - 1e-13 * best.a.abs());
        if !better || !self.surplus.iter().zip(&self.core.rows).all(near) {
            return;
        }
        let mut x = self.anchor.x.clone();
        for &c in &self.chosen {
            let c = &self.candidates[c as usize];
            x[c.i as usize] = c.to;
        }
        let column = Column::new(self.core, x);
        if column.covers(self.core) && self.best.as_ref().is_none_or(|best| column.a < best.a) {
            self.best = Some(column);
            self.update_gap();
        }
    }
}
