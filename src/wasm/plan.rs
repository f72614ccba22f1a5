//! A batch and its plan: typed arrays in, typed arrays out.

use std::ops::ControlFlow;

use js_sys::{Float64Array, Function, Uint32Array};
use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::preserve;
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result, finite_non_negative};
use crate::optimize::{Groups, Options, PricePoint, Problem, Progress, Solver, Stage, Status, Watch};

use super::convert::{read, write};

/// The best assignment of a batch; `watch` is told of progress and ends the search by returning false.
pub(super) fn plan(problem: JsValue, work: JsValue, watch: &JsValue) -> Result<JsValue> {
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
pub(super) fn curve(problem: JsValue, points: usize, watch: &JsValue) -> Result<JsValue> {
    let given: PlanProblem = read(problem, Error::request)?;
    let batch = Batch::new(&given)?;
    let mut tell = watcher(watch)?;
    let options = Options { watch: tell.as_mut().map(|tell| tell as Watch), ..Options::default() };
    let points = Solver::default().curve(&batch.problem(&given), points, options)?;
    write(&points.into_iter().map(FrontierPoint::from).collect::<Vec<_>>())
}

#[derive(Serialize)]
pub(super) struct FrontierPoint {
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
