//! The scan against the graph, by size: where `Backend::choose` should change over.
//!
//! `cargo bench --profile dev --bench retrieve`, with sizes after `--` to try others. Everything is
//! seeded. Other programs on the machine only ever add time, so each query counts with the best of
//! its repetitions, in which the two backends take turns; stated is the median query. The last line
//! is JSON.

#[path = "../tests/clusters/mod.rs"]
mod clusters;

use std::hint::black_box;
use std::time::Instant;

use clusters::Clusters;
use pennyroute::retrieve::{Backend, Index, Neighbor, Record};
use serde_json::json;

const SIZES: [usize; 6] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000];
const DIMENSIONS: usize = 48;
const K: usize = 16;
const QUERIES: usize = 200;
const REPETITIONS: usize = 9;
const SEED: u64 = 20_261_120;

/// What one backend takes at one size.
struct Side {
    index: Index,
    build_s: f64,
    load_ms: f64,
    bytes: usize,
    /// Microseconds of each query, the best of its repetitions.
    micros: Vec<f64>,
}

impl Side {
    fn new(records: &[Record], backend: Backend) -> Self {
        let (built, build_s) =
            timed(|| Index::build(Vec::new(), DIMENSIONS, records, backend).expect("records are sound"));
        let bytes = built.to_bytes().expect("an index can be written");
        drop(built);
        let load = || timed(|| Index::from_bytes(&bytes).expect("the bytes are an index"));
        let (index, first) = load();
        let load_s = (1..REPETITIONS).map(|_| load().1).fold(first, f64::min);
        Side {
            index,
            build_s,
            load_ms: load_s * 1e3,
            bytes: bytes.len(),
            micros: vec![f64::INFINITY; QUERIES],
        }
    }

    fn nearest(&self, query: &[f32]) -> Vec<Neighbor> {
        self.index.nearest(query, K).expect("the query fits")
    }

    fn run(&mut self, queries: &[Vec<f32>]) {
        for (i, query) in queries.iter().enumerate() {
            let (_, seconds) = timed(|| black_box(self.nearest(query)));
            self.micros[i] = self.micros[i].min(seconds * 1e6);
        }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn json(&self) -> serde_json::Value {
        json!({"us": self.median(), "load_ms": self.load_ms, "bytes": self.bytes, "build_s": self.build_s})
    }
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = f();
    (value, start.elapsed().as_secs_f64())
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { &SIZES[..] } else { &asked };
    println!(
        "{DIMENSIONS} dimensions, {K} neighbors, {QUERIES} queries, {REPETITIONS} repetitions, seed {SEED}"
    );
    println!(
        "        n | exact µs | hnsw µs | ratio | recall@16 | exact, hnsw: load ms |             MB | build s"
    );
    let mut rows = Vec::new();
    let mut medians = Vec::new();
    for &n in sizes {
        let mut clusters = Clusters::new(SEED, DIMENSIONS);
        let records: Vec<Record> =
            (0..n).map(|_| Record { embedding: clusters.point(), outcomes: Vec::new() }).collect();
        let queries = clusters.points(QUERIES);
        let mut exact = Side::new(&records, Backend::Exact);
        let mut hnsw = Side::new(&records, Backend::Hnsw);
        for _ in 0..REPETITIONS {
            exact.run(&queries);
            hnsw.run(&queries);
        }
        let hits: usize = queries
            .iter()
            .map(|query| {
                let truth = exact.nearest(query);
                hnsw.nearest(query).iter().filter(|found| truth.contains(found)).count()
            })
            .sum();
        let recall = hits as f64 / (K * QUERIES) as f64;
        println!(
            "{n:9} | {:8.1} | {:7.1} | {:5.2} | {recall:9.4} | {:10.2} {:9.2} | {:6.2} {:7.2} | {:7.1}",
            exact.median(),
            hnsw.median(),
            exact.median() / hnsw.median(),
            exact.load_ms,
            hnsw.load_ms,
            exact.bytes as f64 / 1e6,
            hnsw.bytes as f64 / 1e6,
            hnsw.build_s,
        );
        medians.push((n as f64, exact.median(), hnsw.median()));
        rows.push(json!({"n": n, "exact": exact.json(), "hnsw": hnsw.json(), "recall_at_16": recall}));
    }
    let crossover = crossover(&medians);
    match crossover {
        Some(n) => println!("the graph is the faster from about {n:.0} records"),
        None => println!("no crossover in this range"),
    }
    println!(
        "{}",
        json!({"dimensions": DIMENSIONS, "k": K, "seed": SEED, "rows": rows, "crossover": crossover})
    );
}

/// Where the two lines cross, straight between the sizes measured in logarithms of both.
fn crossover(medians: &[(f64, f64, f64)]) -> Option<f64> {
    let lead = |&(_, exact, hnsw): &(f64, f64, f64)| (exact / hnsw).ln();
    let pair = medians.windows(2).find(|pair| lead(&pair[0]) < 0.0 && lead(&pair[1]) >= 0.0)?;
    let share = -lead(&pair[0]) / (lead(&pair[1]) - lead(&pair[0]));
    Some((pair[0].0.ln() + share * (pair[1].0 / pair[0].0).ln()).exp())
}
