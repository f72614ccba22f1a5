//! Proof of the best whole plan: branch and bound on what reduced costs leave open.
//!
//! A plan better than the incumbent holds no pair whose reduced cost is above the gap between
//! incumbent and bound. Closing those pairs leaves most queries one model; the rest is a core of a
//! few dozen queries with two or three models each. On it every node solves its relaxation by a few
//! dual simplex steps from its parent's vertex and is given up when its bound reaches the incumbent;
//! else a query split between models is put on the one with its largest share, and then kept off it.

use super::core::{Column, Core};
use super::finish::Found;
use super::simplex::{Outcome, Simplex, Vertex};
use super::{Effort, OPTIMALITY};

/// A plan that leaves less than this fraction of the gap starts the search again.
const RESTART: f64 = 0.9;
/// A whole plan is sought at every so many levels of the tree; leaves are whole anyway.
const WHOLE: usize = 4;

/// Searches from the relaxation's optimum in `simplex` for a plan better than `incumbent`, in at most
/// the steps that `effort` has left. `bound`: the relaxation's on the core's objective; `step`: the
/// least by which plans differ.
pub(super) fn branch(
    core: &Core,
    simplex: &Simplex,
    bound: f64,
    incumbent: Option<Column>,
    step: f64,
    effort: &mut Effort,
) -> Found {
    let mut best = incumbent;
    loop {
        let mut root = simplex.clone();
        let mut search = Search {
            whole: core.fixed,
            step,
            best: None,
            cutoff: f64::INFINITY,
            complete: true,
            saved: Vec::new(),
            restart: f64::NEG_INFINITY,
        };
        if let Some(plan) = &best {
            search.accept(plan.clone());
        }
        // Closing pairs needs an incumbent; without one all stay open.
        let (mut part, fixed) = core.restrict(&simplex.pi, search.cutoff - bound);
        root.rename(&part);
        search.whole = part.fixed;
        if let Some(plan) = search.best.take() {
            let plan = Column::new(&part, part.id.iter().map(|&q| plan.x[q as usize]).collect());
            search.restart =
                bound + core.fixed - part.fixed + RESTART * (plan.a + part.fixed - core.fixed - bound);
            search.accept(plan);
        }
        search.node(&mut part, &mut root, 0, effort);
        let before = best.as_ref().map_or(f64::INFINITY, |plan| plan.a);
        best = search.best.map(|plan| {
            let mut x = fixed;
            part.id.iter().zip(&plan.x).for_each(|(&q, &j)| x[q as usize] = j);
            Column::new(core, x)
        });
        let after = best.as_ref().map_or(f64::INFINITY, |plan| plan.a);
        if search.complete || effort.left() == 0 || after >= before {
            return Found { best, proven: search.complete, stopped: !search.complete };
        }
    }
}

struct Search {
    /// The objective of all queries outside the part.
    whole: f64,
    step: f64,
    best: Option<Column>,
    /// A plan below this is worth starting again: many more pairs close.
    restart: f64,
    /// Nodes whose bound reaches this hold no better plan.
    cutoff: f64,
    complete: bool,
    /// The vertex of each node on the path from the root.
    saved: Vec<Vertex>,
}

impl Search {
    /// Takes a plan as incumbent. One must beat it by a tenth of the tolerance for optimality to
    /// matter, or by the least step there is (less its rounding).
    fn accept(&mut self, plan: Column) {
        let matters = (0.1 * OPTIMALITY * (plan.a + self.whole).abs()).max(self.step * (1.0 - 1e-6));
        self.cutoff = plan.a - matters;
        self.best = Some(plan);
    }

    fn offer(&mut self, core: &Core, x: Vec<u32>) {
        let plan = Column::new(core, x);
        if self.best.as_ref().is_none_or(|best| plan.a < best.a) && plan.feasible(core) {
            self.accept(plan);
        }
    }

    /// Whether a plan found makes the search worth starting again.
    fn leave(&self) -> bool {
        self.best.as_ref().is_some_and(|plan| plan.a < self.restart)
    }

    fn node(&mut self, core: &mut Core, simplex: &mut Simplex, depth: usize, effort: &mut Effort) {
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
        if simplex.bound(core) >= self.cutoff {
            return;
        }
        let Some((query, model)) = simplex.split() else {
            self.offer(core, simplex.key.clone());
            self.complete &= outcome == Outcome::Optimal;
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
        let n = core.n;
        let at = |j: usize| j * n + query as usize;
        // On the model of its largest share …
        let closed: Vec<usize> =
            (0..core.m).filter(|&j| j != model as usize && core.closed[at(j)] == 0.0).collect();
        for &j in &closed {
            core.closed[at(j)] = f64::INFINITY;
        }
        simplex.expel(core, query);
        self.node(core, simplex, depth + 1, effort);
        for &j in &closed {
            core.closed[at(j)] = 0.0;
        }
        if effort.left() == 0 || self.leave() {
            self.complete = false;
            return;
        }
        // … and off it.
        core.closed[at(model as usize)] = f64::INFINITY;
        if (0..core.m).any(|j| core.closed[at(j)] == 0.0) {
            simplex.load(&self.saved[depth]);
            simplex.expel(core, query);
            self.node(core, simplex, depth + 1, effort);
        }
        core.closed[at(model as usize)] = 0.0;
    }
}
