//! `pennyroute fit`: abilities and lengths of a catalog's models from recorded outcomes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pennyroute::eval::data::{Names, OutcomeRow, Outcomes, Queries, QueryRow};
use pennyroute::eval::file::bad;
use pennyroute::{Catalog, Description, FittedModel, GradedAnswer, Result, Router};
use rayon::prelude::*;
use serde_json::json;

use crate::setup::{self, Embedder, EncoderArgs, Globals, progress};
use crate::show;

/// Queries in memory at once; of the others only what the predictor makes of them is kept.
const BATCH: usize = 4096;

#[derive(clap::Args)]
pub struct Args {
    /// Queries, jsonl or jsonl.gz: `query_id` and `text` or `messages`.
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Recorded outcomes, csv, csv.gz or Parquet: `query_id,model,correct`, optionally `output_tokens` (counted,
    /// not estimated). Where they or the queries have a `split`, only rows of `train` in both are used.
    #[arg(long, value_name = "FILE")]
    outcomes: PathBuf,
    /// The catalog; it has an entry for every model that is fitted.
    #[arg(long, value_name = "FILE")]
    catalog: PathBuf,
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Where the catalog goes with what was fitted.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Models to fit, by id. Default: all in the outcomes.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// Print what became of each model as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let catalog = setup::catalog(&args.catalog)?;
    let outcomes = Outcomes::read(&args.outcomes)?;
    let models = models(args, &catalog, &outcomes)?;
    let router = Router::new(globals.artifacts()?, Some(catalog)).map_err(|e| bad(&args.catalog, 0, e))?;

    let embedder = args.encoder.embedder(router.predictor().parameters())?;
    let (queries, described) = describe(args, &router, embedder.as_ref(), &outcomes, &models)?;
    let answers = answers(args, &outcomes, &models, &queries)?;
    let fitted = router.fit(models.list(), &described, &answers)?;
    setup::write_catalog(&args.out, &fitted.catalog)?;
    if args.json {
        return show::json(&json!({
            "outcomes": answers.len(),
            "queries": described.len(),
            "models": fitted.models.iter().map(summary).collect::<Vec<_>>(),
        }));
    }
    show::line(&table(&fitted.models))?;
    show::line(&format!("{} outcomes of {} queries", answers.len(), described.len()))
}

/// The models that are fitted, every one of them in the catalog.
fn models(args: &Args, catalog: &Catalog, outcomes: &Outcomes) -> Result<Names> {
    let mut names = Names::default();
    let used =
        |row: &&OutcomeRow| outcomes.splits[row.query as usize].as_deref().is_none_or(|s| s == "train");
    match &args.models {
        Some(models) => {
            for id in models {
                if catalog.position(id).is_none() {
                    return Err(bad(&args.catalog, 0, format!("has no model `{id}`, which --models names")));
                }
                names.intern(id);
            }
        }
        None => {
            for row in outcomes.rows.iter().filter(used) {
                let id = &outcomes.models.list()[row.model as usize];
                if catalog.position(id).is_none() {
                    let what = format!(
                        "column `model` is {id:?}, which {} does not have: add an entry for it, or name the models to fit with --models",
                        args.catalog.display()
                    );
                    return Err(bad(&args.outcomes, row.line, what));
                }
                names.intern(id);
            }
        }
    }
    Ok(names)
}

/// What became of a query of the file: its position among the described ones, or that it may not be learnt from.
type Positions = HashMap<String, Option<usize>>;

/// Describes the queries that have outcomes of `models` and may be learnt from.
fn describe(
    args: &Args,
    router: &Router,
    embedder: Option<&Embedder>,
    outcomes: &Outcomes,
    models: &Names,
) -> Result<(Positions, Vec<Description>)> {
    let fitted = |row: &&OutcomeRow| models.position(&outcomes.models.list()[row.model as usize]).is_some();
    let mut wanted = vec![false; outcomes.queries.list().len()];
    outcomes.rows.iter().filter(fitted).for_each(|row| wanted[row.query as usize] = true);

    let bar = progress("queries described", Some(wanted.iter().filter(|wanted| **wanted).count() as u64));
    let (mut positions, mut described) = (Positions::new(), Vec::new());
    let mut queries = Queries::open(&args.queries)?;
    loop {
        let batch = queries.by_ref().take(BATCH).collect::<Result<Vec<QueryRow>>>()?;
        if batch.is_empty() {
            break;
        }
        let mut learnt: Vec<QueryRow> = Vec::new();
        for query in batch {
            let Some(q) = outcomes.queries.position(&query.id).filter(|&q| wanted[q as usize]) else {
                continue;
            };
            let outcomes_train = outcomes.splits[q as usize].as_deref().is_none_or(|split| split == "train");
            let position = (outcomes_train && query.is_training()).then_some(described.len() + learnt.len());
            positions.insert(query.id.clone(), position);
            if position.is_some() {
                learnt.push(query);
            }
        }
        let one = |query: &mut QueryRow| {
            let embedded = embedder.map_or(Ok(()), |embedder| embedder.complete(query));
            let description = embedded.and_then(|()| router.describe(&query.request()));
            bar.inc(1);
            description.map_err(|e| bad(&args.queries, query.line, e))
        };
        described.extend(learnt.par_iter_mut().map(one).collect::<Result<Vec<_>>>()?);
    }
    bar.finish_and_clear();
    Ok((positions, described))
}

fn answers(
    args: &Args,
    outcomes: &Outcomes,
    models: &Names,
    queries: &Positions,
) -> Result<Vec<GradedAnswer>> {
    let mut answers = Vec::new();
    for row in &outcomes.rows {
        let Some(model) = models.position(&outcomes.models.list()[row.model as usize]) else { continue };
        let id = &outcomes.queries.list()[row.query as usize];
        let held_out = outcomes.splits[row.query as usize].as_deref().is_some_and(|split| split != "train");
        match queries.get(id) {
            Some(&Some(query)) => answers.push(GradedAnswer {
                query,
                model: model as usize,
                correct: row.correct,
                output_tokens: row.output_tokens,
            }),
            Some(None) => {}
            // Of what is not learnt from, the text need not be there.
            None if held_out => {}
            None => {
                let what =
                    format!("column `query_id` is {id:?}, which {} does not have", args.queries.display());
                return Err(bad(&args.outcomes, row.line, what));
            }
        }
    }
    if answers.is_empty() && args.models.is_none() {
        return Err(nothing(&args.outcomes));
    }
    Ok(answers)
}

fn nothing(path: &Path) -> pennyroute::Error {
    bad(path, 0, "has no outcome that may be learnt from: no `split` is train")
}

fn summary(fitted: &FittedModel) -> serde_json::Value {
    json!({
        "model": fitted.model,
        "outcomes": fitted.outcomes,
        "counted": fitted.counted,
        "prior": fitted.prior,
        "level_before": fitted.before.as_ref().map(|a| a.mean[0]),
        "level_sd_before": fitted.before.as_ref().map(|a| a.sd[0]),
        "level": fitted.ability.mean[0],
        "level_sd": fitted.ability.sd[0],
        "source": fitted.ability.source,
    })
}

fn table(models: &[FittedModel]) -> String {
    let level = |ability: &pennyroute::Ability| format!("{:.2} ± {:.2}", ability.mean[0], ability.sd[0]);
    let row = |m: &FittedModel| {
        [
            m.model.clone(),
            m.outcomes.to_string(),
            m.counted.to_string(),
            show::source(m.prior).to_owned(),
            m.before.as_ref().map_or_else(|| "-".to_owned(), level),
            level(&m.ability),
        ]
    };
    let rows: Vec<[String; 6]> = models.iter().map(row).collect();
    show::table(&["model", "outcomes", "counted", "prior", "level before", "level"], &rows)
}
