//! The experiment of ECCOS / OmniRouter (arXiv 2502.20576) on recorded outcomes: success and cost of
//! scheduling queries over 20 models of limited workload, by our optimizer and by the rules of others,
//! on three sets of estimates.
//!
//! **Estimates.** ECCOS-T is the trained predictor alone, ECCOS-R the nearest training queries alone,
//! hybrid the blend that ships. Output lengths are the trained predictor's under each.
//!
//! **Workloads.** `even`: `L_j = ⌈1.25·N/M⌉`. `skewed`: 1.25·N slots in geometric shares, each model
//! having 0.9 of the slots of the next weaker one (by success on the training queries): rate limits
//! are tightest where the models are best, which is when scheduling matters.
//!
//! **Policies.** Ours plans all queries at once, in batches of 256, 64 and 16, and one by one (with
//! prices from the estimates of the validation queries to start with); the rules take them one by one,
//! with α as the threshold. `oracle` plans on the outcomes themselves. Figures are means over seeded
//! orders, with their standard deviation; success and cost are those recorded, not those expected.
//!
//! **Against existing methods.** The best existing method is, per workload, α and set of estimates,
//! the cheapest rule whose success reaches α, or the most successful one if none does (marked `*`).
//! Ours, all at once, is compared with it and with every other rule at the same α; at the mean quality
//! that the rule expects of its own schedule; and at the cost that it expects: points of success, with
//! the standard error paired by query, and percent of cost.
//!
//! **Time.** Scheduling is the CPU time of estimating and planning, per query, on one thread. Response
//! time is not recorded: it is taken to be the recorded output tokens at 50 tokens per second.
//!
//! The last line is one JSON object. Needs the data set beside the checkout.
//!
//! `cargo bench --profile dev --bench schedule [-- even|skewed]`

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use pennyroute::eval::data::{Chances, Outcomes, Queries, QueryRow};
use pennyroute::eval::records;
use pennyroute::eval::schedule::{Expected, Rule, by_rule, in_batches, one_by_one};
use pennyroute::optimize::{Problem, solve};
use pennyroute::retrieve::{Backend, Index};
use pennyroute::{Artifacts, Estimator, Moment, Result, RetrievalParameters, Router, from_dataset};
use serde_json::{Map, Value, json};

const TARGETS: [f64; 4] = [0.70, 0.75, 0.80, 0.85];
/// Orders that figures are averaged over.
const ORDERS: u64 = 5;
/// Slots per query.
const SLACK: f64 = 1.25;
/// Slots of a model over those of the next weaker one, where workloads are skewed.
const SKEW: f64 = 0.9;
/// Assumed speed of every model.
const TOKENS_PER_SECOND: f64 = 50.0;

/// A way to schedule.
#[derive(Clone, Copy, PartialEq)]
enum Policy {
    /// In batches of at most so many queries.
    Batches(usize),
    /// Each query as it comes, by prices.
    Stream,
    /// Each query as it comes, by a rule of others.
    Rule(Rule),
}

const OURS: [Policy; 5] = [
    Policy::Batches(usize::MAX),
    Policy::Batches(256),
    Policy::Batches(64),
    Policy::Batches(16),
    Policy::Stream,
];

/// What ours is compared at, see `Against`.
const COMPARED: [&str; 3] = ["the same target", "its expected quality", "its expected cost"];

/// One set of estimates.
struct Estimates {
    name: &'static str,
    /// Of the queries to schedule.
    test: Expected,
    /// Of past queries.
    past: Expected,
    /// CPU time of estimating a query for every model, seconds.
    seconds: f64,
}

/// What schedules of the same queries brought, in several orders.
#[derive(Default)]
struct Brought {
    success: Vec<f64>,
    /// USD per 1,000 queries.
    cost: Vec<f64>,
    /// CPU seconds per query.
    planning: Vec<f64>,
    /// Seconds per query.
    response: Vec<f64>,
    /// Success per query, summed over the orders.
    of_query: Vec<f64>,
    expected_quality: Vec<f64>,
    /// USD for all queries.
    expected_cost: Vec<f64>,
}

