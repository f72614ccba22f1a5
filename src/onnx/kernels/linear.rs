//! A linear layer with weights of 8 bits, in integers.
//!
//! ```text
//! y_rm = b_m + a_r · s_m · Σ_k w_mk · x'_rk        x'_rk = round(x_rk / a_r)
//! ```
//!
//! w are the weights (−127 to 127), with a scale s for each output m; a is the scale that brings the row x to
//! ±32,767. Activations of 16 bits cost no more than of 8 here: the instruction
//! that multiplies pairs of 16 bits and adds them up is the fastest product of integers that plain wasm SIMD,
//! SSE2 and AVX2 have, and an error of 2⁻¹⁶ is far below that of the weights. So the answer is that of
//! float32 activations, and relaxed SIMD, whose products take 7 bits, has nothing to add.
//!
//! A panel is [`PANEL`] outputs side by side, by pairs of inputs: one load brings a pair for each of them, and
//! several rows of activations use it.

#![allow(unsafe_code, reason = "vector loads take pointers, and AVX2 may only be called where it is")]

/// Outputs that are computed together.
const PANEL: usize = 8;

/// The greatest activation.
const REACH: f32 = 32_767.0;

/// Pairs of inputs whose products are added up in 32 bits, which hold 516 of the greatest; longer rows are
/// summed in parts.
const PART: usize = 256;

/// One pair of inputs for each output of a panel.
type Pairs = [i8; 2 * PANEL];

/// The layer, laid out for the loops below.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panels][inputs / 2]`; outputs that are missing from the last panel are zero.
    pairs: Vec<Pairs>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// A layer of `weight` `[outputs × inputs]`, `scale` and `bias` `[outputs]`, or what is wrong with them.
    pub fn new(weight: &[i8], scale: Vec<f32>, bias: Vec<f32>) -> Result<Self, String> {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        if weight.is_empty() || weight.len() != inputs * outputs || !inputs.is_multiple_of(2) {
            return Err(format!(
                "{} weights are not rows of even length for {outputs} outputs",
                weight.len()
            ));
        }
        if scale.len() != outputs {
            return Err(format!("{} scales for {outputs} outputs", scale.len()));
        }
        let mut pairs = Vec::with_capacity(outputs.div_ceil(PANEL) * inputs / 2);
        for rows in weight.chunks(PANEL * inputs) {
            for pair in (0..inputs).step_by(2) {
                let mut column = [0; 2 * PANEL];
                for (to, row) in rows.chunks_exact(inputs).enumerate() {
                    column[2 * to..][..2].copy_from_slice(&row[pair..][..2]);
                }
                pairs.push(column);
            }
        }
        Ok(Linear { inputs, outputs, pairs, scale, bias })
    }

    /// Numbers in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in a row of what it is applied to.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The layer's rows for rows of activations.
    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        let rows = Rounded::new(values, self.inputs);
        let mut out = vec![0.0; rows.scales.len() * self.outputs];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            let several = |panel, first| unsafe { avx2::sums::<8>(self, &rows, panel, first) };
            let one = |panel, row| unsafe { avx2::sums::<1>(self, &rows, panel, row) };
            self.panels(&rows, &mut out, several, one);
            return out;
        }
        let several = |panel, first| sums::<4>(self, &rows, panel, first);
        self.panels(&rows, &mut out, several, |panel, row| sums::<1>(self, &rows, panel, row));
        out
    }

    /// Every panel with every row, most rows `R` at a time: `several` and `one` give the sums of a panel and of as
    /// many rows, from the given one on.
    fn panels<const R: usize>(
        &self,
        rows: &Rounded,
        out: &mut [f32],
        several: impl Fn(usize, usize) -> [[f32; PANEL]; R],
        one: impl Fn(usize, usize) -> [[f32; PANEL]; 1],
    ) {
        let mut finish = |panel: usize, row: usize, sums: &[f32; PANEL]| {
            let outputs = panel * PANEL..self.outputs.min((panel + 1) * PANEL);
            let of_outputs = self.scale[outputs.clone()].iter().zip(&self.bias[outputs.clone()]);
            let out = &mut out[row * self.outputs..][outputs];
            for ((y, sum), (scale, bias)) in out.iter_mut().zip(sums).zip(of_outputs) {
                *y = sum * (scale * rows.scales[row]) + bias;
            }
        };
        let count = rows.scales.len();
        for panel in 0..self.outputs.div_ceil(PANEL) {
            for first in (0..count - count % R).step_by(R) {
                let sums = several(panel, first);
                sums.iter().enumerate().for_each(|(r, sums)| finish(panel, first + r, sums));
            }
            for row in count - count % R..count {
                finish(panel, row, &one(panel, row)[0]);
            }
        }
    }

    /// The pairs that a panel and `R` rows from `first` on are made of, in parts.
    fn operands<'a, const R: usize>(
        &'a self,
        rows: &'a Rounded,
        panel: usize,
        first: usize,
    ) -> impl Iterator<Item = (&'a [Pairs], [&'a [i32]; R])> {
        let pairs = self.inputs / 2;
        let panel = &self.pairs[panel * pairs..][..pairs];
        panel.chunks(PART).enumerate().map(move |(i, part)| {
            (part, std::array::from_fn(|r| &rows.pairs[(first + r) * pairs + i * PART..][..part.len()]))
        })
    }
}

