//! `pennyroute simulate`: the same queries as a stream, scored on what the models really did.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use pennyroute::Result;
use pennyroute::eval::data::{EstimateTable, Outcomes};
use pennyroute::eval::file::bad;
use pennyroute::optimize::stream::{Horizon, Stream, Terms};
use pennyroute::optimize::{Options, Problem, Solver, Status, solve};
use serde::Serialize;

use crate::plan;
use crate::setup::progress;
use crate::show;

/// Steps spent on proving the plan of one batch: some 10 ms.
const BATCH_WORK: u64 = 2_000;
/// Most past queries that a batch is planned with; more would not change its plan by much.
const STAND_INS: usize = 2048;

#[derive(clap::Args)]
pub struct Args {
    /// Estimates: `query_id,model,quality,cost_usd`, csv or Parquet, in the order of arrival. A missing row
    /// is a forbidden pair.
    #[arg(long, value_name = "FILE")]
    estimates: PathBuf,
    /// Recorded outcomes: `query_id,model,correct` and optionally `cost_usd`, csv or Parquet.
    #[arg(long, value_name = "FILE")]
    outcomes: PathBuf,
    /// Mean quality to reach, 0 to 1, at least cost.
    #[arg(long, value_name = "A")]
    quality: f64,
    /// Most queries per model, JSON `{"model": n}`; a model that is absent is unlimited.
    #[arg(long, value_name = "FILE")]
    workloads: Option<PathBuf>,
    /// Most that may be spent, as estimated.
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// Queries that arrive together and are planned together. Default: one by one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report {
    queries: usize,
    /// Queries that fitted nowhere; they count as wrong.
    rejected: usize,
    #[serde(flatten)]
    stream: Score,
    /// How far the estimated mean quality is below the target; 0 when it is reached.
    shortfall: f64,
    /// The plan of someone who knows all queries beforehand; none if there is no plan.
    offline: Option<Score>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_infeasible: Option<String>,
}

/// What an assignment is worth, means over all queries.
#[derive(Serialize)]
struct Score {
    served: usize,
    /// Mean of the recorded `correct`.
    success: f64,
    /// Mean of the estimates.
    quality: f64,
    /// As recorded; as estimated where no cost is recorded.
    cost_usd: f64,
    estimated_cost_usd: f64,
    /// Queries per model.
    assigned: BTreeMap<String, usize>,
}

/// The model of each query; none where it was rejected.
type Assignment = Vec<Option<usize>>;

pub fn run(args: &Args) -> Result<()> {
    let bar = progress("reading estimates and outcomes", None);
    let table = EstimateTable::read(&args.estimates)?;
    let outcomes = Recorded::read(&args.outcomes)?;
    let (n, m) = (table.queries.list().len(), table.models.list().len());
    let limits = args.workloads.as_deref().map(|path| plan::limits(path, &table)).transpose()?;
    let terms = Terms {
        quality_target: Some(args.quality),
        budget_usd: args.budget,
        limits,
        ..Terms::new(m, Horizon::Total(n as u64))
    };
    bar.set_message("planning with hindsight");
    let offline = solve(&Problem {
        quality_target: terms.quality_target,
        budget_usd: terms.budget_usd,
        limits: terms.limits.as_deref(),
        ..Problem::new(n, m, &table.cost, &table.quality)
    })?;
    bar.finish_and_clear();
    let bar = progress("queries", Some(n as u64));
    let assignment = match args.batch {
        None => one_by_one(&table, terms, &|| bar.inc(1))?,
        Some(size) => in_batches(&table, &terms, size as usize, &|| bar.inc(u64::from(size)))?,
    };
    bar.finish_and_clear();
    let stream = outcomes.score(&table, &assignment)?;
    let hindsight: Assignment = offline.assignment.iter().map(|&j| Some(j as usize)).collect();
    let report = Report {
        queries: n,
        rejected: n - stream.served,
        shortfall: (args.quality - stream.quality).max(0.0),
        stream,
        offline: (offline.status != Status::Infeasible)
            .then(|| outcomes.score(&table, &hindsight))
            .transpose()?,
        offline_infeasible: offline.infeasible.map(|why| why.reason),
    };
    if args.json { show::json(&report) } else { summary(&report) }
}

