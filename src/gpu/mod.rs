//! The encoder on the GPU.
