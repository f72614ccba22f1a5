//! The retrieval index: a file of past queries, and what it says about a new one.
//!
//! **The file.** Eight bytes of magic, the format as a little-endian `u32`, then a postcard body. It
//! holds the vectors of [`Vectors`], per record its level in hundredths of a logit, its residuals as
//! `round(16 · r)`, and for the HNSW backend the graph. Which models a record has outcomes of is kept
//! as the number of a *pattern*, a list of columns: a data set that asked every model everything has
//! one pattern, a history that asked one model at a time as many as it has models, and either way a
//! record spends a byte on it besides one per residual.
//!
//! Nothing read from a file is trusted: a count is believed only as far as there are bytes for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::hnsw::GraphBytes;
use super::{Exact, Hnsw, Neighbor, Retriever, Vectors};
use crate::artifact::RetrievalParameters;
use crate::error::{Error, Result, unit_interval};

/// The newest format of an index that this version reads, and the one it writes.
pub const INDEX_FORMAT: u32 = 2;

/// The first bytes of every index.
const MAGIC: [u8; 8] = *b"pennyidx";

/// Size from which a graph is faster than the scan: `benches/retrieve.rs` found 1,900 natively, and
/// the graph 4 times as fast at 10,000 and 16 times at 100,000; `benches/retrieve-wasm.mjs` found
/// 3,000 in wasm, where the two are within a tenth of each other in between.
const CROSSOVER: usize = 2_000;

/// Levels are kept in steps of one hundredth of a logit.
const SHIFT_STEPS: f64 = 100.0;

/// Residuals are kept in steps of 1/16: a blend averages over a dozen neighbors and a prior of many
/// more, so that finer steps would only make the compressed file larger (by half of what they take).
const RESIDUAL_STEPS: f64 = 16.0;

/// Ranges are kept in steps of this fraction of a distance.
const RANGE_STEPS: f32 = 256.0;

/// Neighbors that a record's range is the mean distance of; the shipped parameters compare a query with as many.
const RANGE_NEIGHBORS: usize = 16;

/// Estimates are moved into this range, so that no record's logit is extreme.
const ESTIMATES: (f64, f64) = (0.02, 0.98);

/// How an index finds the nearest records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Looks at every record; see [`Exact`].
    Exact,
    /// Walks a graph; see [`Hnsw`].
    Hnsw,
}

impl Backend {
    /// The faster one for `n` records, by measurement.
    pub fn choose(n: usize) -> Self {
        if n < CROSSOVER { Backend::Exact } else { Backend::Hnsw }
    }

    /// Its name in files and options: `exact` or `hnsw`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Exact => "exact",
            Backend::Hnsw => "hnsw",
        }
    }
}

/// A past query to build an index from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// What the predictor embeds the query as.
    pub embedding: Vec<f32>,
    /// What models made of it; none if it only says that such queries are known.
    pub outcomes: Vec<Outcome>,
}

/// How one model did on a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The model, as a position in the index's models.
    pub column: usize,
    /// How well it answered, 0 to 1.
    pub correct: f64,
    /// What was expected of it without having seen the record, 0 to 1.
    pub estimate: f64,
}

/// Past queries with what models made of them, searchable by embedding.
pub struct Index {
    models: Vec<String>,
    store: Store,
    levels: Levels,
    /// How far apart records lie around each one without outcomes, in steps, by record.
    ranges: BTreeMap<u32, u16>,
}

enum Store {
    Exact(Exact),
    Hnsw(Box<Hnsw>),
}

/// What the records say, apart from where they are.
#[derive(Debug, Clone, Default, PartialEq)]
struct Levels {
    /// `Δ_n`, in steps.
    shifts: Vec<i32>,
    /// Sets of columns, ascending.
    patterns: Vec<Vec<u16>>,
    /// The pattern of each record.
    pattern_of: Vec<u32>,
    /// Where each record's residuals start.
    starts: Vec<usize>,
    /// `r_nj` in steps, record by record in the order of its pattern.
    residuals: Vec<i8>,
}

