//! The encoder on the CPU against onnxruntime, on texts of every length.
//!
//! `models/train/encoder.py` makes what is compared: the encoder (in models/train/out/encoder, or where
//! `PENNYROUTE_ENCODER` says; the one in float32 beside it, with `-float32` at its end) and the reference
//! (`-reference`). Where they are missing, a line says that nothing was tested. With another reference, the same on
//! other texts, such as 1,000 of the core:
//!
//! ```text
//! python models/train/encoder.py --reference ../shared/data/queries_core.jsonl.gz models/train/out/encoder-reference --count 1000
//! cargo test --test encoder --test gpu -- --nocapture
//! ```

use std::path::{Path, PathBuf};

use pennyroute::{EncoderManifest, EncoderTokenizer, OnnxEncoder, TokenBatch};

/// A file of the encoder at `folder`.
fn reader(folder: &Path) -> impl Fn(&str) -> Option<Vec<u8>> {
    move |file| std::fs::read(folder.join(file)).ok()
}

fn folder(suffix: &str) -> PathBuf {
    let encoder = std::env::var("PENNYROUTE_ENCODER").unwrap_or_else(|_| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/train/out/encoder").to_string_lossy().into_owned()
    });
    format!("{encoder}{suffix}").into()
}

/// The encoder at a folder, or a line that says what is missing.
fn encoder(folder: &Path) -> Option<(EncoderTokenizer, OnnxEncoder)> {
    let Ok(json) = std::fs::read(folder.join("manifest.json")) else {
        assert!(std::env::var_os("PENNYROUTE_NO_SKIP").is_none(), "{} is missing", folder.display());
        println!("skipped: {} is missing (python models/train/encoder.py)", folder.display());
        return None;
    };
    let manifest = EncoderManifest::from_json(&json).unwrap();
    Some((manifest.tokenizer(reader(folder)).unwrap(), manifest.onnx(reader(folder)).unwrap()))
}

/// Rows of 384 numbers.
fn vectors(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
}

/// The least cosine of two lists of vectors.
fn least_cosine(a: &[f32], b: &[f32], dimensions: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let product =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let rows = a.chunks(dimensions).zip(b.chunks(dimensions));
    rows.map(|(a, b)| product(a, b) / (product(a, a) * product(b, b)).sqrt()).fold(1.0, f64::min)
}

/// The vectors of the reference's texts, ours and onnxruntime's by file.
fn parity(suffix: &str, references: &[(&str, f64)]) {
    let Some((tokenizer, encoder)) = encoder(&folder(suffix)) else { return };
    let reference = folder("-reference");
    let ids = std::fs::read(reference.join("ids.json")).unwrap();
    let expected_ids: Vec<Vec<u32>> = serde_json::from_slice(&ids).unwrap();
    let texts = std::fs::read_to_string(reference.join("texts.jsonl"));
    let texts: Vec<serde_json::Value> =
        texts.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let batch = tokenizer.batch(texts.iter().map(|line| line["text"].as_str().unwrap())).unwrap();
    assert_eq!(
        batch.iter().map(<[u32]>::to_vec).collect::<Vec<_>>(),
        expected_ids,
        "tokens are Hugging Face's"
    );

    let ours = encoder.vectors(&batch).unwrap();
    for &(file, least) in references {
        let cosine = least_cosine(&ours, &vectors(&reference.join(file)), 384);
        println!("encoder{suffix} against onnxruntime's {file}: cosine at least {cosine:.6}");
        assert!(cosine >= least, "encoder{suffix} against {file}: {cosine} is less than {least}");
    }
}

#[test]
fn eight_bits_are_those_of_onnxruntime_and_near_float32() {
    parity("", &[("int8.bin", 0.9999), ("float32.bin", 0.998)]);
}

#[test]
fn float32_is_that_of_onnxruntime() {
    parity("-float32", &[("float32.bin", 0.999_999)]);
}

#[test]
fn a_text_has_the_same_vector_in_any_company() {
    let Some((tokenizer, encoder)) = encoder(&folder("")) else { return };
    // Of 7 to 62 tokens, that share runs, and one that is longer than a run.
    let [middling, long] = [10, 40].map(|times| "A train leaves at noon. ".repeat(times));
    let others = [middling.as_str(), &long, &middling];
    let batch = tokenizer.batch(TEXTS.into_iter().chain(others).chain(TEXTS)).unwrap();
    let alone: Vec<f32> = batch.parts(1).flat_map(|text| encoder.vectors(&text).unwrap()).collect();
    assert_eq!(encoder.vectors(&batch).unwrap(), alone);
}

