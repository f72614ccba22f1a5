//! From a request to a decision: the one module that sees every part.
//!
//! ```text
//! request ─ gates ─▶ eligible models ─ predict, retrieve ─▶ estimates ─ gates ─▶ candidates ─ price ─▶ decision
//! ```

mod decision;
mod explain;
mod fit;
mod gates;
mod reference;
mod request;

pub use decision::{Alternative, Baseline, Code, Decision, Excluded, Exclusion, Target, Versions};
pub use explain::{Considered, Explanation, Standing, Switch};
pub use fit::{Fitted, FittedModel, GradedAnswer};
pub use reference::{Constant, DEFAULT_RELATIVE_QUALITY};
pub use request::{ResponseFormat, RouteRequest, ToolDefinition};

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::artifact::{self, Artifacts, Reference};
use crate::catalog::{Catalog, Length, Model, Source};
use crate::error::{Error, Result, finite_non_negative};
use crate::estimate::{Estimate, Estimates, Estimator};
use crate::money::Moment;
use crate::optimize::PricePoint;
use crate::predict::{self, Description, Predictor};
use crate::query::{Query, TextCounts};
use crate::retrieve::{Correction, Index};

use reference::{MarketTarget, Sample};
use request::Policy;

/// The rule of choice, named in every receipt; it changes when the same estimates would be chosen
/// among differently.
const POLICY: &str = "mean-quality/1";

/// Fallbacks named in a decision.
const FALLBACKS: usize = 8;

/// An estimate of quality is never surer than this, whatever the neighbors say.
const SUREST: f64 = 0.999;

/// Routes queries over one catalog.
pub struct Router {
    predictor: Predictor,
    reference: Reference,
    index: Option<Index>,
    catalog: Catalog,
    sample: Sample,
    /// Column of the index per model of the catalog.
    columns: Vec<Option<usize>>,
    /// Input tokens per token of o200k, per model of the catalog.
    token_factors: Vec<f64>,
    default_length: Length,
    versions: Versions,
}

impl Router {
    /// A router over `catalog`, or over the one among the artifacts.
    pub fn new(artifacts: Artifacts, catalog: Option<Catalog>) -> Result<Self> {
        let predictor = Predictor::new(&artifacts)?;
        let catalog = match (catalog, &artifacts.catalog) {
            (Some(catalog), _) => catalog,
            (None, Some(json)) => artifact::parse("catalog", json)?,
            (None, None) => {
                return Err(Error::artifact("manifest.json", "names no `catalog`, and none was given"));
            }
        };
        let prior = &predictor.parameters().length_prior;
        let default_length =
            Length { mean: prior.mean.clone(), residual_sd: prior.residual_sd, source: Source::Prior };
        catalog.validate()?;
        fits(&catalog, &predictor)?;
        let versions = Versions {
            policy: POLICY.into(),
            predictor: artifacts.version,
            encoder: predictor.parameters().encoder.as_ref().map(|encoder| encoder.version.clone()),
            index: None,
            catalog: catalog.version.clone(),
        };
        let token_factors = token_factors(&predictor, &catalog);
        let mut router = Router {
            sample: Sample::new(&artifacts.reference, &catalog, &default_length, &token_factors),
            columns: vec![None; catalog.models.len()],
            token_factors,
            reference: artifacts.reference,
            index: None,
            predictor,
            catalog,
            default_length,
            versions,
        };
        if let Some((bytes, version)) = artifacts.index {
            router.set_index(&bytes, version)?;
        }
        Ok(router)
    }

    /// Replaces the catalog; a bad one leaves the old one in use.
    pub fn set_catalog(&mut self, catalog: Catalog) -> Result<()> {
        catalog.validate()?;
        fits(&catalog, &self.predictor)?;
        self.token_factors = token_factors(&self.predictor, &catalog);
        self.sample = Sample::new(&self.reference, &catalog, &self.default_length, &self.token_factors);
        self.versions.catalog.clone_from(&catalog.version);
        self.catalog = catalog;
        self.match_columns();
        Ok(())
    }

