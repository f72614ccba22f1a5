//! The router, as JavaScript holds it.
//!
//! Values come in through serde, so that a wrong type is refused with the path of its field, and not
//! by way of JSON, which would turn NaN into null. What users see of this is `src/js/index.d.ts`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use js_sys::{Array, Float64Array, Uint8Array};
use serde::Serialize;
use serde_wasm_bindgen::preserve;
use wasm_bindgen::prelude::*;

use crate::artifact::{Artifacts, checksum};
use crate::catalog::{self, Catalog, Imported};
use crate::error::{Error, Result};
use crate::estimate::{Estimate, Interval};
use crate::money::Moment;
use crate::router::{GradedAnswer, Router};

use super::convert::{bytes, in_row, moment, read_catalog, read_request, read_requests, write, write_json};
use super::plan::{self, FrontierPoint};

/// A router, as JavaScript holds it.
#[wasm_bindgen(js_name = Router)]
pub struct JsRouter {
    // Every method borrows the object shared, so that an exception that JavaScript throws in the
    // middle of one (in a getter of a request, say) cannot leave it locked.
    router: RefCell<Router>,
}

#[wasm_bindgen(js_class = Router)]
impl JsRouter {
    /// A router over packed artifacts; `catalog` and `index` replace those inside.
    #[wasm_bindgen(constructor)]
    pub fn new(artifacts: &JsValue, catalog: JsValue, index: &JsValue) -> Result<JsRouter> {
        let artifacts =
            bytes(artifacts).ok_or_else(|| Error::artifact("artifacts.bin", "must be given as bytes"))?;
        let artifacts = Artifacts::from_bundle(&artifacts)?;
        let catalog = if catalog.is_undefined() { None } else { Some(read_catalog(catalog)?) };
        let router = JsRouter { router: RefCell::new(Router::new(artifacts, catalog)?) };
        if !index.is_undefined() {
            router.set_index(index)?;
        }
        Ok(router)
    }

    /// One decision.
    pub fn route(&self, request: JsValue, now_ms: f64) -> Result<JsValue> {
        let (request, now) = (read_request(request)?, Moment::from_unix_ms(now_ms)?);
        write_json(&self.router.borrow().route(&request, now)?)
    }

    /// A decision with its reasons in numbers; an infinite λ is null.
    pub fn explain(&self, request: JsValue, now_ms: f64) -> Result<JsValue> {
        let (request, now) = (read_request(request)?, Moment::from_unix_ms(now_ms)?);
        write_json(&self.router.borrow().explain(&request, now)?)
    }

    /// The estimates behind a decision.
    pub fn estimate(&self, request: JsValue, now_ms: f64) -> Result<JsValue> {
        let (request, now) = (read_request(request)?, Moment::from_unix_ms(now_ms)?);
        let router = self.router.borrow();
        let estimates = router.estimate(&request, now)?;
        let named = |e: &Estimate| NamedEstimate {
            model: &router.catalog().models[e.model].id,
            quality: e.quality,
            output_tokens: e.output_tokens,
            cost_usd: e.cost_usd,
        };
        write_json(&NamedEstimates {
            models: estimates.models.iter().map(named).collect(),
            input_tokens: estimates.input_tokens,
            unfamiliarity: estimates.unfamiliarity,
            in_distribution: estimates.in_distribution,
        })
    }

