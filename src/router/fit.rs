//! New models as data: a catalog whose abilities and lengths are fitted to graded answers.

use crate::artifact::Prior;
use crate::catalog::{Ability, Catalog, Length, Source};
use crate::error::{Error, Result, finite_non_negative, unit_interval};
use crate::learn::{self, Placed};
use crate::predict::Description;
use crate::query::{Query, TextCounts};

use super::{RouteRequest, Router};

/// What is added to the version of a catalog whose abilities were fitted.
const FITTED: &str = "+fitted";

/// How one model did on one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradedAnswer {
    /// Position of the query among those that were described.
    pub query: usize,
    /// Position of the model among those that are fitted.
    pub model: usize,
    /// How good the answer was: 0 wrong, 1 right; grades between are allowed.
    pub correct: f64,
    /// Output tokens, where they were counted.
    pub output_tokens: Option<f64>,
}

/// What graded answers taught.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Fitted {
    /// The catalog with the new abilities and lengths.
    pub catalog: Catalog,
    /// What became of each model.
    pub models: Vec<FittedModel>,
}

/// What became of one model.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FittedModel {
    /// The model's id.
    pub model: String,
    /// Answers that it was fitted to.
    pub outcomes: usize,
    /// Those among them whose output tokens were counted.
    pub counted: usize,
    /// Where the prior of its ability came from; `prior` is the one over all recorded models.
    pub prior: Source,
    /// Its ability before, if it had one.
    pub before: Option<Ability>,
    /// Its ability now.
    pub ability: Ability,
    /// Its length now; `None`: the artifacts' prior, as before.
    pub length: Option<Length>,
}

impl Router {
    /// What the trained predictor, retrieval aside, makes of a request: what models are fitted on.
    pub fn describe(&self, request: &RouteRequest) -> Result<Description> {
        let Query { text, embedding, .. } = request.query()?;
        self.predictor.describe(&text, &TextCounts::of(&text), embedding.as_deref())
    }

    /// Fits the named models of the catalog to graded answers to described queries; `learn` says how.
    ///
    /// An ability from scores or a price, or one that was merely stated, is the prior of its own update. One
    /// that answers went into already (recorded or fitted) is fitted anew from the prior over all recorded
    /// models, so that no answer counts twice; so is a model without an ability. Answers count as independent
    /// of each other, several to one query too. A model without answers stays as it is, or gets that prior
    /// where it has no ability.
    pub fn fit(
        &self,
        models: &[String],
        queries: &[Description],
        answers: &[GradedAnswer],
    ) -> Result<Fitted> {
        for (i, answer) in answers.iter().enumerate() {
            unit_interval(format!("outcomes[{i}].correct"), answer.correct)?;
            if let Some(tokens) = answer.output_tokens {
                finite_non_negative(format!("outcomes[{i}].output_tokens"), tokens)?;
            }
            if answer.query >= queries.len() || answer.model >= models.len() {
                return Err(Error::request(
                    format!("outcomes[{i}]"),
                    "names a query or a model that is not given",
                ));
            }
        }
        let mut of_model = vec![Vec::new(); models.len()];
        for answer in answers {
            of_model[answer.model].push(answer);
        }
        let mut catalog = self.catalog.clone();
        if !catalog.version.ends_with(FITTED) {
            catalog.version.push_str(FITTED);
        }
        let mut report = Vec::with_capacity(models.len());
        for (id, answers) in models.iter().zip(of_model) {
            let Some(m) = catalog.position(id) else {
                let what = format!("the catalog has no model `{id}`; give it an entry there first");
                return Err(Error::request("model", what));
            };
            let entry = &mut catalog.models[m];
            let (source, prior) = self.ability_prior(entry.ability.as_ref());
            let before = entry.ability.take();
            let ability = match before.clone() {
                Some(ability) if answers.is_empty() => ability,
                _ => {
                    let skills: Vec<&[f64]> = answers.iter().map(|a| &queries[a.query].skills[..]).collect();
                    let graded: Vec<(f64, f64)> =
                        answers.iter().map(|a| (queries[a.query].difficulty, a.correct)).collect();
                    let found = learn::ability(&prior, &skills, &graded);
                    let made = if answers.is_empty() { Source::Prior } else { Source::Fitted };
                    let note = format!("{} outcomes over {}", answers.len(), name(source));
                    Ability { mean: short(&found.mean), sd: short(&found.sd), source: made, note: Some(note) }
                }
            };
            let counted: Vec<(&[f64], f64)> = answers
                .iter()
                .filter_map(|a| Some((&queries[a.query].length[..], a.output_tokens?.max(1.0).ln())))
                .collect();
            if !counted.is_empty() {
                let (dimensions, logs): (Vec<&[f64]>, Vec<f64>) = counted.iter().copied().unzip();
                let found = learn::length(&self.length_prior(entry.length.as_ref()), &dimensions, &logs);
                entry.length = Some(Length {
                    mean: short(&found.mean),
                    residual_sd: short(&[found.residual_sd])[0],
                    source: Source::Fitted,
                });
            }
            entry.ability = Some(ability.clone());
            report.push(FittedModel {
                model: id.clone(),
                outcomes: answers.len(),
                counted: counted.len(),
                prior: source,
                before,
                ability,
                length: entry.length.clone(),
            });
        }
        catalog.validate()?;
        Ok(Fitted { catalog, models: report })
    }

    /// The ability that published scores suggest: percent right (Elo ratings as they are) by benchmark.
    pub fn ability_from_scores(&self, scores: &std::collections::BTreeMap<String, f64>) -> Result<Placed> {
        match &self.predictor.parameters().published {
            Some(published) => learn::from_scores(published, scores),
            None => Err(Error::artifact("parameters", "has no `published`: models/train/catalog.py adds it")),
        }
    }

    fn ability_prior(&self, known: Option<&Ability>) -> (Source, Prior) {
        match known {
            Some(a) if !matches!(a.source, Source::Recorded | Source::Fitted) => {
                (a.source, Prior { mean: a.mean.clone(), sd: a.sd.clone(), residual_sd: 0.0 })
            }
            _ => (Source::Prior, self.predictor.parameters().ability_prior.clone()),
        }
    }

    /// Of a length that was not learnt from answers the residual holds both the scatter of answers and the
    /// uncertainty of the level; what exceeds the usual scatter is the latter.
    fn length_prior(&self, known: Option<&Length>) -> Prior {
        let mut prior = self.predictor.parameters().length_prior.clone();
        if let Some(length) = known
            && !matches!(length.source, Source::Recorded | Source::Fitted)
        {
            prior.mean.clone_from(&length.mean);
            let excess = length.residual_sd.powi(2) - prior.residual_sd.powi(2);
            prior.sd[0] = prior.sd[0].max(excess.max(0.0).sqrt());
        }
        prior
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Published => "its prior by published scores",
        Source::Price => "its prior by price",
        Source::Recorded | Source::Fitted | Source::Prior => "a prior over all models",
    }
}

/// Four decimals: more than any of these numbers is worth.
fn short(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| (value * 1e4).round() / 1e4 + 0.0).collect() // no negative zeros
}
