//! Our figures are those of the judge that everyone's estimates are compared with.
//!
//! The expected numbers were printed by `judge.py` (see PREDICTOR.md) for the same estimates: for a
//! made-up set, which is generated here again, and for the peers' estimates beside the judge, where
//! those are at hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use pennyroute::eval::data::{EstimateTable, Outcomes};
use pennyroute::eval::{Estimated, Figures, Recorded, figures};

/// What the judge prints: AUC, ECE, gains by tick, mean gain, c95, c100, peak, α deviation and
/// shortfall, accuracy and cost of the threshold rule.
struct Judged {
    auc: f64,
    ece: f64,
    gain: &'static [f64],
    mean_gain: f64,
    c95: Option<f64>,
    c100: Option<f64>,
    peak: f64,
    alpha: (f64, f64),
    rule: (f64, f64),
}

/// The figures of the estimates in one file on the outcomes of another, `split` where it has parts.
fn judge(outcomes: &Path, estimates: &Path, split: Option<&str>) -> Figures {
    let outcomes = Outcomes::read(outcomes).unwrap();
    let table = EstimateTable::read(estimates).unwrap();
    let mut models = outcomes.models.list().to_vec();
    models.sort();
    let rows: BTreeMap<(u32, u32), (f64, f64)> = outcomes
        .rows
        .iter()
        .map(|row| ((row.query, row.model), (row.correct, row.cost_usd.unwrap())))
        .collect();
    let n = table.queries.list().len();
    let mut recorded = Recorded { models: models.clone(), ..Recorded::default() };
    let mut estimated = Estimated::default();
    for (q, id) in outcomes.queries.list().iter().enumerate() {
        if outcomes.splits[q].as_deref() != split {
            continue;
        }
        for model in &models {
            let (correct, cost) = rows[&(q as u32, outcomes.models.position(model).unwrap())];
            let at = table.models.position(model).unwrap() as usize * n
                + table.queries.position(id).unwrap() as usize;
            recorded.correct.push(correct);
            recorded.cost.push(cost);
            estimated.quality.push(table.quality[at]);
            estimated.cost.push(table.cost[at]);
        }
    }
    figures(&recorded, &estimated)
}

/// Compares to the digits that the judge prints.
fn assert_judged(name: &str, found: &Figures, judged: &Judged) {
    let near = |what: &str, found: f64, judged: f64, digits: i32| {
        let tolerance = 0.5 * 10f64.powi(-digits) + 1e-9;
        assert!((found - judged).abs() <= tolerance, "{name}, {what}: {found} is not the judge's {judged}");
    };
    near("auc", found.auc.unwrap(), judged.auc, 4);
    near("ece", found.ece, judged.ece, 2);
    assert_eq!(found.gain.len(), judged.gain.len(), "{name}: {:?}", found.gain);
    for ((tick, found), judged) in found.gain.iter().zip(judged.gain) {
        near(&format!("gain at {tick}"), found.unwrap(), *judged, 2);
    }
    near("mean_gain", found.mean_gain.unwrap(), judged.mean_gain, 2);
    for (what, found, judged) in [("c95", found.c95, judged.c95), ("c100", found.c100, judged.c100)] {
        assert_eq!(found.is_some(), judged.is_some(), "{name}, {what}");
        near(what, found.unwrap_or_default(), judged.unwrap_or_default(), 3);
    }
    near("peak", found.peak, judged.peak, 2);
    near("alpha_dev", found.alpha_dev, judged.alpha.0, 2);
    near("alpha_short", found.alpha_short, judged.alpha.1, 2);
    let rule = found.threshold_rule["0.7"];
    near("accuracy of the rule", rule.0, judged.rule.0, 2);
    near("cost of the rule", rule.1, judged.rule.1, 3);
}

