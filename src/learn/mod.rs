//! New models as data: abilities and lengths without training the predictor again.
//!
//! **Problem.** The predictor describes a query by skills *s*, a difficulty *d* and length dimensions
//! *h*; a model is a vector of weights for them. Given what is known of a model (graded answers, published
//! scores, a price) find that vector, and how sure of it one may be.
//!
//! **Ability from n graded answers** `y_i` in [0, 1], fractions allowed, with `z_i = (1, s_i)`:
//!
//! ```text
//! P(y_i) = σ(w·z_i − d_i)         w_k ~ N(mean_k, sd_k²)
//! w      = argmin  Σ_i [ln(1 + e^{l_i}) − y_i·l_i] + ½ Σ_k (w_k − mean_k)² / sd_k²,   l_i = w·z_i − d_i
//! H      = Σ_i p_i(1 − p_i)·z_i z_iᵀ + diag(1/sd_k²),   sd of w_k = sqrt (H⁻¹)_kk      (Laplace)
//! ```
//!
//! The objective is strictly convex, so Newton's method with backtracking finds the one minimum; the prior
//! keeps it finite when every answer is right, or there is one answer only. Cost: O(n·K²) a step.
//!
//! **Length from n counts of output tokens** `t_i`, with `x_i = (1, h_i)`, a residual variance σ² that is
//! shrunk as if ν = 10 answers with the prior's σ₀² had been seen, and V = (XᵀX/σ² + diag(1/sd_k²))⁻¹:
//!
//! ```text
//! ln t_i ~ N(v·x_i, σ²)            v_k ~ N(mean_k, sd_k²)
//! v  = V·(Xᵀ ln t / σ² + mean/sd²)
//! σ² = (ν·σ₀² + Σ_i (ln t_i − v·x_i)² + tr(V·XᵀX)) / (ν + n)           in turn, to the fixed point
//! ```
//!
//! What is reported as the residual is the spread of the next answer: σ² and what is not known of the level.
//!
//! **Where the prior comes from** is the caller's business; with a prior over models both are hierarchical
//! shrinkage (Gelman et al., Bayesian Data Analysis, ch. 5 and 16). Abilities are fitted to what the trained
//! predictor says, without the correction by neighbors: an index that holds these very answers would explain
//! them twice. The predictor itself has seen other models' answers to the queries it was trained on, and is a
//! little too sure of their difficulty; answers to queries of one's own do not have that flaw.
//!
//! `scores` does the same from published benchmark scores, and from a price.

mod linear;
mod scores;

pub use scores::{Placed, from_price, from_scores};

use crate::artifact::Prior;

use linear::{factor, inverse_diagonal, solve};

/// A weight is never held tighter than this, so that a prior that claims certainty can still be outweighed.
const LEAST_SD: f64 = 1e-3;

/// Answers that the prior's residual of a length is worth (ν).
const PRIOR_COUNTS: f64 = 10.0;

/// More than either iteration ever needs.
const ROUNDS: usize = 60;

/// A mean and the standard deviation of each of its entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// The most likely weights.
    pub mean: Vec<f64>,
    /// Their standard deviations.
    pub sd: Vec<f64>,
    /// Of a length, the standard deviation of the next answer's log of tokens.
    pub residual_sd: f64,
}

/// Rows of numbers behind a leading 1, one after the other: the z and x above.
struct Design {
    values: Vec<f64>,
    width: usize,
}

impl Design {
    fn new<'a>(rows: impl Iterator<Item = &'a [f64]>, width: usize) -> Self {
        let mut values = Vec::new();
        for row in rows {
            debug_assert_eq!(row.len() + 1, width);
            values.push(1.0);
            values.extend_from_slice(row);
        }
        Design { values, width }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// The Cholesky factor of `Σ_i weight_i·z_i z_iᵀ + diag(precision)`.
    fn information(&self, weights: &[f64], precision: &[f64]) -> Vec<f64> {
        let d = self.width;
        let mut matrix = vec![0.0; d * d];
        for (z, weight) in self.rows().zip(weights) {
            for (row, &a) in matrix.chunks_exact_mut(d).zip(z) {
                row.iter_mut().zip(z).for_each(|(cell, &b)| *cell += weight * a * b);
            }
        }
        for (k, precision) in precision.iter().enumerate() {
            matrix[k * d + k] += precision;
        }
        factor(&mut matrix, d);
        matrix
    }
}

