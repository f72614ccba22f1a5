//! What quality costs over typical traffic, for the catalog at hand.
//!
//! A target on *mean* quality is reached with a price: the λ (USD per unit of quality) at which
//! taking the least `cost − λ·quality` for every query of the reference sample just meets the
//! target. It depends on the catalog, its prices of the moment and the models that are allowed: the
//! whole cost-quality curve of such a *market* is computed when first needed and kept, and a target
//! is then looked up on it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::artifact::Reference;
use crate::catalog::{Catalog, Length, Model};
use crate::error::Result;
use crate::money::{Moment, Prices, Rates};
use crate::optimize::{self, PricePoint};
use crate::predict;

/// Share of the best single model's mean quality that is kept where the caller names no target.
pub const DEFAULT_RELATIVE_QUALITY: f64 = 0.97;

/// Markets kept; hosts use one or two at a time.
const KEPT: usize = 8;

/// The estimates of every model on the reference sample; prices aside, they change with the catalog
/// alone.
pub(super) struct Sample {
    input_tokens: Vec<f64>,
    /// Per model of the catalog; `None` where it has no ability.
    models: Vec<Option<SampledModel>>,
    known: Mutex<Vec<Known>>,
}

struct SampledModel {
    /// Per query of the sample.
    quality: Vec<f64>,
    output_tokens: Vec<f64>,
    /// Its input tokens per token of o200k.
    token_factor: f64,
}

/// The eligible models at the prices of a moment, and what they offer on the sample.
struct Market<'a> {
    catalog: &'a Catalog,
    models: Vec<usize>,
    prices: Vec<Prices<'a>>,
}

/// What was computed of a market.
struct Known {
    /// Models and their rates for a short input: what the rest depends on (tiers do not change with
    /// the moment).
    key: Vec<(usize, Rates)>,
    offer: Arc<Offer>,
}

/// What the models of a market offer on the sample.
struct Offer {
    /// The cost-quality frontier, cheapest first.
    curve: Vec<PricePoint>,
    /// Always calling one model, in the order of the market.
    constants: Vec<Constant>,
}

/// What the router needs to know of the market.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarketTarget {
    /// Mean quality to keep.
    pub quality: f64,
    /// Price of quality in USD per unit; infinite where the target is out of reach.
    pub lambda: f64,
    /// The cheapest constant model that meets the target, or else the best one.
    pub baseline: usize,
}

/// Always calling one model: what it brings on the reference traffic.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Constant {
    /// The model's id.
    pub model: String,
    /// Mean quality, 0 to 1.
    pub quality: f64,
    /// Mean cost per query, USD.
    pub cost_usd: f64,
}

impl Sample {
    /// `token_factors`: input tokens of each model per token of o200k.
    pub(super) fn new(
        reference: &Reference,
        catalog: &Catalog,
        default_length: &Length,
        token_factors: &[f64],
    ) -> Self {
        let sampled = |(model, &token_factor): (&Model, &f64)| {
            let ability = model.ability.as_ref()?;
            let length = model.length.as_ref().unwrap_or(default_length);
            let most = model.limit.output.map_or(f64::INFINITY, |most| most as f64);
            let quality = reference.queries.iter().map(|q| {
                let (logit, _) = predict::logit(ability, &q.skills, q.difficulty);
                predict::sigmoid(logit)
            });
            let tokens =
                reference.queries.iter().map(|q| predict::mean_output_tokens(length, &q.length, most));
            Some(SampledModel { quality: quality.collect(), output_tokens: tokens.collect(), token_factor })
        };
        Sample {
            input_tokens: reference.queries.iter().map(|q| q.input_tokens).collect(),
            models: catalog.models.iter().zip(token_factors).map(sampled).collect(),
            known: Mutex::new(Vec::new()),
        }
    }

