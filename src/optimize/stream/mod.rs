//! Which model should answer this query, when the ones to come are not known?
//!
//! # The problem
//!
//! That of [`crate::optimize`], online: queries arrive one at a time with a row of costs `c_j` (USD,
//! +inf where forbidden) and qualities `p_j`, and each must be given a model at once. Over the
//! [`Horizon`] the mean quality is to reach α at the least cost, or, under a budget alone, to be as
//! high as the budget allows. Workloads and budget are hard: no choice ever exceeds them, so a query
//! that fits nowhere is rejected, which counts as quality 0. The mean quality is what the prices aim
//! at; no online rule can promise it. Group floors are for batches.
//!
//! # The method
//!
//! Each query takes `argmin_j c_j − λ p_j + μ_j` among the models that still fit, O(M). The prices
//! λ (USD per unit of quality) and `μ_j` (USD per slot) are the duals of a batch problem over the last
//! rows seen, solved exactly and re-targeted: a history of H rows stands for the R queries still to
//! come, so it gets what is left of workloads and budget times H/R, and the mean quality that the rest
//! must have. Re-solving lets the error of the prices shrink with what has been seen, and feeds back
//! what has been spent and reached. Solves are spaced geometrically, by a tenth of what has been seen
//! or of what remains, whichever is less: about 25·ln(N/10) of them over N queries.
//!
//! A debt of quality is paid back over what remains. As far as chance explains it (0.4·√K, which is 1.6
//! standard deviations of the sum of K qualities, and at most 0.008·N), it is paid back over no fewer
//! than K queries, K = 256 or a quarter of the horizon: cost is convex in quality, so that forcing the
//! last few queries to make good what chance took costs more than it is worth. The mean may end short
//! by that much over N, little more under drift. When the target is out of reach for what is left, the
//! best quality is chosen; when it and the budget cannot both be had, the most quality that the budget
//! buys.
//!
//! # Sources
//!
//! Re-solved dual prices for online linear programs: Agrawal, Wang, Ye, *A dynamic near-optimal
//! algorithm for online linear programming*, Operations Research 62 (2014), which also spaces the
//! solves geometrically; re-solving with the remaining resources: Jasin, Kumar (2012) and Li, Ye,
//! *Online linear programming: dual convergence, new algorithms, and regret bounds*, Operations
//! Research 70 (2022), whose action-history-dependent algorithm has regret O(log N · log log N).

mod bits;
mod history;
mod reprice;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::history::History;
use super::{MAX_COST_USD, check_pairs, number, pairs, same_length, unit};
use crate::error::{Error, Result};

/// Rows of history kept by default are half the horizon, but no fewer and no more than these.
const WINDOW: (u64, u64) = (512, 4096);
/// Between two solves lies this part of what has been seen or remains.
const SPACING: f64 = 0.1;
/// K: what chance took from the mean quality is paid back over no fewer than so many queries, or a
/// quarter of the horizon if that is less.
const DAMPING: u64 = 256;
/// Chance takes about so many times √K: 1.6 standard deviations of the sum of K qualities.
const CHANCE: f64 = 0.4;
/// More than this mean quality is never left to chance, however short the horizon.
const TOLERANCE: f64 = 0.008;
/// More queries than any stream sees; a state that claims more is damaged.
const MAX_COUNT: u64 = 1 << 53;

/// How far ahead a stream is planned, and what its workloads and budget count over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Horizon {
    /// So many queries arrive in all, > 0. Workloads and budget are those of the whole stream; should
    /// more arrive, they still hold, and the prices stay as they are.
    Total(u64),
    /// The stream has no known end, and of any so many consecutive queries, > 0, no more than the
    /// workload go to a model and no more than the budget is spent. The mean quality is that of the
    /// whole stream so far, kept by paying its debt back over the next so many. What each of the last
    /// so many took is remembered, 16 bytes each.
    Rolling(u64),
}