/// The ability that graded answers and a prior agree on: pairs of skills with, per answer, the query's
/// difficulty and the grade.
pub fn ability(prior: &Prior, skills: &[&[f64]], graded: &[(f64, f64)]) -> Posterior {
    let z = Design::new(skills.iter().copied(), prior.mean.len());
    let precision = precisions(prior);
    let objective = |w: &[f64]| {
        let misfit = z.rows().zip(graded).map(|(z, &(difficulty, correct))| {
            let logit = dot(w, z) - difficulty;
            // ln(1 + e^l) without overflow
            logit.max(0.0) + (-logit.abs()).exp().ln_1p() - correct * logit
        });
        let strain =
            w.iter().zip(&prior.mean).zip(&precision).map(|((w, mean), p)| 0.5 * p * (w - mean).powi(2));
        misfit.sum::<f64>() + strain.sum::<f64>()
    };
    let chances = |w: &[f64]| -> Vec<f64> {
        z.rows().zip(graded).map(|(z, (difficulty, _))| sigmoid(dot(w, z) - difficulty)).collect()
    };
    let information = |p: &[f64]| {
        let weights: Vec<f64> = p.iter().map(|p| p * (1.0 - p)).collect();
        z.information(&weights, &precision)
    };

    let mut w = prior.mean.clone();
    let mut value = objective(&w);
    for _ in 0..ROUNDS {
        let p = chances(&w);
        let mut gradient: Vec<f64> =
            w.iter().zip(&prior.mean).zip(&precision).map(|((w, mean), p)| p * (w - mean)).collect();
        for ((z, p), (_, correct)) in z.rows().zip(&p).zip(graded) {
            gradient.iter_mut().zip(z).for_each(|(g, z)| *g += (p - correct) * z);
        }
        let mut step = gradient.clone();
        solve(&information(&p), &mut step);
        let decrease = dot(&gradient, &step); // of the quadratic model, twice; >= 0
        if decrease < 1e-14 * (1.0 + value.abs()) {
            break;
        }
        let mut share = 1.0;
        loop {
            let next: Vec<f64> = w.iter().zip(&step).map(|(w, s)| w - share * s).collect();
            let there = objective(&next);
            if there <= value - 1e-4 * share * decrease {
                (w, value) = (next, there);
                break;
            }
            share /= 2.0;
            if share < 1e-9 {
                break; // rounding: no better point can be told apart
            }
        }
        if share < 1e-9 {
            break;
        }
    }
    let variance = inverse_diagonal(&information(&chances(&w)), w.len());
    Posterior { mean: w, sd: variance.into_iter().map(f64::sqrt).collect(), residual_sd: 0.0 }
}

/// The length that counts of output tokens and a prior agree on: length dimensions with, per answer, the
/// log of its tokens.
pub fn length(prior: &Prior, dimensions: &[&[f64]], log_tokens: &[f64]) -> Posterior {
    let x = Design::new(dimensions.iter().copied(), prior.mean.len());
    let precision = precisions(prior);
    let n = log_tokens.len() as f64;
    let before = prior.residual_sd.max(LEAST_SD).powi(2);
    let mut residual = before;
    let mut v = prior.mean.clone();
    let mut variance = Vec::new();
    for _ in 0..ROUNDS {
        let information = x.information(&vec![1.0 / residual; log_tokens.len()], &precision);
        v = prior.mean.iter().zip(&precision).map(|(mean, p)| mean * p).collect();
        for (x, log) in x.rows().zip(log_tokens) {
            v.iter_mut().zip(x).for_each(|(v, x)| *v += x * log / residual);
        }
        solve(&information, &mut v);
        variance = inverse_diagonal(&information, v.len());
        // tr(V·XᵀX) = σ²·(L + 1 − tr(V·diag(1/sd²))), since V⁻¹ is the sum of both.
        let trace = residual * variance.iter().zip(&precision).map(|(v, p)| 1.0 - v * p).sum::<f64>();
        let errors: f64 = x.rows().zip(log_tokens).map(|(x, log)| (log - dot(&v, x)).powi(2)).sum();
        let next = (PRIOR_COUNTS * before + errors + trace) / (PRIOR_COUNTS + n);
        let settled = (next - residual).abs() < 1e-12 * residual;
        residual = next;
        if settled {
            break;
        }
    }
    let residual_sd = (residual + variance[0]).sqrt();
    Posterior { mean: v, sd: variance.into_iter().map(f64::sqrt).collect(), residual_sd }
}

fn precisions(prior: &Prior) -> Vec<f64> {
    prior.sd.iter().map(|sd| sd.max(LEAST_SD).powi(-2)).collect()
}

