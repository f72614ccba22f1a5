//! The router beside every baseline, and beside estimates from files, on recorded outcomes.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::baselines::{self, History};
use super::bootstrap::Resamples;
use super::contender::{Board, Contender, counted_lengths};
use super::data::{Chances, OutcomeRow, Outcomes, QueryRow};
use super::entrants::{Entrant, EstimatesFile, Grid, bare};
use super::file::bad;
use super::judge::Yardstick;
use super::lengths::{InputTokens, Lengths, input_tokens, lengths, means};
use super::metrics::{Estimated, Point, Recorded};
use super::noise::{Noise, noise};
use super::records::records;
use crate::error::{Error, Result};
use crate::estimate::{Estimate, Estimates, Estimator};
use crate::money::Moment;
use crate::predict::Predictor;
use crate::query::{Query, TextCounts};
use crate::retrieve::{Backend, Index};
use crate::router::{RouteRequest, Router};

/// Share of the queries a model must have outcomes for to be compared where none are named.
const COVERAGE: f64 = 0.95;

/// From a text to its vector.
pub type Embed<'a> = dyn Fn(&str) -> Result<Vec<f32>> + Sync + 'a;

/// What is evaluated.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Part of the data. Default: `test` where there is one, else everything; `all` is everything.
    pub split: Option<String>,
    /// Models to compare. Default: those of the catalog with outcomes for 95 % of the queries.
    pub models: Option<Vec<String>>,
    /// Files of estimates to judge beside the router.
    pub estimates: Vec<EstimatesFile>,
    /// Judge the files alone: the router, and what learns from training queries, may have seen the
    /// queries that the files were made for.
    pub only: bool,
    /// Sources that were left out of training.
    pub unfamiliar: Vec<String>,
    /// Whether to perturb the queries and see what becomes of the choices.
    pub noise: bool,
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
    /// Further ones that lack an estimate in a file.
    pub unestimated_queries: usize,
    /// Models of the outcomes that are not compared: not in the catalog, or too few outcomes.
    pub left_out: Vec<String>,
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
    /// Our estimates; absent, as the next three, where files are judged alone.
    pub router: Option<Contender>,
    /// The trained half of our estimates.
    pub trained: Option<Contender>,
    /// The retrieved half, over the training queries of the same files; absent without any.
    pub retrieved: Option<Contender>,
    /// k nearest training queries; absent without any.
    pub knn: Option<Contender>,
    /// Estimates from files.
    pub estimates: Vec<Contender>,
    /// The mean length per model and source over the training queries, with the source *given*.
    pub mean_lengths: Option<Lengths>,
    /// How well the router counts the tokens of a text; absent where the queries have no counts.
    pub input_tokens: Option<InputTokens>,
    /// The router's choices for perturbed queries; absent unless asked for.
    pub noise: Option<Noise>,
}

impl Evaluation {
    /// Everything that was judged, the first being what the others are compared with.
    pub fn contenders(&self) -> impl Iterator<Item = &Contender> {
        let ours = [&self.router, &self.trained, &self.retrieved, &self.knn];
        ours.into_iter().flatten().chain(&self.estimates)
    }
}

/// What was asked and what happened, with the names of the files for errors.
pub struct Inputs<'a> {
    /// The queries, all parts.
    pub queries: &'a [QueryRow],
    /// The encoder that a predictor needs for texts that `queries` has no vector of.
    pub embed: Option<&'a Embed<'a>>,
    /// The outcomes, all parts.
    pub outcomes: &'a Outcomes,
    /// File of the queries.
    pub queries_file: &'a Path,
    /// File of the outcomes.
    pub outcomes_file: &'a Path,
}

impl<'a> Inputs<'a> {
    /// The part of a query: as the queries say, else as the outcomes say.
    fn part(&self, query: &'a QueryRow) -> Option<&'a str> {
        let stated = || self.outcomes.splits[self.outcomes.queries.position(&query.id)? as usize].as_deref();
        query.split.as_deref().or_else(stated)
    }

    /// The queries with outcomes that belong to a part; `all` is every part.
    fn of_part(&self, name: &str) -> Vec<&'a QueryRow> {
        let known = self.queries.iter().filter(|query| self.outcomes.queries.position(&query.id).is_some());
        known.filter(|query| name == "all" || self.part(query) == Some(name)).collect()
    }
}

