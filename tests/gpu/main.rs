//! The encoder on the GPU: kernels against a forward pass written down plainly, the real encoder against
//! onnxruntime, and everything that can go wrong. Any adapter will do, such as Mesa's lavapipe.

mod synthetic;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pennyroute::{Caps, Encoder, Error, GpuEncoder, Precision, Result, TokenBatch};
use pollster::block_on;
use synthetic::{Bert, Sizes, noise};

/// Says that a test cannot run here, which is a failure where nothing may be skipped.
fn skip(why: &str) {
    assert!(std::env::var_os("PENNYROUTE_NO_SKIP").is_none_or(|v| v != "1"), "must not be skipped: {why}");
    eprintln!("SKIP: {why}: THE ENCODER ON THE GPU IS NOT TESTED");
}

/// An encoder, or none where there is no adapter.
fn open(file: &[u8], caps: &Caps) -> Option<GpuEncoder> {
    match block_on(GpuEncoder::with_caps(file, caps)) {
        Err(Error::Gpu { code: "no_adapter", .. }) => {
            skip("there is no GPU adapter (Debian's mesa-vulkan-drivers has a software one)");
            None
        }
        opened => Some(opened.expect("the encoder opens")),
    }
}

fn f32_only() -> Caps {
    Caps { f16: false, ..Caps::default() }
}

fn small(int8: bool) -> Bert {
    Bert::new(Sizes { layers: 2, heads: 3, inner: 160, words: 50, positions: 80 }, int8, 7)
}

fn texts(lengths: &[usize], words: u32, seed: u64) -> Vec<Vec<u32>> {
    let mut next = noise(seed);
    let mut id = || ((next().abs() * words as f32) as u32).min(words - 1);
    lengths.iter().map(|&n| (0..n).map(|_| id()).collect()).collect()
}

fn batch(texts: &[Vec<u32>]) -> TokenBatch {
    let ends = texts.iter().scan(0, |end, text| {
        *end += text.len() as u32;
        Some(*end)
    });
    TokenBatch::new(texts.concat(), ends.collect()).expect("a good batch")
}

fn embed(encoder: &GpuEncoder, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let all = block_on(encoder.embed(&batch(texts))).expect("embeds");
    assert_eq!(all.len(), texts.len() * encoder.dimensions());
    all.chunks(encoder.dimensions()).map(<[f32]>::to_vec).collect()
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    let length = |x: f64, y: f64| (x * y).sqrt();
    let squares = a.iter().map(|a| f64::from(*a).powi(2)).sum();
    dot / length(squares, b.iter().map(|b| b * b).sum())
}

fn widened(vector: &[f32]) -> Vec<f64> {
    vector.iter().copied().map(f64::from).collect()
}

/// Lengths around every boundary of the kernels: quads of keys, tiles of 16 keys, blocks of 32 queries.
const LENGTHS: [usize; 15] = [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 48, 63, 65, 80];

#[test]
fn kernels_agree_with_a_plain_forward_pass() {
    for int8 in [false, true] {
        let bert = small(int8);
        let texts = texts(&LENGTHS, 50, 1);
        for caps in [f32_only(), Caps::default()] {
            let Some(encoder) = open(&bert.file(), &caps) else { return };
            let (least, most_off) = if caps.f16 { (0.9995, 5e-3) } else { (0.999_999_9, 2e-5) };
            for (text, ours) in texts.iter().zip(embed(&encoder, &texts)) {
                let plain = bert.embed(text);
                let off = ours.iter().zip(&plain).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                let (n, cosine) = (text.len(), cosine(&ours, &plain));
                assert!(
                    cosine >= least && off < most_off,
                    "int8 {int8}, {caps:?}, {n} tokens: {cosine}, {off}"
                );
            }
        }
    }
}

#[test]
fn large_tiles_agree_with_a_plain_forward_pass() {
    // Wide enough for tiles of 128, with enough rows for them, the last tile not full.
    let bert = Bert::new(Sizes { layers: 1, heads: 4, inner: 256, words: 300, positions: 300 }, true, 9);
    let texts = texts(&[vec![250; 24], vec![1, 300, 13]].concat(), 300, 2);
    assert!(texts.concat().len() > 33 * 128, "enough rows for large tiles");
    for caps in [f32_only(), Caps::default()] {
        let Some(encoder) = open(&bert.file(), &caps) else { return };
        let ours = embed(&encoder, &texts);
        for i in [0, 11, 23, 24, 25, 26] {
            let cosine = cosine(&ours[i], &bert.embed(&texts[i]));
            assert!(cosine >= if caps.f16 { 0.9995 } else { 0.999_999 }, "text {i}: {cosine}");
        }
    }
}

