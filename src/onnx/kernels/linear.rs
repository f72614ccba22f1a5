//! A linear layer with weights of 8 bits, in integers.
//!
//! ```text
//! y_rm = b_m + a_r · s_m · Σ_k w_mk · x'_rk        x'_rk = round(x_rk / a_r)
//! ```
//!
//! w are the weights (−127 to 127), with a scale s for each output m; a is the scale that brings the row x to
//! ±32,767. Activations of 16 bits cost no more than of 8 here: the instruction that multiplies pairs of 16 bits and adds
//! them up is the fastest product of integers that plain wasm SIMD, SSE2 and AVX2 have, and an error of 2⁻¹⁶ is far below
//! that of the weights. So the answer is that of float32 activations. AVX-512 VNNI has products of 8 bits twice as fast;
//! it multiplies 16 bits all the same, so that all processors compute the same bits. Relaxed SIMD multiplies by 7 bits:
//! with as many bits, in two halves, it was 1.1 times as fast (once, in Chromium, on a processor with VNNI; the program
//! was not kept), which is no second module worth; with 7 bits 2.4 times, but then vectors are off by more than we promise.
//!
//! A panel is [`PANEL`] outputs side by side, by pairs of inputs, and a group is [`ROWS`] rows of activations side by
//! side: a tile of both walks along two pointers, and everything in between stays in registers.

#![allow(unsafe_code, reason = "vector loads take pointers, and AVX may only be called where it is")]

use super::lanes::{F32x4, LANES, unrolled};

/// Outputs that are computed together: a register of AVX-512, two of AVX2, NEON or wasm hold the sums of a row.
const PANEL: usize = if cfg!(target_arch = "x86_64") { 16 } else { 8 };

/// Rows that are.
const ROWS: usize = 4;

/// The greatest activation.
const REACH: f32 = 32_767.0;

/// Pairs of inputs whose products are added up in 32 bits, which hold 258 of the greatest; longer rows are
/// summed in parts.
const PART: usize = 256;

/// Bytes of weights that are used over and over: half a first cache, or one panel where that is more.
const CACHED: usize = 16 << 10;

/// A pair of inputs for each output of a panel.
type Weights = [i8; 2 * PANEL];

/// A pair of inputs, of 16 bits each, for each row of a group.
type Activations = [i32; ROWS];

/// The sums of a panel and a group.
type Tile = [[f32; PANEL]; ROWS];

/// The layer, laid out for the loops below.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panels][inputs / 2]`; outputs that are missing from the last panel are zero.
    weights: Vec<Weights>,
    /// `[panels]`, both.
    scale: Vec<[f32; PANEL]>,
    bias: Vec<[f32; PANEL]>,
}

impl Linear {
    /// A layer of `weight` `[outputs × inputs]`, `scale` and `bias` `[outputs]`, or what is wrong with them.
    pub fn new(weight: &[i8], scale: &[f32], bias: &[f32]) -> Result<Self, String> {
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
        let mut weights = Vec::with_capacity(outputs.div_ceil(PANEL) * inputs / 2);
        for rows in weight.chunks(PANEL * inputs) {
            for pair in (0..inputs).step_by(2) {
                let mut column = [0; 2 * PANEL];
                for (to, row) in rows.chunks_exact(inputs).enumerate() {
                    column[2 * to..][..2].copy_from_slice(&row[pair..][..2]);
                }
                weights.push(column);
            }
        }
        let panels = |numbers: &[f32]| {
            let panel = |chunk: &[f32]| std::array::from_fn(|i| chunk.get(i).copied().unwrap_or_default());
            numbers.chunks(PANEL).map(panel).collect()
        };
        Ok(Linear { inputs, outputs, weights, scale: panels(scale), bias: panels(bias) })
    }

    /// Numbers in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in a row of what it is applied to.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The layer's rows for rows of activations, into `out`.
    pub fn apply(&self, values: &[f32], out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        let tile = x86::tile().unwrap_or(tile);
        // SAFETY: every AArch64 has NEON.
        #[cfg(target_arch = "aarch64")]
        let tile = |weights: &[Weights], activations: &[Activations]| unsafe { neon(weights, activations) };
        self.by_tiles(values, out, tile);
    }