/// Every policy under one workload at one target.
struct Block {
    workload: &'static str,
    target: f64,
    oracle: Brought,
    sets: Vec<Set>,
}

/// Every policy on one set of estimates.
struct Set {
    name: &'static str,
    brought: Vec<(Policy, Brought)>,
    against: Vec<Against>,
    /// The best existing method, a position in `against`.
    best: usize,
}

/// Ours against one rule: at the same target, at the quality and at the cost that the rule expects of
/// its own schedule.
struct Against {
    rule: Rule,
    gains: [Gain; 3],
}

/// What ours brings over another schedule.
struct Gain {
    /// Success, points, and the standard error of the difference, paired by query.
    points: f64,
    error: f64,
    /// Percent of its success and of its cost.
    success: f64,
    cost: f64,
}

fn main() -> Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.is_dir() {
        println!("skipped: {} is missing", data.display());
        println!("{}", json!({ "bench": "schedule", "skipped": true }));
        return Ok(());
    }
    let experiment = Experiment::open(&data)?;
    let (n, m) = (experiment.truth.queries(), experiment.truth.models);
    println!("{n} queries, {m} models, {ORDERS} orders; success in percent, cost in USD per 1,000 queries");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut blocks = Vec::new();
    for (workload, limits) in experiment.workloads() {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == workload) {
            continue;
        }
        for target in TARGETS {
            let block = experiment.block(workload, &limits, target)?;
            block.print();
            blocks.push(block);
        }
    }
    let rows: Vec<Value> = blocks.iter().map(Block::json).collect();
    let summary: Vec<Value> =
        experiment.estimates.iter().enumerate().map(|(which, e)| summary(which, e, &blocks)).collect();
    println!(
        "{}",
        json!({
            "bench": "schedule", "queries": n, "models": m, "orders": ORDERS,
            "tokens_per_second": TOKENS_PER_SECOND, "rows": rows, "summary": summary,
        })
    );
    Ok(())
}

/// The three figures of the paper for one set of estimates: gains over the best existing methods and
/// scheduling time, means over the blocks.
fn summary(which: usize, estimates: &Estimates, blocks: &[Block]) -> Value {
    let sets: Vec<&Set> = blocks.iter().map(|block| &block.sets[which]).collect();
    let over = |value: &dyn Fn(&Set) -> f64| mean(&sets.iter().map(|set| value(set)).collect::<Vec<_>>());
    println!(
        "\n{}: ours against the best existing method, mean of {} comparisons",
        estimates.name,
        sets.len()
    );
    let mut gains = Vec::new();
    for (at, name) in COMPARED.iter().enumerate() {
        let gain = |value: &dyn Fn(&Gain) -> f64| over(&|set: &Set| value(&set.against[set.best].gains[at]));
        let (points, success, cost) = (gain(&|g| g.points), gain(&|g| g.success), gain(&|g| g.cost));
        println!("  at {name:<22} success {points:+.2} points ({success:+.2} %), cost {cost:+.1} %");
        gains.push(json!({
            "at": name, "success_points": points, "success_percent": success, "cost_percent": cost,
        }));
    }
    let mut times = Vec::new();
    for (line, policy) in OURS.iter().enumerate() {
        let seconds = estimates.seconds + over(&|set: &Set| mean(&set.brought[line].1.planning));
        let response = over(&|set: &Set| mean(&set.brought[line].1.response));
        let (us, percent) = (1e6 * seconds, 100.0 * seconds / response);
        println!(
            "  {:<25} {us:.0} us per query to schedule ({:.0} to estimate), {percent:.4} % of {response:.1} s",
            policy.name(),
            1e6 * estimates.seconds
        );
        times.push(json!({
            "policy": policy.name(), "scheduling_us": us, "response_s": response, "percent": percent,
        }));
    }
    json!({
        "estimates": estimates.name, "estimate_us": 1e6 * estimates.seconds,
        "against_best_existing": gains, "time": times,
    })
}

