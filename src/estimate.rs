//! What is expected of one model on one query.

use serde::Serialize;

/// A point estimate with the ends of its central 90 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Interval {
    /// The expected value.
    pub estimate: f64,
    /// 5 % of outcomes are expected below.
    pub lo: f64,
    /// 5 % of outcomes are expected above.
    pub hi: f64,
}

impl Interval {
    /// The same interval in another unit.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Interval { estimate: f(self.estimate), lo: f(self.lo), hi: f(self.hi) }
    }
}

/// Where an estimate of quality comes from. Decisions are made on the blend; its halves are there to
/// be compared with it. Output length is the trained predictor's under each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Estimator {
    /// The trained predictor alone, as if there were no index (ECCOS-T in the paper).
    Trained,
    /// The neighbors alone: of the query itself nothing is predicted, so that every model starts from
    /// its mean over the training queries (ECCOS-R). What neighbors say is relative to what was
    /// expected of them, so this is only complete with an index built against those means.
    Retrieved,
    /// The trained predictor, corrected by the neighbors.
    #[default]
    Blend,
}

/// The estimates for one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Position of the model in the catalog.
    pub model: usize,
    /// Chance of a good answer, 0 to 1. The interval is of the chance, not of the answer.
    pub quality: Interval,
    /// Tokens of the answer.
    pub output_tokens: Interval,
    /// USD of the call.
    pub cost_usd: Interval,
}

/// The estimates for every model that has an ability and a price, for one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    /// One per model, in the order of the catalog.
    pub models: Vec<Estimate>,
    /// Input tokens of the query, all messages included, in tokens of o200k unless the caller has
    /// counted them; costs go by each model's own tokenizer.
    pub input_tokens: f64,
    /// How far the nearest known queries are, as a multiple of how far they may be: above 1 the query is
    /// unlike all of them. 0 where nothing is compared.
    pub unfamiliarity: f64,
    /// Whether the query resembles what the predictor was trained on.
    pub in_distribution: bool,
}