/// Compares the router, with its index and catalog, with every baseline and with the files of
/// estimates; `step` is called once per query that was looked at.
pub fn evaluate(
    router: Router,
    inputs: &Inputs,
    selection: &Selection,
    now: Moment,
    step: &(dyn Fn() + Sync),
) -> Result<Evaluation> {
    let (split, queries) = select(inputs, selection.split.as_deref())?;
    // Baselines that had seen what they are judged on would look themselves up.
    let seen = selection.only || split == "all" || split == "train";
    let train = if seen { Vec::new() } else { inputs.of_part("train") };
    let (grid, past) = (grid(&router, inputs, queries), grid(&router, inputs, train));
    let (columns, left_out) = compare(inputs, &grid, selection.models.as_deref())?;

    // Files first: what they lack is not compared.
    let mut files = Vec::new();
    for file in &selection.estimates {
        let entrant = Entrant::read(file, &grid)?;
        if let Some(model) = entrant.lacks(&grid, &columns) {
            let what = format!("has no estimate of the model {model:?} (--models names those to compare)");
            return Err(bad(&file.path, 0, what));
        }
        files.push(entrant);
    }
    let tried = |&i: &usize| columns.iter().all(|j| grid.outcomes[i * grid.models.len() + j].is_some());
    let mut rows: Vec<usize> = (0..grid.queries.len()).filter(tried).collect();
    if rows.is_empty() {
        return Err(bad(inputs.outcomes_file, 0, "no query has outcomes of all compared models"));
    }
    let skipped_queries = grid.queries.len() - rows.len();
    rows.retain(|&i| files.iter().all(|file| file.covers(&grid, i, &columns)));
    if rows.is_empty() {
        return Err(bad(&selection.estimates[0].path, 0, "no query has estimates of all compared models"));
    }
    let unestimated_queries = grid.queries.len() - skipped_queries - rows.len();
    let cluster = |&i: &usize| grid.queries[i].cluster.as_deref();
    let board = Board {
        recorded: recorded(&router, inputs, &grid, &rows, &columns, now)?,
        resamples: Resamples::new(&rows.iter().map(cluster).collect::<Vec<_>>()),
        resamples_of_grid: Resamples::new(&(0..grid.queries.len()).map(|i| cluster(&i)).collect::<Vec<_>>()),
        left_out_of_training: left_out_of_training(inputs, &grid, &rows, &selection.unfamiliar)?,
        grid: &grid,
        rows: &rows,
        columns: &columns,
    };

    let mut entrants = Vec::new();
    let (mut tokens, mut noisy) = (None, None);
    if !selection.only {
        entrants.push(Entrant::ours("pennyroute", &router, Estimator::Blend, &grid, now, step)?);
        entrants.push(Entrant::ours("trained half", &router, Estimator::Trained, &grid, now, step)?);
        tokens = input_tokens(&text_tokens(router.predictor(), &grid), &board.resamples_of_grid);
        if selection.noise {
            let texts: Vec<String> = rows.iter().map(|&i| grid.queries[i].text().into_owned()).collect();
            let estimate = |text: &str| {
                step();
                let embedding = inputs.embed.map(|embed| embed(text)).transpose()?;
                let request = RouteRequest { embedding, ..RouteRequest::prompt(text) };
                Ok(compared(&router.estimate(&request, now)?, &grid, &columns))
            };
            noisy = Some(noise(&texts, &board.recorded, &board.resamples, &estimate)?);
        }
    }
    let learnt = !past.queries.is_empty();
    if learnt {
        let neighbors = neighbors(&router, inputs, &grid, &past, &columns, now, step)?;
        let router = with_history(router, inputs, &past, now, step)?;
        entrants.push(Entrant::ours("retrieved half", &router, Estimator::Retrieved, &grid, now, step)?);
        entrants.push(neighbors);
    }
    entrants.append(&mut files);

    let yardstick = Yardstick::new(&board.recorded);
    let mut contenders = board.judge(&entrants, &yardstick).into_iter();
    let mut ours = |there: bool| if there { contenders.next() } else { None };
    let recorded = &board.recorded;
    let named = |j: usize| Constant { model: recorded.models[j].clone(), point: yardstick.constants[j] };
    let mut by_cost: Vec<Constant> = (0..columns.len()).map(named).collect();
    by_cost.sort_by(|a, b| a.point.cost.total_cmp(&b.point.cost));
    Ok(Evaluation {
        split,
        queries: rows.len(),
        skipped_queries,
        unestimated_queries,
        left_out,
        constants: by_cost,
        best: named(yardstick.best),
        random: baselines::random(recorded),
        oracle: baselines::oracle(recorded),
        router: ours(!selection.only),
        trained: ours(!selection.only),
        retrieved: ours(learnt),
        knn: ours(learnt),
        estimates: contenders.collect(),
        mean_lengths: mean_lengths(&grid, &past, &board.resamples_of_grid),
        input_tokens: tokens,
        noise: noisy,
        hull: yardstick.hull,
    })
}