#[test]
fn a_batch_gives_what_its_texts_give_alone_and_cut_into_chunks() {
    let file = small(true).file();
    let texts = texts(&LENGTHS, 50, 3);
    let Some(encoder) = open(&file, &f32_only()) else { return };
    let together = embed(&encoder, &texts);
    for (text, together) in texts.iter().zip(&together) {
        let alone = embed(&encoder, std::slice::from_ref(text));
        assert!(cosine(&alone[0], &widened(together)) > 0.999_999_9);
    }
    // The largest dispatch bounds a chunk: 80 tokens here.
    let Some(chunked) = open(&file, &Caps { workgroups: 80, ..f32_only() }) else { return };
    for (a, b) in embed(&chunked, &texts).iter().zip(&together) {
        assert!(cosine(a, &widened(b)) > 0.999_999_9);
    }
}

#[test]
fn vectors_have_unit_length_and_an_empty_batch_none() {
    let Some(encoder) = open(&small(false).file(), &Caps::default()) else { return };
    for vector in embed(&encoder, &texts(&[1, 40], 50, 4)) {
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert!(embed(&encoder, &[]).is_empty());
    assert_eq!(encoder.dimensions(), 96);
}

#[test]
fn more_texts_than_are_read_back_at_once() {
    let Some(encoder) = open(&small(true).file(), &f32_only()) else { return };
    let texts = texts(&vec![1; 8200], 50, 5);
    let ours = embed(&encoder, &texts);
    for i in [0, 8191, 8192, 8199] {
        assert_eq!(ours[i], embed(&encoder, &texts[i..=i])[0], "text {i}");
    }
}

#[test]
fn what_no_encoder_can_take_is_refused() {
    let Some(encoder) = open(&small(true).file(), &Caps::default()) else { return };
    let refused = |text: Vec<u32>| block_on(encoder.embed(&batch(&[vec![1], text]))).unwrap_err();
    assert_eq!(
        refused(vec![3; 81]).to_string(),
        "request field `ids`: text 1 has 81 tokens, the encoder takes 80"
    );
    assert_eq!(
        refused(vec![7, 50]).to_string(),
        "request field `ids`: text 1 has the id 50, the encoder knows 50 words"
    );
}

#[test]
fn bad_files_are_named_for_what_is_wrong() {
    let good = small(true).file();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    // Same length, so that the offsets stay.
    let altered = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let text = String::from_utf8(good[..header].to_vec().split_off(8)).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        [&good[..8], text.replacen(from, to, 1).as_bytes(), &good[header..]].concat()
    };
    let query = "encoder.layer.1.attention.self.query.weight";
    let mut nan = small(true);
    let cases = [
        (Vec::new(), "header too small"),
        (good[..good.len() - 1].to_vec(), ""),
        ([&good[..], b"more"].concat(), ""),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}".to_vec(), "header too large"),
        (altered("\"layers\":\"2\"", "\"layers\":\"3\""), "has no tensor `encoder.layer.2."),
        (altered("\"layers\":\"2\"", "\"layers\":\"x\""), "metadata `layers`: x is not"),
        (altered("\"heads\":\"3\"", "\"heads\":\"2\""), "2 heads in 96 dimensions"),
        (altered("\"heads\"", "\"hands\""), "metadata has no field `heads`"),
        (altered("\"epsilon\":\"1e-12\"", "\"epsilon\":\"-1e+1\""), "metadata `epsilon`: -1e+1"),
        (altered("\"int8\"", "\"int4\""), "metadata `precision`: int4 is neither"),
        (altered("\"__metadata__\"", "\"__metadatas_\""), ""),
        (
            altered("embeddings.word_embeddings.weight\"", "embeddings.ward_embeddings.weight\""),
            "has no tensor",
        ),
        (altered(&format!("{query}.scale"), &format!("{query}.sc@le")), "query.weight.scale`"),
        (
            altered(&format!("{query}\":{{\"dtype\":\"I8\""), &format!("{query}\":{{\"dtype\":\"U8\"")),
            "must be I8",
        ),
        (
            nan.with("encoder.layer.0.output.LayerNorm.bias", f32::NAN).file(),
            "LayerNorm.bias`: number 0 is NaN",
        ),
    ];
    for (file, what) in cases {
        match block_on(GpuEncoder::new(&file)).err() {
            Some(Error::Gpu { code: "no_adapter", .. }) => return skip("there is no GPU adapter"),
            Some(error @ Error::Artifact { .. }) => {
                assert!(error.to_string().contains(what), "{error} instead of {what}");
            }
            other => panic!("{other:?} instead of {what}"),
        }
    }
}

