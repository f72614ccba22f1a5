//! Catalogs from the real tables, and the one that comes with the artifacts.
//!
//! The tables are not part of the repository: where `../shared/data` is missing their tests print a
//! line and pass.

use std::fs;
use std::io::Read;
use std::path::Path;

use pennyroute::{Catalog, Imported, Model, Moment, Parameters, check, diff, from_dataset, from_litellm};

const VERSION: &str = "2026-11-20";

fn read(path: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let Ok(bytes) = fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return None;
    };
    if !path.to_string_lossy().ends_with(".gz") {
        return Some(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).expect("gzip");
    Some(plain)
}

fn parameters() -> Option<Parameters> {
    read("models/parameters.json").map(|json| serde_json::from_slice(&json).expect("parameters.json"))
}

fn now() -> Moment {
    Moment::parse("2026-11-20T12:00:00Z").expect("a time")
}

fn find<'a>(imported: &'a Imported, id: &str) -> &'a Model {
    imported.catalog.models.iter().find(|m| m.id == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn litellms_whole_table() {
    let Some(json) = read("../shared/data/litellm_model_prices.json.gz") else { return };
    let Some(parameters) = parameters() else { return };
    let mut imported = from_litellm(&json, &parameters.abilities, VERSION).expect("imports");
    let shipped = Catalog::from_json(&read("models/catalog.json").expect("committed")).expect("valid");
    assert!(imported.attach(&shipped) > 200);
    println!("{imported}");
    let lent = find(&imported, "azure/gpt-5.5");
    assert_eq!(lent.ability, shipped.models[shipped.position("openai/gpt-5.5").expect("shipped")].ability);
    assert!(lent.ability.is_some() && lent.effort.is_some());

    // Every row is somewhere.
    assert_eq!(imported.rows, 4553);
    assert_eq!(imported.catalog.models.len(), imported.rows);
    assert_eq!(imported.rows, imported.routable + imported.unroutable.values().sum::<usize>());
    let candidates = imported.catalog.models.iter().filter(|m| m.unroutable.is_none());
    assert_eq!(candidates.clone().count(), imported.routable);
    assert!(
        candidates.clone().all(|m| m.id.starts_with(&format!("{}/", m.provider))),
        "an id without its provider"
    );

    let gpt = find(&imported, "openai/gpt-4o");
    let cost = gpt.cost.as_ref().expect("priced");
    assert_eq!((cost.base.input, cost.base.output, cost.base.cache_read), (2.5, 10.0, Some(1.25)));
    assert_eq!((gpt.limit.context, gpt.limit.output), (Some(128_000), Some(16_384)));
    assert_eq!((gpt.tool_call, gpt.json, gpt.unroutable.as_ref()), (Some(true), Some(true), None));
    assert!(gpt.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind == "image")));
    assert!(gpt.ability.is_none(), "an alias that moves is not the recorded model");
    assert!(find(&imported, "openai/gpt-4o-2024-08-06").ability.is_some());

    let tiered = find(&imported, "openai/gpt-6-astra").cost.as_ref().expect("priced");
    assert_eq!(tiered.rates(now(), 272_000).input, 10.0);
    assert_eq!((tiered.rates(now(), 272_001).input, tiered.rates(now(), 272_001).output), (20.0, 75.0));

    let by_hour = find(&imported, "deepseek/deepseek-v4-pro").cost.as_ref().expect("priced");
    let night = Moment::parse("2026-11-20T02:00:00Z").expect("a time");
    assert_eq!((by_hour.rates(night, 1).output, by_hour.rates(now(), 1).output), (3.96, 1.98));

    for (id, reason) in [
        ("openai/text-embedding-3-small", "mode `embedding`"),
        ("sample_spec", "not a model"),
        ("together_ai/together-ai-up-to-4b", "a class of models"),
        ("deepseek/deepseek-chat#2", "duplicate of `deepseek/deepseek-chat`"),
    ] {
        let stated = find(&imported, id).unroutable.as_deref().unwrap_or_else(|| panic!("{id} is routed"));
        assert!(stated.contains(reason), "{id}: {stated}");
    }

    // What was written is what is read back, and nothing differs from itself.
    let written = serde_json::to_vec(&imported.catalog).expect("json");
    assert_eq!(Catalog::from_json(&written).expect("valid"), imported.catalog);
    assert!(diff(&imported.catalog, &imported.catalog).expect("a diff").is_empty());
    assert!(!check(&imported.catalog, now()).is_empty());
}

#[test]
fn the_data_sets_models() {
    let Some(json) = read("../shared/data/models.json") else { return };
    let Some(parameters) = parameters() else { return };
    let imported = from_dataset(&json, &parameters.abilities, VERSION).expect("imports");
    println!("{imported}");
    assert_eq!((imported.rows, imported.routable), (imported.catalog.models.len(), imported.rows));
    for model in &imported.catalog.models {
        assert!(model.cost.is_some() && model.limit.context.is_some(), "{}", model.id);
        assert_eq!(
            (model.tool_call, model.json, model.modalities.as_ref()),
            (None, None, None),
            "{}",
            model.id
        );
        assert_eq!(model.ability.is_some(), parameters.abilities.contains_key(&model.id), "{}", model.id);
    }
    assert!(imported.catalog.position("Llama-3.1-405B-Inst@sambanova").is_some());
}

#[test]
fn the_catalog_of_the_artifacts_is_sound() {
    let json = read("models/catalog.json").expect("models/catalog.json is committed");
    let catalog = Catalog::from_json(&json).expect("valid");
    assert!(catalog.models.len() >= 30, "{} models", catalog.models.len());
    let contradictions: Vec<String> =
        check(&catalog, now()).iter().filter(|f| f.contradictory).map(ToString::to_string).collect();
    assert_eq!(contradictions, [""; 0]);
    for model in &catalog.models {
        assert!(model.ability.is_some() && model.length.is_some() && model.cost.is_some(), "{}", model.id);
    }
    if let Some(parameters) = parameters() {
        for model in &catalog.models {
            let dimensions =
                (model.ability.as_ref().map(|a| a.mean.len()), model.length.as_ref().map(|l| l.mean.len()));
            assert_eq!(
                dimensions,
                (Some(parameters.skills + 1), Some(parameters.lengths + 1)),
                "{}",
                model.id
            );
        }
    }
}
