//! What a router has to beat: constants, chance, k-nearest-neighbors, and the oracle above all.

use crate::error::Result;
use crate::retrieve::{Exact, Retriever, Vectors};

use super::metrics::{Estimated, Point, Recorded};

/// Neighbors of the k-NN baseline, as in AIOS `SmartRouting`.
pub const NEIGHBORS: usize = 16;

/// A model drawn anew for every query, in expectation.
pub fn random(recorded: &Recorded) -> Point {
    let constants = recorded.constants();
    let mean =
        |value: fn(&Point) -> f64| constants.iter().map(value).sum::<f64>() / constants.len().max(1) as f64;
    Point { cost: mean(|p| p.cost), accuracy: mean(|p| p.accuracy) }
}

/// The cheapest model that is right, or the cheapest of all where none is: knowing every outcome.
pub fn oracle(recorded: &Recorded) -> Point {
    let m = recorded.models.len();
    let choose = |i: usize| {
        let (correct, cost) = (&recorded.correct[i * m..(i + 1) * m], &recorded.cost[i * m..(i + 1) * m]);
        let best = correct.iter().copied().fold(0.0, f64::max);
        let cheapest =
            (0..m).filter(|&j| correct[j] >= best).reduce(|a, b| if cost[b] < cost[a] { b } else { a });
        cheapest.unwrap_or_default()
    };
    recorded.choose(choose)
}

/// Past queries with their outcomes, for the k-NN baseline.
pub struct History {
    models: usize,
    search: Exact,
    /// Correctness and cost per record and model, record-major; `None`: not recorded.
    outcomes: Vec<Option<(f64, f64)>>,
    /// Means per model, where no neighbor has an outcome.
    means: Vec<(f64, f64)>,
}

impl History {
    /// Past queries by embedding; `outcomes` holds correctness and cost per record and model.
    pub fn new(embeddings: &[Vec<f32>], outcomes: Vec<Option<(f64, f64)>>, models: usize) -> Result<Self> {
        let mut vectors = Vectors::new(embeddings.first().map_or(1, Vec::len))?;
        embeddings.iter().try_for_each(|embedding| vectors.push(embedding))?;
        let of_model =
            |j: usize| mean(outcomes.iter().skip(j).step_by(models).copied()).unwrap_or((0.5, 0.0));
        let means = (0..models).map(of_model).collect();
        Ok(History { models, search: Exact::new(vectors), outcomes, means })
    }

    /// The mean correctness and cost of the nearest records, per model.
    pub fn estimate(&self, embedding: &[f32]) -> Estimated {
        let near = self.search.nearest(embedding, NEIGHBORS);
        let of_model = |j: usize| {
            let known = near.iter().map(|n| self.outcomes[n.record as usize * self.models + j]);
            mean(known).unwrap_or(self.means[j])
        };
        let (quality, cost) = (0..self.models).map(of_model).unzip();
        Estimated { quality, cost }
    }
}

fn mean(values: impl Iterator<Item = Option<(f64, f64)>>) -> Option<(f64, f64)> {
    let (a, b, n) = values.flatten().fold((0.0, 0.0, 0.0), |(a, b, n), (x, y)| (a + x, b + y, n + 1.0));
    (n > 0.0).then(|| (a / n, b / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_takes_the_cheapest_right_model() {
        let recorded = Recorded {
            models: vec!["a".into(), "b".into()],
            correct: vec![0.0, 1.0, 1.0, 1.0, 0.0, 0.0],
            cost: vec![0.001, 0.003, 0.001, 0.003, 0.001, 0.003],
        };
        let point = oracle(&recorded);
        assert!(
            (point.cost - 5.0 / 3.0).abs() < 1e-12 && (point.accuracy - 2.0 / 3.0).abs() < 1e-12,
            "{point:?}"
        );
        let point = random(&recorded);
        assert!((point.cost - 2.0).abs() < 1e-12 && (point.accuracy - 0.5).abs() < 1e-12, "{point:?}");
    }

    #[test]
    fn neighbors_vote_and_gaps_fall_back_to_the_mean() {
        let embeddings = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let outcomes = vec![Some((1.0, 0.1)), None, Some((0.0, 0.3)), None];
        let history = History::new(&embeddings, outcomes, 2).unwrap();
        let estimated = history.estimate(&[1.0, 0.0]);
        assert_eq!(estimated.quality, [0.5, 0.5]);
        assert_eq!(estimated.cost, [0.2, 0.0]);
    }
}