    /// The same by a function that multiplies a panel with a group.
    fn by_tiles(&self, values: &[f32], out: &mut [f32], tile: impl Fn(&[Weights], &[Activations]) -> Tile) {
        let rounded = Rounded::new(values, self.inputs);
        let (pairs, rows) = (self.inputs / 2, rounded.scales.len());
        // As many panels at a time as stay in the first cache, while all groups pass by.
        let most = (CACHED / size_of_val(&self.weights[..pairs])).max(1);
        for (block, panels) in self.weights.chunks(most * pairs).enumerate() {
            #[cfg(target_arch = "wasm32")]
            fetch(panels);
            for (group, activations) in rounded.groups.chunks_exact(pairs).enumerate() {
                for (panel, weights) in panels.chunks_exact(pairs).enumerate() {
                    let tile = tile(weights, activations);
                    let panel = block * most + panel;
                    let outputs = panel * PANEL..self.outputs.min((panel + 1) * PANEL);
                    for (row, sums) in (group * ROWS..rows).zip(&tile) {
                        let finished = self.finish(panel, sums, rounded.scales[row]);
                        let out = &mut out[row * self.outputs..][outputs.clone()];
                        match out.as_chunks_mut() {
                            ([whole], _) => *whole = finished,
                            (_, part) => part.copy_from_slice(&finished[..part.len()]),
                        }
                    }
                }
            }
        }
    }

    /// A row's sums over a panel, scaled and with their bias.
    fn finish(&self, panel: usize, sums: &[f32; PANEL], row_scale: f32) -> [f32; PANEL] {
        let mut out = [0.0; PANEL];
        let (fours, _) = out.as_chunks_mut::<LANES>();
        let [sums, scales, biases] =
            [sums, &self.scale[panel], &self.bias[panel]].map(|x| x.as_chunks::<LANES>().0);
        for two in 0..PANEL / LANES / 2 {
            unrolled!(for H in [0 1] {
                let at = 2 * two + H;
                let scale = F32x4::load(&scales[at]) * F32x4::splat(row_scale);
                (F32x4::load(&sums[at]) * scale + F32x4::load(&biases[at])).store(&mut fours[at]);
            });
        }
        out
    }
}

/// Has the first cache fetch weights, many lines at once. The loop that multiplies has so much to do between two lines that
/// a processor looks ahead to few of them: after other work, when weights come from main memory, a text of 16 tokens took
/// half as long again, and an eighth with this (once, in Node; the program was not kept). Natively there is less to do.
#[cfg(target_arch = "wasm32")]
fn fetch(weights: &[Weights]) {
    let lines = weights.iter().step_by(64 / size_of::<Weights>());
    std::hint::black_box(lines.fold(0, |sum, line| sum ^ line[0]));
}

/// Rows of activations in 16 bits.
struct Rounded {
    /// `[groups][inputs / 2]`; rows that are missing from the last group are zero.
    groups: Vec<Activations>,
    scales: Vec<f32>,
}

impl Rounded {
    fn new(values: &[f32], inputs: usize) -> Self {
        let (rows, pairs) = (values.len() / inputs, inputs / 2);
        let mut groups = vec![[0; ROWS]; rows.div_ceil(ROWS) * pairs];
        let mut scales = Vec::with_capacity(rows);
        for (row, values) in values.chunks_exact(inputs).enumerate() {
            // A row of zeros needs no scale, and must not divide by it. One with a number that is not finite
            // becomes NaN, by the scale.
            let most = match greatest(values) {
                0.0 => f32::MIN_POSITIVE,
                most => most,
            };
            let group = &mut groups[row / ROWS * pairs..][..pairs];
            let factor = F32x4::splat(REACH / most);
            let (fours, rest) = values.as_chunks::<LANES>();
            let (twos, last) = group.as_chunks_mut::<2>();
            for (to, x) in twos.iter_mut().zip(fours) {
                let [first, second] = (F32x4::load(x) * factor).rounded();
                to[0][row % ROWS] = first;
                to[1][row % ROWS] = second;
            }
            if let ([to], &[a, b]) = (last, rest) {
                [to[row % ROWS], _] = (F32x4::load(&[a, b, 0.0, 0.0]) * factor).rounded();
            }
            scales.push(most / REACH);
        }
        Rounded { groups, scales }
    }
}