/// What the neighbors of a query say about its estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// Mean distance of the neighbors as a multiple of how far they may be (`u`); `very_far` if there
    /// is nothing to compare with.
    pub unfamiliarity: f64,
    /// How much of the prediction holds this far from anything seen (`ω`): 1 all, 0 nothing.
    pub familiarity: f64,
    /// What to add to every model's logit, already scaled by the familiarity (`ω δ`).
    pub shift: f64,
    /// Whether the query is like those in the index.
    pub in_distribution: bool,
    residuals: Vec<f64>,
}

impl Correction {
    /// What to add to the quality of the model in `column`, already scaled by the familiarity
    /// (`ω ρ_m`); 0 for a column the index does not have.
    pub fn residual(&self, column: usize) -> f64 {
        self.residuals.get(column).copied().unwrap_or(0.0)
    }
}

impl Index {
    /// Builds an index of `records` with embeddings of `dimensions`, whose outcomes are of `models`.
    pub fn build(
        models: Vec<String>,
        dimensions: usize,
        records: &[Record],
        backend: Backend,
    ) -> Result<Self> {
        check_models(&models)?;
        if u32::try_from(records.len()).is_err() {
            return Err(Error::index(format!("{} records are more than an index can number", records.len())));
        }
        let mut vectors = Vectors::new(dimensions)?;
        for (n, record) in records.iter().enumerate() {
            vectors.push(&record.embedding).map_err(|e| in_record(n, e))?;
        }
        let levels = Levels::new(records, models.len())?;
        let store = match backend {
            Backend::Exact => Store::Exact(Exact::new(vectors)),
            Backend::Hnsw => Store::Hnsw(Box::new(Hnsw::build(&vectors)?)),
        };
        let mut index = Index { models, store, levels, ranges: BTreeMap::new() };
        let plain = (0..).zip(records).filter(|(_, record)| record.outcomes.is_empty());
        index.ranges = plain.map(|(n, record)| (n, range(index.retriever(), n, &record.embedding))).collect();
        Ok(index)
    }

    /// The models that outcomes are of, by column.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// The column of the model called `name`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.models.iter().position(|model| model == name)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.levels.shifts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components per embedding.
    pub fn dimensions(&self) -> usize {
        match &self.store {
            Store::Exact(exact) => exact.vectors().dimensions(),
            Store::Hnsw(hnsw) => hnsw.dimensions(),
        }
    }

    /// How it searches.
    pub fn backend(&self) -> Backend {
        match self.store {
            Store::Exact(_) => Backend::Exact,
            Store::Hnsw(_) => Backend::Hnsw,
        }
    }

