//! What does quality cost, when nothing but the mean couples the queries?
//!
//! Without workload limits the problem falls apart: for a price λ (USD per unit of quality) each
//! query takes the model with the least `c − λ·p`. As λ grows from 0 a query climbs the lower
//! convex hull of its points `(p, c)`, from its cheapest model to its best one, and the slope of
//! each hull edge is the λ at which it moves on. All edges of all queries, sorted by slope, are
//! therefore the whole cost-quality frontier: O(N·M log(N·M)), exact, no search.
//!
//! The frontier of a reference sample gives a stateless router its price for a target
//! ([`price_of_quality`]), and the page its curve.

use super::{MAX_COST_USD, pairs};
use crate::error::{Error, Result};

/// Edges whose slopes agree to this relative distance are one point of the frontier.
const SAME_SLOPE: f64 = 1e-9;
/// Differences of quality below this are rounding, not quality.
const SAME_QUALITY: f64 = 1e-12;

/// One point of a cost-quality frontier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PricePoint {
    /// λ: what one unit of quality of one query is worth, in USD. Each query takes the model with
    /// the least `cost − lambda · quality`, and of equal ones the one with the higher quality.
    /// It stands just above the breakpoint (1e-9 of its value), so that rounding in the caller's
    /// comparison cannot fall on the side that misses the target.
    pub lambda: f64,
    /// Mean quality at this price, 0 to 1.
    pub quality: f64,
    /// Mean cost of a query at this price, in USD.
    pub cost: f64,
    /// Whether the quality asked for is reached; always true on a frontier itself.
    pub reachable: bool,
}

/// One edge of a query's lower hull.
struct Edge {
    slope: f64,
    /// Query, then step within the query: ties break the same way on every run.
    order: (u32, u32),
    dp: f64,
    dc: f64,
}

/// The whole frontier of `n` queries and `m` models without limits: sorted by λ, quality and cost
/// strictly increasing, from the cheapest choice (λ = 0) to the best one.
///
/// `costs` (USD, +inf where forbidden) and `qualities` (0 to 1) are model-major: pair (i, j) stands
/// at `j·n + i`. No points when `n` is 0.
pub fn frontier(costs: &[f64], qualities: &[f64], n: usize, m: usize) -> Result<Vec<PricePoint>> {
    check(costs, qualities, n, m)?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let mut edges = Vec::new();
    let mut hull: Vec<(f64, f64)> = Vec::with_capacity(m);
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(m);
    let (mut quality, mut cost) = (Sum::default(), Sum::default());
    for i in 0..n {
        points.clear();
        points
            .extend((0..m).map(|j| (qualities[j * n + i], costs[j * n + i])).filter(|(_, c)| c.is_finite()));
        lower_hull(&mut points, &mut hull);
        let Some(&(p, c)) = hull.first() else {
            return Err(Error::Problem { what: format!("query {i} may not use any model") });
        };
        quality.add(p);
        cost.add(c);
        for (step, pair) in hull.windows(2).enumerate() {
            let (dp, dc) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
            edges.push(Edge { slope: dc / dp, order: (i as u32, step as u32), dp, dc });
        }
    }
    edges.sort_unstable_by(|a, b| a.slope.total_cmp(&b.slope).then(a.order.cmp(&b.order)));

    let scale = 1.0 / n as f64;
    let point = |lambda: f64, quality: &Sum, cost: &Sum| PricePoint {
        lambda,
        quality: quality.value() * scale,
        cost: cost.value() * scale,
        reachable: true,
    };
    let mut curve = vec![point(0.0, &quality, &cost)];
    for (k, edge) in edges.iter().enumerate() {
        quality.add(edge.dp);
        cost.add(edge.dc);
        let last_of_group = edges.get(k + 1).is_none_or(|next| next.slope > edge.slope * (1.0 + SAME_SLOPE));
        if last_of_group {
            curve.push(point(edge.slope * (1.0 + SAME_SLOPE / 2.0), &quality, &cost));
        }
    }
    Ok(curve)
}

