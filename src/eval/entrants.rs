//! Sets of estimates that stand beside each other: the router's own, and those in files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::data::{OutcomeRow, QueryRow};
use super::file::bad;
use super::metrics::Estimated;
use super::table::{self, optional, required};
use crate::error::Result;
use crate::estimate::{Estimate, Estimates, Estimator, Interval};
use crate::money::Moment;
use crate::router::Router;

/// The queries to evaluate on and the models that were tried on them; pair (i, j) stands at `i·M + j`.
pub struct Grid<'a> {
    /// N queries.
    pub queries: Vec<&'a QueryRow>,
    /// M names, sorted.
    pub models: Vec<&'a str>,
    /// What happened.
    pub outcomes: Vec<Option<&'a OutcomeRow>>,
    /// Position in the router's catalog, of models with a price and an ability there.
    pub catalog: Vec<Option<usize>>,
}

/// A file of estimates.
#[derive(Debug, Clone)]
pub struct EstimatesFile {
    /// What it is called in the comparison.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// How much a query resembles what was learnt from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiarity {
    /// The more the higher.
    pub score: f64,
    /// Whether an alarm is raised.
    pub flagged: bool,
}

impl Familiarity {
    fn of(estimates: &Estimates) -> Self {
        Familiarity { score: score(estimates), flagged: !estimates.in_distribution }
    }
}

/// What the flag is raised on.
fn score(estimates: &Estimates) -> f64 {
    -estimates.unfamiliarity
}

/// A set of estimates over a [`Grid`].
pub struct Entrant {
    /// What it is called.
    pub name: String,
    /// Per pair; ends of intervals, tokens and costs that the set does not state are NaN.
    pub cells: Vec<Option<Estimate>>,
    /// Per query, where the set says.
    pub familiarity: Vec<Option<Familiarity>>,
}

/// A value without an interval.
pub fn bare(estimate: f64) -> Interval {
    Interval { estimate, lo: f64::NAN, hi: f64::NAN }
}

impl Entrant {
    /// The estimates of a router; `step` is called once per query.
    pub fn ours(
        name: &str,
        router: &Router,
        estimator: Estimator,
        grid: &Grid,
        now: Moment,
        step: &(dyn Fn() + Sync),
    ) -> Result<Self> {
        let column: HashMap<usize, usize> =
            grid.catalog.iter().enumerate().filter_map(|(j, m)| Some(((*m)?, j))).collect();
        let estimate = |query: &&QueryRow| {
            step();
            let estimates = router.estimate_by(estimator, &query.request(), now)?;
            let mut cells = vec![None; grid.models.len()];
            for estimate in &estimates.models {
                if let Some(&j) = column.get(&estimate.model) {
                    cells[j] = Some(*estimate);
                }
            }
            Ok((cells, Some(Familiarity::of(&estimates))))
        };
        let rows = grid.queries.par_iter().map(estimate).collect::<Result<Vec<_>>>()?;
        let (cells, familiarity): (Vec<_>, _) = rows.into_iter().unzip();
        Ok(Entrant { name: name.into(), cells: cells.concat(), familiarity })
    }