struct Experiment {
    /// What was recorded, laid out like what is expected.
    truth: Expected,
    /// Success on the training queries, per model.
    ability: Vec<f64>,
    estimates: Vec<Estimates>,
}

impl Experiment {
    fn open(data: &Path) -> Result<Self> {
        let now = Moment::parse("2026-11-20T12:00:00Z")?;
        let read = |path: &Path| std::fs::read(path).expect("a file of the checkout or the data set");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let artifacts = Artifacts::open(&read(&folder.join("manifest.json")), |file| {
            std::fs::read(folder.join(file)).ok()
        })?;
        let catalog =
            from_dataset(&read(&data.join("models.json")), &artifacts.parameters.abilities, "data")?.catalog;
        let file = data.join("queries_core.jsonl.gz");
        let queries: Vec<QueryRow> = Queries::open(&file)?.collect::<Result<_>>()?;
        let outcomes = Outcomes::read(&data.join("outcomes_core.parquet"))?;
        let mut models = outcomes.models.list().to_vec();
        models.sort();
        let of = |split: &str| -> Vec<QueryRow> {
            queries.iter().filter(|q| q.split.as_deref() == Some(split)).cloned().collect()
        };
        let (train, validation, test) = (of("train"), of("validation"), of("test"));
        let (truth, trained) = (recorded(&outcomes, &test, &models), recorded(&outcomes, &train, &models));
        let m = models.len();
        let mean = |j: usize| trained.quality.iter().skip(j).step_by(m).sum::<f64>() / train.len() as f64;

        // The index of retrieval alone is built against what is expected of a model on any query. How far
        // neighbors are trusted has the least cross-entropy on the validation queries, as in the blend.
        let mut bare = Artifacts { index: None, ..artifacts.clone() };
        bare.parameters.retrieval = RetrievalParameters {
            temperature: 0.3,
            shrink_query: 1.0,
            shrink_model: 16.0,
            ..bare.parameters.retrieval
        };
        let mut retrieval = Router::new(bare, Some(catalog.clone()))?;
        let (any, _) = expected(&retrieval, Estimator::Retrieved, &train[..1], &models, now)?;
        let means: HashMap<String, f64> = models.iter().cloned().zip(any.quality).collect();
        let chances: Chances = train.iter().map(|query| (query.id.clone(), means.clone())).collect();
        let (names, records) = records(retrieval.predictor(), &train, &outcomes, &chances, &file, &|| ())?;
        let dimensions = artifacts.parameters.dimensions;
        let index = Index::build(names, dimensions, &records, Backend::choose(records.len()))?;
        retrieval.set_index(&index.to_bytes()?, "training queries".into())?;

        let shipped = Router::new(artifacts, Some(catalog))?;
        let mut estimates = Vec::new();
        for (name, router, estimator) in [
            ("ECCOS-T", &shipped, Estimator::Trained),
            ("ECCOS-R", &retrieval, Estimator::Retrieved),
            ("hybrid", &shipped, Estimator::Blend),
        ] {
            let (past, _) = expected(router, estimator, &validation, &models, now)?;
            let (test, seconds) = expected(router, estimator, &test, &models, now)?;
            estimates.push(Estimates { name, test, past, seconds });
        }
        Ok(Experiment { ability: (0..m).map(mean).collect(), truth, estimates })
    }