/// Rows of activations in 16 bits.
struct Rounded {
    /// Two per number, `[rows][inputs / 2]`: what is multiplied with a [`Pairs`].
    pairs: Vec<i32>,
    scales: Vec<f32>,
}

impl Rounded {
    fn new(values: &[f32], inputs: usize) -> Self {
        use super::lanes::{F32x4, LANES, ROUND};
        let count = values.len() / inputs;
        let mut rounded =
            Rounded { pairs: Vec::with_capacity(values.len() / 2), scales: Vec::with_capacity(count) };
        for row in values.chunks_exact(inputs) {
            let (fours, rest) = row.as_chunks::<LANES>();
            let mut most = F32x4::splat(0.0);
            for x in fours {
                most = most.max(F32x4::load(x).abs());
            }
            let rest_of = rest.iter().map(|x| x.abs());
            // A row of zeros needs no scale, and must not divide by it.
            let most = most.array().into_iter().chain(rest_of).fold(f32::MIN_POSITIVE, f32::max);
            // A number that is not finite becomes zero here, and its row NaN by the scale.
            let factor = F32x4::splat(REACH / most);
            let whole = |x: F32x4| (x * factor + F32x4::splat(ROUND)).array().map(f32::to_bits);
            // The whole number stands in the lowest bits.
            let pair = |low: u32, high: u32| (low & 0xffff | high << 16) as i32;
            for x in fours {
                let [a, b, c, d] = whole(F32x4::load(x));
                rounded.pairs.extend([pair(a, b), pair(c, d)]);
            }
            if let [a, b] = *rest {
                let ([a, ..], [b, ..]) = (whole(F32x4::splat(a)), whole(F32x4::splat(b)));
                rounded.pairs.push(pair(a, b));
            }
            rounded.scales.push(most / REACH);
        }
        rounded
    }
}

/// The sums of a panel and `R` rows from `first` on, on any processor.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn sums<const R: usize>(layer: &Linear, rows: &Rounded, panel: usize, first: usize) -> [[f32; PANEL]; R] {
    let mut sums = [[0f32; PANEL]; R];
    for (pairs, rows) in layer.operands::<R>(rows, panel, first) {
        for (sum, row) in sums.iter_mut().zip(rows) {
            let mut total = [0i32; PANEL];
            for (weights, &pair) in pairs.iter().zip(row) {
                let (low, high) = (i32::from(pair as i16), pair >> 16);
                for (total, [a, b]) in total.iter_mut().zip(weights.as_chunks().0) {
                    *total += low * i32::from(*a) + high * i32::from(*b);
                }
            }
            sum.iter_mut().zip(total).for_each(|(sum, total)| *sum += total as f32);
        }
    }
    sums
}

