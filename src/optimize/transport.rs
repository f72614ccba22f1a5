//! The transportation problem: one model per query, at most `L_j` queries on model j, least cost.
//!
//! A min-cost flow on N + M nodes, contracted to the M models. All queries start on the model that
//! is cheapest, `argmin_j r_ij`; models over their limit then shed
//! queries along shortest paths to models with room. An arc j → k stands for the query on j that is
//! cheapest to move to k, `d_jk = min_{i on j} r_ik − r_ij`, kept at the top of a heap per ordered
//! pair; d does not depend on prices, so the heaps outlive their changes. Slack capacity is filled with
//! `Σ L − N` dummy units that cost nothing anywhere, so that every model ends exactly full and a
//! model with slack has price 0.
//!
//! Invariant (complementary slackness, relied on by every search): the reduced length
//! `d_jk + μ_k − μ_j` of every arc is ≥ 0 up to rounding, for the queries and dummies where they
//! are. Each augmentation removes one unit of excess and O(M) heap entries per step of its path are
//! pushed: O(E·M² + (N + E)·M log N) for an initial excess of E.
//!
//! When no model with room can be reached, the models that were reached are a Hall set: every query
//! on them may use only them, and there are more such queries than slots.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::price::Sum;

/// A move of query `i` between the two models whose heap this stands in. Ordered for a max-heap so
/// that the least (delta, query) is on top.
#[derive(Clone, Copy, PartialEq)]
struct Move {
    delta: f64,
    i: u32,
}

impl Eq for Move {}

impl Ord for Move {
    fn cmp(&self, other: &Self) -> Ordering {
        other.delta.total_cmp(&self.delta).then(other.i.cmp(&self.i))
    }
}