/// What a stream has to keep. Build it with [`Terms::new`] and set what applies; with nothing set,
/// every query gets its cheapest model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// M, the number of models, > 0.
    pub models: usize,
    /// How many queries to plan for.
    pub horizon: Horizon,
    /// α: the mean quality to reach, 0 to 1; a rejected query counts as 0. Default: none.
    pub quality_target: Option<f64>,
    /// B: the most that may be spent over the horizon, USD, finite and >= 0. With a target cost is
    /// minimised within it; alone it is spent on quality. Default: none.
    pub budget_usd: Option<f64>,
    /// L: the most queries per model over the horizon; `u64::MAX` is unlimited. Default: none.
    pub limits: Option<Vec<u64>>,
    /// Rows of history kept for the prices, > 0: 8·M bytes each. More give steadier prices and slower
    /// solves, fewer follow drift sooner. Default: half the horizon, but at least 512, at most 4096.
    pub window: usize,
}

/// What one unit more of quality, and one more slot of each model, is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// λ: USD per unit of quality of one query, finite and >= 0.
    #[serde(with = "bits")]
    pub quality: f64,
    /// `μ_j`: USD per slot, per model, finite and >= 0.
    #[serde(with = "bits::list")]
    pub workloads: Vec<f64>,
}

/// A stream under way.
///
/// ```
/// use pennyroute::optimize::stream::{Horizon, Stream, Terms};
///
/// // 100 queries; model 0 is cheap and right half the time, model 1 dear and nearly always.
/// let terms = Terms { quality_target: Some(0.7), ..Terms::new(2, Horizon::Total(100)) };
/// let mut stream = Stream::new(terms)?;
/// let mut quality = 0.0;
/// for i in 0..100 {
///     let row = [0.5, 0.9 + 0.001 * (i % 7) as f64];
///     let model = stream.choose(&[0.001, 0.02], &row)?.expect("nothing is limited");
///     quality += row[model] / 100.0;
/// }
/// assert!(quality > 0.68 && quality < 0.72);
/// # Ok::<(), pennyroute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    terms: Terms,
    state: State,
}

/// Where a stream stands; with its [`Terms`] it continues exactly as it would have.
///
/// Floating-point numbers are saved as the integers that hold their bits, so every format keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    arrived: u64,
    rejected: u64,
    /// Σ (α − p) of what has arrived.
    #[serde(with = "bits")]
    debt: f64,
    /// Counted against the workloads: the whole stream, or the last `k − 1` of a rolling horizon.
    used: Vec<u64>,
    /// Counted against the budget, likewise.
    #[serde(with = "bits")]
    spent: f64,
    /// With a rolling horizon: model (none if rejected) and cost of the last `k − 1` queries.
    recent: VecDeque<Recent>,
    prices: Prices,
    /// The prices are solved anew before the query that arrives after so many.
    next_solve: u64,
    history: History,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Recent {
    model: Option<u32>,
    #[serde(with = "bits")]
    cost: f64,
}

impl Terms {
    /// Terms for `models` models over a horizon, nothing constrained yet.
    pub fn new(models: usize, horizon: Horizon) -> Self {
        let (Horizon::Total(queries) | Horizon::Rolling(queries)) = horizon;
        let window = (queries / 2).clamp(WINDOW.0, WINDOW.1) as usize;
        Terms { models, horizon, quality_target: None, budget_usd: None, limits: None, window }
    }

    /// Refuses what cannot be represented, naming it.
    fn check(&self) -> Result<()> {
        let (Horizon::Total(horizon) | Horizon::Rolling(horizon)) = self.horizon;
        for (name, value) in
            [("horizon", horizon), ("models", self.models as u64), ("window", self.window as u64)]
        {
            if value == 0 {
                return Err(Error::Problem { what: format!("{name} is 0, at least 1 is needed") });
            }
        }
        pairs(self.window, self.models)?;
        if let Some(target) = self.quality_target {
            unit("quality target", target)?;
        }
        if let Some(budget) = self.budget_usd
            && !(budget.is_finite() && budget >= 0.0)
        {
            return Err(number("budget", budget, "a finite number of USD >= 0"));
        }
        self.limits.as_ref().map_or(Ok(()), |limits| same_length("limits", limits.len(), self.models))
    }

