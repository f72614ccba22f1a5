//! How long a batch takes, and how far from optimal its plan may be.
//!
//! Seeded instances like those of `optimizer-bench` (logistic qualities, prices over three orders of
//! magnitude, workloads with a quarter to spare, a target 60 % of the way from the cheapest plan to
//! the best): kind T is transport alone, C the quality target under workloads, B the budget under
//! workloads, G the target with four group floors. The last line is one JSON object.
//!
//! `cargo bench --profile dev --bench optimize [-- KIND…]`

use std::time::Instant;

use pennyroute::optimize::{Groups, Plan, Problem, Status, solve};

const M: usize = 10;
const SIZES: [usize; 5] = [64, 256, 1000, 4000, 10_000];

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
}

struct Instance {
    n: usize,
    cost: Vec<f64>,
    quality: Vec<f64>,
    limits: Vec<u64>,
    group: Vec<u32>,
}

impl Instance {
    fn new(n: usize, seed: u64) -> Self {
        let mut r = Random(seed);
        let difficulty: Vec<f64> = (0..n).map(|_| r.normal()).collect();
        let input: Vec<f64> = (0..n).map(|_| (5.5 + r.normal()).exp()).collect();
        let output: Vec<f64> = difficulty.iter().map(|d| (5.0 + 0.7 * r.normal() + 0.25 * d).exp()).collect();
        let (mut cost, mut quality, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for j in 0..M {
            let rank = j as f64 / (M - 1) as f64;
            let price_out = 10f64.powf(0.05f64.log10() + 3.0 * rank) * 1e-6;
            let price_in = price_out * (0.2 + 0.15 * r.unit());
            let ability = -0.9 + 3.2 * rank + 0.25 * r.normal();
            let verbosity = (0.3 * r.normal()).exp();
            for i in 0..n {
                quality.push(1.0 / (1.0 + (-1.3 * (ability - difficulty[i]) - 0.6 * r.normal()).exp()));
                cost.push(
                    price_in * input[i] + price_out * output[i] * verbosity * (0.25 * r.normal()).exp(),
                );
            }
            // Gamma(3): shares as a Dirichlet distribution gives them.
            share.push(-(r.unit() * r.unit() * r.unit()).ln());
        }
        let whole: f64 = share.iter().sum();
        let limits = share.iter().map(|s| (1.25 * n as f64 * s / whole).ceil() as u64).collect();
        let group = difficulty
            .iter()
            .map(|d| [-0.9, 0.0, 0.9].iter().filter(|&&edge| *d + r.normal() > edge).count() as u32);
        let group = group.collect();
        Instance { n, cost, quality, limits, group }
    }

    fn problem(&self) -> Problem<'_> {
        Problem { limits: Some(&self.limits), ..Problem::new(self.n, M, &self.cost, &self.quality) }
    }
}

fn main() {
    let kinds: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut results = Vec::new();
    println!("{:>5} {:>6} {:>10} {:>10} {:>9}  status", "kind", "N", "median ms", "best ms", "gap");
    for n in SIZES {
        let instance = Instance::new(n, 7 + n as u64);
        let plain = instance.problem();
        let cheapest = solve(&plain).expect("valid");
        let errors: Vec<f64> = instance.quality.iter().map(|p| 1.0 - p).collect();
        let best = solve(&Problem { cost: &errors, ..plain }).expect("valid");
        let best_cost: f64 =
            best.assignment.iter().enumerate().map(|(i, &j)| instance.cost[j as usize * n + i]).sum();
        let target = Some(cheapest.quality + 0.6 * (best.quality - cheapest.quality));
        let budget_usd = Some(cheapest.cost_usd + 0.1 * (best_cost - cheapest.cost_usd));
        let of = |plan: &Plan, g: u32| {
            let on = (0..n)
                .filter(|&i| instance.group[i] == g)
                .map(|i| instance.quality[plan.assignment[i] as usize * n + i]);
            let (sum, count) = on.fold((0.0, 0usize), |(sum, count), p| (sum + p, count + 1));
            sum / count.max(1) as f64
        };
        // The hardest group's floor is the binding one.
        let floors: Vec<f64> = (0..4)
            .map(|g| (0.4 * of(&cheapest, g) + 0.6 * of(&best, g)) * if g == 3 { 1.03 } else { 0.97 })
            .collect();
        let groups = Some(Groups { of_query: &instance.group, floors: &floors });
        for (kind, problem) in [
            ("T", plain),
            ("C", Problem { quality_target: target, ..plain }),
            ("B", Problem { budget_usd, ..plain }),
            ("G", Problem { quality_target: target, groups, ..plain }),
        ] {
            if kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind) {
                results.push(measure(kind, n, &problem));
            }
        }
    }
    println!("{{\"bench\":\"optimize\",\"models\":{M},\"results\":[{}]}}", results.join(","));
}

/// Repeats a solve for at least 5 runs or 2 seconds; prints a row and returns it as JSON.
fn measure(kind: &str, n: usize, problem: &Problem) -> String {
    let mut times = Vec::new();
    let mut plan = solve(problem).expect("valid");
    while times.len() < 5 && times.iter().sum::<f64>() < 2000.0 {
        let start = Instant::now();
        plan = solve(problem).expect("valid");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    let status = match plan.status {
        Status::Optimal => "optimal",
        Status::Feasible => "feasible",
        Status::Infeasible => "infeasible",
    };
    println!("{kind:>5} {n:>6} {median:>10.2} {best:>10.2} {:>9.1e}  {status}", plan.gap);
    format!(
        "{{\"kind\":\"{kind}\",\"queries\":{n},\"ms\":{median:.3},\"best_ms\":{best:.3},\"gap\":{:e},\"status\":\"{status}\"}}",
        plan.gap
    )
}
