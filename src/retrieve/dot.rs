//! The product of two rows of int8: the inner loop of every search.

/// Rows are padded with zeros to a multiple of this many components.
pub(super) const LANES: usize = 16;

/// The product of two padded rows of the same length.
///
/// Eight sums over fixed chunks are the shape that LLVM turns into widening multiply-adds; a plain
/// zip over the rows took 1.5 times as long.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    let (a, _) = a.as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<LANES>();
    let mut sums = [0i32; LANES / 2];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES / 2 {
            let (j, wide) = (i + LANES / 2, i32::from);
            sums[i] += wide(a[i]) * wide(b[i]) + wide(a[j]) * wide(b[j]);
        }
    }
    sums.iter().sum()
}

/// The product of two padded rows of the same length.
///
/// By hand, because the module is compiled for size, where LLVM leaves the loop above scalar and it
/// takes four times as long.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "the only load of a vector that Rust offers takes a pointer")]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    use core::arch::wasm32::{
        i16x8_extend_high_i8x16, i16x8_extend_low_i8x16, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane,
        i32x4_splat, v128_load,
    };
    let (a, _) = a.as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<LANES>();
    let mut sums = i32x4_splat(0);
    for (a, b) in a.iter().zip(b) {
        // SAFETY: both pointers are to arrays of 16 bytes, and a load needs no alignment.
        let (a, b) = unsafe { (v128_load(a.as_ptr().cast()), v128_load(b.as_ptr().cast())) };
        let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(a), i16x8_extend_low_i8x16(b));
        let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(a), i16x8_extend_high_i8x16(b));
        sums = i32x4_add(sums, i32x4_add(low, high));
    }
    i32x4_extract_lane::<0>(sums)
        + i32x4_extract_lane::<1>(sums)
        + i32x4_extract_lane::<2>(sums)
        + i32x4_extract_lane::<3>(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_as_one_by_one() {
        let row = |seed: i32| -> Vec<i8> { (0..48).map(|i| ((i * seed) % 255 - 127) as i8).collect() };
        let (a, b) = (row(37), row(101));
        let expected: i32 = a.iter().zip(&b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        assert_eq!(dot(&a, &b), expected);
        assert_eq!(dot(&[-127; 32], &[-127; 32]), 32 * 127 * 127);
    }
}
