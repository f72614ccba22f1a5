//! The small linear program that mixes whole assignments (Dantzig–Wolfe).
//!
//! Rows r = 1…K are coupling constraints, columns are assignments k with objective `a_k` and
//! surplus `v_rk`; θ are the weights of a mix:
//!
//! ```text
//! min Σ a_k θ_k   s.t.  Σ_k v_rk θ_k − u_r = 0,  Σ_k θ_k = 1,  θ, u ≥ 0
//! ```
//!
//! A revised simplex with the basis solved afresh at every pivot: K + 1 is at most a few dozen, and
//! a basis stays feasible when columns are added, so each solve starts from the last. Bland's rule:
//! right-hand sides are 0, so ties are the rule and cycling would be.

/// Reduced costs below this, relative to the column, are rounding.
const ZERO: f64 = 1e-11;
const MAX_PIVOTS: usize = 20_000;

/// A column: its cost and its coefficients in the K rows and in the convexity row.
struct Column {
    cost: f64,
    coefficients: Vec<f64>,
}

/// The program; rows and the starting basis are fixed at creation, columns are added.
pub(super) struct Master {
    rows: usize,
    columns: Vec<Column>,
    basis: Vec<usize>,
    values: Vec<f64>,
}

/// Its optimum.
pub(super) struct Optimum {
    pub value: f64,
    /// Price per row, ≥ 0.
    pub y: Vec<f64>,
    /// Price of the convexity row.
    pub eta: f64,
}

impl Master {
    /// A program whose first mix is one assignment; `slack(r, surplus)` gives, for a row that this
    /// assignment misses, the cost of one unit of shortfall. The first 2K columns are shortfalls
    /// and surpluses, column 2K is the assignment.
    pub fn new(cost: f64, surplus: &[f64], shortfall_cost: f64) -> Self {
        let rows = surplus.len() + 1;
        let mut columns = Vec::new();
        let mut basis = Vec::new();
        for (r, &v) in surplus.iter().enumerate() {
            let unit = |sign: f64| (0..rows).map(|row| if row == r { sign } else { 0.0 }).collect();
            columns.push(Column { cost: shortfall_cost, coefficients: unit(1.0) });
            columns.push(Column { cost: 0.0, coefficients: unit(-1.0) });
            basis.push(2 * r + (v >= 0.0) as usize);
        }
        let mut master = Master { rows, columns, basis, values: Vec::new() };
        master.add(cost, surplus);
        master.basis.push(2 * (rows - 1));
        master
    }

    /// Adds an assignment.
    pub fn add(&mut self, cost: f64, surplus: &[f64]) {
        self.columns.push(Column { cost, coefficients: surplus.iter().copied().chain([1.0]).collect() });
    }

    /// Adds a column outside the convexity row.
    pub fn add_free(&mut self, cost: f64, surplus: &[f64]) {
        self.columns.push(Column { cost, coefficients: surplus.iter().copied().chain([0.0]).collect() });
    }

    /// The sum of shortfalls in the current mix.
    #[cfg(test)]
    pub fn shortfall(&self) -> f64 {
        let short = |&(&k, _): &(&usize, &f64)| k < 2 * (self.rows - 1) && k.is_multiple_of(2);
        self.basis.iter().zip(&self.values).filter(short).map(|(_, v)| v).sum()
    }

    /// Solves from the last basis. `None` when the numbers are beyond it (singular basis, endless
    /// pivots): the caller keeps the bound it has.
    pub fn solve(&mut self) -> Option<Optimum> {
        for _ in 0..MAX_PIVOTS {
            let size = self.rows;
            let b: Vec<f64> = (0..size).map(|r| (r + 1 == size) as u8 as f64).collect();
            let by_row = |r: usize, c: usize| self.columns[self.basis[c]].coefficients[r];
            self.values = gauss(size, by_row, &b)?.into_iter().map(|v| v.max(0.0)).collect();
            let costs: Vec<f64> = self.basis.iter().map(|&k| self.columns[k].cost).collect();
            let y = gauss(size, |r, c| by_row(c, r), &costs)?;
            let Some(enter) = self.columns.iter().enumerate().position(|(k, column)| {
                let priced: f64 = y.iter().zip(&column.coefficients).map(|(y, a)| y * a).sum();
                let scale: f64 = y.iter().zip(&column.coefficients).map(|(y, a)| (y * a).abs()).sum();
                !self.basis.contains(&k) && column.cost - priced < -ZERO * (scale + column.cost.abs())
            }) else {
                let value = costs.iter().zip(&self.values).map(|(c, v)| c * v).sum();
                let eta = y[size - 1];
                let y = y[..size - 1].iter().map(|y| y.max(0.0)).collect();
                return Some(Optimum { value, y, eta });
            };
            let direction = gauss(size, by_row, &self.columns[enter].coefficients)?;
            let largest = direction.iter().fold(0.0f64, |a, d| a.max(d.abs()));
            let leave = (0..size).filter(|&r| direction[r] > ZERO * largest).min_by(|&r, &s| {
                let ratio = |r: usize| self.values[r] / direction[r];
                ratio(r).total_cmp(&ratio(s)).then(self.basis[r].cmp(&self.basis[s]))
            })?;
            self.basis[leave] = enter;
        }
        None
    }
}

/// Solves a dense square system by elimination with partial pivoting.
fn gauss(size: usize, entry: impl Fn(usize, usize) -> f64, b: &[f64]) -> Option<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> =
        (0..size).map(|r| (0..size).map(|c| entry(r, c)).chain([b[r]]).collect()).collect();
    for c in 0..size {
        let pivot = (c..size).max_by(|&r, &s| rows[r][c].abs().total_cmp(&rows[s][c].abs()))?;
        if rows[pivot][c] == 0.0 || !rows[pivot][c].is_finite() {
            return None;
        }
        rows.swap(c, pivot);
        let (above, below) = rows.split_at_mut(c + 1);
        let head = &above[c];
        for row in below {
            let factor = row[c] / head[c];
            if factor != 0.0 {
                row[c..].iter_mut().zip(&head[c..]).for_each(|(x, h)| *x -= factor * h);
            }
        }
    }
    let mut x = vec![0.0; size];
    for r in (0..size).rev() {
        let known: f64 = (r + 1..size).map(|c| rows[r][c] * x[c]).sum();
        x[r] = (rows[r][size] - known) / rows[r][r];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_of_two_meets_the_row_between_them() {
        // Objective 1 short by 1, objective 3 with 3 to spare: a quarter of the second.
        let mut master = Master::new(1.0, &[-1.0], 1e3);
        master.add(3.0, &[3.0]);
        let optimum = master.solve().unwrap();
        assert!((optimum.value - 1.5).abs() < 1e-12 && (optimum.y[0] - 0.5).abs() < 1e-12);
        assert_eq!(master.shortfall(), 0.0);
    }

    #[test]
    fn a_row_out_of_reach_costs_its_shortfall() {
        let mut master = Master::new(1.0, &[-1.0, 0.5], 10.0);
        let optimum = master.solve().unwrap();
        assert!((optimum.value - 11.0).abs() < 1e-12 && (master.shortfall() - 1.0).abs() < 1e-12);
    }
}
