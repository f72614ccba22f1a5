//! `pennyroute predict`: estimates for every query and every model.

use std::path::PathBuf;

use indicatif::ProgressBar;
use pennyroute::eval::data::{ESTIMATE_COLUMNS, Queries, QueryRow};
use pennyroute::eval::file::bad;
use pennyroute::eval::table::{Cell, Writer};
use pennyroute::{Estimates, Estimator, Moment, Result, Router};
use rayon::prelude::*;
use serde_json::json;

use crate::setup::{Embedder, Globals, RouterArgs, progress};
use crate::show;

/// Queries in memory at once, twice: those being estimated and those being read or written.
const BATCH: usize = 2048;

#[derive(clap::Args)]
pub struct Args {
    /// Queries, jsonl or jsonl.gz: `query_id` and `text` or `messages`; optionally `input_tokens`.
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    #[command(flatten)]
    router: RouterArgs,
    /// Where the estimates go: csv, csv.gz, or Parquet if it ends in .parquet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where qualities come from.
    #[arg(long, value_name = "E", default_value = "blend")]
    estimator: Choice,
    /// Print counts as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Choice {
    /// The trained predictor alone.
    Trained,
    /// Similar past queries alone; complete only with an index built against each model's mean.
    Retrieved,
    /// The trained predictor, corrected by similar past queries: what decisions are made on.
    Blend,
}

impl From<Choice> for Estimator {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Trained => Estimator::Trained,
            Choice::Retrieved => Estimator::Retrieved,
            Choice::Blend => Estimator::Blend,
        }
    }
}

/// Estimated queries on their way to the file.
type Estimated = Vec<(QueryRow, Estimates)>;

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let now = globals.now()?;
    let router = globals.router(&args.router)?;
    let embedder = args.router.encoder.embedder(router.predictor().parameters())?;
    let mut queries = Queries::open(&args.queries)?;
    let mut writer = Writer::create(&args.out, &ESTIMATE_COLUMNS)?;
    let bar = progress("queries estimated", None);
    let (mut total, mut rows, mut unlike) = (0, 0, 0);
    let mut batch = next(&mut queries)?;
    let mut done = Estimated::new();
    // While one batch is estimated, the one before it is written and the next one read.
    while !batch.is_empty() || !done.is_empty() {
        let (estimated, following) = rayon::join(
            || estimate(&router, embedder.as_ref(), args, std::mem::take(&mut batch), now, &bar),
            || {
                write(&mut writer, &router, &done)?;
                next(&mut queries)
            },
        );
        (done, batch) = (estimated?, following?);
        total += done.len();
        rows += done.iter().map(|(_, e)| e.models.len()).sum::<usize>();
        unlike += done.iter().filter(|(_, e)| !e.in_distribution).count();
    }
    writer.finish()?;
    bar.finish_and_clear();
    if args.json {
        return show::json(&json!({ "queries": total, "rows": rows, "out_of_distribution": unlike }));
    }
    show::line(&format!("{total} queries, {rows} estimates, {unlike} queries out of distribution"))
}

fn next(queries: &mut Queries) -> Result<Vec<QueryRow>> {
    queries.take(BATCH).collect()
}

fn estimate(
    router: &Router,
    embedder: Option<&Embedder>,
    args: &Args,
    batch: Vec<QueryRow>,
    now: Moment,
    bar: &ProgressBar,
) -> Result<Estimated> {
    let one = |mut query: QueryRow| {
        let estimates = embedder.map_or(Ok(()), |embedder| embedder.complete(&mut query));
        let estimates =
            estimates.and_then(|()| router.estimate_by(args.estimator.into(), &query.request(), now));
        let estimates = estimates.map_err(|e| bad(&args.queries, query.line, e))?;
        bar.inc(1);
        Ok((query, estimates))
    };
    batch.into_par_iter().map(one).collect()
}

fn write(writer: &mut Writer, router: &Router, done: &Estimated) -> Result<()> {
    for (query, estimates) in done {
        for e in &estimates.models {
            let number = |value: f64| Cell::Number(round(value));
            writer.row(&[
                Cell::Text(&query.id),
                Cell::Text(&router.catalog().models[e.model].id),
                number(e.quality.estimate),
                number(e.quality.lo),
                number(e.quality.hi),
                number(e.output_tokens.estimate),
                number(e.cost_usd.estimate),
                number(e.cost_usd.lo),
                number(e.cost_usd.hi),
                Cell::Flag(estimates.in_distribution),
            ])?;
        }
    }
    Ok(())
}

/// Nine significant digits: more than any estimate has, and half the file.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(8 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}
