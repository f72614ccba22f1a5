//! The trained artifacts: a manifest, and the files it vouches for.
//!
//! Bytes in, values out: where the bytes come from (a folder, a bundle, the network) is the host's
//! business. Every file is checked against the size and SHA-256 in the manifest before it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::catalog::RecordedModel;
use crate::error::{Error, Result, finite_non_negative};

/// The newest artifact format this version reads.
pub const ARTIFACT_FORMAT: u32 = 1;

/// More numbers than any sentence encoder's vector has.
const MOST_DIMENSIONS: usize = 1 << 16;

/// The list of files that make up one version of the trained artifacts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Manifest {
    /// Format of the artifacts; see [`ARTIFACT_FORMAT`].
    pub format: u32,
    /// Version of the trained predictor, named in every receipt.
    pub version: String,
    /// The files by role: `predictor`, `vocab`, `parameters`, `reference`, `index`, `catalog`.
    pub files: BTreeMap<String, FileEntry>,
}

/// One file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FileEntry {
    /// Path relative to the manifest.
    pub path: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
    /// Length of the content in bytes.
    pub bytes: u64,
}

/// Everything in `parameters.json`: constants of the predictor that are data, not code.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Parameters {
    /// Format of the file.
    pub format: u32,
    /// Number of skills, K.
    pub skills: usize,
    /// Number of length dimensions, L.
    pub lengths: usize,
    /// Dimensions of the embedding, D.
    pub dimensions: usize,
    /// Tokens of a text that are read; of a longer one the first and the last half of as many.
    pub max_tokens: usize,
    /// The sentence encoder whose vector of a text the network takes beside the text; absent: it takes none.
    #[serde(default)]
    pub encoder: Option<EncoderParameters>,
    /// Mean skills of the training queries.
    pub skills_mean: Vec<f64>,
    /// Mean difficulty of the training queries.
    pub difficulty_mean: f64,
    /// Uncertainty of a query's own level, in logits.
    pub query_sd: QuerySd,
    /// Abilities over the recorded models.
    pub ability_prior: Prior,
    /// Lengths over the recorded models.
    pub length_prior: Prior,
    /// How neighbors correct an estimate.
    pub retrieval: RetrievalParameters,
    /// Weights of the estimate of input tokens, in tokens of o200k.
    pub input_tokens: TokenWeights,
    /// Tokens that other tokenizers make of one of o200k, by a part of a model's id in lower case,
    /// such as `claude`: of the parts that an id has, the longest decides.
    #[serde(default)]
    pub token_factors: BTreeMap<String, f64>,
    /// The recorded models by the name they have in the outcomes.
    pub abilities: BTreeMap<String, RecordedModel>,
    /// What turns published scores and prices into abilities; absent until `models/train/catalog.py` has run.
    #[serde(default)]
    pub published: Option<Published>,
}

/// From published benchmark scores, or a price, to an ability; `learn::scores` documents the formulas. Rows are
/// arrays to keep both the file and its reader small.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Published {
    /// The known scores by name, each as `[guess, at, slope, noise]`: percent that guessing gets right, the score
    /// at g = 0 as log odds, its growth with g, and its scatter. A name that ends in `elo` is a rating, in hundreds.
    pub scores: BTreeMap<String, [f64; 4]>,
    /// Mean, least and greatest g of the models with both scores and recorded outcomes.
    pub known: [f64; 3],
    /// The ability at the mean g, and how far off it was on models left out.
    pub at: Prior,
    /// Its growth with g.
    pub slope: Prior,
    /// Share of the level's slope that is left above the greatest known g.
    pub saturation: f64,
    /// Standard deviation of the level per unit of g outside the known.
    pub extrapolation: f64,
    /// g at one USD per million tokens in 2026, its growth per factor of ten in price and per year, the year
    /// taken for a model without a date, and the standard deviation of g.
    pub price: [f64; 5],
}

