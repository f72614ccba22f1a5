//! Tables of named columns, as csv, csv.gz or Parquet, read and written row by row.
//!
//! Readers ask for columns by name, in any order in the file; other columns are skipped. An empty
//! cell of a csv file and a null of a Parquet file are the same: no value.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::file::{self, Output, bad};
use super::parquet;
use crate::error::{Error, Result};

/// A column that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Its name in the header.
    pub name: &'static str,
    /// Whether the file must have it.
    pub required: bool,
}

/// A column that must be there.
pub const fn required(name: &'static str) -> Wanted {
    Wanted { name, required: true }
}

/// A column that may be absent: its cells are then empty.
pub const fn optional(name: &'static str) -> Wanted {
    Wanted { name, required: false }
}

/// One value of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Text, or anything in a csv file.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
}

/// One row of the wanted columns, in the order in which they were asked for.
pub struct Row<'a> {
    pub(super) path: &'a Path,
    /// Line of a csv file, row of a Parquet file; the first is 1.
    pub(super) line: u64,
    pub(super) wanted: &'a [Wanted],
    pub(super) cells: &'a [Cell<'a>],
}

impl<'a> Row<'a> {
    /// An error about column `i` of this row.
    #[allow(clippy::needless_pass_by_value, reason = "messages are made on the spot")]
    pub fn error(&self, i: usize, what: impl ToString) -> Error {
        bad(self.path, self.line, format!("column `{}` {}", self.wanted[i].name, what.to_string()))
    }

    /// The text in column `i`, if any; a whole number is taken as its digits.
    pub fn optional_text(&self, i: usize) -> Result<Option<Cow<'a, str>>> {
        match self.cells[i] {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text.into())),
            Cell::Integer(value) => Ok(Some(value.to_string().into())),
            Cell::Number(_) | Cell::Flag(_) => Err(self.error(i, "holds no text")),
        }
    }

    /// The text in column `i`.
    pub fn text(&self, i: usize) -> Result<Cow<'a, str>> {
        self.optional_text(i)?.ok_or_else(|| self.error(i, "is empty"))
    }

    /// The finite number in column `i`, if any; yes is 1 and no is 0.
    pub fn optional_number(&self, i: usize) -> Result<Option<f64>> {
        let value = match self.cells[i] {
            Cell::Null => return Ok(None),
            Cell::Number(value) => value,
            Cell::Integer(value) => value as f64,
            Cell::Flag(value) => f64::from(u8::from(value)),
            Cell::Text(text) => match text.trim() {
                "true" | "True" | "TRUE" => 1.0,
                "false" | "False" | "FALSE" => 0.0,
                text => text.parse().map_err(|_| self.error(i, format!("is {text:?}, not a number")))?,
            },
        };
        if value.is_finite() {
            Ok(Some(value))
        } else {
            Err(self.error(i, format!("is {value}, not a finite number")))
        }
    }

    /// The number in column `i`, which must lie between `least` and `most`, if any.
    pub fn optional_within(&self, i: usize, least: f64, most: f64) -> Result<Option<f64>> {
        match self.optional_number(i)? {
            Some(value) if !(least..=most).contains(&value) => {
                let range = if most.is_infinite() {
                    format!(">= {least}")
                } else {
                    format!("from {least} to {most}")
                };
                Err(self.error(i, format!("is {value}, not a number {range}")))
            }
            other => Ok(other),
        }
    }

    /// The number in column `i`, which must lie between `least` and `most`.
    pub fn within(&self, i: usize, least: f64, most: f64) -> Result<f64> {
        self.optional_within(i, least, most)?.ok_or_else(|| self.error(i, "is empty"))
    }
}

/// Whether a path names a Parquet file.
fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
}

/// Hands every row of a table to `each`, which may refuse it.
pub fn read(path: &Path, wanted: &[Wanted], mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    if is_parquet(path) { parquet::read(path, wanted, &mut each) } else { read_csv(path, wanted, &mut each) }
}

fn read_csv(path: &Path, wanted: &[Wanted], each: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().from_reader(file::open(path)?);
    let headers = reader.headers().map_err(|e| csv_error(path, &e))?.clone();
    let position = |name: &str| headers.iter().position(|header| header.trim() == name);
    let columns = wanted.iter().map(|want| match position(want.name) {
        None if want.required => Err(no_column(path, want.name, headers.iter())),
        found => Ok(found),
    });
    let columns = columns.collect::<Result<Vec<Option<usize>>>>()?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| csv_error(path, &e))? {
        let cell = |column: &Option<usize>| match column.and_then(|c| record.get(c)) {
            None | Some("") => Cell::Null,
            Some(text) => Cell::Text(text),
        };
        let cells: Vec<Cell> = columns.iter().map(cell).collect();
        let line = record.position().map_or(0, csv::Position::line);
        each(&Row { path, line, wanted, cells: &cells })?;
    }
    Ok(())
}

pub(super) fn no_column<'a>(path: &Path, name: &str, there: impl Iterator<Item = &'a str>) -> Error {
    let there: Vec<&str> = there.collect();
    bad(path, 1, format!("has no column `{name}` (it has {})", there.join(", ")))
}

fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            bad(path, line, format!("has {len} fields, the header has {expected_len}"))
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            bad(path, line, format!("is not UTF-8 text: field {}", err.field() + 1))
        }
        _ => bad(path, line, format!("cannot be read: {error}")),
    }
}

fn unwritten(path: &Path, error: &csv::Error) -> Error {
    bad(path, 0, format!("cannot be written: {error}"))
}

/// The type of a column that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Double-precision number.
    Number,
    /// Yes or no.
    Flag,
}

/// Writes a table: Parquet where the name ends in `.parquet`, else csv, packed if it ends in `.gz`.
pub struct Writer(Format);

enum Format {
    Csv(Box<csv::Writer<Output>>, std::path::PathBuf),
    Parquet(Box<parquet::Writer>),
}

impl Writer {
    /// Begins a table of the given columns.
    pub fn create(path: &Path, columns: &[(&'static str, Kind)]) -> Result<Self> {
        if is_parquet(path) {
            return Ok(Writer(Format::Parquet(Box::new(parquet::Writer::create(path, columns)?))));
        }
        let mut writer = csv::Writer::from_writer(Output::create(path)?);
        let written = writer.write_record(columns.iter().map(|(name, _)| name));
        written.map_err(|e| unwritten(path, &e))?;
        Ok(Writer(Format::Csv(Box::new(writer), path.into())))
    }

    /// Appends a row; its cells have the kinds of the columns.
    pub fn row(&mut self, cells: &[Cell]) -> Result<()> {
        match &mut self.0 {
            Format::Parquet(writer) => writer.row(cells),
            Format::Csv(writer, path) => {
                let mut field = |cell: &Cell| match *cell {
                    Cell::Null => writer.write_field(""),
                    Cell::Text(text) => writer.write_field(text),
                    Cell::Number(value) => writer.write_field(value.to_string()),
                    Cell::Integer(value) => writer.write_field(value.to_string()),
                    Cell::Flag(value) => writer.write_field(if value { "true" } else { "false" }),
                };
                let fields = cells.iter().try_for_each(&mut field);
                let end: &[&str] = &[];
                fields.and_then(|()| writer.write_record(end)).map_err(|e| unwritten(path, &e))
            }
        }
    }

    /// Completes the file.
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Format::Parquet(writer) => writer.finish(),
            Format::Csv(writer, path) => {
                let failed = |e: &io::Error| bad(&path, 0, format!("cannot be written: {e}"));
                writer.into_inner().map_err(|e| failed(e.error()))?.finish()
            }
        }
    }
}
