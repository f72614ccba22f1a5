//! The optimizer against brute force: every claim of a plan is checked on thousands of small cases
//! (feasible, bound ≤ optimum ≤ plan, gap as stated, infeasible only where nothing is feasible), and
//! properties that need no oracle on larger ones. Seeds are fixed; a failure prints its case.

use std::ops::ControlFlow;

use pennyroute::optimize::{Groups, Options, Plan, Problem, Solver, Stage, Status, frontier, solve};
use proptest::prelude::*;
use random::Random;

mod random;

/// An owned problem.
#[derive(Debug, Clone)]
struct Case {
    n: usize,
    m: usize,
    cost: Vec<f64>,
    quality: Vec<f64>,
    target: Option<f64>,
    budget: Option<f64>,
    limits: Option<Vec<u64>>,
    group: Vec<u32>,
    floors: Vec<f64>,
}

impl Case {
    /// Costs over three orders of magnitude, or (ties) qualities in sixteenths and costs in steps.
    fn random(r: &mut Random, n: usize, m: usize) -> Case {
        let (ties, forbids, free) = (r.one_in(2), r.one_in(3), r.one_in(6));
        let quality: Vec<f64> =
            (0..n * m).map(|_| if ties { (r.unit() * 16.0).round() / 16.0 } else { r.unit() }).collect();
        let cost = (0..n * m)
            .map(|_| match () {
                () if forbids && r.one_in(5) => f64::INFINITY,
                () if free && r.one_in(3) => 0.0,
                () if ties => (1 + r.below(8)) as f64 * 0.001,
                () => 10f64.powf(3.0 * r.unit()) * 1e-5,
            })
            .collect();
        let limits = (!r.one_in(3)).then(|| {
            let mean = n as f64 / m.max(1) as f64;
            (0..m)
                .map(|_| if r.one_in(8) { u64::MAX } else { (r.unit() * 2.8 * mean + 0.4).round() as u64 })
                .collect()
        });
        Case {
            n,
            m,
            cost,
            quality,
            target: None,
            budget: None,
            limits,
            group: vec![0; n],
            floors: Vec::new(),
        }
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            quality_target: self.target,
            budget_usd: self.budget,
            limits: self.limits.as_deref(),
            groups: (!self.floors.is_empty())
                .then_some(Groups { of_query: &self.group, floors: &self.floors }),
            ..Problem::new(self.n, self.m, &self.cost, &self.quality)
        }
    }

    /// Cost and mean quality, if the limits and forbidden pairs allow the assignment.
    fn judge(&self, x: &[u32]) -> Option<(f64, f64)> {
        let mut load = vec![0u64; self.m];
        let (mut cost, mut quality) = (0.0, 0.0);
        for (i, &j) in x.iter().enumerate() {
            load[j as usize] += 1;
            cost += self.cost[j as usize * self.n + i];
            quality += self.quality[j as usize * self.n + i];
        }
        let fits =
            self.limits.as_ref().is_none_or(|limits| load.iter().zip(limits).all(|(load, l)| load <= l));
        (fits && cost.is_finite()).then(|| (cost, if self.n == 0 { 0.0 } else { quality / self.n as f64 }))
    }

    fn meets_floors(&self, x: &[u32]) -> bool {
        (0..self.floors.len()).all(|g| {
            let of: Vec<usize> = (0..self.n).filter(|&i| self.group[i] as usize == g).collect();
            let sum: f64 = of.iter().map(|&i| self.quality[x[i] as usize * self.n + i]).sum();
            sum >= (self.floors[g] - 1e-11) * of.len() as f64
        })
    }

    fn all(&self) -> Vec<Vec<u32>> {
        let mut all = vec![Vec::new()];
        for _ in 0..self.n {
            all = all
                .into_iter()
                .flat_map(|x| (0..self.m as u32).map(move |j| x.iter().copied().chain([j]).collect()))
                .collect();
        }
        all
    }

    /// The best objective (cost, or minus quality under a budget alone) over every assignment.
    fn brute(&self) -> Option<f64> {
        let feasible = self.all().into_iter().filter(|x| self.meets_floors(x)).filter_map(|x| self.judge(&x));
        feasible
            .filter(|(_, quality)| self.target.is_none_or(|target| self.n == 0 || *quality >= target - 1e-11))
            .filter(|(cost, _)| self.budget.is_none_or(|budget| *cost <= budget * (1.0 + 1e-11)))
            .map(|(cost, quality)| if self.maximises() { -quality } else { cost })
            .min_by(f64::total_cmp)
    }

    fn maximises(&self) -> bool {
        self.budget.is_some() && self.target.is_none()
    }

    /// The bound as the documented identity gives it from the plan's own shadow prices.
    fn dual(&self, plan: &Plan) -> f64 {
        let n = self.n;
        let lambda = plan.duals.quality * 100.0 / n.max(1) as f64;
        let mu = &plan.duals.workloads;
        let least = |i: usize| {
            (0..self.m)
                .map(|j| self.cost[j * n + i] - lambda * self.quality[j * n + i] + mu[j])
                .fold(f64::INFINITY, f64::min)
        };
        let slots: f64 = match &self.limits {
            Some(limits) => limits.iter().zip(mu).map(|(&l, mu)| mu * l.min(n as u64) as f64).sum(),
            None => mu.iter().map(|mu| mu * n as f64).sum(),
        };
        (0..n).map(least).sum::<f64>() - slots + lambda * self.target.unwrap_or(0.0) * n as f64
    }
}