/// The sentence encoder that a predictor was trained with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EncoderParameters {
    /// Version in the manifest of the encoder.
    pub version: String,
    /// Numbers in a vector.
    pub dimensions: usize,
}

/// Standard deviation, in logits, of a query's own level.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct QuerySd {
    /// Of a query like those trained on.
    pub near: f64,
    /// Of a query unlike any of them.
    pub far: f64,
}

/// Mean and spread of a vector over the recorded models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prior {
    /// Mean of each entry.
    pub mean: Vec<f64>,
    /// Standard deviation of each entry.
    pub sd: Vec<f64>,
    /// For lengths, the standard deviation of the log of output tokens.
    #[serde(default)]
    pub residual_sd: f64,
}

/// Constants of the blend with past outcomes; `retrieve` documents the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RetrievalParameters {
    /// Number of neighbors.
    pub k: usize,
    /// Scale of the distance at which a neighbor's weight falls by e.
    pub temperature: f64,
    /// Weight of the prior "no correction" for the query's level.
    pub shrink_query: f64,
    /// Weight of the prior "no correction" for each model.
    pub shrink_model: f64,
    /// Mean distance of records with outcomes beyond which a query counts as unlike the training data.
    pub far: f64,
    /// For records without outcomes the same, as a multiple of how far apart they lie.
    pub reach: f64,
    /// As a multiple of these, the distance beyond which nothing of the prediction is kept.
    pub very_far: f64,
}

/// Tokens per count, fitted on text whose tokens were counted.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "one weight per count of the same name in `TextCounts`")]
pub struct TokenWeights {
    pub word: f64,
    pub letter: f64,
    pub digit: f64,
    pub mark: f64,
    pub newline: f64,
    pub cjk: f64,
    pub other: f64,
}

/// A sample of the traffic that prices of quality are solved on; skill vectors, no texts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reference {
    /// Format of the file.
    pub format: u32,
    /// The sample.
    pub queries: Vec<ReferenceQuery>,
}

/// What the predictor said about one query of the sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReferenceQuery {
    /// Skills the query needs.
    pub skills: Vec<f64>,
    /// How hard it is.
    pub difficulty: f64,
    /// Length dimensions.
    pub length: Vec<f64>,
    /// Tokens of its input.
    pub input_tokens: f64,
}

/// All artifacts, checked and parsed as far as the domain can.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// Version of the trained predictor.
    pub version: String,
    /// The ONNX file.
    pub predictor: Vec<u8>,
    /// The vocabulary, one token per line.
    pub vocab: String,
    /// Constants of the predictor.
    pub parameters: Parameters,
    /// The sample that prices of quality are solved on.
    pub reference: Reference,
    /// The retrieval index, and the first characters of its checksum as its version.
    pub index: Option<(Vec<u8>, String)>,
    /// The catalog that comes with the artifacts, as JSON.
    pub catalog: Option<Vec<u8>>,
}

