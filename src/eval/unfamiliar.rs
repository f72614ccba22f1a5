//! Whether queries unlike the training data are recognised: whole sources are left out of training,
//! and their queries evaluated beside those of the sources that stayed.

use serde::Serialize;

use super::bootstrap::{Measured, Resamples, Tally};
use super::entrants::Familiarity;
use super::metrics::{Calibration, Ranking};

/// How well what was left out is told from what was learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unfamiliar {
    /// Queries of the sources that were left out of training.
    pub left_out: usize,
    /// Area under the ROC curve of the flag's score: the chance that a query of a source that stayed
    /// is more familiar than one of a source that was left out.
    pub auc: Option<Measured>,
    /// Queries of sources that stayed, flagged all the same, percent.
    pub flagged_inside: Option<Measured>,
    /// Queries of sources that were left out, and are flagged, percent.
    pub flagged_left_out: Option<Measured>,
    /// Calibration error on what was left out and is not flagged, points.
    pub ece_missed: Option<Measured>,
    /// Calibration error on everything that is not flagged, points.
    pub ece_unflagged: Option<Measured>,
    /// Calibration error on everything that is flagged, points.
    pub ece_flagged: Option<Measured>,
}

/// Judges the flags of queries, of which `left_out` says which were left out of training.
pub fn unfamiliar(
    familiarity: &[Familiarity],
    left_out: &[bool],
    calibration: &Calibration,
    resamples: &Resamples,
) -> Unfamiliar {
    let inside: Vec<bool> = left_out.iter().map(|out| !out).collect();
    let scores: Vec<f64> = familiarity.iter().map(|f| f.score).collect();
    let ranking = Ranking::new(&inside, &scores);
    let flagged = |side: &[bool]| {
        let mut tally = Tally::new(side.len());
        for i in (0..side.len()).filter(|&i| side[i]) {
            tally.count(i, familiarity[i].flagged);
        }
        resamples.measure(|weights| tally.percent(weights))
    };
    let error = |counts: &(dyn Fn(usize) -> bool + Sync)| {
        resamples.measure(|weights| {
            let part = weights.iter().enumerate().map(|(i, &w)| if counts(i) { w } else { 0.0 });
            Some(100.0 * calibration.error(&part.collect::<Vec<f64>>())?)
        })
    };
    Unfamiliar {
        left_out: left_out.iter().filter(|&&out| out).count(),
        auc: resamples.measure(|weights| ranking.auc(weights)),
        flagged_inside: flagged(&inside),
        flagged_left_out: flagged(left_out),
        ece_missed: error(&|i| left_out[i] && !familiarity[i].flagged),
        ece_unflagged: error(&|i| !familiarity[i].flagged),
        ece_flagged: error(&|i| familiarity[i].flagged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::{Estimated, Recorded};

    #[test]
    fn flags_are_judged_on_both_sides() {
        // Four familiar queries at 0.75 of which three are right; four left out at 0.9, all wrong.
        let recorded = Recorded {
            models: vec!["a".into()],
            correct: vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            cost: vec![0.001; 8],
        };
        let estimated = Estimated { quality: [[0.75; 4], [0.9; 4]].concat(), cost: recorded.cost.clone() };
        let familiarity = [0.9, 0.8, 0.7, 0.3, 0.8, 0.4, 0.2, 0.1]
            .map(|score| Familiarity { score, flagged: score < 0.35 });
        let left_out = [[false; 4], [true; 4]].concat();
        let resamples = Resamples::new(&[None; 8]);
        let judged =
            unfamiliar(&familiarity, &left_out, &Calibration::new(&recorded, &estimated), &resamples);
        let value = |measured: Option<Measured>| measured.unwrap().value;
        // Of 16 pairs the familiar one is ahead in 4, 3.5, 3 and 2.
        assert_eq!((judged.left_out, value(judged.auc)), (4, 12.5 / 16.0));
        assert_eq!((value(judged.flagged_inside), value(judged.flagged_left_out)), (25.0, 50.0));
        assert!((value(judged.ece_missed) - 90.0).abs() < 1e-9, "{judged:?}");
        // Unflagged: three right at 0.75 and two wrong at 0.9. Flagged: one wrong at 0.75, two at 0.9.
        assert!((value(judged.ece_unflagged) - 100.0 * (0.75 + 1.8) / 5.0).abs() < 1e-9, "{judged:?}");
        assert!((value(judged.ece_flagged) - 100.0 * (0.75 + 1.8) / 3.0).abs() < 1e-9, "{judged:?}");
    }
}
