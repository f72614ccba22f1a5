//! The files that users script against: queries, outcomes, estimates, assignments, groups, limits.
//!
//! Every malformed row is refused with its file, line and column; nothing is guessed or skipped.
//! The columns are those of DESIGN's contracts; files may have others, in any order.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, Lines};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::file::{self, bad, named, read_json};
use super::table::{self, Cell, Kind, Row, Writer, optional, required};
use crate::error::{Error, Result};
use crate::optimize::PricePoint;
use crate::query::{Message, Query, replace_lone_surrogates};
use crate::router::RouteRequest;

/// Distinct names in the order in which they first appeared.
#[derive(Debug, Clone, Default)]
pub struct Names {
    list: Vec<String>,
    positions: HashMap<String, u32>,
}

impl Names {
    /// The position of a name, which is appended if it is new.
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(&position) = self.positions.get(name) {
            return position;
        }
        let position = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.positions.insert(name.to_owned(), position);
        position
    }

    /// The position of a name that is there.
    pub fn position(&self, name: &str) -> Option<u32> {
        self.positions.get(name).copied()
    }

    /// The names by position.
    pub fn list(&self) -> &[String] {
        &self.list
    }
}

/// One line of a file of queries.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRow {
    /// Line of the file, counted from 1.
    pub line: u64,
    /// Unique id.
    pub id: String,
    /// What is asked: a text, or a conversation where there is no text.
    pub content: Asked,
    /// The encoder's vector of the text that is routed on, where it was computed before.
    pub embedding: Option<Vec<f32>>,
    /// Input tokens of the whole prompt, where they were counted.
    pub input_tokens: Option<u64>,
    /// Where it comes from.
    pub source: Option<String>,
    /// `train`, `validation`, `test` or another part of the data.
    pub split: Option<String>,
    /// Group of users, for floors.
    pub group: Option<String>,
    /// Near-duplicates share one.
    pub cluster: Option<String>,
    /// Tokens of the text alone, where they were counted.
    pub text_tokens: Option<f64>,
}

/// What a query asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A bare prompt.
    Text(String),
    /// A conversation.
    Messages(Vec<Message>),
}

impl QueryRow {
    /// The routing request for this query under the default policy.
    pub fn request(&self) -> RouteRequest {
        let mut request = match &self.content {
            Asked::Text(text) => RouteRequest::prompt(text),
            Asked::Messages(messages) => {
                RouteRequest { messages: Some(messages.clone()), ..RouteRequest::default() }
            }
        };
        request.input_tokens = self.input_tokens;
        request.embedding.clone_from(&self.embedding);
        request
    }

    /// The text that is routed on.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            Asked::Text(text) => text.into(),
            Asked::Messages(messages) => Query::from_messages(messages).text.into(),
        }
    }

    /// Whether the query belongs to the part that may be learnt from: `train`, or all where the
    /// data has no parts.
    pub fn is_training(&self) -> bool {
        self.split.as_deref().is_none_or(|split| split == "train")
    }
}

/// Reads a file of queries line by line, in memory that does not grow with their texts.
pub struct Queries {
    path: PathBuf,
    lines: Lines<Box<dyn BufRead + Send>>,
    line: u64,
    /// Hashes of the ids seen; two of a million ids collide with a chance of 3e-8.
    seen: HashSet<u64>,
}

