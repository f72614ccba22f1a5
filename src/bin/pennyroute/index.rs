//! `pennyroute index`: a retrieval index from recorded outcomes.

use std::path::PathBuf;

use pennyroute::eval::data::{Outcomes, Queries, QueryRow, read_chances};
use pennyroute::eval::file::{self, bad};
use pennyroute::eval::records;
use pennyroute::retrieve::{Backend, Index};
use pennyroute::{Predictor, Result};
use rayon::prelude::*;
use serde_json::json;

use crate::setup::{EncoderArgs, Globals, progress};
use crate::show;

#[derive(clap::Args)]
pub struct Args {
    /// Queries, jsonl or jsonl.gz; where they have a `split`, only those of `train` are used.
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Recorded outcomes, csv, csv.gz or Parquet: `query_id,model,correct`. A query without any still
    /// says that such queries are known.
    #[arg(long, value_name = "FILE")]
    outcomes: PathBuf,
    /// What was expected of each pair without having seen it: `query_id,model,quality`. Default, also
    /// for pairs that are absent: the predictor's own estimate.
    #[arg(long, value_name = "FILE")]
    estimates: Option<PathBuf>,
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Where the index goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How it is searched. Default: what is faster at its size.
    #[arg(long)]
    backend: Option<Choice>,
    /// Print counts as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Choice {
    /// Looks at every record.
    Exact,
    /// Walks a graph; for many records.
    Hnsw,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let predictor = Predictor::new(&globals.artifacts()?)?;
    let outcomes = Outcomes::read(&args.outcomes)?;
    let expected = args.estimates.as_deref().map(read_chances).transpose()?.unwrap_or_default();
    let embedder = args.encoder.embedder(predictor.parameters())?;
    let mut queries = training(args, &outcomes)?;
    let bar = progress("queries embedded", Some(queries.len() as u64));
    if let Some(embedder) = embedder {
        let one =
            |query: &mut QueryRow| embedder.complete(query).map_err(|e| bad(&args.queries, query.line, e));
        queries.par_iter_mut().try_for_each(one)?;
    }
    let (models, records) =
        records(&predictor, &queries, &outcomes, &expected, &args.queries, &|| bar.inc(1))?;
    bar.finish_and_clear();

    let backend = match args.backend {
        Some(Choice::Exact) => Backend::Exact,
        Some(Choice::Hnsw) => Backend::Hnsw,
        None => Backend::choose(records.len()),
    };
    let used: usize = records.iter().map(|record| record.outcomes.len()).sum();
    let index = Index::build(models, predictor.parameters().dimensions, &records, backend)?;
    let bytes = index.to_bytes()?;
    file::write(&args.out, &bytes)?;
    let (records, models, backend) = (index.len(), index.models().len(), index.backend().name());
    if args.json {
        return show::json(&json!({
            "records": records, "models": models, "outcomes": used, "backend": backend, "bytes": bytes.len(),
        }));
    }
    show::line(&format!(
        "{records} records of {models} models, {used} outcomes, {backend}: {} bytes",
        bytes.len()
    ))
}

/// The queries that may be learnt from.
fn training(args: &Args, outcomes: &Outcomes) -> Result<Vec<QueryRow>> {
    let mut queries = Vec::new();
    for query in Queries::open(&args.queries)? {
        let mut query = query?;
        if query.split.is_none() {
            let position = outcomes.queries.position(&query.id);
            query.split = position.and_then(|q| outcomes.splits[q as usize].clone());
        }
        if query.is_training() {
            queries.push(query);
        }
    }
    if queries.is_empty() {
        return Err(bad(&args.queries, 0, "has no query, or none whose `split` is train"));
    }
    if !queries.iter().any(|query| outcomes.queries.position(&query.id).is_some()) {
        return Err(bad(&args.outcomes, 0, "has no outcome of any of the queries: no `query_id` in common"));
    }
    Ok(queries)
}
