//! Milliseconds that the encoder takes natively for a batch, on one thread of the CPU and on the GPU.
//!
//! `npm run bench -- encode` runs this beside the peers. By itself: `cargo bench --bench encode -- TOKENS,… BATCH,…
//! SECONDS`. Medians of up to five rounds, of as many as take SECONDS; a batch that the smaller ones tell would
//! take longer is left out. The last line is one JSON object.
//!
//! `soak COUNT` instead embeds as many batches of one short text on each path and tells the resident memory after a
//! tenth of them and at the end (`npm run bench -- encode-soak`; where there is a /proc).

use std::path::PathBuf;
use std::time::Instant;

use pennyroute::{Encoder, EncoderManifest, GpuEncoder, TokenBatch};
use pollster::block_on;
use serde_json::{Value, json};

const ROUNDS: usize = 5;

fn main() {
    // cargo adds `--bench`.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/train/out/encoder");
    let read = |file: &str| std::fs::read(folder.join(file)).ok();
    let manifest = read("manifest.json").expect("the encoder: npm run encoder");
    let manifest = EncoderManifest::from_json(&manifest).expect("a manifest");
    let cpu = manifest.onnx(read).expect("an encoder");
    let gpu = block_on(GpuEncoder::new(&manifest.packed(read).expect("packed tensors")));
    let gpu = gpu.map_err(|error| eprintln!("skipped: the GPU: {error}")).ok();
    let tags = gpu.as_ref().map(|gpu| json!({ "path": "gpu", "adapter": gpu.adapter() }));

    if arguments.first().is_some_and(|mode| mode == "soak") {
        let count = arguments.get(1).map_or(10_000, |count| count.parse().expect("a number of batches"));
        let mut rows = vec![soak(&cpu, json!({ "path": "cpu" }), count)];
        rows.extend(gpu.as_ref().zip(tags).map(|(gpu, tags)| soak(gpu, tags, count)));
        println!("{}", json!({ "bench": "encode-soak", "host": "native", "batches": count, "rows": rows }));
        return;
    }
    let list = |i: usize, default: &str| -> Vec<usize> {
        let list = arguments.get(i).map_or(default, String::as_str);
        list.split(',').map(|number| number.parse().expect("a list of numbers")).collect()
    };
    let (lengths, batches) = (list(0, "16,64,128"), list(1, "1,8,64,512"));
    let seconds = arguments.get(2).map_or(10.0, |seconds| seconds.parse().expect("a number of seconds"));

    let mut rows = measure(&cpu, &json!({ "path": "cpu" }), &lengths, &batches, seconds);
    if let Some((gpu, tags)) = gpu.zip(tags) {
        rows.extend(measure(&gpu, &tags, &lengths, &batches, seconds));
    }
    println!("{}", json!({ "bench": "encode", "host": "native", "rows": rows }));
}

fn measure(
    encoder: &impl Encoder,
    tags: &Value,
    lengths: &[usize],
    batches: &[usize],
    seconds: f64,
) -> Vec<Value> {
    let mut rows = Vec::new();
    for &tokens in lengths {
        // Seconds per text, by the batch before.
        let mut each = 0.0;
        for &batch in batches.iter().filter(|&&batch| batch > 0) {
            if each * batch as f64 > seconds {
                continue;
            }
            let ids = (0..batch * tokens).map(|i| 2000 + (i as u32 * 37) % 5000).collect();
            let ends = (1..=batch).map(|text| (text * tokens) as u32).collect();
            let given = TokenBatch::new(ids, ends).expect("a batch");
            let run = || {
                let start = Instant::now();
                block_on(encoder.embed(&given)).expect("vectors");
                start.elapsed().as_secs_f64()
            };
            if each == 0.0 {
                run();
            }
            let mut times: Vec<f64> = Vec::new();
            let mut spent = 0.0;
            while times.len() < ROUNDS && (times.is_empty() || spent + spent / times.len() as f64 <= seconds)
            {
                times.push(run());
                spent += times[times.len() - 1];
            }
            times.sort_by(f64::total_cmp);
            let middle = times[times.len() / 2];
            each = middle / batch as f64;
            let mut row = tags.clone();
            row["tokens"] = tokens.into();
            row["batch"] = batch.into();
            row["ms"] = (middle * 1e3).into();
            rows.push(row);
        }
    }
    rows
}

/// Embeds `count` batches of one short text, and says how much resident memory grew after the first tenth.
fn soak(encoder: &impl Encoder, mut row: Value, count: usize) -> Value {
    let batch =
        TokenBatch::new(vec![101, 7632, 1010, 2129, 2024, 2017, 1029, 102], vec![8]).expect("a batch");
    let embed = |count: usize| {
        for _ in 0..count {
            block_on(encoder.embed(&batch)).expect("vectors");
        }
    };
    let start = Instant::now();
    embed(count.div_ceil(10));
    let before = resident_bytes();
    embed(count - count.div_ceil(10));
    let after = resident_bytes();
    row["before_bytes"] = before.into();
    row["after_bytes"] = after.into();
    row["growth_bytes"] = before.zip(after).map(|(before, after)| after - before).into();
    row["seconds"] = start.elapsed().as_secs_f64().into();
    row
}

fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<i64>().ok()? * 4096)
}
