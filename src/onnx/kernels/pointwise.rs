//! GELU, layer norm of a sum, and means.

#![allow(clippy::inline_always, reason = "see `lanes`")]

use super::lanes::{F32x4, F32x8, LANES, widest};
use super::spans;

widest! {
    /// GELU in place, exact but for an error of 1e-7 in erf: x·Φ(x) = max(x, 0) − |x|·erfc(|x|/√2)/2.
    ///
    /// erfc by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    pub fn gelu(values: &mut [f32]) by gelu_by
}

#[inline(always)]
fn gelu_by<V: F32x8>(values: &mut [f32]) {
    let (eights, rest) = values.as_chunks_mut();
    for x in eights {
        gelu_of(V::load(x)).store(x);
    }
    for x in rest {
        *x = gelu_of(V::splat(*x)).array()[0];
    }
}

#[inline(always)]
fn gelu_of<V: F32x8>(x: V) -> V {
    let z = x.abs() * V::splat(std::f32::consts::FRAC_1_SQRT_2);
    let t = V::splat(1.0) / (V::splat(1.0) + z * V::splat(0.327_591_1));
    let mut sum = V::splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + V::splat(c);
    }
    let exponent = V::splat(0.0) - z * z;
    let erfc = sum * t * exponent.max(V::splat(-80.0)).exp();
    x.max(V::splat(0.0)) - x.abs() * erfc * V::splat(0.5)
}

/// Rows of `scale.len()` numbers, to which those of `skip` are added, to mean 0 and variance 1, then scaled and shifted.
pub fn skip_layer_norm(values: &mut [f32], skip: &[f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let width = scale.len();
    for (row, skip) in values.chunks_exact_mut(width).zip(skip.chunks_exact(width)) {
        add(row, skip);
        let mean = sum_of(row, |x| x) / width as f32;
        let variance = sum_of(row, |x| (x - F32x4::splat(mean)) * (x - F32x4::splat(mean))) / width as f32;
        let (mean, factor) = (F32x4::splat(mean), F32x4::splat(1.0 / (variance + epsilon).sqrt()));
        let (fours, rest) = row.as_chunks_mut::<LANES>();
        let (scales, scales_rest) = scale.as_chunks::<LANES>();
        let (shifts, shifts_rest) = shift.as_chunks::<LANES>();
        for ((x, s), b) in fours.iter_mut().zip(scales).zip(shifts) {
            ((F32x4::load(x) - mean) * factor * F32x4::load(s) + F32x4::load(b)).store(x);
        }
        for ((x, s), b) in rest.iter_mut().zip(scales_rest).zip(shifts_rest) {
            *x = (*x - mean.array()[0]) * factor.array()[0] * s + b;
        }
    }
}

/// Adds numbers to numbers.
fn add(to: &mut [f32], numbers: &[f32]) {
    let ((to, rest), (numbers, numbers_rest)) = (to.as_chunks_mut::<LANES>(), numbers.as_chunks::<LANES>());
    for (sum, x) in to.iter_mut().zip(numbers) {
        (F32x4::load(sum) + F32x4::load(x)).store(sum);
    }
    for (sum, x) in rest.iter_mut().zip(numbers_rest) {
        *sum += x;
    }
}

/// The mean of each text's rows, texts that end before the rows `ends`, where `out` `[texts × width]` is zero.
pub fn mean(rows: &[f32], ends: &[usize], out: &mut [f32]) {
    let width = out.len() / ends.len();
    for (text, out) in spans(ends).zip(out.chunks_exact_mut(width)) {
        for row in rows[text.start * width..text.end * width].chunks_exact(width) {
            add(out, row);
        }
        for sum in out {
            *sum /= text.len() as f32;
        }
    }
}

/// The sum of `f` over a row.
fn sum_of(row: &[f32], f: impl Fn(F32x4) -> F32x4) -> f32 {
    let (fours, rest) = row.as_chunks::<LANES>();
    let mut sum = F32x4::splat(0.0);
    for x in fours {
        sum = sum + f(F32x4::load(x));
    }
    let rest: f32 = rest.iter().map(|&x| f(F32x4::splat(x)).array()[0]).sum();
    sum.sum() + rest
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Fours;
    use super::*;

    #[test]
    fn gelu_is_the_exact_one() {
        // Values of x·Φ(x) by numerical integration.
        let known = [
            (-4.0, -1.266_85e-4),
            (-1.0, -0.158_655_25),
            (-0.5, -0.154_268_77),
            (0.0, 0.0),
            (0.5, 0.345_731_23),
            (1.0, 0.841_344_7),
            (3.0, 2.995_950_3),
            (20.0, 20.0),
            (-20.0, 0.0),
        ];
        let mut values: Vec<f32> = known.iter().map(|&(x, _)| x).collect();
        let mut portable = values.clone();
        gelu(&mut values);
        gelu_by::<Fours>(&mut portable);
        assert_eq!(values, portable, "to the bit");
        for (found, (x, expected)) in values.iter().zip(known) {
            assert!((found - expected).abs() < 1e-6, "{x}: {found} instead of {expected}");
        }
    }

    #[test]
    fn rows_are_normalised_one_by_one() {
        use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
        let mut values = vec![0.0, 2.0, 2.0, 4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 11.0];
        let skip = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0];
        skip_layer_norm(&mut values, &skip, &[1.0, 1.0, 1.0, 2.0, 1.0], &[0.0, 0.0, 0.0, 0.0, 1.0], 0.0);
        let expected = [-SQRT_2, -FRAC_1_SQRT_2, 0.0, SQRT_2, SQRT_2 + 1.0, -0.5, -0.5, -0.5, -1.0, 3.0];
        for (found, expected) in values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn each_text_has_its_mean() {
        let mut out = [0.0; 4];
        mean(&[1.0, 2.0, 3.0, 6.0, 5.0, -1.0], &[2, 3], &mut out);
        assert_eq!(out, [2.0, 4.0, 5.0, -1.0]);
    }
}
