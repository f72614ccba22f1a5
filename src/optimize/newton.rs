//! Prices close to the optimum, fast: damped Newton steps on the dual, from small samples up.
//!
//! The dual `D(π) = Σ_i min_j v_ij + Σ y·W − Σ μ·L` of prices `π = (y, μ) ≥ 0` is concave and
//! piecewise linear, but a sum over many queries is nearly smooth: its slope is what the rows lack
//! and the models are over their limits, its curvature the density of near-ties. Of the queries whose
//! two best models are within h of each other, half as many change model per h of price; each adds
//! `u·uᵀ/2h`, where u is the difference of its two columns. Every level of the cascade starts at the
//! prices of a sample of an eighth of its size or less, the lowest solved exactly, and takes two to ten
//! steps of a pass each.
//!
//! The result is any prices ≥ 0, near the optimum; `simplex` makes them exact.

use super::core::Core;
use super::order::{Keyed, at_rank};
use super::rows::{Coupled, Row, Share};
use super::simplex::Simplex;
use super::sweep::{Prices, Sweep, View};
use super::{Effort, Stage};
use crate::error::Result;

/// Each level of the cascade has so many times the queries of the one below; the whole up to 32 times.
const FACTOR: usize = 8;
/// Queries taken together into a sample: a cache line of costs.
const RUN: usize = 8;
/// A sample is not smaller than this times the number of prices.
const LEAST_PER_PRICE: usize = 10;
/// Steps per level.
const STEPS: usize = 10;
/// Gaps looked at to find the width of a near-tie, and the least number that decides one.
const GAPS: usize = 8192;
const LEAST_GAPS: f64 = 2.0;
/// Damping of a step, as a fraction of what keeps it within a width; ten times as much after a step
/// too far.
const DAMPING: f64 = 0.02;
/// Steps end when no price has more left to move than this times the root of the queries.
const NOISE: f64 = 0.15;

/// The cascade's workspace.
#[derive(Default)]
pub(super) struct Newton {
    pub sweep: Sweep,
    rho: Vec<f64>,
    slope: Vec<f64>,
    best: Vec<f64>,
    hessian: Vec<f64>,
    factor: Vec<f64>,
    step: Vec<f64>,
    free: Vec<usize>,
    gaps: Vec<Vec<Keyed>>,
    effect: Vec<f64>,
    /// Per model, the gap below which a query counts as a near-tie.
    width: Vec<f64>,
    sample: Sample,
    /// The last pass was made at the prices returned.
    pub fresh: bool,
}

/// The queries of a lower level.
#[derive(Default)]
struct Sample {
    cost: Vec<f64>,
    quality: Vec<f64>,
    group: Vec<u32>,
}

impl Newton {
    /// Prices `(y, μ)` near the optimum for the whole problem; `exact` solves the lowest level.
    pub fn prices(
        &mut self,
        coupled: &Coupled,
        view: &View,
        exact: &mut Simplex,
        effort: &mut Effort,
    ) -> Result<Vec<f64>> {
        let mut pi = vec![0.0; coupled.rows.len() + view.m];
        let least = (LEAST_PER_PRICE * pi.len()).max(RUN);
        let mut level = view.n / least;
        self.fresh = false;
        if level < 2 {
            return Ok(pi);
        }
        let mut lowest = true;
        while level >= 2 {
            let mut sample = std::mem::take(&mut self.sample);
            sample.take(view, level);
            let part = sample.view(view);
            let share = Share::of(coupled, &part);
            if lowest {
                let core = Core::new(coupled, &part, &share, (0..part.n as u32).collect(), None);
                exact.start(&core, core.scaled(&pi));
                exact.run(&core, 50 * part.n as u64);
                pi = core.unscaled(&exact.pi);
                lowest = false;
            } else {
                self.climb(coupled, &part, &share, &mut pi);
            }
            self.sample = sample;
            effort.tell(Stage::Prices)?;
            // The level below the whole is not nearly the whole.
            level = if level / FACTOR < 4 { 1 } else { level / FACTOR };
        }
        self.climb(coupled, view, &Share::of(coupled, view), &mut pi);
        Ok(pi)
    }