/// Not worth a copy at each of its many calls: the module is downloaded.
#[inline(never)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior() -> Prior {
        Prior { mean: vec![0.7, 0.1, -0.2], sd: vec![0.8, 0.3, 0.2], residual_sd: 0.5 }
    }

    /// Skills and grades of `n` queries; the wave stands in for a random draw.
    fn answers(n: usize, truth: &[f64]) -> (Vec<Vec<f64>>, Vec<(f64, f64)>) {
        let wave = |i: usize, step: f64| (i as f64 * step).sin() * 1.5;
        let skills: Vec<Vec<f64>> = (0..n).map(|i| vec![wave(i, 1.3), wave(i, 2.1)]).collect();
        let graded = skills.iter().enumerate().map(|(i, s)| {
            let difficulty = wave(i, 0.7);
            let chance = sigmoid(truth[0] + truth[1] * s[0] + truth[2] * s[1] - difficulty);
            (difficulty, chance) // the expected grade: a fraction is a grade as good as any
        });
        let graded = graded.collect();
        (skills, graded)
    }

    fn fitted(n: usize, truth: &[f64]) -> Posterior {
        let (skills, graded) = answers(n, truth);
        let skills: Vec<&[f64]> = skills.iter().map(Vec::as_slice).collect();
        ability(&prior(), &skills, &graded)
    }

    #[test]
    fn nothing_seen_is_the_prior() {
        let found = ability(&prior(), &[], &[]);
        assert_eq!(found.mean, prior().mean);
        assert!(found.sd.iter().zip(&prior().sd).all(|(a, b)| (a - b).abs() < 1e-12));
        let found = length(&prior(), &[], &[]);
        assert!((found.residual_sd - 0.5f64.hypot(0.8)).abs() < 1e-12);
        assert!(found.mean.iter().zip(&prior().mean).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn the_gradient_vanishes_and_its_slope_is_the_information() {
        let (skills, graded) = answers(40, &[2.0, -0.5, 0.6]);
        let skills: Vec<&[f64]> = skills.iter().map(Vec::as_slice).collect();
        let found = ability(&prior(), &skills, &graded);
        let gradient = |w: &[f64]| -> Vec<f64> {
            (0..3)
                .map(|k| {
                    let rows = skills.iter().zip(&graded).map(|(s, (difficulty, correct))| {
                        let z = [1.0, s[0], s[1]];
                        (sigmoid(dot(w, &z) - difficulty) - correct) * z[k]
                    });
                    rows.sum::<f64>() + (w[k] - prior().mean[k]) / prior().sd[k].powi(2)
                })
                .collect()
        };
        assert!(gradient(&found.mean).iter().all(|g| g.abs() < 1e-6));
        // Numerical Hessian, inverted by Cramer's rule for its first entry.
        let h: Vec<Vec<f64>> = (0..3)
            .map(|k| {
                let at = |e: f64| {
                    let mut w = found.mean.clone();
                    w[k] += e;
                    gradient(&w)
                };
                at(1e-5).iter().zip(at(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect()
            })
            .collect();
        let minor = h[1][1] * h[2][2] - h[1][2] * h[2][1];
        let det = h[0][0] * minor - h[0][1] * (h[1][0] * h[2][2] - h[1][2] * h[2][0])
            + h[0][2] * (h[1][0] * h[2][1] - h[1][1] * h[2][0]);
        assert!((found.sd[0].powi(2) - minor / det).abs() < 1e-6);
    }

    #[test]
    fn more_answers_outweigh_the_prior() {
        let truth = [3.0, -0.6, 0.7];
        let errors = [1, 10, 100, 10_000].map(|n| {
            let found = fitted(n, &truth);
            found.mean.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        });
        assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
        assert!(errors[3] < 0.05, "{errors:?}");
    }

    #[test]
    fn all_right_all_wrong_and_a_certain_prior_stay_finite() {
        for (grade, n) in [(1.0, 1), (0.0, 1), (1.0, 5_000), (0.0, 5_000)] {
            for difficulty in [0.0, -300.0, 300.0] {
                let skills = vec![&[40.0, -40.0][..]; n];
                let found = ability(&prior(), &skills, &vec![(difficulty, grade); n]);
                assert!(found.mean.iter().chain(&found.sd).all(|x| x.is_finite()), "{grade} {n} {found:?}");
                found
                    .sd
                    .iter()
                    .zip(&prior().sd)
                    .for_each(|(after, before)| assert!(*after <= before + 1e-12));
            }
        }
        let certain = Prior { sd: vec![0.0; 3], ..prior() };
        let found = ability(&certain, &[&[1.0, 1.0]], &[(0.0, 0.0)]);
        assert!((found.mean[0] - 0.7).abs() < 1e-5 && found.sd[0] > 0.0);
    }

    #[test]
    fn lengths_are_learnt_and_so_is_their_spread() {
        let (dimensions, _) = answers(4_000, &[0.0; 3]);
        let noise = |i: usize| if i.is_multiple_of(2) { 0.25 } else { -0.25 };
        let logs: Vec<f64> =
            dimensions.iter().enumerate().map(|(i, h)| 2.0 + 0.4 * h[0] - 0.1 * h[1] + noise(i)).collect();
        let rows: Vec<&[f64]> = dimensions.iter().map(Vec::as_slice).collect();
        let many = length(&prior(), &rows, &logs);
        for (found, truth) in many.mean.iter().zip([2.0, 0.4, -0.1]) {
            assert!((found - truth).abs() < 0.01, "{many:?}");
        }
        assert!((many.residual_sd - 0.25).abs() < 0.01, "{many:?}");
        let few = length(&prior(), &rows[..3], &logs[..3]);
        assert!(few.residual_sd > 0.4 && few.sd[0] > 0.2 && many.sd[0] < 0.01, "{few:?}");
    }
}