    /// Replaces the retrieval index, such as by one of the user's own history; a bad one leaves the
    /// old one in use.
    pub fn set_index(&mut self, bytes: &[u8], version: String) -> Result<()> {
        let index = Index::from_bytes(bytes)?;
        let dimensions = self.predictor.parameters().dimensions;
        if index.dimensions() != dimensions {
            let what = format!("has {} dimensions, the predictor {dimensions}", index.dimensions());
            return Err(Error::index(what));
        }
        self.index = Some(index);
        self.versions.index = Some(version);
        self.match_columns();
        Ok(())
    }

    fn match_columns(&mut self) {
        let column = |model: &Model| self.index.as_ref().and_then(|index| index.column(&model.id));
        self.columns = self.catalog.models.iter().map(column).collect();
    }

    /// What a call cost in USD, by its counted tokens: `input` with the `cached` ones among them, `output`
    /// with reasoning. A model without a price, or not in the catalog, is an error.
    pub fn cost(&self, model: &str, input: f64, cached: f64, output: f64, at: Moment) -> Result<f64> {
        for (field, tokens) in [("input_tokens", input), ("cached_tokens", cached), ("output_tokens", output)]
        {
            finite_non_negative(field, tokens)?;
        }
        let priced = self.catalog.position(model).and_then(|m| self.catalog.models[m].cost.as_ref());
        let prices = priced
            .ok_or_else(|| Error::request("model", format!("the catalog has no price of `{model}`")))?;
        Ok(prices.rates(at, input as u64).cost(input, cached, output))
    }

    /// The catalog in use.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The predictor in use.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// What decisions are made with.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Decides one request, made `now` unless it says otherwise. Sends nothing, spends nothing.
    pub fn route(&self, request: &RouteRequest, now: Moment) -> Result<Decision> {
        Ok(self.decide(self.field(request, now)?))
    }

    /// What a request is decided among.
    fn field(&self, request: &RouteRequest, now: Moment) -> Result<Field> {
        let policy = request.policy(now)?;
        let query = request.query()?;
        let view = self.view(&query, Estimator::Blend)?;
        let models = &self.catalog.models;
        if let Some(pinned) = &policy.pinned {
            match self.catalog.position(pinned).map(|m| &models[m].unroutable) {
                None => return Err(Error::request("model", format!("the catalog has no model `{pinned}`"))),
                Some(Some(why)) => {
                    return Err(Error::request("model", format!("`{pinned}` cannot be routed to: {why}")));
                }
                Some(None) => {}
            }
        }

        let mut excluded = Vec::new();
        let estimates = self.eligible_estimates(&policy, &query, &view, &mut excluded);
        let eligible: Vec<usize> = estimates.iter().map(|estimate| estimate.model).collect();
        let market = self.sample.target(&self.catalog, &eligible, policy.quality, policy.at)?;
        let baseline = market.and_then(|market| {
            let estimate = estimates.iter().find(|estimate| estimate.model == market.baseline)?;
            let model = models[estimate.model].id.clone();
            Some(Baseline { model, cost_usd: estimate.cost_usd.estimate })
        });
        let candidates = self.available(estimates, &policy, &mut excluded);
        Ok(Field { policy, query, view, eligible, market, candidates, excluded, baseline })
    }

    /// Estimates of the models that pass the gates before an estimate is needed; the others join `excluded`.
    fn eligible_estimates(
        &self,
        policy: &Policy,
        query: &Query,
        view: &View,
        excluded: &mut Vec<Excluded>,
    ) -> Vec<Estimate> {
        let mut estimates = Vec::new();
        for (m, model) in self.catalog.models.iter().enumerate().filter(|(_, m)| m.unroutable.is_none()) {
            let gate = gates::standing(model, policy)
                .and_then(|()| gates::capability(model, query, self.input_tokens(m, query, view)));
            match gate {
                Ok(()) => estimates.push(self.estimate_model(m, query, view, policy)),
                Err(code) => excluded.push(Excluded { model: model.id.clone(), code }),
            }
        }
        estimates
    }