/// The queries to evaluate on, and the name of their part.
fn select<'a>(inputs: &Inputs<'a>, split: Option<&str>) -> Result<(String, Vec<&'a QueryRow>)> {
    if inputs.of_part("all").is_empty() {
        return Err(bad(inputs.queries_file, 0, "shares no `query_id` with the outcomes"));
    }
    let split = split.unwrap_or(if inputs.of_part("test").is_empty() { "all" } else { "test" });
    let queries = inputs.of_part(split);
    if queries.is_empty() {
        return Err(bad(inputs.queries_file, 0, format!("no query with outcomes has the `split` {split:?}")));
    }
    Ok((split.to_owned(), queries))
}

/// Whether each row is of one of the named sources, all of which must be there.
fn left_out_of_training(inputs: &Inputs, grid: &Grid, rows: &[usize], named: &[String]) -> Result<Vec<bool>> {
    let source = |&i: &usize| grid.queries[i].source.as_ref();
    if let Some(absent) = named.iter().find(|name| !rows.iter().any(|i| source(i) == Some(*name))) {
        let what = format!("no query that is evaluated has the `source` {absent:?}");
        return Err(bad(inputs.queries_file, 0, what));
    }
    Ok(rows.iter().map(|i| source(i).is_some_and(|source| named.contains(source))).collect())
}

/// Queries with what every model of the outcomes made of them.
fn grid<'a>(router: &Router, inputs: &Inputs<'a>, queries: Vec<&'a QueryRow>) -> Grid<'a> {
    let outcomes = inputs.outcomes;
    let mut models: Vec<&str> = outcomes.models.list().iter().map(String::as_str).collect();
    models.sort_unstable();
    let column: Vec<usize> =
        outcomes.models.list().iter().map(|name| models.partition_point(|m| *m < name.as_str())).collect();
    let row: HashMap<u32, usize> = queries
        .iter()
        .enumerate()
        .filter_map(|(i, query)| Some((outcomes.queries.position(&query.id)?, i)))
        .collect();
    let mut cells = vec![None; queries.len() * models.len()];
    for outcome in &outcomes.rows {
        if let Some(i) = row.get(&outcome.query) {
            cells[i * models.len() + column[outcome.model as usize]] = Some(outcome);
        }
    }
    let id = |&m: &usize| router.catalog().models[m].id.as_str();
    let known = router.known();
    let usable: HashMap<&str, usize> = known.iter().map(|m| (id(m), *m)).collect();
    let catalog = models.iter().map(|name| usable.get(name).copied()).collect();
    Grid { queries, models, outcomes: cells, catalog }
}

