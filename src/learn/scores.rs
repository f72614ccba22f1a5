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
//! **Ability.** Linear in g, learnt on models with both scores and recorded outcomes (`models/train/catalog.py`
//! fits the constants). Beyond those the weights stay at their edge and the level goes on at a share of
//! its slope. Variance: the error on models left out, the slope's own, that of g, and for the level a term
//! that grows with the distance beyond the known.
//!
//! **Price.** `g = at + price·log10(¾ input + ¼ output) + year·(released − 2026) − sd`: one standard deviation
//! below what price and date suggest, because a router picks by the estimate, and would call an optimistic
//! guess first of all.

use std::collections::BTreeMap;

use crate::artifact::Published;
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
        let Some(&[guess, at, slope, noise]) = published.scores.get(name) else {
            return Err(unknown(published, name));
        };
        known.push([log_odds(name, guess, score)? - at, slope, noise * noise]);
    }
    let (g, sd) = posterior(&known);
    let note = format!("{} scores, g {g:.2}", known.len());
    Ok(place(published, g, sd, Source::Published, note))
}

/// The ability that a price (USD per million tokens) and a date of release suggest.
pub fn from_price(published: &Published, rates: Rates, released: Option<Day>) -> Result<Placed> {
    let [at, price, per_year, undated, sd] = published.price;
    let usd = 0.75 * rates.input + 0.25 * rates.output;
    if !(usd.is_finite() && usd > 0.0) {
        return Err(Error::Number {
            place: "price".into(),
            value: usd.to_string(),
            expected: "USD per million tokens above 0",
        });
    }
    let year = released.map_or(undated, Day::year);
    let g = at + price * usd.log10() + per_year * (year - 2026.0) - sd;
    let note = format!("no scores, g {g:.2} by price and date, one sd down");
    Ok(place(published, g, sd, Source::Price, note))
}

fn log_odds(name: &str, guess: f64, score: f64) -> Result<f64> {
    let elo = name.ends_with("elo");
    let (most, expected) =
        if elo { (5000.0, "an Elo rating from 0 to 5000") } else { (100.0, "a percentage from 0 to 100") };
    if !(0.0..=most).contains(&score) {
        return Err(Error::Number { place: format!("scores.{name}"), value: score.to_string(), expected });
    }
    if elo {
        return Ok(score / 100.0);
    }
    let share = ((score - guess) / (100.0 - guess)).clamp(SURE.0, SURE.1);
    Ok((share / (1.0 - share)).ln())
}

/// Mean and standard deviation of g given scores as `[x − at, slope, noise²]`.
fn posterior(scores: &[[f64; 3]]) -> (f64, f64) {
    let (mut g, mut variance) = (0.0, f64::NAN);
    for _ in 0..ROUNDS {
        let (mut precision, mut pull) = (1.0, 0.0);
        for [x, slope, noise] in scores {
            let error = (x - slope * g).powi(2) + slope * slope * variance;
            // Nothing is known of g in the first round: all weigh the same.
            let weight = if variance.is_nan() { 1.0 } else { 5.0 / (4.0 + error / noise) };
            precision += weight * slope * slope / noise;
            pull += weight * slope * x / noise;
        }
        (g, variance) = (pull / precision, 1.0 / precision);
    }
    (g, variance.sqrt())
}

fn place(published: &Published, g: f64, sd: f64, source: Source, note: String) -> Placed {
    let [center, low, high] = published.known;
    let (at, slope) = (&published.at, &published.slope);
    let edge = g.max(low).min(high);
    let (mut mean, mut spread) = (Vec::new(), Vec::new());
    for k in 0..at.mean.len() {
        let mut steps = edge - center;
        let mut variance = at.sd[k].powi(2) + (slope.mean[k] * sd).powi(2);
        if k == 0 {
            steps += (g - edge) * if g > edge { published.saturation } else { 1.0 };
            variance += (published.extrapolation * (g - edge)).powi(2);
        }
        variance += (slope.sd[k] * steps).powi(2);
        mean.push(at.mean[k] + slope.mean[k] * steps);
        spread.push(variance.sqrt());
    }
    Placed { ability: Ability { mean, sd: spread, source, note: Some(note) }, g, sd }
}

/// The error of an unknown score; it lists those that share a part of the name, or else all.
fn unknown(published: &Published, name: &str) -> Error {
    let shares_a_part = |known: &str| {
        name.split(['_', '-', ' ', '.']).any(|part| part.len() > 2 && known.contains(&part.to_lowercase()))
    };
    let list = |near: bool| {
        let names = published.scores.keys().map(String::as_str);
        names.filter(|known| !near || shares_a_part(known)).collect::<Vec<_>>().join(", ")
    };
    let near = list(true);
    let (say, list) = if near.is_empty() { ("known", list(false)) } else { ("near", near) };
    Error::request(format!("scores.{name}"), format!("is no known score ({say}: {list})"))
}
