//! The training-based half of an estimate: what a query needs, and what that means for a model.
//!
//! Notation, for query q and model m (item-response theory, two-parameter form):
//!
//! ```text
//! P(m answers q well) = σ( b_m + Σ_k w_mk·s_k(q) − d(q) )      s(q) skills, d(q) difficulty
//! ln(output tokens)   ~ Normal( c_m + Σ_l v_ml·h_l(q), ς_m² )   h(q) length dimensions
//! ```
//!
//! s, d and h come from one small network over static subword embeddings and surface counts, in another
//! set of artifacts over a sentence encoder's vector too, which the caller then brings; the
//! vectors (b, w) and (c, v) of a model stand in the catalog, so that a new model needs an entry
//! and no training. The cost of a description is linear in the number of tokens.

use crate::artifact::{Artifacts, EncoderParameters, Parameters, TokenWeights};
use crate::catalog::{Ability, Length};
use crate::error::{Error, Result};
use crate::estimate::Interval;
use crate::onnx::{Input, Network};
use crate::query::{IMAGE_TOKENS, MESSAGE_TOKENS, Query, TextCounts};
use crate::wordpiece::Tokenizer;

/// Normal quantile at 95 %, so that intervals are central 90 %.
const Z90: f64 = 1.645;

/// The square of a vector's length may be off by so much: rounding to 16 bits or three digits passes.
const UNIT_TOLERANCE: f32 = 0.02;

/// Number of surface features, the order of which is fixed by the trained network.
const FEATURES: usize = 19;

/// What the network says of one query, whatever the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// How much the query needs of each skill.
    pub skills: Vec<f64>,
    /// How hard it is, in logits.
    pub difficulty: f64,
    /// What its answer's length depends on.
    pub length: Vec<f64>,
    /// Where similar queries are near; components from −1 to 1.
    pub embedding: Vec<f32>,
}

/// The trained predictor.
pub struct Predictor {
    tokenizer: Tokenizer,
    network: Network,
    parameters: Parameters,
}

impl Predictor {
    /// Loads the network and its vocabulary and runs it once to check its dimensions.
    pub fn new(artifacts: &Artifacts) -> Result<Self> {
        let parameters = artifacts.parameters.clone();
        let predictor = Predictor {
            tokenizer: Tokenizer::new(&artifacts.vocab, parameters.max_tokens)?,
            network: Network::new("predictor", &artifacts.predictor)?,
            parameters,
        };
        let encoder = predictor.parameters.encoder.as_ref();
        let blank = encoder.map(|encoder| vec![0.0; encoder.dimensions]);
        predictor.run("", &TextCounts::default(), blank.as_deref())?;
        Ok(predictor)
    }

    /// The constants that came with the network.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Token ids and surface features of a text, as the network sees them.
    pub fn inputs(&self, text: &str, counts: &TextCounts) -> (Vec<i64>, [f32; FEATURES]) {
        (self.tokenizer.ids(text), features(text, counts))
    }

    /// The distinct terms of token ids: the tokens themselves, and the hashed pairs of neighbors.
    pub fn terms(ids: &[i64]) -> (Vec<i64>, Vec<i64>) {
        // The first token is paired with [PAD], so that there is always a pair.
        let first = std::iter::once((0, ids.first().copied().unwrap_or(0)));
        let pairs = first.chain(ids.windows(2).map(|pair| (pair[0], pair[1])));
        (distinct(ids.to_vec()), distinct(pairs.map(|(a, b)| i64::from(bucket(a, b))).collect()))
    }

    /// Describes a text; `counts` are those of the same text, `embedding` is the vector that
    /// [`Parameters::encoder`] gives of it. An encoder that is named there needs the vector; without one, none is
    /// taken, since whoever brings it takes the predictor for another.
    pub fn describe(
        &self,
        text: &str,
        counts: &TextCounts,
        embedding: Option<&[f32]>,
    ) -> Result<Description> {
        let refused = |what: String| Err(Error::request("embedding", what));
        match (&self.parameters.encoder, embedding) {
            (None, None) => {}
            (None, Some(_)) => {
                return refused("is given, but this predictor takes none: leave it out".into());
            }
            (Some(EncoderParameters { version, dimensions }), None) => {
                let what = "is missing: this predictor needs the vector of the text that is routed on";
                return refused(format!("{what}, {dimensions} numbers by the encoder `{version}`"));
            }
            (Some(EncoderParameters { version, dimensions }), Some(vector)) => {
                let square: f32 = vector.iter().map(|x| x * x).sum();
                // Also false for what is not a number.
                let unit = (square - 1.0).abs() < UNIT_TOLERANCE;
                if vector.len() != *dimensions || !unit {
                    let found = format!("has {} numbers and the length {}", vector.len(), square.sqrt());
                    return refused(format!("{found}, not {dimensions} and 1 as vectors of `{version}`"));
                }
            }
        }
        self.run(text, counts, embedding)
    }

