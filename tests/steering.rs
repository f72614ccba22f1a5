//! What a stateful host may turn: the price of quality (`steer`), the price of a slot (`surcharges`), and
//! what a call is worth to the next one (`reuse`).

use std::collections::BTreeMap;
use std::path::Path;

use pennyroute::{Artifacts, Decision, Moment, RouteRequest, Router};

const TEXTS: [&str; 5] = [
    "Hi!",
    "What is the capital of Australia?",
    "Prove that every finite integral domain is a field, then that its multiplicative group is cyclic.",
    "fn f(v: &[u32]) -> Vec<u32> { v.iter().map(|x| x * 2).collect() }\nMake this generic over numbers.",
    "A train leaves at 9:40 and arrives at 13:05 after two stops of 7 minutes. How long did it move?",
];

fn router() -> Router {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = std::fs::read(models.join("manifest.json")).unwrap();
    let artifacts = Artifacts::open(&manifest, |path| std::fs::read(models.join(path)).ok()).unwrap();
    Router::new(artifacts, None).unwrap()
}

fn decide(router: &Router, request: &RouteRequest) -> Decision {
    router.route(request, Moment::parse("2026-11-20T12:00:00Z").unwrap()).unwrap()
}

fn chosen(decision: &Decision) -> (f64, f64) {
    (decision.quality.unwrap().estimate, decision.cost_usd.unwrap().estimate)
}

#[test]
fn steer_turns_the_price_of_quality_from_cheapest_to_best() {
    let router = router();
    for text in TEXTS {
        let plain = RouteRequest::prompt(text);
        let steered = |steer| decide(&router, &RouteRequest { steer: Some(steer), ..plain.clone() });
        assert_eq!(steered(1.0), decide(&router, &plain));

        let mut before: Option<(f64, f64)> = None;
        for steer in [1e-9, 0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1e9] {
            let (quality, cost) = chosen(&steered(steer));
            if let Some((less, cheaper)) = before {
                assert!(quality >= less && cost >= cheaper, "{text}: a higher price bought less at {steer}");
            }
            before = Some((quality, cost));
        }
        let (cheap, best) = (steered(1e-9), steered(1e9));
        assert!(cheap.alternatives.iter().all(|other| other.cost_usd >= chosen(&cheap).1), "{text}");
        assert!(best.alternatives.iter().all(|other| other.quality <= chosen(&best).0), "{text}");
        assert!(cheap.reason.contains("times 0.000") && best.reason.contains("times 1000000000"), "{text}");
    }
}

#[test]
fn a_surcharge_moves_the_choice_and_no_figure() {
    let router = router();
    for text in TEXTS {
        let plain = RouteRequest::prompt(text);
        let first = decide(&router, &plain);
        let taken = first.model.clone().unwrap();
        let charged = |id: &str, usd: f64| {
            let surcharges = BTreeMap::from([(id.to_owned(), usd)]);
            decide(&router, &RouteRequest { surcharges, ..plain.clone() })
        };

        // A dearer slot is never likelier to be taken, and one that is dear enough never is.
        let mut still_taken = true;
        for usd in [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.0] {
            let now = charged(&taken, usd).model.unwrap() == taken;
            assert!(still_taken || !now, "{text}: came back at {usd}");
            still_taken = now;
        }
        assert!(!still_taken, "{text}");
        let moved = charged(&taken, 1.0);
        assert_eq!(moved.model.as_ref(), first.fallbacks.first(), "{text}: the next best takes its place");
        assert_eq!(charged("nobody/nothing", 1.0).model, first.model);

        // Reported costs are what the calls cost.
        let listed = moved.alternatives.iter().find(|other| other.model == taken).unwrap();
        assert_eq!(listed.cost_usd, chosen(&first).1);
        assert!(moved.reason.contains("surcharges counted"), "{}", moved.reason);

        // Neither are cap and budget.
        let surcharges = BTreeMap::from([(taken.clone(), 1.0)]);
        let cap = Some(chosen(&first).1 * 1.5);
        let capped =
            decide(&router, &RouteRequest { surcharges, cap_usd: cap, budget_usd: cap, ..plain.clone() });
        assert!(capped.excluded.iter().all(|e| e.model != taken), "{text}");
    }
}

