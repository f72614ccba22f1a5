//! Files in and out, and how well the router does on recorded outcomes.
//!
//! An edge of the crate, compiled with the feature `cli`: it reads files, which the core never does.
//! `table` and `data` are the file formats that others script against; `metrics` are the figures,
//! `evaluate` computes them for the router and for every baseline, and `plot` draws them; `schedule` is
//! the order in which queries are given to models of limited workload, by our prices and by the rules
//! of others.

mod baselines;
mod bootstrap;
pub mod data;
mod evaluate;
pub mod file;
mod metrics;
mod parquet;
mod plot;
mod records;
pub mod schedule;
pub mod table;

pub use baselines::NEIGHBORS;
pub use evaluate::{Constant, Contender, Difference, Evaluation, Inputs, Selection, evaluate};
pub use metrics::{
    Deviation, Estimated, Figures, Point, Recorded, Sweep, THRESHOLD, TICKS, deviation, figures, hull,
    on_hull, threshold_rule,
};
pub use plot::plot;
pub use records::records;