/// The models to compare, as columns of the grid, and the names of those that are left out.
fn compare(inputs: &Inputs, grid: &Grid, named: Option<&[String]>) -> Result<(Vec<usize>, Vec<String>)> {
    for name in named.unwrap_or_default() {
        let Some(column) = grid.models.iter().position(|model| model == name) else {
            return Err(bad(inputs.outcomes_file, 0, format!("has no outcomes of the model {name:?}")));
        };
        if grid.catalog[column].is_none() {
            return Err(Error::catalog("models", format!("has no priced model {name:?} with an ability")));
        }
    }
    let m = grid.models.len();
    let covered = |j: usize| {
        let n = grid.outcomes.iter().skip(j).step_by(m).flatten().count();
        n as f64 >= COVERAGE * grid.queries.len() as f64
    };
    let wanted = |j: usize| match named {
        Some(named) => named.iter().any(|name| name == grid.models[j]),
        None => covered(j),
    };
    let (columns, others): (Vec<usize>, Vec<usize>) =
        (0..m).partition(|&j| grid.catalog[j].is_some() && wanted(j));
    if columns.is_empty() {
        let what = "no model of the outcomes is in the catalog with a price and an ability, and was tried on 95 % of the queries";
        return Err(bad(inputs.outcomes_file, 0, what));
    }
    Ok((columns, others.into_iter().map(|j| grid.models[j].to_owned()).collect()))
}

/// What happened to some queries on the compared models.
fn recorded(
    router: &Router,
    inputs: &Inputs,
    grid: &Grid,
    rows: &[usize],
    columns: &[usize],
    now: Moment,
) -> Result<Recorded> {
    let mut recorded = Recorded {
        models: columns.iter().map(|&j| grid.models[j].to_owned()).collect(),
        ..Recorded::default()
    };
    for &i in rows {
        for &j in columns {
            let Some(row) = grid.outcomes[i * grid.models.len() + j] else { continue };
            let cost = cost(router, grid, i, j, row, now).ok_or_else(|| {
                let (model, query) = (grid.models[j], &grid.queries[i].id);
                let what = format!("has neither `cost_usd` nor token counts for {model:?} on {query:?}");
                bad(inputs.outcomes_file, 0, what)
            })?;
            recorded.correct.push(row.correct);
            recorded.cost.push(cost);
        }
    }
    Ok(recorded)
}

/// What a call cost: as recorded, else by its token counts at the catalog's prices.
fn cost(router: &Router, grid: &Grid, i: usize, j: usize, row: &OutcomeRow, now: Moment) -> Option<f64> {
    row.cost_usd.or_else(|| {
        let input = row.input_tokens.or(grid.queries[i].input_tokens.map(|tokens| tokens as f64))?;
        let output = row.output_tokens.or(row.output_tokens_est)?;
        let rates = router.catalog().models[grid.catalog[j]?].cost.as_ref()?.rates(now, input as u64);
        Some(rates.cost(input, 0.0, output))
    })
}

/// The estimates of the compared models alone.
fn compared(estimates: &Estimates, grid: &Grid, columns: &[usize]) -> Estimated {
    let of = |j: &usize| estimates.models.iter().find(|e| Some(e.model) == grid.catalog[*j]);
    let pair = |e: &Estimate| (e.quality.estimate, e.cost_usd.estimate);
    let (quality, cost): (Vec<f64>, Vec<f64>) = columns.iter().filter_map(of).map(pair).unzip();
    debug_assert_eq!(quality.len(), columns.len());
    Estimated { quality, cost }
}

/// The tokens of texts, as (query, counted, estimated).
fn text_tokens(predictor: &Predictor, grid: &Grid) -> Vec<(usize, f64, f64)> {
    let counted = grid.queries.iter().enumerate().filter_map(|(i, q)| Some((i, *q, q.text_tokens?)));
    let counted: Vec<(usize, &QueryRow, f64)> = counted.collect();
    let estimate = |&(i, query, count): &(usize, &QueryRow, f64)| {
        let text = query.text();
        let counts = TextCounts::of(&text);
        (i, count, predictor.input_tokens(&Query::from_prompt(text), &counts))
    };
    counted.par_iter().map(estimate).collect()
}

