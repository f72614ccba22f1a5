//! The router beside every baseline on recorded outcomes.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::baselines::{self, History};
use super::bootstrap;
use super::data::{OutcomeRow, Outcomes, QueryRow};
use super::file::bad;
use super::metrics::{self, Estimated, Figures, Point, Recorded, Sweep};
use crate::error::Result;
use crate::money::Moment;
use crate::query::TextCounts;
use crate::router::Router;

/// Share of the queries a model must have outcomes for to be compared where none are named.
const COVERAGE: f64 = 0.95;

/// What is evaluated.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Part of the data. Default: `test` where there is one, else everything; `all` is everything.
    pub split: Option<String>,
    /// Models to compare. Default: those of the catalog with outcomes for 95 % of the queries.
    pub models: Option<Vec<String>>,
}

/// One set of estimates and how it did.
#[derive(Debug, Clone, Serialize)]
pub struct Contender {
    /// The figures of the judge.
    #[serde(flatten)]
    pub figures: Figures,
    /// Central 95 % of the mean gain over resamples of the queries, points.
    pub mean_gain_interval: Option<(f64, f64)>,
    /// Median error of estimated output tokens where they were counted, percent.
    pub tok_mape: Option<f64>,
    /// Cost-accuracy curve by price; for plots.
    #[serde(skip)]
    pub curve: Vec<Point>,
}

/// A named point.
#[derive(Debug, Clone, Serialize)]
pub struct Constant {
    /// The model that is always called.
    pub model: String,
    /// What that brings.
    #[serde(flatten)]
    pub point: Point,
}

/// The whole comparison. Costs are USD per 1,000 queries; accuracies of points 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Part of the data.
    pub split: String,
    /// Number of queries compared on.
    pub queries: usize,
    /// Queries of the part that lack an outcome of a compared model.
    pub skipped_queries: usize,
    /// Models of the outcomes that are not compared: not in the catalog, or too few outcomes.
    pub left_out: Vec<String>,
    /// Queries that the router calls unlike its training data, as a share.
    pub out_of_distribution: f64,
    /// Every constant choice, cheapest first.
    pub constants: Vec<Constant>,
    /// The best of them.
    pub best: Constant,
    /// Their convex hull, cheapest first.
    pub hull: Vec<Point>,
    /// A random model per query.
    pub random: Point,
    /// The cheapest model that is right.
    pub oracle: Point,
    /// Our estimates.
    pub router: Contender,
    /// k nearest training queries; absent without training queries.
    pub knn: Option<Contender>,
    /// Mean gain of the router minus that of k-NN, points, and its central 95 %.
    pub router_minus_knn: Option<Difference>,
}

/// A paired difference of mean gains, points.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Difference {
    /// On the queries as they are.
    pub mean_gain: f64,
    /// Central 95 % over resamples.
    pub interval: (f64, f64),
}

/// What was asked and what happened, with the names of the files for errors.
pub struct Inputs<'a> {
    /// The queries, all parts.
    pub queries: &'a [QueryRow],
    /// The outcomes, all parts.
    pub outcomes: &'a Outcomes,
    /// File of the queries.
    pub queries_file: &'a Path,
    /// File of the outcomes.
    pub outcomes_file: &'a Path,
}

/// A model that is compared: its position in the catalog and in the outcomes.
struct Compared {
    catalog: usize,
    outcomes: u32,
}

/// Outcomes by query and model.
struct Lookup<'a> {
    rows: HashMap<(u32, u32), &'a OutcomeRow>,
}

impl Lookup<'_> {
    fn get(&self, query: u32, model: u32) -> Option<&OutcomeRow> {
        self.rows.get(&(query, model)).copied()
    }
}

