//! How close a stream comes to the plan of someone who knew every query beforehand.
//!
//! Seeded traffic with the distributions of `optimizer-bench` (logistic qualities, prices over three
//! orders of magnitude, workloads with a quarter to spare, a target 60 % of the way from the cheapest
//! plan to the best). Twenty random orders, five of each of four instances (of long streams under drift,
//! one of each); a row gives
//!
//! - cost over the bound of the offline optimum at the mean quality that the stream reached (under a
//!   budget alone, its quality over that of the offline optimum for the same budget), mean and worst;
//! - shortfall against the target, mean of what is below it and worst (negative: above);
//! - queries rejected, and microseconds per query with every re-solve included.
//!
//! It starts `cold`, with the `prices` of 500 other queries of the same traffic, or with those queries
//! as a `sample`. Under drift, half-way through, all prices double, the most used model with at most a
//! quarter of the workload disappears, or queries become harder by 0.7 standard deviations; the target
//! then lies 60 % of the way for the queries as they come. Every run checks workloads and budget. The
//! last line is one JSON object.
//!
//! `cargo bench --profile dev --bench stream [-- ORDERS [1000|10000|budget|drift|none]…]`

use std::hint::black_box;
use std::time::Instant;

use pennyroute::optimize::stream::{Horizon, Prices, Stream, Terms};
use pennyroute::optimize::{Plan, Problem, Status, solve};

const M: usize = 10;
const INSTANCES: u64 = 4;
const SAMPLE: usize = 500;

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box–Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.unit() * (i + 1) as f64) as usize);
        }
    }
}

/// One query: a cost and a quality per model.
#[derive(Clone)]
struct Row {
    cost: Vec<f64>,
    quality: Vec<f64>,
}

struct Model {
    price_in: f64,
    price_out: f64,
    ability: f64,
    verbosity: f64,
    share: f64,
}

/// Models with fixed prices and abilities, and an endless supply of queries.
struct Traffic {
    models: Vec<Model>,
    random: Random,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        let mut r = Random(7700 + seed);
        let mut rank: Vec<f64> = (0..M).map(|j| j as f64 / (M - 1) as f64 + 0.08 * r.normal()).collect();
        rank.sort_by(f64::total_cmp);
        let (first, last) = (rank[0], rank[M - 1]);
        let mut models: Vec<Model> = rank
            .iter()
            .map(|rank| {
                let rank = (rank - first) / (last - first);
                let price_out = 10f64.powf(0.05f64.log10() + 3.0 * rank) * 1e-6;
                Model {
                    price_out,
                    price_in: price_out * (0.2 + 0.15 * r.unit()),
                    ability: -0.9 + 3.2 * rank + 0.25 * r.normal(),
                    verbosity: (0.3 * r.normal()).exp(),
                    share: 0.0,
                }
            })
            .collect();
        // Gamma(3): shares as a Dirichlet distribution gives them.
        let shares: Vec<f64> = (0..M).map(|_| -(r.unit() * r.unit() * r.unit()).ln()).collect();
        let whole: f64 = shares.iter().sum();
        for (model, share) in models.iter_mut().zip(shares) {
            model.share = share / whole;
        }
        Traffic { models, random: r }
    }

    fn queries(&mut self, n: usize, harder: f64) -> Vec<Row> {
        let r = &mut self.random;
        let mut query = |_| {
            let difficulty = r.normal() + harder;
            let input = (5.5 + r.normal()).exp();
            let output = (5.0 + 0.7 * r.normal() + 0.25 * difficulty).exp();
            let (mut cost, mut quality) = (Vec::new(), Vec::new());
            for model in &self.models {
                let logit = 1.3 * (model.ability - difficulty) + 0.6 * r.normal();
                quality.push(1.0 / (1.0 + (-logit).exp()));
                let tokens = output * model.verbosity * (0.25 * r.normal()).exp();
                cost.push(model.price_in * input + model.price_out * tokens);
            }
            Row { cost, quality }
        };
        (0..n).map(&mut query).collect()
    }

    fn limits(&self, n: usize) -> Vec<u64> {
        self.models.iter().map(|model| (1.25 * n as f64 * model.share).ceil() as u64).collect()
    }
}