/// How well the mean length per model and source over the training queries does.
fn mean_lengths(grid: &Grid, past: &Grid, resamples: &Resamples) -> Option<Lengths> {
    let m = grid.models.len();
    let counted = past.outcomes.iter().enumerate().filter_map(|(at, outcome)| {
        let source = past.queries[at / m].source.as_deref();
        Some(((at % m, source), outcome.as_ref()?.output_tokens?))
    });
    let means = means(counted);
    let expected =
        |at: usize, i: usize| means.get(&(at % m, grid.queries[i].source.as_deref())).copied().map(bare);
    lengths(&counted_lengths(grid, &expected), resamples)
}

fn embedding(router: &Router, query: &QueryRow) -> Result<Vec<f32>> {
    let text = query.text();
    Ok(router.predictor().describe(&text, &TextCounts::of(&text), query.embedding.as_deref())?.embedding)
}

/// The estimates of the k nearest past queries.
fn neighbors(
    router: &Router,
    inputs: &Inputs,
    grid: &Grid,
    past: &Grid,
    columns: &[usize],
    now: Moment,
    step: &(dyn Fn() + Sync),
) -> Result<Entrant> {
    let embed = |query: &&QueryRow| {
        step();
        embedding(router, query).map_err(|e| bad(inputs.queries_file, query.line, e))
    };
    let m = past.models.len();
    let of_pair = |(i, j): (usize, usize)| {
        let row = past.outcomes[i * m + j]?;
        Some((row.correct, cost(router, past, i, j, row, now)?))
    };
    let pairs = (0..past.queries.len()).flat_map(|i| columns.iter().map(move |&j| (i, j)));
    let embeddings = past.queries.par_iter().map(embed).collect::<Result<Vec<_>>>()?;
    let history = History::new(&embeddings, pairs.map(of_pair).collect(), columns.len())?;
    let estimate = |query: &&QueryRow| -> Result<Vec<Option<Estimate>>> {
        let estimated = history.estimate(&embed(query)?);
        let mut cells = vec![None; m];
        for ((&j, &quality), &cost) in columns.iter().zip(&estimated.quality).zip(&estimated.cost) {
            let (quality, cost_usd, output_tokens) = (bare(quality), bare(cost), bare(f64::NAN));
            cells[j] = Some(Estimate { model: j, quality, output_tokens, cost_usd });
        }
        Ok(cells)
    };
    let cells = grid.queries.par_iter().map(estimate).collect::<Result<Vec<_>>>()?.concat();
    let name = format!("k-NN, k = {}", baselines::NEIGHBORS);
    Ok(Entrant { name, cells, familiarity: vec![None; grid.queries.len()] })
}

/// The router with an index of the past queries in which every model is expected to do as well as on
/// the mean query: what retrieval knows without the predictor.
fn with_history(
    mut router: Router,
    inputs: &Inputs,
    past: &Grid,
    now: Moment,
    step: &(dyn Fn() + Sync),
) -> Result<Router> {
    let dimensions = router.predictor().parameters().dimensions;
    let empty = Index::build(Vec::new(), dimensions, &[], Backend::Exact)?;
    router.set_index(&empty.to_bytes()?, "empty".into())?;
    // What is asked changes nothing of it.
    let any = past.queries.first().map_or_else(|| RouteRequest::prompt("any"), |query| query.request());
    let mean = router.estimate_by(Estimator::Retrieved, &any, now)?;
    let name = |e: &Estimate| (router.catalog().models[e.model].id.clone(), e.quality.estimate);
    let expected: HashMap<String, f64> = mean.models.iter().map(name).collect();
    let chances: Chances = past.queries.iter().map(|q| (q.id.clone(), expected.clone())).collect();
    let queries: Vec<QueryRow> = past.queries.iter().map(|query| (*query).clone()).collect();
    let (models, records) =
        records(router.predictor(), &queries, inputs.outcomes, &chances, inputs.queries_file, step)?;
    let index = Index::build(models, dimensions, &records, Backend::Exact)?;
    router.set_index(&index.to_bytes()?, "history".into())?;
    Ok(router)
}