/// Compares the router, with its index and catalog, with every baseline; `step` is called once per
/// query that was looked at.
pub fn evaluate(
    router: &Router,
    inputs: &Inputs,
    selection: &Selection,
    now: Moment,
    step: &(dyn Fn() + Sync),
) -> Result<Evaluation> {
    let outcomes = inputs.outcomes;
    let lookup = Lookup { rows: outcomes.rows.iter().map(|row| ((row.query, row.model), row)).collect() };
    let known: Vec<(&QueryRow, u32)> =
        inputs.queries.iter().filter_map(|q| Some((q, outcomes.queries.position(&q.id)?))).collect();
    let (split, evaluated) = select(inputs, &known, selection.split.as_deref())?;
    let (compared, left_out) =
        compare(router, inputs, &lookup, &evaluated, selection.models.as_deref(), now)?;

    // What was recorded, and what the router expects.
    let described: Result<Vec<Described>> = evaluated
        .par_iter()
        .map(|&(query, id)| {
            step();
            describe(router, query, id, outcomes, &compared, &lookup, now)
        })
        .collect();
    let mut described = described?;
    let tokens: Vec<(f64, f64)> = described.iter().flat_map(|d| d.tokens.iter().copied()).collect();
    described.retain(|d| d.recorded.len() == compared.len());
    if described.is_empty() {
        return Err(bad(inputs.outcomes_file, 0, "no query has outcomes of all compared models"));
    }
    let models = compared.iter().map(|m| router.catalog().models[m.catalog].id.clone()).collect();
    let mut recorded = Recorded { models, ..Recorded::default() };
    let mut estimated = Estimated::default();
    for d in &described {
        recorded.correct.extend(d.recorded.iter().map(|r| r.0));
        for (m, r) in compared.iter().zip(&d.recorded) {
            let name = || &outcomes.models.list()[m.outcomes as usize];
            let what = || format!("has neither `cost_usd` nor token counts for {:?} on {:?}", name(), d.id);
            recorded.cost.push(r.1.ok_or_else(|| bad(inputs.outcomes_file, 0, what()))?);
        }
        estimated.quality.extend(&d.estimated.quality);
        estimated.cost.extend(&d.estimated.cost);
    }

    // The baseline that learns from the same files.
    let history = history(router, &known, &compared, &lookup, now, step)?;
    let neighbors = (!history.is_empty()).then(|| {
        let each: Vec<Estimated> = described.par_iter().map(|d| history.estimate(&d.embedding)).collect();
        let mut all = Estimated::default();
        for one in each {
            all.quality.extend(one.quality);
            all.cost.extend(one.cost);
        }
        all
    });

    let constants = recorded.constants();
    let hull = metrics::hull(&constants);
    let best = metrics::best(&constants);
    let ticks = metrics::ticks(&hull, constants[best]);
    let ours = Sweep::new(&recorded, &estimated);
    let theirs = neighbors.as_ref().map(|neighbors| Sweep::new(&recorded, neighbors));
    let sweeps: Vec<&Sweep> = std::iter::once(&ours).chain(&theirs).collect();
    let resampled = bootstrap::mean_gains(&recorded, &sweeps, &ticks);
    let contender = |estimated: &Estimated, which: usize, tok_mape: Option<f64>| {
        let curve = sweeps[which].curve(|_| 1.0);
        let interval = bootstrap::interval(resampled[which].clone());
        Contender {
            figures: metrics::figures(&recorded, estimated, &curve),
            mean_gain_interval: interval.map(|(low, high)| (100.0 * low, 100.0 * high)),
            tok_mape,
            curve,
        }
    };
    let router_figures = contender(&estimated, 0, metrics::token_error(&tokens).map(|e| 100.0 * e));
    let knn = neighbors.as_ref().map(|neighbors| contender(neighbors, 1, None));
    let difference = knn.as_ref().and_then(|knn| {
        let each = resampled[0].iter().zip(&resampled[1]).map(|(ours, theirs)| 100.0 * (ours - theirs));
        Some(Difference {
            mean_gain: router_figures.figures.mean_gain? - knn.figures.mean_gain?,
            interval: bootstrap::interval(each.collect())?,
        })
    });
    let named = |j: usize| Constant { model: recorded.models[j].clone(), point: constants[j] };
    let mut by_cost: Vec<Constant> = (0..constants.len()).map(named).collect();
    by_cost.sort_by(|a, b| a.point.cost.total_cmp(&b.point.cost));
    Ok(Evaluation {
        split,
        queries: described.len(),
        skipped_queries: evaluated.len() - described.len(),
        left_out,
        out_of_distribution: described.iter().filter(|d| !d.in_distribution).count() as f64
            / described.len() as f64,
        constants: by_cost,
        best: named(best),
        hull,
        random: baselines::random(&recorded),
        oracle: baselines::oracle(&recorded),
        router: router_figures,
        knn,
        router_minus_knn: difference,
    })
}

/// The part of a query: as the queries say, else as the outcomes say.
fn part<'a>(inputs: &Inputs<'a>, query: &'a QueryRow, id: u32) -> Option<&'a str> {
    query.split.as_deref().or(inputs.outcomes.splits[id as usize].as_deref())
}

