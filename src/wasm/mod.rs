//! The bindings for JavaScript: they convert, and do nothing else.
//!
//! There are two modules for two features: the router, and the encoder on the GPU.

mod error;

#[cfg(feature = "wasm")]
mod convert;
#[cfg(feature = "wasm")]
mod encoder;
#[cfg(feature = "wasm")]
mod plan;
#[cfg(feature = "wasm")]
mod router;