    /// Newton steps on one level until what is left to move is noise.
    fn climb(&mut self, coupled: &Coupled, view: &View, share: &Share, pi: &mut [f64]) {
        let (k, d) = (share.need.len(), pi.len());
        let noise = NOISE * (view.n as f64).sqrt();
        let mut highest = f64::NEG_INFINITY;
        let mut damping = DAMPING;
        self.fresh = false;
        self.best.clear();
        self.best.extend_from_slice(pi);
        for _ in 0..STEPS {
            normalise(coupled, &mut pi[k..]);
            let slope = std::mem::take(&mut self.slope);
            let value = self.evaluate(coupled, view, share, pi);
            self.fresh = value >= highest;
            if value < highest {
                // Too far: from where it was with more damping.
                damping *= 10.0;
                self.slope = slope;
                pi.copy_from_slice(&self.best);
                self.solve(coupled, k, pi, damping);
                pi.iter_mut().zip(&self.step).for_each(|(pi, step)| *pi = (*pi + step).max(0.0));
                continue;
            }
            highest = value;
            damping = (0.3 * damping).max(DAMPING);
            self.best.copy_from_slice(pi);
            self.widths(view, |newton, j, touching| {
                // Twice what must still move there, and its part of what the coupling rows lack.
                let own = if pi[k + j] > 0.0 || newton.slope[k + j] > 0.0 {
                    newton.slope[k + j].abs()
                } else {
                    0.0
                };
                2.0 * own + touching * newton.lack(pi, k) / view.n as f64 + 8.0
            });
            self.curvature(coupled, view, d);
            if self.left(k, pi) <= noise {
                break;
            }
            self.solve(coupled, k, pi, damping);
            pi.iter_mut().zip(&self.step).for_each(|(pi, step)| *pi = (*pi + step).max(0.0));
        }
        pi.copy_from_slice(&self.best);
    }

    /// The largest slope, in queries.
    fn left(&self, k: usize, pi: &[f64]) -> f64 {
        let open = |q: &usize| pi[*q] > 0.0 || self.slope[*q] > 0.0;
        let one = |q: usize| {
            let unit = if q < k { self.effect[q] } else { 1.0 };
            (self.slope[q] / unit).abs()
        };
        (0..pi.len()).filter(open).map(one).fold(0.0, f64::max)
    }

    /// D, its slope, and the gaps.
    fn evaluate(&mut self, coupled: &Coupled, view: &View, share: &Share, pi: &[f64]) -> f64 {
        let (y, mu) = pi.split_at(share.need.len());
        let kappa = coupled.weights(y, &mut self.rho);
        self.sweep.run(view, &Prices { kappa, rho: &self.rho, mu }, &coupled.rows);
        let mut value = self.sweep.value;
        self.slope.clear();
        for ((need, sum), y) in share.need.iter().zip(&self.sweep.sums).zip(y) {
            self.slope.push(need - sum);
            value += y * need;
        }
        for ((limit, load), mu) in share.limit.iter().zip(&self.sweep.load).zip(mu) {
            self.slope.push(load - limit);
            value -= mu * limit;
        }
        value
    }

    /// What the coupling rows lack or have too much of, in queries.
    fn lack(&self, pi: &[f64], k: usize) -> f64 {
        let open = |r: &usize| pi[*r] > 0.0 || self.slope[*r] > 0.0;
        (0..k).filter(open).map(|r| 4.0 * self.slope[r].abs()).sum()
    }