/// Rows as model-major matrices.
struct Matrices {
    n: usize,
    cost: Vec<f64>,
    quality: Vec<f64>,
}

impl Matrices {
    fn new(rows: &[Row]) -> Self {
        let all = |of: fn(&Row, usize) -> f64| {
            (0..M).flat_map(|j| rows.iter().map(move |row| of(row, j))).collect()
        };
        Matrices { n: rows.len(), cost: all(|row, j| row.cost[j]), quality: all(|row, j| row.quality[j]) }
    }

    fn problem<'a>(&'a self, limits: &'a [u64]) -> Problem<'a> {
        Problem { limits: Some(limits), ..Problem::new(self.n, M, &self.cost, &self.quality) }
    }

    /// A target 60 % of the way from the cheapest plan to the best, and a budget 10 % of the way.
    fn goals(&self, limits: &[u64]) -> (f64, f64) {
        let cheapest = solved(&self.problem(limits));
        let error = |(c, p): (&f64, &f64)| if c.is_finite() { 1.0 - p } else { f64::INFINITY };
        let errors: Vec<f64> = self.cost.iter().zip(&self.quality).map(error).collect();
        let best = solved(&Problem { cost: &errors, ..self.problem(limits) });
        let cost: f64 =
            best.assignment.iter().enumerate().map(|(i, &j)| self.cost[j as usize * self.n + i]).sum();
        (
            cheapest.quality + 0.6 * (best.quality - cheapest.quality),
            cheapest.cost_usd + 0.1 * (cost - cheapest.cost_usd),
        )
    }
}

fn solved(problem: &Problem) -> Plan {
    let plan = solve(problem).expect("valid");
    assert_ne!(plan.status, Status::Infeasible, "{:?}", plan.infeasible);
    plan
}

#[derive(Clone, Copy, PartialEq)]
enum Start {
    Cold,
    Prices,
    Sample,
}

/// What one stream did.
struct Run {
    cost: f64,
    quality: f64,
    rejected: u64,
    seconds: f64,
}

