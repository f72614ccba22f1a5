//! The arithmetic of a transformer, on plain slices: what `fused` registers with tract.

mod attention;
mod lanes;
mod linear;
mod pointwise;

pub use attention::{HEAD_MULTIPLE, attention};
pub use linear::Linear;
pub use pointwise::{gelu, layer_norm};
