//! What quality costs over typical traffic, for the catalog at hand.
//!
//! A target on *mean* quality is reached with a price: the λ (USD per unit of quality) at which
//! taking the least `cost − λ·quality` for every query of the reference sample just meets the
//! target. It depends on the catalog, its prices of the moment and the models that are allowed, so
//! it is solved when first needed and kept.

use std::sync::Mutex;

use crate::artifact::Reference;
use crate::catalog::{Catalog, Length, Model};
use crate::error::Result;
use crate::money::{Moment, Rates};
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
    markets: Mutex<Vec<Market>>,
}

struct SampledModel {
    /// Per query of the sample.
    quality: Vec<f64>,
    output_tokens: Vec<f64>,
}

/// The eligible models at the rates of a moment, and what was solved for them.
#[derive(Clone)]
struct Market {
    /// Model and its rates for a short input: what the cached answer depends on.
    key: Vec<(usize, Rates)>,
    quality: Option<f64>,
    target: MarketTarget,
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

/// Costs and qualities of some models on the sample, model-major.
struct Table {
    cost: Vec<f64>,
    quality: Vec<f64>,
}

impl Sample {
    pub(super) fn new(reference: &Reference, catalog: &Catalog, default_length: &Length) -> Self {
        let sampled = |model: &Model| {
            let ability = model.ability.as_ref()?;
            let length = model.length.as_ref().unwrap_or(default_length);
            let most = model.limit.output.map_or(f64::INFINITY, |most| most as f64);
            let quality = reference.queries.iter().map(|q| {
                let (logit, _) = predict::logit(ability, &q.skills, q.difficulty);
                predict::sigmoid(logit)
            });
            let tokens = reference.queries.iter().map(|q| predict::output_tokens(length, &q.length, most).estimate);
            Some(SampledModel { quality: quality.collect(), output_tokens: tokens.collect() })
        };
        Sample {
            input_tokens: reference.queries.iter().map(|q| q.input_tokens).collect(),
            models: catalog.models.iter().map(sampled).collect(),
            markets: Mutex::new(Vec::new()),
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
        let key: Vec<(usize, Rates)> = eligible.iter().filter_map(|&m| Some((m, rates(catalog, m, at, 0.0)?))).collect();
        let mut markets = self.markets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = markets.iter().find(|market| market.quality == quality && market.key == key) {
            return Ok(Some(known.target));
        }
        let target = self.solve(catalog, eligible, quality, at)?;
        if markets.len() == KEPT {
            markets.remove(0);
        }
        markets.push(Market { key, quality, target });
        Ok(Some(target))
    }

    fn solve(&self, catalog: &Catalog, eligible: &[usize], quality: Option<f64>, at: Moment) -> Result<MarketTarget> {
        let (n, m) = (self.input_tokens.len(), eligible.len());
        let table = self.table(catalog, eligible, at);
        let means = |values: &[f64]| -> Vec<f64> { values.chunks_exact(n).map(|v| v.iter().sum::<f64>() / n as f64).collect() };
        let (costs, qualities) = (means(&table.cost), means(&table.quality));
        let best = (0..m).max_by(|&a, &b| qualities[a].total_cmp(&qualities[b]).then(costs[b].total_cmp(&costs[a])));
        let best = best.unwrap_or_default();
        let target = quality.unwrap_or(DEFAULT_RELATIVE_QUALITY * qualities[best]);
        let meeting = (0..m).filter(|&j| qualities[j] >= target);
        let baseline = meeting.min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(best);
        let point = optimize::price_of_quality(&table.cost, &table.quality, n, m, target)?;
        let lambda = if point.reachable { point.lambda } else { f64::INFINITY };
        Ok(MarketTarget { quality: target, lambda, baseline: eligible[baseline] })
    }

    /// The cost-quality frontier of the eligible models, cheapest first.
    pub(super) fn frontier(&self, catalog: &Catalog, eligible: &[usize], at: Moment) -> Result<Vec<PricePoint>> {
        let table = self.table(catalog, eligible, at);
        optimize::frontier(&table.cost, &table.quality, self.input_tokens.len(), eligible.len())
    }

    /// Every constant choice among the eligible models.
    pub(super) fn constants(&self, catalog: &Catalog, eligible: &[usize], at: Moment) -> Vec<Constant> {
        let n = self.input_tokens.len();
        let table = self.table(catalog, eligible, at);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let rows = table.cost.chunks_exact(n).zip(table.quality.chunks_exact(n)).zip(eligible);
        rows.map(|((cost, quality), &m)| Constant {
            model: catalog.models[m].id.clone(),
            quality: mean(quality),
            cost_usd: mean(cost),
        })
        .collect()
    }

    fn table(&self, catalog: &Catalog, eligible: &[usize], at: Moment) -> Table {
        let mut table = Table { cost: Vec::new(), quality: Vec::new() };
        for &m in eligible {
            let Some(model) = &self.models[m] else { continue };
            table.quality.extend_from_slice(&model.quality);
            let costs = self.input_tokens.iter().zip(&model.output_tokens).map(|(&input, &output)| {
                rates(catalog, m, at, input).map_or(f64::INFINITY, |rates| rates.cost(input, 0.0, output))
            });
            table.cost.extend(costs);
        }
        table
    }
}

fn rates(catalog: &Catalog, model: usize, at: Moment, input_tokens: f64) -> Option<Rates> {
    catalog.models[model].cost.as_ref().map(|list| list.rates(at, input_tokens as u64))
}
