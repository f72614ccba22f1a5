//! `pennyroute embed`: the vectors of a file's texts, made on the CPU or the GPU.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pennyroute::eval::data::{Queries, QueryRow};
use pennyroute::eval::file::bad;
use pennyroute::{Encoder, EncoderManifest, Error, GpuEncoder, OnnxEncoder, Result, TokenBatch};
use pollster::block_on;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::setup::{encoder_manifest, progress};
use crate::show;

/// Texts that are embedded together.
const BATCH: usize = 512;

/// Texts that a thread of the CPU takes at a time, so that short ones share runs.
const PART: usize = 8;

/// Texts that each path is timed with first: not long on a GPU in software.
const FEW: usize = 8;

/// Seconds in which a GPU shows little of what it can do.
const AT_ONCE: f64 = 0.1;

#[derive(clap::Args)]
pub struct Args {
    /// Queries, jsonl or jsonl.gz: `query_id` and `text` or `messages`.
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Folder of the encoder, as `npm run encoder` or models/train/encoder.py makes it.
    #[arg(long, value_name = "DIR", env = "PENNYROUTE_ENCODER", default_value = "models/train/out/encoder")]
    encoder: PathBuf,
    /// Where the vectors go, one row per query in the order of the file: NumPy's .npy, float32.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What computes. `auto` times both and takes the faster one; a GPU that is missing or fails leaves it to the CPU.
    #[arg(long, value_name = "D", default_value = "auto")]
    device: Device,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Device {
    Auto,
    Cpu,
    Gpu,
}

/// Why the GPU that was asked for did not do it all.
#[derive(Serialize)]
struct Fallback {
    code: &'static str,
    reason: String,
}

/// Texts per second of each path, on the file's first texts.
#[derive(Serialize)]
struct Calibration {
    cpu_texts_per_s: f64,
    gpu_texts_per_s: f64,
}

pub fn run(args: &Args) -> Result<()> {
    if args.out.extension().is_none_or(|extension| extension != "npy") {
        return Err(bad(&args.out, 0, "is not named .npy, the one format that there is"));
    }
    let manifest = encoder_manifest(&args.encoder)?;
    let tokenizer = manifest.tokenizer(|file| read(&args.encoder, file))?;
    let mut paths = Paths::open(args, manifest)?;
    let mut queries = Queries::open(&args.queries)?;
    let dimensions = paths.dimensions()?;
    let mut out = Npy::create(&args.out, dimensions)?;
    let bar = progress("texts embedded", None);
    let (mut start, mut texts, mut tokens) = (Instant::now(), 0, 0);
    loop {
        let rows: Vec<QueryRow> = queries.by_ref().take(BATCH).collect::<Result<_>>()?;
        if rows.is_empty() {
            break;
        }
        let routed: Vec<String> = rows
            .iter()
            .map(|row| row.request().text().map_err(|e| bad(&args.queries, row.line, e)))
            .collect::<Result<_>>()?;
        let batch = tokenizer.batch(routed.iter().map(String::as_str))?;
        if texts == 0 && args.device == Device::Auto && paths.gpu.is_some() {
            paths.calibrate(&batch)?;
            start = Instant::now();
        }
        out.rows(&paths.embed(&batch)?)?;
        texts += batch.texts();
        tokens += batch.ids().len();
        bar.inc(rows.len() as u64);
    }
    out.finish(texts)?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let rate = texts as f64 / seconds;
    let gpu = paths.gpu.as_ref();
    if args.json {
        return show::json(&json!({
            "queries": texts, "tokens": tokens, "dimensions": dimensions, "seconds": seconds,
            "texts_per_s": rate, "encoder": paths.manifest.version(), "path": if gpu.is_some() { "gpu" } else { "cpu" },
            "adapter": gpu.map(GpuEncoder::adapter), "fallback": paths.fallback, "calibration": paths.calibration,
        }));
    }
    let place = gpu.map_or("the CPU".to_owned(), |gpu| format!("the GPU ({})", gpu.adapter()));
    let why = paths
        .fallback
        .map(|fallback| format!("; not all on the GPU: {}", fallback.reason))
        .unwrap_or_default();
    show::line(&format!("{texts} texts on {place}, {rate:.1} a second{why}"))
}

fn read(folder: &Path, file: &str) -> Option<Vec<u8>> {
    fs::read(folder.join(file)).ok()
}

/// The two ways to the same vectors. The CPU's is loaded when it is needed.
struct Paths<'a> {
    folder: &'a Path,
    manifest: EncoderManifest,
    cpu: Option<OnnxEncoder>,
    /// While it is there, it is what embeds.
    gpu: Option<GpuEncoder>,
    fallback: Option<Fallback>,
    calibration: Option<Calibration>,
}