/// Everything a plan claims, against the brute-force optimum.
fn check(case: &Case, plan: &Plan, optimum: Option<f64>) {
    let Some(optimum) = optimum else {
        assert_eq!(plan.status, Status::Infeasible, "{case:?}\n{plan:?}");
        return;
    };
    let eps = 1e-9 * optimum.abs() + 1e-13;
    if plan.status == Status::Infeasible {
        let why = plan.infeasible.as_ref().unwrap();
        assert!(!why.proven, "feasible at {optimum}: {case:?}\n{plan:?}");
        return;
    }
    let (cost, quality) = case.judge(&plan.assignment).unwrap();
    assert!(case.meets_floors(&plan.assignment), "{case:?}\n{plan:?}");
    assert!(case.n == 0 || case.target.is_none_or(|target| quality >= target - 1e-11), "{case:?}\n{plan:?}");
    assert!(case.budget.is_none_or(|budget| cost <= budget * (1.0 + 1e-11)), "{case:?}\n{plan:?}");
    assert!((cost - plan.cost_usd).abs() <= 1e-12 * cost.abs() && (quality - plan.quality).abs() <= 1e-12);
    let (value, bound) = if case.maximises() { (-quality, -plan.bound) } else { (cost, plan.bound) };
    assert!(bound <= optimum + eps, "bound {bound} above optimum {optimum}: {case:?}\n{plan:?}");
    assert!(value >= optimum - eps, "plan {value} below optimum {optimum}: {case:?}\n{plan:?}");
    if bound != 0.0 {
        assert!((value - bound - plan.gap * bound.abs()).abs() <= eps, "{case:?}\n{plan:?}");
    }
    if plan.status == Status::Optimal {
        assert!(value <= optimum + 2.0 * eps, "not optimal {value} {optimum}: {case:?}\n{plan:?}");
    }
}

fn sizes(r: &mut Random) -> (usize, usize) {
    [(1, 1), (1, 4), (2, 3), (3, 3), (4, 4), (5, 3), (6, 2), (6, 3), (8, 2), (5, 4), (0, 3), (3, 1)]
        [r.below(12)]
}

/// A target somewhere along the range, often exactly attainable, sometimes 0, 1 or out of reach.
fn target(r: &mut Random) -> f64 {
    match r.below(8) {
        0 => 0.0,
        1 => 1.0,
        2 | 3 => (r.unit() * 16.0).round() / 16.0,
        _ => 0.3 + 0.6 * r.unit(),
    }
}