    /// The embeddings by record.
    pub fn vectors(&self) -> Result<Cow<'_, Vectors>> {
        match &self.store {
            Store::Exact(exact) => Ok(Cow::Borrowed(exact.vectors())),
            Store::Hnsw(hnsw) => Ok(Cow::Owned(hnsw.vectors()?)),
        }
    }

    /// The `k` records nearest to `embedding`; see [`Retriever::nearest`].
    pub fn nearest(&self, embedding: &[f32], k: usize) -> Result<Vec<Neighbor>> {
        super::vectors::check(embedding, self.dimensions())?;
        Ok(self.retriever().nearest(embedding, k))
    }

    fn retriever(&self) -> &dyn Retriever {
        match &self.store {
            Store::Exact(exact) => exact,
            Store::Hnsw(hnsw) => hnsw.as_ref(),
        }
    }

    /// What the neighbors of `embedding` say; the module documentation has the formulas.
    pub fn correction(&self, embedding: &[f32], parameters: &RetrievalParameters) -> Result<Correction> {
        let neighbors = self.nearest(embedding, parameters.k)?;
        let RetrievalParameters { far, reach, very_far, .. } = *parameters;
        let (mut distance, mut limit) = (0.0, 0.0);
        for neighbor in &neighbors {
            distance += f64::from(neighbor.distance);
            let range = self.ranges.get(&neighbor.record);
            limit += range.map_or(far, |&range| reach * f64::from(f32::from(range) / RANGE_STEPS));
        }
        let unfamiliarity = match (neighbors.is_empty(), distance > 0.0, limit > 0.0) {
            (false, false, _) => 0.0,
            (false, true, true) => distance / limit,
            // Nothing is near, or what is near are copies of one record, with no range around them.
            _ => very_far,
        };
        let familiarity = ((very_far - unfamiliarity) / (very_far - 1.0)).clamp(0.0, 1.0);
        let (shift, residuals) = self.levels.blend(&neighbors, parameters, self.models.len());
        Ok(Correction {
            unfamiliarity,
            familiarity,
            shift: familiarity * shift,
            in_distribution: unfamiliarity <= 1.0,
            residuals: residuals.into_iter().map(|residual| familiarity * residual).collect(),
        })
    }

    /// The index as a file; the same index gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let graph = match &self.store {
            Store::Exact(_) => None,
            Store::Hnsw(hnsw) => Some(hnsw.to_graph()?),
        };
        let levels = &self.levels;
        let body = Body {
            models: self.models.clone(),
            dimensions: self.dimensions() as u32,
            vectors: self.vectors()?.to_bytes().into(),
            shifts: levels.shifts.clone(),
            patterns: levels.patterns.clone(),
            pattern_of: levels.pattern_of.clone(),
            residuals: levels.residuals.iter().map(|&r| r as u8).collect(),
            ranges: self.ranges.clone(),
            graph,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(INDEX_FORMAT.to_le_bytes());
        postcard::to_extend(&body, bytes).map_err(Error::index)
    }

    /// Reads an index from a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let body = versioned(bytes)?;
        let (body, rest) = postcard::take_from_bytes::<Body>(body).map_err(Error::index)?;
        if !rest.is_empty() {
            return Err(Error::index(format!("{} bytes after the end", rest.len())));
        }
        check_models(&body.models)?;
        let (n, dimensions) = (body.shifts.len(), body.dimensions as usize);
        let store = match &body.graph {
            None => Store::Exact(Exact::new(Vectors::from_bytes(dimensions, n, &body.vectors)?)),
            Some(graph) => Store::Hnsw(Box::new(Hnsw::from_graph(graph, n, dimensions, &body.vectors)?)),
        };
        let residuals = body.residuals.iter().map(|&r| r as i8).collect();
        let levels =
            Levels::from_parts(body.shifts, body.patterns, body.pattern_of, residuals, body.models.len())?;
        Ok(Index { models: body.models, store, levels, ranges: body.ranges })
    }
}

/// The body of the file.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    models: Vec<String>,
    dimensions: u32,
    #[serde(borrow)]
    vectors: Cow<'a, [u8]>,
    shifts: Vec<i32>,
    patterns: Vec<Vec<u16>>,
    pattern_of: Vec<u32>,
    #[serde(borrow)]
    residuals: Cow<'a, [u8]>,
    ranges: BTreeMap<u32, u16>,
    #[serde(borrow)]
    graph: Option<GraphBytes<'a>>,
}

/// What follows the magic and the format, once they are as they should be.
fn versioned(bytes: &[u8]) -> Result<&[u8]> {
    let not_one = || Error::index("not a Pennyroute index");
    let rest = bytes.strip_prefix(&MAGIC).ok_or_else(not_one)?;
    let (format, body) = rest.split_first_chunk().ok_or_else(not_one)?;
    match u32::from_le_bytes(*format) {
        INDEX_FORMAT => Ok(body),
        found if found > INDEX_FORMAT => {
            Err(Error::Version { file: "index".into(), found, supported: INDEX_FORMAT })
        }
        found => Err(Error::index(format!("format {found} is no longer read; build the index again"))),
    }
}

fn check_models(models: &[String]) -> Result<()> {
    if models.len() > usize::from(u16::MAX) {
        return Err(Error::index(format!("{} models are more than {}", models.len(), u16::MAX)));
    }
    let mut sorted: Vec<&String> = models.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::index(format!("model `{}` has two columns", pair[0]))),
        None => Ok(()),
    }
}

