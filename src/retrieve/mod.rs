//! Which past queries resemble this one, and what they say about the estimate.
//!
//! **Problem.** Given the embedding *q* of a query and *n* embeddings of past queries, all of *D*
//! components from −1 to 1, find the *k* records nearest to *q* by Euclidean distance `d = ‖q − x‖`,
//! and turn what the models did on them into a correction of what the predictor says.
//!
//! **Notation.** `y_nj` is how well model *j* did on record *n* (0 to 1), `p_nj` what was expected of
//! it without having seen the record, `l_nj = logit(p_nj)`, `σ` the logistic function.
//!
//! **What a record keeps.** Its level `Δ_n`, the shift that explains its outcomes best under a unit
//! Gaussian prior, and per model the part that shift leaves unexplained:
//!
//! ```text
//! Δ_n  = the root of  Σ_j (y_nj − σ(l_nj + Δ)) − Δ = 0
//! r_nj = y_nj − σ(l_nj + Δ_n)
//! ```
//!
//! **The correction.** With `w_n = exp(−d_n / temperature)` over the *k* nearest, and `κ_q`, `κ_m` the
//! weights of "no correction" (`shrink_query`, `shrink_model`):
//!
//! ```text
//! δ   = Σ w_n Δ_n  / (Σ w_n + κ_q)     over neighbors with any outcome
//! ρ_m = Σ w_n r_nm / (Σ w_n + κ_m)     over neighbors with an outcome of m
//! u   = mean d_n / mean far_n          over all of them
//! ω   = clamp((very_far − u) / (very_far − 1), 0, 1)
//! ```
//!
//! The unfamiliarity `u` says whether anything like the query was seen: up to 1 it counts as in
//! distribution, and past that the familiarity `ω` takes the correction, and the prediction with it,
//! back to the prior. Distances are Euclidean because length tells here what direction does not: a
//! query unlike all others has large components. A record without outcomes takes part in `u` alone;
//! such records lie as far apart as they happen to, so that each has a `far_n` of its own: `reach` times
//! the mean distance of its nearest neighbors, which the index keeps.
//!
//! **Cost.** The exact scan is O(nD), with integer products over int8 vectors. The graph (HNSW:
//! Malkov and Yashunin, arXiv 1603.09320) visits a number of records that barely grows with *n*, for
//! a file several times as large and a slow build. [`Backend::choose`] picks by size, at the
//! crossover that `benches/retrieve.rs` measures. Both compare the same quantized vectors, so a
//! record's distance does not depend on the backend or the host.

mod dot;
mod exact;
mod hnsw;
mod index;
mod vectors;

pub use exact::Exact;
pub use hnsw::Hnsw;
pub use index::{Backend, Correction, INDEX_FORMAT, Index, Outcome, Record};
pub use vectors::Vectors;

/// A record near a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Number of the record, in the order the index was built from.
    pub record: u32,
    /// Euclidean distance of the quantized vectors.
    pub distance: f32,
}

impl Neighbor {
    /// Nearest first; ties go to the lower record, so that every host and backend agrees.
    fn order(self, other: Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.record.cmp(&other.record))
    }
}

/// A search over the embeddings of past queries.
pub trait Retriever: Send + Sync {
    /// How many records there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` records nearest to `embedding`, or all if there are fewer; nearest first, ties by
    /// record.
    ///
    /// `embedding` has the dimensions of the records ([`Index`] checks).
    fn nearest(&self, embedding: &[f32], k: usize) -> Vec<Neighbor>;
}
