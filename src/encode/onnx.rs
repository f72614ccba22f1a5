//! The encoder on the CPU: `encoder.onnx` of `models/train/encoder.py`.
//!
//! Texts are not padded; short ones share a run of the network, which costs as much by itself as a few tokens.

use crate::error::{Error, Result};
use crate::onnx::{Input, Network};

use super::{Encoder, TokenBatch};

/// What the file is called in errors.
const FILE: &str = "encoder.onnx";

/// Tokens up to which texts share a run: enough that its own costs hardly count, few enough that activations stay in the
/// caches.
const RUN: usize = 128;

/// An ONNX file from the tokens of texts to their vectors, run by tract.
pub struct OnnxEncoder {
    network: Network,
    words: usize,
    positions: usize,
    dimensions: usize,
}

impl OnnxEncoder {
    /// Loads the file, and runs it once to see what it gives.
    pub fn new(file: &[u8]) -> Result<Self> {
        let network = Network::new(FILE, file)?;
        let words = network.rows("embeddings.word_embeddings.weight")?;
        let positions = network.rows("embeddings.position_embeddings.weight")?;
        if words.min(positions) == 0 {
            return Err(Error::artifact(FILE, "has an empty table"));
        }
        let mut encoder = OnnxEncoder { network, words, positions, dimensions: 0 };
        // [PAD], which every vocabulary of BERT's has.
        encoder.dimensions = encoder.run(&TokenBatch::new(vec![0], vec![1])?)?.len();
        Ok(encoder)
    }

    /// The vectors of a batch, `[texts × dimensions]`, in its order; an id or a length that the encoder does not know is
    /// an error.
    pub fn vectors(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        batch.check(self.words, self.positions)?;
        let mut vectors = Vec::with_capacity(batch.texts() * self.dimensions);
        for run in batch.runs(RUN) {
            let rows = self.run(&run)?;
            if rows.len() != run.texts() * self.dimensions {
                let what = format!("gives {} numbers for {} texts", rows.len(), run.texts());
                return Err(Error::artifact(FILE, what));
            }
            vectors.extend(rows);
        }
        Ok(vectors)
    }

    fn run(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let [ids, ends] =
            [batch.ids(), batch.ends()].map(|list| list.iter().map(|&i| i64::from(i)).collect::<Vec<_>>());
        let positions: Vec<i64> = batch.iter().flat_map(|ids| 0..ids.len() as i64).collect();
        let [vectors] = self.network.run(&[Input::Ids(&ids), Input::Ids(&positions), Input::Ids(&ends)])?;
        Ok(vectors)
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