    /// The price of quality and the baseline among `eligible` models; `None` if there are none.
    ///
    /// # Errors
    /// Only if the optimizer refuses the sample, which would be a bug.
    pub(super) fn target(
        &self,
        catalog: &Catalog,
        eligible: &[usize],
        quality: Option<f64>,
        at: Moment,
    ) -> Result<Option<MarketTarget>> {
        if eligible.is_empty() {
            return Ok(None);
        }
        let offer = self.offer(catalog, eligible, at)?;
        let constants = &offer.constants;
        let (mut best, mut meeting) = (0, None::<usize>);
        for (j, constant) in constants.iter().enumerate() {
            if constant.quality > constants[best].quality {
                best = j;
            }
        }
        let target = quality.unwrap_or(DEFAULT_RELATIVE_QUALITY * constants[best].quality);
        for (j, constant) in constants.iter().enumerate().filter(|(_, c)| c.quality >= target) {
            if meeting.is_none_or(|cheapest| constant.cost_usd < constants[cheapest].cost_usd) {
                meeting = Some(j);
            }
        }
        let point = optimize::price_on(&offer.curve, target)?;
        Ok(Some(MarketTarget {
            quality: target,
            lambda: if point.reachable { point.lambda } else { f64::INFINITY },
            baseline: eligible[meeting.unwrap_or(best)],
        }))
    }

    /// The cost-quality frontier of the eligible models, cheapest first.
    pub(super) fn frontier(
        &self,
        catalog: &Catalog,
        eligible: &[usize],
        at: Moment,
    ) -> Result<Vec<PricePoint>> {
        Ok(self.offer(catalog, eligible, at)?.curve.clone())
    }

    /// Every constant choice among the eligible models.
    pub(super) fn constants(
        &self,
        catalog: &Catalog,
        eligible: &[usize],
        at: Moment,
    ) -> Result<Vec<Constant>> {
        Ok(self.offer(catalog, eligible, at)?.constants.clone())
    }

    /// What a market offers, from what is known or computed now.
    fn offer(&self, catalog: &Catalog, eligible: &[usize], at: Moment) -> Result<Arc<Offer>> {
        let market = Market::new(catalog, eligible, at);
        let key = market.key();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.iter().find(|known| known.key == key) {
            return Ok(Arc::clone(&known.offer));
        }
        let offer = Arc::new(self.solve(&market)?);
        if known.len() == KEPT {
            known.remove(0);
        }
        known.push(Known { key, offer: Arc::clone(&offer) });
        Ok(offer)
    }

    fn solve(&self, market: &Market) -> Result<Offer> {
        let n = self.input_tokens.len();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let (mut cost, mut quality) = (Vec::new(), Vec::new());
        let mut constants = Vec::new();
        for (&m, prices) in market.models.iter().zip(&market.prices) {
            let Some(model) = &self.models[m] else { continue };
            let start = cost.len();
            let calls = self.input_tokens.iter().zip(&model.output_tokens);
            cost.extend(calls.map(|(&input, &output)| {
                let input = input * model.token_factor;
                prices.rates(input as u64).cost(input, 0.0, output)
            }));
            quality.extend_from_slice(&model.quality);
            constants.push(Constant {
                model: market.catalog.models[m].id.clone(),
                quality: mean(&quality[start..]),
                cost_usd: mean(&cost[start..]),
            });
        }
        Ok(Offer { curve: optimize::frontier(&cost, &quality, n, constants.len())?, constants })
    }
}

impl<'a> Market<'a> {
    fn new(catalog: &'a Catalog, eligible: &[usize], at: Moment) -> Self {
        let priced = eligible.iter().filter_map(|&m| Some((m, catalog.models[m].cost.as_ref()?.at(at))));
        let (models, prices) = priced.unzip();
        Market { catalog, models, prices }
    }

    fn key(&self) -> Vec<(usize, Rates)> {
        self.models.iter().zip(&self.prices).map(|(&m, prices)| (m, prices.rates(0))).collect()
    }
}
