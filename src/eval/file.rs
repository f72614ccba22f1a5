//! Files in and out: compression, standard input, and outputs that appear only when complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Bytes read or written at once.
const BUFFER: usize = 1 << 16;

/// An error about a file; `line` 0 means the file as a whole.
#[allow(clippy::needless_pass_by_value, reason = "messages are made on the spot")]
pub fn bad(path: &Path, line: u64, what: impl ToString) -> Error {
    Error::Input { file: path.display().to_string(), line, what: what.to_string() }
}

/// Opens a file, or standard input for `-`. Gzip is recognised by its first bytes, not by the name.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let mut raw: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::with_capacity(BUFFER, io::stdin()))
    } else {
        let unreadable = |e| bad(path, 0, format!("cannot be read: {e}"));
        if path.is_dir() {
            return Err(bad(path, 0, "is a folder, not a file"));
        }
        Box::new(BufReader::with_capacity(BUFFER, File::open(path).map_err(unreadable)?))
    };
    let start = raw.fill_buf().map_err(|e| bad(path, 0, format!("cannot be read: {e}")))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))));
    }
    Ok(raw)
}

/// The whole content of a file, unpacked.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content).map_err(|e| bad(path, 0, format!("cannot be read: {e}")))?;
    Ok(content)
}

/// A JSON file; errors name the line and the path of the field.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let content = read(path)?;
    let mut de = serde_json::Deserializer::from_slice(&content);
    let value = serde_path_to_error::deserialize(&mut de)
        .map_err(|e| bad(path, e.inner().line() as u64, named(&e.path().to_string(), e.inner())))?;
    de.end().map_err(|e| bad(path, e.line() as u64, without_position(&e)))?;
    Ok(value)
}

/// What is wrong with the field at `place` of a JSON text.
pub(super) fn named(place: &str, error: &serde_json::Error) -> String {
    let what = without_position(error);
    if place == "." { what } else { format!("`{place}`: {what}") }
}

/// The message of a JSON error without its position, which is reported as the line.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// A file that replaces what was at its path only when it is [finished](Output::finish); packed with
/// gzip where the name ends in `.gz`.
pub struct Output {
    path: PathBuf,
    /// Where the bytes go until then; `None` where the path is no ordinary file (`/dev/stdout`).
    partial: Option<PathBuf>,
    sink: Option<Sink>,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    /// Begins to write the file at `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let partial = (!special).then(|| {
            let mut name = OsString::from(path);
            name.push(format!(".{}.partial", std::process::id()));
            PathBuf::from(name)
        });
        let target = partial.as_deref().unwrap_or(path);
        let file = File::create(target).map_err(|e| bad(path, 0, format!("cannot be written: {e}")))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let sink = if path.extension().is_some_and(|e| e == "gz") {
            Sink::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Sink::Plain(file)
        };
        Ok(Output { path: path.into(), partial, sink: Some(sink) })
    }

    /// Completes the file and puts it in its place.
    pub fn finish(mut self) -> Result<()> {
        let path = self.path.clone();
        let failed = |e| bad(&path, 0, format!("cannot be written: {e}"));
        let mut file = match self.sink.take() {
            Some(Sink::Plain(file)) => file,
            Some(Sink::Gzip(encoder)) => encoder.finish().map_err(failed)?,
            None => return Ok(()),
        };
        file.flush().map_err(failed)?;
        if let Some(partial) = self.partial.take() {
            fs::rename(partial, &self.path).map_err(failed)?;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Some(Sink::Plain(file)) => file.write(bytes),
            Some(Sink::Gzip(encoder)) => encoder.write(bytes),
            None => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Some(Sink::Plain(file)) => file.flush(),
            Some(Sink::Gzip(encoder)) => encoder.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Left over only if the work failed half way: then there is nothing worth keeping.
        if let Some(partial) = &self.partial {
            self.sink = None;
            let _ = fs::remove_file(partial);
        }
    }
}

/// Writes a whole file at once.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut output = Output::create(path)?;
    output.write_all(content).map_err(|e| bad(path, 0, format!("cannot be written: {e}")))?;
    output.finish()
}
