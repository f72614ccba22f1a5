//! From recorded outcomes to the records of a retrieval index.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::data::{Chances, OutcomeRow, Outcomes, QueryRow};
use super::file::bad;
use crate::catalog::{Ability, Source};
use crate::error::Result;
use crate::predict::{self, Description, Predictor};
use crate::query::TextCounts;
use crate::retrieve::{Outcome, Record};

/// The records of `queries`, and the models that their outcomes are of, by name.
///
/// What was expected of a pair is taken from `expected`; of a pair that is absent there it is what
/// the predictor says. `step` is called once per query; `file` names the queries in errors.
pub fn records(
    predictor: &Predictor,
    queries: &[QueryRow],
    outcomes: &Outcomes,
    expected: &Chances,
    file: &Path,
    step: &(dyn Fn() + Sync),
) -> Result<(Vec<String>, Vec<Record>)> {
    let mut of_query: HashMap<u32, Vec<&OutcomeRow>> = HashMap::new();
    for row in &outcomes.rows {
        of_query.entry(row.query).or_default().push(row);
    }
    let rows = |query: &QueryRow| {
        let position = outcomes.queries.position(&query.id);
        position.and_then(|q| of_query.get(&q)).map_or(&[][..], Vec::as_slice)
    };
    let names = outcomes.models.list();
    let mut used = vec![false; names.len()];
    queries.iter().flat_map(rows).for_each(|row| used[row.model as usize] = true);
    let mut models: Vec<String> =
        names.iter().zip(used).filter(|(_, used)| *used).map(|(name, _)| name.clone()).collect();
    models.sort();
    let columns: HashMap<&str, usize> =
        models.iter().enumerate().map(|(column, name)| (name.as_str(), column)).collect();

    let record = |query: &QueryRow| {
        step();
        let text = query.text();
        let description = predictor.describe(&text, &TextCounts::of(&text), query.embedding.as_deref());
        let description = description.map_err(|e| bad(file, query.line, e))?;
        let known = expected.get(&query.id);
        let outcome = |row: &&OutcomeRow| {
            let model = names[row.model as usize].as_str();
            let estimate = known.and_then(|known| known.get(model)).copied();
            Outcome {
                column: columns[model],
                correct: row.correct,
                estimate: estimate.unwrap_or_else(|| own(predictor, &description, model)),
            }
        };
        let outcomes = rows(query).iter().map(outcome).collect();
        Ok(Record { embedding: description.embedding, outcomes })
    };
    let records = queries.par_iter().map(record).collect::<Result<_>>()?;
    Ok((models, records))
}

/// What the predictor expects of a model it was trained on; of another, what it expects of a model
/// in general.
fn own(predictor: &Predictor, description: &Description, model: &str) -> f64 {
    let parameters = predictor.parameters();
    let quality = |ability: &Ability| {
        let (logit, _) = predict::logit(ability, &description.skills, description.difficulty);
        predict::sigmoid(logit)
    };
    if let Some(recorded) = parameters.abilities.get(model) {
        return quality(&recorded.ability);
    }
    let prior = parameters.ability_prior.clone();
    quality(&Ability { mean: prior.mean, sd: prior.sd, source: Source::Prior, note: None })
}