#[test]
fn transport_alone_is_exact() {
    let mut r = Random(1);
    for _ in 0..3000 {
        let (n, m) = sizes(&mut r);
        let case = Case::random(&mut r, n, m);
        let plan = solve(&case.problem()).unwrap();
        let optimum = case.brute();
        check(&case, &plan, optimum);
        if optimum.is_some() {
            assert_eq!(plan.status, Status::Optimal, "no coupling row: {case:?}");
            assert!(
                (case.dual(&plan) - plan.cost_usd).abs() <= 1e-10 * plan.cost_usd.max(1e-6),
                "{case:?}\n{plan:?}"
            );
        }
    }
}

#[test]
fn quality_target_against_brute_force() {
    let mut r = Random(2);
    let (mut optimal, mut feasible) = (0, 0);
    for _ in 0..6000 {
        let (n, m) = sizes(&mut r);
        let case = Case { target: Some(target(&mut r)), ..Case::random(&mut r, n, m) };
        let plan = solve(&case.problem()).unwrap();
        check(&case, &plan, case.brute());
        match plan.status {
            Status::Optimal => optimal += 1,
            Status::Feasible => feasible += 1,
            Status::Infeasible => {
                assert!(plan.infeasible.as_ref().unwrap().proven, "one row is always decided: {case:?}");
            }
        }
        if plan.status != Status::Infeasible && n > 0 {
            // The duals prove a bound by themselves; branching may have raised the stated one.
            let dual = case.dual(&plan);
            assert!(dual <= plan.bound + 1e-9 * plan.bound.abs() + 1e-12, "{dual} {case:?}\n{plan:?}");
        }
    }
    assert!(feasible * 100 <= optimal, "small cases are solved to proof: {feasible} of {optimal} were not");
}

#[test]
fn budget_against_brute_force() {
    let mut r = Random(3);
    for _ in 0..6000 {
        let (n, m) = sizes(&mut r);
        let mut case = Case::random(&mut r, n, m);
        let scale: f64 = case.cost.iter().filter(|c| c.is_finite()).sum::<f64>() / m as f64;
        case.budget = Some(if r.one_in(10) { 0.0 } else { scale * (0.1 + 1.2 * r.unit()) });
        if r.one_in(3) {
            case.target = Some(target(&mut r));
        }
        let plan = solve(&case.problem()).unwrap();
        check(&case, &plan, case.brute());
    }
}

#[test]
fn floors_against_brute_force() {
    let mut r = Random(4);
    let (mut found, mut missed) = (0, 0);
    for _ in 0..4000 {
        let (n, m) = sizes(&mut r);
        let mut case = Case::random(&mut r, n, m);
        let groups = 1 + r.below(3);
        case.group = (0..n).map(|_| r.below(groups) as u32).collect();
        case.floors = (0..groups).map(|_| 0.8 * target(&mut r)).collect();
        match r.below(3) {
            0 => case.target = Some(0.8 * target(&mut r)),
            1 => case.budget = Some(0.01 * n as f64 * r.unit()),
            _ => {}
        }
        let plan = solve(&case.problem()).unwrap();
        let optimum = case.brute();
        check(&case, &plan, optimum);
        if optimum.is_some() {
            found += 1;
            missed += (plan.status == Status::Infeasible) as usize;
        }
    }
    assert!(missed * 100 <= found, "{missed} of {found} feasible cases without a plan");
}

#[test]
fn infeasible_says_the_most_there_is() {
    let mut r = Random(5);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..4000 {
        let (n, m) = sizes(&mut r);
        let case = Case { target: Some(target(&mut r)), ..Case::random(&mut r, n, m) };
        let plan = solve(&case.problem()).unwrap();
        let Some(why) = plan.infeasible else { continue };
        *seen.entry(why.code).or_insert(0) += 1;
        let most = match why.code {
            "quality_unreachable" => {
                let all = case.all().into_iter().filter_map(|x| case.judge(&x).map(|(_, q)| q));
                all.max_by(f64::total_cmp).unwrap()
            }
            // The most queries that can be served: drop queries until the rest fit.
            _ => (0u32..1 << n)
                .filter(|kept| serves(&case, *kept))
                .map(u32::count_ones)
                .max()
                .map_or(0.0, f64::from),
        };
        if why.code == "no_candidate" || why.code == "workload_total" {
            assert!(why.largest >= most, "an upper limit: {case:?}\n{why:?}");
        } else {
            assert!((why.largest - most).abs() < 1e-12, "{most} {case:?}\n{why:?}");
        }
    }
    for code in ["no_candidate", "workload_total", "workload_hall", "quality_unreachable"] {
        assert!(seen.get(code).is_some_and(|&count| count >= 10), "{code}: {seen:?}");
    }
}

