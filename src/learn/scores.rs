//! Abilities from published benchmark scores, and from a price.
//!
//! **Model.** One factor g ~ N(0, 1) per model stands behind all scores. A score in percent, with guessing
//! removed, as log odds (Elo / 100 as it is) is `x_j = at_j + slope_j·g + noise_j·t`, where t is Student's
//! with 4 degrees of freedom, so that one odd score is not believed against the others.
//!
//! ```text
//! g | x ~ N(v·Σ_j w_j·slope_j·(x_j − at_j)/noise_j²,  v),     1/v = 1 + Σ_j w_j·slope_j²/noise_j²
//! w_j   = 5 / (4 + ((x_j − at_j − slope_j·g)² + slope_j²·v)/noise_j²)            in turn (EM)
//! ```
//!
//! **Ability.** Linear in g, learnt on models with both scores and recorded outcomes (`models/train/catalog.py`,
//! which fits the constants). Beyond those the weights stay at their edge and the level goes on at a share of
//! its slope. Variance: the error on models left out, the slope's own, that of g, and for the level a term
//! that grows with the distance beyond the known.
//!
//! **Price.** `g = at + price·log10(¾ input + ¼ output) + year·(released − 2026) − sd`: one standard deviation
//! below what price and date suggest, because a router picks by the estimate, and would call an optimistic
//! guess first of all.

use std::collections::BTreeMap;

use crate::artifact::{FactorMap, Published, ScoreColumn};
use crate::catalog::{Ability, Source};
use crate::error::{Error, Result};
use crate::money::{Day, Rates};

/// Rounds of reweighting; the weights settle within ten.
const ROUNDS: usize = 30;

/// The lowest and highest share right whose log odds are believed.
const SURE: (f64, f64) = (0.005, 0.995);

/// An ability, and where on the factor it was read off.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Placed {
    /// How well the model answers.
    pub ability: Ability,
    /// The factor behind its scores, in standard deviations of the models that were compared.
    pub g: f64,
    /// Standard deviation of `g`.
    pub sd: f64,
}

/// The ability that published scores suggest: percent right by benchmark, Elo ratings as they are.
pub fn from_scores(published: &Published, scores: &BTreeMap<String, f64>) -> Result<Placed> {
    if scores.is_empty() {
        return Err(Error::request("scores", "is empty"));
    }
    let mut known = Vec::with_capacity(scores.len());
    for (name, &score) in scores {
        let column = published.columns.get(name).ok_or_else(|| unknown(name, published.columns.keys()))?;
        known.push((column, log_odds(name, column, score)?));
    }
    let (g, sd) = posterior(&known);
    let note = format!("{} scores, g {g:.2}", known.len());
    Ok(place(&published.map, g, sd, Source::Published, note))
}

/// The ability that a price (USD per million tokens) and a date of release suggest.
pub fn from_price(published: &Published, rates: Rates, released: Option<Day>) -> Result<Placed> {
    let p = &published.price;
    let usd = 0.75 * rates.input + 0.25 * rates.output;
    if !(usd.is_finite() && usd > 0.0) {
        return Err(Error::Number {
            place: "price".into(),
            value: usd.to_string(),
            expected: "USD per million tokens above 0",
        });
    }
    let year = released.map_or(p.undated, Day::year);
    let g = p.at + p.price * usd.log10() + p.year * (year - 2026.0) - p.sd;
    let note = format!("no scores, g {g:.2} by price and date, one sd down");
    Ok(place(&published.map, g, p.sd, Source::Price, note))
}

fn log_odds(name: &str, column: &ScoreColumn, score: f64) -> Result<f64> {
    let (most, expected) = if column.elo {
        (5000.0, "an Elo rating from 0 to 5000")
    } else {
        (100.0, "a percentage from 0 to 100")
    };
    if !(0.0..=most).contains(&score) {
        return Err(Error::Number { place: format!("scores.{name}"), value: score.to_string(), expected });
    }
    if column.elo {
        return Ok(score / 100.0);
    }
    let share = ((score - column.guess) / (100.0 - column.guess)).clamp(SURE.0, SURE.1);
    Ok((share / (1.0 - share)).ln())
}

/// Mean and standard deviation of g given log odds.
fn posterior(scores: &[(&ScoreColumn, f64)]) -> (f64, f64) {
    let mut weights = vec![1.0; scores.len()];
    let (mut g, mut variance) = (0.0, 1.0);
    for _ in 0..ROUNDS {
        let (mut precision, mut pull) = (1.0, 0.0);
        for ((c, x), w) in scores.iter().zip(&weights) {
            precision += w * (c.slope / c.noise).powi(2);
            pull += w * c.slope * (x - c.at) / (c.noise * c.noise);
        }
        (g, variance) = (pull / precision, 1.0 / precision);
        for ((c, x), w) in scores.iter().zip(&mut weights) {
            let error = (x - c.at - c.slope * g).powi(2) + c.slope * c.slope * variance;
            *w = 5.0 / (4.0 + error / (c.noise * c.noise));
        }
    }
    (g, variance.sqrt())
}

fn place(map: &FactorMap, g: f64, sd: f64, source: Source, note: String) -> Placed {
    let edge = g.clamp(map.low, map.high);
    let beyond = (g - edge) * if g > edge { map.saturation } else { 1.0 };
    let (mean, spread) = (0..map.at.len())
        .map(|k| {
            let at = edge - map.center + if k == 0 { beyond } else { 0.0 };
            let far = if k == 0 { map.extrapolation * (g - edge) } else { 0.0 };
            let variance =
                map.off[k].powi(2) + (map.slope_sd[k] * at).powi(2) + (map.slope[k] * sd).powi(2) + far * far;
            (map.at[k] + map.slope[k] * at, variance.sqrt())
        })
        .unzip();
    Placed { ability: Ability { mean, sd: spread, source, note: Some(note) }, g, sd }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String> + Clone) -> Error {
    let parts = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
        parts.filter(|part| part.len() > 2).map(str::to_lowercase).collect()
    };
    let wanted = parts(name);
    let near: Vec<&str> = known
        .clone()
        .filter(|known| parts(known).iter().any(|part| wanted.contains(part)))
        .map(String::as_str)
        .collect();
    let (say, list) =
        if near.is_empty() { ("known", known.map(String::as_str).collect()) } else { ("near", near) };
    Error::request(format!("scores.{name}"), format!("is no known score ({say}: {})", list.join(", ")))
}
