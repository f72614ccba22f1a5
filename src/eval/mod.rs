//! Files in and out, and how well the router does on recorded outcomes.
//!
//! An edge of the crate, compiled with the feature `cli`: it reads files, which the core never does.
//! `table` and `data` are the file formats that others script against. `metrics` are what figures are
//! made of, `judge` takes the figures of one set of estimates and `bootstrap` says how sure they are;
//! `intervals`, `lengths` and `unfamiliar` each judge one more thing about a set, and `contender` puts
//! it together. `evaluate` does it all for the router, its halves, every baseline and the `entrants`
//! from files, `noise` perturbs the queries, and `plot` draws the comparison; `schedule` is the order in which queries are given to models of limited workload, by our prices and
//! by the rules of others.

mod baselines;
mod bootstrap;
mod contender;
pub mod data;
mod entrants;
mod evaluate;
pub mod file;
mod intervals;
mod judge;
mod lengths;
mod metrics;
mod noise;
mod parquet;
mod plot;
mod records;
pub mod schedule;
pub mod table;
mod unfamiliar;

pub use baselines::NEIGHBORS;
pub use bootstrap::Measured;
pub use contender::Contender;
pub use entrants::{EstimatesFile, named_file};
pub use evaluate::{Constant, Embed, Evaluation, Inputs, Selection, evaluate};
pub use intervals::{Bins, QualityIntervals};
pub use judge::{Figures, Intervals, THRESHOLD, figures};
pub use lengths::{InputTokens, Lengths};
pub use metrics::{Estimated, Point, Recorded, TICKS, hull, on_hull};
pub use noise::{Kind, Noise};
pub use plot::plot;
pub use records::records;
pub use unfamiliar::Unfamiliar;