/// Whether some assignment serves all the queries of a bit set.
fn serves(case: &Case, kept: u32) -> bool {
    let of: Vec<usize> = (0..case.n).filter(|i| kept >> i & 1 == 1).collect();
    let pick =
        |from: &[f64]| (0..case.m).flat_map(|j| of.iter().map(move |&i| from[j * case.n + i])).collect();
    let part = Case {
        n: of.len(),
        cost: pick(&case.cost),
        quality: pick(&case.quality),
        target: None,
        ..case.clone()
    };
    part.all().iter().any(|x| part.judge(x).is_some())
}

#[test]
fn edges() {
    let solve_ = |p: Problem| solve(&p).unwrap();
    // No queries: nothing to do, any target holds.
    let plan = solve_(Problem { quality_target: Some(1.0), ..Problem::new(0, 3, &[], &[]) });
    assert_eq!((plan.status, plan.cost_usd, plan.gap), (Status::Optimal, 0.0, 0.0));
    // No models.
    assert_eq!(solve_(Problem::new(0, 0, &[], &[])).status, Status::Optimal);
    assert_eq!(solve_(Problem::new(2, 0, &[], &[])).infeasible.unwrap().code, "no_candidate");
    // A limit of 0 forbids a model.
    let (cost, quality) = ([1.0, 2.0], [0.5, 0.5]);
    let plan = solve_(Problem { limits: Some(&[0, 1]), ..Problem::new(1, 2, &cost, &quality) });
    assert_eq!((plan.assignment, plan.cost_usd), (vec![1], 2.0));
    // α = 1 is reachable only where every quality can be 1.
    let all_good = Problem { quality_target: Some(1.0), ..Problem::new(1, 2, &cost, &[1.0, 1.0]) };
    assert_eq!(solve_(all_good).assignment, [0]);
    let why = solve_(Problem { quality_target: Some(1.0), ..Problem::new(1, 2, &cost, &quality) })
        .infeasible
        .unwrap();
    assert_eq!((why.code, why.largest), ("quality_unreachable", 0.5));
    // All free: the bound is 0 and so is the gap.
    let plan = solve_(Problem { quality_target: Some(0.9), ..Problem::new(1, 2, &[0.0, 0.0], &[0.1, 0.9]) });
    assert_eq!((plan.status, plan.assignment, plan.gap), (Status::Optimal, vec![1], 0.0));
    // A budget of 0 with a free model.
    let plan = solve_(Problem { budget_usd: Some(0.0), ..Problem::new(1, 2, &[0.0, 1.0], &[0.1, 0.9]) });
    assert_eq!((plan.status, plan.assignment), (Status::Optimal, vec![0]));
    let why =
        solve_(Problem { budget_usd: Some(0.5), ..Problem::new(1, 2, &cost, &quality) }).infeasible.unwrap();
    assert_eq!((why.code, why.largest), ("budget_unreachable", 1.0));
    // A target that costs more than the budget: what the budget does buy.
    let both = Problem {
        budget_usd: Some(1.5),
        quality_target: Some(0.8),
        ..Problem::new(1, 2, &cost, &[0.5, 0.9])
    };
    let why = solve_(both).infeasible.unwrap();
    assert_eq!((why.code, why.largest, why.proven), ("budget_too_small", 0.5, true));
    // Ties go to the first model, on every run.
    assert_eq!(solve_(Problem::new(3, 2, &[1.0; 6], &[0.5; 6])).assignment, [0, 0, 0]);
}

