//! Proof of the best whole plan: branch and bound on what reduced costs leave open.
//!
//! A plan better than the incumbent holds no pair whose reduced cost is above the gap between
//! incumbent and bound. Closing those pairs leaves most queries one model; the rest is a core of a
//! few dozen queries with two or three models each. On it every node solves its relaxation by a few
//! dual simplex steps from its parent's vertex and is given up when its bound reaches the incumbent;
//! else a query split between models is put on the one with its largest share, and then kept off it.

use super::core::{Column, Core};
use super::polish::{Dual, NEAR, polish};
use super::simplex::{Outcome, Simplex, Vertex};
use super::{Effort, OPTIMALITY};

/// Levels of the tree; a deeper one would exhaust the stack of a wasm module.
const MAX_DEPTH: usize = 400;
/// A whole plan is sought at every so many levels of the tree; leaves are whole anyway.
const WHOLE: usize = 4;

/// The outcome of a search.
pub(super) struct Found {
    /// The best plan, if any.
    pub best: Option<Column>,
    /// There is no better one (by more than the tolerance for optimality), or none at all.
    pub proven: bool,
    /// More work might have proven it or found a better one.
    pub stopped: bool,
}

/// Searches from the relaxation's optimum in `simplex` for a plan better than `incumbent`, in at most
/// the steps that `effort` has left. `bound`: the relaxation's on the core's objective; `step`: the
/// least by which plans differ.
pub(super) fn branch(
    core: &Core,
    simplex: &mut Simplex,
    bound: f64,
    incumbent: Option<Column>,
    step: f64,
    effort: &mut Effort,
) -> Found {
    // One must beat the incumbent by a tenth of the tolerance for optimality to matter, or by the least
    // step there is (less its rounding).
    let matters = |a: f64| (0.1 * OPTIMALITY * (a + core.fixed).abs()).max(step * (1.0 - 1e-6));
    let cutoff = incumbent.as_ref().map_or(f64::INFINITY, |plan| plan.a - matters(plan.a));
    // Closing pairs needs an incumbent; without one all stay open.
    let (mut part, fixed) = core.restrict(&simplex.pi, cutoff - bound, simplex.tied_queries());
    simplex.rename(&part);
    let moved = part.fixed - core.fixed;
    let mut search = Search {
        pi: simplex.pi.clone(),
        bound: bound - moved,
        matters: &|a| matters(a + moved),
        best: None,
        cutoff: cutoff - moved,
        complete: true,
        saved: Vec::new(),
    };
    search.node(&mut part, simplex, 0, effort);
    let (found, complete) = (search.best.take(), search.complete);
    let best = found.map(|plan| {
        let mut x = fixed;
        part.id.iter().zip(&plan.x).for_each(|(&q, &j)| x[q as usize] = j);
        Column::new(core, x)
    });
    Found { best: best.or(incumbent), proven: complete, stopped: !complete }
}

struct Search<'a> {
    /// The root's prices and the bound they prove on the part.
    pi: Vec<f64>,
    bound: f64,
    /// By how much a plan of this objective must be beaten.
    matters: &'a dyn Fn(f64) -> f64,
    /// The best plan found, better than the incumbent.
    best: Option<Column>,
    /// Nodes whose bound reaches this hold no better plan.
    cutoff: f64,
    complete: bool,
    /// The vertex of each node on the path from the root.
    saved: Vec<Vertex>,
}

impl Search<'_> {
    fn offer(&mut self, core: &Core, x: Vec<u32>) {
        let mut plan = Column::new(core, x);
        if plan.a < self.cutoff && plan.feasible(core) {
            polish(core, &Dual { pi: &self.pi, bound: self.bound }, &mut plan, &NEAR);
            self.cutoff = plan.a - (self.matters)(plan.a);
            self.best = Some(plan);
        }
    }

    fn node(&mut self, core: &mut Core, simplex: &mut Simplex, depth: usize, effort: &mut Effort) {
        if depth > MAX_DEPTH {
            self.complete = false;
            return;
        }
        let before = simplex.steps;
        let outcome = simplex.run(core, effort.left());
        effort.spend(1 + simplex.steps - before);
        match outcome {
            Outcome::Unbounded => return,
            Outcome::Stopped if effort.left() == 0 => {
                self.complete = false;
                return;
            }
            // A vertex lost to rounding still has a bound and can be branched on.
            Outcome::Stopped | Outcome::Optimal => {}
        }
        let bound = simplex.bound(core);
        if bound >= self.cutoff {
            return;
        }
        let Some((query, model)) = simplex.split(core) else {
            // Whole but for rounding, which must not make a plan of what is none, nor hide a better one.
            let plan = Column::new(core, simplex.key.clone());
            let open = simplex.key.iter().enumerate().all(|(q, &j)| core.is_open(q, j as usize));
            let exact = plan.a <= bound + (self.matters)(plan.a) && plan.feasible(core);
            self.complete &= outcome == Outcome::Optimal && open && exact;
            if open {
                self.offer(core, plan.x);
            }
            return;
        };
        if self.saved.len() <= depth {
            self.saved.push(Vertex::default());
        }
        simplex.save(&mut self.saved[depth]);
        if depth.is_multiple_of(WHOLE) {
            let x = simplex.whole(core);
            self.offer(core, x);
            simplex.load(&self.saved[depth]);
        }
        // Below this node, pairs that its own gap excludes stay closed.
        let closed = simplex.close(core, self.cutoff - bound);
        let at = |j: usize| j * core.n + query as usize;
        let before: Vec<(usize, f64)> = (0..core.m).map(at).map(|pair| (pair, core.offset[pair])).collect();
        let chosen = before[model as usize];
        // On the model of its largest share …
        for &(pair, _) in before.iter().filter(|pair| **pair != chosen) {
            core.offset[pair] = f64::INFINITY;
        }
        simplex.expel(core, query);
        self.node(core, simplex, depth + 1, effort);
        for &(pair, offset) in &before {
            core.offset[pair] = offset;
        }
        if effort.left() == 0 {
            self.complete = false;
        } else {
            // … and off it.
            core.offset[chosen.0] = f64::INFINITY;
            if before.iter().any(|&(pair, _)| core.offset[pair] < f64::INFINITY) {
                simplex.load(&self.saved[depth]);
                simplex.expel(core, query);
                self.node(core, simplex, depth + 1, effort);
            }
            core.offset[chosen.0] = chosen.1;
        }
        for (pair, offset) in closed {
            core.offset[pair as usize] = offset;
        }
    }
}