    /// The estimates of the candidates of many requests, as the arrays of a [`PlanProblem`].
    #[wasm_bindgen(js_name = estimateBatch)]
    pub fn estimate_batch(&self, requests: &Array, now_ms: f64) -> Result<JsValue> {
        let now = Moment::from_unix_ms(now_ms)?;
        let requests = read_requests(requests, "requests")?;
        let router = self.router.borrow();
        let known = router.known();
        let ids: Vec<&str> = known.iter().map(|&m| router.catalog().models[m].id.as_str()).collect();
        let (n, pairs) = (requests.len(), requests.len() * known.len());
        let mut columns = [vec![f64::NAN; pairs], vec![f64::NAN; pairs], vec![f64::NAN; pairs]];
        let mut input_tokens = Vec::with_capacity(n);
        let mut in_distribution = Vec::with_capacity(n);
        for (i, request) in requests.iter().enumerate() {
            let estimates = router.candidates(request, now).map_err(in_row("requests", i))?;
            for e in &estimates.models {
                // Both are in the order of the catalog; a candidate is always known.
                let Ok(j) = known.binary_search(&e.model) else { continue };
                for (column, interval) in columns.iter_mut().zip([e.cost_usd, e.quality, e.output_tokens]) {
                    column[j * n + i] = interval.estimate;
                }
            }
            input_tokens.push(estimates.input_tokens);
            in_distribution.push(u8::from(estimates.in_distribution));
        }
        let [cost_usd, quality, output_tokens] = &columns;
        write(&BatchEstimates {
            queries: n,
            models: ids.len(),
            cost_usd: Float64Array::from(cost_usd.as_slice()),
            quality: Float64Array::from(quality.as_slice()),
            output_tokens: Float64Array::from(output_tokens.as_slice()),
            input_tokens: Float64Array::from(input_tokens.as_slice()),
            in_distribution: Uint8Array::from(in_distribution.as_slice()),
            ids,
        })
    }

    /// The best assignment of a batch; `watch` is told of progress and ends the search by returning false.
    pub fn plan(problem: JsValue, work: JsValue, watch: &JsValue) -> Result<JsValue> {
        plan::plan(problem, work, watch)
    }

    /// What quality costs for a batch under its workloads.
    pub fn curve(problem: JsValue, points: usize, watch: &JsValue) -> Result<JsValue> {
        plan::curve(problem, points, watch)
    }

    /// The cost-quality frontier on the reference traffic.
    pub fn frontier(&self, at: JsValue, now_ms: f64) -> Result<JsValue> {
        let points = self.router.borrow().frontier(moment(at, now_ms)?)?;
        write(&points.into_iter().map(FrontierPoint::from).collect::<Vec<_>>())
    }

    /// Every constant choice on the reference traffic.
    pub fn constants(&self, at: JsValue, now_ms: f64) -> Result<JsValue> {
        write(&self.router.borrow().constants(moment(at, now_ms)?)?)
    }

    /// The catalog in use with abilities and lengths fitted to graded answers, and what became of each model.
    /// Answers are routing requests that name their `model`, grades, and output tokens (NaN: not counted).
    pub fn fit(&self, requests: &Array, correct: &[f64], output_tokens: &[f64]) -> Result<JsValue> {
        // All are read before the router is borrowed: a getter of a request may throw.
        let requests = read_requests(requests, "outcomes")?;
        let router = self.router.borrow();
        let (mut models, mut queries, mut answers) = (Vec::<String>::new(), Vec::new(), Vec::new());
        let rows = requests.into_iter().zip(correct.iter().zip(output_tokens)).enumerate();
        for (query, (mut request, (&correct, &tokens))) in rows {
            let in_row = in_row("outcomes", query);
            let id = request.model.take().unwrap_or_default();
            if router.catalog().position(&id).is_none() {
                return Err(in_row(Error::request("model", format!("the catalog has no model `{id}`"))));
            }
            queries.push(router.describe(&request).map_err(in_row)?);
            let model = models.iter().position(|known| *known == id).unwrap_or_else(|| {
                models.push(id);
                models.len() - 1
            });
            let output_tokens = Some(tokens).filter(|tokens| !tokens.is_nan());
            answers.push(GradedAnswer { query, model, correct, output_tokens });
        }
        write_json(&router.fit(&models, &queries, &answers)?)
    }

    /// The ability that published scores suggest.
    #[wasm_bindgen(js_name = abilityFromScores)]
    pub fn ability_from_scores(&self, names: &Array, scores: &[f64]) -> Result<JsValue> {
        let named =
            names.iter().zip(scores).map(|(name, &score)| (name.as_string().unwrap_or_default(), score));
        let mut scores = BTreeMap::new();
        for (name, score) in named {
            scores.insert(name, score);
        }
        write_json(&self.router.borrow().ability_from_scores(&scores)?)
    }