    /// Horizons, workloads and budgets add up; what does not add up must be the same.
    fn merge(&mut self, other: &Terms) -> Result<()> {
        self.horizon = match (self.horizon, other.horizon) {
            (Horizon::Total(a), Horizon::Total(b)) => Horizon::Total(a.saturating_add(b)),
            (Horizon::Rolling(a), Horizon::Rolling(b)) => Horizon::Rolling(a.saturating_add(b)),
            _ => return Err(differ("horizon: one is total, one rolling")),
        };
        match (&mut self.limits, &other.limits) {
            (None, None) => {}
            (Some(ours), Some(theirs)) if ours.len() == theirs.len() => {
                ours.iter_mut().zip(theirs).for_each(|(a, b)| *a = a.saturating_add(*b));
            }
            _ => return Err(differ("limits: not for the same models")),
        }
        match (&mut self.budget_usd, other.budget_usd) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => *ours += theirs,
            _ => return Err(differ("budget: only one has one")),
        }
        for (name, same) in [
            ("models", self.models == other.models),
            ("quality target", self.quality_target == other.quality_target),
            ("window", self.window == other.window),
        ] {
            if !same {
                return Err(differ(name));
            }
        }
        Ok(())
    }
}

impl Prices {
    /// Prices at which the cheapest model is taken.
    fn zero(models: usize) -> Self {
        Prices { quality: 0.0, workloads: vec![0.0; models] }
    }

    /// The model with the least `cost − λ·quality + μ` among those that `fits` admits, the first of
    /// equal ones; none if no finite cost is left. One pass, no allocation: the choice for one query.
    ///
    /// The rows are taken as they are; a NaN is never chosen, entries beyond the shortest row neither.
    pub fn choose(&self, cost: &[f64], quality: &[f64], fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best = (f64::INFINITY, None);
        for (j, ((c, p), mu)) in cost.iter().zip(quality).zip(&self.workloads).enumerate() {
            let score = c - self.quality * p + mu;
            if score < best.0 && fits(j) {
                best = (score, Some(j));
            }
        }
        best.1
    }

    fn check(&self, models: usize) -> Result<()> {
        same_length("workload prices", self.workloads.len(), models)?;
        let expected = "a finite number of USD >= 0";
        let valid = |price: f64| price.is_finite() && price >= 0.0;
        if !valid(self.quality) {
            return Err(number("price of quality", self.quality, expected));
        }
        match self.workloads.iter().position(|&price| !valid(price)) {
            Some(j) => Err(number(&format!("price of model {j}"), self.workloads[j], expected)),
            None => Ok(()),
        }
    }

    /// The average of two, by weight.
    fn blend(&mut self, weight: f64, other: &Prices, other_weight: f64) {
        let part = if weight + other_weight > 0.0 { other_weight / (weight + other_weight) } else { 0.5 };
        let mix = |a: &mut f64, b: f64| *a = *a * (1.0 - part) + b * part;
        mix(&mut self.quality, other.quality);
        self.workloads.iter_mut().zip(&other.workloads).for_each(|(a, b)| mix(a, *b));
    }
}

impl Stream {
    /// A stream before its first query, with all prices 0.
    pub fn new(terms: Terms) -> Result<Self> {
        terms.check()?;
        let m = terms.models;
        let state = State {
            arrived: 0,
            rejected: 0,
            debt: 0.0,
            used: vec![0; m],
            spent: 0.0,
            recent: VecDeque::new(),
            prices: Prices::zero(m),
            next_solve: 0,
            history: History::default(),
        };
        Ok(Stream { terms, state })
    }

    /// A stream continued from where [`Stream::state`] was taken. A state that cannot be one of these
    /// terms is refused.
    pub fn restore(terms: Terms, state: State) -> Result<Self> {
        terms.check()?;
        same_length("used slots of the state", state.used.len(), terms.models)?;
        state.prices.check(terms.models)?;
        state.history.check(terms.models, terms.window)?;
        state.check(&terms)?;
        Ok(Stream { terms, state })
    }

    /// Starts with known prices, such as those of yesterday, which hold until `queries` have arrived;
    /// only then is the history long enough to do better.
    pub fn start_at(&mut self, prices: Prices, queries: u64) -> Result<()> {
        prices.check(self.terms.models)?;
        self.state.prices = prices;
        self.state.next_solve = self.state.arrived.saturating_add(queries);
        Ok(())
    }

