//! Attention of all tokens of a text to each other, in float32.
//!
//! ```text
//! out_i = Σ_j softmax_j( q_i · k_j / √w ) · v_j        per head, of w numbers per token
//! ```

use super::lanes::{F32x4, LANES};
use super::pointwise::exponentials;

/// Rows and columns that are computed together.
const ROWS: usize = 4;
const COLUMNS: usize = 2 * LANES;

/// What the numbers of a head are a multiple of.
pub const HEAD_MULTIPLE: usize = COLUMNS;

/// Queries, keys and values `[tokens × width]`, heads side by side in each row; the result has the same shape.
pub fn attention([q, k, v]: [&[f32]; 3], width: usize, heads: usize) -> Vec<f32> {
    let (tokens, head) = (q.len() / width, width / heads);
    let scale = 1.0 / (head as f32).sqrt();
    let padded = tokens.next_multiple_of(COLUMNS);
    let mut out = vec![0.0; q.len()];
    // Keys as columns, so that the scores of several are computed side by side.
    let mut keys = vec![0.0; head * padded];
    let mut scores = vec![0.0; ROWS * padded];
    for first in (0..heads).map(|h| h * head) {
        for (token, row) in k.chunks_exact(width).enumerate() {
            for (i, x) in row[first..first + head].iter().enumerate() {
                keys[i * padded + token] = x * scale;
            }
        }
        for row in (0..tokens).step_by(ROWS) {
            // Past the last row, it is computed again.
            let rows: [usize; ROWS] = std::array::from_fn(|r| (row + r).min(tokens - 1));
            let queries = rows.map(|row| &q[row * width + first..][..head]);
            for column in (0..padded).step_by(COLUMNS) {
                tile(queries, &keys[column..], padded, |r, at, x| {
                    x.store(four(&mut scores[r * padded + column + at..]))
                });
            }
            let mut sums = [0.0; ROWS];
            for (sum, scores) in sums.iter_mut().zip(scores.chunks_exact_mut(padded)) {
                *sum = exponentials(&mut scores[..tokens]);
            }
            let shares: [&[f32]; ROWS] = std::array::from_fn(|r| &scores[r * padded..][..tokens]);
            for column in (first..first + head).step_by(COLUMNS) {
                tile(shares, &v[column..], width, |r, at, x| {
                    let to = &mut out[rows[r] * width + column + at..];
                    (x * F32x4::splat(1.0 / sums[r])).store(four(to));
                });
            }
        }
    }
    out
}

/// The products of rows with [`COLUMNS`] columns of a matrix whose rows are `stride` apart, given to `take` by row,
/// column and four at a time.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the sums are to stay in registers")]
fn tile(rows: [&[f32]; ROWS], columns: &[f32], stride: usize, mut take: impl FnMut(usize, usize, F32x4)) {
    let mut sums = [[F32x4::splat(0.0); 2]; ROWS];
    for (i, columns) in columns.chunks(stride).enumerate().take(rows[0].len()) {
        let (fours, _) = columns[..COLUMNS].as_chunks::<LANES>();
        let (low, high) = (F32x4::load(&fours[0]), F32x4::load(&fours[1]));
        for (sums, row) in sums.iter_mut().zip(rows) {
            let x = F32x4::splat(row[i]);
            sums[0] = sums[0] + x * low;
            sums[1] = sums[1] + x * high;
        }
    }
    for (r, [low, high]) in sums.into_iter().enumerate() {
        take(r, 0, low);
        take(r, LANES, high);
    }
}

fn four(slice: &mut [f32]) -> &mut [f32; LANES] {
    slice.first_chunk_mut().expect("tiles end where rows do")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_as_by_the_formula() {
        for (tokens, heads, head) in [(1, 1, 8), (3, 2, 16), (9, 3, 8), (17, 1, 32)] {
            let width = heads * head;
            let numbers = |seed: f32| -> Vec<f32> {
                (0..tokens * width).map(|i| (i as f32 * 12.9898 + seed).sin() * 3.0).collect()
            };
            let (q, k, v) = (numbers(0.1), numbers(0.2), numbers(0.3));
            let found = attention([&q, &k, &v], width, heads);
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
