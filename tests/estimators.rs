//! The trained and the retrieved half of an estimate, and their blend.

use std::fs;
use std::path::Path;

use pennyroute::retrieve::{Backend, Index, Outcome, Record};
use pennyroute::{Artifacts, Estimates, Estimator, Moment, RouteRequest, Router, TextCounts};

const TEXTS: [&str; 3] = [
    "Hi, how are you?",
    "Prove that infinitely many primes are 3 modulo 4.",
    "What does `x = [1][0]` print?",
];

fn artifacts() -> Artifacts {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = fs::read(models.join("manifest.json")).unwrap();
    Artifacts::open(&manifest, |path| fs::read(models.join(path)).ok()).unwrap()
}

fn without_index() -> Router {
    Router::new(Artifacts { index: None, ..artifacts() }, None).unwrap()
}

fn estimate(router: &Router, estimator: Estimator, text: &str) -> Estimates {
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    router.estimate_by(estimator, &RouteRequest::prompt(text), now).unwrap()
}

fn qualities(estimates: &Estimates) -> Vec<f64> {
    estimates.models.iter().map(|e| e.quality.estimate).collect()
}

#[test]
fn the_trained_half_is_the_router_without_an_index() {
    let (router, bare) = (Router::new(artifacts(), None).unwrap(), without_index());
    let trained = TEXTS.map(|text| estimate(&router, Estimator::Trained, text));
    assert_eq!(trained, TEXTS.map(|text| estimate(&bare, Estimator::Blend, text)));
    // A text whose neighbors have no outcomes is not corrected; they are not all of that kind.
    assert_ne!(trained, TEXTS.map(|text| estimate(&router, Estimator::Blend, text)));
}

#[test]
fn the_blend_is_the_default() {
    let router = Router::new(artifacts(), None).unwrap();
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    for text in TEXTS {
        let default = router.estimate(&RouteRequest::prompt(text), now).unwrap();
        assert_eq!(default, estimate(&router, Estimator::default(), text));
    }
}

#[test]
fn the_retrieved_half_knows_the_neighbors_and_nothing_else() {
    let mut router = without_index();
    let [a, b, c] = TEXTS.map(|text| qualities(&estimate(&router, Estimator::Retrieved, text)));
    assert!(a == b && b == c, "without neighbors every query looks the same");

    // A history in which the first model failed at queries like the second text.
    let predictor = router.predictor();
    let embedding = predictor.describe(TEXTS[1], &TextCounts::of(TEXTS[1]), None).unwrap().embedding;
    let first = &router.catalog().models[estimate(&router, Estimator::Blend, TEXTS[1]).models[0].model];
    let failed = Outcome { column: 0, correct: 0.0, estimate: a[0] };
    let records = vec![Record { embedding, outcomes: vec![failed] }; 64];
    let dimensions = predictor.parameters().dimensions;
    let index = Index::build(vec![first.id.clone()], dimensions, &records, Backend::Exact).unwrap();
    router.set_index(&index.to_bytes().unwrap(), "failures".into()).unwrap();
    let near = qualities(&estimate(&router, Estimator::Retrieved, TEXTS[1]));
    assert!(near[0] < a[0], "{} is not below {}", near[0], a[0]);
}

#[test]
fn tokens_are_billed_as_the_models_own_tokenizer_cuts_them() {
    let mut router = Router::new(artifacts(), None).unwrap();
    let mut catalog = router.catalog().clone();
    let mut model = catalog.models.iter().find(|m| m.id == "openai/gpt-4.1-mini").unwrap().clone();
    model.limit.context = Some(3_500);
    catalog.models =
        ["here/plain-1", "there/anthropic.Claude-Opus-9", "there/claude-haiku-4-5", "there/gemma-9"]
            .map(|id| pennyroute::Model { id: id.into(), ..model.clone() })
            .to_vec();
    router.set_catalog(catalog).unwrap();
    let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
    let costs = |request: &RouteRequest| -> Vec<f64> {
        router.estimate(request, now).unwrap().models.iter().map(|e| e.cost_usd.estimate).collect()
    };

    // The models differ in nothing else: what one costs more than the plain one is its finer cut.
    let request = RouteRequest::prompt("word ".repeat(3_000));
    let plain = router.estimate(&request, now).unwrap().input_tokens;
    let found = costs(&request);
    let factors = &router.predictor().parameters().token_factors;
    for (cost, part) in found[1..].iter().zip(["claude", "claude-haiku-4", "gemma"]) {
        let more = (factors[part] - 1.0) * plain * 0.4e-6;
        assert!(more > 0.0 && (cost - found[0] - more).abs() < 1e-12, "{part}: {cost}, plain {}", found[0]);
    }

    // What the caller has counted is taken as it is.
    let counted = costs(&RouteRequest { input_tokens: Some(3_000), ..request.clone() });
    assert!(counted.iter().all(|cost| *cost == counted[0]), "{counted:?}");

    // A text that fits as o200k counts it may be too long for another tokenizer.
    let decision = router.route(&request, now).unwrap();
    let excluded: Vec<&str> = decision.excluded.iter().map(|e| e.model.as_str()).collect();
    assert_eq!(excluded, ["there/anthropic.Claude-Opus-9", "there/claude-haiku-4-5"]);
}
