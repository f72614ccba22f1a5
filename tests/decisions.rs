//! The decisions that every host must reach: the native build against a stored list.
//!
//! `tests/fixtures/hosts.jsonl` holds the requests, `tests/fixtures/decisions.json` what is decided
//! with the shipped artifacts. New artifacts or a new catalog change the decisions:
//! `PENNYROUTE_BLESS=1 cargo test --test decisions` stores them anew, and the diff is to be read.

use std::fs;
use std::path::{Path, PathBuf};

use pennyroute::{Artifacts, Moment, RouteRequest, Router, replace_lone_surrogates};
use serde_json::{Value, json};

/// Hosts differ in the last bits of exp and ln, and so in the seventh digit of a float.
const TOLERANCE: f64 = 1e-4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn decisions_are_the_stored_ones() {
    let models = root().join("models");
    let manifest = fs::read(models.join("manifest.json")).unwrap();
    let artifacts = Artifacts::open(&manifest, |path| fs::read(models.join(path)).ok()).unwrap();
    let router = Router::new(artifacts, None).unwrap();
    let requests = fs::read_to_string(root().join("tests/fixtures/hosts.jsonl")).unwrap();
    let decisions: Vec<Value> = requests.lines().map(|line| decide(&router, line)).collect();
    let versions = router.versions();
    let found = json!({ "catalog": versions.catalog, "predictor": versions.predictor, "decisions": decisions });

    let path = root().join("tests/fixtures/decisions.json");
    if std::env::var_os("PENNYROUTE_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, print(&found)).unwrap();
        return;
    }
    let how = "run `PENNYROUTE_BLESS=1 cargo test --test decisions` to store what is decided now";
    let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; {how}", path.display()));
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    let mut differences = Vec::new();
    compare("", &stored, &found, &mut differences);
    assert!(differences.is_empty(), "{}\n{how}", differences.join("\n"));
}

/// What is compared of one decision.
fn decide(router: &Router, line: &str) -> Value {
    let mut entry: Value = serde_json::from_str(&replace_lone_surrogates(line)).unwrap();
    if let Some(repeat) = entry.get("repeat") {
        let times = usize::try_from(repeat["times"].as_u64().unwrap()).unwrap();
        entry["request"]["prompt"] = json!(repeat["text"].as_str().unwrap().repeat(times));
    }
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    let routed = RouteRequest::from_json(&entry["request"].to_string()).and_then(|request| router.route(&request, now));
    match routed {
        Err(error) => json!({ "name": entry["name"], "error": error.code() }),
        Ok(d) => json!({
            "name": entry["name"],
            "model": d.model,
            "code": d.code,
            "fallbacks": d.fallbacks,
            "quality": d.quality.map(|q| q.estimate),
            "cost_usd": d.cost_usd.map(|c| c.estimate),
            "in_distribution": d.in_distribution,
        }),
    }
}

/// One decision per line, so that a change shows as the lines it touches.
fn print(found: &Value) -> String {
    let decisions: Vec<String> = found["decisions"].as_array().unwrap().iter().map(|d| format!("  {d}")).collect();
    format!(
        "{{\n\"catalog\": {},\n\"predictor\": {},\n\"decisions\": [\n{}\n]\n}}\n",
        found["catalog"],
        found["predictor"],
        decisions.join(",\n")
    )
}

/// Lists where two values differ; numbers may by [`TOLERANCE`], absolute below 1 and relative above.
fn compare(place: &str, stored: &Value, found: &Value, differences: &mut Vec<String>) {
    match (stored, found) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                compare(&format!("{place}.{key}"), value, &b[key], differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let name = b.get("name").and_then(Value::as_str).map_or_else(|| i.to_string(), str::to_owned);
                compare(&format!("{place}[{name}]"), a, b, differences);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            if (a - b).abs() > TOLERANCE * a.abs().max(1.0) {
                differences.push(format!("{place}: stored {a}, found {b}"));
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(format!("{place}: stored {a}, found {b}")),
    }
}

#[test]
fn differences_are_found() {
    let stored = json!({ "decisions": [{ "name": "a", "model": "x", "quality": 0.5 }] });
    let differ = |found: Value| {
        let mut differences = Vec::new();
        compare("", &stored, &found, &mut differences);
        differences
    };
    assert!(differ(json!({ "decisions": [{ "name": "a", "model": "x", "quality": 0.500_05 }] })).is_empty());
    let found = differ(json!({ "decisions": [{ "name": "a", "model": "y", "quality": 0.6 }] }));
    assert_eq!(found, [".decisions[a].model: stored \"x\", found \"y\"", ".decisions[a].quality: stored 0.5, found 0.6"]);
    assert_eq!(differ(json!({ "decisions": [] })).len(), 1);
}