    /// Those of `estimates` that pass the gates which need one; the models of the others join `excluded`.
    fn available(
        &self,
        estimates: Vec<Estimate>,
        policy: &Policy,
        excluded: &mut Vec<Excluded>,
    ) -> Vec<Estimate> {
        let mut candidates = Vec::new();
        for estimate in estimates {
            let model = &self.catalog.models[estimate.model];
            let unpinned = policy.pinned.as_ref().is_some_and(|id| *id != model.id);
            let gate = if unpinned { Err(Exclusion::NotAllowed) } else { Ok(()) }
                .and_then(|()| gates::availability(model, &estimate, policy));
            match gate {
                Ok(()) => candidates.push(estimate),
                Err(code) => excluded.push(Excluded { model: model.id.clone(), code }),
            }
        }
        candidates
    }

    /// The estimates that [`Router::route`] would choose among: of the models that pass all gates.
    pub fn candidates(&self, request: &RouteRequest, now: Moment) -> Result<Estimates> {
        let policy = request.policy(now)?;
        let query = request.query()?;
        let view = self.view(&query, Estimator::Blend)?;
        let estimates = self.eligible_estimates(&policy, &query, &view, &mut Vec::new());
        let models = self.available(estimates, &policy, &mut Vec::new());
        Ok(view.estimates(models))
    }

    /// Positions in the catalog of the models that can be candidates at all: those with a price and an ability.
    pub fn known(&self) -> Vec<usize> {
        let known =
            |model: &Model| model.unroutable.is_none() && gates::priced(model) && model.ability.is_some();
        let models = self.catalog.models.iter().enumerate();
        models.filter(|(_, model)| known(model)).map(|(m, _)| m).collect()
    }

    /// The estimates behind a decision, for every model with a price and an ability, gates aside.
    pub fn estimate(&self, request: &RouteRequest, now: Moment) -> Result<Estimates> {
        self.estimate_by(Estimator::Blend, request, now)
    }

    /// The same by one half of the blend, for comparison.
    pub fn estimate_by(
        &self,
        estimator: Estimator,
        request: &RouteRequest,
        now: Moment,
    ) -> Result<Estimates> {
        let policy = request.policy(now)?;
        let query = request.query()?;
        let view = self.view(&query, estimator)?;
        let models =
            self.known().into_iter().map(|m| self.estimate_model(m, &query, &view, &policy)).collect();
        Ok(view.estimates(models))
    }

    /// The cost-quality frontier of the whole catalog on the reference traffic, cheapest first.
    pub fn frontier(&self, now: Moment) -> Result<Vec<PricePoint>> {
        let policy = RouteRequest::default().policy(now)?;
        self.sample.frontier(&self.catalog, &self.eligible(&policy), now)
    }

    /// What always calling one model would bring on the reference traffic, for every model.
    pub fn constants(&self, now: Moment) -> Result<Vec<Constant>> {
        let policy = RouteRequest::default().policy(now)?;
        self.sample.constants(&self.catalog, &self.eligible(&policy), now)
    }

    /// Positions of the models that pass the gates which do not depend on a query.
    fn eligible(&self, policy: &Policy) -> Vec<usize> {
        let models = self.catalog.models.iter().enumerate();
        let passing = models.filter(|(_, m)| m.unroutable.is_none() && gates::standing(m, policy).is_ok());
        passing.map(|(m, _)| m).collect()
    }