impl Queries {
    /// Opens `queries.jsonl` or `.jsonl.gz`.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Queries { path: path.into(), lines: file::open(path)?.lines(), line: 0, seen: HashSet::new() })
    }

    fn parse(&mut self, line: &str) -> Result<QueryRow> {
        #[derive(Deserialize)]
        struct Fields {
            query_id: Value,
            text: Option<String>,
            messages: Option<Vec<Message>>,
            embedding: Option<Vec<f32>>,
            input_tokens: Option<f64>,
            source: Option<String>,
            split: Option<String>,
            group: Option<Value>,
            cluster: Option<Value>,
            text_tokens: Option<f64>,
        }
        let wrong = |what: String| bad(&self.path, self.line, what);
        let line = replace_lone_surrogates(line);
        let mut de = serde_json::Deserializer::from_str(&line);
        let fields: Fields = serde_path_to_error::deserialize(&mut de)
            .map_err(|e| wrong(named(&e.path().to_string(), e.inner())))?;
        de.end().map_err(|_| wrong("has text after the end of its JSON object".into()))?;
        let name = |field: &str, value: &Value| match value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(wrong(format!("`{field}` is {other}, not a name"))),
        };
        let id = name("query_id", &fields.query_id)?;
        let content = match (fields.text, fields.messages) {
            (Some(text), _) => Asked::Text(text),
            (None, Some(messages)) if messages.is_empty() => return Err(wrong("`messages` is empty".into())),
            (None, Some(messages)) => Asked::Messages(messages),
            (None, None) => return Err(wrong("has neither `text` nor `messages`".into())),
        };
        let optional = |field: &str, value: Option<Value>| {
            value.filter(|value| !value.is_null()).map(|value| name(field, &value)).transpose()
        };
        let group = optional("group", fields.group)?;
        let cluster = optional("cluster", fields.cluster)?;
        let tokens = |field: &str, count: Option<f64>| match count {
            Some(count) if !(0.0..=1e15).contains(&count) => {
                Err(wrong(format!("`{field}` is {count}, not a count of tokens")))
            }
            count => Ok(count),
        };
        let input_tokens = tokens("input_tokens", fields.input_tokens)?.map(|count| count.round() as u64);
        let text_tokens = tokens("text_tokens", fields.text_tokens)?;
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return Err(wrong(format!("`query_id` {id:?} appears twice")));
        }
        Ok(QueryRow {
            line: self.line,
            id,
            content,
            embedding: fields.embedding,
            input_tokens,
            source: fields.source,
            split: fields.split,
            group,
            cluster,
            text_tokens,
        })
    }
}

impl Iterator for Queries {
    type Item = Result<QueryRow>;

    fn next(&mut self) -> Option<Result<QueryRow>> {
        loop {
            self.line += 1;
            let line = match self.lines.next()? {
                Ok(line) => line,
                Err(e) => return Some(Err(bad(&self.path, self.line, format!("cannot be read: {e}")))),
            };
            let line = line.trim_start_matches('\u{feff}');
            if !line.trim().is_empty() {
                return Some(self.parse(line));
            }
        }
    }
}

/// What one model did on one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeRow {
    /// Line of the file (row, for Parquet), counted from 1.
    pub line: u64,
    /// Position in [`Outcomes::queries`].
    pub query: u32,
    /// Position in [`Outcomes::models`].
    pub model: u32,
    /// How good the answer was: 0 wrong, 1 right; grades between are allowed.
    pub correct: f64,
    /// Output tokens as counted on the answer itself.
    pub output_tokens: Option<f64>,
    /// Output tokens as counted or estimated.
    pub output_tokens_est: Option<f64>,
    /// Input tokens.
    pub input_tokens: Option<f64>,
    /// USD that the call cost.
    pub cost_usd: Option<f64>,
}

/// Recorded outcomes.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// Ids of the queries.
    pub queries: Names,
    /// Names of the models.
    pub models: Names,
    /// Part of the data per query, where the file states it.
    pub splits: Vec<Option<String>>,
    /// One row per pair.
    pub rows: Vec<OutcomeRow>,
}