    /// Per model, the gap within which about `wanted(self, model, queries near it)` queries have it as
    /// best or second.
    fn widths(&mut self, view: &View, wanted: impl Fn(&Self, usize, f64) -> f64) {
        let stride = view.n.div_ceil(GAPS).max(1);
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.resize(view.m, Vec::new());
        gaps.iter_mut().for_each(Vec::clear);
        for i in (0..view.n).step_by(stride).filter(|&i| self.sweep.gap[i].is_finite()) {
            gaps[self.sweep.first[i] as usize].push((self.sweep.gap[i], 0));
            gaps[self.sweep.second[i] as usize].push((self.sweep.gap[i], 0));
        }
        self.width.clear();
        for (j, gaps) in gaps.iter_mut().enumerate() {
            let touching = (gaps.len() * stride) as f64;
            let at = (wanted(self, j, touching) / stride as f64).max(LEAST_GAPS) as usize;
            let width = match gaps.len() {
                0 => 0.0,
                len => at_rank(gaps, at.min(len - 1)),
            };
            self.width.push(width.max(f64::MIN_POSITIVE));
        }
        self.gaps = gaps;
    }

    /// About `wanted` queries whose two best models are closest, at least some for each model, in order.
    pub fn closest(&mut self, view: &View, wanted: usize) -> Vec<u32> {
        if wanted >= view.n {
            return (0..view.n as u32).collect();
        }
        let fraction = 0.5 * wanted as f64 / view.n as f64;
        self.widths(view, |_, _, touching| (fraction * touching).max(0.4 * wanted as f64 / view.m as f64));
        let near = |i: &u32| {
            let i = *i as usize;
            let width = |j: u32| self.width[j as usize];
            self.sweep.gap[i] <= width(self.sweep.first[i]).max(width(self.sweep.second[i]))
        };
        (0..view.n as u32).filter(near).collect()
    }

    /// The Hessian of −D, and the mean effect of a near-tie on each coupling row.
    fn curvature(&mut self, coupled: &Coupled, view: &View, d: usize) {
        let k = coupled.rows.len();
        self.hessian.clear();
        self.hessian.resize(d * d, 0.0);
        self.effect.clear();
        self.effect.resize(k, 0.0);
        let mut count = 0.0;
        let mut u = vec![0.0; k];
        for i in 0..view.n {
            let (first, other) = (self.sweep.first[i] as usize, self.sweep.second[i] as usize);
            let width = self.width[first].max(self.width[other]);
            if self.sweep.gap[i] > width || first == other {
                continue;
            }
            // Half of what is within the width on either side changes.
            let density = 0.5 / width;
            let group = view.group.map_or(0, |group| group[i]);
            let weight = |row: &Row, j: usize| {
                row.weight(view.cost[j * view.n + i], view.quality[j * view.n + i], group)
            };
            for ((u, effect), row) in u.iter_mut().zip(&mut self.effect).zip(&coupled.rows) {
                *u = weight(row, first) - weight(row, other);
                *effect += *u * *u;
            }
            count += 1.0;
            let (from, to) = (k + first, k + other);
            for (a, &ua) in u.iter().enumerate().filter(|(_, u)| **u != 0.0) {
                for (b, &ub) in u.iter().enumerate() {
                    self.hessian[a * d + b] += density * ua * ub;
                }
                self.hessian[to * d + a] += density * ua;
                self.hessian[a * d + to] += density * ua;
                self.hessian[from * d + a] -= density * ua;
                self.hessian[a * d + from] -= density * ua;
            }
            self.hessian[to * d + to] += density;
            self.hessian[from * d + from] += density;
            self.hessian[from * d + to] -= density;
            self.hessian[to * d + from] -= density;
        }
        for (effect, row) in self.effect.iter_mut().zip(&coupled.rows) {
            *effect = (*effect / f64::max(count, 1.0))
                .sqrt()
                .max(1e-9 * row.need.abs() / row.size as f64)
                .max(f64::MIN_POSITIVE);
        }
    }