/// The least price at which mean quality reaches `target` on this sample (no limits).
///
/// A target at or below the quality of the cheapest choice has price 0. One that no choice reaches
/// gives the best end of the frontier with `reachable` false.
pub fn price_of_quality(
    costs: &[f64],
    qualities: &[f64],
    n: usize,
    m: usize,
    target: f64,
) -> Result<PricePoint> {
    let curve = frontier(costs, qualities, n, m)?;
    price_on(&curve, target)
}

/// The first point of a [`frontier`] whose quality reaches `target`; see [`price_of_quality`].
/// An empty frontier (no queries) meets every target at price 0.
pub fn price_on(curve: &[PricePoint], target: f64) -> Result<PricePoint> {
    if !(0.0..=1.0).contains(&target) {
        return Err(Error::Number {
            place: "quality target".into(),
            value: target.to_string(),
            expected: "a number from 0 to 1",
        });
    }
    let Some(last) = curve.last() else {
        return Ok(PricePoint { lambda: 0.0, quality: 0.0, cost: 0.0, reachable: true });
    };
    let reached = curve.partition_point(|point| point.quality < target - SAME_QUALITY);
    Ok(curve.get(reached).copied().unwrap_or(PricePoint { reachable: false, ..*last }))
}

/// The lower convex hull of `(p, c)` points from the least cost to the most quality, slopes
/// strictly increasing and not negative.
fn lower_hull(points: &mut [(f64, f64)], hull: &mut Vec<(f64, f64)>) {
    hull.clear();
    // By cost, then by quality downwards: the first point is the cheapest, the best of its equals.
    points.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(b.0.total_cmp(&a.0)));
    for &(p, c) in points.iter() {
        if hull.last().is_some_and(|top| p <= top.0 + SAME_QUALITY) {
            continue; // dearer and no better
        }
        while let [.., a, b] = hull[..] {
            // Invariant: slopes increase along the hull. `b` goes when it lies on or above a–(p, c).
            if (b.1 - a.1) * (p - b.0) >= (c - b.1) * (b.0 - a.0) {
                hull.pop();
            } else {
                break;
            }
        }
        hull.push((p, c));
    }
}

fn check(costs: &[f64], qualities: &[f64], n: usize, m: usize) -> Result<()> {
    let size = pairs(n, m)?;
    for (name, len) in [("costs", costs.len()), ("qualities", qualities.len())] {
        if len != size {
            return Err(Error::Problem {
                what: format!("{name} has {len} entries, {n} queries × {m} models need {size}"),
            });
        }
    }
    super::check_pairs(costs, qualities, n, MAX_COST_USD)
}

