//! Four float32 at a time, or eight: what the loops are written in.
//!
//! The wasm module is compiled for size, where LLVM leaves loops scalar and does not inline a vector library's
//! functions (GELU over `wide` took six times as long there); so these few operations are spelled out and
//! always inlined. On x86-64 arrays would do, were it not for divisions and exponents, which LLVM leaves scalar.
//! No multiplication is fused with an addition, so that all processors compute the same bits.

#![allow(clippy::inline_always, reason = "see above")]

use std::ops::{Add, Div, Mul, Sub};

/// A loop written out. Compiled for size, LLVM unrolls none, and an array that a loop indexes cannot stay in registers.
macro_rules! unrolled {
    (for $i:ident in [$($n:literal)*] $body:block) => {$({
        const $i: usize = $n;
        $body
    })*};
}
pub(super) use unrolled;

/// How many numbers.
pub const LANES: usize = 4;

/// A number below 2²² in size plus this is that number rounded to a whole one, ties to even, and has it in its
/// lowest bits: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;

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

    /// The numbers rounded to whole ones of 16 bits, two in each result, the first one in the low bits. They have to fit.
    #[inline(always)]
    pub fn rounded(self) -> [i32; 2] {
        imp::low_halves((self + Self::splat(ROUND)).0)
    }

    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d] = self.array();
        (a + b) + (c + d)
    }
}

macro_rules! operators {
    ($vector:ty: $($trait:ident $name:ident($a:ident, $b:ident) $of:expr;)*) => {$(
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $of
            }
        }
    )*};
}
operators! {
    F32x4:
    Add add(a, b) F32x4(imp::add(a.0, b.0));
    Sub sub(a, b) F32x4(imp::sub(a.0, b.0));
    Mul mul(a, b) F32x4(imp::mul(a.0, b.0));
    Div div(a, b) F32x4(imp::div(a.0, b.0));
}

/// Eight numbers, in the registers that there are. What is generic over them is always inlined, into a function
/// that is compiled for these registers: [`widest`] writes it.
pub trait F32x8:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn splat(x: f32) -> Self;
    fn load(from: &[f32; 8]) -> Self;
    fn store(self, to: &mut [f32; 8]);
    fn abs(self) -> Self;
    fn max(self, other: Self) -> Self;
    /// Times two to the power that the other one's lowest bits hold.
    fn add_to_exponent(self, shifted: Self) -> Self;

    #[inline(always)]
    fn array(self) -> [f32; 8] {
        let mut array = [0.0; 8];
        self.store(&mut array);
        array
    }

    /// eˣ for −80 ≤ x ≤ 0, within 2 units in the last place: a power of two, and a polynomial for the rest.
    #[inline(always)]
    fn exp(self) -> Self {
        let shifted = self * Self::splat(std::f32::consts::LOG2_E) + Self::splat(ROUND);
        let whole = shifted - Self::splat(ROUND);
        // ln 2 in two parts, so that the difference is exact.
        let rest = self - whole * Self::splat(0.693_359_4) - whole * Self::splat(-2.121_944_4e-4);
        let mut sum = Self::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum * rest + Self::splat(c);
        }
        sum.add_to_exponent(shifted)
    }
}

/// Twice four: what every processor has.
#[derive(Clone, Copy)]
pub struct Fours(F32x4, F32x4);

operators! {
    Fours:
    Add add(a, b) Fours(a.0 + b.0, a.1 + b.1);
    Sub sub(a, b) Fours(a.0 - b.0, a.1 - b.1);
    Mul mul(a, b) Fours(a.0 * b.0, a.1 * b.1);
    Div div(a, b) Fours(a.0 / b.0, a.1 / b.1);
}

