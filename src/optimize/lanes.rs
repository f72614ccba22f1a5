//! Inner loops in vectors, on every host with the same bits: no fused multiply-add, no reordered sum.
//!
//! Plain x86-64 has half the lanes of AVX2, so there a loop is compiled for both and the better one that
//! the processor has is called. The wasm module is compiled for size, where LLVM leaves loops scalar:
//! there the pairs of lanes are written out, and the plain loop takes what is left over.

/// A function of slices whose plain loop LLVM can vectorise, and the same loop over pairs of lanes.
/// The slices that the function writes are named last, the first of them gives the length.
macro_rules! vectorised {
    (
        $(#[$doc:meta])*
        fn $name:ident($pairs:ident: &$type:ident, $($slice:ident: &mut [f64]),* $(,)?) $body:block
        in two lanes $lanes:block
    ) => {
        $(#[$doc])*
        pub(super) fn $name($pairs: &$type, $($slice: &mut [f64]),*) {
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "compiled into each caller with that caller's instructions")]
            fn plain($pairs: &$type, $($slice: &mut [f64]),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($pairs: &$type, $($slice: &mut [f64]),*) {
                    plain($pairs, $($slice),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    #[allow(unsafe_code, reason = "what is compiled for AVX2 may only be called where it is")]
                    return unsafe { avx2($pairs, $($slice),*) };
                }
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            {
                use crate::optimize::lanes::wasm::*;
                $lanes
                let last = $pairs.len() & !1;
                return plain(&$pairs.from(last), $(&mut $slice[last..]),*);
            }
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            plain($pairs, $($slice),*);
        }
    };
}
pub(super) use vectorised;

/// Loads and stores of two lanes.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) mod wasm {
    pub(in crate::optimize) use core::arch::wasm32::{
        f64x2_add, f64x2_div, f64x2_gt, f64x2_lt, f64x2_mul, f64x2_splat, f64x2_sub, v128, v128_and,
        v128_bitselect,
    };
    use core::arch::wasm32::{v128_load, v128_store};

    /// Two lanes from `at` on.
    #[inline(always)]
    #[allow(unsafe_code, clippy::inline_always, reason = "the only load of a vector takes a pointer")]
    pub(in crate::optimize) fn load(from: &[f64], at: usize) -> v128 {
        let pair = &from[at..at + 2];
        // SAFETY: the slice holds two f64, and a load needs no alignment.
        unsafe { v128_load(pair.as_ptr().cast()) }
    }

    /// Writes two lanes from `at` on.
    #[inline(always)]
    #[allow(unsafe_code, clippy::inline_always, reason = "the only store of a vector takes a pointer")]
    pub(in crate::optimize) fn store(to: &mut [f64], at: usize, lanes: v128) {
        let pair = &mut to[at..at + 2];
        // SAFETY: the slice holds two f64, and a store needs no alignment.
        unsafe { v128_store(pair.as_mut_ptr().cast(), lanes) }
    }
}