    fn run(&self, text: &str, counts: &TextCounts, embedding: Option<&[f32]>) -> Result<Description> {
        let (ids, features) = self.inputs(text, counts);
        let (terms, pairs) = Self::terms(&ids);
        let inputs = [Input::Ids(&ids), Input::Ids(&terms), Input::Ids(&pairs), Input::Numbers(&features)];
        let inputs: Vec<Input> = inputs.into_iter().chain(embedding.map(Input::Numbers)).collect();
        let [skills, difficulty, length, embedding] = self.network.run(&inputs)?;
        let p = &self.parameters;
        for (name, found, expected) in [
            ("skills", skills.len(), p.skills),
            ("difficulty", difficulty.len(), 1),
            ("length", length.len(), p.lengths),
            ("embedding", embedding.len(), p.dimensions),
        ] {
            if found != expected {
                let what = format!("output `{name}` has {found} numbers, the parameters say {expected}");
                return Err(Error::artifact("predictor", what));
            }
        }
        let widen = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Ok(Description {
            difficulty: f64::from(difficulty[0]),
            skills: widen(skills),
            length: widen(length),
            embedding,
        })
    }

    /// The chance that a model with `ability` answers a described query well.
    pub fn quality(ability: &Ability, description: &Description) -> f64 {
        sigmoid(logit(ability, &description.skills, description.difficulty).0)
    }

    /// The description that is left when only the share `familiarity` of it can be trusted: the
    /// rest is the mean of the training queries. What its answer's length depends on stays as it is.
    pub fn temper(&self, description: &mut Description, familiarity: f64) {
        let towards = |value: &mut f64, mean: f64| *value = mean + familiarity * (*value - mean);
        for (skill, &mean) in description.skills.iter_mut().zip(&self.parameters.skills_mean) {
            towards(skill, mean);
        }
        towards(&mut description.difficulty, self.parameters.difficulty_mean);
    }

    /// The estimate of a query's input tokens, all of its messages included, in tokens of o200k.
    pub fn input_tokens(&self, query: &Query, counts: &TextCounts) -> f64 {
        if let Some(counted) = query.input_tokens {
            return counted as f64;
        }
        let weights = &self.parameters.input_tokens;
        tokens(weights, counts)
            + tokens(weights, &query.rest)
            + query.messages as f64 * MESSAGE_TOKENS
            + query.images as f64 * IMAGE_TOKENS
    }

    /// What the estimate of input tokens has to be multiplied by for the model called `id`, whose
    /// tokenizer may cut finer than o200k. The name decides, not the provider: a host such as
    /// Bedrock or Groq sells models of many vendors. 1 where nothing is known of the tokenizer.
    pub fn token_factor(&self, id: &str) -> f64 {
        let id = id.to_ascii_lowercase();
        let known = self.parameters.token_factors.iter().filter(|(part, _)| id.contains(part.as_str()));
        known.max_by_key(|(part, _)| part.len()).map_or(1.0, |(_, &factor)| factor)
    }
}

/// The logit of success of a model with `ability` on a described query, and its standard deviation
/// from the ability's own uncertainty.
pub fn logit(ability: &Ability, skills: &[f64], difficulty: f64) -> (f64, f64) {
    let mut mean = ability.mean[0] - difficulty;
    let mut variance = ability.sd[0].powi(2);
    for ((skill, weight), sd) in skills.iter().zip(&ability.mean[1..]).zip(&ability.sd[1..]) {
        mean += weight * skill;
        variance += (skill * sd).powi(2);
    }
    (mean, variance.sqrt())
}

/// Output tokens of a model on a described query, none above `most`.
pub fn output_tokens(length: &Length, dimensions: &[f64], most: f64) -> Interval {
    let (mu, sd) = (log_length(length, dimensions), length.residual_sd);
    Interval {
        estimate: log_normal_mean(mu, sd, most),
        lo: tokens_at(mu - Z90 * sd, most),
        hi: tokens_at(mu + Z90 * sd, most),
    }
}

/// Their estimate alone, without the interval.
pub fn mean_output_tokens(length: &Length, dimensions: &[f64], most: f64) -> f64 {
    log_normal_mean(log_length(length, dimensions), length.residual_sd, most)
}

fn log_length(length: &Length, dimensions: &[f64]) -> f64 {
    length.mean[0] + length.mean[1..].iter().zip(dimensions).map(|(v, h)| v * h).sum::<f64>()
}

fn log_normal_mean(mu: f64, sd: f64, most: f64) -> f64 {
    tokens_at(mu + sd * sd / 2.0, most)
}

fn tokens_at(log: f64, most: f64) -> f64 {
    log.min(20.0).exp().clamp(1.0, most.max(1.0))
}