/// A running sum with Neumaier's compensation: millions of small terms, no drift.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, term: f64) {
        let next = self.sum + term;
        self.lost +=
            if self.sum.abs() >= term.abs() { (self.sum - next) + term } else { (term - next) + self.sum };
        self.sum = next;
    }

    pub(super) fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<T: IntoIterator<Item = f64>>(terms: T) -> Self {
        let mut sum = Sum::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a router does with the price.
    fn choose(costs: &[f64], qualities: &[f64], n: usize, m: usize, lambda: f64) -> (f64, f64) {
        let (mut quality, mut cost) = (0.0, 0.0);
        for i in 0..n {
            let best = (0..m)
                .map(|j| (costs[j * n + i], qualities[j * n + i]))
                .filter(|(c, _)| c.is_finite())
                .min_by(|a, b| {
                    (a.0 - lambda * a.1).total_cmp(&(b.0 - lambda * b.1)).then(b.1.total_cmp(&a.1))
                })
                .unwrap();
            quality += best.1 / n as f64;
            cost += best.0 / n as f64;
        }
        (quality, cost)
    }

    fn random(seed: u64, n: usize, m: usize, sixteenths: bool) -> (Vec<f64>, Vec<f64>) {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let quality: Vec<f64> =
            (0..n * m).map(|_| if sixteenths { (next() * 16.0).round() / 16.0 } else { next() }).collect();
        let cost = (0..n * m)
            .map(|k| match next() {
                u if u < 0.1 && k >= n => f64::INFINITY,
                u if u < 0.2 => 0.0,
                u if sixteenths => (u * 16.0).round() * 1e-4,
                u => 10f64.powf(3.0 * u) * 1e-5,
            })
            .collect();
        (cost, quality)
    }

    #[test]
    fn each_point_is_what_its_price_chooses() {
        for seed in 0..400 {
            let (n, m) = (1 + seed as usize % 7, 1 + seed as usize % 5);
            let (cost, quality) = random(seed, n, m, seed % 2 == 0);
            let curve = frontier(&cost, &quality, n, m).unwrap();
            assert!(curve.windows(2).all(|w| w[0].lambda < w[1].lambda && w[0].quality < w[1].quality));
            for point in curve {
                let (q, c) = choose(&cost, &quality, n, m, point.lambda);
                assert!((q - point.quality).abs() < 1e-12, "seed {seed}: {q} {point:?}");
                assert!((c - point.cost).abs() < 1e-12, "seed {seed}: {c} {point:?}");
            }
        }
    }

    #[test]
    fn every_price_lands_on_the_frontier() {
        for seed in 0..200 {
            let (n, m) = (5, 4);
            let (cost, quality) = random(seed, n, m, seed % 2 == 0);
            let curve = frontier(&cost, &quality, n, m).unwrap();
            for step in 0..60 {
                let lambda = 1e-6 * 1.3f64.powi(step);
                let (q, c) = choose(&cost, &quality, n, m, lambda);
                // Weak duality: no point of the curve beats the choice at its own price.
                for point in &curve {
                    assert!(c - lambda * q <= point.cost - lambda * point.quality + 1e-12);
                }
            }
        }
    }

    #[test]
    fn targets_below_within_and_beyond_the_curve() {
        // Two queries; cheap 0.5 at 1, dear 0.9 at 3 (first) or 5 (second).
        let (cost, quality) = ([1.0, 1.0, 3.0, 5.0], [0.5, 0.5, 0.9, 0.9]);
        let at = |target| price_of_quality(&cost, &quality, 2, 2, target).unwrap();
        assert_eq!(at(0.3).lambda, 0.0);
        assert_eq!(at(0.5).cost, 1.0);
        assert!((at(0.6).lambda - 5.0).abs() < 1e-8 && at(0.6).quality == 0.7);
        assert!((at(0.9).lambda - 10.0).abs() < 1e-8 && at(0.9).reachable);
        assert!(!at(0.95).reachable && at(0.95).quality == 0.9 && at(0.95).cost == 4.0);
    }

    #[test]
    fn odd_inputs_are_values_or_named_errors() {
        assert!(frontier(&[], &[], 0, 3).unwrap().is_empty());
        assert!(price_of_quality(&[], &[], 0, 3, 0.5).unwrap().reachable);
        assert!(frontier(&[f64::INFINITY], &[0.5], 1, 1).unwrap_err().to_string().contains("query 0"));
        assert_eq!(frontier(&[1.0], &[f64::NAN], 1, 1).unwrap_err().code(), "bad_number");
        assert_eq!(frontier(&[-1.0], &[0.5], 1, 1).unwrap_err().code(), "bad_number");
        assert_eq!(frontier(&[1.0, 2.0], &[0.5], 1, 1).unwrap_err().code(), "bad_problem");
        assert_eq!(price_of_quality(&[1.0], &[0.5], 1, 1, 1.5).unwrap_err().code(), "bad_number");
        assert_eq!(frontier(&[0.0, 0.0], &[0.2, 0.8], 1, 2).unwrap().len(), 1);
    }
}
