//! The queries whose choice is still open.
//!
//! At prices near the optimum most queries are far from changing their model; their choice is fixed
//! and moves to the right-hand sides. What is left, the core, is a small problem of the same form.
//! Costs are scaled by a power of two (so exactly) to a mean near 1, which makes all numbers of
//! `simplex` comparable.

use super::price::Sum;
use super::rows::{Coupled, Kind, Row, Share};
use super::sweep::View;
use super::values::terms;

/// Values of pairs are told apart by up to so much (a value is near 1): where prices or qualities are
/// equal, all pairs tie, and a vertex of more ties than rows makes a simplex method stand still. Bounds are
/// proven without it, or lowered by it.
pub(super) const PERTURBATION: f64 = 1e-13;

/// No row: the model's slots cannot run out.
pub(super) const NO_ROW: u32 = u32::MAX;

/// A small problem in the notation of `rows`, model-major: pair (q, j) stands at `j·n + q`.
pub(super) struct Core {
    pub n: usize,
    pub m: usize,
    /// Index of each query in the whole problem.
    pub id: Vec<u32>,
    /// Scaled; 0 where forbidden.
    pub cost: Vec<f64>,
    /// 0 where forbidden.
    pub quality: Vec<f64>,
    /// What is added to a pair's value: +inf where forbidden, else less than [`PERTURBATION`].
    pub offset: Vec<f64>,
    pub group: Vec<u32>,
    /// Number of groups told apart.
    pub groups: usize,
    /// Coupling rows; `need` is scaled and without what the fixed queries contribute.
    pub rows: Vec<Row>,
    /// Slots left by the fixed queries, per model.
    pub limits: Vec<f64>,
    /// The row of each model's slots, after the coupling rows; [`NO_ROW`] where unlimited.
    pub row_of: Vec<u32>,
    /// Number of rows.
    pub d: usize,
    /// What stands before cost and minus quality in the objective, scaled.
    pub goal: (f64, f64),
    /// What the objective was multiplied by.
    pub unit: f64,
    /// What costs were multiplied by.
    pub scale: f64,
    /// The objective of the fixed queries, scaled.
    pub fixed: f64,
}

/// A choice for every query of a problem, not scaled.
pub(super) struct Used {
    pub choice: Vec<u32>,
    pub objective: f64,
    /// Σ w of each coupling row.
    pub sums: Vec<f64>,
    /// Queries per model.
    pub load: Vec<f64>,
}

impl Core {
    /// The core `id` of a problem in which all other queries keep their choice (`None`: there are none).
    pub fn new(coupled: &Coupled, view: &View, share: &Share, id: Vec<u32>, used: Option<&Used>) -> Self {
        let (n, m, whole) = (id.len(), view.m, view.n);
        let mut cost = Vec::with_capacity(n * m);
        let mut quality = Vec::with_capacity(n * m);
        let mut offset = Vec::with_capacity(n * m);
        for j in 0..m {
            let (costs, qualities) = (&view.cost[j * whole..][..whole], &view.quality[j * whole..][..whole]);
            for &i in &id {
                let c = costs[i as usize];
                let open = c < f64::INFINITY;
                cost.push(if open { c } else { 0.0 });
                quality.push(if open { qualities[i as usize] } else { 0.0 });
                offset.push(if open { perturbation(i, j, m) } else { c });
            }
        }
        let scale = coupled.scale;
        let (on_cost, on_quality) = coupled.goal.weights();
        let unit = if on_cost > 0.0 { scale } else { 1.0 };
        for c in &mut cost {
            *c *= scale;
        }
        let mut row_of = vec![NO_ROW; m];
        let mut d = coupled.rows.len();
        for (_, row) in row_of.iter_mut().enumerate().filter(|(j, _)| coupled.limited(*j)) {
            *row = d as u32;
            d += 1;
        }
        let mut core = Core {
            n,
            m,
            group: id.iter().map(|&i| view.group.map_or(0, |group| group[i as usize])).collect(),
            groups: coupled.groups(),
            id,
            cost,
            quality,
            offset,
            rows: coupled.rows.iter().zip(&share.need).map(|(row, &need)| Row { need, ..*row }).collect(),
            limits: share.limit.clone(),
            row_of,
            d,
            goal: (on_cost, on_quality * unit),
            unit,
            scale,
            fixed: 0.0,
        };
        for row in core.rows.iter_mut().filter(|row| row.kind == Kind::Budget) {
            row.need *= scale;
        }
        if let Some(used) = used {
            core.fix(used);
        }
        core
    }