impl Outcomes {
    /// Reads `outcomes.csv`, `.csv.gz` or `.parquet`.
    pub fn read(path: &Path) -> Result<Self> {
        let wanted = [
            required("query_id"),
            required("model"),
            required("correct"),
            optional("output_tokens"),
            optional("output_tokens_est"),
            optional("input_tokens"),
            optional("cost_usd"),
            optional("split"),
        ];
        let mut outcomes = Outcomes::default();
        let mut seen = HashMap::new();
        table::read(path, &wanted, |row| {
            let (query, model) = outcomes.pair(row)?;
            if let Some(first) = seen.insert((query, model), row.line) {
                let what = format!("and `model` repeat the pair of line {first}: {}", pair(row));
                return Err(row.error(0, what));
            }
            let split = row.optional_text(7)?.map(Cow::into_owned);
            match outcomes.splits.get(query as usize) {
                None => outcomes.splits.push(split),
                Some(first) if *first != split => {
                    return Err(row.error(7, "differs from that of the query's first row"));
                }
                Some(_) => {}
            }
            outcomes.rows.push(OutcomeRow {
                line: row.line,
                query,
                model,
                correct: row.within(2, 0.0, 1.0)?,
                output_tokens: row.optional_within(3, 0.0, f64::INFINITY)?,
                output_tokens_est: row.optional_within(4, 0.0, f64::INFINITY)?,
                input_tokens: row.optional_within(5, 0.0, f64::INFINITY)?,
                cost_usd: row.optional_within(6, 0.0, f64::INFINITY)?,
            });
            Ok(())
        })?;
        if outcomes.rows.is_empty() {
            return Err(bad(path, 0, "has no rows"));
        }
        Ok(outcomes)
    }

    fn pair(&mut self, row: &Row) -> Result<(u32, u32)> {
        Ok((self.queries.intern(&row.text(0)?), self.models.intern(&row.text(1)?)))
    }
}

fn twice(row: &Row) -> Error {
    row.error(0, format!("and `model` repeat the pair {}", pair(row)))
}

fn pair(row: &Row) -> String {
    format!("{:?}, {:?}", row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default())
}

/// Estimates as a batch to plan: matrices over queries and models, model-major.
#[derive(Debug, Clone, Default)]
pub struct EstimateTable {
    /// Ids of the queries.
    pub queries: Names,
    /// Names of the models.
    pub models: Names,
    /// Chance of a good answer; 0 where the pair has no row.
    pub quality: Vec<f64>,
    /// Expected USD; +inf where the pair has no row, which forbids it.
    pub cost: Vec<f64>,
}

impl EstimateTable {
    /// Reads `query_id,model,quality,cost_usd` from csv or Parquet.
    pub fn read(path: &Path) -> Result<Self> {
        let wanted = [required("query_id"), required("model"), required("quality"), required("cost_usd")];
        let (mut queries, mut models) = (Names::default(), Names::default());
        // Quality and cost per model, as long as the last query it has a row for.
        let mut columns: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        let mut last = (String::new(), 0);
        table::read(path, &wanted, |row| {
            // Rows of one query mostly follow each other.
            let id = row.text(0)?;
            if last.0 != id {
                last = (id.to_string(), queries.intern(&id) as usize);
            }
            let model = models.intern(&row.text(1)?) as usize;
            columns.resize_with(models.list.len(), Default::default);
            let (quality, cost) = &mut columns[model];
            if cost.get(last.1).is_some_and(|cost| cost.is_finite()) {
                return Err(twice(row));
            }
            if cost.len() <= last.1 {
                quality.resize(last.1 + 1, 0.0);
                cost.resize(last.1 + 1, f64::INFINITY);
            }
            quality[last.1] = row.within(2, 0.0, 1.0)?;
            cost[last.1] = row.within(3, 0.0, f64::INFINITY)?;
            Ok(())
        })?;
        if columns.is_empty() {
            return Err(bad(path, 0, "has no rows"));
        }
        let n = queries.list.len();
        let mut table = EstimateTable { queries, models, ..EstimateTable::default() };
        for (mut quality, mut cost) in columns {
            quality.resize(n, 0.0);
            cost.resize(n, f64::INFINITY);
            table.quality.append(&mut quality);
            table.cost.append(&mut cost);
        }
        Ok(table)
    }
}

