//! A decision with its reasons in numbers: what it was chosen among, at which price of quality, and what other
//! targets would choose.

use serde::Serialize;

use crate::error::Result;
use crate::estimate::{Estimate, Interval};
use crate::money::Moment;

use super::decision::{Decision, Exclusion};
use super::request::RouteRequest;
use super::{Offered, Router};

/// A decision, what it was chosen among, and what other targets would choose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The price of quality that was used, `steer` included, USD per unit of mean quality; infinite where the
    /// target is out of reach.
    pub lambda: f64,
    /// The chosen model, the others in the order in which they would be chosen, then those that are excluded.
    pub candidates: Vec<Considered>,
    /// What each target chooses, in rising order from 0 to 1; empty without a candidate.
    pub switches: Vec<Switch>,
}

/// One model of a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Considered {
    /// Its id.
    pub model: String,
    /// What became of it.
    pub standing: Standing,
    /// Why it is excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Exclusion>,
    /// Its estimates, where it has an ability and a price, excluded or not.
    pub quality: Option<Interval>,
    /// Expected cost of the call.
    pub cost_usd: Option<Interval>,
    /// Expected output tokens.
    pub output_tokens: Option<Interval>,
    /// What the choice minimises among those that reach the floor: compared cost − λ·quality, USD. `None` if
    /// excluded, and where λ is infinite.
    pub net_usd: Option<f64>,
}

/// What became of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the choice.
    Chosen,
    /// It is to be tried if the choice fails.
    Fallback,
    /// It could have been chosen.
    Candidate,
    /// A gate kept it out.
    Excluded,
}

/// The targets of mean quality that choose one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Switch {
    /// Its id.
    pub model: String,
    /// Chosen above this target (the first one: from 0),
    pub quality_from: f64,
    /// up to this one, included.
    pub quality_to: f64,
}

impl Router {
    /// Explains what [`Router::route`] decides.
    pub fn explain(&self, request: &RouteRequest, now: Moment) -> Result<Explanation> {
        let field = self.field(request, now)?;
        let curve = if field.eligible.is_empty() {
            Vec::new()
        } else {
            self.sample.frontier(&self.catalog, &field.eligible, field.policy.at)?
        };
        let lambda = field.lambda();
        let mut offered: Vec<Offered> = field.candidates.iter().map(|e| self.offered(e, &field)).collect();
        offered.sort_by(|a, b| a.order(b, lambda));
        let known = self.known();
        let estimates: Vec<Estimate> =
            known.iter().map(|&m| self.estimate_model(m, &field.query, &field.view, &field.policy)).collect();
        let steps: Vec<(f64, f64)> =
            curve.iter().map(|p| (p.lambda * field.policy.steer, p.quality)).collect();
        let decision = self.decide(field);

        let considered = |m: usize, standing, code, net_usd| {
            let estimate = known.binary_search(&m).ok().map(|at| estimates[at]);
            Considered {
                model: self.catalog.models[m].id.clone(),
                standing,
                code,
                quality: estimate.map(|e| e.quality),
                cost_usd: estimate.map(|e| e.cost_usd),
                output_tokens: estimate.map(|e| e.output_tokens),
                net_usd,
            }
        };
        let standing = |place| match place {
            0 => Standing::Chosen,
            _ if place <= decision.fallbacks.len() => Standing::Fallback,
            _ => Standing::Candidate,
        };
        let chosen_among = offered.iter().enumerate().map(|(place, it)| {
            let net = lambda.is_finite().then_some(it.cost - lambda * it.quality);
            considered(it.model, standing(place), None, net)
        });
        let excluded = decision.excluded.iter().filter_map(|out| {
            let m = self.catalog.position(&out.model)?;
            Some(considered(m, Standing::Excluded, Some(out.code), None))
        });
        let candidates = chosen_among.chain(excluded).collect();
        let switches = switches(&offered, steps).into_iter().map(|(m, quality_from, quality_to)| Switch {
            model: self.catalog.models[m].id.clone(),
            quality_from,
            quality_to,
        });
        let switches = switches.collect();
        Ok(Explanation { decision, lambda, candidates, switches })
    }
}

/// Which of `offered` each target chooses: model, from, to. `steps`: the price λ of each point of the frontier and
/// the mean quality that it reaches, both rising. The quality of the choice rises with the price, so a choice
/// once left is not met again, and its end is found by halves.
fn switches(offered: &[Offered], mut steps: Vec<(f64, f64)>) -> Vec<(usize, f64, f64)> {
    if steps.last().is_none_or(|&(_, quality)| quality < 1.0) {
        steps.push((f64::INFINITY, 1.0));
    }
    let choice = |lambda| offered.iter().min_by(|a, b| a.order(b, lambda)).map(|it| it.model);
    let (mut found, mut from, mut step) = (Vec::new(), 0.0, 0);
    while let Some(model) = steps.get(step).and_then(|&(lambda, _)| choice(lambda)) {
        let end = step + steps[step..].partition_point(|&(lambda, _)| choice(lambda) == Some(model));
        let to = steps[end - 1].1;
        found.push((model, from, to));
        (from, step) = (to, end);
    }
    found
}
