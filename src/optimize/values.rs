//! What the pairs of a core are worth at prices, and how fast that changes along a direction.

use super::core::{Core, NO_ROW};
use super::lanes::vectorised;
use super::rows::weights;

/// What stands before cost, quality and slots along a direction or at prices.
pub(super) struct Terms<'a> {
    pub kappa: f64,
    /// Per group.
    pub rho: &'a [f64],
    /// Per row of the core.
    pub mu: &'a [f64],
}

impl Terms<'_> {
    /// `v` of a pair, or its rate; +inf where forbidden.
    pub fn of(&self, core: &Core, q: usize, j: usize) -> f64 {
        let at = j * core.n + q;
        let mu = if core.row_of[j] == NO_ROW { 0.0 } else { self.mu[core.row_of[j] as usize] };
        self.kappa * core.cost[at] - self.rho[core.group[q] as usize] * core.quality[at]
            + mu
            + core.offset[at]
    }
}

/// κ, with ρ per group into `rho`, of row prices; `sigma` counts the objective.
pub(super) fn terms<'a>(core: &Core, sigma: f64, pi: &'a [f64], rho: &'a mut Vec<f64>) -> Terms<'a> {
    let goal = (sigma * core.goal.0, sigma * core.goal.1);
    let kappa = weights(&core.rows, goal, pi, core.groups, rho);
    Terms { kappa, rho, mu: pi }
}

/// The column of a pair: −w per coupling row, 1 at its model's slots.
pub(super) fn add_column(core: &Core, q: usize, j: usize, sign: f64, to: &mut [f64]) {
    for (to, row) in to.iter_mut().zip(&core.rows) {
        *to -= sign * core.weight(row, q, j);
    }
    if core.row_of[j] != NO_ROW {
        to[core.row_of[j] as usize] += sign;
    }
}

/// The pairs of one model, and each query's value and rate on its key.
pub(super) struct Pairs<'a> {
    pub model: f64,
    pub cost: &'a [f64],
    pub quality: &'a [f64],
    pub offset: &'a [f64],
    pub now: &'a [f64],
    pub rate: &'a [f64],
    /// κ, ρ per query, μ of the model.
    pub at: (f64, &'a [f64], f64),
    pub turn: (f64, &'a [f64], f64),
    pub least_rate: f64,
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Pairs<'_> {
    fn len(&self) -> usize {
        self.cost.len()
    }

    /// The pairs from one query on.
    fn from(&self, q: usize) -> Self {
        Pairs {
            cost: &self.cost[q..],
            quality: &self.quality[q..],
            offset: &self.offset[q..],
            now: &self.now[q..],
            rate: &self.rate[q..],
            at: (self.at.0, &self.at.1[q..], self.at.2),
            turn: (self.turn.0, &self.turn.1[q..], self.turn.2),
            ..*self
        }
    }
}

vectorised! {
    /// Values and rates of the pairs; lowers `nearest` (and sets `model`) where this model overtakes the
    /// key first.
    fn closest(pairs: &Pairs, nearest: &mut [f64], model: &mut [f64], values: &mut [f64], rates: &mut [f64]) {
        let n = nearest.len();
        let (cost, quality, offset) = (&pairs.cost[..n], &pairs.quality[..n], &pairs.offset[..n]);
        let (now, rate, model) = (&pairs.now[..n], &pairs.rate[..n], &mut model[..n]);
        let ((kappa, rho, mu), (turn_kappa, turn_rho, turn_mu)) = (pairs.at, pairs.turn);
        let (rho, turn_rho) = (&rho[..n], &turn_rho[..n]);
        let (values, rates) = (&mut values[..n], &mut rates[..n]);
        let (least_rate, number) = (pairs.least_rate, pairs.model);
        for q in 0..n {
            values[q] = kappa * cost[q] - rho[q] * quality[q] + mu + offset[q];
            rates[q] = turn_kappa * cost[q] - turn_rho[q] * quality[q] + turn_mu;
            let (distance, closing) = (values[q] - now[q], rate[q] - rates[q]);
            let t = if distance > 0.0 { distance } else { 0.0 } / closing;
            let t = if closing > least_rate { t } else { f64::INFINITY };
            let closer = t < nearest[q];
            model[q] = if closer { number } else { model[q] };
            nearest[q] = if closer { t } else { nearest[q] };
        }
    } in two lanes {
        let ((kappa, rho, mu), (turn_kappa, turn_rho, turn_mu)) = (pairs.at, pairs.turn);
        let (kappa, mu) = (f64x2_splat(kappa), f64x2_splat(mu));
        let (turn_kappa, turn_mu) = (f64x2_splat(turn_kappa), f64x2_splat(turn_mu));
        let (zero, least_rate, number) = (f64x2_splat(0.0), f64x2_splat(pairs.least_rate), f64x2_splat(pairs.model));
        for q in (0..nearest.len() & !1).step_by(2) {
            let (cost, quality) = (load(pairs.cost, q), load(pairs.quality, q));
            let value = f64x2_add(f64x2_sub(f64x2_mul(kappa, cost), f64x2_mul(load(rho, q), quality)), mu);
            let value = f64x2_add(value, load(pairs.offset, q));
            let pace = f64x2_sub(f64x2_mul(turn_kappa, cost), f64x2_mul(load(turn_rho, q), quality));
            let pace = f64x2_add(pace, turn_mu);
            store(values, q, value);
            store(rates, q, pace);
            let distance = f64x2_sub(value, load(pairs.now, q));
            let distance = v128_bitselect(distance, zero, f64x2_gt(distance, zero));
            let closing = f64x2_sub(load(pairs.rate, q), pace);
            let t = f64x2_div(distance, closing);
            // A lane that does not close in is never nearer.
            let before = load(nearest, q);
            let closer = v128_and(f64x2_gt(closing, least_rate), f64x2_lt(t, before));
            store(model, q, v128_bitselect(number, load(model, q), closer));
            store(nearest, q, v128_bitselect(t, before, closer));
        }
    }
}
