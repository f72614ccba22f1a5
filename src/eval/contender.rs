//! One set of estimates, and everything that is judged about it.

use rayon::prelude::*;
use serde::Serialize;

use super::bootstrap::{Measured, Resamples, interval};
use super::data::OutcomeRow;
use super::entrants::{Entrant, Familiarity, Grid};
use super::intervals::{QualityIntervals, inside, quality_intervals};
use super::judge::{Figures, Intervals, Judge, Yardstick};
use super::lengths::{Length, Lengths, lengths};
use super::metrics::{Point, Recorded};
use super::unfamiliar::{Unfamiliar, unfamiliar};
use crate::estimate::{Estimate, Interval};

/// One set of estimates and how it did.
#[derive(Debug, Clone, Serialize)]
pub struct Contender {
    /// What it is called.
    pub name: String,
    /// The figures of the judge.
    #[serde(flatten)]
    pub figures: Figures,
    /// Their central 95 % over resamples of the queries.
    pub intervals: Intervals,
    /// Mean gain minus that of the first contender, points; absent for the first.
    pub over_first: Option<Measured>,
    /// Queries called unlike the training data, as a share; absent where the set does not say.
    pub out_of_distribution: Option<f64>,
    /// Whether intervals of quality hold; absent where the set states none.
    pub quality_intervals: Option<QualityIntervals>,
    /// Costs inside their interval, percent, of calls with counted output tokens.
    pub cost_inside_counted: Option<Measured>,
    /// The same of all calls.
    pub cost_inside: Option<Measured>,
    /// Length of answers where it was counted; absent where the set states none.
    pub lengths: Option<Lengths>,
    /// How sources that were left out of training are told from the others.
    pub unfamiliar: Option<Unfamiliar>,
    /// Cost-accuracy curve by price; for plots.
    #[serde(skip)]
    pub curve: Vec<Point>,
}

/// What every set of estimates is judged on.
pub struct Board<'a> {
    /// The queries and the models that were tried on them.
    pub grid: &'a Grid<'a>,
    /// Queries of the grid that everything is known of.
    pub rows: &'a [usize],
    /// Models of the grid that are compared.
    pub columns: &'a [usize],
    /// What happened there.
    pub recorded: Recorded,
    /// Resamples of the rows.
    pub resamples: Resamples,
    /// Resamples of all queries of the grid: lengths are judged wherever tokens were counted, on models that are not compared too.
    pub resamples_of_grid: Resamples,
    /// Per row, whether its source was left out of training.
    pub left_out_of_training: Vec<bool>,
}

impl Board<'_> {
    /// Judges sets of estimates, the first being what the others are compared with.
    pub fn judge(&self, entrants: &[Entrant], yardstick: &Yardstick) -> Vec<Contender> {
        let judge =
            |e: &Entrant| Judge::new(&self.recorded, &e.estimated(self.grid, self.rows, self.columns));
        let judges: Vec<Judge> = entrants.par_iter().map(judge).collect();
        let all = |yardstick: &Yardstick, weights: &[f64]| -> Vec<Figures> {
            judges.iter().map(|judge| judge.figures(yardstick, weights)).collect()
        };
        let figures = all(yardstick, &vec![1.0; self.rows.len()]);
        let resampled = self.resamples.each(|w| all(&yardstick.resampled(&self.recorded, w), w));
        let over_first = |which: usize| -> Option<Measured> {
            let over = |of: &[Figures]| Some(of[which].mean_gain? - of[0].mean_gain?);
            let each = resampled.iter().filter_map(|of| over(of));
            Some(Measured { value: over(&figures)?, interval: interval(each.collect()) })
        };
        let contender = |(which, entrant): (usize, &Entrant)| {
            let each: Vec<Figures> = resampled.iter().map(|of| of[which].clone()).collect();
            let over_first = if which == 0 { None } else { over_first(which) };
            self.contender(entrant, &judges[which], figures[which].clone(), Intervals::of(&each), over_first)
        };
        entrants.par_iter().enumerate().map(contender).collect()
    }

    fn contender(
        &self,
        entrant: &Entrant,
        judge: &Judge,
        figures: Figures,
        intervals: Intervals,
        over_first: Option<Measured>,
    ) -> Contender {
        let m = self.columns.len();
        let estimates: Vec<&Estimate> = entrant.select(self.grid, self.rows, self.columns).collect();
        let qualities: Vec<Interval> = estimates.iter().map(|e| e.quality).collect();
        let counted = |&at: &usize| {
            let pair = self.rows[at / m] * self.grid.models.len() + self.columns[at % m];
            self.grid.outcomes[pair].is_some_and(|row| row.output_tokens.is_some())
        };
        let call = |at: usize| (at / m, self.recorded.cost[at], estimates[at].cost_usd);
        let calls = 0..estimates.len();
        let tokens = |at: usize, _| entrant.cells[at].map(|e| e.output_tokens);
        let familiarity: Option<Vec<Familiarity>> =
            self.rows.iter().map(|&i| entrant.familiarity[i]).collect();
        let flagged = |familiarity: &Vec<Familiarity>| {
            familiarity.iter().filter(|f| f.flagged).count() as f64 / familiarity.len() as f64
        };
        let outside = &self.left_out_of_training;
        let judged = familiarity.as_ref().filter(|_| outside.contains(&true));
        Contender {
            name: entrant.name.clone(),
            curve: judge.curve(&vec![1.0; self.rows.len()]),
            figures,
            intervals,
            over_first,
            out_of_distribution: familiarity.as_ref().map(flagged),
            quality_intervals: quality_intervals(&qualities, &self.recorded.correct, m),
            cost_inside_counted: inside(calls.clone().filter(counted).map(call), &self.resamples),
            cost_inside: inside(calls.map(call), &self.resamples),
            lengths: lengths(&counted_lengths(self.grid, &tokens), &self.resamples_of_grid),
            unfamiliar: judged.map(|f| unfamiliar(f, outside, judge.calibration(), &self.resamples)),
        }
    }
}

/// The answers of a grid whose tokens were counted, with what `expected` says of the pair at a
/// position, given the query's row.
pub fn counted_lengths(grid: &Grid, expected: &dyn Fn(usize, usize) -> Option<Interval>) -> Vec<Length> {
    let m = grid.models.len();
    let length = |(at, outcome): (usize, Option<&OutcomeRow>)| {
        let counted = outcome?.output_tokens?;
        let expected = expected(at, at / m).filter(|tokens| !tokens.estimate.is_nan())?;
        Some(Length { query: at / m, counted, expected })
    };
    grid.outcomes.iter().copied().enumerate().filter_map(length).collect()
}