fn one_by_one(table: &EstimateTable, terms: Terms, done: &dyn Fn()) -> Result<Assignment> {
    let (n, m) = (table.queries.list().len(), terms.models);
    let mut stream = Stream::new(terms)?;
    let row = |matrix: &[f64], i: usize| -> Vec<f64> { (0..m).map(|j| matrix[j * n + i]).collect() };
    (0..n)
        .map(|i| {
            done();
            stream.choose(&row(&table.cost, i), &row(&table.quality, i))
        })
        .collect()
}

/// Each batch is planned to within a fraction of a percent of its bound: at least cost, so that the mean of all queries meets the target,
/// within the workloads and the budget that the batches before it have left.
fn in_batches(table: &EstimateTable, terms: &Terms, size: usize, done: &dyn Fn()) -> Result<Assignment> {
    let n = table.queries.list().len();
    let mut left = Left {
        limits: terms.limits.clone().unwrap_or_else(|| vec![u64::MAX; terms.models]),
        budget_usd: terms.budget_usd,
        debt: 0.0,
    };
    let target = terms.quality_target.unwrap_or_default();
    let mut assignment = Vec::with_capacity(n);
    for start in (0..n).step_by(size) {
        let batch = start..n.min(start + size);
        for (i, chosen) in batch.clone().zip(left.plan(table, batch, target)?) {
            left.take(table, i, chosen, target);
            assignment.push(chosen);
        }
        done();
    }
    Ok(assignment)
}

/// What earlier batches left over.
struct Left {
    limits: Vec<u64>,
    budget_usd: Option<f64>,
    /// Σ (target − quality) of the queries so far.
    debt: f64,
}

impl Left {
    /// Plans a batch together with past queries that stand in for those to come, so that it leaves them
    /// their share of what is left.
    fn plan(&self, table: &EstimateTable, batch: Range<usize>, target: f64) -> Result<Assignment> {
        let n = table.queries.list().len();
        // Where slots run out before the queries do, the last of them will be rejected in any case.
        let slots = self.limits.iter().fold(0u64, |sum, &limit| sum.saturating_add(limit)) as usize;
        let served = (n - batch.start).min(slots.max(batch.len()));
        let stand_ins = (served - batch.len()).min(STAND_INS);
        let rows: Vec<usize> = batch.clone().chain((0..batch.end).rev().cycle().take(stand_ins)).collect();
        let share = rows.len() as f64 / served as f64;
        let limits: Vec<u64> =
            self.limits.iter().map(|&limit| limit.min((limit as f64 * share).ceil() as u64)).collect();
        let part = |matrix: &[f64]| -> Vec<f64> {
            matrix.chunks_exact(n).flat_map(|of_model| rows.iter().map(|&i| of_model[i])).collect()
        };
        let (cost, quality) = (part(&table.cost), part(&table.quality));
        let placed =
            Problem { limits: Some(&limits), ..Problem::new(rows.len(), limits.len(), &cost, &quality) };
        let needed = (target * (n - batch.start) as f64 + self.debt) / served as f64;
        let goal = Problem {
            quality_target: Some(needed.clamp(0.0, 1.0)),
            budget_usd: self.budget_usd.map(|budget| budget * share),
            ..placed
        };
        // Out of reach: as much quality as there is, within the budget.
        let errors: Vec<f64> =
            cost.iter().zip(&quality).map(|(c, p)| if c.is_finite() { 1.0 - p } else { *c }).collect();
        let most = match self.budget_usd {
            Some(_) => Problem { quality_target: None, ..goal },
            None => Problem { cost: &errors, ..placed },
        };
        for problem in [goal, most] {
            let plan =
                Solver::default().solve(&problem, Options { work: BATCH_WORK, ..Options::default() })?;
            if plan.status != Status::Infeasible {
                let chosen = plan.assignment.into_iter().take(batch.len());
                return Ok(chosen.map(|j| Some(j as usize)).collect());
            }
        }
        Ok(self.cheapest_first_come(table, batch))
    }