    /// Reads `query_id,model,quality,cost_usd` and, where they are there, the other columns that
    /// `predict` writes. Rows of other queries and models are passed over.
    pub fn read(file: &EstimatesFile, grid: &Grid) -> Result<Self> {
        let wanted = [
            required("query_id"),
            required("model"),
            required("quality"),
            required("cost_usd"),
            optional("quality_lo"),
            optional("quality_hi"),
            optional("cost_lo"),
            optional("cost_hi"),
            optional("output_tokens"),
            optional("output_lo"),
            optional("output_hi"),
            optional("in_distribution"),
        ];
        let rows: HashMap<&str, usize> =
            grid.queries.iter().enumerate().map(|(i, query)| (query.id.as_str(), i)).collect();
        let columns: HashMap<&str, usize> = grid.models.iter().enumerate().map(|(j, m)| (*m, j)).collect();
        let m = grid.models.len();
        let mut cells = vec![None; rows.len() * m];
        let mut familiarity = vec![None; rows.len()];
        table::read(&file.path, &wanted, |row| {
            let (Some(&i), Some(&j)) = (rows.get(&*row.text(0)?), columns.get(&*row.text(1)?)) else {
                return Ok(());
            };
            let chance = |c| Ok(row.optional_within(c, 0.0, 1.0)?.unwrap_or(f64::NAN));
            let amount = |c| Ok(row.optional_within(c, 0.0, f64::INFINITY)?.unwrap_or(f64::NAN));
            let estimate = Estimate {
                model: j,
                quality: Interval { estimate: row.within(2, 0.0, 1.0)?, lo: chance(4)?, hi: chance(5)? },
                cost_usd: Interval {
                    estimate: row.within(3, 0.0, f64::INFINITY)?,
                    lo: amount(6)?,
                    hi: amount(7)?,
                },
                output_tokens: Interval { estimate: amount(8)?, lo: amount(9)?, hi: amount(10)? },
            };
            if cells[i * m + j].replace(estimate).is_some() {
                let (query, model) = (row.text(0)?, row.text(1)?);
                return Err(row.error(0, format!("and `model` repeat the pair {query:?}, {model:?}")));
            }
            if let Some(inside) = row.optional_within(11, 0.0, 1.0)? {
                familiarity[i] = Some(Familiarity { score: inside, flagged: inside < 0.5 });
            }
            Ok(())
        })?;
        if cells.iter().all(Option::is_none) {
            return Err(bad(&file.path, 0, "has no estimate of any query and model that is evaluated"));
        }
        Ok(Entrant { name: file.name.clone(), cells, familiarity })
    }

    /// The models of `columns` that the set says nothing about, as the first of them.
    pub fn lacks<'a>(&self, grid: &Grid<'a>, columns: &[usize]) -> Option<&'a str> {
        let m = grid.models.len();
        let absent = |&&j: &&usize| self.cells.iter().skip(j).step_by(m).all(Option::is_none);
        columns.iter().find(absent).map(|&j| grid.models[j])
    }

    /// Whether the set has an estimate of query `i` for each of `columns`.
    pub fn covers(&self, grid: &Grid, i: usize, columns: &[usize]) -> bool {
        columns.iter().all(|j| self.cells[i * grid.models.len() + j].is_some())
    }

    /// The estimates of some queries and models, query by query; pairs without one are left out.
    pub fn select<'a>(
        &'a self,
        grid: &Grid,
        rows: &'a [usize],
        columns: &'a [usize],
    ) -> impl Iterator<Item = &'a Estimate> {
        let m = grid.models.len();
        rows.iter().flat_map(move |i| columns.iter().filter_map(move |j| self.cells[i * m + j].as_ref()))
    }

    /// The same as what choices are made on.
    pub fn estimated(&self, grid: &Grid, rows: &[usize], columns: &[usize]) -> Estimated {
        let pair = |e: &Estimate| (e.quality.estimate, e.cost_usd.estimate);
        let (quality, cost) = self.select(grid, rows, columns).map(pair).unzip();
        Estimated { quality, cost }
    }
}

/// The path of a file of estimates with the name it goes by: `NAME=FILE`, or the file's own name
/// without its endings.
pub fn named_file(text: &str) -> EstimatesFile {
    if let Some((name, path)) = text.split_once('=')
        && !name.is_empty()
        && !name.contains(['/', '\\'])
    {
        return EstimatesFile { name: name.into(), path: path.into() };
    }
    let file = Path::new(text).file_name().map_or_else(|| text.into(), |name| name.to_string_lossy());
    let stem =
        [".gz", ".csv", ".parquet"].iter().fold(&*file, |name, end| name.strip_suffix(end).unwrap_or(name));
    EstimatesFile { name: stem.into(), path: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_by_their_stem_or_by_a_name() {
        let name = |text: &str| named_file(text).name;
        assert_eq!(name("runs/test.ridge.parquet"), "test.ridge");
        assert_eq!(name("crossfit.csv.gz"), "crossfit");
        assert_eq!(name("five folds=crossfit.csv"), "five folds");
        assert_eq!(named_file("a=b/c.csv").path, Path::new("b/c.csv"));
        assert_eq!(named_file("k=5/c.csv").path, Path::new("5/c.csv"));
        assert_eq!(named_file("runs/k=5/c.csv").path, Path::new("runs/k=5/c.csv"));
    }
}
