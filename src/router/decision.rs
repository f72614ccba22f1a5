//! The decision and its receipt: one schema for every host.

use serde::Serialize;

use crate::estimate::Interval;

/// Why a model was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Least cost at the price of quality that keeps the mean on target.
    BestValue,
    /// No candidate reaches the floor; the best one was taken.
    BelowFloor,
    /// Chosen because its prompt cache is warm; otherwise another model would have been.
    WarmCache,
    /// Nothing else passed the gates.
    OnlyCandidate,
    /// The caller named the model.
    Pinned,
    /// No model passed the gates.
    NoCandidate,
}

/// Why a model could not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The catalog has no price, or one of zero that the owner did not declare.
    PriceUnknown,
    /// The call is expected to cost more than its cap.
    OverCap,
    /// Input and output do not fit its limits.
    ContextTooSmall,
    /// The catalog does not say whether it can do what is needed.
    UnknownCapability,
    /// It cannot do what is needed.
    MissingCapability,
    /// Kept out by `allow` or `deny`.
    NotAllowed,
    /// The query is private and its provider is not.
    NotPrivate,
    /// Its provider is down.
    Unhealthy,
    /// It has no calls left.
    WorkloadFull,
    /// The call is expected to cost more than what is left to spend.
    BudgetSpent,
    /// It is no longer served.
    Retired,
    /// The catalog has no ability for it.
    AbilityUnknown,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Set by the host, which has a source of unique ids; empty here.
    pub id: String,
    /// The chosen model; `None` with [`Code::NoCandidate`].
    pub model: Option<String>,
    /// Why.
    pub code: Code,
    /// Why, in words.
    pub reason: String,
    /// Expected quality of the answer.
    pub quality: Option<Interval>,
    /// Expected cost of the call.
    pub cost_usd: Option<Interval>,
    /// What was asked for.
    pub target: Target,
    /// Whether the query resembles what the predictor was trained on.
    pub in_distribution: bool,
    /// The models to try next, in order.
    pub fallbacks: Vec<String>,
    /// Every other candidate, cheapest first.
    pub alternatives: Vec<Alternative>,
    /// Models that could not be chosen.
    pub excluded: Vec<Excluded>,
    /// The best constant model that meets the same target, and its cost for this query.
    pub baseline: Option<Baseline>,
    /// What the choice saves against the baseline; negative where it costs more.
    pub saving_usd: Option<f64>,
    /// What the decision was made with.
    pub versions: Versions,
    /// Time the decision took, set by the host, which has a clock; 0 here.
    pub elapsed_us: f64,
}

/// The target of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Target {
    /// Mean quality over traffic.
    pub quality: f64,
    /// Least quality of this answer.
    pub floor: Option<f64>,
    /// Most that the call may cost.
    pub cap_usd: Option<f64>,
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// Its id.
    pub model: String,
    /// Its expected quality.
    pub quality: f64,
    /// What it was expected to cost.
    pub cost_usd: f64,
}

/// A model that could not be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Its id.
    pub model: String,
    /// Why.
    pub code: Exclusion,
}

/// The constant choice that a saving is measured against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Baseline {
    /// The cheapest model whose mean quality on the reference traffic meets the target.
    pub model: String,
    /// What it was expected to cost for this query.
    pub cost_usd: f64,
}

/// What a decision was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The rule of choice.
    pub policy: String,
    /// The trained predictor.
    pub predictor: String,
    /// The sentence encoder whose vectors it takes, if it takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// The retrieval index.
    pub index: Option<String>,
    /// The catalog.
    pub catalog: String,
}