#[test]
fn bad_numbers_are_named() {
    let says = |p: Problem, code: &str, part: &str| {
        let error = solve(&p).unwrap_err();
        assert!(error.code() == code && error.to_string().contains(part), "{error}");
    };
    let (cost, quality) = ([1.0, 1.0], [0.5, 0.5]);
    let good = Problem::new(1, 2, &cost, &quality);
    says(Problem { cost: &[1.0, f64::NAN], ..good }, "bad_number", "cost of query 0 on model 1");
    says(Problem { cost: &[-1.0, 1.0], ..good }, "bad_number", "cost of query 0 on model 0: -1");
    says(Problem { cost: &[1e300, 1.0], ..good }, "bad_number", "cost");
    says(Problem { quality: &[0.5, 1.5], ..good }, "bad_number", "quality of query 0 on model 1: 1.5");
    says(Problem { quality: &[0.5], ..good }, "bad_problem", "quality has 1 entries where 2 are needed");
    says(Problem { limits: Some(&[1]), ..good }, "bad_problem", "limits");
    says(Problem { quality_target: Some(f64::NAN), ..good }, "bad_number", "quality target");
    says(Problem { budget_usd: Some(f64::INFINITY), ..good }, "bad_number", "budget");
    says(Problem { queries: usize::MAX, ..good }, "bad_problem", "too many");
    let groups = |of_query, floors| Problem { groups: Some(Groups { of_query, floors }), ..good };
    says(groups(&[1], &[0.5]), "bad_problem", "query 0 is in group 1");
    says(groups(&[0], &[1.5]), "bad_number", "floor of group 0");
}

/// A batch like the benchmark's: logistic qualities, log-uniform prices, some room in the limits.
fn batch(seed: u64, n: usize, m: usize) -> Case {
    let mut r = Random(seed);
    let difficulty: Vec<f64> = (0..n).map(|_| 4.0 * r.unit() - 2.0).collect();
    let mut case = Case::random(&mut r, 0, m);
    for j in 0..m {
        let rank = j as f64 / m as f64;
        for d in &difficulty {
            let logit = 1.3 * (3.2 * rank - 0.9 - d) + 1.2 * (r.unit() - 0.5);
            case.quality.push(1.0 / (1.0 + (-logit).exp()));
            case.cost.push(10f64.powf(3.0 * rank) * 1e-5 * (0.5 + r.unit()));
        }
    }
    let limits = (0..m).map(|_| ((0.6 + 1.4 * r.unit()) * n as f64 / m as f64).ceil() as u64).collect();
    Case { n, limits: Some(limits), group: vec![0; n], ..case }
}