/// The chance of success at a logit, with the interval that `sd` logits of uncertainty leave.
pub fn chance(logit: f64, sd: f64) -> Interval {
    Interval { estimate: sigmoid(logit), lo: sigmoid(logit - Z90 * sd), hi: sigmoid(logit + Z90 * sd) }
}

/// The logistic function.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn distinct(mut ids: Vec<i64>) -> Vec<i64> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// One of 2¹⁶ buckets for a pair of token ids, by the finalizer of MurmurHash3.
fn bucket(a: i64, b: i64) -> u16 {
    let mut h = ((a as u32) << 16) | (b as u32 & 0xffff);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    (h ^ (h >> 16)) as u16
}

fn tokens(weights: &TokenWeights, counts: &TextCounts) -> f64 {
    let sum = weights.word * counts.words as f64
        + weights.letter * counts.letters as f64
        + weights.digit * counts.digits as f64
        + weights.mark * counts.marks as f64
        + weights.newline * counts.newlines as f64
        + weights.cjk * counts.cjk as f64
        + weights.other * counts.other as f64;
    if counts.chars == 0 { 0.0 } else { sum.max(1.0) }
}

/// The surface features of a text; `models/train/text.py` computes the same ones. White space, blank
/// lines and the case of letters change none of them, for they change no question.
fn features(text: &str, counts: &TextCounts) -> [f32; FEATURES] {
    let (mut chars, mut lines, mut sentences, mut numbers) = (0u64, 0u64, 0u64, 0u64);
    let (mut options, mut numeric) = (Vec::new(), 0u64);
    for line in text.split('\n') {
        let (mut size, mut in_number, mut ends) = (0u64, false, false);
        let before = numbers;
        for c in line.chars() {
            let blank = matches!(c, ' ' | '\t' | '\r');
            sentences += u64::from(ends && blank);
            numbers += u64::from(c.is_ascii_digit() && !in_number);
            (in_number, ends) = (c.is_ascii_digit(), matches!(c, '.' | '!' | '?'));
            size += u64::from(!blank);
        }
        sentences += u64::from(ends);
        chars += size;
        lines += u64::from(size > 0);
        if is_option(line) {
            options.push(size);
            numeric += u64::from(numbers > before);
        }
    }
    let in_options: u64 = options.iter().sum();
    let n = options.len().max(1) as f64;
    let mean = in_options as f64 / n;
    let variance = options.iter().map(|&size| (size as f64 - mean).powi(2)).sum::<f64>() / n;
    let log = |count: u64| (count as f64).ln_1p();
    let share = |count: u64| count as f64 / chars.max(1) as f64;
    let question = text.trim_end_matches([' ', '\t', '\n', '\r']).ends_with('?');
    [
        log(chars),
        log(counts.words),
        share(counts.digits),
        share(counts.punctuation),
        share(counts.cjk),
        share(counts.other),
        log(lines),
        log(counts.latex),
        log(options.len() as u64),
        share(counts.operators),
        share(counts.code),
        f64::from(u8::from(question)),
        log(chars - in_options),
        mean.ln_1p(),
        log(options.iter().copied().max().unwrap_or(0)),
        variance.sqrt().ln_1p(),
        numeric as f64 / n,
        log(sentences),
        log(numbers),
    ]
    .map(|feature| feature as f32)
}

/// Whether a line looks like an answer option: `A. …`, `(B) …`, `c: …`.
fn is_option(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '-', '*']); // bullets too: "- (A) …"
    let line = line.strip_prefix('(').unwrap_or(line);
    matches!(line.as_bytes(), [b'A'..=b'J' | b'a'..=b'j', b')' | b'.' | b':', b' ' | b'\t', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_questions_are_seen() {
        let of = |text: &str| features(text, &TextCounts::of(text));
        let f = of("Which?\n(A) one\n  b. 2\nC: three\nD no\nAB. no\n");
        assert!((f64::from(f[8]) - 3f64.ln_1p()).abs() < 1e-6);
        assert!((f64::from(f[13]) - (16f64 / 3.0).ln_1p()).abs() < 1e-6, "(A)one, b.2, C:three");
        assert!((f64::from(f[16]) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(f[11], 0.0);
        assert_eq!(of("Why? \n")[11], 1.0);
        assert_eq!(of(""), [0.0; FEATURES]);
        assert_eq!(of("Is 7 ODD?\n\n a) yes"), of("is  7 odd? \nA)\tYes\n"));
    }

    #[test]
    fn lengths_are_lognormal_and_capped() {
        let length = Length { mean: vec![5.0, 1.0], residual_sd: 0.5, source: crate::catalog::Source::Prior };
        let free = output_tokens(&length, &[0.0], 1e9);
        assert!((free.estimate - (5.0f64 + 0.125).exp()).abs() < 1e-9);
        assert!(free.lo < free.estimate && free.estimate < free.hi);
        assert_eq!(output_tokens(&length, &[0.0], 100.0).estimate, 100.0);
    }
}
