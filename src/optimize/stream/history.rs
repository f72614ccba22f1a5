//! The last rows seen, in bounded memory.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{bits, interleave};
use crate::error::{Error, Result};
use crate::optimize::{MAX_COST_USD, check_pairs};

/// A ring of rows: M costs, then M qualities. Single precision is plenty for a sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct History {
    #[serde(with = "bits::list")]
    rows: Vec<f32>,
    /// Where the oldest row begins once the ring is full; 0 before.
    oldest: usize,
    /// Rows ever seen.
    seen: u64,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Adds a row, in place of the oldest when there are `window` of them. A query that may use no
    /// model says nothing about prices and is left out.
    pub(super) fn push(&mut self, cost: &[f64], quality: &[f64], window: usize) {
        if cost.iter().all(|c| c.is_infinite()) {
            return;
        }
        let row = cost.iter().chain(quality).map(|&value| value as f32);
        let width = 2 * cost.len();
        self.seen += 1;
        if self.rows.len() < window * width {
            self.rows.extend(row);
        } else {
            self.rows[self.oldest..self.oldest + width].iter_mut().zip(row).for_each(|(old, new)| *old = new);
            self.oldest = (self.oldest + width) % self.rows.len();
        }
    }

    /// Number of rows, and their costs and qualities model-major. `models` is that of the rows.
    pub(super) fn matrices(&self, models: usize) -> (usize, Vec<f64>, Vec<f64>) {
        let n = self.rows.len() / (2 * models);
        let column = |k: usize| self.rows.iter().skip(k).step_by(2 * models).map(|&value| f64::from(value));
        let cost = (0..models).flat_map(column).collect();
        let quality = (models..2 * models).flat_map(column).collect();
        (n, cost, quality)
    }

    /// The rows from the oldest to the newest.
    fn in_order(&self, width: usize) -> VecDeque<&[f32]> {
        let (newer, older) = self.rows.split_at(self.oldest);
        older.chunks_exact(width).chain(newer.chunks_exact(width)).collect()
    }

    /// The rows of both, evenly mixed in their order; the last `window` of them are kept.
    pub(super) fn merge(&mut self, other: &History, models: usize, window: usize) {
        let mixed = interleave(&self.in_order(2 * models), &other.in_order(2 * models));
        let last = mixed.into_iter().rev().take(window).rev();
        *self = History { rows: last.flatten().copied().collect(), oldest: 0, seen: self.seen + other.seen };
    }

    /// Refuses rows that [`History::push`] could not have stored.
    pub(super) fn check(&self, models: usize, window: usize) -> Result<()> {
        let width = 2 * models;
        let full = self.rows.len() == window * width;
        let starts = self.oldest == 0 || (full && self.oldest < self.rows.len());
        if !self.rows.len().is_multiple_of(width)
            || self.rows.len() > window * width
            || !self.oldest.is_multiple_of(width)
            || !starts
            || self.seen < (self.rows.len() / width) as u64
        {
            let what = format!(
                "state: a history of {} numbers is none of {models} models with a window of {window}",
                self.rows.len()
            );
            return Err(Error::Problem { what });
        }
        let (n, cost, quality) = self.matrices(models);
        check_pairs(&cost, &quality, n, MAX_COST_USD)
    }
}
