//! Four float32 at a time: what the pointwise loops are written in.
//!
//! The wasm module is compiled for size, where LLVM leaves loops scalar and does not inline a vector library's
//! functions (GELU over `wide` took six times as long there); so these few operations are spelled out and
//! always inlined. Elsewhere they are arrays, which LLVM turns into vectors by itself.

#![allow(clippy::inline_always, reason = "see above")]

use std::ops::{Add, Div, Mul, Sub};

/// How many numbers.
pub const LANES: usize = 4;

/// A number below 2²² in size plus this is that number rounded to a whole one, ties to even, and has it in its
/// lowest bits: 1.5 · 2²³.
pub const ROUND: f32 = 12_582_912.0;

/// Four numbers.
#[derive(Clone, Copy)]
pub struct F32x4(imp::Four);

impl F32x4 {
    #[inline(always)]
    pub fn splat(x: f32) -> Self {
        F32x4(imp::splat(x))
    }

    #[inline(always)]
    pub fn load(from: &[f32; LANES]) -> Self {
        F32x4(imp::load(from))
    }

    #[inline(always)]
    pub fn store(self, to: &mut [f32; LANES]) {
        imp::store(self.0, to);
    }

    #[inline(always)]
    pub fn abs(self) -> Self {
        F32x4(imp::abs(self.0))
    }

    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        F32x4(imp::max(self.0, other.0))
    }

    #[inline(always)]
    pub fn array(self) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        self.store(&mut array);
        array
    }

    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d] = self.array();
        (a + b) + (c + d)
    }

    /// eˣ for −80 ≤ x ≤ 0, within 2 units in the last place: a power of two, and a polynomial for the rest.
    #[inline(always)]
    pub fn exp(self) -> Self {
        let shifted = self * Self::splat(std::f32::consts::LOG2_E) + Self::splat(ROUND);
        let whole = shifted - Self::splat(ROUND);
        // ln 2 in two parts, so that the difference is exact.
        let rest = self - whole * Self::splat(0.693_359_4) - whole * Self::splat(-2.121_944_4e-4);
        let mut sum = Self::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum * rest + Self::splat(c);
        }
        F32x4(imp::add_to_exponent(sum.0, shifted.0))
    }
}

impl Add for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        F32x4(imp::add(self.0, other.0))
    }
}

impl Sub for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        F32x4(imp::sub(self.0, other.0))
    }
}

impl Mul for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        F32x4(imp::mul(self.0, other.0))
    }
}

impl Div for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        F32x4(imp::div(self.0, other.0))
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "the only load and store of a vector that Rust offers take a pointer")]
mod imp {
    pub use core::arch::wasm32::{
        f32x4_abs as abs, f32x4_add as add, f32x4_div as div, f32x4_mul as mul, f32x4_pmax as max,
        f32x4_splat as splat, f32x4_sub as sub, v128 as Four,
    };
    use core::arch::wasm32::{i32x4_add, i32x4_shl, v128_load, v128_store};

    #[inline(always)]
    pub fn load(from: &[f32; 4]) -> Four {
        // SAFETY: the array has 16 bytes, and a load needs no alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    pub fn store(four: Four, to: &mut [f32; 4]) {
        // SAFETY: the array has 16 bytes, and a store needs no alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), four) }
    }

    #[inline(always)]
    pub fn add_to_exponent(four: Four, shifted: Four) -> Four {
        i32x4_add(four, i32x4_shl(shifted, 23))
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    pub type Four = [f32; 4];

    macro_rules! each {
        ($($name:ident($($x:ident),+) $of:expr;)*) => {$(
            #[inline(always)]
            pub fn $name($($x: Four),+) -> Four {
                std::array::from_fn(|i| { $(let $x = $x[i];)+ $of })
            }
        )*};
    }
    each! {
        add(a, b) a + b;
        sub(a, b) a - b;
        mul(a, b) a * b;
        div(a, b) a / b;
        max(a, b) if a < b { b } else { a };
        abs(a) a.abs();
        add_to_exponent(a, shifted) f32::from_bits(a.to_bits().wrapping_add(shifted.to_bits() << 23));
    }

    #[inline(always)]
    pub fn splat(x: f32) -> Four {
        [x; 4]
    }

    #[inline(always)]
    pub fn load(from: &[f32; 4]) -> Four {
        *from
    }

    #[inline(always)]
    pub fn store(four: Four, to: &mut [f32; 4]) {
        *to = four;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_e() {
        for i in 0..=8000 {
            let x = -i as f32 / 100.0;
            let [found, ..] = F32x4::splat(x).exp().array();
            let expected = f64::from(x).exp();
            assert!((f64::from(found) / expected - 1.0).abs() < 3e-7, "{x}: {found} instead of {expected}");
        }
    }
}
