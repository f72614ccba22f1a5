//! What can go wrong, as something a caller can act on.
//!
//! One enum for the whole crate; each variant names the offending place and value. Outcomes that
//! are not mistakes (no candidate left, an infeasible plan) are values, never errors.

/// A failure with a stable [`code`](Error::code) and a message that names what and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request field is missing, of the wrong type or out of range.
    #[error("request field `{field}`: {what}")]
    Request {
        /// Path of the field, such as `messages[2].content`.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// A catalog cannot be used.
    #[error("catalog: {place}: {what}")]
    Catalog {
        /// Path inside the catalog, such as `models[3].cost.input`.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// A trained artifact is missing, truncated, altered or inconsistent with its manifest.
    #[error("artifact `{file}`: {what}")]
    Artifact {
        /// Name of the file in the manifest.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// A retrieval index cannot be read or built.
    #[error("index: {what}")]
    Index {
        /// What is wrong with it.
        what: String,
    },
    /// A number is NaN, infinite or outside its range.
    #[error("{place}: {value} is not {expected}")]
    Number {
        /// Where the number stands.
        place: String,
        /// The number as it was given.
        value: String,
        /// The range that was expected.
        expected: &'static str,
    },
    /// A file was written by a newer version of Pennyroute.
    #[error("{file}: format {found} is newer than {supported}, the newest this version reads")]
    Version {
        /// Which file.
        file: String,
        /// The format it states.
        found: u32,
        /// The newest format this build reads.
        supported: u32,
    },
    /// A row of an input file is malformed.
    #[error("{}: {what}", position(file, *line))]
    Input {
        /// The file as the caller named it.
        file: String,
        /// Line (or row, for binary formats), counted from 1; 0 when the file as a whole is meant.
        line: u64,
        /// What is wrong, naming the column.
        what: String,
    },
    /// The optimizer was given a problem it cannot represent.
    #[error("optimization problem: {what}")]
    Problem {
        /// What is wrong with it.
        what: String,
    },
    /// The GPU cannot be used, or no longer.
    #[error("gpu: {what}")]
    Gpu {
        /// `no_adapter`, `gpu_limits`, `gpu_out_of_memory`, `device_lost` or `gpu_failed`.
        code: &'static str,
        /// What happened.
        what: String,
    },
    /// Whoever watched a long computation ended it.
    #[error("cancelled")]
    Cancelled,
    /// A broken promise inside Pennyroute; please report it.
    #[error("internal error: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

impl Error {
    /// The stable code of this error, the same in every host.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Request { .. } => "bad_request",
            Error::Catalog { .. } => "bad_catalog",
            Error::Artifact { .. } => "bad_artifact",
            Error::Index { .. } => "bad_index",
            Error::Number { .. } => "bad_number",
            Error::Version { .. } => "unsupported_version",
            Error::Input { .. } => "bad_input",
            Error::Problem { .. } => "bad_problem",
            Error::Gpu { code, .. } => code,
            Error::Cancelled => "cancelled",
            Error::Internal { .. } => "internal",
        }
    }

    pub(crate) fn request(field: impl Into<String>, what: impl ToString) -> Self {
        Error::Request { field: field.into(), what: what.to_string() }
    }

    #[cfg(feature = "router")]
    pub(crate) fn catalog(place: impl Into<String>, what: impl ToString) -> Self {
        Error::Catalog { place: place.into(), what: what.to_string() }
    }

    pub(crate) fn artifact(file: impl Into<String>, what: impl ToString) -> Self {
        Error::Artifact { file: file.into(), what: what.to_string() }
    }

    #[cfg(feature = "router")]
    pub(crate) fn index(what: impl ToString) -> Self {
        Error::Index { what: what.to_string() }
    }
}

fn position(file: &str, line: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}

/// Result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a number that is NaN, infinite or below zero, naming its place.
#[cfg(feature = "router")]
pub(crate) fn finite_non_negative(place: impl Into<String>, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Number { place: place.into(), value: value.to_string(), expected: "a finite number >= 0" })
}

/// Refuses a number outside [0, 1], naming its place.
#[cfg(feature = "router")]
pub(crate) fn unit_interval(place: impl Into<String>, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Number { place: place.into(), value: value.to_string(), expected: "a number from 0 to 1" })
}