    /// Starts with a reference sample of the same traffic: `n` queries that need no model, whose rows
    /// (model-major, as in [`crate::optimize::Problem`]) join the history.
    pub fn observe(&mut self, n: usize, cost: &[f64], quality: &[f64]) -> Result<()> {
        let m = self.terms.models;
        let size = pairs(n, m)?;
        same_length("cost", cost.len(), size)?;
        same_length("quality", quality.len(), size)?;
        check_pairs(cost, quality, n, MAX_COST_USD)?;
        for i in 0..n {
            let row = |matrix: &[f64]| -> Vec<f64> { (0..m).map(|j| matrix[j * n + i]).collect() };
            self.state.history.push(&row(cost), &row(quality), self.terms.window);
        }
        self.state.next_solve = self.state.arrived;
        Ok(())
    }

    /// The model for the query that has arrived, one cost (USD) and one quality per model; none if it
    /// fits nowhere. Its cost and slot are taken. The prices are solved anew first if that is due.
    pub fn choose(&mut self, cost: &[f64], quality: &[f64]) -> Result<Option<usize>> {
        same_length("cost", cost.len(), self.terms.models)?;
        same_length("quality", quality.len(), self.terms.models)?;
        check_pairs(cost, quality, 1, MAX_COST_USD)?;
        self.refresh()?;
        let Stream { terms, state } = self;
        let chosen = state.prices.choose(cost, quality, |j| {
            terms.limits.as_ref().is_none_or(|limits| state.used[j] < limits[j])
                && terms.budget_usd.is_none_or(|budget| state.spent + cost[j] <= budget)
        });
        state.arrived += 1;
        let (spent, reached) = chosen.map_or((0.0, 0.0), |j| (cost[j], quality[j]));
        match chosen {
            Some(j) => state.used[j] += 1,
            None => state.rejected += 1,
        }
        state.spent += spent;
        if let Some(target) = terms.quality_target {
            state.debt += target - reached;
        }
        if let Horizon::Rolling(k) = terms.horizon {
            state.recent.push_back(Recent { model: chosen.map(|j| j as u32), cost: spent });
            state.forget(k);
            // No more is owed than perfect answers over the horizon would pay back, nor less than
            // useless ones would use up: otherwise a long failure would be paid for without end.
            let target = terms.quality_target.unwrap_or_default();
            state.debt = state.debt.clamp(-target * k as f64, (1.0 - target) * k as f64);
        }
        state.history.push(cost, quality, terms.window);
        Ok(chosen)
    }

    /// Solves the prices anew if that is due. [`Stream::choose`] does so itself; a host that calls
    /// this between queries keeps the solve (milliseconds) out of their way.
    pub fn refresh(&mut self) -> Result<()> {
        let (due, rest) = (self.state.arrived >= self.state.next_solve, self.remaining());
        if !due || rest == 0 || self.state.history.is_empty() {
            return Ok(());
        }
        let gap = SPACING * self.state.history.seen().min(rest) as f64;
        self.state.next_solve = self.state.arrived + (gap as u64).max(1);
        if let Some(prices) = reprice::solve(&self.state.history, self.terms.models, &self.remainder(rest))? {
            self.state.prices = prices;
        }
        Ok(())
    }

    /// Takes over what another stream has done, such as one in another isolate with its own share of
    /// the traffic: horizons, workloads, budgets, counts and spending add up, prices are averaged by
    /// what they have seen, histories are interleaved. Models, target and window must be the same.
    pub fn merge(&mut self, other: &Stream) -> Result<()> {
        let mut terms = self.terms.clone();
        terms.merge(&other.terms)?;
        let (state, theirs) = (&mut self.state, &other.state);
        state.arrived += theirs.arrived;
        state.rejected += theirs.rejected;
        state.debt += theirs.debt;
        state.spent += theirs.spent;
        state.used.iter_mut().zip(&theirs.used).for_each(|(a, b)| *a += b);
        state.prices.blend(state.history.seen() as f64, &theirs.prices, theirs.history.seen() as f64);
        state.history.merge(&theirs.history, terms.models, terms.window);
        state.recent = interleave(&state.recent, &theirs.recent);
        state.next_solve = state.arrived;
        self.terms = terms;
        Ok(())
    }

    /// What has to be kept.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where the stream stands, to be saved.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The prices that the next choice is made with, unless a solve is due.
    pub fn prices(&self) -> &Prices {
        &self.state.prices
    }

    /// Queries so far.
    pub fn arrived(&self) -> u64 {
        self.state.arrived
    }

    /// Queries so far that fitted nowhere.
    pub fn rejected(&self) -> u64 {
        self.state.rejected
    }