impl<'a> Paths<'a> {
    fn open(args: &'a Args, manifest: EncoderManifest) -> Result<Self> {
        let folder = &args.encoder;
        let mut paths = Paths { folder, manifest, cpu: None, gpu: None, fallback: None, calibration: None };
        if args.device != Device::Cpu {
            let packed = paths.manifest.packed(|file| read(folder, file))?;
            match block_on(GpuEncoder::new(&packed)) {
                Ok(gpu) => paths.gpu = Some(gpu),
                Err(error) => paths.fall_back(error)?,
            }
        }
        Ok(paths)
    }

    fn dimensions(&mut self) -> Result<usize> {
        match &self.gpu {
            Some(gpu) => Ok(gpu.dimensions()),
            None => Ok(self.cpu()?.dimensions()),
        }
    }

    fn cpu(&mut self) -> Result<&OnnxEncoder> {
        let cpu = match self.cpu.take() {
            Some(cpu) => cpu,
            None => self.manifest.onnx(|file| read(self.folder, file))?,
        };
        Ok(self.cpu.insert(cpu))
    }

    /// Leaves the GPU to itself if it is the GPU that failed.
    fn fall_back(&mut self, error: Error) -> Result<()> {
        let Error::Gpu { code, what } = error else { return Err(error) };
        self.gpu = None;
        self.fallback = Some(Fallback { code, reason: what });
        Ok(())
    }

    /// Times both paths on a few texts, or where the GPU is through with those at once on the whole batch, and lets go of a
    /// GPU that is slower. A first text does not count.
    fn calibrate(&mut self, batch: &TokenBatch) -> Result<()> {
        let mut parts = batch.parts(1);
        let (Some(first), Some(few)) = (parts.next(), batch.parts(FEW).next()) else { return Ok(()) };
        self.embed(&first)?;
        self.on_cpu(&first)?;
        let mut timed = &few;
        let mut gpu = self.seconds_on_gpu(timed)?;
        if gpu.is_some_and(|seconds| seconds < AT_ONCE) {
            timed = batch;
            gpu = self.seconds_on_gpu(timed)?;
        }
        // A GPU that failed meanwhile is no choice.
        let Some(gpu) = gpu else { return Ok(()) };
        let start = Instant::now();
        self.on_cpu(timed)?;
        let cpu = start.elapsed().as_secs_f64();
        let texts = timed.texts() as f64;
        self.calibration = Some(Calibration { cpu_texts_per_s: texts / cpu, gpu_texts_per_s: texts / gpu });
        if cpu <= gpu {
            self.gpu = None;
        }
        Ok(())
    }

    /// What a batch takes on the GPU; nothing where that is not there or fails.
    fn seconds_on_gpu(&mut self, batch: &TokenBatch) -> Result<Option<f64>> {
        let start = Instant::now();
        self.embed(batch)?;
        Ok(self.gpu.as_ref().map(|_| start.elapsed().as_secs_f64()))
    }

    /// The vectors of a batch; what fails on the GPU is done on the CPU.
    fn embed(&mut self, batch: &TokenBatch) -> Result<Vec<f32>> {
        if let Some(gpu) = &self.gpu {
            match block_on(gpu.embed(batch)) {
                Ok(vectors) => return Ok(vectors),
                Err(error) => self.fall_back(error)?,
            }
        }
        self.on_cpu(batch)
    }

    /// Texts are spread over the threads, a few for each at a time.
    fn on_cpu(&mut self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let cpu = self.cpu()?;
        let each = batch.texts().div_ceil(rayon::current_num_threads()).clamp(1, PART);
        let parts: Vec<TokenBatch> = batch.parts(each).collect();
        Ok(parts.par_iter().map(|part| cpu.vectors(part)).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// A matrix of float32 in NumPy's format 1.0, whose number of rows is known at the end: until then it is a file beside the
/// one that is wanted.
struct Npy<'a> {
    path: &'a Path,
    partial: PathBuf,
    file: BufWriter<File>,
    dimensions: usize,
}

impl<'a> Npy<'a> {
    fn create(path: &'a Path, dimensions: usize) -> Result<Self> {
        let partial = path.with_extension("npy.partial");
        let file = File::create(&partial).map_err(|e| unwritable(path, e))?;
        let mut npy = Npy { path, partial, file: BufWriter::new(file), dimensions };
        npy.header(0)?;
        Ok(npy)
    }

    /// 128 bytes, whatever the number of rows.
    fn header(&mut self, rows: usize) -> Result<()> {
        let shape =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {}), }}", self.dimensions);
        self.write(&[&b"\x93NUMPY\x01\x00\x76\x00"[..], format!("{shape:<117}\n").as_bytes()].concat())
    }

    fn rows(&mut self, vectors: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.write(&bytes)
    }

    fn finish(mut self, rows: usize) -> Result<()> {
        self.file.rewind().map_err(|e| unwritable(self.path, e))?;
        self.header(rows)?;
        self.file
            .flush()
            .and_then(|()| fs::rename(&self.partial, self.path))
            .map_err(|e| unwritable(self.path, e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| unwritable(self.path, e))
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    bad(path, 0, format!("cannot be written: {error}"))
}
