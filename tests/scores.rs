//! Abilities from published scores and prices: the same as `models/train/published.py` computes.

use std::collections::BTreeMap;
use std::path::Path;

use pennyroute::{Ability, Day, Published, Rates, Source, from_price, from_scores};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    published: Published,
    scored: Vec<Scored>,
    priced: Vec<Priced>,
}

#[derive(Deserialize)]
struct Scored {
    scores: BTreeMap<String, f64>,
    g: f64,
    sd: f64,
    ability: Vectors,
}

#[derive(Deserialize)]
struct Priced {
    input: f64,
    output: f64,
    released: Option<Day>,
    g: f64,
    ability: Vectors,
}

#[derive(Deserialize)]
struct Vectors {
    mean: Vec<f64>,
    sd: Vec<f64>,
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn same(found: &Ability, expected: &Vectors) {
    assert_eq!(found.mean.len(), expected.mean.len());
    for (found, expected) in found.mean.iter().chain(&found.sd).zip(expected.mean.iter().chain(&expected.sd))
    {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn scores_give_the_abilities_that_python_computes() {
    let fixture = fixture();
    assert!(fixture.scored.len() > 3);
    for case in &fixture.scored {
        let found = from_scores(&fixture.published, &case.scores).unwrap();
        assert!((found.g - case.g).abs() < 1e-9 && (found.sd - case.sd).abs() < 1e-9, "{:?}", case.scores);
        assert_eq!(found.ability.source, Source::Published);
        same(&found.ability, &case.ability);
    }
}

#[test]
fn prices_give_the_abilities_that_python_computes() {
    let fixture = fixture();
    assert!(fixture.priced.len() > 1);
    for case in &fixture.priced {
        let rates = Rates { input: case.input, output: case.output, cache_read: None };
        let found = from_price(&fixture.published, rates, case.released).unwrap();
        assert!((found.g - case.g).abs() < 1e-9);
        assert_eq!(found.ability.source, Source::Price);
        same(&found.ability, &case.ability);
    }
    let free = Rates { input: 0.0, output: 0.0, cache_read: None };
    assert_eq!(from_price(&fixture.published, free, None).unwrap_err().code(), "bad_number");
}

#[test]
fn an_odd_score_counts_for_less_than_the_others() {
    let published = fixture().published;
    let g = |scores: &[(&str, f64)]| {
        let scores = scores.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        from_scores(&published, &scores).unwrap().g
    };
    let agreeing = [("aa_gpqa_diamond", 70.0), ("aa_mmlu_pro", 81.0)];
    let odd = g(&[agreeing[0], agreeing[1], ("aa_index_v4_3", 2.0)]);
    let alone = g(&[("aa_index_v4_3", 2.0)]);
    assert!(odd - alone > g(&agreeing) - odd, "the odd one out pulls less than half of the way");
}

#[test]
fn bad_scores_are_refused_by_name() {
    let published = fixture().published;
    let refused = |name: &str, value: f64| {
        from_scores(&published, &[(name.to_owned(), value)].into()).unwrap_err().to_string()
    };
    let unknown = refused("aa_mmlu-pro", 80.0);
    assert!(
        unknown.contains("aa_mmlu-pro") && unknown.contains("near: ") && unknown.contains("vendor_mmlu_pro")
    );
    assert!(refused("zzz", 80.0).contains("known: aa_"));
    for (name, value) in
        [("aa_mmlu_pro", 100.5), ("aa_mmlu_pro", -1.0), ("aa_mmlu_pro", f64::NAN), ("lmarena_text_elo", 1e5)]
    {
        let error = refused(name, value);
        assert!(error.contains(name) && error.contains("is not a"), "{error}");
    }
    assert!(from_scores(&published, &BTreeMap::new()).unwrap_err().to_string().contains("empty"));
}