    /// Takes what all queries outside the core use from the right-hand sides: all of it, less what the
    /// core's own first choices do.
    fn fix(&mut self, used: &Used) {
        let own: Vec<u32> = self.id.iter().map(|&i| used.choice[i as usize]).collect();
        let own = Column::new(self, own);
        own.x.iter().for_each(|&j| self.limits[j as usize] += 1.0);
        self.limits.iter_mut().zip(&used.load).for_each(|(limit, load)| *limit -= load);
        self.fixed = used.objective * self.unit - own.a;
        for ((row, sum), own) in self.rows.iter_mut().zip(&used.sums).zip(&own.w) {
            row.need -= sum * if row.kind == Kind::Budget { self.scale } else { 1.0 } - own;
        }
    }

    /// The part that a gap leaves open at prices `pi`: pairs whose reduced cost reaches it are closed,
    /// and queries with one model left are fixed; those of basic ties (`tied`, u32::MAX: none) stay open. The second value is the best model of every query.
    /// The part's `id` are indices into this core.
    pub fn restrict(&self, pi: &[f64], gap: f64, tied: &[u32]) -> (Core, Vec<u32>) {
        let mut rho = Vec::new();
        let at = terms(self, 1.0, pi, &mut rho);
        let mut best = Vec::with_capacity(self.n);
        let mut id = Vec::new();
        let mut open = vec![false; self.n * self.m];
        let mut kept = vec![false; self.n];
        tied.iter().filter(|q| **q != u32::MAX).for_each(|&q| kept[q as usize] = true);
        for q in 0..self.n {
            let values = |j: usize| at.of(self, q, j);
            let least = (0..self.m).map(values).fold(f64::INFINITY, f64::min);
            let mut count = 0;
            let mut first = 0;
            for j in (0..self.m).rev().filter(|&j| self.is_open(q, j)) {
                let reduced = values(j) - least;
                if reduced == 0.0 {
                    first = j;
                }
                if kept[q] || reduced < gap + PERTURBATION || reduced == 0.0 {
                    open[j * self.n + q] = true;
                    count += 1;
                }
            }
            best.push(first as u32);
            if count > 1 {
                id.push(q as u32);
            }
        }
        let pick = |of: &[f64]| -> Vec<f64> {
            of.chunks_exact(self.n).flat_map(|row| id.iter().map(|&q| row[q as usize])).collect()
        };
        let offset = |(j, q): (usize, u32)| {
            let at = j * self.n + q as usize;
            if open[at] { self.offset[at] } else { f64::INFINITY }
        };
        let pairs = (0..self.m).flat_map(|j| id.iter().map(move |&q| (j, q)));
        let mut part = Core {
            n: id.len(),
            m: self.m,
            cost: pick(&self.cost),
            quality: pick(&self.quality),
            offset: pairs.map(offset).collect(),
            group: id.iter().map(|&q| self.group[q as usize]).collect(),
            groups: self.groups,
            rows: self.rows.clone(),
            limits: self.limits.clone(),
            row_of: self.row_of.clone(),
            d: self.d,
            goal: self.goal,
            unit: self.unit,
            scale: self.scale,
            fixed: self.fixed,
            id,
        };
        kept.fill(false);
        part.id.iter().for_each(|&q| kept[q as usize] = true);
        let mut sums = vec![Sum::default(); self.rows.len()];
        let mut objective: Sum = [self.fixed].into_iter().collect();
        for q in (0..self.n).filter(|&q| !kept[q]) {
            let j = best[q] as usize;
            part.limits[j] -= 1.0;
            objective.add(self.objective(q, j));
            self.rows.iter().zip(&mut sums).for_each(|(row, sum)| sum.add(self.weight(row, q, j)));
        }
        part.fixed = objective.value();
        part.rows.iter_mut().zip(&sums).for_each(|(row, sum)| row.need -= sum.value());
        (part, best)
    }