#[test]
fn the_same_surcharge_on_every_model_changes_nothing() {
    let router = router();
    let surcharges: BTreeMap<_, _> = router.catalog().models.iter().map(|m| (m.id.clone(), 0.25)).collect();
    for text in TEXTS {
        let plain = RouteRequest::prompt(text);
        let all = RouteRequest { surcharges: surcharges.clone(), ..plain.clone() };
        assert_eq!(decide(&router, &all).model, decide(&router, &plain).model, "{text}");
    }
}

#[test]
fn what_the_next_call_will_save_counts_for_a_model() {
    let router = router();
    // A long question, where input is most of the price.
    let plain = RouteRequest::prompt(format!("{}\n{}", "The ledger says so. ".repeat(2000), TEXTS[4]));
    let all = |share: f64| -> BTreeMap<String, f64> {
        router.catalog().models.iter().map(|m| (m.id.clone(), share)).collect()
    };
    let first = decide(&router, &plain);
    assert_eq!(decide(&router, &RouteRequest { reuse: all(0.0), ..plain.clone() }), first);

    let (mut taken, mut before) = (Vec::new(), f64::INFINITY);
    for share in [0.25, 0.5, 0.75, 1.0] {
        let decision = decide(&router, &RouteRequest { reuse: all(share), ..plain.clone() });
        let model = decision.model.clone().unwrap();
        let rates =
            &router.catalog().models.iter().find(|m| m.id == model).unwrap().cost.as_ref().unwrap().base;
        // The more comes again, the less a cached token may cost relative to where it started.
        let again = rates.cache_read.unwrap_or(rates.input);
        assert!(again <= before, "{model} at {share}");
        before = again;
        taken.push(model);
    }
    assert_ne!(taken.last(), first.model.as_ref());

    // Reported costs are this call's own; what is warm already saves nothing more.
    let id = first.model.clone().unwrap();
    let only = |reuse: f64, warm: f64| RouteRequest {
        model: Some(id.clone()),
        reuse: BTreeMap::from([(id.clone(), reuse)]),
        warm: BTreeMap::from([(id.clone(), warm)]),
        ..plain.clone()
    };
    assert_eq!(chosen(&decide(&router, &only(1.0, 0.0))), chosen(&first));
    let warm = RouteRequest { reuse: all(1.0), warm: all(1e9), ..plain.clone() };
    assert_eq!(
        decide(&router, &warm),
        decide(&router, &RouteRequest { reuse: BTreeMap::new(), ..warm.clone() })
    );
}

#[test]
fn bad_values_are_named() {
    let router = router();
    for (field, json) in [
        ("steer", r#"{"prompt": "x", "steer": 0}"#),
        ("steer", r#"{"prompt": "x", "steer": -1}"#),
        ("steer", r#"{"prompt": "x", "steer": "much"}"#),
        ("surcharges.a/b", r#"{"prompt": "x", "surcharges": {"c/d": 1, "a/b": -0.1}}"#),
        ("surcharges.a/b", r#"{"prompt": "x", "surcharges": {"a/b": null}}"#),
        ("reuse.a/b", r#"{"prompt": "x", "reuse": {"a/b": 1.01}}"#),
    ] {
        let asked = RouteRequest::from_json(json);
        let now = Moment::parse("2026-11-20T12:00:00Z").unwrap();
        let error = asked.and_then(|request| router.route(&request, now)).unwrap_err();
        assert!(error.to_string().contains(field), "{json}: {error}");
    }
    for steer in [f64::NAN, f64::INFINITY] {
        let request = RouteRequest { steer: Some(steer), ..RouteRequest::prompt("x") };
        let error = router.route(&request, Moment::parse("2026-11-20T12:00:00Z").unwrap()).unwrap_err();
        assert_eq!(error.code(), "bad_number");
    }
}
