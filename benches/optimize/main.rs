//! How long a batch takes natively, in how much memory, and how far from optimal its plan may be.
//!
//! `cargo bench --profile dev --bench optimize [-- --instances DIR --answers FILE --seed S NAME:KINDS…]`
//!
//! Instances (`instance.rs` says what a name means, `instance.py` what a kind is) are read from DIR;
//! those that are missing there are made and written, so that others can solve the same. FILE gets
//! one JSON line per answer, with the assignment and the prices, for `check.py` to verify.
//! `npm run bench -- optimize` runs all of it: this, the peers, and the checker.
//!
//! Times are CPU times of the one thread, the median of repeated runs. `passes` is that time in
//! units of one argmin pass over both matrices, below which no method can go; `memory` the peak
//! during a solve, input included, over the input.

mod instance;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cpu_time::ThreadTime;
use instance::Instance;
use pathfinding::matrix::Matrix;
use pathfinding::prelude::kuhn_munkres_min;
use peak_alloc::PeakAlloc;
use pennyroute::optimize::{self, Problem, Solver, Status};
use serde_json::{Value, json};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const DEFAULT_JOBS: [&str; 7] =
    ["n64:TCB", "n256:TCB", "n1000:TCBQ", "n1000f:F", "n10000:TCB", "n10000m20:C", "a200m200:A"];
/// Repetition of a solve stops after this long, or this many samples.
const ENOUGH_S: f64 = 1.0;
const ENOUGH_SAMPLES: usize = 200;
/// Short work is repeated within a sample: the clock itself takes a fraction of a microsecond.
const SAMPLE_S: f64 = 1e-3;

