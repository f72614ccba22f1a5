//! What does quality cost, when workloads couple the queries?
//!
//! With limits the frontier of [`super::frontier`] no longer falls apart by query, but for a price λ
//! of quality the plan of least `cost − λ·quality` is a flow, whose optimum is whole and lies on the
//! lower convex hull of all plans. Two neighbours on the hull give the λ at which they are equal; the
//! plan there either is a new vertex between them or proves that the edge is there. Edges are split
//! in the order of the area they might still hide, so that any number of points shows the curve as
//! well as so many can, and enough of them show all of it.

use super::batch::{Workspace, at_price, unplaceable};
use super::price::PricePoint;
use super::rows::Goal;
use super::{Effort, Problem};
use crate::error::{Error, Result};

/// Differences of a hull below this part of its height are rounding.
const ROUNDING: f64 = 1e-12;

/// A vertex of the hull: summed quality and cost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Vertex {
    quality: f64,
    cost: f64,
}

/// Between two neighbours: whether anything may still lie below, and how much.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: Vertex,
    to: Vertex,
    done: bool,
}

impl Edge {
    fn new(from: Vertex, to: Vertex) -> Self {
        let flat = to.quality - from.quality <= ROUNDING * to.quality.abs();
        Edge { from, to, done: flat || to.cost - from.cost <= ROUNDING * to.cost }
    }

    fn slope(&self) -> f64 {
        (self.to.cost - self.from.cost) / (self.to.quality - self.from.quality)
    }

    fn area(&self) -> f64 {
        if self.done { 0.0 } else { (self.to.cost - self.from.cost) * (self.to.quality - self.from.quality) }
    }
}

/// Up to `points` vertices of the frontier of a batch under its limits and forbidden pairs (targets,
/// budget and floors are left out), from the cheapest plan to the best, as [`PricePoint`]s: `lambda` is
/// the price of quality at which the point is reached from the one before.
pub(super) fn curve(
    problem: &Problem,
    points: usize,
    workspace: &mut Workspace,
    effort: &mut Effort,
) -> Result<Vec<PricePoint>> {
    // Limits and forbidden pairs alone: then every optimum is a flow, and whole.
    let problem = &Problem { quality_target: None, budget_usd: None, groups: None, ..*problem };
    if points < 2 {
        let what = format!("{points} points of a curve are asked for, 2 is the least");
        return Err(Error::Problem { what });
    }
    if let Some(why) = unplaceable(problem) {
        return Err(Error::Problem { what: why.reason });
    }
    if problem.queries == 0 {
        return Ok(Vec::new());
    }
    let mut at = |goal: Goal, workspace: &mut Workspace| {
        let none = || Error::Problem { what: "no plan respects the limits".into() };
        let (quality, cost) = at_price(problem, goal, workspace, effort)?.ok_or_else(none)?;
        Ok(Vertex { quality, cost })
    };
    let cheapest = at(Goal::Cost, workspace)?;
    let best = at(Goal::Quality, workspace)?;
    let mut edges = vec![Edge::new(cheapest, best)];
    while edges.len() + 1 < points {
        let largest = edges.iter().enumerate().max_by(|a, b| a.1.area().total_cmp(&b.1.area()));
        let Some((place, &edge)) = largest.filter(|(_, edge)| !edge.done) else { break };
        let lambda = edge.slope();
        let between = at(Goal::Tilted(lambda), workspace)?;
        let height = |v: &Vertex| v.cost - lambda * v.quality;
        let below = height(&edge.from) - height(&between) > ROUNDING * edge.to.cost.abs();
        if !below || between.quality <= edge.from.quality {
            edges[place].done = true;
        } else if between.quality < edge.to.quality {
            edges.splice(place..=place, [Edge::new(edge.from, between), Edge::new(between, edge.to)]);
        } else {
            // As good as the best, and cheaper.
            edges[place] = Edge::new(edge.from, between);
        }
    }
    let scale = 1.0 / problem.queries as f64;
    let point = |lambda: f64, v: &Vertex| PricePoint {
        lambda,
        quality: v.quality * scale,
        cost: v.cost * scale,
        reachable: true,
    };
    // The best plan at no extra cost may be the cheapest, and plans of one quality differ in nothing.
    let rising =
        edges.iter().filter(|edge| edge.to.quality > edge.from.quality && edge.to.cost > edge.from.cost);
    let first = edges.iter().find(|e| e.to.cost <= e.from.cost).map_or(cheapest, |e| e.to);
    Ok(std::iter::once(point(0.0, &first)).chain(rising.map(|edge| point(edge.slope(), &edge.to))).collect())
}