#[test]
fn what_the_encoder_cannot_read_is_refused() {
    let Some((_, encoder)) = encoder(&folder("")) else { return };
    let refused = |ids: Vec<u32>| {
        let end = ids.len() as u32;
        encoder.vectors(&TokenBatch::new(ids, vec![end]).unwrap()).unwrap_err().to_string()
    };
    assert_eq!(
        refused(vec![101, 99_999, 102]),
        "request field `ids`: text 0 has the id 99999, the encoder knows 30522 words"
    );
    assert_eq!(refused(vec![101; 600]), "request field `ids`: text 0 has 600 tokens, the encoder takes 512");
}

#[test]
fn what_is_no_encoder_is_refused() {
    let refused = OnnxEncoder::new(b"not an ONNX file").err().unwrap();
    assert_eq!(refused.code(), "bad_artifact");
    let json = br#"{"format":1,"version":"x","files":{"vocab":{"path":"v","sha256":"00","bytes":3}},"encoder":{"max_tokens":8}}"#;
    let manifest = EncoderManifest::from_json(json).unwrap();
    let missing = manifest.tokenizer(|_| None).err().unwrap();
    assert_eq!(missing.to_string(), "artifact `v`: is missing");
    let altered = manifest.tokenizer(|_| Some(b"abcd".to_vec())).err().unwrap();
    assert_eq!(altered.to_string(), "artifact `v`: has 4 bytes, the manifest says 3");
    let none = manifest.onnx(|_| None).err().unwrap();
    assert_eq!(none.to_string(), "artifact `manifest.json`: names no file for `onnx`");
}

const TEXTS: [&str; 3] = ["Hi, how are you?", "", "What is 12 × 7?"];

/// Runs `pennyroute embed` on three texts with more arguments, and gives its last line as JSON, and the vectors.
fn embed_command(encoder: &Path, more: &[&str], adapters: bool) -> (serde_json::Value, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let (queries, out) = (folder.path().join("queries.jsonl"), folder.path().join("vectors.npy"));
    let line = |(i, text): (usize, &&str)| {
        serde_json::json!({ "query_id": i.to_string(), "text": text }).to_string()
    };
    let lines: Vec<String> = TEXTS.iter().enumerate().map(line).collect();
    std::fs::write(&queries, lines.join("\n")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pennyroute"));
    command.arg("embed").arg("--queries").arg(&queries).arg("--encoder").arg(encoder).arg("--out").arg(&out);
    if !adapters {
        // Where a loader of Vulkan looks for drivers.
        command.env("VK_ICD_FILENAMES", "/nowhere").env("VK_DRIVER_FILES", "/nowhere");
    }
    let done = command.args(more).arg("--json").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = std::fs::read(&out).unwrap();
    let header = String::from_utf8_lossy(&bytes[..128]);
    assert!(header.contains("'descr': '<f4', 'fortran_order': False, 'shape': (3, 384)"), "{header}");
    let receipt = String::from_utf8(done.stdout).unwrap();
    let vectors = bytes[128..].as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
    (serde_json::from_str(receipt.trim().lines().last().unwrap()).unwrap(), vectors)
}

#[test]
fn the_command_writes_what_the_library_gives_and_says_why_not_on_the_gpu() {
    let folder = folder("");
    let Some((tokenizer, encoder)) = encoder(&folder) else { return };
    let batch = tokenizer.batch(TEXTS).unwrap();
    let expected = encoder.vectors(&batch).unwrap();
    let (receipt, vectors) = embed_command(&folder, &["--device", "cpu"], true);
    assert_eq!(vectors, expected);
    assert_eq!((receipt["path"].as_str(), receipt["queries"].as_u64()), (Some("cpu"), Some(3)));
    assert!(receipt["fallback"].is_null());
    #[cfg(target_os = "linux")]
    {
        let (receipt, vectors) = embed_command(&folder, &["--device", "gpu"], false);
        assert_eq!(
            (receipt["path"].as_str(), receipt["fallback"]["code"].as_str()),
            (Some("cpu"), Some("no_adapter"))
        );
        assert_eq!(vectors, expected);
    }
    let (receipt, vectors) = embed_command(&folder, &["--device", "gpu"], true);
    assert!(least_cosine(&vectors, &expected, 384) > 0.9995, "{receipt}");
    println!("asked for the GPU: {receipt}");
}
