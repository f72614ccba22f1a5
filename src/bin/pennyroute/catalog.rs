//! `pennyroute catalog`: import, abilities, check, diff.

use std::path::PathBuf;

use pennyroute::eval::file::{self, bad};
use pennyroute::{Catalog, Error, Result, check, diff, from_dataset, from_litellm};
use serde_json::json;

use crate::abilities;
use crate::setup::{self, Globals};
use crate::show;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make a catalog from someone else's table; abilities known to the artifacts are attached.
    Import(Import),
    /// Give models abilities from published scores, or a prior by price where they have none.
    Abilities(abilities::Args),
    /// Say what is stale, retired, unpriced or contradictory.
    Check(Check),
    /// Say what changed from one catalog to another.
    Diff(Diff),
}

#[derive(clap::Args)]
struct Import {
    #[command(flatten)]
    table: Table,
    /// Where the catalog goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what became of the rows as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Table {
    /// `LiteLLM`'s `model_prices_and_context_window.json`, packed or not.
    #[arg(long, value_name = "FILE")]
    litellm: Option<PathBuf>,
    /// The data set's `models.json`.
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Check {
    /// The catalog. Default: the one among the artifacts.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as an option.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    catalog: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Diff {
    /// The earlier catalog.
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The later catalog.
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Print the changes as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    match &args.action {
        Action::Import(args) => import(args, globals),
        Action::Abilities(args) => abilities::run(args, globals),
        Action::Check(args) => check_one(args, globals),
        Action::Diff(args) => compare(args),
    }
}

fn import(args: &Import, globals: &Globals) -> Result<()> {
    let artifacts = globals.artifacts()?;
    let known = artifacts.parameters.abilities;
    let date = globals.now()?.date();
    let (path, imported) = match (&args.table.litellm, &args.table.dataset) {
        (Some(path), _) => (path, from_litellm(&file::read(path)?, &known, &format!("{date}-litellm"))),
        (None, Some(path)) => (path, from_dataset(&file::read(path)?, &known, &format!("{date}-dataset"))),
        (None, None) => return Err(Error::Internal { what: "no table to import".into() }),
    };
    let mut imported = imported.map_err(|e| bad(path, 0, e))?;
    if args.table.litellm.is_some()
        && let Some(shipped) = &artifacts.catalog
    {
        imported.attach(&Catalog::from_json(shipped)?);
    }
    setup::write_catalog(&args.out, &imported.catalog)?;
    if args.json { show::json(&imported) } else { show::line(&imported.to_string()) }
}

fn check_one(args: &Check, globals: &Globals) -> Result<()> {
    let catalog = match args.file.as_ref().or(args.catalog.as_ref()) {
        Some(path) => setup::catalog(path)?,
        None => match globals.artifacts()?.catalog {
            Some(json) => Catalog::from_json(&json)?,
            None => {
                return Err(Error::Artifact {
                    file: "manifest.json".into(),
                    what: "names no `catalog`".into(),
                });
            }
        },
    };
    let findings = check(&catalog, globals.now()?);
    let contradictions = findings.iter().filter(|finding| finding.contradictory).count();
    if args.json {
        return show::json(&json!({
            "version": catalog.version,
            "models": catalog.models.len(),
            "contradictions": contradictions,
            "findings": findings,
        }));
    }
    findings.iter().try_for_each(|finding| show::line(&finding.to_string()))?;
    let (models, found) = (catalog.models.len(), findings.len());
    show::line(&format!(
        "catalog {}: {models} models, {found} findings, {contradictions} contradictions",
        catalog.version
    ))
}

fn compare(args: &Diff) -> Result<()> {
    let diff = diff(&setup::catalog(&args.before)?, &setup::catalog(&args.after)?)?;
    if args.json { show::json(&diff) } else { show::line(&diff.to_string()) }
}
