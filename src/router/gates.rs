//! The hard limits that come before any estimate, and hold for fallbacks as for the first choice.

use crate::catalog::Model;
use crate::estimate::Estimate;
use crate::query::{Needs, Query};

use super::decision::Exclusion;
use super::request::Policy;

/// What excludes a model whatever the query: it is not sold, not allowed, or nothing is known of it.
pub(super) fn standing(model: &Model, policy: &Policy) -> Result<(), Exclusion> {
    let retired = model.deprecation_date.is_some_and(|day| day.reached(policy.at));
    if retired {
        Err(Exclusion::Retired)
    } else if !policy.permits(model) {
        Err(Exclusion::NotAllowed)
    } else if policy.private && !model.private {
        Err(Exclusion::NotPrivate)
    } else if !priced(model) {
        Err(Exclusion::PriceUnknown)
    } else if model.ability.is_none() {
        Err(Exclusion::AbilityUnknown)
    } else {
        Ok(())
    }
}

/// Whether the price is known: one of zero is not, unless the owner declares it.
pub(super) fn priced(model: &Model) -> bool {
    model.cost.as_ref().is_some_and(|cost| model.free || !cost.has_zero())
}

/// What excludes a model for this query.
pub(super) fn capability(model: &Model, query: &Query, input_tokens: f64) -> Result<(), Exclusion> {
    let Needs { tools, json, image, audio, pdf } = query.needs;
    let reads = |kind: &str| model.modalities.as_ref().map(|kinds| kinds.iter().any(|k| k == kind));
    for (needed, stated) in [
        (tools, model.tool_call),
        (json, model.json),
        (image, reads("image")),
        (audio, reads("audio")),
        (pdf, reads("pdf")),
    ] {
        match (needed, stated) {
            (true, None) => return Err(Exclusion::UnknownCapability),
            (true, Some(false)) => return Err(Exclusion::MissingCapability),
            _ => {}
        }
    }
    // At least one token of answer has to fit.
    let asked = query.max_output_tokens.unwrap_or(1).max(1);
    match model.limit.context {
        None => return Err(Exclusion::UnknownCapability),
        Some(context) if input_tokens + asked as f64 > context as f64 => {
            return Err(Exclusion::ContextTooSmall);
        }
        Some(_) => {}
    }
    // A provider refuses a call that asks for more output than the model can write.
    if model.limit.output.is_some_and(|output| asked > output) {
        return Err(Exclusion::ContextTooSmall);
    }
    Ok(())
}

/// What excludes a model at this moment: health, workload, money.
pub(super) fn availability(model: &Model, estimate: &Estimate, policy: &Policy) -> Result<(), Exclusion> {
    let cost = estimate.cost_usd.estimate;
    if policy.unhealthy.contains(&model.id) {
        Err(Exclusion::Unhealthy)
    } else if policy.workloads.get(&model.id).is_some_and(|&left| left < 1.0) {
        Err(Exclusion::WorkloadFull)
    } else if policy.cap_usd.is_some_and(|cap| cost > cap) {
        Err(Exclusion::OverCap)
    } else if policy.budget_usd.is_some_and(|left| cost > left) {
        Err(Exclusion::BudgetSpent)
    } else {
        Ok(())
    }
}