    /// The step that maximises the quadratic model over π + step ≥ 0: prices that would fall below
    /// zero are put there and the rest solved again.
    fn solve(&mut self, coupled: &Coupled, k: usize, pi: &[f64], damping: f64) {
        let d = pi.len();
        self.step.clear();
        self.step.resize(d, 0.0);
        self.free.clear();
        let frozen = |q: usize| q >= k && !coupled.limited(q - k);
        self.free.extend((0..d).filter(|&q| !frozen(q) && (pi[q] > 0.0 || self.slope[q] > 0.0)));
        let mean = self.width.iter().sum::<f64>() / self.width.len() as f64;
        for _ in 0..d {
            let f = self.free.len();
            self.factor.clear();
            self.factor.resize(f * (f + 1), 0.0);
            for (a, &qa) in self.free.iter().enumerate() {
                for (b, &qb) in self.free.iter().enumerate() {
                    self.factor[a * f + b] = self.hessian[qa * d + qb];
                }
                // Levenberg's damping, which also holds prices that no near-tie moves: a slope of one
                // query must not ask for more than a few widths.
                let (effect, width) =
                    if qa < k { (self.effect[qa], mean) } else { (1.0, self.width[qa - k]) };
                let own = self.hessian[qa * d + qa];
                self.factor[a * f + a] +=
                    1e-9 * own + effect * damping * (self.slope[qa].abs() + 0.1 * effect) / width;
                let fixed: f64 = (0..d).map(|q| self.hessian[qa * d + q] * self.step[q]).sum();
                self.factor[f * f + a] = self.slope[qa] - fixed;
            }
            let (matrix, right) = self.factor.split_at_mut(f * f);
            cholesky(matrix, right, f);
            let mut clipped = false;
            let right = right.to_vec();
            let mut at = 0;
            let step = &mut self.step;
            self.free.retain(|&q| {
                let moved = right[at];
                at += 1;
                let below = pi[q] + moved < 0.0;
                if below {
                    step[q] = -pi[q];
                    clipped = true;
                }
                !below
            });
            if !clipped {
                self.free.iter().zip(&right).for_each(|(&q, &moved)| step[q] = moved);
                return;
            }
        }
    }
}

impl Sample {
    /// Every `level`-th run of queries.
    fn take(&mut self, view: &View, level: usize) {
        let starts = || (RUN * (level / 2)..view.n).step_by(RUN * level);
        self.cost.clear();
        self.quality.clear();
        self.group.clear();
        for j in 0..view.m {
            for start in starts() {
                let range = j * view.n + start..j * view.n + (start + RUN).min(view.n);
                self.cost.extend_from_slice(&view.cost[range.clone()]);
                self.quality.extend_from_slice(&view.quality[range]);
            }
        }
        if let Some(group) = view.group {
            starts().for_each(|start| self.group.extend_from_slice(&group[start..(start + RUN).min(view.n)]));
        }
    }

    fn view(&self, whole: &View) -> View<'_> {
        let n = self.cost.len() / whole.m;
        View {
            n,
            cost: &self.cost,
            quality: &self.quality,
            group: whole.group.map(|_| &self.group[..]),
            m: whole.m,
        }
    }
}

/// With slots to spare in total, the least price of a slot is 0.
fn normalise(coupled: &Coupled, mu: &mut [f64]) {
    let least = mu.iter().copied().fold(f64::INFINITY, f64::min);
    if least > 0.0 && (0..mu.len()).all(|j| coupled.limited(j)) {
        for mu in mu {
            *mu -= least;
        }
    }
}

/// Solves `A·x = b` in place for a symmetric positive definite A (row-major); a pivot lost to
/// rounding leaves its unknown at 0.
fn cholesky(a: &mut [f64], b: &mut [f64], n: usize) {
    for c in 0..n {
        let whole = a[c * n + c];
        let pivot = whole - (0..c).map(|t| a[c * n + t] * a[c * n + t]).sum::<f64>();
        let root = if pivot > 1e-12 * whole { pivot.sqrt() } else { f64::INFINITY };
        a[c * n + c] = root;
        for r in c + 1..n {
            let dot: f64 = (0..c).map(|t| a[r * n + t] * a[c * n + t]).sum();
            a[r * n + c] = (a[r * n + c] - dot) / root;
        }
        let dot: f64 = (0..c).map(|t| a[c * n + t] * b[t]).sum();
        b[c] = (b[c] - dot) / root;
    }
    for c in (0..n).rev() {
        let dot: f64 = (c + 1..n).map(|t| a[t * n + c] * b[t]).sum();
        b[c] = (b[c] - dot) / a[c * n + c];
    }
}