/// Every kind of constraint on batches too large for one core: the cascade, the growing core, the
/// exchanges. What a plan claims is checked by sums of our own; the bound by the identity.
#[test]
fn large_batches_of_every_kind() {
    let mut solver = Solver::default();
    for seed in 0..36u64 {
        let n = [600, 900, 2500][seed as usize % 3] + seed as usize;
        let m = [3, 8, 14][seed as usize / 3 % 3];
        let mut case = batch(seed, n, m);
        let mut r = Random(seed ^ 0x5eed);
        if seed % 4 == 1 {
            case.quality.iter_mut().for_each(|p| *p = (*p * 16.0).round() / 16.0);
        }
        if seed % 4 == 2 {
            // The last model takes everything, so that no query is left without one.
            (0..n * (m - 1)).for_each(|at| {
                if r.one_in(7) {
                    case.cost[at] = f64::INFINITY;
                }
            });
        }
        if let Some(limits) = &mut case.limits {
            limits[m - 1] = n as u64;
        }
        let cheapest = solver.solve(&case.problem(), Options::default()).unwrap();
        assert_eq!(cheapest.status, Status::Optimal, "seed {seed}: {:?}", cheapest.infeasible);
        let errors: Vec<f64> = case.cost.iter().zip(&case.quality).map(|(c, p)| c * 0.0 + 1.0 - p).collect();
        let errors: Vec<f64> = errors.iter().map(|e| if e.is_nan() { f64::INFINITY } else { *e }).collect();
        let best = solver.solve(&Problem { cost: &errors, ..case.problem() }, Options::default()).unwrap();
        let between = 0.5 * (cheapest.quality + best.quality);
        let case = match seed / 9 {
            0 => Case { target: Some(between), ..case },
            1 => Case { budget: Some(2.0 * cheapest.cost_usd), ..case },
            2 => {
                let group: Vec<u32> = (0..n).map(|_| r.below(3) as u32).collect();
                Case {
                    target: Some(between),
                    group,
                    floors: vec![between * 0.98, between * 1.01, 0.2],
                    ..case
                }
            }
            _ => Case { target: Some(between), budget: Some(4.0 * cheapest.cost_usd), ..case },
        };
        let plan = solver.solve(&case.problem(), Options::default()).unwrap();
        if let Some(why) = &plan.infeasible {
            assert!(case.budget.is_some() && case.target.is_some() && why.proven, "seed {seed}: {why:?}");
            continue;
        }
        let (cost, quality) = case.judge(&plan.assignment).unwrap();
        assert!(case.meets_floors(&plan.assignment) && case.budget.is_none_or(|b| cost <= b * (1.0 + 1e-11)));
        assert!(case.target.is_none_or(|target| quality >= target - 1e-11), "seed {seed}");
        assert!(plan.gap < 2e-3, "seed {seed}: gap {}", plan.gap);
        if case.floors.is_empty() && case.budget.is_none() {
            let dual = case.dual(&plan);
            assert!((dual - plan.bound).abs() <= 1e-9 * dual, "seed {seed}: {dual} {}", plan.bound);
        }
        assert_eq!(plan, solve(&case.problem()).unwrap(), "a used solver and a fresh one agree");
    }
}

/// More models than queries, most of them full: every price is that of a single query, and rounding must
/// not make a problem infeasible.
#[test]
fn what_a_flow_reaches_is_feasible() {
    let mut r = Random(21);
    for case in 0..300 {
        let (n, m) = (8 + r.below(20), 12 + r.below(12));
        let cost: Vec<f64> = (0..n * m).map(|_| 10f64.powf(3.0 * r.unit()) * 1e-6).collect();
        let quality: Vec<f64> = (0..n * m).map(|_| r.unit()).collect();
        let mut limits: Vec<u64> = (0..m).map(|_| [0, 1, 1, 1, 2, 5, 90][r.below(7)]).collect();
        limits[r.below(m)] = n as u64;
        let plain = Problem { limits: Some(&limits), ..Problem::new(n, m, &cost, &quality) };
        let errors: Vec<f64> = quality.iter().map(|p| 1.0 - p).collect();
        let most = solve(&Problem { cost: &errors, ..plain }).unwrap().quality;
        for share in [0.7, 0.9, 0.99, 1.0 - 1e-7] {
            let plan = solve(&Problem { quality_target: Some(share * most), ..plain }).unwrap();
            assert!(plan.quality >= share * most - 1e-11, "case {case}: {share} of {most}: {plan:?}");
        }
    }
}

/// A constraint that a plan misses by less than a solver's tolerance is still missed, and one huge cost
/// does not hide the others.
#[test]
fn nothing_is_proven_by_rounding() {
    let cost: Vec<f64> = [vec![1.0; 5], vec![1.001; 5]].concat();
    let quality: Vec<f64> = [vec![0.5; 5], vec![0.9; 5]].concat();
    let plan =
        solve(&Problem { budget_usd: Some(5.005 - 1e-10), ..Problem::new(5, 2, &cost, &quality) }).unwrap();
    assert!(plan.infeasible.as_ref().is_none_or(|why| !why.proven), "four dear, one cheap: {plan:?}");
    assert!(plan.status == Status::Infeasible || (plan.quality - 4.1 / 5.0).abs() < 1e-9, "{plan:?}");
    // A price that nobody would pay in place of +inf.
    let cost = [0.001, 0.001, 0.002, 0.002, 1e12, 1e12];
    let quality = [0.5, 0.5, 0.9, 0.9, 0.95, 0.95];
    let plan = solve(&Problem { budget_usd: Some(0.0035), ..Problem::new(2, 3, &cost, &quality) }).unwrap();
    assert!(plan.status == Status::Optimal && (plan.cost_usd - 0.003).abs() < 1e-12, "{plan:?}");
    let quality = [0.5123, 0.5321, 0.9123, 0.9321, 0.95, 0.95];
    let plan = solve(&Problem { quality_target: Some(0.7), ..Problem::new(2, 3, &cost, &quality) }).unwrap();
    assert!(plan.status == Status::Optimal && (plan.cost_usd - 0.003).abs() < 1e-12, "{plan:?}");
    // So many floors are refused, not tried.
    let floors = vec![0.1; 1001];
    let groups = Some(Groups { of_query: &[0, 1], floors: &floors });
    assert_eq!(
        solve(&Problem { groups, ..Problem::new(2, 3, &cost, &quality) }).unwrap_err().code(),
        "bad_problem"
    );
}