    /// Everything about the query that does not depend on the model.
    fn view(&self, query: &Query, estimator: Estimator) -> Result<View> {
        let counts = TextCounts::of(&query.text);
        let mut description = self.predictor.describe(&query.text, &counts, query.embedding.as_deref())?;
        let parameters = self.predictor.parameters();
        let correction = match &self.index {
            Some(index) if estimator != Estimator::Trained => {
                Some(index.correction(&description.embedding, &parameters.retrieval)?)
            }
            _ => None,
        };
        let familiarity = correction.as_ref().map_or(1.0, |c| c.familiarity);
        let trusted = if estimator == Estimator::Retrieved { 0.0 } else { familiarity };
        self.predictor.temper(&mut description, trusted);
        let sd = parameters.query_sd;
        Ok(View {
            description,
            correction,
            query_sd: sd.near + (1.0 - familiarity) * (sd.far - sd.near),
            input_tokens: self.predictor.input_tokens(query, &counts),
        })
    }

    /// Input tokens as the model counts them: a count by the caller is taken as it is.
    fn input_tokens(&self, m: usize, query: &Query, view: &View) -> f64 {
        let factor = if query.input_tokens.is_some() { 1.0 } else { self.token_factors[m] };
        view.input_tokens * factor
    }

    fn estimate_model(&self, m: usize, query: &Query, view: &View, policy: &Policy) -> Estimate {
        let model = &self.catalog.models[m];
        let d = &view.description;
        let mut quality = crate::estimate::Interval::default();
        if let Some(ability) = &model.ability {
            let (logit, ability_sd) = predict::logit(ability, &d.skills, d.difficulty);
            let sd = view.query_sd.hypot(ability_sd);
            let (shift, residual) = view.correction.as_ref().map_or((0.0, 0.0), |c| {
                // Both are scaled by the familiarity already.
                (c.shift, self.columns[m].map_or(0.0, |column| c.residual(column)))
            });
            quality = predict::chance(logit + shift, sd)
                .map(|chance| (chance + residual).clamp(1.0 - SUREST, SUREST));
        }
        let asked = query.max_output_tokens.or(model.limit.output).map_or(f64::INFINITY, |most| most as f64);
        let length = model.length.as_ref().unwrap_or(&self.default_length);
        let output_tokens = predict::output_tokens(length, &d.length, asked);
        let warm = policy.warm.get(&model.id).copied().unwrap_or(0.0);
        let cost_usd = match &model.cost {
            Some(list) => {
                let input_tokens = self.input_tokens(m, query, view);
                let rates = list.rates(policy.at, input_tokens as u64);
                output_tokens.map(|output| rates.cost(input_tokens, warm, output))
            }
            None => crate::estimate::Interval::default(),
        };
        Estimate { model: m, quality, output_tokens, cost_usd }
    }

    /// Chooses among the candidates and writes the receipt.
    fn decide(&self, mut field: Field) -> Decision {
        let lambda = field.lambda();
        let mut candidates = std::mem::take(&mut field.candidates);
        self.rank(&mut candidates, lambda, &field);
        let Field { policy, view, market, baseline, excluded, .. } = &field;
        let id = |estimate: &Estimate| self.catalog.models[estimate.model].id.clone();
        let first = candidates.first().copied();
        let code = match first {
            None => Code::NoCandidate,
            Some(_) if policy.pinned.is_some() => Code::Pinned,
            Some(first) if policy.floor.is_some_and(|floor| first.quality.estimate < floor) => {
                Code::BelowFloor
            }
            Some(_) if candidates.len() == 1 => Code::OnlyCandidate,
            Some(first)
                if policy.warm.contains_key(&id(&first))
                    && self.cold_choice(&field, &candidates, lambda) != first.model =>
            {
                Code::WarmCache
            }
            Some(_) => Code::BestValue,
        };
        let saving_usd = first.zip(baseline.as_ref()).map(|(first, b)| b.cost_usd - first.cost_usd.estimate);
        let target = Target {
            quality: market.map_or(policy.quality.unwrap_or(0.0), |market| market.quality),
            floor: policy.floor,
            cap_usd: policy.cap_usd,
        };
        let others = candidates.get(1..).unwrap_or_default();
        let mut by_cost: Vec<&Estimate> = others.iter().collect();
        by_cost.sort_by(|a, b| a.cost_usd.estimate.total_cmp(&b.cost_usd.estimate));
        let model = first.as_ref().map(id);
        let reason =
            reason(code, model.as_deref(), first.as_ref(), &target, policy, excluded, baseline.as_ref());
        Decision {
            id: String::new(),
            model,
            code,
            reason,
            quality: first.map(|e| e.quality),
            cost_usd: first.map(|e| e.cost_usd),
            target,
            in_distribution: view.in_distribution(),
            fallbacks: others.iter().take(FALLBACKS).map(id).collect(),
            alternatives: by_cost
                .into_iter()
                .map(|e| Alternative {
                    model: id(e),
                    quality: e.quality.estimate,
                    cost_usd: e.cost_usd.estimate,
                })
                .collect(),
            excluded: field.excluded,
            baseline: field.baseline,
            saving_usd,
            versions: self.versions.clone(),
            elapsed_us: 0.0,
        }
    }

