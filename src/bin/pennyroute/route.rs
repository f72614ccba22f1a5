//! `pennyroute route`: one decision with its receipt.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pennyroute::eval::file::{self, bad};
use pennyroute::{Decision, Result, RouteRequest};

use crate::setup::{Globals, RouterArgs, since_1970};
use crate::show;

/// Alternatives shown to a person; `--json` has all.
const SHOWN: usize = 8;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    router: RouterArgs,
    /// Mean quality to keep over traffic, 0 to 1. Default: 97 % of the best single model's.
    #[arg(long, value_name = "A")]
    quality: Option<f64>,
    /// Least estimated quality of this answer, 0 to 1.
    #[arg(long, value_name = "F")]
    floor: Option<f64>,
    /// Most that this call may be expected to cost, USD.
    #[arg(long, value_name = "USD")]
    cap_usd: Option<f64>,
    /// Only models that match, such as 'anthropic/*'; may be repeated.
    #[arg(long, value_name = "GLOB")]
    allow: Vec<String>,
    /// No models that match; may be repeated.
    #[arg(long, value_name = "GLOB")]
    deny: Vec<String>,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Asked {
    /// A bare prompt.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file (or - for standard input) with a chat request or a list of messages, as JSON. What it
    /// says of the policy holds unless an option here says otherwise; its `at` wins over --at.
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let mut request = request(args)?;
    let now = globals.now()?;
    let router = globals.router(&args.router)?;
    let embedder = args.router.encoder.embedder(router.predictor().parameters())?;
    if let Some(embedder) = embedder.filter(|_| request.embedding.is_none()) {
        request.embedding = Some(embedder.embed(&request.text()?)?);
    }
    let start = Instant::now();
    let routed = router.route(&request, now);
    let elapsed = start.elapsed();
    let mut decision = match &args.asked.messages {
        Some(path) => routed.map_err(|e| bad(path, 0, e))?,
        None => routed?,
    };
    decision.elapsed_us = (elapsed.as_nanos() / 100) as f64 / 10.0;
    decision.id = format!("{:x}-{:x}", since_1970().as_nanos(), std::process::id());
    if args.json { show::json(&decision) } else { receipt(&decision) }
}

fn request(args: &Args) -> Result<RouteRequest> {
    let mut request = match (&args.asked.prompt, &args.asked.messages) {
        (Some(prompt), _) => RouteRequest::prompt(prompt),
        (None, Some(path)) => read(path)?,
        (None, None) => RouteRequest::default(),
    };
    request.quality = args.quality.or(request.quality);
    request.floor = args.floor.or(request.floor);
    request.cap_usd = args.cap_usd.or(request.cap_usd);
    if !args.allow.is_empty() {
        request.allow = Some(args.allow.clone());
    }
    if !args.deny.is_empty() {
        request.deny = Some(args.deny.clone());
    }
    Ok(request)
}

fn read(path: &Path) -> Result<RouteRequest> {
    let content = String::from_utf8(file::read(path)?).map_err(|e| bad(path, 0, e))?;
    RouteRequest::from_json(&content).map_err(|e| bad(path, 0, e))
}

fn receipt(decision: &Decision) -> Result<()> {
    show::line(decision.model.as_deref().unwrap_or("no model"))?;
    show::line(&format!("  {}", decision.reason))?;
    if let (Some(quality), Some(cost)) = (decision.quality, decision.cost_usd) {
        show::line(&format!(
            "  quality {:.3} ({:.3} to {:.3}), cost {} ({} to {})",
            quality.estimate,
            quality.lo,
            quality.hi,
            show::usd(cost.estimate),
            show::usd(cost.lo),
            show::usd(cost.hi)
        ))?;
    }
    if !decision.in_distribution {
        show::line(
            "  unlike anything the predictor was trained on: the estimates lean on each model's prior",
        )?;
    }
    let position = |model: &String| decision.fallbacks.iter().position(|fallback| fallback == model);
    let mut others: Vec<_> = decision.alternatives.iter().collect();
    others.sort_by_key(|a| position(&a.model).unwrap_or(usize::MAX));
    let rows = others.iter().take(SHOWN).map(|a| {
        let order = position(&a.model).map_or(String::new(), |p| (p + 1).to_string());
        [a.model.clone(), format!("{:.3}", a.quality), show::usd(a.cost_usd), order]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        show::line("")?;
        show::line(&show::table(&["alternative", "quality", "cost", "fallback"], &rows))?;
        if others.len() > SHOWN {
            show::line(&format!(" and {} more", others.len() - SHOWN))?;
        }
    }
    excluded(decision)
}

fn excluded(decision: &Decision) -> Result<()> {
    let mut counts = std::collections::BTreeMap::new();
    for excluded in &decision.excluded {
        let code = serde_json::to_value(excluded.code).unwrap_or_default();
        *counts.entry(code.as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    if counts.is_empty() {
        return Ok(());
    }
    let counts: Vec<String> = counts.iter().map(|(code, n)| format!("{n} {code}")).collect();
    show::line(&format!("\nexcluded: {}", counts.join(", ")))
}