struct Options {
    instances: Option<PathBuf>,
    answers: Option<PathBuf>,
    seed: u64,
    jobs: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn std::error::Error>> {
        let mut options = Options { instances: None, answers: None, seed: 0, jobs: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--instances" => options.instances = Some(value()?.into()),
                "--answers" => options.answers = Some(value()?.into()),
                "--seed" => options.seed = value()?.parse()?,
                _ if arg.contains(':') => options.jobs.push(arg),
                _ => return Err(format!("{arg}: expected NAME:KINDS").into()),
            }
        }
        if options.jobs.is_empty() {
            options.jobs = DEFAULT_JOBS.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse()?;
    let mut answers = options.answers.map(File::create).transpose()?;
    println!(
        "{:>12} {:>4} {:>10} {:>10} {:>10} {:>7} {:>7} {:>8}  status",
        "instance", "kind", "cpu ms", "best ms", "wall ms", "passes", "memory", "gap"
    );
    let mut results = Vec::new();
    for job in &options.jobs {
        let (name, kinds) = job.split_once(':').expect("as parsed");
        let instance = Instance::open(options.instances.as_deref(), name, options.seed)?;
        for kind in kinds.chars() {
            let mut lines = vec![ours(&instance, name, kind)?];
            if kind == 'A' {
                lines.push(pathfinding(&instance, name));
            }
            for mut line in lines {
                if let Some(file) = &mut answers {
                    writeln!(file, "{line}")?;
                }
                for bulky in ["assignment", "duals"] {
                    line.as_object_mut().expect("an object").remove(bulky);
                }
                results.push(line);
            }
        }
    }
    println!("{}", json!({ "bench": "optimize", "host": "native", "results": results }));
    Ok(())
}

/// Solves one problem; prints its row and returns the answer for the checker.
fn ours(instance: &Instance, name: &str, kind: char) -> Result<Value, Box<dyn std::error::Error>> {
    let problem = instance.problem(kind)?;
    // Memory from nothing; time with what a service keeps from one batch to the next.
    let mut solver = Solver::default();
    let mut solve = || solver.solve(&problem, optimize::Options::default());
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    solve()?;
    let memory_ratio = 1.0 + (MEMORY.peak_usage() - before) as f64 / instance.bytes() as f64;
    // One right after the other: what else runs on the machine slows both.
    let pass_ms = timed(ENOUGH_S / 4.0, || argmin_pass(instance)).0.cpu_ms;
    let (times, plan) = timed(ENOUGH_S, solve);
    let plan = plan?;
    let status = match plan.status {
        Status::Optimal => "optimal",
        Status::Feasible => "feasible",
        Status::Infeasible => "infeasible",
    };
    let Times { cpu_ms, best_ms, wall_ms, runs } = times;
    let passes = cpu_ms / pass_ms;
    println!(
        "{name:>12} {kind:>4} {cpu_ms:>10.3} {best_ms:>10.3} {wall_ms:>10.3} {passes:>7.1} {memory_ratio:>7.2} {:>8.1e}  {status}",
        plan.gap
    );
    Ok(json!({
        "solver": "pennyroute", "instance": name, "kind": kind, "status": status, "runs": runs,
        "queries": instance.queries, "models": instance.models, "cpu_ms": cpu_ms, "best_ms": best_ms, "wall_ms": wall_ms, "pass_ms": pass_ms,
        "passes": passes, "memory_ratio": memory_ratio,
        "cost": plan.cost_usd, "quality": plan.quality, "bound": plan.bound, "gap": plan.gap,
        "duals": {
            "quality": plan.duals.quality, "workloads": plan.duals.workloads, "groups": plan.duals.groups,
        },
        "assignment": plan.assignment,
    }))
}

/// Kuhn–Munkres as the crate of that name has it; costs become integers, the largest 1e9.
fn pathfinding(instance: &Instance, name: &str) -> Value {
    let Problem { queries, models, cost, .. } = instance.problem('A').expect("a known kind");
    let largest = cost.iter().copied().fold(0.0, f64::max);
    let solve = || {
        let integer = |(i, j): (usize, usize)| (cost[j * queries + i] * (1e9 / largest)).round() as i64;
        kuhn_munkres_min(&Matrix::from_fn(queries, models, integer)).1
    };
    let (Times { cpu_ms, wall_ms, runs, .. }, assignment) = timed(ENOUGH_S, solve);
    json!({
        "solver": "pathfinding", "instance": name, "kind": "A", "status": "optimal", "runs": runs,
        "cpu_ms": cpu_ms, "wall_ms": wall_ms, "assignment": assignment,
    })
}

/// For every query its model of least `c − λ·p`: what any method that looks at every pair must do.
/// In blocks that stay in cache, without branches, so that the compiler makes vectors of it.
fn argmin_pass(instance: &Instance) -> f64 {
    const BLOCK: usize = 512;
    // Some price; the time does not depend on which.
    let lambda = black_box(1e-4);
    let n = instance.queries;
    let mut sum = 0.0;
    let (mut least, mut model) = ([0.0; BLOCK], [0.0; BLOCK]);
    for start in (0..n).step_by(BLOCK) {
        let size = BLOCK.min(n - start);
        let (least, model) = (&mut least[..size], &mut model[..size]);
        least.fill(f64::INFINITY);
        for j in 0..instance.models {
            let cost = &instance.cost[j * n + start..][..size];
            let quality = &instance.quality[j * n + start..][..size];
            let j = j as f64;
            for (((least, model), c), p) in least.iter_mut().zip(&mut *model).zip(cost).zip(quality) {
                let value = c - lambda * p;
                let better = value < *least;
                *model = if better { j } else { *model };
                *least = if better { value } else { *least };
            }
        }
        black_box(&model);
        sum += least.iter().sum::<f64>();
    }
    sum
}

/// Milliseconds of one run: median and least CPU time of this thread, median wall time.
struct Times {
    cpu_ms: f64,
    best_ms: f64,
    wall_ms: f64,
    runs: usize,
}

/// Repeats work, for `enough_s` seconds or until there are enough samples, and says how long it takes.
fn timed<T>(enough_s: f64, mut work: impl FnMut() -> T) -> (Times, T) {
    let start = Instant::now();
    // Finds cold caches; it counts where it is too long to be repeated.
    let (first, mut result) = sample(1, &mut work);
    let per_sample = (SAMPLE_S / first.0).clamp(1.0, 1e6) as usize;
    let mut samples = Vec::new();
    while start.elapsed().as_secs_f64() < enough_s && samples.len() < ENOUGH_SAMPLES {
        let (seconds, last) = sample(per_sample, &mut work);
        samples.push(seconds);
        result = last;
    }
    if samples.is_empty() {
        samples.push(first);
    }
    let sorted = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(|sample| of(sample) * 1e3).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (cpu, wall) = (sorted(|sample| sample.0), sorted(|sample| sample.1));
    let middle = samples.len() / 2;
    let times = Times {
        cpu_ms: cpu[middle],
        best_ms: cpu[0],
        wall_ms: wall[middle],
        runs: samples.len() * per_sample,
    };
    (times, result)
}

/// CPU and wall seconds of one of `runs` runs, and the last result.
fn sample<T>(runs: usize, work: &mut impl FnMut() -> T) -> ((f64, f64), T) {
    let (cpu, wall) = (ThreadTime::now(), Instant::now());
    for _ in 1..runs {
        black_box(work());
    }
    let result = work();
    let each = |seconds: f64| seconds / runs as f64;
    ((each(cpu.elapsed().as_secs_f64()), each(wall.elapsed().as_secs_f64())), result)
}