    /// Not every query fits: each takes the cheapest model that still does.
    fn cheapest_first_come(&self, table: &EstimateTable, batch: Range<usize>) -> Assignment {
        let n = table.queries.list().len();
        let mut left = Left { limits: self.limits.clone(), budget_usd: self.budget_usd, debt: 0.0 };
        let cost = |i: usize, j: usize| table.cost[j * n + i];
        let place = |i: usize| {
            let fits = |&j: &usize| {
                left.limits[j] > 0
                    && cost(i, j).is_finite()
                    && left.budget_usd.is_none_or(|budget| cost(i, j) <= budget)
            };
            let cheapest =
                (0..left.limits.len()).filter(fits).min_by(|&a, &b| cost(i, a).total_cmp(&cost(i, b)));
            left.take(table, i, cheapest, 0.0);
            cheapest
        };
        batch.map(place).collect()
    }

    fn take(&mut self, table: &EstimateTable, i: usize, chosen: Option<usize>, target: f64) {
        self.debt += target;
        let Some(j) = chosen else { return };
        let at = j * table.queries.list().len() + i;
        self.debt -= table.quality[at];
        self.limits[j] -= u64::from(self.limits[j] != u64::MAX);
        self.budget_usd = self.budget_usd.map(|budget| (budget - table.cost[at]).max(0.0));
    }
}

/// Recorded outcomes by pair of names.
struct Recorded<'a> {
    path: &'a Path,
    outcomes: Outcomes,
    /// Rows of `outcomes` by its positions of query and model.
    rows: HashMap<(u32, u32), usize>,
}

impl<'a> Recorded<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let outcomes = Outcomes::read(path)?;
        let rows = outcomes.rows.iter().enumerate().map(|(at, row)| ((row.query, row.model), at)).collect();
        Ok(Recorded { path, outcomes, rows })
    }

    fn score(&self, table: &EstimateTable, assignment: &[Option<usize>]) -> Result<Score> {
        let (queries, models) = (table.queries.list(), table.models.list());
        let mut score = Score {
            served: 0,
            success: 0.0,
            quality: 0.0,
            cost_usd: 0.0,
            estimated_cost_usd: 0.0,
            assigned: BTreeMap::new(),
        };
        for (i, j) in assignment.iter().enumerate().filter_map(|(i, j)| j.map(|j| (i, j))) {
            let (query, model) = (&queries[i], &models[j]);
            let known = self.outcomes.queries.position(query).zip(self.outcomes.models.position(model));
            let row = known.and_then(|pair| self.rows.get(&pair)).map(|&at| self.outcomes.rows[at]);
            let Some(row) = row else {
                let what =
                    format!("has no row for `query_id` {query:?} and `model` {model:?}, which was chosen");
                return Err(bad(self.path, 0, what));
            };
            let estimated = table.cost[j * queries.len() + i];
            score.served += 1;
            score.success += row.correct;
            score.quality += table.quality[j * queries.len() + i];
            score.cost_usd += row.cost_usd.unwrap_or(estimated);
            score.estimated_cost_usd += estimated;
            *score.assigned.entry(model.clone()).or_insert(0) += 1;
        }
        score.success /= queries.len() as f64;
        score.quality /= queries.len() as f64;
        Ok(score)
    }
}

fn summary(report: &Report) -> Result<()> {
    show::line(&format!(
        "{} queries, {} rejected; the mean quality is {:.6} below its target",
        report.queries, report.rejected, report.shortfall
    ))?;
    let row = |name: &str, score: &Score| -> [String; 5] {
        [
            name.to_owned(),
            format!("{:.2}", 100.0 * score.success),
            format!("{:.2}", 100.0 * score.quality),
            show::usd(score.cost_usd),
            show::usd(score.estimated_cost_usd),
        ]
    };
    let mut rows = vec![row("as they came", &report.stream)];
    rows.extend(report.offline.as_ref().map(|score| row("with hindsight", score)));
    show::line(&show::table(&["planned", "success %", "estimated %", "cost", "estimated cost"], &rows))?;
    if let Some(why) = &report.offline_infeasible {
        show::line(&format!("no plan with hindsight: {why}"))?;
    }
    let counts = &report.stream.assigned;
    let rows: Vec<_> = counts.iter().map(|(model, count)| [model.clone(), count.to_string()]).collect();
    show::line("")?;
    show::line(&show::table(&["model", "queries"], &rows))
}
