//! `pennyroute eval`: the router beside every baseline, and beside estimates from files.

use std::path::PathBuf;

use pennyroute::Result;
use pennyroute::eval::data::{Outcomes, Queries, QueryRow};
use pennyroute::eval::file::bad;
use pennyroute::eval::{EstimatesFile, Inputs, Selection, evaluate, file, named_file, plot};
use rayon::prelude::*;

use crate::report::report;
use crate::setup::{Globals, RouterArgs, progress};
use crate::show;

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Args {
    /// Queries, jsonl or jsonl.gz.
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Recorded outcomes, csv, csv.gz or Parquet: `query_id,model,correct`, and `cost_usd` or token counts.
    #[arg(long, value_name = "FILE")]
    outcomes: PathBuf,
    #[command(flatten)]
    router: RouterArgs,
    /// Part of the data to evaluate on; `all` is everything. Default: `test` where there is one.
    #[arg(long, value_name = "S")]
    split: Option<String>,
    /// Models to compare. Default: those of the catalog with outcomes for 95 % of the queries.
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// Files of estimates as `predict` writes them, to judge beside the router under the name of the file
    /// or another, NAME=FILE. Queries that one of them lacks are left out.
    #[arg(long, value_name = "FILE,...", value_delimiter = ',', value_parser = |text: &str| Ok::<_, String>(named_file(text)))]
    estimates: Vec<EstimatesFile>,
    /// Judge the files of estimates alone, such as on queries that the router was trained on.
    #[arg(long, requires = "estimates")]
    only: bool,
    /// Print the interval of every figure.
    #[arg(long)]
    intervals: bool,
    /// Sources that the artifacts were trained without: judge whether their queries are recognised.
    #[arg(long, value_name = "SOURCE,...", value_delimiter = ',')]
    unfamiliar: Vec<String>,
    /// Perturb every query in five ways and count the choices that change.
    #[arg(long, conflicts_with = "only")]
    noise: bool,
    /// Draw the comparison as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let now = globals.now()?;
    let router = globals.router(&args.router)?;
    let embedder = args.router.encoder.embedder(router.predictor().parameters())?;
    let mut queries: Vec<QueryRow> = Queries::open(&args.queries)?.collect::<Result<_>>()?;
    let outcomes = Outcomes::read(&args.outcomes)?;
    let bar = progress("queries looked at", None);
    if let Some(embedder) = &embedder {
        let one =
            |query: &mut QueryRow| embedder.complete(query).map_err(|e| bad(&args.queries, query.line, e));
        queries.par_iter_mut().try_for_each(one)?;
    }
    let embed = embedder.as_ref().map(|embedder| |text: &str| embedder.embed(text));
    let inputs = Inputs {
        queries: &queries,
        embed: embed.as_ref().map(|embed| embed as _),
        outcomes: &outcomes,
        queries_file: &args.queries,
        outcomes_file: &args.outcomes,
    };
    let selection = Selection {
        split: args.split.clone(),
        models: args.models.clone(),
        estimates: args.estimates.clone(),
        only: args.only,
        unfamiliar: args.unfamiliar.clone(),
        noise: args.noise,
    };
    let evaluation = evaluate(router, &inputs, &selection, now, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if let Some(path) = &args.plot {
        file::write(path, plot(&evaluation)?.as_bytes())?;
    }
    if args.json { show::json(&evaluation) } else { report(&evaluation, args.intervals) }
}