#[test]
fn an_adapter_that_is_too_small_says_so() {
    let file = small(true).file();
    let cases = [
        Caps { buffer_bytes: 4000, ..Caps::default() },
        Caps { buffer_bytes: 20_000, ..Caps::default() },
        Caps { workgroup_bytes: 4096, ..Caps::default() },
        Caps { workgroup_size: 64, ..Caps::default() },
        Caps { workgroups: 79, ..Caps::default() },
    ];
    for caps in cases {
        match block_on(GpuEncoder::with_caps(&file, &caps)).err() {
            Some(Error::Gpu { code: "no_adapter", .. }) => return skip("there is no GPU adapter"),
            Some(error) => assert_eq!(error.code(), "gpu_limits", "{caps:?}: {error}"),
            None => panic!("{caps:?} was enough"),
        }
    }
}

#[test]
fn the_least_adapter_that_is_enough_computes_the_same() {
    let bert = small(true);
    let texts = texts(&LENGTHS, 50, 6);
    // No large tiles, and chunks of few tokens.
    let caps = Caps { workgroup_size: 128, workgroup_bytes: 8192, buffer_bytes: 160 * 400 * 4, ..f32_only() };
    let Some(encoder) = open(&bert.file(), &caps) else { return };
    for (text, ours) in texts.iter().zip(embed(&encoder, &texts)) {
        assert!(cosine(&ours, &bert.embed(text)) > 0.999_999_9);
    }
}

/// The address space of a process is cut off just above what it has, and with it a software adapter's memory.
/// Only in a process of its own, which this test starts.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_runs_out_is_an_error() {
    use std::process::{Command, id};
    const CHILD: &str = "PENNYROUTE_TEST_OUT_OF_MEMORY";
    let name = "memory_that_runs_out_is_an_error";
    if std::env::var_os(CHILD).is_none() {
        let this = std::env::current_exe().expect("the path of this program");
        let child = Command::new(this).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let child = child.expect("starts");
        let said = String::from_utf8_lossy(&child.stderr);
        eprint!("{said}");
        assert!(child.status.success(), "{said}");
        return;
    }
    let Some(encoder) = open(&small(true).file(), &f32_only()) else { return };
    if !encoder.adapter().contains("llvmpipe") {
        eprintln!("this adapter has memory of its own, which this test cannot take away");
        return;
    }
    let few = texts(&[20, 3], 50, 10);
    let before = embed(&encoder, &few);
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = pages.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of pages");
    let limit = format!("--as={}", pages * 4096 + (24 << 20));
    let limited = Command::new("prlimit").args(["--pid", &id().to_string(), &limit]).status();
    if !limited.is_ok_and(|status| status.success()) {
        return skip("there is no prlimit");
    }
    let error = block_on(encoder.embed(&batch(&texts(&[80; 400], 50, 11)))).unwrap_err();
    assert_eq!(error.code(), "gpu_out_of_memory", "{error}");
    assert_eq!(embed(&encoder, &few), before, "small batches still fit");
}

#[test]
fn a_lost_device_is_told_at_once_and_ever_after() {
    let Some(encoder) = open(&small(true).file(), &Caps::default()) else { return };
    let texts = texts(&[40; 4], 50, 7);
    embed(&encoder, &texts);
    encoder.destroy_device();
    for _ in 0..2 {
        let error = block_on(encoder.embed(&batch(&texts))).unwrap_err();
        assert_eq!(error.code(), "device_lost", "{error}");
    }
}

#[test]
fn a_device_lost_in_the_middle_of_a_batch_ends_it() {
    for count in [2_000, 20_000, 200_000] {
        let Some(encoder) = open(&small(true).file(), &Caps::default()) else { return };
        let many = batch(&texts(&vec![80; count], 50, 8));
        let ended = std::thread::scope(|scope| {
            let embedding = scope.spawn(|| block_on(encoder.embed(&many)));
            std::thread::sleep(Duration::from_millis(100));
            encoder.destroy_device();
            embedding.join().expect("no panic")
        });
        // A fast adapter has embedded them all before: it gets more.
        if let Err(error) = ended {
            assert_eq!(error.code(), "device_lost");
            return;
        }
    }
    panic!("no batch takes a tenth of a second");
}

#[test]
fn calls_at_the_same_time_do_not_mix() {
    let Some(encoder) = open(&small(true).file(), &f32_only()) else { return };
    let batches: Vec<_> = (0..6).map(|seed| texts(&[3, 70, 20 + seed], 50, seed as u64)).collect();
    let alone: Vec<_> = batches.iter().map(|texts| embed(&encoder, texts)).collect();
    std::thread::scope(|scope| {
        for (texts, alone) in batches.iter().zip(&alone) {
            let encoder = &encoder;
            scope.spawn(move || (0..5).for_each(|_| assert_eq!(&embed(encoder, texts), alone)));
        }
    });
}

