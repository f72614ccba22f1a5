//! The encoder on the CPU: `encoder.onnx` of `models/train/encoder.py`, one text at a time.
//!
//! Texts are not padded and do not wait for each other; a batch costs what its texts do.

use crate::error::{Error, Result};
use crate::onnx::{Input, Network};

use super::{Encoder, TokenBatch};

/// An ONNX file from token ids to a vector, run by tract.
pub struct OnnxEncoder {
    network: Network,
    words: usize,
    positions: usize,
    dimensions: usize,
}

impl OnnxEncoder {
    /// Loads the file, and runs it once to see what it gives.
    pub fn new(file: &[u8]) -> Result<Self> {
        let network = Network::new("encoder.onnx", file)?;
        let words = network.rows("embeddings.word_embeddings.weight")?;
        let positions = network.rows("embeddings.position_embeddings.weight")?;
        let mut encoder = OnnxEncoder { network, words, positions, dimensions: 0 };
        // [PAD], which every vocabulary of BERT's has.
        encoder.dimensions = encoder.vector(&[0])?.len();
        Ok(encoder)
    }

    /// The vectors of a batch, `[texts × dimensions]`, in its order; an id or a length that the encoder does not know is
    /// an error.
    pub fn vectors(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        batch.check(self.words, self.positions)?;
        let mut vectors = Vec::with_capacity(batch.texts() * self.dimensions);
        for (text, ids) in batch.iter().enumerate() {
            let failed = |error| match error {
                Error::Artifact { file, what } => {
                    Error::artifact(file, format!("text {text} of a batch: {what}"))
                }
                other => other,
            };
            vectors.extend(self.vector(ids).map_err(failed)?);
        }
        Ok(vectors)
    }

    fn vector(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let [vector] = self.network.run(&[Input::Ids(&ids)])?;
        Ok(vector)
    }
}

impl Encoder for OnnxEncoder {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        self.vectors(batch)
    }
}
