//! How well lengths are estimated: tokens of the answer, and tokens of the question.
//!
//! The error is `|estimated − counted| / counted`. The ECCOS paper predicts the answer's length as one
//! of ten buckets up to 1,024 tokens; here bucket b holds `102.4·b ≤ tokens < 102.4·(b + 1)`, and the
//! last one everything longer, too. Only answers whose tokens were counted on the raw output count.

use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use super::bootstrap::{Measured, Quantiles, Resamples, Tally};
use super::intervals::inside;
use crate::estimate::Interval;

/// Number of buckets.
const BUCKETS: usize = 10;

/// Tokens of one bucket.
const BUCKET: f64 = 1024.0 / BUCKETS as f64;

/// The length of one answer.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// Position of the query.
    pub query: usize,
    /// Tokens counted.
    pub counted: f64,
    /// Tokens expected; ends may be NaN.
    pub expected: Interval,
}

/// How well the lengths of answers were estimated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// Number of answers with counted tokens and an estimate.
    pub answers: usize,
    /// Median error, percent.
    pub median_error: Option<Measured>,
    /// Estimates in the right bucket, percent.
    pub bucket: Option<Measured>,
    /// Estimates in the right bucket or one beside it, percent.
    pub near_bucket: Option<Measured>,
    /// Counts inside the interval, percent; absent where no interval is stated.
    pub inside: Option<Measured>,
}

/// Judges estimates of length; `None` where there are none.
pub fn lengths(lengths: &[Length], resamples: &Resamples) -> Option<Lengths> {
    if lengths.is_empty() {
        return None;
    }
    let mut exact = Tally::new(resamples.queries());
    let mut near = exact.clone();
    for length in lengths {
        let apart = bucket(length.counted).abs_diff(bucket(length.expected.estimate));
        exact.count(length.query, apart == 0);
        near.count(length.query, apart <= 1);
    }
    let error = |l: &Length| (100.0 * error(l.counted, l.expected.estimate), l.query);
    let errors = Quantiles::new(lengths.iter().map(error).collect());
    Some(Lengths {
        answers: lengths.len(),
        median_error: resamples.measure(|weights| errors.at(0.5, weights)),
        bucket: resamples.measure(|weights| exact.percent(weights)),
        near_bucket: resamples.measure(|weights| near.percent(weights)),
        inside: inside(lengths.iter().map(|l| (l.query, l.counted, l.expected)), resamples),
    })
}

fn bucket(tokens: f64) -> usize {
    ((tokens / BUCKET) as usize).min(BUCKETS - 1)
}

fn error(counted: f64, estimated: f64) -> f64 {
    (estimated - counted).abs() / counted.max(1.0)
}

/// Means by key, such as of tokens by model and source.
pub fn means<K: Eq + Hash>(values: impl Iterator<Item = (K, f64)>) -> HashMap<K, f64> {
    let mut sums: HashMap<K, (f64, f64)> = HashMap::new();
    for (key, value) in values {
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + value, sum.1 + 1.0);
    }
    sums.into_iter().map(|(key, (sum, n))| (key, sum / n)).collect()
}

/// How well the tokens of texts were estimated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InputTokens {
    /// Number of texts with counted tokens.
    pub queries: usize,
    /// Median error, percent.
    pub median_error: Option<Measured>,
    /// Error that nine of ten texts are below, percent.
    pub p90_error: Option<Measured>,
}

/// Judges estimates of input tokens, given as (query, counted, estimated); `None` where nothing was
/// counted.
pub fn input_tokens(counts: &[(usize, f64, f64)], resamples: &Resamples) -> Option<InputTokens> {
    let each = |&(query, counted, estimated): &(usize, f64, f64)| (100.0 * error(counted, estimated), query);
    let errors = Quantiles::new(counts.iter().map(each).collect());
    (!counts.is_empty()).then(|| InputTokens {
        queries: counts.len(),
        median_error: resamples.measure(|weights| errors.at(0.5, weights)),
        p90_error: resamples.measure(|weights| errors.at(0.9, weights)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_median_error_and_ten_buckets() {
        let resamples = Resamples::new(&[None, None]);
        let length = |query, counted, estimate| Length {
            query,
            counted,
            expected: Interval { estimate, lo: estimate / 2.0, hi: estimate * 2.0 },
        };
        // Buckets 0 and 1, 9 and 9 (the last is open), 3 and 7, 0 and 0.
        let answers = [(0, 100.0, 150.0), (0, 5000.0, 1000.0), (1, 400.0, 800.0), (1, 0.0, 3.0)];
        let judged = lengths(&answers.map(|(q, c, e)| length(q, c, e)), &resamples).unwrap();
        let value = |measured: Option<Measured>| measured.unwrap().value;
        assert_eq!(judged.answers, 4);
        // Errors of 0.5, 0.8, 1 and, of a single token at least, 3.
        assert!((value(judged.median_error) - 90.0).abs() < 1e-9);
        assert_eq!((value(judged.bucket), value(judged.near_bucket)), (50.0, 75.0));
        assert_eq!(value(judged.inside), 50.0);
        assert_eq!(lengths(&[], &resamples), None);
    }

    #[test]
    fn buckets_end_at_their_multiples() {
        assert_eq!([0.0, 102.3, 102.5, 921.5, 921.7, 1e9].map(bucket), [0, 0, 1, 8, 9, 9]);
    }

    #[test]
    fn texts_have_two_quantiles() {
        let resamples = Resamples::new(&[None; 4]);
        let counts = [(0, 100.0, 110.0), (1, 50.0, 50.0), (2, 10.0, 13.0), (3, 100.0, 80.0)];
        let judged = input_tokens(&counts, &resamples).unwrap();
        assert!((judged.median_error.unwrap().value - 15.0).abs() < 1e-9, "{judged:?}");
        assert!((judged.p90_error.unwrap().value - 30.0).abs() < 1e-9, "{judged:?}");
    }

    #[test]
    fn means_are_kept_apart_by_key() {
        let means = means([("a", 1.0), ("b", 5.0), ("a", 3.0)].into_iter());
        assert_eq!((means["a"], means["b"]), (2.0, 5.0));
    }
}