    fn workloads(&self) -> [(&'static str, Vec<u64>); 2] {
        let (n, m) = (self.truth.queries() as f64, self.truth.models);
        let mut weakest_first: Vec<usize> = (0..m).collect();
        weakest_first.sort_by(|&a, &b| self.ability[a].total_cmp(&self.ability[b]));
        let mut shares = vec![0.0; m];
        for (rank, j) in weakest_first.into_iter().enumerate() {
            shares[j] = SKEW.powi(rank as i32);
        }
        let whole: f64 = shares.iter().sum();
        let slots = |share: f64| (SLACK * n * share).ceil() as u64;
        let skewed = shares.iter().map(|share| slots(share / whole)).collect();
        [("even", vec![slots(1.0 / m as f64); m]), ("skewed", skewed)]
    }

    /// Every policy under one workload at one target.
    fn block(&self, workload: &'static str, limits: &[u64], target: f64) -> Result<Block> {
        let oracle = self.run(Policy::Batches(usize::MAX), &self.truth, &self.truth, limits, target)?;
        let set = |e: &Estimates| {
            let run = |policy: Policy| Ok((policy, self.run(policy, &e.test, &e.past, limits, target)?));
            let policies = OURS.into_iter().chain(Rule::ALL.map(Policy::Rule));
            let brought = policies.map(run).collect::<Result<Vec<_>>>()?;
            let against = self.against(e, &brought, limits)?;
            Ok(Set { name: e.name, best: best_existing(&brought[OURS.len()..], target), brought, against })
        };
        let sets = self.estimates.iter().map(set).collect::<Result<Vec<_>>>()?;
        Ok(Block { workload, target, oracle, sets })
    }

    /// Ours, all at once, beside every rule on one set of estimates.
    fn against(
        &self,
        estimates: &Estimates,
        brought: &[(Policy, Brought)],
        limits: &[u64],
    ) -> Result<Vec<Against>> {
        let everything: Vec<usize> = (0..self.truth.queries()).collect();
        let alone = |schedule: &[usize]| {
            let mut brought = Brought::default();
            brought.add(&self.truth, &estimates.test, &everything, schedule, 0.0);
            brought
        };
        let ours = &brought[0].1;
        let mut against = Vec::new();
        for (policy, theirs) in brought {
            let Policy::Rule(rule) = *policy else { continue };
            let (quality, cost) = (mean(&theirs.expected_quality), mean(&theirs.expected_cost));
            let at_quality = in_batches(&estimates.test, &everything, limits, quality, usize::MAX)?;
            let at_cost = most_quality(&estimates.test, limits, cost)?;
            against.push(Against {
                rule,
                gains: [
                    Gain::new(ours, theirs),
                    Gain::new(&alone(&at_quality), theirs),
                    Gain::new(&alone(&at_cost), theirs),
                ],
            });
        }
        Ok(against)
    }

    /// Schedules the queries in every order.
    fn run(
        &self,
        policy: Policy,
        expected: &Expected,
        past: &Expected,
        limits: &[u64],
        target: f64,
    ) -> Result<Brought> {
        let mut brought = Brought::default();
        // Planned together, the order does not matter.
        let orders = if policy == Policy::Batches(usize::MAX) { 1 } else { ORDERS };
        for seed in 0..orders {
            let order = shuffled(expected.queries(), seed);
            let start = cpu_seconds();
            let schedule = match policy {
                Policy::Batches(size) => in_batches(expected, &order, limits, target, size)?,
                Policy::Stream => one_by_one(expected, &order, limits, target, past)?,
                Policy::Rule(rule) => by_rule(expected, &order, limits, rule, target)?,
            };
            brought.add(&self.truth, expected, &order, &schedule, cpu_seconds() - start);
        }
        Ok(brought)
    }
}

impl Policy {
    fn name(self) -> String {
        match self {
            Policy::Batches(usize::MAX) => "ours, all at once".into(),
            Policy::Batches(size) => format!("ours, by {size}"),
            Policy::Stream => "ours, one by one".into(),
            Policy::Rule(rule) => rule.name().into(),
        }
    }
}

impl Brought {
    fn add(
        &mut self,
        truth: &Expected,
        expected: &Expected,
        order: &[usize],
        schedule: &[usize],
        seconds: f64,
    ) {
        let n = order.len() as f64;
        let at = |(&i, &j): (&usize, &usize)| i * truth.models + j;
        let sum = |values: &[f64]| order.iter().zip(schedule).map(|pair| values[at(pair)]).sum::<f64>();
        self.success.push(sum(&truth.quality) / n);
        self.cost.push(sum(&truth.cost) / n * 1e3);
        self.planning.push(seconds / n);
        self.response.push(sum(&truth.output_tokens) / n / TOKENS_PER_SECOND);
        self.expected_quality.push(sum(&expected.quality) / n);
        self.expected_cost.push(sum(&expected.cost));
        self.of_query.resize(truth.queries(), 0.0);
        for pair in order.iter().zip(schedule) {
            self.of_query[*pair.0] += truth.quality[at(pair)];
        }
    }

