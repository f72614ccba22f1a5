//! The predictor against the libraries it was trained with: token ids of Hugging Face's tokenizers,
//! features of the training code, outputs of onnxruntime, all stored by `models/train`.

use std::path::Path;

use pennyroute::{Artifacts, Predictor, TextCounts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: Text,
    #[serde(flatten)]
    ids: Ids,
    features: Vec<f64>,
    token_counts: [u64; 7],
    skills: Vec<f64>,
    difficulty: Vec<f64>,
    length: Vec<f64>,
    embedding: Vec<f64>,
    quality: std::collections::BTreeMap<String, f64>,
}

/// All token ids, or of a long text their number and both ends.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    All { ids: Vec<i64> },
    Ends { ids_count: usize, ids_head: Vec<i64>, ids_tail: Vec<i64> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Repeated { repeat: String, times: usize },
}

fn close(name: &str, text: &str, found: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{name} of {text:?}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{name}[{i}] of {text:?}: {f} instead of {e}");
    }
}

#[test]
fn ids_features_and_outputs_agree_with_the_stored_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = root.join("models");
    let manifest = std::fs::read(models.join("manifest.json")).unwrap();
    let artifacts = Artifacts::open(&manifest, |path| std::fs::read(models.join(path)).ok()).unwrap();
    let predictor = Predictor::new(&artifacts).unwrap();
    let fixture = std::fs::read(root.join("tests/fixtures/parity.json")).unwrap();
    let fixture: Fixture = serde_json::from_slice(&fixture).unwrap();
    assert!(fixture.cases.len() >= 50, "the fixture has only {} cases", fixture.cases.len());
    for case in fixture.cases {
        let text = match case.text {
            Text::Plain(text) => text,
            Text::Repeated { repeat, times } => repeat.repeat(times),
        };
        let shown: String = text.chars().take(60).collect();
        let counts = TextCounts::of(&text);
        let (ids, features) = predictor.inputs(&text, &counts);
        match &case.ids {
            Ids::All { ids: expected } => assert_eq!(ids, *expected, "ids of {shown:?}"),
            Ids::Ends { ids_count, ids_head, ids_tail } => {
                assert_eq!(ids.len(), *ids_count, "ids of {shown:?}");
                assert!(ids.starts_with(ids_head) && ids.ends_with(ids_tail), "ids of {shown:?}");
            }
        }
        close("features", &shown, features.map(f64::from), &case.features, 1e-5);
        let c = &counts;
        let token_counts = [c.words, c.letters, c.digits, c.marks, c.newlines, c.cjk, c.other];
        assert_eq!(token_counts, case.token_counts, "token counts of {shown:?}");
        let d = predictor.describe(&text, &counts, None).unwrap();
        close("skills", &shown, d.skills.iter().copied(), &case.skills, 1e-4);
        close("difficulty", &shown, [d.difficulty], &case.difficulty, 1e-4);
        close("length", &shown, d.length.iter().copied(), &case.length, 1e-4);
        close("embedding", &shown, d.embedding.iter().map(|&x| f64::from(x)), &case.embedding, 1e-4);
        for (model, expected) in &case.quality {
            let ability = &predictor.parameters().abilities[model].ability;
            close("quality", &shown, [Predictor::quality(ability, &d)], &[*expected], 1e-4);
        }
    }
}