    /// The model that would have been chosen if no prompt cache were warm.
    fn cold_choice(&self, field: &Field, candidates: &[Estimate], lambda: f64) -> usize {
        let cold = Policy { warm: BTreeMap::new(), ..field.policy.clone() };
        let mut estimates: Vec<Estimate> = candidates
            .iter()
            .map(|e| self.estimate_model(e.model, &field.query, &field.view, &cold))
            .collect();
        self.rank(&mut estimates, lambda, field);
        estimates[0].model
    }

    /// Sorts candidates, the best first.
    fn rank(&self, candidates: &mut [Estimate], lambda: f64, field: &Field) {
        let mut offered: Vec<_> = candidates.iter().map(|e| (self.offered(e, field), *e)).collect();
        offered.sort_by(|(a, _), (b, _)| a.order(b, lambda));
        for (place, (_, estimate)) in candidates.iter_mut().zip(offered) {
            *place = estimate;
        }
    }

    /// What a candidate offers.
    fn offered(&self, e: &Estimate, field: &Field) -> Offered {
        Offered {
            model: e.model,
            quality: e.quality.estimate,
            cost: self.compared_cost(e, &field.query, &field.view, &field.policy),
            below: field.policy.floor.is_some_and(|floor| e.quality.estimate < floor),
        }
    }

    /// The cost that is compared: with the surcharge, and without what the next call is expected to
    /// save because this one has warmed the prompt cache.
    fn compared_cost(&self, e: &Estimate, query: &Query, view: &View, policy: &Policy) -> f64 {
        let model = &self.catalog.models[e.model];
        let given = |values: &BTreeMap<String, f64>| values.get(&model.id).copied().unwrap_or(0.0);
        let warmed = model.cost.as_ref().map_or(0.0, |list| {
            let input = self.input_tokens(e.model, query, view);
            let rates = list.rates(policy.at, input as u64);
            rates.cost(input, given(&policy.warm), 0.0) - rates.cost(input, input, 0.0)
        });
        e.cost_usd.estimate + given(&policy.surcharges) - given(&policy.reuse) * warmed
    }
}

/// What a request is decided among.
struct Field {
    policy: Policy,
    query: Query,
    view: View,
    /// Positions of the models whose market sets the price of quality.
    eligible: Vec<usize>,
    market: Option<MarketTarget>,
    candidates: Vec<Estimate>,
    excluded: Vec<Excluded>,
    baseline: Option<Baseline>,
}

impl Field {
    /// The price of quality in USD per unit; infinite where the target is out of reach.
    fn lambda(&self) -> f64 {
        self.market.map_or(0.0, |market| market.lambda * self.policy.steer)
    }
}

/// What a candidate offers: all that the choice goes by.
struct Offered {
    /// Its position in the catalog.
    model: usize,
    quality: f64,
    /// The cost that is compared, USD.
    cost: f64,
    /// It does not reach the floor.
    below: bool,
}