    fn expectation(&self) -> String {
        let thousand = 1e3 / self.of_query.len() as f64;
        let (success, cost) = (100.0 * mean(&self.expected_quality), thousand * mean(&self.expected_cost));
        format!("{success:.2}        ${cost:.3}        ")
    }

    fn cell(&self) -> String {
        let (success, cost) = (100.0 * mean(&self.success), mean(&self.cost));
        if self.success.len() == 1 {
            return format!("{success:.2}        ${cost:.3}        ");
        }
        let (success_sd, cost_sd) = (100.0 * deviation(&self.success), deviation(&self.cost));
        format!("{success:.2} ± {success_sd:.2}  ${cost:.3} ± {cost_sd:.3}")
    }

    fn json(&self) -> Value {
        json!({
            "success": mean(&self.success), "success_sd": deviation(&self.success),
            "expected_success": mean(&self.expected_quality),
            "usd_per_1000": mean(&self.cost), "usd_per_1000_sd": deviation(&self.cost),
            "planning_us": 1e6 * mean(&self.planning), "response_s": mean(&self.response),
        })
    }
}

impl Gain {
    fn new(ours: &Brought, theirs: &Brought) -> Self {
        let share = |b: &Brought, i: usize| b.of_query[i] / b.success.len() as f64;
        let difference = |i: usize| share(ours, i) - share(theirs, i);
        let differences: Vec<f64> = (0..ours.of_query.len()).map(difference).collect();
        let more = mean(&differences);
        Gain {
            points: 100.0 * more,
            error: 100.0 * deviation(&differences) / (differences.len() as f64).sqrt(),
            success: 100.0 * more / mean(&theirs.success),
            cost: 100.0 * (mean(&ours.cost) / mean(&theirs.cost) - 1.0),
        }
    }

    fn cell(&self) -> String {
        format!("{:+.2} ± {:.2}, {:+.1} %", self.points, self.error, self.cost)
    }
}

impl Block {
    /// Policies by line and sets of estimates by column, then the comparisons.
    fn print(&self) {
        println!("\n{} workloads, target {:.2}", self.workload, self.target);
        let by_set = |label: &str, cell: &dyn Fn(&Set) -> String| row(label, self.sets.iter().map(cell));
        by_set("", &|set| set.name.to_owned());
        by_set("(ours, all at once, expects)", &|set| set.brought[0].1.expectation());
        for (line, (policy, _)) in self.sets[0].brought.iter().enumerate() {
            by_set(&policy.name(), &|set| set.brought[line].1.cell());
        }
        row("oracle", [self.oracle.cell()].into_iter());
        for set in &self.sets {
            let compared = COMPARED.iter().map(|name| (*name).to_owned());
            row(&format!("{}, ours all at once, at", set.name), compared);
            for (which, against) in set.against.iter().enumerate() {
                let mark = if which == set.best { "*" } else { "" };
                let label = format!("  against {}{mark}", against.rule.name());
                row(&label, against.gains.iter().map(Gain::cell));
            }
        }
    }

