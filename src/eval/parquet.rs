//! Tables in Parquet: flat columns of text, numbers and flags; nulls allowed when reading.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::file::{Output, bad};
use super::table::{Cell, Kind, Row, Wanted, no_column};
use crate::error::{Error, Result};

/// Rows decoded at once.
const BATCH: usize = 4096;

/// Rows written per row group: some tens of megabytes of estimates.
const ROW_GROUP: usize = 1 << 17;

/// A decoded value.
#[derive(Clone)]
enum Value {
    Null,
    Bytes(ByteArray),
    Number(f64),
    Integer(i64),
    Flag(bool),
}

fn failed(path: &Path, verb: &str, error: &ParquetError) -> Error {
    bad(path, 0, format!("cannot be {verb}: {error}"))
}

pub(super) fn read(path: &Path, wanted: &[Wanted], each: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(|e| bad(path, 0, format!("cannot be read: {e}")))?;
    let reader = SerializedFileReader::new(file).map_err(|e| failed(path, "read", &e))?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let position = |name: &str| schema.columns().iter().position(|column| column.path().string() == name);
    let columns = wanted.iter().map(|want| match position(want.name) {
        None if want.required => Err(no_column(path, want.name, schema.columns().iter().map(|c| c.name()))),
        Some(c) if schema.column(c).max_rep_level() > 0 => {
            Err(bad(path, 0, format!("column `{}` holds lists, not single values", want.name)))
        }
        found => Ok(found),
    });
    let columns = columns.collect::<Result<Vec<Option<usize>>>>()?;

    let mut line = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|e| failed(path, "read", &e))?;
        let mut sources = Vec::new();
        for &column in &columns {
            sources.push(match column {
                Some(c) => Some(group.get_column_reader(c).map_err(|e| failed(path, "read", &e))?),
                None => None,
            });
        }
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        while left > 0 {
            let rows = left.min(BATCH);
            let mut batch = Vec::new();
            for ((source, &column), want) in sources.iter_mut().zip(&columns).zip(wanted) {
                let most = column.map_or(0, |c| schema.column(c).max_def_level());
                batch.push(match source {
                    Some(source) => decode(source, rows, most).map_err(|what| {
                        bad(path, line + 1, format!("column `{}` cannot be read: {what}", want.name))
                    })?,
                    None => vec![Value::Null; rows],
                });
            }
            for i in 0..rows {
                line += 1;
                let cells: std::result::Result<Vec<Cell>, usize> =
                    batch.iter().enumerate().map(|(c, values)| cell(&values[i]).ok_or(c)).collect();
                let cells = cells
                    .map_err(|c| bad(path, line, format!("column `{}` is not UTF-8 text", wanted[c].name)))?;
                each(&Row { path, line, wanted, cells: &cells })?;
            }
            left -= rows;
        }
    }
    Ok(())
}

/// The value as a cell; `None` where its bytes are no text.
fn cell(value: &Value) -> Option<Cell<'_>> {
    Some(match value {
        Value::Null => Cell::Null,
        Value::Bytes(bytes) => Cell::Text(std::str::from_utf8(bytes.data()).ok()?),
        Value::Number(x) if x.is_nan() => Cell::Null,
        Value::Number(x) => Cell::Number(*x),
        Value::Integer(i) => Cell::Integer(*i),
        Value::Flag(flag) => Cell::Flag(*flag),
    })
}

fn decode(source: &mut ColumnReader, rows: usize, most: i16) -> std::result::Result<Vec<Value>, String> {
    match source {
        ColumnReader::BoolColumnReader(r) => values(r, rows, most, |&v| Value::Flag(v)),
        ColumnReader::Int32ColumnReader(r) => values(r, rows, most, |&v| Value::Integer(v.into())),
        ColumnReader::Int64ColumnReader(r) => values(r, rows, most, |&v| Value::Integer(v)),
        ColumnReader::FloatColumnReader(r) => values(r, rows, most, |&v| Value::Number(shortest(v))),
        ColumnReader::DoubleColumnReader(r) => values(r, rows, most, |&v| Value::Number(v)),
        ColumnReader::ByteArrayColumnReader(r) => values(r, rows, most, |v| Value::Bytes(v.clone())),
        ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
            Err("its type is neither text nor a number".into())
        }
    }
}