/// Estimated chances of success by query and model; pairs without a value are left out.
pub type Chances = HashMap<String, HashMap<String, f64>>;

/// Reads `query_id,model,quality` from csv or Parquet.
pub fn read_chances(path: &Path) -> Result<Chances> {
    let wanted = [required("query_id"), required("model"), required("quality")];
    let mut chances = Chances::new();
    table::read(path, &wanted, |row| {
        let Some(quality) = row.optional_within(2, 0.0, 1.0)? else { return Ok(()) };
        let of_query = chances.entry(row.text(0)?.into_owned()).or_default();
        match of_query.entry(row.text(1)?.into_owned()) {
            Entry::Occupied(_) => Err(twice(row)),
            Entry::Vacant(entry) => {
                entry.insert(quality);
                Ok(())
            }
        }
    })?;
    Ok(chances)
}

/// Reads `query_id,group`.
pub fn read_groups(path: &Path) -> Result<HashMap<String, String>> {
    let mut groups = HashMap::new();
    table::read(path, &[required("query_id"), required("group")], |row| {
        let (id, group) = (row.text(0)?.into_owned(), row.text(1)?.into_owned());
        match groups.insert(id, group) {
            Some(_) => Err(row.error(0, "names a query that already has a group")),
            None => Ok(()),
        }
    })?;
    Ok(groups)
}

/// Reads workloads, `{"model": most queries}`; `null` and numbers beyond 2^53 mean unlimited.
pub fn read_workloads(path: &Path) -> Result<BTreeMap<String, u64>> {
    let limits: BTreeMap<String, Option<f64>> = read_json(path)?;
    let whole = |(model, limit): (String, Option<f64>)| match limit {
        None => Ok((model, u64::MAX)),
        Some(limit) if limit >= 2f64.powi(53) => Ok((model, u64::MAX)),
        Some(limit) if limit >= 0.0 && limit.fract() == 0.0 => Ok((model, limit as u64)),
        Some(limit) => Err(bad(path, 0, format!("`{model}` is {limit}, not a number of queries"))),
    };
    limits.into_iter().map(whole).collect()
}

/// Reads floors, `{"group": least mean quality}`.
pub fn read_floors(path: &Path) -> Result<BTreeMap<String, f64>> {
    let floors: BTreeMap<String, f64> = read_json(path)?;
    match floors.iter().find(|(_, floor)| !(0.0..=1.0).contains(*floor)) {
        Some((group, floor)) => Err(bad(path, 0, format!("`{group}` is {floor}, not a number from 0 to 1"))),
        None => Ok(floors),
    }
}

/// Writes an assignment, `query_id,model`.
pub fn write_assignment<'a>(path: &Path, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let mut writer = Writer::create(path, &[("query_id", Kind::Text), ("model", Kind::Text)])?;
    for (query, model) in pairs {
        writer.row(&[Cell::Text(query), Cell::Text(model)])?;
    }
    writer.finish()
}

/// Writes the points of a cost-quality curve, means per query.
pub fn write_curve(path: &Path, points: &[PricePoint]) -> Result<()> {
    let columns = ["quality", "cost_usd", "lambda_usd"].map(|name| (name, Kind::Number));
    let mut writer = Writer::create(path, &columns)?;
    for point in points {
        writer.row(&[point.quality, point.cost, point.lambda].map(Cell::Number))?;
    }
    writer.finish()
}

/// The columns of a file of estimates.
pub const ESTIMATE_COLUMNS: [(&str, Kind); 10] = [
    ("query_id", Kind::Text),
    ("model", Kind::Text),
    ("quality", Kind::Number),
    ("quality_lo", Kind::Number),
    ("quality_hi", Kind::Number),
    ("output_tokens", Kind::Number),
    ("cost_usd", Kind::Number),
    ("cost_lo", Kind::Number),
    ("cost_hi", Kind::Number),
    ("in_distribution", Kind::Flag),
];