/// The same by `i32x4.dot_i16x8_s`; weights widen as they are loaded.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn sums<const R: usize>(layer: &Linear, rows: &Rounded, panel: usize, first: usize) -> [[f32; PANEL]; R] {
    use core::arch::wasm32::{
        f32x4_add, f32x4_convert_i32x4, f32x4_splat, i16x8_load_extend_i8x8, i32x4_add, i32x4_dot_i16x8,
        i32x4_splat, v128_load32_splat, v128_store,
    };
    let mut sums = [[f32x4_splat(0.0); 2]; R];
    for (pairs, rows) in layer.operands::<R>(rows, panel, first) {
        let mut totals = [[i32x4_splat(0); 2]; R];
        for (k, weights) in pairs.iter().enumerate() {
            let weights = weights.as_ptr();
            // SAFETY: either half of 16 bytes; loads need no alignment.
            let halves =
                unsafe { [i16x8_load_extend_i8x8(weights), i16x8_load_extend_i8x8(weights.add(PANEL))] };
            for r in 0..R {
                // SAFETY: every row's part is as long as `pairs`.
                let pair = unsafe { v128_load32_splat(rows[r].as_ptr().add(k).cast()) };
                for h in 0..2 {
                    totals[r][h] = i32x4_add(totals[r][h], i32x4_dot_i16x8(pair, halves[h]));
                }
            }
        }
        for r in 0..R {
            for h in 0..2 {
                sums[r][h] = f32x4_add(sums[r][h], f32x4_convert_i32x4(totals[r][h]));
            }
        }
    }
    let mut out = [[0.0; PANEL]; R];
    for (out, [low, high]) in out.iter_mut().zip(sums) {
        let out = out.as_mut_ptr();
        // SAFETY: the halves of 8 numbers; stores need no alignment.
        unsafe {
            v128_store(out.cast(), low);
            v128_store(out.add(PANEL / 2).cast(), high);
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
        _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps,
    };

    use super::{Linear, PANEL, Rounded};

    /// The same by `vpmaddwd`, over a whole panel at once.
    #[target_feature(enable = "avx2")]
    pub(super) fn sums<const R: usize>(
        layer: &Linear,
        rows: &Rounded,
        panel: usize,
        first: usize,
    ) -> [[f32; PANEL]; R] {
        let mut sums = [_mm256_setzero_ps(); R];
        for (pairs, rows) in layer.operands::<R>(rows, panel, first) {
            let mut totals = [_mm256_setzero_si256(); R];
            for (k, weights) in pairs.iter().enumerate() {
                // SAFETY: 16 bytes; the load needs no alignment.
                let weights = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.as_ptr().cast()) });
                for r in 0..R {
                    let product = _mm256_madd_epi16(_mm256_set1_epi32(rows[r][k]), weights);
                    totals[r] = _mm256_add_epi32(totals[r], product);
                }
            }
            for r in 0..R {
                sums[r] = _mm256_add_ps(sums[r], _mm256_cvtepi32_ps(totals[r]));
            }
        }
        let mut out = [[0.0; PANEL]; R];
        for (out, sum) in out.iter_mut().zip(sums) {
            // SAFETY: 8 numbers; the store needs no alignment.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from −1 to 1 that look random.
    fn numbers(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 12.9898 + seed).sin()).collect()
    }

    /// The formula as it stands, with activations as they are.
    fn plain(weight: &[i8], scale: &[f32], bias: &[f32], values: &[f32]) -> Vec<f64> {
        let inputs = weight.len() / bias.len();
        let output = |x: &[f32], m: usize| {
            let products =
                weight[m * inputs..][..inputs].iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
            products.sum::<f64>() * f64::from(scale[m]) + f64::from(bias[m])
        };
        values.chunks(inputs).flat_map(|x| (0..bias.len()).map(move |m| output(x, m))).collect()
    }

    #[test]
    fn the_same_as_one_by_one() {
        for (rows, inputs, outputs) in [(1, 2, 1), (9, 12, 8), (13, 64, 19), (5, 1100, 3)] {
            let weight: Vec<i8> = numbers(inputs * outputs, 0.3).iter().map(|x| (x * 127.0) as i8).collect();
            let scale: Vec<f32> = numbers(outputs, 0.7).iter().map(|x| x.abs() / 50.0).collect();
            let (bias, values) = (numbers(outputs, 1.1), numbers(rows * inputs, 2.2));
            let expected = plain(&weight, &scale, &bias, &values);
            let layer = Linear::new(&weight, scale, bias).unwrap();
            let portable = {
                let (rounded, mut out) = (Rounded::new(&values, inputs), vec![0.0; rows * outputs]);
                let one = |panel, row| sums::<1>(&layer, &rounded, panel, row);
                layer.panels(&rounded, &mut out, |panel, row| sums::<3>(&layer, &rounded, panel, row), one);
                out
            };
            assert_eq!(layer.apply(&values), portable, "all ways add the same whole numbers");
            for (found, expected) in portable.iter().zip(&expected) {
                let allowed = 2e-4 * (inputs as f64).sqrt();
                assert!((f64::from(*found) - expected).abs() < allowed, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn greatest_sums_fit() {
        let layer = Linear::new(&[-127; 8 * 1024], vec![1.0; 8], vec![0.0; 8]).unwrap();
        let out = layer.apply(&[-2.0; 9 * 1024]);
        assert!(out.iter().all(|y| (y / (254.0 * 1024.0) - 1.0).abs() < 1e-5), "{out:?}");
    }

    #[test]
    fn a_row_of_zeros_gives_the_bias_and_one_of_nan_gives_nan() {
        let layer = Linear::new(&[1; 16], vec![1.0; 4], vec![0.5; 4]).unwrap();
        assert_eq!(layer.apply(&[0.0; 4]), [0.5; 4]);
        assert!(layer.apply(&[f32::INFINITY, 0.0, 0.0, 0.0]).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (weights, scales, outputs) in [(15, 4, 4), (12, 4, 4), (16, 3, 4), (0, 4, 4), (16, 0, 0)] {
            let layer = Linear::new(&vec![1; weights], vec![1.0; scales], vec![0.0; outputs]);
            assert!(layer.is_err(), "{weights} {scales} {outputs}");
        }
    }
}
