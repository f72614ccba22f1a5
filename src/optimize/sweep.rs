//! One pass over both matrices: what every query would choose at given prices, and by how much.
//!
//! The physical limit of the whole solver is this pass (it reads 16 bytes a pair), so it works in
//! blocks of queries that stay in the first cache, one model after the other, with selections instead
//! of branches and model numbers as f64 to keep all lanes of one width (`lanes`).

use super::Problem;
use super::core::Used;
use super::lanes::vectorised;
use super::price::Sum;
use super::rows::Row;

/// Queries per block.
const BLOCK: usize = 256;

/// Some queries of a problem, model-major: pair (i, j) stands at `j·n + i`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub n: usize,
    pub m: usize,
    /// USD, +inf where forbidden.
    pub cost: &'a [f64],
    pub quality: &'a [f64],
    /// The group of each query, if they are told apart.
    pub group: Option<&'a [u32]>,
}

impl<'a> View<'a> {
    /// All queries of a problem.
    pub fn of(problem: &Problem<'a>) -> Self {
        let group = problem.groups.filter(|groups| groups.floors.len() > 1).map(|groups| groups.of_query);
        let Problem { queries: n, models: m, cost, quality, .. } = *problem;
        View { n, m, cost, quality, group }
    }
}

/// What stands before cost, quality (per group) and slots in `v_ij`, see `rows`.
#[derive(Clone, Copy)]
pub(super) struct Prices<'a> {
    pub kappa: f64,
    pub rho: &'a [f64],
    pub mu: &'a [f64],
}

impl Prices<'_> {
    /// `v_ij`; +inf or no number where forbidden.
    pub fn value(&self, view: &View, i: usize, j: usize) -> f64 {
        let at = j * view.n + i;
        let rho = self.rho[view.group.map_or(0, |group| group[i] as usize)];
        self.kappa * view.cost[at] - rho * view.quality[at] + self.mu[j]
    }
}

/// The result of a pass; its buffers are reused from one to the next.
#[derive(Default)]
pub(super) struct Sweep {
    /// The model of least `v` per query: of equals, the first.
    pub first: Vec<u32>,
    /// The model of second least `v`; meaningless where the gap is infinite.
    pub second: Vec<u32>,
    /// Second least `v` minus the least; +inf where there is no second.
    pub gap: Vec<f64>,
    /// Σ least v.
    pub value: f64,
    /// Queries per model.
    pub load: Vec<f64>,
    /// Σ w of each row.
    pub sums: Vec<f64>,
}

#[repr(align(64))]
struct Lanes([f64; BLOCK]);

struct Block {
    best: Lanes,
    second: Lanes,
    first: Lanes,
    other: Lanes,
    rho: Lanes,
}

impl Sweep {
    /// What the choices of the last pass add up to; `prices`: those of the pass, y then μ.
    pub fn used(&self, prices: &[f64]) -> Used {
        let (y, mu) = prices.split_at(self.sums.len());
        let rows: f64 = y.iter().zip(&self.sums).map(|(y, sum)| y * sum).sum();
        let slots: f64 = mu.iter().zip(&self.load).map(|(mu, load)| mu * load).sum();
        Used {
            choice: self.first.clone(),
            objective: self.value + rows - slots,
            sums: self.sums.clone(),
            load: self.load.clone(),
        }
    }

    /// Passes over all pairs.
    pub fn run(&mut self, view: &View, prices: &Prices, rows: &[Row]) {
        let View { n, m, .. } = *view;
        self.first.resize(n, 0);
        self.second.resize(n, 0);
        self.gap.resize(n, 0.0);
        self.load.clear();
        self.load.resize(m, 0.0);
        self.sums.clear();
        self.sums.resize(rows.len(), 0.0);
        let mut sums = vec![Sum::default(); rows.len()];
        let mut value = Sum::default();
        let mut block = Block {
            best: Lanes([0.0; BLOCK]),
            second: Lanes([0.0; BLOCK]),
            first: Lanes([0.0; BLOCK]),
            other: Lanes([0.0; BLOCK]),
            rho: Lanes([prices.rho[0]; BLOCK]),
        };
        for start in (0..n).step_by(BLOCK) {
            let len = BLOCK.min(n - start);
            if let Some(group) = view.group {
                for (rho, &g) in block.rho.0.iter_mut().zip(&group[start..start + len]) {
                    *rho = prices.rho[g as usize];
                }
            }
            two_least(view, prices, start, len, &mut block);
            let first = &mut self.first[start..start + len];
            let second = &mut self.second[start..start + len];
            let gap = &mut self.gap[start..start + len];
            let mut part = 0.0;
            for t in 0..len {
                first[t] = block.first.0[t] as u32;
                second[t] = block.other.0[t] as u32;
                gap[t] = block.second.0[t] - block.best.0[t];
                part += block.best.0[t];
                self.load[first[t] as usize] += 1.0;
            }
            value.add(part);
            for (row, sum) in rows.iter().zip(&mut sums) {
                let mut part = 0.0;
                for (t, &j) in first.iter().enumerate() {
                    let at = j as usize * n + start + t;
                    let group = view.group.map_or(0, |group| group[start + t]);
                    part += row.weight(view.cost[at], view.quality[at], group);
                }
                sum.add(part);
            }
        }
        self.value = value.value();
        self.sums.iter_mut().zip(&sums).for_each(|(to, sum)| *to = sum.value());
    }
}

