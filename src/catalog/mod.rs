//! The models a query may be sent to, as data.
//!
//! A catalog entry holds everything the router knows about a model: prices, limits, capabilities,
//! and an ability vector that the predictor multiplies with a query's skills. A model that appears
//! tomorrow needs an entry here, not a new predictor. Field names follow models.dev.

mod check;
mod import;

pub use check::{CatalogChange, CatalogDiff, Finding, check, diff};
pub use import::{Imported, from_dataset, from_litellm};

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, finite_non_negative};
use crate::money::{Day, PriceList};

/// The newest catalog format this version reads.
pub const CATALOG_FORMAT: u32 = 1;

/// No ability is larger: logits beyond 30 are certainties already.
const MAX_LOGIT: f64 = 1e3;

/// A versioned list of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// Format of the file; see [`CATALOG_FORMAT`].
    pub format: u32,
    /// Version of the content, named in every receipt.
    pub version: String,
    /// The entries, in the order in which ties are broken.
    pub models: Vec<Model>,
}

/// One candidate: a model at one reasoning effort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Unique id, `provider/model` or `provider/model@effort`.
    pub id: String,
    /// Who serves it.
    pub provider: String,
    /// The name under which the provider sells it.
    pub base: String,
    /// Reasoning effort to ask for, where it makes a candidate of its own.
    #[serde(default)]
    pub effort: Option<String>,
    /// Prices; `None` excludes the model (`price_unknown`).
    #[serde(default)]
    pub cost: Option<PriceList>,
    /// The owner declares that a price of zero is meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// Token limits.
    #[serde(default)]
    pub limit: Limit,
    /// Kinds of input it reads; `text` is implied. `None`: not stated.
    #[serde(default)]
    pub modalities: Option<Vec<String>>,
    /// Calls tools; `None`: not stated.
    #[serde(default)]
    pub tool_call: Option<bool>,
    /// Answers in JSON by a given schema; `None`: not stated.
    #[serde(default)]
    pub json: Option<bool>,
    /// Thinks before it answers, and bills the thoughts as output.
    #[serde(default)]
    pub reasoning: bool,
    /// May receive queries marked private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// When it was released.
    #[serde(default)]
    pub released: Option<Day>,
    /// The day from which it is no longer served.
    #[serde(default)]
    pub deprecation_date: Option<Day>,
    /// How well it answers; `None` excludes the model (`ability_unknown`).
    #[serde(default)]
    pub ability: Option<Ability>,
    /// How much it writes; `None` falls back to the artifacts' prior.
    #[serde(default)]
    pub length: Option<Length>,
    /// Why an imported row cannot be routed at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unroutable: Option<String>,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// Token limits of a model; `None`: not stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Input and output together.
    #[serde(default)]
    pub context: Option<u64>,
    /// Output alone.
    #[serde(default)]
    pub output: Option<u64>,
}

/// How an ability or a length was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Estimated together with the predictor from recorded outcomes.
    Recorded,
    /// Fitted to recorded outcomes with the predictor kept as it is.
    Fitted,
    /// Mapped from published benchmark scores.
    Published,
    /// A prior by price.
    Price,
    /// A stated prior without data of this model.
    Prior,
}

/// A model's ability: success has the logit `mean[0] + Σ mean[1+k]·skills[k] − difficulty`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ability {
    /// Level, then one weight per skill of the predictor.
    pub mean: Vec<f64>,
    /// Standard deviation of each entry of `mean`.
    pub sd: Vec<f64>,
    /// How it was obtained.
    pub source: Source,
    /// Details of how it was obtained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A model's verbosity: the log of its output tokens is normal around
/// `mean[0] + Σ mean[1+l]·length[l]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// Level, then one weight per length dimension of the predictor.
    pub mean: Vec<f64>,
    /// Standard deviation of the log.
    pub residual_sd: f64,
    /// How it was obtained.
    pub source: Source,
}

/// What was learnt about one recorded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedModel {
    /// How well it answers.
    pub ability: Ability,
    /// How much it writes.
    pub length: Length,
}

impl Catalog {
    /// Reads and validates a catalog from JSON.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let mut de = serde_json::Deserializer::from_slice(json);
        let catalog: Catalog = serde_path_to_error::deserialize(&mut de)
            .map_err(|e| Error::catalog(e.path().to_string(), e.inner()))?;
        de.end().map_err(|e| Error::catalog("end of file", e))?;
        catalog.validate()?;
        Ok(catalog)
    }

    /// Refuses what no router could use: a newer format, no models, duplicate ids, impossible numbers.
    pub fn validate(&self) -> Result<()> {
        if self.format > CATALOG_FORMAT {
            return Err(Error::Version {
                file: "catalog".into(),
                found: self.format,
                supported: CATALOG_FORMAT,
            });
        }
        if self.models.is_empty() {
            return Err(Error::catalog("models", "is empty: there is nothing to choose from"));
        }
        let mut seen = HashMap::new();
        for (i, model) in self.models.iter().enumerate() {
            if model.id.is_empty() {
                return Err(Error::catalog(format!("models[{i}].id"), "is empty"));
            }
            if let Some(first) = seen.insert(model.id.as_str(), i) {
                let what = format!("`{}` is already the id of models[{first}]", model.id);
                return Err(Error::catalog(format!("models[{i}].id"), what));
            }
            model.validate(&format!("models[{i}]"))?;
        }
        Ok(())
    }

    /// The position of the model called `id`.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.models.iter().position(|m| m.id == id)
    }
}

impl Model {
    fn validate(&self, place: &str) -> Result<()> {
        if let Some(cost) = &self.cost {
            cost.validate(&format!("{place}.cost"))?;
        }
        if let Some(ability) = &self.ability {
            for (name, values) in [("mean", &ability.mean), ("sd", &ability.sd)] {
                for (k, &value) in values.iter().enumerate() {
                    // A standard deviation may not be negative; a mean may.
                    let magnitude = if name == "sd" { value } else { value.abs() };
                    finite_non_negative(format!("{place}.ability.{name}[{k}]"), magnitude)?;
                    if magnitude > MAX_LOGIT {
                        return Err(Error::Number {
                            place: format!("{place}.ability.{name}[{k}]"),
                            value: value.to_string(),
                            expected: "at most 1,000 in magnitude",
                        });
                    }
                }
            }
            if ability.mean.len() != ability.sd.len() {
                return Err(Error::catalog(
                    format!("{place}.ability.sd"),
                    "must have as many entries as `mean`",
                ));
            }
        }
        if let Some(length) = &self.length {
            for (l, value) in length.mean.iter().enumerate() {
                finite_non_negative(format!("{place}.length.mean[{l}]"), value.abs())?;
            }
            finite_non_negative(format!("{place}.length.residual_sd"), length.residual_sd)?;
        }
        Ok(())
    }

    /// The name that globs such as `anthropic/*` are matched against.
    pub fn qualified(&self) -> String {
        if self.id.contains('/') { self.id.clone() } else { format!("{}/{}", self.provider, self.id) }
    }
}
