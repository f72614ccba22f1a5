//! What the native build decides for the requests that every host is tested with.
//!
//! The tests of the hosts (`tests/js`) compare with the file that this one writes, so that one list
//! of requests and one set of expectations serve them all.

use std::fs;
use std::path::Path;

use pennyroute::{Artifacts, Moment, RouteRequest, Router, replace_lone_surrogates};
use serde_json::{Map, Value, json};

fn shipped() -> Router {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = fs::read(models.join("manifest.json")).unwrap();
    let artifacts = Artifacts::open(&manifest, |path| fs::read(models.join(path)).ok()).unwrap();
    Router::new(artifacts, None).unwrap()
}

#[test]
fn swapping_the_abilities_of_two_models_changes_decisions() {
    let mut router = shipped();
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    let decide = |router: &Router| {
        router.route(&RouteRequest::prompt("Prove that infinitely many primes are 3 modulo 4."), now).unwrap()
    };
    let before = decide(&router);
    let mut catalog = router.catalog().clone();
    let chosen = before.model.clone().unwrap();
    let weakest = before.alternatives.iter().min_by(|a, b| a.quality.total_cmp(&b.quality)).unwrap();
    let (a, b) = (catalog.position(&chosen).unwrap(), catalog.position(&weakest.model).unwrap());
    let (first, second) = (catalog.models[a].ability.clone(), catalog.models[b].ability.clone());
    (catalog.models[a].ability, catalog.models[b].ability) = (second, first);
    router.set_catalog(catalog).unwrap();
    assert_ne!(decide(&router).model.unwrap(), chosen);
}

#[test]
fn without_the_onnx_file_nothing_loads() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = fs::read(models.join("manifest.json")).unwrap();
    let read = |path: &str| if path == "predictor.onnx" { None } else { fs::read(models.join(path)).ok() };
    assert_eq!(Artifacts::open(&manifest, read).unwrap_err().code(), "bad_artifact");
}

#[test]
fn every_host_request_is_decided() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let router = shipped();
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();

    let mut decisions = Map::new();
    for line in fs::read_to_string(root.join("tests/fixtures/hosts.jsonl")).unwrap().lines() {
        let mut entry: Value = serde_json::from_str(&replace_lone_surrogates(line)).unwrap();
        if let Some(repeat) = entry.get("repeat") {
            let text = repeat["text"].as_str().unwrap().repeat(repeat["times"].as_u64().unwrap() as usize);
            entry["request"]["prompt"] = json!(text);
        }
        let name = entry["name"].as_str().unwrap();
        let request = RouteRequest::from_json(&entry["request"].to_string()).unwrap();
        let decision = router.route(&request, now).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            decision.model.is_some() || !decision.excluded.is_empty(),
            "{name}: neither a model nor a reason"
        );
        decisions.insert(name.to_owned(), serde_json::to_value(decision).unwrap());
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decisions.json");
    fs::write(out, Value::from(decisions).to_string()).unwrap();
}
