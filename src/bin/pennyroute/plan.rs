//! `pennyroute plan`: the best assignment of a batch under constraints.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pennyroute::Result;
use pennyroute::eval::data::{
    EstimateTable, read_floors, read_groups, read_workloads, write_assignment, write_curve,
};
use pennyroute::eval::file::bad;
use pennyroute::optimize::{Groups, Options, Plan, Problem, Progress, Solver, Stage, Status};
use serde::Serialize;

use crate::setup::progress;
use crate::show;

#[derive(clap::Args)]
pub struct Args {
    /// Estimates: `query_id,model,quality,cost_usd`, csv or Parquet. A missing row is a forbidden pair.
    #[arg(long, value_name = "FILE")]
    estimates: PathBuf,
    #[command(flatten)]
    goal: Goal,
    /// Most queries per model, JSON `{"model": n}`; a model that is absent is unlimited.
    #[arg(long, value_name = "FILE")]
    workloads: Option<PathBuf>,
    /// Least mean quality per group, JSON `{"group": quality}`.
    #[arg(long, value_name = "FILE", requires = "groups")]
    floors: Option<PathBuf>,
    /// The group of each query, csv `query_id,group`.
    #[arg(long, value_name = "FILE", requires = "floors")]
    groups: Option<PathBuf>,
    /// Where the assignment goes: `query_id,model`; no rows if there is no plan.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Most steps, of some microseconds each, in the proof of the best plan (tried for up to 512 queries).
    #[arg(long, value_name = "STEPS", default_value_t = Options::default().work)]
    work: u64,
    /// Also write what quality costs under the workloads: csv `quality,cost_usd,lambda_usd`, means per
    /// query, from the cheapest plan to the best.
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
    /// Points of the curve.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "curve")]
    points: usize,
    /// Print the plan's figures as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Goal {
    /// Least mean quality of the batch, 0 to 1, at least cost.
    #[arg(long, value_name = "A")]
    quality: Option<f64>,
    /// Most that the batch may cost; alone, the plan is the one of highest quality.
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report {
    /// optimal, feasible or infeasible.
    status: &'static str,
    queries: usize,
    models: usize,
    cost_usd: Option<f64>,
    quality: Option<f64>,
    /// No plan costs less.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_usd: Option<f64>,
    /// Under a budget alone: no plan has a higher mean quality.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_quality: Option<f64>,
    gap: Option<f64>,
    /// More work might prove the plan, or find a better one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
    duals: Option<Duals>,
    /// Queries per model.
    assigned: BTreeMap<String, usize>,
    /// Why there is no plan.
    #[serde(flatten)]
    infeasible: Option<NoPlan>,
}

#[derive(Serialize)]
struct Duals {
    /// USD per 0.01 of mean quality.
    quality: f64,
    /// USD per slot.
    workloads: BTreeMap<String, f64>,
    /// USD per 0.01 of the group's mean quality.
    groups: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct NoPlan {
    code: &'static str,
    reason: String,
    /// The largest value of what was asked for that can be had.
    largest_feasible: f64,
    proven: bool,
}

/// Floors of groups, and the group of each query.
struct Floors {
    names: Vec<String>,
    least: Vec<f64>,
    of_query: Vec<u32>,
}

pub fn run(args: &Args) -> Result<()> {
    let bar = progress("reading estimates", None);
    let table = EstimateTable::read(&args.estimates)?;
    let (queries, models) = (table.queries.list(), table.models.list());
    let limits = args.workloads.as_deref().map(|path| limits(path, &table)).transpose()?;
    let floors = match (&args.floors, &args.groups) {
        (Some(floors), Some(groups)) => Some(group_floors(floors, groups, queries)?),
        _ => None,
    };
    bar.set_message("planning");
    let problem = Problem {
        quality_target: args.goal.quality,
        budget_usd: args.goal.budget,
        limits: limits.as_deref(),
        groups: floors.as_ref().map(|f| Groups { of_query: &f.of_query, floors: &f.least }),
        ..Problem::new(queries.len(), models.len(), &table.cost, &table.quality)
    };
    let mut solver = Solver::default();
    let mut tell = |progress: Progress| {
        bar.set_message(match progress.stage {
            Stage::Prices => "planning: prices".to_owned(),
            Stage::Relaxation => "planning: relaxation".to_owned(),
            Stage::Proof => format!("planning: proof, at most {} steps more", progress.work_left),
        });
        ControlFlow::Continue(())
    };
    let plan = solver.solve(&problem, Options { work: args.work, watch: Some(&mut tell) })?;
    let pairs = queries
        .iter()
        .zip(&plan.assignment)
        .map(|(query, &model)| (query.as_str(), models[model as usize].as_str()));
    write_assignment(&args.out, pairs)?;
    // Where the queries cannot even be placed there is no curve.
    let placed = plan
        .infeasible
        .as_ref()
        .is_none_or(|why| !matches!(why.code, "no_candidate" | "workload_total" | "workload_hall"));
    if let Some(path) = args.curve.as_ref().filter(|_| placed) {
        bar.set_message("drawing the curve");
        let points = solver.curve(&problem, args.points, Options::default())?;
        write_curve(path, &points)?;
    }
    bar.finish_and_clear();
    let report = report(args, &plan, models, queries.len(), limits.as_deref(), floors.as_ref());
    if args.json { show::json(&report) } else { summary(&report) }
}

/// The most queries of each model of the estimates, from a file of workloads.
pub fn limits(path: &Path, table: &EstimateTable) -> Result<Vec<u64>> {
    let workloads = read_workloads(path)?;
    if let Some(unknown) = workloads.keys().find(|model| table.models.position(model).is_none()) {
        return Err(bad(path, 0, format!("`{unknown}` is no model of the estimates")));
    }
    Ok(table.models.list().iter().map(|model| workloads.get(model).copied().unwrap_or(u64::MAX)).collect())
}

fn group_floors(floors_file: &Path, groups_file: &Path, queries: &[String]) -> Result<Floors> {
    let floors = read_floors(floors_file)?;
    let groups = read_groups(groups_file)?;
    let mut names: Vec<String> = floors.keys().cloned().collect();
    let mut least: Vec<f64> = floors.values().copied().collect();
    // Queries of no group, and of groups without a floor, share one that any plan meets.
    let free = names.len() as u32;
    names.push(String::new());
    least.push(0.0);
    let of_query: Vec<u32> = queries
        .iter()
        .map(|id| {
            groups
                .get(id)
                .and_then(|group| names[..free as usize].binary_search(group).ok())
                .map_or(free, |g| g as u32)
        })
        .collect();
    if let Some(empty) = (0..free).find(|g| !of_query.contains(g)) {
        return Err(bad(
            floors_file,
            0,
            format!("`{}` is the group of no query of the estimates", names[empty as usize]),
        ));
    }
    Ok(Floors { names, least, of_query })
}

fn report(
    args: &Args,
    plan: &Plan,
    models: &[String],
    queries: usize,
    limits: Option<&[u64]>,
    floors: Option<&Floors>,
) -> Report {
    let there = plan.status != Status::Infeasible;
    let mut assigned = BTreeMap::new();
    for &model in &plan.assignment {
        *assigned.entry(models[model as usize].clone()).or_insert(0) += 1;
    }
    let dual = |j: usize| plan.duals.workloads.get(j).copied().unwrap_or(0.0);
    let limited = (0..models.len()).filter(|&j| limits.is_some_and(|limits| limits[j] < u64::MAX));
    let group = |f: &Floors| -> BTreeMap<String, f64> {
        let duals = plan.duals.groups.iter().copied();
        f.names.iter().cloned().zip(duals).filter(|(name, _)| !name.is_empty()).collect()
    };
    let duals = Duals {
        quality: plan.duals.quality,
        workloads: limited.map(|j| (models[j].clone(), dual(j))).collect(),
        groups: floors.map(group).unwrap_or_default(),
    };
    let mirrored = args.goal.quality.is_none();
    Report {
        status: match plan.status {
            Status::Optimal => "optimal",
            Status::Feasible => "feasible",
            Status::Infeasible => "infeasible",
        },
        queries,
        models: models.len(),
        cost_usd: there.then_some(plan.cost_usd),
        quality: there.then_some(plan.quality),
        bound_usd: (there && !mirrored).then_some(plan.bound),
        bound_quality: (there && mirrored).then_some(plan.bound),
        gap: there.then_some(plan.gap),
        stopped: plan.stopped,
        duals: there.then_some(duals),
        assigned,
        infeasible: plan.infeasible.as_ref().map(|why| NoPlan {
            code: why.code,
            reason: why.reason.clone(),
            largest_feasible: why.largest,
            proven: why.proven,
        }),
    }
}

fn summary(report: &Report) -> Result<()> {
    if let Some(why) = &report.infeasible {
        let verdict = if why.proven { "infeasible" } else { "no plan found (not proven infeasible)" };
        show::line(&format!("{verdict}: {}", why.reason))?;
        return show::line(&format!("largest feasible value: {}", why.largest_feasible));
    }
    let (cost, quality) = (report.cost_usd.unwrap_or_default(), report.quality.unwrap_or_default());
    let bound = match (report.bound_usd, report.bound_quality) {
        (Some(usd), _) => format!("no plan costs less than {}", show::usd(usd)),
        (None, bound) => format!("no plan has a mean quality above {:.6}", bound.unwrap_or_default()),
    };
    show::line(&format!(
        "{}: {} queries for {} at a mean quality of {quality:.6}; {bound} (gap {:.1e})",
        report.status,
        report.queries,
        show::usd(cost),
        report.gap.unwrap_or_default()
    ))?;
    let duals = report.duals.as_ref();
    let slot = |model: &String| {
        duals.and_then(|d| d.workloads.get(model)).map_or(String::new(), |usd| show::usd(*usd))
    };
    let rows: Vec<_> =
        report.assigned.iter().map(|(model, n)| [model.clone(), n.to_string(), slot(model)]).collect();
    show::line(&show::table(&["model", "queries", "one slot more saves"], &rows))?;
    show::line(&format!("one point of mean quality costs {}", show::usd(duals.map_or(0.0, |d| d.quality))))?;
    if report.stopped {
        show::line("stopped at the work limit: a larger --work may prove this plan or find a better one")?;
    }
    Ok(())
}