impl F32x8 for Fours {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Fours(F32x4::splat(x), F32x4::splat(x))
    }

    #[inline(always)]
    fn load(from: &[f32; 8]) -> Self {
        let (fours, _) = from.as_chunks();
        Fours(F32x4::load(&fours[0]), F32x4::load(&fours[1]))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; 8]) {
        let (fours, _) = to.as_chunks_mut();
        self.0.store(&mut fours[0]);
        self.1.store(&mut fours[1]);
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Fours(self.0.abs(), self.1.abs())
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Fours(self.0.max(other.0), self.1.max(other.1))
    }

    #[inline(always)]
    fn add_to_exponent(self, shifted: Self) -> Self {
        let add = |x: F32x4, shifted: F32x4| F32x4(imp::add_to_exponent(x.0, shifted.0));
        Fours(add(self.0, shifted.0), add(self.1, shifted.1))
    }
}

/// A function that does what `$by` does, over the widest registers that the processor has.
macro_rules! widest {
    ($(#[$doc:meta])* pub fn $name:ident($($x:ident: $type:ty),*) by $by:ident) => {
        $(#[$doc])*
        pub fn $name($($x: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($x: $type),*) {
                    $by::<super::lanes::avx2::Eight>($($x),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    #[allow(unsafe_code, reason = "what is compiled for AVX2 may only be called where it is")]
                    return unsafe { avx2($($x),*) };
                }
            }
            $by::<super::lanes::Fours>($($x),*);
        }
    };
}
pub(super) use widest;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "the only load and store of a vector that Rust offers take a pointer")]
mod imp {
    pub use core::arch::wasm32::{
        f32x4_abs as abs, f32x4_add as add, f32x4_div as div, f32x4_mul as mul, f32x4_pmax as max,
        f32x4_splat as splat, f32x4_sub as sub, v128 as Four,
    };
    use core::arch::wasm32::{
        i8x16_shuffle, i32x4_add, i32x4_extract_lane, i32x4_shl, v128_load, v128_store,
    };

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

    #[inline(always)]
    pub fn low_halves(four: Four) -> [i32; 2] {
        let halves = i8x16_shuffle::<0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0>(four, four);
        [i32x4_extract_lane::<0>(halves), i32x4_extract_lane::<1>(halves)]
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector functions are unsafe to call in general, though every x86-64 has SSE2")]
mod imp {
    use std::arch::x86_64::{
        __m128, _mm_add_epi32, _mm_add_ps, _mm_andnot_ps, _mm_castps_si128, _mm_castsi128_ps, _mm_div_ps,
        _mm_max_ps, _mm_mul_ps, _mm_set_ps, _mm_set1_ps, _mm_slli_epi32, _mm_storeu_ps, _mm_sub_ps,
    };

    pub type Four = __m128;

    macro_rules! of_sse2 {
        ($($name:ident($($x:ident: $type:ty),+) $of:expr;)*) => {$(
            #[inline(always)]
            pub fn $name($($x: $type),+) -> Four {
                // SAFETY: every x86-64 has SSE2.
                unsafe { $of }
            }
        )*};
    }
    of_sse2! {
        add(a: Four, b: Four) _mm_add_ps(a, b);
        sub(a: Four, b: Four) _mm_sub_ps(a, b);
        mul(a: Four, b: Four) _mm_mul_ps(a, b);
        div(a: Four, b: Four) _mm_div_ps(a, b);
        max(a: Four, b: Four) _mm_max_ps(b, a);
        abs(a: Four) _mm_andnot_ps(_mm_set1_ps(-0.0), a);
        splat(x: f32) _mm_set1_ps(x);
        load(from: &[f32; 4]) _mm_set_ps(from[3], from[2], from[1], from[0]);
        add_to_exponent(a: Four, shifted: Four)
            _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(a), _mm_slli_epi32::<23>(_mm_castps_si128(shifted))));
    }

    #[inline(always)]
    pub fn low_halves(four: Four) -> [i32; 2] {
        let mut array = [0.0; 4];
        store(four, &mut array);
        super::low_halves(array)
    }

