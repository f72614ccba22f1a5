//! What every command needs: the artifacts, the moment, a catalog, a router, a progress bar.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use pennyroute::eval::data::QueryRow;
use pennyroute::eval::file::{self, bad};
use pennyroute::{
    Artifacts, Catalog, EncoderManifest, EncoderTokenizer, Error, Moment, OnnxEncoder, Parameters, Result,
    Router,
};
use sha2::{Digest, Sha256};

/// Options that every command takes.
#[derive(clap::Args)]
pub struct Globals {
    /// Folder of the trained artifacts (with manifest.json). Default: the one in the variable
    /// `PENNYROUTE_ARTIFACTS`, else ./models, else `models` beside the program or in the checkout that it
    /// was built in.
    #[arg(long, global = true, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// The moment for dated prices and retirements. Default: now.
    #[arg(long, global = true, value_name = "RFC3339")]
    at: Option<String>,
    /// Threads to compute with. Default: one per core.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// What a router is made of besides the artifacts.
#[derive(clap::Args)]
pub struct RouterArgs {
    /// Catalog of models. Default: the one among the artifacts.
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Retrieval index, as written by `index`. Default: the one among the artifacts, if any.
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    #[command(flatten)]
    pub encoder: EncoderArgs,
}

/// Where the vectors come from that artifacts trained with a sentence encoder take.
#[derive(clap::Args)]
pub struct EncoderArgs {
    /// Folder of the sentence encoder (with manifest.json), which embeds the texts that bring no `embedding`; for
    /// artifacts that were trained with one.
    #[arg(long = "encoder", value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Embeds texts that have no vector yet.
pub struct Embedder {
    tokenizer: EncoderTokenizer,
    encoder: OnnxEncoder,
}

impl EncoderArgs {
    /// The encoder that was named, if it is the one that the artifacts were trained with.
    pub fn embedder(&self, parameters: &Parameters) -> Result<Option<Embedder>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let (path, manifest) = (folder.join("manifest.json"), encoder_manifest(folder)?);
        match &parameters.encoder {
            None => {
                return Err(bad(
                    &path,
                    0,
                    "is an encoder, but the artifacts take no vectors: drop --encoder",
                ));
            }
            Some(wanted) if wanted.version != manifest.version() => {
                let what = format!("is `{}`, the artifacts need `{}`", manifest.version(), wanted.version);
                return Err(bad(&path, 0, what));
            }
            Some(_) => {}
        }
        let read = |name: &str| fs::read(folder.join(name)).ok();
        Ok(Some(Embedder { tokenizer: manifest.tokenizer(read)?, encoder: manifest.onnx(read)? }))
    }
}

/// The manifest in an encoder's folder.
pub fn encoder_manifest(folder: &Path) -> Result<EncoderManifest> {
    let path = folder.join("manifest.json");
    let missing =
        |e| bad(&path, 0, format!("cannot be read: {e} (npm run encoder makes it, --encoder names it)"));
    EncoderManifest::from_json(&fs::read(&path).map_err(missing)?).map_err(|e| bad(&path, 0, e))
}

impl Embedder {
    /// The vector of a text.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>> {
        self.encoder.vectors(&self.tokenizer.batch([text])?)
    }

    /// Gives a query its vector, unless it brought one.
    pub fn complete(&self, query: &mut QueryRow) -> Result<()> {
        if query.embedding.is_none() {
            query.embedding = Some(self.embed(&query.text())?);
        }
        Ok(())
    }
}

impl Globals {
    /// Sets the number of threads for the whole program.
    pub fn threads(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().map_err(|e| Error::Internal { what: e.to_string() })
    }

    /// The moment that prices are taken at.
    pub fn now(&self) -> Result<Moment> {
        match &self.at {
            Some(at) => Moment::parse(at),
            None => Moment::from_unix_ms(since_1970().as_secs_f64() * 1e3),
        }
    }

    /// The trained artifacts, checked.
    pub fn artifacts(&self) -> Result<Artifacts> {
        let folder = self.folder();
        let manifest = folder.join("manifest.json");
        let content = fs::read(&manifest).map_err(|e| {
            bad(
                &manifest,
                0,
                format!("cannot be read: {e} (--artifacts names the folder of the trained artifacts)"),
            )
        })?;
        Artifacts::open(&content, |path| fs::read(folder.join(path)).ok())
    }

    fn folder(&self) -> PathBuf {
        if let Some(named) =
            self.artifacts.clone().or_else(|| std::env::var_os("PENNYROUTE_ARTIFACTS").map(PathBuf::from))
        {
            return named;
        }
        let here = PathBuf::from("models");
        let program = std::env::current_exe().unwrap_or_default();
        let beside = program.ancestors().nth(1);
        // target/debug/pennyroute in a checkout.
        let checkout = program.ancestors().nth(3).filter(|folder| folder.join("Cargo.toml").is_file());
        let others = beside.into_iter().chain(checkout).map(|folder| folder.join("models"));
        let complete = |folder: &PathBuf| folder.join("manifest.json").is_file();
        std::iter::once(here.clone()).chain(others).find(complete).unwrap_or(here)
    }

    /// A router over the artifacts and what was named instead of theirs.
    pub fn router(&self, args: &RouterArgs) -> Result<Router> {
        let artifacts = self.artifacts()?;
        let catalog = args.catalog.as_deref().map(catalog).transpose()?;
        let mut router = match (Router::new(artifacts, catalog), &args.catalog) {
            (Err(error @ Error::Catalog { .. }), Some(path)) => return Err(bad(path, 0, error)),
            (made, _) => made?,
        };
        if let Some(path) = &args.index {
            let bytes = file::read(path)?;
            let digest = Sha256::digest(&bytes);
            let version: Vec<String> = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            router.set_index(&bytes, version.concat()).map_err(|e| bad(path, 0, e))?;
        }
        Ok(router)
    }
}

/// Time since 1970-01-01T00:00:00Z.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Reads a catalog; errors name its file and, where JSON itself is broken, the line.
pub fn catalog(path: &Path) -> Result<Catalog> {
    let content = file::read(path)?;
    Catalog::from_json(&content).map_err(|error| {
        let text = error.to_string();
        let line = text.rsplit_once(" at line ").and_then(|(_, at)| at.split(' ').next()?.parse().ok());
        bad(path, line.unwrap_or(0), text)
    })
}

/// Writes a catalog.
pub fn write_catalog(path: &Path, catalog: &Catalog) -> Result<()> {
    let text = serde_json::to_string_pretty(catalog).map_err(|e| Error::Internal { what: e.to_string() })?;
    file::write(path, (text + "\n").as_bytes())
}

/// A progress bar on stderr; invisible where that is no terminal.
pub fn progress(what: &'static str, length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if length.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} {eta}"
    } else {
        "{spinner} {msg} {human_pos} ({per_sec})"
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}
