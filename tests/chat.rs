//! Ordinary chat, written for this project (`tests/fixtures/chat.jsonl`): no outcomes are recorded
//! for it, so the test asks only what any user would: small talk goes to a cheap model, a research
//! proof to a strong one, and the flag for the unfamiliar is not always up.

use std::path::Path;

use pennyroute::{Artifacts, Decision, Moment, RouteRequest, Router};
use serde::Deserialize;

#[derive(Deserialize)]
struct Prompt {
    text: String,
    language: String,
    expect: String,
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Letters and digits alone, in lower case: what makes two prompts the same.
fn folded(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[test]
fn no_prompt_was_trained_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = |path: &str| -> Vec<String> {
        let file = std::fs::read_to_string(root.join(path)).unwrap();
        let text = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            folded(row["text"].as_str().unwrap())
        };
        file.lines().map(text).collect()
    };
    let trained = texts("models/train/chat_anchors.jsonl");
    for prompt in texts("tests/fixtures/chat.jsonl") {
        assert!(!trained.contains(&prompt), "{prompt} is among the weakly labelled prompts");
    }
}

#[test]
fn picks_are_sensible() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = root.join("models");
    let manifest = std::fs::read(models.join("manifest.json")).unwrap();
    let artifacts = Artifacts::open(&manifest, |path| std::fs::read(models.join(path)).ok()).unwrap();
    let router = Router::new(artifacts, None).unwrap();
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    let constants = router.constants(now).unwrap();
    // How strong a pick is: what it would reach on the reference traffic if it were always called.
    let strength = |decision: &Decision| {
        let model = decision.model.as_deref().unwrap();
        constants.iter().find(|c| c.model == model).unwrap().quality
    };
    // What a pick costs per query of the same traffic, so that long prompts do not look expensive.
    let price = |decision: &Decision| {
        let model = decision.model.as_deref().unwrap();
        constants.iter().find(|c| c.model == model).unwrap().cost_usd
    };

    let file = std::fs::read_to_string(root.join("tests/fixtures/chat.jsonl")).unwrap();
    let prompts: Vec<Prompt> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(prompts.len() >= 200);
    let decisions: Vec<(&Prompt, Decision)> =
        prompts.iter().map(|p| (p, router.route(&RouteRequest::prompt(&p.text), now).unwrap())).collect();
    let of = |expect: &'static str| decisions.iter().filter(move |(p, _)| p.expect == expect).map(|(_, d)| d);

    let (cheap, strong) = (mean(of("cheap").map(price)), mean(of("strong").map(price)));
    println!(
        "mean price of the pick per 1,000 reference queries: cheap ${:.3}, strong ${:.3}",
        cheap * 1e3,
        strong * 1e3
    );
    assert!(strong > 1.3 * cheap, "hard prompts must be worth more: {strong} against {cheap}");
    let (weak, able) = (mean(of("cheap").map(strength)), mean(of("strong").map(strength)));
    println!("mean strength of the pick: cheap {weak:.3}, strong {able:.3}");
    assert!(able > weak);

    for expect in ["cheap", "any", "strong"] {
        let mut picks = std::collections::BTreeMap::new();
        of(expect).for_each(|d| *picks.entry(d.model.as_deref().unwrap()).or_insert(0) += 1);
        println!("{expect}: {picks:?}");
    }

    let flagged = |keep: &dyn Fn(&Prompt) -> bool| {
        mean(decisions.iter().filter(|(p, _)| keep(p)).map(|(_, d)| f64::from(u8::from(!d.in_distribution))))
    };
    let (all, english) = (flagged(&|_| true), flagged(&|p| p.language == "en"));
    println!(
        "flagged as unlike the training data: {:.1} % of all, {:.1} % of English",
        100.0 * all,
        100.0 * english
    );
    assert!(english < 0.2 && all < 0.5, "a flag that is always up is worthless: {english}, {all}");
}
