//! Attention of all tokens of a text to each other, in float32.
//!
//! ```text
//! out_i = Σ_j softmax_j( q_i · k_j / √w ) · v_j        per head, of w numbers per token
//! ```

use super::lanes::{F32x4, LANES, unrolled};

/// Keys, or numbers of a head, that are computed together.
const COLUMNS: usize = 2 * LANES;

/// What the numbers of a head are a multiple of.
pub const HEAD_MULTIPLE: usize = COLUMNS;

/// Queries, keys and values `[tokens × width]`, heads side by side in each row; `out` has the same shape.
///
/// Four queries at a time stand in the lanes, so that their softmax needs no sum across lanes.
pub fn attention([q, k, v]: [&[f32]; 3], width: usize, heads: usize, out: &mut [f32]) {
    let (tokens, head) = (q.len() / width, width / heads);
    let scale = 1.0 / (head as f32).sqrt();
    // Keys as columns, of which the last ones are zero.
    let mut keys = vec![[0.0; COLUMNS]; tokens.div_ceil(COLUMNS) * head];
    let mut queries = vec![[0.0; LANES]; head];
    let mut scores = vec![[0.0; LANES]; tokens.next_multiple_of(COLUMNS)];
    for first in (0..heads).map(|h| h * head) {
        for (token, row) in k.chunks_exact(width).enumerate() {
            for (i, x) in row[first..first + head].iter().enumerate() {
                keys[token / COLUMNS * head + i][token % COLUMNS] = x * scale;
            }
        }
        for row in (0..tokens).step_by(LANES) {
            // Past the last row, it is computed again.
            let rows: [usize; LANES] = std::array::from_fn(|r| (row + r).min(tokens - 1));
            for (i, query) in queries.iter_mut().enumerate() {
                *query = rows.map(|row| q[row * width + first + i]);
            }
            for (scores, keys) in scores.as_chunks_mut().0.iter_mut().zip(keys.chunks_exact(head)) {
                score(&queries, keys, scores);
            }
            let sums = softmax(&mut scores[..tokens]).array();
            for column in (first..first + head).step_by(COLUMNS) {
                for (r, [low, high]) in mix(&scores[..tokens], &v[column..], width).into_iter().enumerate() {
                    let (fours, _) = out[rows[r] * width + column..][..COLUMNS].as_chunks_mut();
                    let share = F32x4::splat(1.0 / sums[r]);
                    (low * share).store(&mut fours[0]);
                    (high * share).store(&mut fours[1]);
                }
            }
        }
    }
}

/// The products of four queries with [`COLUMNS`] keys.
fn score(queries: &[[f32; LANES]], keys: &[[f32; COLUMNS]], scores: &mut [[f32; LANES]; COLUMNS]) {
    let mut sums = [F32x4::splat(0.0); COLUMNS];
    for (query, keys) in queries.iter().zip(keys) {
        let query = F32x4::load(query);
        unrolled!(for C in [0 1 2 3 4 5 6 7] { sums[C] = sums[C] + query * F32x4::splat(keys[C]) });
    }
    unrolled!(for C in [0 1 2 3 4 5 6 7] { sums[C].store(&mut scores[C]) });
}

/// The exponentials of each lane's scores over its greatest, and their sum.
fn softmax(scores: &mut [[f32; LANES]]) -> F32x4 {
    let mut most = F32x4::splat(f32::NEG_INFINITY);
    for score in &*scores {
        most = most.max(F32x4::load(score));
    }
    let mut sum = F32x4::splat(0.0);
    for score in scores {
        let share = (F32x4::load(score) - most).max(F32x4::splat(-80.0)).exp();
        sum = sum + share;
        share.store(score);
    }
    sum
}

/// The first [`COLUMNS`] numbers of value rows that are `stride` apart, added up by the shares of each lane.
fn mix(shares: &[[f32; LANES]], values: &[f32], stride: usize) -> [[F32x4; 2]; LANES] {
    let mut sums = [[F32x4::splat(0.0); 2]; LANES];
    for (shares, values) in shares.iter().zip(values.chunks(stride)) {
        let (fours, _) = values[..COLUMNS].as_chunks();
        let (low, high) = (F32x4::load(&fours[0]), F32x4::load(&fours[1]));
        unrolled!(for R in [0 1 2 3] {
            let share = F32x4::splat(shares[R]);
            sums[R] = [sums[R][0] + share * low, sums[R][1] + share * high];
        });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_scores_do_not_overflow() {
        let (q, v) = (vec![100.0; 16], (1..17).map(|i| i as f32).collect::<Vec<_>>());
        let keys: Vec<f32> = (0..16).map(|i| if i < 8 { 100.0 } else { -100.0 }).collect();
        let mut out = [0.0; 16];
        attention([&q, &keys, &v], 8, 1, &mut out);
        assert_eq!(out[..8], v[..8]);
    }

    #[test]
    fn the_same_as_by_the_formula() {
        for (tokens, heads, head) in [(1, 1, 8), (2, 2, 16), (9, 3, 8), (17, 1, 32)] {
            let width = heads * head;
            let numbers = |seed: f32| -> Vec<f32> {
                (0..tokens * width).map(|i| (i as f32 * 12.9898 + seed).sin() * 3.0).collect()
            };
            let (q, k, v) = (numbers(0.1), numbers(0.2), numbers(0.3));
            let mut found = vec![0.0; tokens * width];
            attention([&q, &k, &v], width, heads, &mut found);
            for h in 0..heads {
                let part = |x: &[f32], t: usize| -> Vec<f64> {
                    x[t * width + h * head..][..head].iter().map(|&x| f64::from(x)).collect()
                };
                for i in 0..tokens {
                    let score = |j| {
                        let products = part(&q, i).into_iter().zip(part(&k, j)).map(|(a, b)| a * b);
                        (products.sum::<f64>() / (head as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = (0..tokens).map(score).collect();
                    let total: f64 = scores.iter().sum();
                    for (c, found) in found[i * width + h * head..][..head].iter().enumerate() {
                        let expected: f64 = (0..tokens).map(|j| scores[j] / total * part(&v, j)[c]).sum();
                        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} instead of {expected}");
                    }
                }
            }
        }
    }
}