impl Offered {
    /// The order of choice, the best first: those that reach the floor before those that do not; among the
    /// former the least `cost − λ·quality`, among the latter, and where λ is infinite, the highest quality. Ties
    /// go to the cheaper, then to the earlier in the catalog.
    fn order(&self, other: &Offered, lambda: f64) -> Ordering {
        let value = |it: &Offered| {
            if it.below || lambda.is_infinite() { -it.quality } else { it.cost - lambda * it.quality }
        };
        let by_price = value(self).total_cmp(&value(other)).then(self.cost.total_cmp(&other.cost));
        self.below.cmp(&other.below).then(by_price).then(self.model.cmp(&other.model))
    }
}

/// What is known of a query before any model is looked at.
struct View {
    description: Description,
    correction: Option<Correction>,
    query_sd: f64,
    /// In tokens of o200k, unless the caller has counted them.
    input_tokens: f64,
}

impl View {
    fn in_distribution(&self) -> bool {
        self.correction.as_ref().is_none_or(|c| c.in_distribution)
    }

    fn estimates(&self, models: Vec<Estimate>) -> Estimates {
        Estimates {
            models,
            input_tokens: self.input_tokens,
            unfamiliarity: self.correction.as_ref().map_or(0.0, |c| c.unfamiliarity),
            in_distribution: self.in_distribution(),
        }
    }
}

fn reason(
    code: Code,
    model: Option<&str>,
    estimate: Option<&Estimate>,
    target: &Target,
    policy: &Policy,
    excluded: &[Excluded],
    baseline: Option<&Baseline>,
) -> String {
    let (Some(model), Some(estimate)) = (model, estimate) else {
        return format!("no model passed the gates: {} excluded", excluded.len());
    };
    let expected = format!(
        "{:.0} % likely to answer well for ${:.6}",
        100.0 * estimate.quality.estimate,
        estimate.cost_usd.estimate
    );
    let against = match baseline {
        Some(b) if b.model != model => {
            format!("; always calling {} would cost ${:.6} here", b.model, b.cost_usd)
        }
        _ => String::new(),
    };
    let steered = if policy.steer == 1.0 { String::new() } else { format!(" times {:.3}", policy.steer) };
    let charged = if policy.surcharges.is_empty() { "" } else { ", surcharges counted" };
    let mean = format!("a mean quality of {:.1} %{steered}{charged}", 100.0 * target.quality);
    match code {
        Code::BestValue => format!("{model} is {expected}: the best value at the price of {mean}{against}"),
        Code::WarmCache => format!(
            "{model} is {expected}: its prompt cache is warm, so staying is cheapest at {mean}{against}"
        ),
        Code::BelowFloor => format!(
            "no candidate reaches the floor of {:.0} %; {model}, the best, is {expected}",
            100.0 * target.floor.unwrap_or_default()
        ),
        Code::OnlyCandidate => format!("{model} is the only candidate left, and {expected}"),
        Code::Pinned | Code::NoCandidate => format!("{model} was named by the caller, and is {expected}"),
    }
}

/// Input tokens per token of o200k, per model.
fn token_factors(predictor: &Predictor, catalog: &Catalog) -> Vec<f64> {
    catalog.models.iter().map(|model| predictor.token_factor(&model.id)).collect()
}

/// Refuses a catalog whose vectors have other dimensions than the predictor's.
fn fits(catalog: &Catalog, predictor: &Predictor) -> Result<()> {
    let p = predictor.parameters();
    for (i, model) in catalog.models.iter().enumerate() {
        let ability = model.ability.as_ref().map(|a| ("ability", a.mean.len(), p.skills + 1));
        let length = model.length.as_ref().map(|l| ("length", l.mean.len(), p.lengths + 1));
        for (name, found, expected) in ability.into_iter().chain(length) {
            if found != expected {
                let what = format!("has {found} entries, the predictor needs {expected}");
                return Err(Error::catalog(format!("models[{i}].{name}.mean"), what));
            }
        }
    }
    Ok(())
}