impl PartialOrd for Move {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Proof that the limits cannot hold: `confined` queries may use only `models`, which have `slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HallSet {
    pub models: Vec<u32>,
    pub confined: u64,
    pub slots: u64,
}

/// The solver of one problem.
pub(super) struct Transport {
    n: usize,
    m: usize,
    /// `L_j`, cut to N.
    limits: Vec<u64>,
    /// Whether any limit can bind at all.
    limited: bool,
    /// `Σ L − N`, the number of dummy units.
    slack: u64,
    /// μ: price per slot, ≥ 0, least 0.
    pub price: Vec<f64>,
    /// The model of each query after [`Transport::solve`].
    pub assignment: Vec<u32>,
    /// Queries per model.
    load: Vec<u64>,
    dummies: Vec<u64>,
    /// Entry `j·m + k`: queries on j by what moving them to k costs; stale entries are dropped on sight.
    heaps: Vec<BinaryHeap<Move>>,
    /// The top of each heap that is still true, or an infinite delta.
    tops: Vec<Move>,
    best: Vec<f64>,
    distance: Vec<f64>,
    parent: Vec<u32>,
    done: Vec<bool>,
}

const NO_MOVE: Move = Move { delta: f64::INFINITY, i: u32::MAX };
const NO_PARENT: u32 = u32::MAX;

impl Transport {
    /// A solver for n queries and m models; no limits are as many slots as queries.
    pub fn new(n: usize, m: usize, limits: Option<&[u64]>) -> Self {
        let cap = n as u64;
        let limits: Vec<u64> =
            limits.map_or_else(|| vec![cap; m], |l| l.iter().map(|&l| l.min(cap)).collect());
        let limited = limits.iter().any(|&l| l < cap);
        let slack = limits.iter().sum::<u64>().saturating_sub(cap);
        let square = if limited { m * m } else { 0 };
        Transport {
            n,
            m,
            limits,
            limited,
            slack,
            price: vec![0.0; m],
            assignment: vec![0; n],
            load: vec![0; m],
            dummies: vec![0; m],
            heaps: vec![BinaryHeap::new(); square],
            tops: vec![NO_MOVE; square],
            best: vec![0.0; n],
            distance: vec![0.0; m],
            parent: vec![NO_PARENT; m],
            done: vec![false; m],
        }
    }

    /// Assigns every query at least total `r` (model-major, +inf where forbidden, every query with
    /// a finite entry). Once.
    pub fn solve(&mut self, r: &[f64]) -> Result<(), HallSet> {
        self.start(r);
        if !self.limited {
            return Ok(());
        }
        if (0..self.m).any(|j| self.excess(j) > 0) {
            self.build_heaps(r);
            while (0..self.m).any(|j| self.excess(j) > 0) {
                let Some(sink) = self.shortest_path() else { return Err(self.hall_set()) };
                self.reprice(sink);
                self.augment(sink, r);
            }
        }
        self.normalise();
        Ok(())
    }

    /// `Σ_i min_j(r_ij + μ_j) − Σ_j μ_j L_j`: a lower bound on any assignment for any prices ≥ 0.
    pub fn dual(&mut self, r: &[f64]) -> f64 {
        self.cheapest(r);
        let mut sum: Sum = self.best.iter().copied().collect();
        for (price, &limit) in self.price.iter().zip(&self.limits) {
            sum.add(-price * limit as f64);
        }
        sum.value()
    }

    /// `best[i] = min_j r_ij + μ_j`, one pass per model.
    fn cheapest(&mut self, r: &[f64]) {
        self.best.fill(f64::INFINITY);
        for (row, &price) in r.chunks_exact(self.n.max(1)).zip(&self.price) {
            for (best, &r) in self.best.iter_mut().zip(row) {
                *best = best.min(r + price);
            }
        }
    }

    /// Puts every query on its cheapest model and the dummies where there is room: there is enough, since
    /// what is over a limit here is free there.
    fn start(&mut self, r: &[f64]) {
        self.best.fill(f64::INFINITY);
        for (j, row) in r.chunks_exact(self.n.max(1)).enumerate() {
            for ((best, x), &value) in self.best.iter_mut().zip(&mut self.assignment).zip(row) {
                // Strict: of equal models the first one stays.
                let better = value < *best;
                *x = if better { j as u32 } else { *x };
                *best = if better { value } else { *best };
            }
        }
        debug_assert!(self.best.iter().all(|b| b.is_finite()), "every query may use a model");
        for &j in &self.assignment {
            self.load[j as usize] += 1;
        }
        if !self.limited {
            return;
        }
        let mut left = self.slack;
        for ((dummies, &limit), &load) in self.dummies.iter_mut().zip(&self.limits).zip(&self.load) {
            *dummies = limit.saturating_sub(load).min(left);
            left -= *dummies;
        }
        debug_assert_eq!(left, 0);
    }

    /// Units beyond (positive) or missing from (negative) the limit of model j.
    fn excess(&self, j: usize) -> i64 {
        (self.load[j] + self.dummies[j]) as i64 - self.limits[j] as i64
    }

    fn build_heaps(&mut self, r: &[f64]) {
        let (n, m) = (self.n, self.m);
        let mut on: Vec<Vec<u32>> = self.load.iter().map(|&l| Vec::with_capacity(l as usize)).collect();
        for (i, &j) in self.assignment.iter().enumerate() {
            on[j as usize].push(i as u32);
        }
        for j in 0..m {
            for k in (0..m).filter(|&k| k != j) {
                let (from, to) = (&r[j * n..][..n], &r[k * n..][..n]);
                let delta = |&i: &u32| Move { delta: to[i as usize] - from[i as usize], i };
                let moves: Vec<Move> =
                    on[j].iter().map(delta).filter(|mv| mv.delta < f64::INFINITY).collect();
                self.heaps[j * m + k] = BinaryHeap::from(moves);
            }
            self.refresh(j);
        }
    }

    /// Drops what has left model j from the tops of its heaps.
    fn refresh(&mut self, j: usize) {
        for k in 0..self.m {
            let heap = &mut self.heaps[j * self.m + k];
            while heap.peek().is_some_and(|top| self.assignment[top.i as usize] as usize != j) {
                heap.pop();
            }
            self.tops[j * self.m + k] = heap.peek().copied().unwrap_or(NO_MOVE);
        }
    }

    /// Dijkstra over the models from all that are over their limit, to the nearest with room.
    fn shortest_path(&mut self) -> Option<usize> {
        let m = self.m;
        for j in 0..m {
            self.distance[j] = if self.excess(j) > 0 { 0.0 } else { f64::INFINITY };
            self.parent[j] = NO_PARENT;
            self.done[j] = false;
        }
        loop {
            let open = (0..m).filter(|&j| !self.done[j] && self.distance[j] < f64::INFINITY);
            let j = open.min_by(|&a, &b| self.distance[a].total_cmp(&self.distance[b]))?;
            self.done[j] = true;
            if self.excess(j) < 0 {
                return Some(j);
            }
            for k in (0..m).filter(|&k| !self.done[k]) {
                let delta = self.arc(j, k).0;
                // The invariant, with rounding cut off.
                let length = (delta + self.price[k] - self.price[j]).max(0.0);
                let reach = self.distance[j] + length;
                if reach < self.distance[k] {
                    self.distance[k] = reach;
                    self.parent[k] = j as u32;
                }
            }
        }
    }

    /// What moving one unit from j to k costs, and the query that moves (`None`: a dummy).
    fn arc(&self, j: usize, k: usize) -> (f64, Option<u32>) {
        let top = self.tops[j * self.m + k];
        if self.dummies[j] > 0 && top.delta >= 0.0 { (0.0, None) } else { (top.delta, Some(top.i)) }
    }

    /// Raises the price of every model nearer than `sink` by the difference: arcs on the path become
    /// tight and none negative.
    fn reprice(&mut self, sink: usize) {
        let limit = self.distance[sink];
        for (price, &distance) in self.price.iter_mut().zip(&self.distance) {
            *price += limit - distance.min(limit);
        }
    }

    /// Moves one unit along every arc of the path to `sink`, or as many as fit where all are dummies.
    fn augment(&mut self, sink: usize, r: &[f64]) {
        let m = self.m;
        let mut path = vec![sink];
        let mut node = sink;
        while self.parent[node] != NO_PARENT {
            node = self.parent[node] as usize;
            path.push(node);
        }
        path.reverse();
        let movers: Vec<Option<u32>> = path.windows(2).map(|arc| self.arc(arc[0], arc[1]).1).collect();
        let mut units = 1;
        if movers.iter().all(Option::is_none) {
            let room = -self.excess(sink);
            let along = path[..path.len() - 1].iter().map(|&j| self.dummies[j] as i64);
            units = along.fold(self.excess(node).min(room), i64::min) as u64;
        }
        for (arc, mover) in path.windows(2).zip(movers) {
            let (j, k) = (arc[0], arc[1]);
            if let Some(i) = mover {
                self.assignment[i as usize] = k as u32;
                self.load[j] -= 1;
                self.load[k] += 1;
                let at = |j: usize| r[j * self.n + i as usize];
                let here = at(k);
                for to in (0..m).filter(|&to| to != k) {
                    let delta = at(to) - here;
                    if delta < f64::INFINITY {
                        self.heaps[k * m + to].push(Move { delta, i });
                    }
                }
            } else {
                self.dummies[j] -= units;
                self.dummies[k] += units;
            }
        }
        for j in path {
            self.refresh(j);
        }
    }

    /// Shifts prices so that the least is 0, exactly so where slots are free.
    fn normalise(&mut self) {
        let least = self.price.iter().copied().fold(f64::INFINITY, f64::min);
        for (price, &dummies) in self.price.iter_mut().zip(&self.dummies) {
            *price = if dummies > 0 { 0.0 } else { *price - least };
        }
    }

    fn hall_set(&self) -> HallSet {
        let models: Vec<u32> = (0..self.m as u32).filter(|&j| self.done[j as usize]).collect();
        // Nothing leaves the reached models, so no dummy is on them: they could go anywhere.
        debug_assert!(models.iter().all(|&j| self.dummies[j as usize] == 0));
        let sum = |of: &[u64]| models.iter().map(|&j| of[j as usize]).sum();
        HallSet { confined: sum(&self.load), slots: sum(&self.limits), models }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    /// Costs in steps of a quarter (ties are the rule), some pairs forbidden, every query with one.
    fn random(r: &mut Random, n: usize, m: usize) -> (Vec<f64>, Vec<u64>) {
        let mut cost: Vec<f64> = (0..n * m)
            .map(|_| if r.below(4) == 0 { f64::INFINITY } else { r.below(16) as f64 / 4.0 })
            .collect();
        (0..n).for_each(|i| cost[r.below(m as u64) as usize * n + i] = 1.0);
        let limits = (0..m).map(|_| r.below(2 * n as u64 / m as u64 + 2)).collect();
        (cost, limits)
    }

    fn total(cost: &[f64], x: &[u32]) -> f64 {
        x.iter().enumerate().map(|(i, &j)| cost[j as usize * x.len() + i]).sum()
    }

    fn brute(cost: &[f64], limits: &[u64], n: usize, i: usize, load: &mut [u64]) -> f64 {
        if i == n {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for j in 0..limits.len() {
            if load[j] < limits[j] && cost[j * n + i].is_finite() {
                load[j] += 1;
                best = best.min(cost[j * n + i] + brute(cost, limits, n, i + 1, load));
                load[j] -= 1;
            }
        }
        best
    }

    #[test]
    fn optimal_or_a_true_hall_set() {
        let mut r = Random(1);
        let (mut solved, mut stuck) = (0, 0);
        for _ in 0..4000 {
            let (n, m) = (1 + r.below(7) as usize, 1 + r.below(4) as usize);
            let (cost, limits) = random(&mut r, n, m);
            let best = brute(&cost, &limits, n, 0, &mut vec![0; m]);
            let mut transport = Transport::new(n, m, Some(&limits));
            match transport.solve(&cost) {
                Ok(()) => {
                    solved += 1;
                    assert_eq!(total(&cost, &transport.assignment), best);
                    assert_eq!(transport.dual(&cost), best, "dual = primal, exactly: quarters do not round");
                    assert!(transport.load.iter().zip(&limits).all(|(load, limit)| load <= limit));
                    let unused = |j: usize| transport.load[j] < limits[j].min(n as u64);
                    assert!((0..m).all(|j| transport.price[j] == 0.0 || !unused(j)), "slack has no price");
                }
                Err(hall) => {
                    stuck += 1;
                    assert_eq!(best, f64::INFINITY);
                    let inside = |j: usize| hall.models.contains(&(j as u32));
                    let confined =
                        (0..n).filter(|&i| (0..m).all(|j| inside(j) || cost[j * n + i].is_infinite()));
                    assert!(confined.count() as u64 >= hall.confined && hall.confined > hall.slots);
                    let slots: u64 = hall.models.iter().map(|&j| limits[j as usize].min(n as u64)).sum();
                    assert_eq!(hall.slots, slots);
                }
            }
        }
        assert!(solved > 500 && stuck > 500, "{solved} {stuck}");
    }

    #[test]
    fn without_limits_everyone_takes_the_first_cheapest() {
        let mut transport = Transport::new(3, 2, None);
        transport.solve(&[1.0, 2.0, 3.0, 1.0, 1.0, 4.0]).unwrap();
        assert_eq!(transport.assignment, [0, 1, 0]);
        assert_eq!(transport.dual(&[1.0, 2.0, 3.0, 1.0, 1.0, 4.0]), 5.0);
    }
}