    /// `a` of a pair.
    pub fn objective(&self, q: usize, j: usize) -> f64 {
        let at = j * self.n + q;
        self.goal.0 * self.cost[at] - self.goal.1 * self.quality[at]
    }

    /// `w` of a pair in one row.
    pub fn weight(&self, row: &Row, q: usize, j: usize) -> f64 {
        let at = j * self.n + q;
        row.weight(self.cost[at], self.quality[at], self.group[q])
    }

    pub fn is_open(&self, q: usize, j: usize) -> bool {
        self.offset[j * self.n + q] < f64::INFINITY
    }

    /// Prices of the whole problem (y, then μ per model) in the units and order of the core's rows.
    pub fn scaled(&self, pi: &[f64]) -> Vec<f64> {
        let mut to = vec![0.0; self.d];
        self.each_price(|row, at, unit| to[row] = pi[at] * unit);
        to
    }

    /// The inverse of [`Core::scaled`].
    pub fn unscaled(&self, pi: &[f64]) -> Vec<f64> {
        let mut to = vec![0.0; self.rows.len() + self.m];
        // Less than some perturbations is none.
        self.each_price(|row, at, unit| {
            to[at] = if pi[row] < 100.0 * PERTURBATION { 0.0 } else { pi[row] / unit }
        });
        to
    }

    fn each_price(&self, mut visit: impl FnMut(usize, usize, f64)) {
        let k = self.rows.len();
        // Prices are objective per unit of the row; a budget's unit is scaled as costs are.
        let objective = self.unit;
        for (r, row) in self.rows.iter().enumerate() {
            visit(r, r, if row.kind == Kind::Budget { objective / self.scale } else { objective });
        }
        for (j, &row) in self.row_of.iter().enumerate().filter(|(_, row)| **row != NO_ROW) {
            visit(row as usize, k + j, objective);
        }
    }
}

/// A choice for every query of a core, its objective and the sum of each coupling row.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub a: f64,
    pub w: Vec<f64>,
    pub x: Vec<u32>,
}

impl Column {
    /// A choice with its sums.
    pub fn new(core: &Core, x: Vec<u32>) -> Self {
        let choice = || x.iter().enumerate().map(|(q, &j)| (q, j as usize));
        let a: Sum = choice().map(|(q, j)| core.objective(q, j)).collect();
        let sum = |row: &Row| choice().map(|(q, j)| core.weight(row, q, j)).collect::<Sum>().value();
        Column { a: a.value(), w: core.rows.iter().map(sum).collect(), x }
    }

    /// Whether the coupling rows hold.
    pub fn covers(&self, core: &Core) -> bool {
        core.rows.iter().zip(&self.w).all(|(row, &w)| w >= row.need)
    }

    /// Whether all rows hold.
    pub fn feasible(&self, core: &Core) -> bool {
        let mut room = core.limits.clone();
        self.x.iter().for_each(|&j| room[j as usize] -= 1.0);
        room.iter().all(|&room| room >= 0.0) && self.covers(core)
    }
}

/// A number from 0 to [`PERTURBATION`] for a pair, by a hash (splitmix64): the same on every run.
fn perturbation(i: u32, j: usize, m: usize) -> f64 {
    let mut z = (i as u64 * m as u64 + j as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 11) as f64 / (1u64 << 53) as f64 * PERTURBATION
}