#[test]
fn figures_of_a_made_up_set_are_the_judges() {
    let folder = tempfile::tempdir().unwrap();
    let (mut outcomes, mut estimates) = (
        String::from("query_id,model,correct,cost_usd\n"),
        String::from("query_id,model,quality,cost_usd\n"),
    );
    for i in 0..60 {
        for (j, base) in [0.0001, 0.0003, 0.001, 0.004].into_iter().enumerate() {
            let correct = u8::from((i * 7 + j * 5) % 11 < 3 + 2 * j);
            let cost = base * (1.0 + (i % 5) as f64 * 0.1);
            let quality = 0.25 + 0.12 * j as f64 + 0.2 * f64::from(correct) - 0.07 * ((i * 3 + j) % 4) as f64;
            let expected = cost * (1.0 + ((i + j) % 3) as f64 * 0.1);
            writeln!(outcomes, "q{i},m{j},{correct},{cost}").unwrap();
            writeln!(estimates, "q{i},m{j},{quality},{expected}").unwrap();
        }
    }
    let paths = (folder.path().join("outcomes.csv"), folder.path().join("estimates.csv"));
    std::fs::write(&paths.0, outcomes).unwrap();
    std::fs::write(&paths.1, estimates).unwrap();
    let judged = Judged {
        auc: 0.9318,
        ece: 18.11,
        gain: &[16.67, 32.22, 38.97, 30.93, 22.41],
        mean_gain: 28.24,
        c95: Some(0.092),
        c100: Some(0.099),
        peak: 100.0,
        alpha: (44.77, -12.17),
        rule: (93.33, 4.365),
    };
    assert_judged("made up", &judge(&paths.0, &paths.1, None), &judged);
}

#[test]
fn figures_of_the_peers_are_the_judges() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let outcomes = shared.join("data/outcomes_core.parquet");
    if !outcomes.exists() {
        println!("skipped: the peers' estimates are not beside this checkout");
        return;
    }
    let peers = [
        (
            "kmeans60_minilm",
            Judged {
                auc: 0.7329,
                ece: 1.08,
                gain: &[0.06, -1.05, -1.16, 0.04, -0.9],
                mean_gain: -0.6,
                c95: Some(0.309),
                c100: None,
                peak: 84.13,
                alpha: (4.15, 4.15),
                rule: (76.73, 0.927),
            },
        ),
        (
            "knn100_minilm",
            Judged {
                auc: 0.7385,
                ece: 3.05,
                gain: &[-0.54, -1.64, -0.45, 0.16, 0.29],
                mean_gain: -0.44,
                c95: Some(0.322),
                c100: None,
                peak: 85.68,
                alpha: (5.11, 5.11),
                rule: (76.61, 0.545),
            },
        ),
        (
            "knn16_minilm",
            Judged {
                auc: 0.7355,
                ece: 2.66,
                gain: &[-0.89, -1.29, -0.45, -0.92, -2.21],
                mean_gain: -1.15,
                c95: Some(0.412),
                c100: None,
                peak: 83.77,
                alpha: (8.57, 8.57),
                rule: (75.18, 0.788),
            },
        ),
        (
            "knn50_minilm",
            Judged {
                auc: 0.7451,
                ece: 2.52,
                gain: &[-0.66, -1.88, -0.57, 0.87, 0.65],
                mean_gain: -0.32,
                c95: Some(0.265),
                c100: None,
                peak: 85.32,
                alpha: (5.94, 5.94),
                rule: (76.25, 0.644),
            },
        ),
        (
            "ridge_minilm",
            Judged {
                auc: 0.7098,
                ece: 3.34,
                gain: &[0.18, 0.03, 1.22, 1.59, 1.37],
                mean_gain: 0.88,
                c95: Some(0.156),
                c100: None,
                peak: 86.04,
                alpha: (1.36, 1.07),
                rule: (76.97, 0.658),
            },
        ),
        (
            "tfidf_ridge",
            Judged {
                auc: 0.7469,
                ece: 3.1,
                gain: &[-0.18, -0.69, -0.33, 0.4, -0.66],
                mean_gain: -0.29,
                c95: Some(0.276),
                c100: None,
                peak: 84.96,
                alpha: (2.96, 2.96),
                rule: (77.21, 0.723),
            },
        ),
    ];
    for (name, judged) in peers {
        let estimates = shared.join(format!("predictor-bench/test.{name}.parquet"));
        assert_judged(name, &judge(&outcomes, &estimates, Some("test")), &judged);
    }
}