/// The two least values of each query of a block, and their models.
fn two_least(view: &View, prices: &Prices, start: usize, len: usize, block: &mut Block) {
    block.best.0.fill(f64::INFINITY);
    block.second.0.fill(f64::INFINITY);
    block.first.0.fill(0.0);
    for (j, &mu) in prices.mu.iter().enumerate() {
        let pairs = Column {
            model: j as f64,
            kappa: prices.kappa,
            mu,
            cost: &view.cost[j * view.n + start..][..len],
            quality: &view.quality[j * view.n + start..][..len],
            rho: &block.rho.0[..len],
        };
        let (best, second) = (&mut block.best.0[..len], &mut block.second.0[..len]);
        least_with(&pairs, best, second, &mut block.first.0[..len], &mut block.other.0[..len]);
    }
}

/// The pairs of one model with the queries of a block.
pub(super) struct Column<'a> {
    model: f64,
    kappa: f64,
    mu: f64,
    cost: &'a [f64],
    quality: &'a [f64],
    rho: &'a [f64],
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Column<'_> {
    fn len(&self) -> usize {
        self.cost.len()
    }

    /// The pairs from one query on.
    fn from(&self, t: usize) -> Self {
        Column { cost: &self.cost[t..], quality: &self.quality[t..], rho: &self.rho[t..], ..*self }
    }
}

vectorised! {
    /// Takes one more model into the two least.
    fn least_with(pairs: &Column, best: &mut [f64], second: &mut [f64], first: &mut [f64], other: &mut [f64]) {
        let n = best.len();
        let (cost, quality, rho) = (&pairs.cost[..n], &pairs.quality[..n], &pairs.rho[..n]);
        let (second, first, other) = (&mut second[..n], &mut first[..n], &mut other[..n]);
        let (kappa, mu, model) = (pairs.kappa, pairs.mu, pairs.model);
        for t in 0..n {
            // No number (0·∞, a forbidden pair that costs nothing) loses every comparison, as ∞ does.
            let v = kappa * cost[t] - rho[t] * quality[t] + mu;
            let (b, s) = (best[t], second[t]);
            let better = v < b;
            let (rest, from) = if better { (b, first[t]) } else { (v, model) };
            let next = rest < s;
            second[t] = if next { rest } else { s };
            other[t] = if next { from } else { other[t] };
            first[t] = if better { model } else { first[t] };
            best[t] = if better { v } else { b };
        }
    } in two lanes {
        let (kappa, mu, model) = (f64x2_splat(pairs.kappa), f64x2_splat(pairs.mu), f64x2_splat(pairs.model));
        for t in (0..best.len() & !1).step_by(2) {
            let priced = f64x2_mul(load(pairs.rho, t), load(pairs.quality, t));
            let v = f64x2_add(f64x2_sub(f64x2_mul(kappa, load(pairs.cost, t)), priced), mu);
            let (b, s, f) = (load(best, t), load(second, t), load(first, t));
            let better = f64x2_lt(v, b);
            let (rest, from) = (v128_bitselect(b, v, better), v128_bitselect(f, model, better));
            let next = f64x2_lt(rest, s);
            store(second, t, v128_bitselect(rest, s, next));
            store(other, t, v128_bitselect(from, load(other, t), next));
            store(first, t, v128_bitselect(model, f, better));
            store(best, t, v128_bitselect(v, b, better));
        }
    }
}
