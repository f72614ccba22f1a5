//! Pick the cheapest capable LLM in the client, before the API call is made.
//!
//! A [`Query`] comes in; a small trained predictor and past outcomes of similar queries estimate,
//! for every [`Model`] of a [`Catalog`], the chance that it answers well and what the answer will
//! cost; the [`Router`] takes the cheapest choice that keeps mean quality on its target and returns
//! a [`Decision`] with its reasons and ordered fallbacks. The design is ECCOS / OmniRouter
//! (arXiv 2502.20576).
//!
//! The core reads no clock, no file and no network: bytes and moments come in, values go out.
//!
//! ```
//! use std::path::Path;
//! use pennyroute::{Artifacts, Moment, RouteRequest, Router};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let models = Path::new("models");
//! let manifest = std::fs::read(models.join("manifest.json"))?;
//! let artifacts = Artifacts::open(&manifest, |file| std::fs::read(models.join(file)).ok())?;
//! let router = Router::new(artifacts, None)?;
//! let now = Moment::parse("2026-11-20T12:00:00Z")?;
//! let decision = router.route(&RouteRequest::prompt("Hi, how are you?"), now)?;
//! println!("{:?}: {}", decision.model, decision.reason);
//! # assert!(decision.model.is_some() && !decision.fallbacks.is_empty());
//! # Ok(())
//! # }
//! ```

#![cfg(any(feature = "router", feature = "gpu"))]

// The domain: plain data and its validation.
#[cfg(feature = "router")]
mod artifact;
#[cfg(feature = "router")]
mod catalog;
mod error;
#[cfg(feature = "router")]
mod estimate;
#[cfg(feature = "router")]
mod money;
#[cfg(feature = "router")]
mod query;

// What the parts are made of: networks and tokens.
#[cfg(feature = "router")]
mod onnx;
#[cfg(feature = "router")]
mod wordpiece;

// Text encoders.
mod encode;
#[cfg(feature = "gpu")]
mod gpu;

// The parts, which know the domain but not each other.
#[cfg(feature = "router")]
mod learn;
#[cfg(feature = "router")]
pub mod optimize;
#[cfg(feature = "router")]
mod predict;
#[cfg(feature = "router")]
pub mod retrieve;

// Put together.
#[cfg(feature = "router")]
mod router;

// Exposed.
#[cfg(any(feature = "wasm", feature = "gpu-wasm"))]
mod wasm;

// The edge that reads and writes files.
#[cfg(feature = "cli")]
pub mod eval;

#[cfg(feature = "router")]
pub use artifact::{
    ARTIFACT_FORMAT, Artifacts, EncoderParameters, FileEntry, Manifest, Parameters, Prior, Published,
    QuerySd, Reference, ReferenceQuery, RetrievalParameters, TokenWeights,
};
#[cfg(feature = "router")]
pub use catalog::{
    Ability, CATALOG_FORMAT, Catalog, CatalogChange, CatalogDiff, Finding, Imported, Length, Limit, Model,
    RecordedModel, Source, check, diff, from_dataset, from_litellm,
};
pub use encode::{Encoder, TokenBatch};
#[cfg(feature = "router")]
pub use encode::{EncoderManifest, EncoderTokenizer, OnnxEncoder};
pub use error::{Error, Result};
#[cfg(feature = "router")]
pub use estimate::{Estimate, Estimates, Estimator, Interval};
#[cfg(feature = "router")]
pub use learn::{Placed, from_price, from_scores};
#[cfg(feature = "router")]
pub use money::{Change, Day, Hours, Moment, PriceList, Prices, Rates, Tier, TimeOfDay};
#[cfg(feature = "router")]
pub use predict::{Description, Predictor};
#[cfg(feature = "router")]
pub use query::{
    CalledFunction, Content, Message, Needs, Part, Query, TextCounts, ToolCall, replace_lone_surrogates,
};
#[cfg(feature = "router")]
pub use router::{
    Alternative, Baseline, Code, Considered, Constant, DEFAULT_RELATIVE_QUALITY, Decision, Excluded,
    Exclusion, Explanation, Fitted, FittedModel, GradedAnswer, ResponseFormat, RouteRequest, Router,
    Standing, Switch, Target, ToolDefinition, Versions,
};
