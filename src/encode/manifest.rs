//! What an encoder is made of: the files that `models/train/encoder.py` writes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::artifact::{FileEntry, parse, supported, verify};
use crate::error::{Error, Result};

use super::{EncoderTokenizer, OnnxEncoder};

/// An encoder's manifest. Its files are large and not all of them are needed by everyone, so each is read, and
/// checked against the manifest, when it is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EncoderManifest {
    format: u32,
    version: String,
    files: BTreeMap<String, FileEntry>,
    encoder: Shape,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Shape {
    max_tokens: usize,
}

impl EncoderManifest {
    /// Reads `manifest.json`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let manifest: EncoderManifest = parse("manifest.json", json)?;
        supported("manifest.json", manifest.format)?;
        Ok(manifest)
    }

    /// The version of the encoder: vectors of different ones do not compare.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file for the CPU, through `read`, which gives `None` for a path that does not exist.
    pub fn onnx(&self, read: impl FnOnce(&str) -> Option<Vec<u8>>) -> Result<OnnxEncoder> {
        OnnxEncoder::new(&self.file("onnx", read)?)
    }

    /// The tensors for the GPU, which `GpuEncoder` reads.
    pub fn packed(&self, read: impl FnOnce(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>> {
        self.file("packed", read)
    }

    /// The tokenizer.
    pub fn tokenizer(&self, read: impl FnOnce(&str) -> Option<Vec<u8>>) -> Result<EncoderTokenizer> {
        let vocab = String::from_utf8(self.file("vocab", read)?).map_err(|e| Error::artifact("vocab", e))?;
        EncoderTokenizer::new(&vocab, self.encoder.max_tokens)
    }

    fn file(&self, role: &str, read: impl FnOnce(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>> {
        let entry = self.files.get(role);
        let entry =
            entry.ok_or_else(|| Error::artifact("manifest.json", format!("names no file for `{role}`")))?;
        let bytes = read(&entry.path).ok_or_else(|| Error::artifact(&entry.path, "is missing"))?;
        verify(entry, &bytes)?;
        Ok(bytes)
    }
}