    /// What a call cost.
    pub fn cost(
        &self,
        model: &str,
        input: f64,
        cached: f64,
        output: f64,
        at: JsValue,
        now_ms: f64,
    ) -> Result<f64> {
        self.router.borrow().cost(model, input, cached, output, moment(at, now_ms)?)
    }

    /// A copy of the catalog in use.
    pub fn catalog(&self) -> Result<JsValue> {
        write_json(self.router.borrow().catalog())
    }

    /// Replaces the catalog, or leaves it as it is if the new one is bad.
    #[wasm_bindgen(js_name = setCatalog)]
    pub fn set_catalog(&self, catalog: JsValue) -> Result<()> {
        let catalog = read_catalog(catalog)?;
        self.router.borrow_mut().set_catalog(catalog)
    }

    /// What is stale, unpriced or contradictory in a catalog, by default the one in use.
    #[wasm_bindgen(js_name = checkCatalog)]
    pub fn check_catalog(&self, catalog: JsValue, at: JsValue, now_ms: f64) -> Result<JsValue> {
        let at = moment(at, now_ms)?;
        let findings = if catalog.is_undefined() {
            catalog::check(self.router.borrow().catalog(), at)
        } else {
            catalog::check(&read_catalog(catalog)?, at)
        };
        write_json(&findings)
    }

    /// What changed between two catalogs.
    #[wasm_bindgen(js_name = diffCatalogs)]
    pub fn diff_catalogs(before: JsValue, after: JsValue) -> Result<JsValue> {
        write_json(&catalog::diff(&read_catalog(before)?, &read_catalog(after)?)?)
    }

    /// A catalog from `LiteLLM`'s table, its models' abilities those of the same names in the catalog in use.
    #[wasm_bindgen(js_name = importCatalog)]
    pub fn import_catalog(&self, table: &str, version: &str) -> Result<JsValue> {
        let router = self.router.borrow();
        let known = &router.predictor().parameters().abilities;
        let mut imported = catalog::from_litellm(table.as_bytes(), known, version)?;
        imported.attach(router.catalog());
        write_json(&ImportedCatalog { catalog: &imported.catalog, counts: &imported })
    }

    /// Replaces the retrieval index, or leaves it as it is if the new one is bad.
    #[wasm_bindgen(js_name = setIndex)]
    pub fn set_index(&self, index: &JsValue) -> Result<()> {
        let index = bytes(index).ok_or_else(|| Error::index("must be given as bytes"))?;
        let version = checksum(&index)[..12].to_owned();
        self.router.borrow_mut().set_index(&index, version)
    }

    /// The versions that every receipt names.
    pub fn versions(&self) -> Result<JsValue> {
        write(&self.router.borrow().versions())
    }
}

#[derive(Serialize)]
struct NamedEstimates<'a> {
    models: Vec<NamedEstimate<'a>>,
    input_tokens: f64,
    unfamiliarity: f64,
    in_distribution: bool,
}

#[derive(Serialize)]
struct NamedEstimate<'a> {
    model: &'a str,
    quality: Interval,
    output_tokens: Interval,
    cost_usd: Interval,
}

#[derive(Serialize)]
struct BatchEstimates<'a> {
    queries: usize,
    models: usize,
    ids: Vec<&'a str>,
    #[serde(with = "preserve")]
    cost_usd: Float64Array,
    #[serde(with = "preserve")]
    quality: Float64Array,
    #[serde(with = "preserve")]
    output_tokens: Float64Array,
    #[serde(with = "preserve")]
    input_tokens: Float64Array,
    #[serde(with = "preserve")]
    in_distribution: Uint8Array,
}

#[derive(Serialize)]
struct ImportedCatalog<'a> {
    catalog: &'a Catalog,
    #[serde(flatten)]
    counts: &'a Imported,
}