/// Mean distance of a record's nearest neighbors, in steps; 0 if it is alone.
fn range(retriever: &dyn Retriever, record: u32, embedding: &[f32]) -> u16 {
    let nearest = retriever.nearest(embedding, RANGE_NEIGHBORS + 1);
    let others: Vec<f32> = nearest.iter().filter(|n| n.record != record).map(|n| n.distance).collect();
    (others.iter().sum::<f32>() / others.len().max(1) as f32 * RANGE_STEPS).round() as u16
}

fn in_record(n: usize, error: Error) -> Error {
    match error {
        Error::Index { what } => Error::index(format!("record {n}: {what}")),
        Error::Number { place, value, expected } => {
            Error::Number { place: format!("records[{n}].{place}"), value, expected }
        }
        other => other,
    }
}

impl Levels {
    fn new(records: &[Record], models: usize) -> Result<Self> {
        let mut numbers: HashMap<Vec<u16>, u32> = HashMap::new();
        let (mut shifts, mut pattern_of, mut residuals) = (Vec::new(), Vec::new(), Vec::new());
        let mut patterns = Vec::new();
        for (n, record) in records.iter().enumerate() {
            let outcomes = sorted_outcomes(record, models).map_err(|e| in_record(n, e))?;
            let step = (level(&outcomes) * SHIFT_STEPS).round();
            shifts.push(step as i32);
            let shift = step / SHIFT_STEPS;
            residuals.extend(
                outcomes.iter().map(|o| {
                    ((o.correct - sigmoid(logit(o.estimate) + shift)) * RESIDUAL_STEPS).round() as i8
                }),
            );
            let pattern: Vec<u16> = outcomes.iter().map(|o| o.column as u16).collect();
            let number = *numbers.entry(pattern).or_insert_with_key(|pattern| {
                patterns.push(pattern.clone());
                patterns.len() as u32 - 1
            });
            pattern_of.push(number);
        }
        Levels::from_parts(shifts, patterns, pattern_of, residuals, models)
    }

    fn from_parts(
        shifts: Vec<i32>,
        patterns: Vec<Vec<u16>>,
        pattern_of: Vec<u32>,
        residuals: Vec<i8>,
        models: usize,
    ) -> Result<Self> {
        if patterns.iter().flatten().any(|&column| usize::from(column) >= models) {
            return Err(Error::index(format!("a column past its {models} models")));
        }
        if pattern_of.len() != shifts.len() {
            let what = format!("{} records with levels, {} with outcomes", shifts.len(), pattern_of.len());
            return Err(Error::index(what));
        }
        let mut starts = Vec::with_capacity(pattern_of.len());
        let mut total = 0usize;
        for &number in &pattern_of {
            let pattern =
                patterns.get(number as usize).ok_or_else(|| Error::index("an unknown set of columns"))?;
            starts.push(total);
            total = total.saturating_add(pattern.len());
        }
        if total != residuals.len() {
            return Err(Error::index(format!("{} residuals instead of {total}", residuals.len())));
        }
        Ok(Levels { shifts, patterns, pattern_of, starts, residuals })
    }

    /// The columns of a record and their residuals.
    fn residuals(&self, record: usize) -> impl Iterator<Item = (usize, f64)> {
        let columns = &self.patterns[self.pattern_of[record] as usize];
        let residuals = &self.residuals[self.starts[record]..];
        columns
            .iter()
            .zip(residuals)
            .map(|(&column, &r)| (usize::from(column), f64::from(r) / RESIDUAL_STEPS))
    }

    /// δ, and ρ by column.
    fn blend(
        &self,
        neighbors: &[Neighbor],
        parameters: &RetrievalParameters,
        models: usize,
    ) -> (f64, Vec<f64>) {
        let mut level = Mean::default();
        let mut columns = vec![Mean::default(); models];
        for neighbor in neighbors {
            let record = neighbor.record as usize;
            let weight = (-f64::from(neighbor.distance) / parameters.temperature).exp();
            let mut residuals = self.residuals(record).peekable();
            if residuals.peek().is_some() {
                level.add(weight, f64::from(self.shifts[record]) / SHIFT_STEPS);
            }
            for (column, residual) in residuals {
                columns[column].add(weight, residual);
            }
        }
        let residuals = columns.into_iter().map(|column| column.shrunk(parameters.shrink_model)).collect();
        (level.shrunk(parameters.shrink_query), residuals)
    }
}