    #[inline(always)]
    pub fn store(four: Four, to: &mut [f32; 4]) {
        // SAFETY: the array has 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_ps(to.as_mut_ptr(), four) }
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
use portable as imp;

/// For all other processors. Tests compile it everywhere.
#[cfg(any(test, not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))))]
mod portable {
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

    pub(super) use super::low_halves;

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

/// For functions that are compiled for AVX2, and no others.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector functions are unsafe to call in general")]
pub mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm256_add_epi32, _mm256_add_ps, _mm256_andnot_ps, _mm256_castps_si256, _mm256_castsi256_ps,
        _mm256_div_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_slli_epi32,
        _mm256_storeu_ps, _mm256_sub_ps,
    };
    use std::ops::{Add, Div, Mul, Sub};

    use super::F32x8;

    /// Eight numbers in a register.
    #[derive(Clone, Copy)]
    pub struct Eight(__m256);

    // SAFETY, of all that follow: nothing but `widest` names this type, where it has found AVX2.
    operators! {
        Eight:
        Add add(a, b) Eight(unsafe { _mm256_add_ps(a.0, b.0) });
        Sub sub(a, b) Eight(unsafe { _mm256_sub_ps(a.0, b.0) });
        Mul mul(a, b) Eight(unsafe { _mm256_mul_ps(a.0, b.0) });
        Div div(a, b) Eight(unsafe { _mm256_div_ps(a.0, b.0) });
    }

    impl F32x8 for Eight {
        #[inline(always)]
        fn splat(x: f32) -> Self {
            Eight(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        fn load(from: &[f32; 8]) -> Self {
            Eight(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, to: &mut [f32; 8]) {
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) };
        }

        #[inline(always)]
        fn abs(self) -> Self {
            Eight(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
        }

        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Eight(unsafe { _mm256_max_ps(other.0, self.0) })
        }

        #[inline(always)]
        fn add_to_exponent(self, shifted: Self) -> Self {
            let power = unsafe { _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted.0)) };
            Eight(unsafe { _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), power)) })
        }
    }
}

/// The low 16 bits of the numbers, two in each result.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
fn low_halves(numbers: [f32; LANES]) -> [i32; 2] {
    let [a, b, c, d] = numbers.map(f32::to_bits);
    [(a & 0xffff | b << 16) as i32, (c & 0xffff | d << 16) as i32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_16_bits() {
        let mut four = F32x4::load(&[-32_767.4, 32_766.5, -0.5, 1.5]);
        assert_eq!(
            four.rounded().map(|pair| [pair as i16, (pair >> 16) as i16]),
            [[-32_767, 32_766], [0, 2]]
        );
        four = F32x4::splat(-3.0);
        assert_eq!(four.rounded(), [-3 & 0xffff | -3 << 16; 2]);
    }

    #[test]
    fn every_processor_computes_the_same_bits() {
        let [a, b] = [[1.5, -2.25, 0.0, -1e-3], [-0.5, 3.7, -7.0, 0.3]];
        let [x, y] = [imp::load(&a), imp::load(&b)];
        for (portable, here) in [
            (portable::add(a, b), imp::add(x, y)),
            (portable::sub(a, b), imp::sub(x, y)),
            (portable::mul(a, b), imp::mul(x, y)),
            (portable::div(a, b), imp::div(x, y)),
            (portable::max(a, b), imp::max(x, y)),
            (portable::max([f32::NAN; 4], b), imp::max(imp::splat(f32::NAN), y)),
            (portable::max(a, [f32::NAN; 4]), imp::max(x, imp::splat(f32::NAN))),
            (portable::abs(a), imp::abs(x)),
            (
                portable::add_to_exponent(a, portable::splat(ROUND)),
                imp::add_to_exponent(x, imp::splat(ROUND)),
            ),
        ] {
            let mut stored = [0.0; 4];
            portable::store(portable::load(&portable), &mut stored);
            assert_eq!(stored.map(f32::to_bits), F32x4(here).array().map(f32::to_bits));
        }
        assert_eq!(portable::low_halves(a), imp::low_halves(x));
    }

    #[test]
    fn powers_of_e() {
        for i in 0..=8000 {
            let x = -i as f32 / 100.0;
            let [found, ..] = Fours::splat(x).exp().array();
            let expected = f64::from(x).exp();
            assert!((f64::from(found) / expected - 1.0).abs() < 3e-7, "{x}: {found} instead of {expected}");
        }
    }
}