impl Artifacts {
    /// Reads the manifest and, through `read`, each file it names by path.
    ///
    /// `read` returns `None` for a file that does not exist.
    pub fn open(manifest: &[u8], mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Result<Self> {
        let manifest: Manifest = parse("manifest.json", manifest)?;
        supported("manifest.json", manifest.format)?;
        let mut file = |role: &str| -> Result<Option<(Vec<u8>, String)>> {
            let Some(entry) = manifest.files.get(role) else { return Ok(None) };
            let bytes = read(&entry.path).ok_or_else(|| Error::artifact(&entry.path, "is missing"))?;
            verify(entry, &bytes)?;
            Ok(Some((bytes, entry.sha256[..12].to_owned())))
        };
        let mut required = |role: &str| -> Result<Vec<u8>> {
            let (bytes, _) = file(role)?
                .ok_or_else(|| Error::artifact("manifest.json", format!("names no file for `{role}`")))?;
            Ok(bytes)
        };
        let predictor = required("predictor")?;
        let vocab = String::from_utf8(required("vocab")?).map_err(|e| Error::artifact("vocab", e))?;
        let parameters: Parameters = parse("parameters", &required("parameters")?)?;
        let reference: Reference = parse("reference", &required("reference")?)?;
        let index = file("index")?;
        let catalog = file("catalog")?.map(|(bytes, _)| bytes);
        supported("parameters", parameters.format)?;
        supported("reference", reference.format)?;
        parameters.validate()?;
        reference.validate(&parameters)?;
        Ok(Artifacts { version: manifest.version, predictor, vocab, parameters, reference, index, catalog })
    }
}

/// First bytes of a bundle.
const BUNDLE_MAGIC: &[u8; 8] = b"PENNYART";

impl Artifacts {
    /// Reads the artifacts from one bundle, as the hosts load them: `PENNYART`, the length of the
    /// manifest as a little-endian u32, the manifest, and the content of its files sorted by role.
    pub fn from_bundle(bundle: &[u8]) -> Result<Self> {
        let broken = |what: &str| Error::artifact("artifacts.bin", what);
        let rest = bundle.strip_prefix(BUNDLE_MAGIC).ok_or_else(|| broken("is not a bundle of artifacts"))?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| broken("is truncated"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (manifest, mut rest) = rest.split_at_checked(length).ok_or_else(|| broken("is truncated"))?;
        let listed: Manifest = parse("manifest.json", manifest)?;
        let mut files = BTreeMap::new();
        for entry in listed.files.values() {
            let length = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
            let Some((content, after)) = rest.split_at_checked(length) else {
                return Err(broken(&format!("is truncated before the end of `{}`", entry.path)));
            };
            files.insert(entry.path.as_str(), content);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(broken("has bytes after its last file"));
        }
        Artifacts::open(manifest, |path| files.get(path).map(|content| content.to_vec()))
    }
}

/// A mistake is named by line and column, not by its path as in files that people write: these are checked by
/// hash, and tracking paths through them would make the module a hundredth larger.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| Error::artifact(file, e))
}

pub(crate) fn supported(file: &str, format: u32) -> Result<()> {
    if format <= ARTIFACT_FORMAT {
        return Ok(());
    }
    Err(Error::Version { file: file.into(), found: format, supported: ARTIFACT_FORMAT })
}

pub(crate) fn verify(entry: &FileEntry, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 != entry.bytes {
        let what = format!("has {} bytes, the manifest says {}", bytes.len(), entry.bytes);
        return Err(Error::artifact(&entry.path, what));
    }
    let digest = checksum(bytes);
    if digest != entry.sha256 {
        let what = format!("SHA-256 is {digest}, the manifest says {}", entry.sha256);
        return Err(Error::artifact(&entry.path, what));
    }
    Ok(())
}

/// The SHA-256 of a content, in lower-case hexadecimal.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

impl Parameters {
    fn validate(&self) -> Result<()> {
        let (k, l) = (self.skills, self.lengths);
        let (abilities, lengths_of) = (k.saturating_add(1), l.saturating_add(1));
        let mut lengths = vec![
            ("skills_mean", self.skills_mean.len(), k),
            ("ability_prior.mean", self.ability_prior.mean.len(), abilities),
            ("ability_prior.sd", self.ability_prior.sd.len(), abilities),
            ("length_prior.mean", self.length_prior.mean.len(), lengths_of),
            ("length_prior.sd", self.length_prior.sd.len(), lengths_of),
        ];
        for model in self.abilities.values() {
            lengths.push(("abilities.*.ability.mean", model.ability.mean.len(), abilities));
            lengths.push(("abilities.*.ability.sd", model.ability.sd.len(), abilities));
            lengths.push(("abilities.*.length.mean", model.length.mean.len(), lengths_of));
        }
        if let Some(published) = &self.published {
            lengths.extend([
                ("published.at.mean", published.at.mean.len(), abilities),
                ("published.at.sd", published.at.sd.len(), abilities),
                ("published.slope.mean", published.slope.mean.len(), abilities),
                ("published.slope.sd", published.slope.sd.len(), abilities),
            ]);
            if published.known[1] > published.known[2] {
                return Err(Error::artifact("parameters", "`published.known` ends before it starts"));
            }
            let bad = |[guess, _, _, noise]: &[f64; 4]| !(0.0..100.0).contains(guess) || *noise <= 0.0;
            if let Some((name, _)) = published.scores.iter().find(|(_, score)| bad(score)) {
                let what =
                    format!("`published.scores.{name}` needs a guess from 0 to below 100 and noise > 0");
                return Err(Error::artifact("parameters", what));
            }
        }
        for (name, found, expected) in lengths {
            if found != expected {
                let what = format!("`{name}` has {found} entries instead of {expected}");
                return Err(Error::artifact("parameters", what));
            }
        }
        if self.encoder.as_ref().is_some_and(|encoder| !(1..=MOST_DIMENSIONS).contains(&encoder.dimensions)) {
            let what = format!("`encoder.dimensions` is not from 1 to {MOST_DIMENSIONS}");
            return Err(Error::artifact("parameters", what));
        }
        let r = &self.retrieval;
        for (name, value) in [
            ("query_sd.near", self.query_sd.near),
            ("query_sd.far", self.query_sd.far),
            ("length_prior.residual_sd", self.length_prior.residual_sd),
            ("retrieval.temperature", r.temperature),
            ("retrieval.shrink_query", r.shrink_query),
            ("retrieval.shrink_model", r.shrink_model),
            ("retrieval.far", r.far),
            ("retrieval.reach", r.reach),
            ("retrieval.very_far", r.very_far),
        ] {
            finite_non_negative(format!("parameters.{name}"), value)?;
        }
        for (part, &factor) in &self.token_factors {
            finite_non_negative(format!("parameters.token_factors.{part}"), factor)?;
        }
        let mut divisors =
            [r.temperature, r.far, r.reach].into_iter().chain(self.token_factors.values().copied());
        if divisors.any(|value| value == 0.0) || r.very_far <= 1.0 || r.k == 0 || self.max_tokens < 2 {
            let what =
                "needs temperature, far, reach and token_factors > 0, very_far > 1, k > 0 and max_tokens > 1";
            return Err(Error::artifact("parameters", what));
        }
        Ok(())
    }
}

impl Reference {
    fn validate(&self, parameters: &Parameters) -> Result<()> {
        if self.queries.is_empty() {
            return Err(Error::artifact("reference", "`queries` is empty"));
        }
        let fits =
            |q: &ReferenceQuery| q.skills.len() == parameters.skills && q.length.len() == parameters.lengths;
        for (i, query) in self.queries.iter().enumerate() {
            finite_non_negative(format!("reference.queries[{i}].input_tokens"), query.input_tokens)?;
        }
        match self.queries.iter().position(|q| !fits(q)) {
            Some(i) => Err(Error::artifact(
                "reference",
                format!("`queries[{i}]` has other dimensions than the parameters"),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_factors_may_be_absent_but_not_zero() {
        let shipped = include_str!("../models/parameters.json");
        let mut json: serde_json::Value = serde_json::from_str(shipped).unwrap();
        let mut checked = |factors: Option<serde_json::Value>| {
            let fields = json.as_object_mut().unwrap();
            fields.remove("token_factors");
            fields.extend(factors.map(|factors| ("token_factors".into(), factors)));
            let parameters: Parameters = serde_json::from_value(json.clone()).unwrap();
            parameters.validate().map_err(|error| error.to_string())
        };
        assert_eq!(checked(None), Ok(()));
        for (bad, named) in [(0.0, "token_factors > 0"), (-1.5, "parameters.token_factors.claude")] {
            let error = checked(Some(serde_json::json!({ "claude": bad }))).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
