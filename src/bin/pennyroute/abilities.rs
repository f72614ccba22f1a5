//! `pennyroute catalog abilities`: abilities from published scores, and from prices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pennyroute::eval::file::{bad, read_json};
use pennyroute::{Error, Model, Placed, Published, Result, from_price, from_scores};
use serde_json::json;

use crate::setup::{self, Globals};
use crate::show;

/// What is added to the version of a catalog that got abilities this way.
const SCORED: &str = "+scores";

#[derive(clap::Args)]
pub struct Args {
    /// The catalog.
    #[arg(long, value_name = "FILE")]
    catalog: PathBuf,
    /// Published scores, `{"model id": {"score": value}}`: percent, or Elo where the score is one. These models'
    /// abilities are replaced; of the others, those that have none but a price get a prior by price.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Where the catalog goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what changed as JSON.
    #[arg(long)]
    json: bool,
}

/// The scores of one model by name.
type Scores = BTreeMap<String, f64>;

struct Changed {
    model: String,
    before: &'static str,
    placed: Placed,
}

pub fn run(args: &Args, globals: &Globals) -> Result<()> {
    let mut catalog = setup::catalog(&args.catalog)?;
    let published = globals.artifacts()?.parameters.published.ok_or_else(|| Error::Artifact {
        file: "parameters".into(),
        what: "has no `published`: these artifacts cannot turn scores into abilities".into(),
    })?;
    let scores: BTreeMap<String, Scores> =
        args.scores.as_deref().map(read_json).transpose()?.unwrap_or_default();
    if let Some(id) = scores.keys().find(|id| catalog.position(id).is_none()) {
        let path = args.scores.as_deref().unwrap_or(Path::new("scores"));
        return Err(bad(path, 0, format!("`{id}` is no model of {}", args.catalog.display())));
    }
    let mut changed = Vec::new();
    for model in &mut catalog.models {
        let placed = match (scores.get(&model.id), &args.scores) {
            (Some(of_model), Some(path)) => {
                let placed = from_scores(&published, of_model);
                Some(placed.map_err(|e| bad(path, 0, format!("`{}`: {e}", model.id)))?)
            }
            _ => by_price(&published, model),
        };
        if let Some(placed) = placed {
            let before =
                model.ability.replace(placed.ability.clone()).map_or("-", |a| show::source(a.source));
            changed.push(Changed { model: model.id.clone(), before, placed });
        }
    }
    if !changed.is_empty() && !catalog.version.ends_with(SCORED) {
        catalog.version.push_str(SCORED);
    }
    catalog.validate()?;
    setup::write_catalog(&args.out, &catalog)?;
    if args.json {
        return show::json(&json!({ "changed": changed.iter().map(Changed::summary).collect::<Vec<_>>() }));
    }
    if !changed.is_empty() {
        let rows: Vec<[String; 5]> = changed.iter().map(Changed::row).collect();
        show::line(&show::table(&["model", "before", "now", "g", "level"], &rows))?;
    }
    show::line(&format!("{} of {} models changed", changed.len(), catalog.models.len()))
}

/// The prior of a model that has a price and no ability.
fn by_price(published: &Published, model: &Model) -> Option<Placed> {
    if model.ability.is_some() || model.unroutable.is_some() {
        return None;
    }
    // A price of zero says nothing of the model.
    from_price(published, model.cost.as_ref()?.base, model.released).ok()
}

impl Changed {
    fn summary(&self) -> serde_json::Value {
        let ability = &self.placed.ability;
        json!({
            "model": self.model,
            "before": (self.before != "-").then_some(self.before),
            "source": ability.source,
            "g": self.placed.g,
            "g_sd": self.placed.sd,
            "level": ability.mean[0],
            "level_sd": ability.sd[0],
        })
    }

    fn row(&self) -> [String; 5] {
        let ability = &self.placed.ability;
        [
            self.model.clone(),
            self.before.to_owned(),
            show::source(ability.source).to_owned(),
            format!("{:.2} ± {:.2}", self.placed.g, self.placed.sd),
            format!("{:.2} ± {:.2}", ability.mean[0], ability.sd[0]),
        ]
    }
}