/// The size of the greatest number; NaN where one is not finite.
fn greatest(values: &[f32]) -> f32 {
    let (fours, rest) = values.as_chunks::<LANES>();
    let zero = F32x4::splat(0.0);
    let (mut most, mut nothing) = (zero, zero);
    for x in fours.iter().map(F32x4::load) {
        most = most.max(x.abs());
        // Maxima of vectors may lose what is no number; this product is 0 of a finite number alone.
        nothing = nothing + x * zero;
    }
    let nothing = nothing.sum() + rest.iter().map(|x| x * 0.0).sum::<f32>();
    most.array().into_iter().chain(rest.iter().map(|x| x.abs())).fold(0.0, f32::max) + nothing
}

/// The sums of a panel and a group, on any processor.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "tests hold NEON against it"))]
fn tile(weights: &[Weights], activations: &[Activations]) -> Tile {
    let mut sums = [[0f32; PANEL]; ROWS];
    for (weights, activations) in weights.chunks(PART).zip(activations.chunks(PART)) {
        let mut totals = [[0i32; PANEL]; ROWS];
        for (weights, activations) in weights.iter().zip(activations) {
            for (totals, &pair) in totals.iter_mut().zip(activations) {
                let (low, high) = (i32::from(pair as i16), pair >> 16);
                for (total, [a, b]) in totals.iter_mut().zip(weights.as_chunks().0) {
                    *total += low * i32::from(*a) + high * i32::from(*b);
                }
            }
        }
        for (sum, total) in sums.as_flattened_mut().iter_mut().zip(totals.as_flattened()) {
            *sum += *total as f32;
        }
    }
    sums
}

/// The same by `i32x4.dot_i16x8_s`; weights widen as they are loaded. Two steps a turn are a quarter slower: V8 then
/// runs out of registers.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn tile(weights: &[Weights], activations: &[Activations]) -> Tile {
    use core::arch::wasm32::{
        f32x4_add, f32x4_convert_i32x4, f32x4_splat, i16x8_load_extend_i8x8, i32x4_add, i32x4_dot_i16x8,
        i32x4_splat, v128_load32_splat, v128_store,
    };
    let mut sums = [[f32x4_splat(0.0); 2]; ROWS];
    for (weights, activations) in weights.chunks(PART).zip(activations.chunks(PART)) {
        let mut totals = [[i32x4_splat(0); 2]; ROWS];
        for (weights, activations) in weights.iter().zip(activations) {
            let weights = weights.as_ptr();
            // SAFETY: either half of 16 bytes; loads need no alignment.
            let low = unsafe { i16x8_load_extend_i8x8(weights) };
            let high = unsafe { i16x8_load_extend_i8x8(weights.add(PANEL)) };
            unrolled!(for R in [0 1 2 3] {
                // SAFETY: one number.
                let pair = unsafe { v128_load32_splat(std::ptr::from_ref(&activations[R]).cast()) };
                totals[R][0] = i32x4_add(totals[R][0], i32x4_dot_i16x8(pair, low));
                totals[R][1] = i32x4_add(totals[R][1], i32x4_dot_i16x8(pair, high));
            });
        }
        unrolled!(for R in [0 1 2 3] {
            sums[R][0] = f32x4_add(sums[R][0], f32x4_convert_i32x4(totals[R][0]));
            sums[R][1] = f32x4_add(sums[R][1], f32x4_convert_i32x4(totals[R][1]));
        });
    }
    let mut out = [[0.0; PANEL]; ROWS];
    unrolled!(for R in [0 1 2 3] {
        let out = out[R].as_mut_ptr();
        // SAFETY: the halves of 8 numbers; stores need no alignment.
        unsafe {
            v128_store(out.cast(), sums[R][0]);
            v128_store(out.add(PANEL / 2).cast(), sums[R][1]);
        }
    });
    out
}

