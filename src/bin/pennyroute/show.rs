//! What is printed: lines, tables, and the JSON object that comes last.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use pennyroute::{Error, Result, Source};
use serde::Serialize;

/// Prints a line; a reader that has gone away ends the output, not the work.
pub fn line(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Input { file: "standard output".into(), line: 0, what: e.to_string() })
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object as a line.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::Internal { what: e.to_string() })?;
    line(&text)
}

/// A table without borders, its first column flush left and the others flush right.
pub fn table<R: AsRef<[String]>>(header: &[&str], rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows.iter().map(AsRef::as_ref));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// USD with four significant digits, never in exponents.
pub fn usd(value: f64) -> String {
    let decimals = if value > 0.0 { (3.0 - value.log10().floor()).clamp(2.0, 12.0) as usize } else { 2 };
    format!("${value:.decimals$}")
}

/// How an ability was obtained, in the words of the catalog.
pub fn source(source: Source) -> &'static str {
    match source {
        Source::Recorded => "recorded",
        Source::Fitted => "fitted",
        Source::Published => "published",
        Source::Price => "price",
        Source::Prior => "prior",
    }
}
