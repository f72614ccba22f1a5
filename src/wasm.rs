//! The bindings for JavaScript: they convert, and do nothing else.
//!
//! Values come in through serde, so that a wrong type is refused with the path of its field, and not
//! by way of JSON, which would turn NaN into null. What users see of this is `src/js/index.d.ts`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use js_sys::{Array, Float64Array, Function, Uint8Array, Uint32Array};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::preserve;
use wasm_bindgen::prelude::*;

use crate::artifact::{Artifacts, checksum};
use crate::catalog::{self, Catalog, Imported};
use crate::error::{Error, Result, finite_non_negative};
use crate::estimate::{Estimate, Interval};
use crate::money::Moment;
use crate::optimize::{Groups, Options, PricePoint, Problem, Progress, Solver, Stage, Status, Watch};
use crate::router::{GradedAnswer, RouteRequest, Router};

#[wasm_bindgen(raw_module = "./error.js")]
extern "C" {
    type PennyrouteError;
    #[wasm_bindgen(constructor)]
    fn new(code: &str, message: &str) -> PennyrouteError;
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        PennyrouteError::new(error.code(), &error.to_string()).into()
    }
}

/// A panic ends this instance; the least it can do is to say where in words.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&format!("pennyroute: internal error: {panic}").into());
    }));
}

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
        let given: PlanProblem = read(problem, Error::request)?;
        let batch = Batch::new(&given)?;
        let mut tell = watcher(watch)?;
        let mut options = Options { watch: tell.as_mut().map(|tell| tell as Watch), ..Options::default() };
        if let Some(work) = read::<Option<f64>>(work, |_, what| Error::request("work", what))? {
            finite_non_negative("work", work)?;
            options.work = work as u64;
        }
        let plan = Solver::default().solve(&batch.problem(&given), options)?;
        let solved = plan.status != Status::Infeasible;
        let for_quality = given.quality_target.is_none() && given.budget_usd.is_some();
        write(&PlanResult {
            status: match plan.status {
                Status::Optimal => "optimal",
                Status::Feasible => "feasible",
                Status::Infeasible => "infeasible",
            },
            assignment: Uint32Array::from(plan.assignment.as_slice()),
            cost_usd: plan.cost_usd,
            quality: plan.quality,
            bound_usd: (solved && !for_quality).then_some(plan.bound),
            bound_quality: (solved && for_quality).then_some(plan.bound),
            gap: plan.gap,
            stopped: plan.stopped,
            duals: PlanDuals {
                quality: plan.duals.quality,
                workloads: &plan.duals.workloads,
                groups: &plan.duals.groups,
            },
            code: plan.infeasible.as_ref().map(|why| why.code),
            proven: plan.infeasible.as_ref().map(|why| why.proven),
            reason: plan.infeasible.as_ref().map(|why| why.reason.as_str()),
            largest_feasible: plan.infeasible.as_ref().map(|why| why.largest),
        })
    }

    /// What quality costs for a batch under its workloads.
    pub fn curve(problem: JsValue, points: usize, watch: &JsValue) -> Result<JsValue> {
        let given: PlanProblem = read(problem, Error::request)?;
        let batch = Batch::new(&given)?;
        let mut tell = watcher(watch)?;
        let options = Options { watch: tell.as_mut().map(|tell| tell as Watch), ..Options::default() };
        let points = Solver::default().curve(&batch.problem(&given), points, options)?;
        write(&points.into_iter().map(FrontierPoint::from).collect::<Vec<_>>())
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

#[derive(Serialize)]
struct FrontierPoint {
    lambda: f64,
    quality: f64,
    cost_usd: f64,
}

impl From<PricePoint> for FrontierPoint {
    fn from(p: PricePoint) -> Self {
        FrontierPoint { lambda: p.lambda, quality: p.quality, cost_usd: p.cost }
    }
}

#[derive(Deserialize)]
struct PlanProblem {
    queries: usize,
    models: usize,
    #[serde(with = "preserve")]
    cost_usd: JsValue,
    #[serde(with = "preserve")]
    quality: JsValue,
    #[serde(default)]
    quality_target: Option<f64>,
    #[serde(default)]
    budget_usd: Option<f64>,
    #[serde(default, with = "preserve")]
    workloads: JsValue,
    #[serde(default, with = "preserve")]
    groups: JsValue,
    #[serde(default, with = "preserve")]
    floors: JsValue,
}

/// The arrays of a [`PlanProblem`], copied once each.
struct Batch {
    cost: Vec<f64>,
    quality: Vec<f64>,
    limits: Option<Vec<u64>>,
    groups: Option<(Vec<u32>, Vec<f64>)>,
}

impl Batch {
    fn new(given: &PlanProblem) -> Result<Self> {
        let mut cost = floats("cost_usd", &given.cost_usd)?;
        let mut quality = floats("quality", &given.quality)?;
        for (cost, quality) in cost.iter_mut().zip(&mut quality).filter(|(cost, _)| cost.is_nan()) {
            *cost = f64::INFINITY;
            *quality = 0.0;
        }
        let limits = if given.workloads.is_undefined() { None } else { Some(limits(&given.workloads)?) };
        let groups = match (given.groups.is_undefined(), given.floors.is_undefined()) {
            (true, true) => None,
            (false, false) => {
                let of_query = given.groups.dyn_ref::<Uint32Array>();
                let of_query = of_query.ok_or_else(|| Error::request("groups", "must be a Uint32Array"))?;
                Some((of_query.to_vec(), floats("floors", &given.floors)?))
            }
            (true, false) => return Err(Error::request("groups", "is missing, floors are given")),
            (false, true) => return Err(Error::request("floors", "is missing, groups are given")),
        };
        Ok(Batch { cost, quality, limits, groups })
    }

    fn problem(&self, given: &PlanProblem) -> Problem<'_> {
        let groups = self.groups.as_ref().map(|(of_query, floors)| Groups { of_query, floors });
        Problem {
            quality_target: given.quality_target,
            budget_usd: given.budget_usd,
            limits: self.limits.as_deref(),
            groups,
            ..Problem::new(given.queries, given.models, &self.cost, &self.quality)
        }
    }
}

