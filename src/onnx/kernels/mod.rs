//! The arithmetic of a transformer, on plain slices: what `fused` registers with tract.

mod attention;
mod lanes;
mod linear;
mod pointwise;

use std::ops::Range;

pub use attention::{HEAD_MULTIPLE, attention};
pub use linear::Linear;
pub use pointwise::{gelu, mean, skip_layer_norm};

/// The rows of each text, of texts that end before the rows `ends`.
fn spans(ends: &[usize]) -> impl Iterator<Item = Range<usize>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, &end)| start..end)
}