    fn json(&self) -> Value {
        let gain = |gain: &Gain| {
            json!({
                "success_points": gain.points, "paired_error_points": gain.error,
                "success_percent": gain.success, "cost_percent": gain.cost,
            })
        };
        let against = |against: &Against| {
            let gains: Vec<Value> = against.gains.iter().map(gain).collect();
            json!({ "rule": against.rule.name(), "gains": gains })
        };
        let set = |set: &Set| {
            let brought = |(policy, brought): &(Policy, Brought)| (policy.name(), brought.json());
            json!({
                "estimates": set.name, "policies": set.brought.iter().map(brought).collect::<Map<_, _>>(),
                "against": set.against.iter().map(against).collect::<Vec<_>>(),
                "best_existing": set.against[set.best].rule.name(),
            })
        };
        json!({
            "workload": self.workload, "target": self.target, "oracle": self.oracle.json(),
            "sets": self.sets.iter().map(set).collect::<Vec<_>>(),
        })
    }
}

/// Prints a row of a table.
fn row(label: &str, cells: impl Iterator<Item = String>) {
    print!("{label:<32}");
    cells.for_each(|cell| print!("{cell:>30}"));
    println!();
}

/// The best existing method among those of a set: the cheapest that reaches the target, or the most
/// successful one.
fn best_existing(rules: &[(Policy, Brought)], target: f64) -> usize {
    let (success, cost) = (|i: usize| mean(&rules[i].1.success), |i: usize| mean(&rules[i].1.cost));
    let better = |a: usize, b: usize| match (success(a) >= target, success(b) >= target) {
        (true, true) => cost(a) < cost(b),
        (false, false) => success(a) > success(b),
        (reaches, _) => reaches,
    };
    (1..rules.len()).fold(0, |best, i| if better(i, best) { i } else { best })
}

/// What is expected of every query on every model, and the CPU seconds that a query took.
fn expected(
    router: &Router,
    estimator: Estimator,
    queries: &[QueryRow],
    models: &[String],
    now: Moment,
) -> Result<(Expected, f64)> {
    let columns: Vec<Option<usize>> = models.iter().map(|name| router.catalog().position(name)).collect();
    let mut expected = Expected { models: models.len(), ..Expected::default() };
    let start = cpu_seconds();
    let estimate = |query: &QueryRow| router.estimate_by(estimator, &query.request(), now);
    let estimates: Vec<_> = queries.iter().map(estimate).collect::<Result<_>>()?;
    let seconds = cpu_seconds() - start;
    for of_query in estimates {
        for column in &columns {
            let estimate = of_query.models.iter().find(|e| Some(e.model) == *column);
            let estimate = estimate.expect("every model of the data set has a price and an ability");
            expected.quality.push(estimate.quality.estimate);
            expected.cost.push(estimate.cost_usd.estimate);
            expected.output_tokens.push(estimate.output_tokens.estimate);
        }
    }
    Ok((expected, seconds / queries.len() as f64))
}

/// What was recorded of every query on every model.
fn recorded(outcomes: &Outcomes, queries: &[QueryRow], models: &[String]) -> Expected {
    let rows: HashMap<(u32, u32), _> =
        outcomes.rows.iter().map(|row| ((row.query, row.model), row)).collect();
    let mut recorded = Expected { models: models.len(), ..Expected::default() };
    for query in queries {
        for model in models {
            let pair = outcomes.queries.position(&query.id).zip(outcomes.models.position(model));
            let row = pair.and_then(|pair| rows.get(&pair)).expect("the core has every cell");
            recorded.quality.push(row.correct);
            recorded.cost.push(row.cost_usd.expect("the core has every cost"));
            recorded.output_tokens.push(row.output_tokens_est.expect("the core has every length"));
        }
    }
    recorded
}

/// The most quality for an expected cost of all queries.
fn most_quality(expected: &Expected, limits: &[u64], budget: f64) -> Result<Vec<usize>> {
    let all: Vec<usize> = (0..expected.queries()).collect();
    let (cost, quality) = expected.matrices(&all);
    let batch = Problem::new(all.len(), expected.models, &cost, &quality);
    let plan = solve(&Problem { limits: Some(limits), budget_usd: Some(budget), ..batch })?;
    Ok(plan.assignment.into_iter().map(|j| j as usize).collect())
}

/// The numbers below n in an order that depends on the seed (Fisher–Yates).
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % end as u64) as usize
    };
    let mut order: Vec<usize> = (0..n).collect();
    (1..n).rev().for_each(|i| order.swap(i, below(i + 1)));
    order
}

/// CPU seconds of this thread so far; wall seconds where the system does not say.
fn cpu_seconds() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation; 0 of a single value.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}
