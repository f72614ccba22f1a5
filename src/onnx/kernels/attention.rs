//! Attention of all tokens of a text to each other, in float32.
//!
//! ```text
//! out_i = Σ_j softmax_j( q_i · k_j / √w ) · v_j        per head, of w numbers per token
//! ```

use super::lanes::{F32x4, LANES, unrolled};
use super::spans;

/// Queries that are computed together.
const ROWS: usize = 4;

/// Keys, or numbers of a head, that are.
const COLUMNS: usize = 2 * LANES;

/// What the numbers of a head are a multiple of.
pub const HEAD_MULTIPLE: usize = COLUMNS;

/// Scores of keys for some queries, then what share of the value each key gives.
type Scores = [[f32; COLUMNS]; ROWS];

/// Rows of queries, keys and values side by side, `[tokens × 3 · width]`, the heads of each side by side; `out` is
/// `[tokens × width]`. Text i ends before row `ends[i]`.
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
    /// Keys as columns, scaled, `[tokens / COLUMNS][head]`; those past the last do not count.
    keys: Vec<[f32; COLUMNS]>,
    /// `[head / COLUMNS][tokens]`: rows of `qkv` are so far apart that few of them stay in a cache together.
    values: Vec<[f32; COLUMNS]>,
    /// `[tokens / COLUMNS]`.
    scores: Vec<Scores>,
}

impl Scratch {
    /// The head of `head` numbers that starts at `first`, for one text.
    fn attend(&mut self, qkv: &[f32], first: usize, head: usize, width: usize, out: &mut [f32]) {
        let tokens = out.len() / width;
        let blocks = tokens.div_ceil(COLUMNS);
        let scale = 1.0 / (head as f32).sqrt();
        self.keys.resize(blocks * head, [0.0; COLUMNS]);
        self.values.resize(tokens * head / COLUMNS, [0.0; COLUMNS]);
        self.scores.resize(blocks, [[0.0; COLUMNS]; ROWS]);
        for (token, row) in qkv.chunks_exact(3 * width).enumerate() {
            let keys = &mut self.keys[token / COLUMNS * head..][..head];
            for (keys, x) in keys.iter_mut().zip(&row[width + first..][..head]) {
                keys[token % COLUMNS] = x * scale;
            }
            let (values, _) = row[2 * width + first..][..head].as_chunks::<LANES>();
            for (part, value) in values.as_chunks::<2>().0.iter().enumerate() {
                // By lanes: in wasm, a copy of an array is a call of `memory.copy`, as slow as the rest of this loop.
                let (to, _) = self.values[part * tokens + token].as_chunks_mut::<LANES>();
                unrolled!(for H in [0 1] { F32x4::load(&value[H]).store(&mut to[H]) });
            }
        }
        for row in (0..tokens).step_by(ROWS) {
            // Past the last row, it is computed again.
            let rows: [usize; ROWS] = std::array::from_fn(|r| (row + r).min(tokens - 1));
            let queries = rows.map(|row| &qkv[row * 3 * width + first..][..head]);
            for (scores, keys) in self.scores.iter_mut().zip(self.keys.chunks_exact(head)) {
                score(queries, keys, scores);
            }
            if let Some(last) = self.scores.last_mut() {
                for score in last.iter_mut().flat_map(|row| &mut row[tokens - (blocks - 1) * COLUMNS..]) {
                    *score = f32::NEG_INFINITY;
                }
            }
            let sums: [f32; ROWS] = std::array::from_fn(|r| softmax(&mut self.scores, r));
            for (part, values) in self.values.chunks_exact(tokens).enumerate() {
                let mixed = mix(&self.scores, values);
                unrolled!(for R in [0 1 2 3] {
                    let to = rows[R] * width + first + part * COLUMNS;
                    let (fours, _) = out[to..][..COLUMNS].as_chunks_mut();
                    let share = F32x4::splat(1.0 / sums[R]);
                    (mixed[R][0] * share).store(&mut fours[0]);
                    (mixed[R][1] * share).store(&mut fours[1]);
                });
            }
        }
    }
}

/// The products of queries with [`COLUMNS`] keys.
fn score(queries: [&[f32]; ROWS], keys: &[[f32; COLUMNS]], scores: &mut Scores) {
    // As long as the keys, which spares a check of every index.
    let queries = queries.map(|query| &query[..keys.len()]);
    let mut sums = [[F32x4::splat(0.0); 2]; ROWS];
    for (i, keys) in keys.iter().enumerate() {
        let (fours, _) = keys.as_chunks();
        let (low, high) = (F32x4::load(&fours[0]), F32x4::load(&fours[1]));
        unrolled!(for R in [0 1 2 3] {
            let query = F32x4::splat(queries[R][i]);
            sums[R] = [sums[R][0] + query * low, sums[R][1] + query * high];
        });
    }
    unrolled!(for R in [0 1 2 3] {
        let (fours, _) = scores[R].as_chunks_mut();
        sums[R][0].store(&mut fours[0]);
        sums[R][1].store(&mut fours[1]);
    });
}

/// The exponentials of a query's scores over its greatest, and their sum.
fn softmax(scores: &mut [Scores], query: usize) -> f32 {
    let mut most = F32x4::splat(f32::NEG_INFINITY);
    for scores in &*scores {
        let (fours, _) = scores[query].as_chunks();
        most = most.max(F32x4::load(&fours[0])).max(F32x4::load(&fours[1]));
    }
    let [a, b, c, d] = most.array();
    let most = F32x4::splat(a).max(F32x4::splat(b)).max(F32x4::splat(c)).max(F32x4::splat(d));
    let mut sum = F32x4::splat(0.0);
    for scores in scores {
        let (fours, _) = scores[query].as_chunks_mut();
        unrolled!(for H in [0 1] {
            let share = (F32x4::load(&fours[H]) - most).max(F32x4::splat(-80.0)).exp();
            sum = sum + share;
            share.store(&mut fours[H]);
        });
    }
    sum.sum()
}

/// Parts of values, added up by the shares of each query.
fn mix(shares: &[Scores], values: &[[f32; COLUMNS]]) -> [[F32x4; 2]; ROWS] {
    let mut sums = [[F32x4::splat(0.0); 2]; ROWS];
    for (shares, values) in shares.iter().zip(values.chunks(COLUMNS)) {
        for (key, values) in values.iter().enumerate() {
            let (fours, _) = values.as_chunks();
            let (low, high) = (F32x4::load(&fours[0]), F32x4::load(&fours[1]));
            unrolled!(for R in [0 1 2 3] {
                let share = F32x4::splat(shares[R][key]);
                sums[R] = [sums[R][0] + share * low, sums[R][1] + share * high];
            });
        }
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
    fn numbers_that_are_none_stay_in_their_text() {
        let rows = |x: f32, count: usize| vec![x; count * 24];
        let mut out = [0.0; 12 * 8];
        attention(&[rows(f32::NAN, 9), rows(1.0, 3)].concat(), &[9, 12], 8, 1, &mut out);
        let (first, second) = out.split_at(9 * 8);
        assert!(first.iter().all(|x| x.is_nan()) && second.iter().all(|x| *x == 1.0), "{out:?}");
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
