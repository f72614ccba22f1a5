//! The command line: files in, decisions, estimates, plans and figures out.
//!
//! Every command exits 0 on success (an infeasible plan is an answer) and 2 on bad input, with one
//! line on stderr that names the file, the line and the field. With `--json` the last line on stdout
//! is one JSON object.

mod abilities;
mod catalog;
mod embed;
mod eval;
mod fit;
mod index;
mod plan;
mod predict;
mod report;
mod route;
mod setup;
mod show;
mod simulate;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use setup::Globals;

/// Pick the cheapest capable LLM before the API call is made.
#[derive(Parser)]
#[command(name = "pennyroute", version, about)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decide which model one prompt or conversation should go to.
    Route(route::Args),
    /// Estimate quality, tokens and cost of every query on every model.
    Predict(predict::Args),
    /// Turn every query's text into a vector, by the transformer encoder.
    Embed(embed::Args),
    /// Assign a model to every query of a batch, optimally under constraints.
    Plan(plan::Args),
    /// Assign models to the same queries as a stream, and score it on recorded outcomes.
    Simulate(simulate::Args),
    /// Fit abilities and lengths of a catalog's models, new ones included, to recorded outcomes.
    Fit(fit::Args),
    /// Build a retrieval index from recorded outcomes.
    Index(index::Args),
    /// Import, check and compare catalogs.
    Catalog(catalog::Args),
    /// Compare the router with every baseline on recorded outcomes.
    Eval(eval::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if is_mistake(&error) => return fail(&usage(&error)),
        Err(help) => help.exit(),
    };
    let done = cli.globals.threads().and_then(|()| match &cli.command {
        Command::Route(args) => route::run(args, &cli.globals),
        Command::Predict(args) => predict::run(args, &cli.globals),
        Command::Embed(args) => embed::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Fit(args) => fit::run(args, &cli.globals),
        Command::Index(args) => index::run(args, &cli.globals),
        Command::Catalog(args) => catalog::run(args, &cli.globals),
        Command::Eval(args) => eval::run(args, &cli.globals),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(what: &str) -> ExitCode {
    eprintln!("pennyroute: {}", what.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(2)
}

/// Whether clap reports a mistake, and not that help was asked for.
fn is_mistake(error: &clap::Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// The first paragraph of clap's message; the usage below it is `--help`'s.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    format!("{} (see --help)", first.trim_start_matches("error: "))
}
