//! `pennyroute eval`: the router beside every baseline.

use std::path::PathBuf;

use pennyroute::Result;
use pennyroute::eval::data::{Outcomes, Queries, QueryRow};
use pennyroute::eval::{Contender, Evaluation, Inputs, NEIGHBORS, Point, Selection, evaluate, file, plot};

use crate::setup::{Globals, RouterArgs, progress};
use crate::show;

#[derive(clap::Args)]
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
    let queries: Vec<QueryRow> = Queries::open(&args.queries)?.collect::<Result<_>>()?;
    let outcomes = Outcomes::read(&args.outcomes)?;
    let bar = progress("queries looked at", None);
    let inputs = Inputs {
        queries: &queries,
        outcomes: &outcomes,
        queries_file: &args.queries,
        outcomes_file: &args.outcomes,
    };
    let selection = Selection { split: args.split.clone(), models: args.models.clone() };
    let evaluation = evaluate(&router, &inputs, &selection, now, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if let Some(path) = &args.plot {
        file::write(path, plot(&evaluation)?.as_bytes())?;
    }
    if args.json { show::json(&evaluation) } else { report(&evaluation) }
}

fn report(e: &Evaluation) -> Result<()> {
    show::line(&format!(
        "{} queries of `{}`, {} models; best single model {}: {:.2} % at ${:.3} per 1,000 queries",
        e.queries,
        e.split,
        e.constants.len(),
        e.best.model,
        100.0 * e.best.point.accuracy,
        e.best.point.cost
    ))?;
    if e.skipped_queries > 0 {
        show::line(&format!(
            "{} queries were skipped: not every compared model has an outcome",
            e.skipped_queries
        ))?;
    }
    if !e.left_out.is_empty() {
        show::line(&format!(
            "left out (not in the catalog, or tried on too few queries): {}",
            e.left_out.join(", ")
        ))?;
    }
    show::line(&format!("out of distribution: {:.1} % of the queries\n", 100.0 * e.out_of_distribution))?;

    let none = || "-".to_owned();
    let gains: Vec<String> = e.router.figures.gain.keys().cloned().collect();
    let row = |name: String, c: &Contender| -> [String; 11] {
        let f = &c.figures;
        let number = |value: Option<f64>, digits: usize| value.map_or_else(none, |v| format!("{v:.digits$}"));
        let signed = |value: Option<f64>| value.map_or_else(none, |v| format!("{v:+.2}"));
        let each: Vec<String> =
            gains.iter().map(|tick| signed(f.gain.get(tick).copied().flatten())).collect();
        let interval =
            c.mean_gain_interval.map_or(String::new(), |(low, high)| format!(" ({low:+.2} to {high:+.2})"));
        let rule =
            f.threshold_rule.values().next().map_or_else(none, |(a, c)| format!("{a:.1} % at ${c:.3}"));
        [
            name,
            number(f.auc, 4),
            format!("{:.2}", f.ece),
            each.join(" "),
            signed(f.mean_gain) + &interval,
            number(f.c95, 3),
            number(f.c100, 3),
            format!("{:.2}", f.peak),
            format!("{:.2}", f.alpha_dev),
            format!("{:.2}", f.alpha_short),
            rule,
        ]
    };
    let mut rows = vec![row("pennyroute".into(), &e.router)];
    rows.extend(e.knn.iter().map(|knn| row(format!("k-NN, k = {NEIGHBORS}"), knn)));
    let gain = format!(
        "gain at {}",
        gains.iter().map(|tick| format!("${}", tick.trim_end_matches(".0"))).collect::<Vec<_>>().join(" ")
    );
    let header = [
        "estimates",
        "AUC",
        "ECE",
        &gain,
        "mean gain (95 %)",
        "c95",
        "c100",
        "peak",
        "alpha dev",
        "short",
        "p >= 0.7",
    ];
    show::line(&show::table(header, &rows))?;
    if let Some(d) = &e.router_minus_knn {
        let (low, high) = d.interval;
        show::line(&format!("mean gain over k-NN: {:+.2} points ({low:+.2} to {high:+.2})", d.mean_gain))?;
    }
    if let Some(error) = e.router.tok_mape {
        show::line(&format!("output tokens: median error {error:.1} %"))?;
    }

    let on_hull = |point: &Point| if e.hull.contains(point) { "yes" } else { "" };
    let point = |name: &str, p: &Point, hull: &str| -> [String; 4] {
        [name.to_owned(), format!("{:.3}", p.cost), format!("{:.2}", 100.0 * p.accuracy), hull.to_owned()]
    };
    let mut rows: Vec<_> = e
        .constants
        .iter()
        .map(|c| point(&format!("always {}", c.model), &c.point, on_hull(&c.point)))
        .collect();
    rows.push(point("a random model", &e.random, ""));
    rows.push(point("oracle: the cheapest right model", &e.oracle, ""));
    show::line("")?;
    show::line(&show::table(["choice", "USD per 1,000", "accuracy %", "on the hull"], &rows))
}