/// The queries to evaluate on, and the name of their part.
#[allow(clippy::type_complexity, reason = "a name and rows")]
fn select<'a>(
    inputs: &Inputs<'a>,
    known: &[(&'a QueryRow, u32)],
    split: Option<&str>,
) -> Result<(String, Vec<(&'a QueryRow, u32)>)> {
    let of = |name: &str| -> Vec<(&'a QueryRow, u32)> {
        known.iter().copied().filter(|&(q, id)| name == "all" || part(inputs, q, id) == Some(name)).collect()
    };
    if known.is_empty() {
        return Err(bad(inputs.queries_file, 0, "shares no `query_id` with the outcomes"));
    }
    let has_test = known.iter().any(|&(q, id)| part(inputs, q, id) == Some("test"));
    let split = split.unwrap_or(if has_test { "test" } else { "all" });
    let rows = of(split);
    if rows.is_empty() {
        return Err(bad(inputs.queries_file, 0, format!("no query with outcomes has the `split` {split:?}")));
    }
    Ok((split.to_owned(), rows))
}

/// The models to compare, by name, and the names of those that are left out.
fn compare(
    router: &Router,
    inputs: &Inputs,
    lookup: &Lookup,
    rows: &[(&QueryRow, u32)],
    named: Option<&[String]>,
    now: Moment,
) -> Result<(Vec<Compared>, Vec<String>)> {
    let outcomes = inputs.outcomes;
    // One estimate tells which models have a price and an ability.
    let usable: Vec<usize> = match rows.first() {
        Some((query, _)) => router.estimate(&query.request(), now)?.models.iter().map(|e| e.model).collect(),
        None => Vec::new(),
    };
    let position = |name: &str| usable.iter().copied().find(|&m| router.catalog().models[m].id == name);
    let covered = |model: u32| {
        let n = rows.iter().filter(|&&(_, id)| lookup.get(id, model).is_some()).count();
        n as f64 >= COVERAGE * rows.len() as f64
    };
    let mut names: Vec<&String> = outcomes.models.list().iter().collect();
    names.sort();
    let mut compared = Vec::new();
    let mut left_out = Vec::new();
    for name in names {
        let Some(model) = outcomes.models.position(name) else { continue };
        let wanted = named.map_or_else(|| covered(model), |named| named.contains(name));
        match position(name).filter(|_| wanted) {
            Some(catalog) => compared.push(Compared { catalog, outcomes: model }),
            None => left_out.push(name.clone()),
        }
    }
    for name in named.unwrap_or_default() {
        if outcomes.models.position(name).is_none() {
            return Err(bad(inputs.outcomes_file, 0, format!("has no outcomes of the model {name:?}")));
        }
        if position(name).is_none() {
            return Err(crate::error::Error::catalog(
                "models",
                format!("has no priced model {name:?} with an ability"),
            ));
        }
    }
    if compared.is_empty() {
        let what = "no model of the outcomes is in the catalog with a price and an ability, and was tried on 95 % of the queries";
        return Err(bad(inputs.outcomes_file, 0, what));
    }
    Ok((compared, left_out))
}

/// One query: what was recorded and what is expected, per compared model that has an outcome.
struct Described {
    id: String,
    recorded: Vec<(f64, Option<f64>)>,
    estimated: Estimated,
    /// Counted and estimated output tokens, of every model where they were counted.
    tokens: Vec<(f64, f64)>,
    embedding: Vec<f32>,
    in_distribution: bool,
}

fn describe(
    router: &Router,
    query: &QueryRow,
    id: u32,
    outcomes: &Outcomes,
    compared: &[Compared],
    lookup: &Lookup,
    now: Moment,
) -> Result<Described> {
    let estimates = router.estimate(&query.request(), now)?;
    let mut described = Described {
        id: query.id.clone(),
        recorded: Vec::new(),
        estimated: Estimated::default(),
        tokens: Vec::new(),
        embedding: embedding(router, query)?,
        in_distribution: estimates.in_distribution,
    };
    for m in compared {
        let (Some(row), Some(estimate)) =
            (lookup.get(id, m.outcomes), estimates.models.iter().find(|e| e.model == m.catalog))
        else {
            continue;
        };
        described.recorded.push((row.correct, cost(router, query, m.catalog, row, now)));
        described.estimated.quality.push(estimate.quality.estimate);
        described.estimated.cost.push(estimate.cost_usd.estimate);
    }
    for estimate in &estimates.models {
        let model = outcomes.models.position(&router.catalog().models[estimate.model].id);
        let counted = model.and_then(|model| lookup.get(id, model)?.output_tokens);
        described.tokens.extend(counted.map(|counted| (counted, estimate.output_tokens.estimate)));
    }
    Ok(described)
}

/// What a call cost: as recorded, else by its token counts at the catalog's prices.
fn cost(router: &Router, query: &QueryRow, model: usize, row: &OutcomeRow, now: Moment) -> Option<f64> {
    row.cost_usd.or_else(|| {
        let input = row.input_tokens.or(query.input_tokens.map(|tokens| tokens as f64))?;
        let output = row.output_tokens.or(row.output_tokens_est)?;
        let rates = router.catalog().models[model].cost.as_ref()?.rates(now, input as u64);
        Some(rates.cost(input, 0.0, output))
    })
}

fn embedding(router: &Router, query: &QueryRow) -> Result<Vec<f32>> {
    let text = query.text();
    Ok(router.predictor().describe(&text, &TextCounts::of(&text))?.embedding)
}

/// The training queries of the same files that have outcomes.
fn history(
    router: &Router,
    known: &[(&QueryRow, u32)],
    compared: &[Compared],
    lookup: &Lookup,
    now: Moment,
    step: &(dyn Fn() + Sync),
) -> Result<History> {
    let train: Vec<&(&QueryRow, u32)> =
        known.iter().filter(|(q, _)| q.split.as_deref() == Some("train")).collect();
    let embeddings: Result<Vec<Vec<f32>>> = train
        .par_iter()
        .map(|(query, _)| {
            step();
            embedding(router, query)
        })
        .collect();
    let mut outcomes = Vec::new();
    for (query, id) in train {
        outcomes.extend(compared.iter().map(|m| {
            let row = lookup.get(*id, m.outcomes)?;
            Some((row.correct, cost(router, query, m.catalog, row, now)?))
        }));
    }
    History::new(&embeddings?, outcomes, compared.len())
}
