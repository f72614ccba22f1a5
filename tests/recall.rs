//! The graph finds what the exact scan finds, and builds to the same bytes every time.

mod clusters;

use clusters::{Clusters, Random};
use pennyroute::retrieve::{Backend, Exact, Hnsw, Index, Record, Retriever, Vectors};

const K: usize = 16;
const SEED: u64 = 20_261_120;

fn vectors(points: &[Vec<f32>]) -> Vectors {
    let mut vectors = Vectors::new(points[0].len()).unwrap();
    for point in points {
        vectors.push(point).unwrap();
    }
    vectors
}

/// The share of the exact nearest that the graph finds.
fn recall(vectors: Vectors, queries: &[Vec<f32>]) -> f64 {
    let hnsw = Hnsw::build(&vectors).unwrap();
    let exact = Exact::new(vectors);
    let mut hits = 0;
    for query in queries {
        let truth = exact.nearest(query, K);
        hits += hnsw.nearest(query, K).iter().filter(|found| truth.contains(found)).count();
    }
    hits as f64 / (K * queries.len()) as f64
}

#[test]
fn of_clusters() {
    let mut clusters = Clusters::new(SEED, 48);
    let vectors = vectors(&clusters.points(10_000));
    let recall = recall(vectors, &clusters.points(300));
    assert!(recall >= 0.95, "recall@{K} is {recall} with seed {SEED}");
}

#[test]
fn of_a_history_that_repeats_itself() {
    // A third of all prompts are one template, another third are fifty.
    let mut clusters = Clusters::new(SEED, 48);
    let templates = clusters.points(50);
    let points: Vec<Vec<f32>> = (0..6_000)
        .map(|n| match n % 3 {
            0 => templates[0].clone(),
            1 => templates[n % 50].clone(),
            _ => clusters.point(),
        })
        .collect();
    let recall = recall(vectors(&points), &clusters.points(300));
    assert!(recall >= 0.95, "recall@{K} is {recall} with seed {SEED}");
}

#[test]
fn of_the_shipped_index() {
    let Ok(bytes) = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/index.bin")) else {
        eprintln!("no models/index.bin yet");
        return;
    };
    let vectors = Index::from_bytes(&bytes).unwrap().vectors().unwrap().into_owned();
    // New queries like the old ones: every so many records, a little to the side.
    let mut random = Random(SEED);
    let queries: Vec<Vec<f32>> = (0..vectors.len())
        .step_by((vectors.len() / 500).max(1))
        .map(|n| vectors.get(n).iter().map(|x| x + 0.02 * random.normal()).collect())
        .collect();
    let recall = recall(vectors, &queries);
    assert!(recall >= 0.95, "recall@{K} is {recall} with seed {SEED}");
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let records: Vec<Record> = Clusters::new(SEED, 48)
        .points(3_000)
        .into_iter()
        .map(|embedding| Record { embedding, outcomes: Vec::new() })
        .collect();
    let build = || Index::build(Vec::new(), 48, &records, Backend::Hnsw).unwrap().to_bytes().unwrap();
    assert!(build() == build());
}
