//! Where the time of one native `route()` goes: inputs (tokens and features), network, retrieval,
//! everything. The figure in wasm, beside its peer, is `npm run bench -- predict`.
//!
//! `cargo bench --profile dev --bench predict`

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use pennyroute::retrieve::Index;
use pennyroute::{Artifacts, Moment, RouteRequest, Router, TextCounts};

const ROUNDS: usize = 30;
const CALLS: usize = 100;
const WORDS: &str =
    "the river ran slowly past old stone houses where people often gathered to talk about their day";

/// Median microseconds of one call over interleaved rounds.
fn median_us(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = std::fs::read(models.join("manifest.json")).expect("models/manifest.json");
    let artifacts =
        Artifacts::open(&manifest, |path| std::fs::read(models.join(path)).ok()).expect("the artifacts");
    let index = artifacts.index.as_ref().map(|(bytes, _)| Index::from_bytes(bytes).expect("the index"));
    let router = Router::new(artifacts, None).expect("a router");
    let predictor = router.predictor();
    let now = Moment::parse("2026-11-20T12:00:00Z").expect("a moment");
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut rows = Vec::new();
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12}   µs, median",
        "tokens", "inputs", "describe", "retrieve", "route"
    );
    for tokens in [16, 64, 256] {
        let text: Vec<&str> = (0..tokens).map(|i| words[(i * 7) % words.len()]).collect();
        let text = text.join(" ");
        let counts = TextCounts::of(&text);
        let request = RouteRequest::prompt(&text);
        let description = predictor.describe(&text, &counts, None).expect("a description");
        let retrieval = predictor.parameters().retrieval;
        let works: [Box<dyn Fn()>; 4] = [
            Box::new(|| drop(black_box(predictor.inputs(&text, &counts)))),
            Box::new(|| drop(black_box(predictor.describe(&text, &counts, None)))),
            Box::new(|| {
                drop(black_box(index.as_ref().map(|i| i.correction(&description.embedding, &retrieval))));
            }),
            Box::new(|| drop(black_box(router.route(&request, now)))),
        ];
        let mut times = vec![Vec::new(); works.len()];
        for _ in 0..ROUNDS {
            for (work, times) in works.iter().zip(&mut times) {
                let start = Instant::now();
                (0..CALLS).for_each(|_| work());
                times.push(start.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
            }
        }
        let us: Vec<f64> = times.iter_mut().map(|t| median_us(t)).collect();
        println!("{tokens:>8} {:>12.1} {:>12.1} {:>12.1} {:>12.1}", us[0], us[1], us[2], us[3]);
        rows.push(serde_json::json!({
            "tokens": tokens, "inputs_us": us[0], "describe_us": us[1], "retrieve_us": us[2], "route_us": us[3],
        }));
    }
    println!("{}", serde_json::json!({ "bench": "predict", "host": "native", "rows": rows }));
}