/// The shortest decimal that a single-precision number stands for: what is stored for 0.7 is 0.7.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The next `rows` values of a column; a definition level below `most` is a null.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    most: i16,
    value: impl Fn(&T::T) -> Value,
) -> std::result::Result<Vec<Value>, String> {
    let (mut levels, mut found, mut read) = (Vec::new(), Vec::new(), 0);
    // One call may stop at the end of a page.
    while read < rows {
        let levels = (most > 0).then_some(&mut levels);
        let (more, _, _) =
            reader.read_records(rows - read, levels, None, &mut found).map_err(|e| e.to_string())?;
        if more == 0 {
            return Err("it has fewer values than rows".into());
        }
        read += more;
    }
    let mut found = found.iter();
    let mut next = || found.next().map(&value).ok_or_else(|| "it has fewer values than rows".to_owned());
    if most == 0 {
        return (0..rows).map(|_| next()).collect();
    }
    levels.iter().map(|&level| if level == most { next() } else { Ok(Value::Null) }).collect()
}

/// Writes row groups of required columns, packed with zstd.
pub(super) struct Writer {
    path: std::path::PathBuf,
    file: SerializedFileWriter<Output>,
    columns: Vec<Buffer>,
    rows: usize,
}

enum Buffer {
    Text(Vec<ByteArray>),
    Number(Vec<f64>),
    Flag(Vec<bool>),
}

impl Writer {
    pub(super) fn create(path: &Path, columns: &[(&'static str, Kind)]) -> Result<Self> {
        let wrong = |e: ParquetError| failed(path, "written", &e);
        let mut fields = Vec::new();
        for &(name, kind) in columns {
            let (physical, logical) = match kind {
                Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                Kind::Number => (Physical::DOUBLE, None),
                Kind::Flag => (Physical::BOOLEAN, None),
            };
            let field = Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::REQUIRED)
                .with_logical_type(logical);
            fields.push(Arc::new(field.build().map_err(wrong)?));
        }
        let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(wrong)?;
        // Names repeat and numbers do not: a dictionary of numbers would be built only to be dropped.
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false);
        for (name, _) in columns.iter().filter(|(_, kind)| *kind == Kind::Text) {
            properties = properties.set_column_dictionary_enabled((*name).into(), true);
        }
        let file =
            SerializedFileWriter::new(Output::create(path)?, Arc::new(schema), Arc::new(properties.build()));
        let buffer = |&(_, kind): &(&str, Kind)| match kind {
            Kind::Text => Buffer::Text(Vec::new()),
            Kind::Number => Buffer::Number(Vec::new()),
            Kind::Flag => Buffer::Flag(Vec::new()),
        };
        let columns = columns.iter().map(buffer).collect();
        Ok(Writer { path: path.into(), file: file.map_err(wrong)?, columns, rows: 0 })
    }

    pub(super) fn row(&mut self, cells: &[Cell]) -> Result<()> {
        for (buffer, cell) in self.columns.iter_mut().zip(cells) {
            match (buffer, *cell) {
                (Buffer::Text(values), Cell::Text(text)) => values.push(ByteArray::from(text)),
                (Buffer::Number(values), Cell::Number(value)) => values.push(value),
                (Buffer::Flag(values), Cell::Flag(value)) => values.push(value),
                _ => {
                    return Err(Error::Internal { what: "a cell is of another kind than its column".into() });
                }
            }
        }
        self.rows += 1;
        if self.rows == ROW_GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        self.write_group().map_err(|e| failed(&self.path, "written", &e))
    }

    fn write_group(&mut self) -> std::result::Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else { break };
            match buffer {
                Buffer::Text(values) => {
                    drain(values, |v| column.typed::<ByteArrayType>().write_batch(v, None, None))?;
                }
                Buffer::Number(values) => {
                    drain(values, |v| column.typed::<DoubleType>().write_batch(v, None, None))?;
                }
                Buffer::Flag(values) => {
                    drain(values, |v| column.typed::<BoolType>().write_batch(v, None, None))?;
                }
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if self.rows > 0 {
            self.flush()?;
        }
        let Writer { path, file, .. } = self;
        let output = file.into_inner().map_err(|e| failed(&path, "written", &e))?;
        output.finish()
    }
}

fn drain<T>(
    values: &mut Vec<T>,
    write: impl FnOnce(&[T]) -> std::result::Result<usize, ParquetError>,
) -> std::result::Result<(), ParquetError> {
    write(values)?;
    values.clear();
    Ok(())
}
