//! Attention of all tokens of a text to each other, in float32.
//!
//! ```text
//! out_i = Σ_j softmax_j( q_i · k_j / √w ) · v_j        per head, of w numbers per token
//! ```

use super::lanes::{F32x4, LANES, unrolled};
use super::spans;

/// Keys, or numbers of a head, that are computed together.
const COLUMNS: usize = 2 * LANES;

/// What the numbers of a head are a multiple of.
pub const HEAD_MULTIPLE: usize = COLUMNS;

/// Rows of queries, keys and values side by side, `[tokens × 3 · width]`, the heads of each side by side; `out` is
/// `[tokens × width]`. Text i ends before row `ends[i]`.
///
/// Four queries at a time stand in the lanes, so that their softmax needs no sum across lanes.
pub fn attention(qkv: &[f32], ends: &[usize], width: usize, heads: usize, out: &mut [f32]) {
    let head = width / heads;
    let mut scratch = Scratch::default();
    for text in spans(ends) {
        let qkv = &qkv[text.start * 3 * width..text.end * 3 * width];
        let out = &mut out[text.start * width..text.end * width];
        for first in (0..width).step_by(head) {
            scratch.attend(qkv, first, head, width, out);
        }
    }
}

/// What a head of a text is laid out in, kept from one to the next.
#[derive(Default)]
struct Scratch {
    /// Keys as columns, scaled, `[tokens / COLUMNS][head]`; those past the last are not used.
    keys: Vec<[f32; COLUMNS]>,
    /// `[head]`.
    queries: Vec<[f32; LANES]>,
    /// `[tokens]`, rounded up to whole columns.
    scores: Vec<[f32; LANES]>,
}

impl Scratch {
    /// The head of `head` numbers that starts at `first`, for one text.
    fn attend(&mut self, qkv: &[f32], first: usize, head: usize, width: usize, out: &mut [f32]) {
        let tokens = out.len() / width;
        let scale = 1.0 / (head as f32).sqrt();
        self.keys.resize(tokens.div_ceil(COLUMNS) * head, [0.0; COLUMNS]);
        self.queries.resize(head, [0.0; LANES]);
        self.scores.resize(tokens.next_multiple_of(COLUMNS), [0.0; LANES]);
        for (token, row) in qkv.chunks_exact(3 * width).enumerate() {
            let keys = &mut self.keys[token / COLUMNS * head..][..head];
            for (keys, x) in keys.iter_mut().zip(&row[width + first..][..head]) {
                keys[token % COLUMNS] = x * scale;
            }
        }
        for row in (0..tokens).step_by(LANES) {
            // Past the last row, it is computed again.
            let rows: [usize; LANES] = std::array::from_fn(|r| (row + r).min(tokens - 1));
            for (i, query) in self.queries.iter_mut().enumerate() {
                *query = rows.map(|row| qkv[row * 3 * width + first + i]);
            }
            for (scores, keys) in self.scores.as_chunks_mut().0.iter_mut().zip(self.keys.chunks_exact(head)) {
                score(&self.queries, keys, scores);
            }
            let scores = &mut self.scores[..tokens];
            let sums = softmax(scores).array();
            for column in (first..first + head).step_by(COLUMNS) {
                let mixed = mix(scores, &qkv[2 * width + column..], 3 * width);
                for (r, [low, high]) in mixed.into_iter().enumerate() {
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

    /// Rows of q, k and v side by side.
    fn side_by_side([q, k, v]: [&[f32]; 3], width: usize) -> Vec<f32> {
        let rows = q.chunks(width).zip(k.chunks(width)).zip(v.chunks(width));
        rows.flat_map(|((q, k), v)| [q, k, v].concat()).collect()
    }

    #[test]
    fn great_scores_do_not_overflow() {
        let (q, v) = (vec![100.0; 16], (1..17).map(|i| i as f32).collect::<Vec<_>>());
        let keys: Vec<f32> = (0..16).map(|i| if i < 8 { 100.0 } else { -100.0 }).collect();
        let mut out = [0.0; 16];
        attention(&side_by_side([&q, &keys, &v], 8), &[2], 8, 1, &mut out);
        assert_eq!(out[..8], v[..8]);
    }

    #[test]
    fn the_same_as_by_the_formula_within_each_text() {
        for (ends, heads, head) in
            [(&[1][..], 1, 8), (&[2], 2, 16), (&[9], 3, 8), (&[17], 1, 32), (&[11, 12, 16, 33], 2, 8)]
        {
            let (tokens, width) = (ends[ends.len() - 1], heads * head);
            let numbers = |seed: f32| -> Vec<f32> {
                (0..tokens * width).map(|i| (i as f32 * 12.9898 + seed).sin() * 3.0).collect()
            };
            let (q, k, v) = (numbers(0.1), numbers(0.2), numbers(0.3));
            let mut found = vec![0.0; tokens * width];
            attention(&side_by_side([&q, &k, &v], width), ends, width, heads, &mut found);
            for (h, text) in (0..heads).flat_map(|h| spans(ends).map(move |text| (h, text))) {
                let part = |x: &[f32], t: usize| -> Vec<f64> {
                    x[t * width + h * head..][..head].iter().map(|&x| f64::from(x)).collect()
                };
                for i in text.clone() {
                    let score = |j| {
                        let products = part(&q, i).into_iter().zip(part(&k, j)).map(|(a, b)| a * b);
                        (products.sum::<f64>() / (head as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = text.clone().map(score).collect();
                    let total: f64 = scores.iter().sum();
                    for (c, found) in found[i * width + h * head..][..head].iter().enumerate() {
                        let shares = text.clone().zip(&scores);
                        let expected: f64 = shares.map(|(j, score)| score / total * part(&v, j)[c]).sum();
                        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} instead of {expected}");
                    }
                }
            }
        }
    }
}