/// The same by `smlal`, which multiplies and adds in one, all outputs by one input: the pairs are taken apart as they
/// are loaded.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon(weights: &[Weights], activations: &[Activations]) -> Tile {
    use std::arch::aarch64::{
        int8x8x2_t, vaddq_f32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vget_low_s16, vld1q_s32, vld2_s8,
        vmlal_high_laneq_s16, vmlal_laneq_s16, vmovl_s8, vreinterpretq_s16_s32, vst1q_f32,
    };
    let mut sums = [[vdupq_n_f32(0.0); 2]; ROWS];
    for (weights, activations) in weights.chunks(PART).zip(activations.chunks(PART)) {
        let mut totals = [[vdupq_n_s32(0); 2]; ROWS];
        for (weights, activations) in weights.iter().zip(activations) {
            // SAFETY: 16 bytes.
            let int8x8x2_t(first, second) = unsafe { vld2_s8(weights.as_ptr()) };
            let (first, second) = (vmovl_s8(first), vmovl_s8(second));
            // SAFETY: 4 pairs.
            let pairs = vreinterpretq_s16_s32(unsafe { vld1q_s32(activations.as_ptr()) });
            unrolled!(for R in [0 1 2 3] {
                const A: i32 = 2 * R as i32;
                const B: i32 = A + 1;
                let [low, high] = totals[R];
                let low = vmlal_laneq_s16::<A>(low, vget_low_s16(first), pairs);
                let high = vmlal_high_laneq_s16::<A>(high, first, pairs);
                totals[R] = [
                    vmlal_laneq_s16::<B>(low, vget_low_s16(second), pairs),
                    vmlal_high_laneq_s16::<B>(high, second, pairs),
                ];
            });
        }
        for (sum, total) in sums.as_flattened_mut().iter_mut().zip(totals.as_flattened()) {
            *sum = vaddq_f32(*sum, vcvtq_f32_s32(*total));
        }
    }
    let mut out = [[0.0; PANEL]; ROWS];
    let (fours, _) = out.as_flattened_mut().as_chunks_mut::<LANES>();
    for (out, sum) in fours.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: 4 numbers.
        unsafe { vst1q_f32(out.as_mut_ptr(), *sum) };
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::{
        __m512i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_ps, _mm256_setzero_si256,
        _mm256_storeu_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps,
        _mm512_dpwssd_epi32, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::{Activations, PANEL, PART, ROWS, Tile, Weights};

    type Multiply = fn(&[Weights], &[Activations]) -> Tile;

    /// The fastest that this processor has.
    pub(super) fn tile() -> Option<Multiply> {
        let features = [
            is_x86_feature_detected!("avx512f"),
            is_x86_feature_detected!("avx512bw"),
            is_x86_feature_detected!("avx512vnni"),
        ];
        if features == [true; 3] {
            // SAFETY: the processor has what it is compiled for.
            Some(|weights, activations| unsafe { avx512_vnni(weights, activations) })
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            Some(|weights, activations| unsafe { avx2(weights, activations) })
        } else {
            None
        }
    }

    /// The same by `vpdpwssd`, which multiplies and adds in one.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512_vnni(weights: &[Weights], activations: &[Activations]) -> Tile {
        let add = |totals: &mut [__m512i; ROWS], weights: &Weights, activations: &Activations| {
            // SAFETY: 32 bytes; the load needs no alignment.
            let weights = _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) });
            for (total, &pair) in totals.iter_mut().zip(activations) {
                *total = _mm512_dpwssd_epi32(*total, _mm512_set1_epi32(pair), weights);
            }
        };
        let mut sums = [_mm512_setzero_ps(); ROWS];
        for (weights, activations) in weights.chunks(PART).zip(activations.chunks(PART)) {
            // Two totals for each row, by turns: one alone would wait for itself.
            let mut totals = [[_mm512_setzero_si512(); ROWS]; 2];
            let (twos, last) = weights.as_chunks::<2>();
            let (activations, last_activations) = activations.as_chunks::<2>();
            for (weights, activations) in twos.iter().zip(activations) {
                add(&mut totals[0], &weights[0], &activations[0]);
                add(&mut totals[1], &weights[1], &activations[1]);
            }
            if let ([weights], [activations]) = (last, last_activations) {
                add(&mut totals[0], weights, activations);
            }
            let [even, odd] = totals;
            for ((sum, even), odd) in sums.iter_mut().zip(even).zip(odd) {
                *sum = _mm512_add_ps(*sum, _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)));
            }
        }
        let mut out = [[0.0; PANEL]; ROWS];
        for (out, sum) in out.iter_mut().zip(sums) {
            // SAFETY: 16 numbers; the store needs no alignment.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
        out
    }

    /// The same by `vpmaddwd`.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(weights: &[Weights], activations: &[Activations]) -> Tile {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        for (weights, activations) in weights.chunks(PART).zip(activations.chunks(PART)) {
            let mut totals = [[_mm256_setzero_si256(); 2]; ROWS];
            for (weights, activations) in weights.iter().zip(activations) {
                let (halves, _) = weights.as_chunks::<PANEL>();
                // SAFETY: 16 bytes each; loads need no alignment.
                let [low, high] = [&halves[0], &halves[1]]
                    .map(|half| _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(half.as_ptr().cast()) }));
                for (total, &pair) in totals.iter_mut().zip(activations) {
                    let pair = _mm256_set1_epi32(pair);
                    total[0] = _mm256_add_epi32(total[0], _mm256_madd_epi16(pair, low));
                    total[1] = _mm256_add_epi32(total[1], _mm256_madd_epi16(pair, high));
                }
            }
            for (sum, total) in sums.as_flattened_mut().iter_mut().zip(totals.as_flattened()) {
                *sum = _mm256_add_ps(*sum, _mm256_cvtepi32_ps(*total));
            }
        }
        let mut out = [[0.0; PANEL]; ROWS];
        let (eights, _) = out.as_flattened_mut().as_chunks_mut::<8>();
        for (out, sum) in eights.iter_mut().zip(sums.as_flattened()) {
            // SAFETY: 8 numbers; the store needs no alignment.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), *sum) };
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

    /// The layer's rows, which are the same by all the ways that there are here.
    fn applied(layer: &Linear, values: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; values.len() / layer.inputs * layer.outputs];
        let mut portable = out.clone();
        layer.apply(values, &mut out);
        layer.by_tiles(values, &mut portable, tile);
        assert_eq!(out, portable, "all ways add the same whole numbers");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            layer.by_tiles(values, &mut out, |weights, activations| unsafe {
                x86::avx2(weights, activations)
            });
            assert_eq!(out, portable, "AVX2, where there are faster ones");
        }
        out
    }

    #[test]
    fn the_same_as_one_by_one() {
        // The last in several sums of 32 bits, an odd one at the end, and in several blocks.
        for (rows, inputs, outputs) in [(1, 2, 1), (9, 12, 8), (13, 64, 19), (5, 1102, 19)] {
            let weight: Vec<i8> = numbers(inputs * outputs, 0.3).iter().map(|x| (x * 127.0) as i8).collect();
            let scale: Vec<f32> = numbers(outputs, 0.7).iter().map(|x| x.abs() / 50.0).collect();
            let (bias, values) = (numbers(outputs, 1.1), numbers(rows * inputs, 2.2));
            let expected = plain(&weight, &scale, &bias, &values);
            let layer = Linear::new(&weight, &scale, &bias).unwrap();
            for (found, expected) in applied(&layer, &values).iter().zip(&expected) {
                let allowed = 2e-4 * (inputs as f64).sqrt();
                assert!((f64::from(*found) - expected).abs() < allowed, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn greatest_sums_fit() {
        let layer = Linear::new(&[-127; 8 * 1024], &[1.0; 8], &[0.0; 8]).unwrap();
        let out = applied(&layer, &vec![-2.0; 9 * 1024]);
        assert!(out.iter().all(|y| (y / (254.0 * 1024.0) - 1.0).abs() < 1e-5), "{out:?}");
    }

    #[test]
    fn a_row_of_zeros_gives_the_bias_and_one_of_nan_gives_nan() {
        let layer = Linear::new(&[1; 16], &[1.0; 4], &[0.5; 4]).unwrap();
        let mut out = [0.0; 4];
        layer.apply(&[0.0; 4], &mut out);
        assert_eq!(out, [0.5; 4]);
        let layer = Linear::new(&[1; 24], &[1.0; 4], &[0.5; 4]).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..6 {
                let mut values = [1.0; 6];
                values[at] = bad;
                layer.apply(&values, &mut out);
                assert!(out.iter().all(|y| y.is_nan()), "{out:?} of {values:?}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (weights, scales, outputs) in [(15, 4, 4), (12, 4, 4), (16, 3, 4), (0, 4, 4), (16, 0, 0)] {
            let layer = Linear::new(&vec![1; weights], &vec![1.0; scales], &vec![0.0; outputs]);
            assert!(layer.is_err(), "{weights} {scales} {outputs}");
        }
    }
}