/// A JavaScript function as a watcher. One that throws ends the search, as one that returns false.
fn watcher(watch: &JsValue) -> Result<Option<impl FnMut(Progress) -> ControlFlow<()>>> {
    if watch.is_undefined() {
        return Ok(None);
    }
    let call: Function =
        watch.dyn_ref().cloned().ok_or_else(|| Error::request("onProgress", "must be a function"))?;
    Ok(Some(move |progress: Progress| {
        let stage = match progress.stage {
            Stage::Prices => "prices",
            Stage::Relaxation => "relaxation",
            Stage::Proof => "proof",
        };
        let told = call.call2(&JsValue::UNDEFINED, &stage.into(), &(progress.work_left as f64).into());
        let goes_on = told.is_ok_and(|answer| answer != JsValue::FALSE);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }))
}

#[derive(Serialize)]
struct PlanResult<'a> {
    status: &'a str,
    #[serde(with = "preserve")]
    assignment: Uint32Array,
    cost_usd: f64,
    quality: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_quality: Option<f64>,
    gap: f64,
    stopped: bool,
    duals: PlanDuals<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest_feasible: Option<f64>,
}

#[derive(Serialize)]
struct PlanDuals<'a> {
    quality: f64,
    workloads: &'a [f64],
    groups: &'a [f64],
}

fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}

/// One copy into the memory of the wasm module.
fn floats(field: &str, value: &JsValue) -> Result<Vec<f64>> {
    let array =
        value.dyn_ref::<Float64Array>().ok_or_else(|| Error::request(field, "must be a Float64Array"))?;
    Ok(array.to_vec())
}

/// Slots per model; infinity is JavaScript's natural way to say unlimited.
fn limits(workloads: &JsValue) -> Result<Vec<u64>> {
    let limit = |(j, slots): (usize, f64)| match slots {
        f64::INFINITY => Ok(u64::MAX),
        _ => finite_non_negative(format!("workloads[{j}]"), slots).map(|()| slots as u64),
    };
    floats("workloads", workloads)?.into_iter().enumerate().map(limit).collect()
}

fn read<T: DeserializeOwned>(value: JsValue, error: impl FnOnce(String, String) -> Error) -> Result<T> {
    let de = serde_wasm_bindgen::Deserializer::from(value);
    serde_path_to_error::deserialize(de).map_err(|e| error(e.path().to_string(), message(e.inner())))
}

// serde-wasm-bindgen wraps its message in a JavaScript `Error`, which prints as "Error: …".
fn message(error: &serde_wasm_bindgen::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("Error: ").map(str::to_owned).unwrap_or(text)
}

fn read_request(value: JsValue) -> Result<RouteRequest> {
    read(value, Error::request)
}

/// All requests of an array, or the first error with the row's number.
fn read_requests(requests: &Array, list: &'static str) -> Result<Vec<RouteRequest>> {
    let read = |(i, request)| read_request(request).map_err(in_row(list, i));
    requests.iter().enumerate().map(read).collect()
}

/// An error about a field of row `i` of a list.
fn in_row(list: &'static str, i: usize) -> impl Fn(Error) -> Error + Copy {
    move |error| match error {
        Error::Request { field, what } => Error::request(format!("{list}[{i}].{field}"), what),
        other => other,
    }
}

fn read_catalog(value: JsValue) -> Result<Catalog> {
    let catalog: Catalog = read(value, Error::catalog)?;
    catalog.validate()?;
    Ok(catalog)
}

fn moment(at: JsValue, now_ms: f64) -> Result<Moment> {
    match read::<Option<String>>(at, |_, what| Error::request("at", what))? {
        Some(at) => Moment::parse(&at),
        None => Moment::from_unix_ms(now_ms),
    }
}

fn write(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|e| Error::Internal { what: e.to_string() })
}

/// The same for values without typed arrays and infinities: the host's JSON parser builds an object of
/// hundreds of fields several times as fast as as many calls out of wasm.
fn write_json(value: &impl Serialize) -> Result<JsValue> {
    let internal = |what: String| Error::Internal { what };
    let json = serde_json::to_string(value).map_err(|e| internal(e.to_string()))?;
    js_sys::JSON::parse(&json).map_err(|e| internal(format!("{e:?}")))
}
