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
    // The best model there is, and one of middling strength: what is the better one worth?
    let mut constants = router.constants(now).unwrap();
    constants.sort_by(|a, b| a.quality.total_cmp(&b.quality));
    let (middling, best) = (&constants[constants.len() / 2], &constants[constants.len() - 1]);
    let qualities = |prompt: &Prompt| {
        let estimates = router.estimate(&RouteRequest::prompt(&prompt.text), now).unwrap();
        let of = |id: &str| {
            let is = |m: usize| router.catalog().models[m].id == id;
            estimates.models.iter().find(|e| is(e.model)).unwrap().quality.estimate
        };
        (of(&middling.model), of(&best.model))
    };

    let file = std::fs::read_to_string(root.join("tests/fixtures/chat.jsonl")).unwrap();
    let prompts: Vec<Prompt> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(prompts.len() >= 200);
    let decisions: Vec<(&Prompt, Decision)> =
        prompts.iter().map(|p| (p, router.route(&RouteRequest::prompt(&p.text), now).unwrap())).collect();
    let of = |expect: &'static str| decisions.iter().filter(move |(p, _)| p.expect == expect).map(|(_, d)| d);

    let [cheap, any, strong] = ["cheap", "any", "strong"].map(|expect| {
        let each = || prompts.iter().filter(move |p| p.expect == expect).map(qualities);
        let (chance, gap) = (mean(each().map(|(middling, _)| middling)), mean(each().map(|(m, b)| b - m)));
        println!(
            "{expect}: {} is {:.3} likely to do, {} by {gap:.3} likelier",
            middling.model, chance, best.model
        );
        (chance, gap)
    });
    assert!(cheap.0 > any.0 && any.0 > strong.0, "hard prompts are hard: {cheap:?}, {any:?}, {strong:?}");
    assert!(strong.1 > 2.0 * cheap.1, "and a better model is worth more there: {cheap:?}, {strong:?}");

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