/// A weighted mean under a prior of zero.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, weight: f64, value: f64) {
        self.sum += weight * value;
        self.weight += weight;
    }

    fn shrunk(self, prior: f64) -> f64 {
        // Without a neighbor and without a prior there is nothing to divide by.
        if self.weight > 0.0 { self.sum / (self.weight + prior) } else { 0.0 }
    }
}

/// The outcomes of a record by column, with estimates in range.
fn sorted_outcomes(record: &Record, models: usize) -> Result<Vec<Outcome>> {
    let mut outcomes = record.outcomes.clone();
    outcomes.sort_by_key(|o| o.column);
    for outcome in &mut outcomes {
        if outcome.column >= models {
            return Err(Error::index(format!("column {} past its {models} models", outcome.column)));
        }
        unit_interval("correct", outcome.correct)?;
        unit_interval("estimate", outcome.estimate)?;
        outcome.estimate = outcome.estimate.clamp(ESTIMATES.0, ESTIMATES.1);
    }
    Ok(outcomes)
}

/// Δ: the root of `f(Δ) = Σ (y − σ(l + Δ)) − Δ`.
///
/// f falls with a slope of −1 or steeper and, with m outcomes, is positive at −m and negative at m,
/// so the root lies between; Newton's steps that leave the bracket are replaced by its middle.
fn level(outcomes: &[Outcome]) -> f64 {
    let most = outcomes.len() as f64;
    let (mut low, mut high, mut shift) = (-most, most, 0.0);
    for _ in 0..60 {
        let (mut value, mut slope) = (-shift, -1.0);
        for outcome in outcomes {
            let p = sigmoid(logit(outcome.estimate) + shift);
            value += outcome.correct - p;
            slope -= p * (1.0 - p);
        }
        if value.abs() < 1e-9 {
            break;
        }
        if value > 0.0 {
            low = shift;
        } else {
            high = shift;
        }
        let newton = shift - value / slope;
        shift = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
    }
    shift
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Backend; 2] = [Backend::Exact, Backend::Hnsw];

    fn models() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    fn outcome(column: usize, correct: f64, estimate: f64) -> Outcome {
        Outcome { column, correct, estimate }
    }

    fn record(embedding: [f32; 2], outcomes: &[Outcome]) -> Record {
        Record { embedding: embedding.to_vec(), outcomes: outcomes.to_vec() }
    }

    fn parameters() -> RetrievalParameters {
        RetrievalParameters {
            k: 2,
            temperature: 0.5,
            shrink_query: 1.0,
            shrink_model: 2.0,
            far: 0.4,
            reach: 1.2,
            very_far: 2.0,
        }
    }

    /// Records of three dimensions with any outcomes of three models.
    fn records() -> impl Strategy<Value = Vec<Record>> {
        let outcome = (0usize..3, 0.0..=1.0, 0.0..=1.0).prop_map(|(c, y, p)| outcome(c, y, p));
        let record = (proptest::collection::vec(-1.0f32..1.0, 3), proptest::collection::vec(outcome, 0..4))
            .prop_map(|(embedding, outcomes)| Record { embedding, outcomes });
        proptest::collection::vec(record, 0..40)
    }

    #[test]
    fn a_correction_by_hand() {
        // Two records in the direction of the query, one with no outcome, and one opposite.
        let records = [
            record([1.0, 0.0], &[outcome(0, 0.0, 0.5), outcome(2, 0.0, 0.5)]),
            record([-1.0, 0.0], &[outcome(1, 1.0, 0.5)]),
            record([1.0, 0.0], &[]),
        ];
        for backend in BOTH {
            let index = Index::build(models(), 2, &records, backend).unwrap();
            let c = index.correction(&[1.0, 0.0], &parameters()).unwrap();
            // Δ solves 2(0 − σ(Δ)) = Δ; both weights are exp(0) = 1.
            let level = -0.674_823_7;
            // What a record keeps is off by up to half a step.
            assert!((c.shift - level / 2.0).abs() <= 0.5 / SHIFT_STEPS / 2.0, "{c:?}");
            assert!(
                (c.residual(0) + sigmoid(level) / 3.0).abs()
                    <= (0.5 / RESIDUAL_STEPS + 0.5 / SHIFT_STEPS) / 3.0,
                "{c:?}"
            );
            assert_eq!(c.residual(0), c.residual(2));
            assert_eq!((c.residual(1), c.residual(99)), (0.0, 0.0));
            assert_eq!((c.unfamiliarity, c.familiarity, c.in_distribution), (0.0, 1.0, true));
        }
    }

    #[test]
    fn far_from_anything_seen_the_correction_fades() {
        let index = Index::build(models(), 2, &[record([1.0, 0.0], &[outcome(0, 1.0, 0.5)])], Backend::Exact)
            .unwrap();
        let near = index.correction(&[1.0, 0.0], &parameters()).unwrap();
        assert!(near.shift > 0.1 && near.residual(0) > 0.1);
        let between = index.correction(&[0.4, 0.0], &parameters()).unwrap();
        assert!((between.unfamiliarity - 1.5).abs() < 0.01 && !between.in_distribution);
        assert!((between.familiarity - 0.5).abs() < 0.01);
        assert!(between.shift > 0.0 && between.shift < near.shift);
        let far = index.correction(&[0.0, 1.0], &parameters()).unwrap();
        assert_eq!((far.familiarity, far.shift, far.residual(0)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn records_without_outcomes_have_a_range_of_their_own() {
        let answered = [outcome(0, 1.0, 0.5)];
        let records = [record([1.0, 0.0], &[]), record([0.5, 0.0], &[]), record([-1.0, 0.0], &answered)];
        for backend in BOTH {
            let index = Index::build(models(), 2, &records, backend).unwrap();
            let index = Index::from_bytes(&index.to_bytes().unwrap()).unwrap();
            let parameters = RetrievalParameters { k: 1, ..parameters() };
            let u = |x: f32| index.correction(&[x, 0.0], &parameters).unwrap().unfamiliarity;
            // The others lie 0.5 and 2 from the first: a range of 1.25, of which 1.2 are within reach.
            assert!((u(0.8) - 0.2 / (1.2 * 1.25)).abs() < 0.01, "{}", u(0.8));
            assert!((u(-0.8) - 0.2 / 0.4).abs() < 0.02, "{}", u(-0.8));
        }
    }

    #[test]
    fn an_empty_index_knows_nothing() {
        for backend in BOTH {
            let index = Index::build(models(), 2, &[], backend).unwrap();
            let index = Index::from_bytes(&index.to_bytes().unwrap()).unwrap();
            let c = index.correction(&[1.0, 0.0], &parameters()).unwrap();
            assert!(index.is_empty() && !c.in_distribution);
            assert_eq!((c.unfamiliarity, c.familiarity, c.shift, c.residual(0)), (2.0, 0.0, 0.0, 0.0));
        }
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let build = |dimensions, records: &[Record]| {
            Index::build(models(), dimensions, records, Backend::Exact).map(|_| ()).unwrap_err().to_string()
        };
        assert!(build(3, &[record([1.0, 0.0], &[])]).contains("record 0: an embedding of 2 dimensions"));
        assert!(build(2, &[record([f32::NAN, 0.0], &[])]).contains("records[0].embedding[0]: NaN"));
        assert!(build(2, &[record([1.0, 0.0], &[outcome(3, 1.0, 0.5)])]).contains("column 3"));
        assert!(build(2, &[record([1.0, 0.0], &[outcome(0, 1.1, 0.5)])]).contains("records[0].correct: 1.1"));
        assert!(
            build(2, &[record([1.0, 0.0], &[outcome(0, 1.0, f64::NAN)])])
                .contains("records[0].estimate: NaN")
        );
        assert!(build(0, &[]).contains("0 dimensions"));
        let twice = Index::build(vec!["a".into(), "a".into()], 2, &[], Backend::Exact);
        assert!(twice.is_err_and(|e| e.to_string().contains("model `a` has two columns")));
    }

    #[test]
    fn a_query_of_other_dimensions_is_refused() {
        for backend in BOTH {
            let index = Index::build(models(), 2, &[record([1.0, 0.0], &[])], backend).unwrap();
            assert_eq!(index.correction(&[1.0], &parameters()).unwrap_err().code(), "bad_index");
            assert_eq!(index.nearest(&[1.0, f32::NAN], 1).unwrap_err().code(), "bad_number");
        }
    }

    #[test]
    fn another_file_or_format_is_refused() {
        let mut bytes = Index::build(models(), 2, &[], Backend::Exact).unwrap().to_bytes().unwrap();
        bytes[8] = INDEX_FORMAT as u8 + 1;
        assert_eq!(Index::from_bytes(&bytes).map(|_| ()).unwrap_err().code(), "unsupported_version");
        bytes[8] = 0;
        assert_eq!(Index::from_bytes(&bytes).map(|_| ()).unwrap_err().code(), "bad_index");
        bytes[0] = b'?';
        assert_eq!(Index::from_bytes(&bytes).map(|_| ()).unwrap_err().code(), "bad_index");
    }

    #[test]
    fn lengths_past_the_end_allocate_nothing() {
        // No models, one dimension, then a length of 2^63 for each of the lists in turn.
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        for before in 0..8usize {
            let mut bytes = [MAGIC.as_slice(), &INDEX_FORMAT.to_le_bytes()].concat();
            bytes.extend((0..before).map(|field| u8::from(field == 1)));
            bytes.extend(huge);
            assert_eq!(Index::from_bytes(&bytes).map(|_| ()).unwrap_err().code(), "bad_index", "{before}");
        }
    }

    proptest! {
        #[test]
        fn the_level_is_the_root(
            outcomes in proptest::collection::vec((0.0..=1.0, 0.02..=0.98).prop_map(|(y, p)| outcome(0, y, p)), 0..60)
        ) {
            let shift = level(&outcomes);
            let f = outcomes.iter().map(|o| o.correct - sigmoid(logit(o.estimate) + shift)).sum::<f64>() - shift;
            prop_assert!(f.abs() < 1e-8, "f({shift}) = {f}");
        }

        #[test]
        fn an_index_survives_its_file(records in records(), query in proptest::collection::vec(-1.0f32..1.0, 3)) {
            for backend in BOTH {
                let index = Index::build(models(), 3, &records, backend).unwrap();
                let bytes = index.to_bytes().unwrap();
                let back = Index::from_bytes(&bytes).unwrap();
                prop_assert_eq!(back.backend(), backend);
                prop_assert_eq!((back.models(), back.len()), (index.models(), records.len()));
                prop_assert_eq!(&back.levels, &index.levels);
                let corrections = [&index, &back].map(|i| i.correction(&query, &parameters()).unwrap());
                prop_assert_eq!(&corrections[0], &corrections[1]);
                prop_assert_eq!(back.to_bytes().unwrap(), bytes);
            }
        }

        #[test]
        fn a_damaged_file_is_refused_or_searchable(
            records in records(),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            cut in proptest::option::of(any::<proptest::sample::Index>()),
        ) {
            for backend in BOTH {
                let mut bytes = Index::build(models(), 3, &records, backend).unwrap().to_bytes().unwrap();
                for (at, byte) in &damage {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                if let Some(cut) = cut {
                    bytes.truncate(cut.index(bytes.len()));
                }
                match Index::from_bytes(&bytes) {
                    Ok(index) => {
                        let embedding = vec![1.0; index.dimensions()];
                        let c = index.correction(&embedding, &parameters()).unwrap();
                        prop_assert!(c.shift.is_finite());
                    }
                    Err(e) => prop_assert!(["bad_index", "unsupported_version"].contains(&e.code()), "{}", e),
                }
            }
        }

        #[test]
        fn a_truncated_file_is_refused(records in records(), cut in any::<proptest::sample::Index>()) {
            for backend in BOTH {
                let bytes = Index::build(models(), 3, &records, backend).unwrap().to_bytes().unwrap();
                let cut = cut.index(bytes.len());
                prop_assert!(Index::from_bytes(&bytes[..cut]).is_err());
            }
        }
    }
}
