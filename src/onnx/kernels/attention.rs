//! Attention of all tokens of a text to each other, in float32.
//!
//! ```text
//! out_i = Σ_j softmax_j( q_i · k_j / √w ) · v_j        per head, of w numbers per token
//! ```

#![allow(clippy::inline_always, reason = "see `lanes`")]

use super::lanes::{F32x8, unrolled, widest};
use super::spans;

/// Queries that are computed together: half the registers of AVX2, or of wasm in V8, hold their sums.
const ROWS: usize = if cfg!(target_arch = "x86_64") { 8 } else { 4 };

/// Keys, or numbers of a head, that are.
const COLUMNS: usize = 8;

/// A loop over the queries, written out.
macro_rules! for_rows {
    ($r:ident $body:block) => {
        for four in 0..ROWS / 4 {
            unrolled!(for I in [0 1 2 3] {
                let $r = 4 * four + I;
                $body
            });
        }
    };
}

/// What the numbers of a head are a multiple of.
pub const HEAD_MULTIPLE: usize = COLUMNS;

/// Scores of keys for some queries, then what share of the value each key gives.
type Scores = [[f32; COLUMNS]; ROWS];

widest! {
    /// Rows of queries, keys and values side by side, `[tokens × 3 · width]`, the heads of each side by side; `out` is
    /// `[tokens × width]`. Text i ends before row `ends[i]`.
    pub fn attention(qkv: &[f32], ends: &[usize], width: usize, heads: usize, out: &mut [f32]) by attention_by
}

#[inline(always)]
fn attention_by<V: F32x8>(qkv: &[f32], ends: &[usize], width: usize, heads: usize, out: &mut [f32]) {
    let head = width / heads;
    let mut scratch = Scratch::default();
    for text in spans(ends) {
        let qkv = &qkv[text.start * 3 * width..text.end * 3 * width];
        let out = &mut out[text.start * width..text.end * width];
        for first in (0..width).step_by(head) {
            scratch.attend::<V>(qkv, first, head, width, out);
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
    #[inline(always)]
    fn attend<V: F32x8>(&mut self, qkv: &[f32], first: usize, head: usize, width: usize, out: &mut [f32]) {
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
            let (values, _) = row[2 * width + first..][..head].as_chunks();
            for (part, value) in values.iter().enumerate() {
                // By lanes: in wasm, a copy of an array is a call of `memory.copy`, as slow as the rest of this loop.
                V::load(value).store(&mut self.values[part * tokens + token]);
            }
        }
        for row in (0..tokens).step_by(ROWS) {
            // Past the last row, it is computed again.
            let rows: [usize; ROWS] = std::array::from_fn(|r| (row + r).min(tokens - 1));
            let queries = rows.map(|row| &qkv[row * 3 * width + first..][..head]);
            for (scores, keys) in self.scores.iter_mut().zip(self.keys.chunks_exact(head)) {
                score::<V>(queries, keys, scores);
            }
            if let Some(last) = self.scores.last_mut() {
                for score in last.iter_mut().flat_map(|row| &mut row[tokens - (blocks - 1) * COLUMNS..]) {
                    *score = f32::NEG_INFINITY;
                }
            }
            let mut sums = [0.0; ROWS];
            for (query, sum) in sums.iter_mut().enumerate() {
                *sum = softmax::<V>(&mut self.scores, query);
            }
            for (part, values) in self.values.chunks_exact(tokens).enumerate() {
                let mixed = mix::<V>(&self.scores, values);
                let (outs, _) = out.as_chunks_mut::<COLUMNS>();
                for_rows!(r {
                    let share = V::splat(1.0 / sums[r]);
                    (mixed[r] * share).store(&mut outs[(rows[r] * width + first) / COLUMNS + part]);
                });
            }
        }
    }
}

/// The products of queries with [`COLUMNS`] keys.
#[inline(always)]
fn score<V: F32x8>(queries: [&[f32]; ROWS], keys: &[[f32; COLUMNS]], scores: &mut Scores) {
    // As long as the keys, which spares a check of every index.
    let queries = queries.map(|query| &query[..keys.len()]);
    let mut sums = [V::splat(0.0); ROWS];
    for (i, keys) in keys.iter().enumerate() {
        let keys = V::load(keys);
        for_rows!(r { sums[r] = sums[r] + V::splat(queries[r][i]) * keys });
    }
    for_rows!(r { sums[r].store(&mut scores[r]) });
}

/// The exponentials of a query's scores over its greatest, and their sum.
#[inline(always)]
fn softmax<V: F32x8>(scores: &mut [Scores], query: usize) -> f32 {
    let mut most = V::splat(f32::NEG_INFINITY);
    for scores in &*scores {
        most = most.max(V::load(&scores[query]));
    }
    let mut greatest = V::splat(f32::NEG_INFINITY);
    for x in most.array() {
        greatest = greatest.max(V::splat(x));
    }
    let mut sum = V::splat(0.0);
    for scores in scores {
        let share = (V::load(&scores[query]) - greatest).max(V::splat(-80.0)).exp();
        sum = sum + share;
        share.store(&mut scores[query]);
    }
    let [a, b, c, d, e, f, g, h] = sum.array();
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Parts of values, added up by the shares of each query.
#[inline(always)]
fn mix<V: F32x8>(shares: &[Scores], values: &[[f32; COLUMNS]]) -> [V; ROWS] {
    let mut sums = [V::splat(0.0); ROWS];
    for (shares, values) in shares.iter().zip(values.chunks(COLUMNS)) {
        for (key, values) in values.iter().enumerate() {
            let values = V::load(values);
            for_rows!(r { sums[r] = sums[r] + V::splat(shares[r][key]) * values });
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Fours;
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
            let qkv = side_by_side([&q, &k, &v], width);
            attention(&qkv, ends, width, heads, &mut found);
            let mut portable = vec![0.0; tokens * width];
            attention_by::<Fours>(&qkv, ends, width, heads, &mut portable);
            assert_eq!(found, portable, "to the bit");
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