/// `npm run bench -- encode-soak` does it with the real encoder, for longer.
#[cfg(target_os = "linux")]
#[test]
fn a_long_run_does_not_grow() {
    let Some(encoder) = open(&small(true).file(), &Caps::default()) else { return };
    let text = texts(&[7], 50, 12);
    // Kilobytes of this process that are not files.
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        let line = status.lines().find(|line| line.starts_with("RssAnon")).expect("RssAnon");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<i64>().ok()).expect("kilobytes")
    };
    let run = |batches: u32| (0..batches).for_each(|_| drop(embed(&encoder, &text)));
    run(200);
    let before = memory();
    run(2_000);
    let grown = memory() - before;
    eprintln!("2,000 batches of one short text: {grown} kB more");
    // Other tests of this program run at the same time.
    assert!(grown < 100_000, "{grown} kB");
}

/// The real encoder and its reference: made by `models/train/encoder.py`.
struct Real {
    texts: Vec<Vec<u32>>,
    folder: PathBuf,
}

impl Real {
    fn find() -> Option<Self> {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/train/out");
        let folder = std::env::var_os("PENNYROUTE_ENCODER").map_or(out.join("encoder"), PathBuf::from);
        let mut real = Real { texts: Vec::new(), folder };
        let ids = real.read("-reference", "ids.json");
        let (Ok(ids), true) = (ids, real.folder.join("encoder.safetensors").exists()) else {
            skip("there is no encoder in models/train/out: make it by models/train/encoder.py");
            return None;
        };
        real.texts = serde_json::from_slice(&ids).expect("ids.json lists texts' ids");
        Some(real)
    }

    /// A file of the folder that is named like the encoder's, with more at its end.
    fn read(&self, suffix: &str, file: &str) -> std::io::Result<Vec<u8>> {
        let mut folder = self.folder.clone().into_os_string();
        folder.push(suffix);
        std::fs::read(Path::new(&folder).join(file))
    }

    fn packed(&self, suffix: &str) -> Vec<u8> {
        self.read(suffix, "encoder.safetensors").expect("the encoder's packed file")
    }

    /// onnxruntime's embeddings.
    fn reference(&self, name: &str) -> Vec<Vec<f64>> {
        let bytes = self.read("-reference", name).expect(name);
        let numbers = bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
        numbers.collect::<Vec<_>>().chunks(384).map(<[f64]>::to_vec).collect()
    }

    /// The least cosine over all texts, embedded as one batch; the reference has `step` times as many.
    fn least_cosine(&self, encoder: &GpuEncoder, reference: &str, step: usize) -> f64 {
        let started = Instant::now();
        let ours = embed(encoder, &self.texts);
        let seconds = started.elapsed().as_secs_f64();
        let reference_of_each = self.reference(reference).into_iter().step_by(step);
        let cosines = ours.iter().zip(reference_of_each).map(|(ours, theirs)| cosine(ours, &theirs));
        let least = cosines.fold(1.0, f64::min);
        eprintln!(
            "{} on {}: least cosine to {reference} {least:.7}; {:.1} texts/s",
            encoder.precision().name(),
            encoder.adapter(),
            self.texts.len() as f64 / seconds
        );
        least
    }
}

#[test]
fn the_real_encoder_agrees_with_onnxruntime() {
    let Some(real) = Real::find() else { return };
    // A software adapter takes its time: every text in f16 and int8 once, every fifth in the other two.
    let some = Real { texts: real.texts.iter().step_by(5).cloned().collect(), folder: real.folder.clone() };
    for (texts, step, float32, caps) in [
        (&real, 1, true, Caps::default()),
        (&real, 1, false, f32_only()),
        (&some, 5, true, f32_only()),
        (&some, 5, false, Caps::default()),
    ] {
        // int8 against the same int8 weights; what rounding them costs is in the manifest.
        let (suffix, reference, least) =
            if float32 { ("-float32", "float32.bin", 0.9995) } else { ("", "int8.bin", 0.998) };
        let Some(encoder) = open(&real.packed(suffix), &caps) else { return };
        assert_eq!(encoder.precision() == Precision::Int8, !float32);
        let cosine = texts.least_cosine(&encoder, reference, step);
        assert!(cosine >= least, "{cosine}");
    }
}

#[test]
fn results_do_not_depend_on_the_future_being_kept() -> Result<()> {
    let Some(encoder) = open(&small(true).file(), &f32_only()) else { return Ok(()) };
    let texts = texts(&[30, 2], 50, 9);
    let expected = embed(&encoder, &texts);
    drop(encoder.embed(&batch(&texts)));
    assert_eq!(block_on(encoder.embed(&batch(&texts)))?, expected.concat());
    Ok(())
}