fn run(terms: &Terms, rows: &[Row], start: Start, sample: &[Row]) -> Run {
    let mut stream = Stream::new(terms.clone()).expect("valid");
    let known = Matrices::new(sample);
    if start == Start::Sample {
        stream.observe(known.n, &known.cost, &known.quality).expect("valid");
    }
    if start == Start::Prices {
        // Those of the sample at the same rates of workloads and budget.
        let scale = known.n as f64 / rows.len() as f64;
        let limits = terms.limits.as_ref().expect("limited");
        let limits: Vec<u64> = limits.iter().map(|&l| (l as f64 * scale).ceil() as u64).collect();
        let plan = solved(&Problem {
            quality_target: terms.quality_target,
            budget_usd: terms.budget_usd.map(|budget| budget * scale),
            ..known.problem(&limits)
        });
        let lambda = plan.duals.quality / (0.01 * known.n as f64);
        stream.start_at(Prices { quality: lambda, workloads: plan.duals.workloads }, 100).expect("valid");
    }
    let (mut cost, mut quality) = (0.0, 0.0);
    let begin = Instant::now();
    for row in rows {
        if let Some(j) = stream.choose(&row.cost, &row.quality).expect("valid") {
            cost += row.cost[j];
            quality += row.quality[j];
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let limits = terms.limits.as_ref().expect("limited");
    assert!(stream.used().iter().zip(limits).all(|(used, limit)| used <= limit), "a workload is exceeded");
    assert!(terms.budget_usd.is_none_or(|budget| cost <= budget * (1.0 + 1e-12)), "the budget is exceeded");
    Run { cost, quality: quality / rows.len() as f64, rejected: stream.rejected(), seconds }
}

/// Figures over several runs.
#[derive(Default)]
struct Table {
    results: Vec<String>,
}

impl Table {
    fn header() {
        println!(
            "{:>16} {:>6} {:>7} {:>7}  {:>7} {:>7}  {:>8} {:>8}  {:>8} {:>9}",
            "kind", "N", "start", "orders", "ratio", "worst", "short", "worst", "rejected", "us/query"
        );
    }

    /// `runs`: ratio to the offline optimum, shortfall, and what was done.
    fn row(&mut self, kind: &str, n: usize, start: Start, runs: &[(f64, f64, Run)]) {
        let start = match start {
            Start::Cold => "cold",
            Start::Prices => "prices",
            Start::Sample => "sample",
        };
        let count = runs.len() as f64;
        let ratio = runs.iter().map(|run| run.0).sum::<f64>() / count;
        // Quality over the optimum's is worst where it is least.
        let worst_ratio = runs.iter().map(|run| run.0).fold(ratio, |worst, ratio| match kind {
            "budget" => worst.min(ratio),
            _ => worst.max(ratio),
        });
        let short = runs.iter().map(|run| run.1.max(0.0)).sum::<f64>() / count;
        let worst = runs.iter().map(|run| run.1).fold(f64::NEG_INFINITY, f64::max);
        let rejected: u64 = runs.iter().map(|run| run.2.rejected).sum();
        let micros = 1e6 * runs.iter().map(|run| run.2.seconds).sum::<f64>() / (count * n as f64);
        println!(
            "{kind:>16} {n:>6} {start:>7} {:>7}  {ratio:>7.4} {worst_ratio:>7.4}  {short:>8.5} {worst:>8.5}  {rejected:>8} {micros:>9.1}",
            runs.len()
        );
        self.results.push(format!(
            "{{\"kind\":\"{kind}\",\"queries\":{n},\"start\":\"{start}\",\"orders\":{},\"ratio\":{ratio:.5},\"worst_ratio\":{worst_ratio:.5},\"shortfall\":{short:.6},\"worst_shortfall\":{worst:.6},\"rejected\":{rejected},\"us_per_query\":{micros:.2}}}",
            runs.len()
        ));
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let orders = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(20);
    let sections = args.get(1..).unwrap_or_default();
    let wanted = |name: &str| sections.is_empty() || sections.iter().any(|section| section == name);
    let mut table = Table::default();
    Table::header();
    for n in [1000, 10_000] {
        if wanted(&n.to_string()) {
            for start in [Start::Cold, Start::Prices, Start::Sample] {
                let runs: Vec<_> = (0..orders).map(|order| target(n, order, start)).collect();
                table.row("target", n, start, &runs);
            }
        }
    }
    if wanted("budget") {
        for start in [Start::Cold, Start::Sample] {
            let runs: Vec<_> = (0..orders).map(|order| budget(1000, order, start)).collect();
            table.row("budget", 1000, start, &runs);
        }
    }
    if wanted("drift") {
        for kind in ["prices double", "model disappears", "harder"] {
            for n in [1000, 10_000] {
                let orders = if n == 1000 { orders } else { orders.min(INSTANCES) };
                let runs: Vec<_> = (0..orders).map(|order| drift(kind, n, order)).collect();
                table.row(kind, n, Start::Sample, &runs);
            }
        }
    }
    let (choice, query) = nanoseconds_per_choice(20);
    println!("20 models, fixed prices: {choice:.0} ns per choice, {query:.0} ns per query with its accounts");
    println!(
        "{{\"bench\":\"stream\",\"models\":{M},\"ns_per_choice_20\":{choice:.1},\"ns_per_query_20\":{query:.1},\"results\":[{}]}}",
        table.results.join(",")
    );
}

/// The queries of an instance in a random order, its workloads, and 500 other queries.
fn instance(n: usize, order: u64) -> (Vec<Row>, Vec<u64>, Vec<Row>) {
    let mut traffic = Traffic::new(order % INSTANCES);
    let mut rows = traffic.queries(n, 0.0);
    let sample = traffic.queries(SAMPLE, 0.0);
    Random(1000 + order).shuffle(&mut rows);
    (rows, traffic.limits(n), sample)
}

fn terms(n: usize, limits: &[u64]) -> Terms {
    Terms { limits: Some(limits.to_vec()), ..Terms::new(M, Horizon::Total(n as u64)) }
}

/// Cost over the offline optimum at the quality reached, and shortfall.
fn against(target: f64, rows: &[Row], limits: &[u64], run: Run) -> (f64, f64, Run) {
    let matrices = Matrices::new(rows);
    let offline = solved(&Problem { quality_target: Some(run.quality), ..matrices.problem(limits) });
    (run.cost / offline.bound, target - run.quality, run)
}

fn target(n: usize, order: u64, start: Start) -> (f64, f64, Run) {
    let (rows, limits, sample) = instance(n, order);
    let (target, _) = Matrices::new(&rows).goals(&limits);
    let terms = Terms { quality_target: Some(target), ..terms(n, &limits) };
    against(target, &rows, &limits, run(&terms, &rows, start, &sample))
}

fn budget(n: usize, order: u64, start: Start) -> (f64, f64, Run) {
    let (rows, limits, sample) = instance(n, order);
    let matrices = Matrices::new(&rows);
    let (_, budget) = matrices.goals(&limits);
    let terms = Terms { budget_usd: Some(budget), ..terms(n, &limits) };
    let run = run(&terms, &rows, start, &sample);
    let offline = solved(&Problem { budget_usd: Some(budget), ..matrices.problem(&limits) });
    (run.quality / offline.bound, offline.bound - run.quality, run)
}

fn drift(kind: &str, n: usize, order: u64) -> (f64, f64, Run) {
    let (mut rows, limits, sample) = instance(n, order);
    let half = n / 2;
    match kind {
        "prices double" => {
            rows[half..].iter_mut().flat_map(|row| &mut row.cost).for_each(|cost| *cost *= 2.0);
        }
        "model disappears" => {
            let matrices = Matrices::new(&rows);
            let (target, _) = matrices.goals(&limits);
            let plan = solved(&Problem { quality_target: Some(target), ..matrices.problem(&limits) });
            let used = |j: usize| plan.assignment.iter().filter(|&&model| model as usize == j).count();
            let small = (0..M).filter(|&j| limits[j] * 4 <= n as u64);
            let gone = small.max_by_key(|&j| used(j)).expect("ten models share 1.25 N slots");
            rows[half..].iter_mut().for_each(|row| row.cost[gone] = f64::INFINITY);
        }
        _ => {
            let mut traffic = Traffic::new(order % INSTANCES);
            traffic.random = Random(500 + order);
            rows.splice(half.., traffic.queries(n - half, 0.7));
        }
    }
    let (target, _) = Matrices::new(&rows).goals(&limits);
    let terms = Terms { quality_target: Some(target), ..terms(n, &limits) };
    against(target, &rows, &limits, run(&terms, &rows, Start::Sample, &sample))
}

/// The median over rows that stay in the cache, of the choice alone and of [`Stream::choose`], which also
/// checks the row, counts it and keeps it.
fn nanoseconds_per_choice(models: usize) -> (f64, f64) {
    let mut r = Random(5);
    let prices = Prices { quality: 0.01, workloads: (0..models).map(|_| 1e-3 * r.unit()).collect() };
    let rows: Vec<Row> = (0..1000)
        .map(|_| Row {
            cost: (0..models).map(|_| 10f64.powf(3.0 * r.unit()) * 1e-5).collect(),
            quality: (0..models).map(|_| r.unit()).collect(),
        })
        .collect();
    let median = |choose: &mut dyn FnMut(&Row)| {
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                let begin = Instant::now();
                for row in &rows {
                    choose(black_box(row));
                }
                begin.elapsed().as_secs_f64() * 1e9 / rows.len() as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (used, limits) = (vec![0u64; models], vec![1u64; models]);
    let choice = median(&mut |row| {
        black_box(prices.choose(&row.cost, &row.quality, |j| used[j] < limits[j]));
    });
    let limits = Some(vec![1 << 40; models]);
    let terms = Terms { limits, budget_usd: Some(1e9), ..Terms::new(models, Horizon::Total(1 << 40)) };
    let mut stream = Stream::new(terms).expect("valid");
    stream.start_at(prices.clone(), u64::MAX).expect("valid");
    let query = median(&mut |row| {
        black_box(stream.choose(&row.cost, &row.quality).expect("valid"));
    });
    (choice, query)
}