#[test]
fn one_slot_each_is_the_assignment_problem() {
    let mut r = Random(9);
    for (n, m) in [(6, 6), (5, 8), (40, 60), (60, 60)] {
        let cost: Vec<f64> = (0..n * m).map(|_| (r.unit() * 1000.0).round() / 1000.0).collect();
        let quality = vec![0.5; n * m];
        let limits = vec![1; m];
        let plan = solve(&Problem { limits: Some(&limits), ..Problem::new(n, m, &cost, &quality) }).unwrap();
        // A dual solution of the same value proves it, whatever found it.
        let mu = &plan.duals.workloads;
        let least = |i: usize| (0..m).map(|j| cost[j * n + i] + mu[j]).fold(f64::INFINITY, f64::min);
        let dual = (0..n).map(least).sum::<f64>() - mu.iter().sum::<f64>();
        assert!((plan.cost_usd - dual).abs() < 1e-12 * n as f64, "{n} × {m}: {} {dual}", plan.cost_usd);
        let mut used: Vec<u32> = plan.assignment.clone();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), n);
    }
}

#[test]
fn work_is_limited_and_watched() {
    // Floors that bind on 60 queries take some thousand steps to prove.
    let mut solver = Solver::default();
    let mut cheapest = |case: &Case| solver.solve(&case.problem(), Options::default()).unwrap().quality;
    let case = batch(4, 60, 8);
    let group: Vec<u32> = (0..60).map(|i| i % 3).collect();
    let floor = cheapest(&case) + 0.1;
    let case = Case { target: Some(floor), group, floors: vec![floor, floor, floor], ..case };
    let proven = solver.solve(&case.problem(), Options::default()).unwrap();
    assert!(proven.status == Status::Optimal && !proven.stopped);
    let quick = solver.solve(&case.problem(), Options { work: 0, ..Options::default() }).unwrap();
    assert!(quick.stopped && quick.status == Status::Feasible && quick.bound <= proven.cost_usd);
    assert!(quick.cost_usd >= proven.cost_usd * (1.0 - 1e-9));
    // A caller who breaks in the proof gets the best plan so far, before it an error.
    let mut stages = Vec::new();
    let mut stop_in_proof = |p: pennyroute::optimize::Progress| {
        stages.push(p.stage);
        if p.stage == Stage::Proof { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let watched = Options { watch: Some(&mut stop_in_proof), ..Options::default() };
    let stopped = solver.solve(&case.problem(), watched).unwrap();
    assert!(stopped.stopped && stopped.cost_usd <= quick.cost_usd, "{stopped:?}");
    assert!(stages.contains(&Stage::Relaxation) && stages.ends_with(&[Stage::Proof]));
    let mut stop = |_| ControlFlow::Break(());
    let error = solver.solve(&case.problem(), Options { watch: Some(&mut stop), ..Options::default() });
    assert_eq!(error.unwrap_err().code(), "cancelled");
}

#[test]
fn a_curve_is_the_hull_of_all_plans() {
    let case = batch(5, 300, 5);
    let unlimited = Case { limits: None, ..case.clone() };
    let exact = frontier(&case.cost, &case.quality, 300, 5).unwrap();
    let curve = Solver::default().curve(&unlimited.problem(), usize::MAX, Options::default()).unwrap();
    assert_eq!(curve.len(), exact.len());
    for (a, b) in curve.iter().zip(&exact) {
        assert!(
            (a.quality - b.quality).abs() < 1e-12 && (a.cost - b.cost).abs() < 1e-12 && a.lambda <= b.lambda
        );
    }
    // Under limits: convex, and each point is the optimum for its own quality.
    let curve = Solver::default().curve(&case.problem(), 12, Options::default()).unwrap();
    assert_eq!(curve.len(), 12);
    assert!(
        curve
            .windows(2)
            .all(|w| w[0].quality < w[1].quality && w[0].cost < w[1].cost && w[0].lambda < w[1].lambda)
    );
    for point in &curve {
        let plan = solve(&Case { target: Some(point.quality - 1e-12), ..case.clone() }.problem()).unwrap();
        assert!((plan.cost_usd - 300.0 * point.cost).abs() < 1e-9 * plan.cost_usd, "{point:?}");
    }
    // A target, a budget and floors are left out.
    let all = Case { target: Some(0.9), budget: Some(1e-9), floors: vec![0.99], ..case.clone() };
    assert_eq!(Solver::default().curve(&all.problem(), 12, Options::default()).unwrap(), curve);
    let few = Solver::default().curve(&case.problem(), 1, Options::default());
    assert_eq!(few.unwrap_err().code(), "bad_problem");
    assert!(
        Solver::default().curve(&Problem::new(0, 2, &[], &[]), 5, Options::default()).unwrap().is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn larger_batches_are_feasible_bounded_and_repeatable(seed in 0u64..1 << 40, n in 20usize..300, m in 2usize..9, alpha in 0.2f64..0.75) {
        let case = Case { target: Some(alpha), ..batch(seed, n, m) };
        let plan = solve(&case.problem()).unwrap();
        prop_assert_eq!(&plan, &solve(&case.problem()).unwrap());
        if let Some(why) = &plan.infeasible {
            prop_assert!(why.proven && (why.code == "workload_total" || why.largest < alpha));
        } else {
            let (cost, quality) = case.judge(&plan.assignment).unwrap();
            prop_assert!(quality >= alpha - 1e-11 && plan.bound <= cost * (1.0 + 1e-12) && plan.gap < 0.1, "{plan:?}");
            prop_assert!(case.dual(&plan) <= cost * (1.0 + 1e-12));
            // Complementary slackness: a priced model is full in the relaxation, a free one costs nothing.
            prop_assert!(plan.duals.workloads.iter().all(|&mu| mu >= 0.0) && plan.duals.quality >= 0.0);
        }
    }

    #[test]
    fn a_higher_target_never_costs_less(seed in 0u64..1 << 40, n in 5usize..60) {
        let mut last = (0.0, 0.0);
        for step in 0..8 {
            let case = Case { target: Some(0.1 * f64::from(step)), ..batch(seed, n, 4) };
            let plan = solve(&case.problem()).unwrap();
            if plan.status == Status::Infeasible { break; }
            prop_assert!(plan.bound >= last.0 * (1.0 - 1e-8), "{} {}", plan.bound, last.0);
            prop_assert!(plan.duals.quality >= last.1 * (1.0 - 1e-9), "prices rise with the target");
            last = (plan.bound.min(plan.cost_usd) , plan.duals.quality);
        }
    }

    #[test]
    fn a_budget_buys_what_its_target_costs(seed in 0u64..1 << 40, n in 5usize..60, alpha in 0.3f64..0.6) {
        let case = Case { target: Some(alpha), ..batch(seed, n, 4) };
        let plan = solve(&case.problem()).unwrap();
        prop_assume!(plan.status != Status::Infeasible);
        let mirror = Case { target: None, budget: Some(plan.cost_usd), ..case };
        let rich = solve(&mirror.problem()).unwrap();
        prop_assert!(rich.bound >= alpha - 1e-11 && rich.status != Status::Infeasible);
        prop_assert!(rich.status != Status::Optimal || rich.quality >= plan.quality - 1e-8);
    }
}