    /// Slots taken per model: of the whole stream, or of the last `k − 1` queries of a rolling horizon.
    pub fn used(&self) -> &[u64] {
        &self.state.used
    }

    /// USD spent, likewise.
    pub fn spent_usd(&self) -> f64 {
        self.state.spent
    }

    /// R: queries to plan for.
    fn remaining(&self) -> u64 {
        match self.terms.horizon {
            Horizon::Total(n) => n.saturating_sub(self.state.arrived),
            Horizon::Rolling(k) => k,
        }
    }

    /// What is left for the `rest` queries to come.
    fn remainder(&self, rest: u64) -> reprice::Remainder {
        let Stream { terms, state } = self;
        let (rolling, horizon) = match terms.horizon {
            Horizon::Total(n) => (false, n),
            Horizon::Rolling(k) => (true, k),
        };
        // Over the next k queries all slots that are taken now come free again.
        let used = |j: usize| if rolling { 0 } else { state.used[j] };
        let spent = if rolling { 0.0 } else { state.spent };
        let slowly = DAMPING.min(horizon / 4);
        let chance = (CHANCE * (slowly as f64).sqrt()).min(TOLERANCE * horizon as f64);
        let small = state.debt.clamp(-chance, chance);
        let repaid = small / rest.max(slowly) as f64 + (state.debt - small) / rest as f64;
        let limits = terms.limits.as_ref();
        reprice::Remainder {
            queries: rest as f64,
            mean_quality: terms.quality_target.map(|target| (target + repaid).clamp(0.0, 1.0)),
            budget_usd: terms.budget_usd.map(|budget| (budget - spent).max(0.0)),
            limits: limits.map(|l| l.iter().enumerate().map(|(j, l)| l.saturating_sub(used(j))).collect()),
        }
    }
}

impl State {
    /// Gives back what the queries before the last `k − 1` took.
    fn forget(&mut self, k: u64) {
        while self.recent.len() as u64 >= k {
            let Some(oldest) = self.recent.pop_front() else { break };
            if let Some(j) = oldest.model {
                self.used[j as usize] -= 1;
            }
            self.spent = (self.spent - oldest.cost).max(0.0);
        }
    }

    /// Refuses sums that are no sums, and slots that do not add up to the queries they were taken by.
    fn check(&self, terms: &Terms) -> Result<()> {
        let wrong = |what: String| Err(Error::Problem { what: format!("state: {what}") });
        let costs = self.recent.iter().map(|recent| recent.cost).chain([self.spent]);
        if !self.debt.is_finite() || costs.into_iter().any(|cost| !(cost.is_finite() && cost >= 0.0)) {
            return wrong("the debt or what was spent is no finite sum".into());
        }
        if self.arrived.max(self.history.seen()) > MAX_COUNT || self.rejected > self.arrived {
            return wrong(format!("{} arrived, {} rejected", self.arrived, self.rejected));
        }
        let Horizon::Rolling(k) = terms.horizon else {
            let taken = self.used.iter().fold(self.rejected, |sum, &used| sum.saturating_add(used));
            if taken != self.arrived || !self.recent.is_empty() {
                return wrong(format!("{taken} queries are accounted for, {} arrived", self.arrived));
            }
            return Ok(());
        };
        if self.recent.len() as u64 >= k {
            return wrong(format!("{} recent queries, the horizon has {k}", self.recent.len()));
        }
        let mut used = vec![0; terms.models];
        for model in self.recent.iter().filter_map(|recent| recent.model) {
            match used.get_mut(model as usize) {
                Some(count) => *count += 1,
                None => return wrong(format!("there is no model {model}")),
            }
        }
        if used != self.used {
            return wrong("used slots are not those of the recent queries".into());
        }
        Ok(())
    }
}

/// Both in their order, evenly mixed.
fn interleave<T: Copy>(a: &VecDeque<T>, b: &VecDeque<T>) -> VecDeque<T> {
    let mut mixed = VecDeque::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        // The one that is less far through its items is next.
        if j == b.len() || (i < a.len() && i * b.len() <= j * a.len()) {
            mixed.push_back(a[i]);
            i += 1;
        } else {
            mixed.push_back(b[j]);
            j += 1;
        }
    }
    mixed
}

fn differ(what: &str) -> Error {
    Error::Problem { what: format!("the streams do not match in {what}") }
}
