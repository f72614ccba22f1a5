//! From token ids to vectors: what every encoder takes and gives, wherever it computes.

#[cfg(feature = "router")]
mod manifest;
#[cfg(feature = "router")]
mod onnx;
#[cfg(feature = "router")]
mod tokens;

#[cfg(feature = "router")]
pub use manifest::EncoderManifest;
#[cfg(feature = "router")]
pub use onnx::OnnxEncoder;
#[cfg(feature = "router")]
pub use tokens::EncoderTokenizer;

use crate::error::{Error, Result};

/// Token ids of several texts, one after another.
///
/// Texts differ in length and nothing is padded; every text has at least one token (an empty one is
/// `[CLS] [SEP]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    /// `ends[i]` is where text `i` ends in `ids`: strictly ascending, the last one `ids.len()`.
    ends: Vec<u32>,
}

impl TokenBatch {
    /// A batch of the texts `ids[..ends[0]]`, `ids[ends[0]..ends[1]]`, …; without `ends` it is empty.
    pub fn new(ids: Vec<u32>, ends: Vec<u32>) -> Result<Self> {
        let mut start = 0;
        for (text, &end) in ends.iter().enumerate() {
            if end <= start || end as usize > ids.len() {
                let what =
                    format!("{end}: a text that starts at {start} ends after that, at most at {}", ids.len());
                return Err(Error::request(format!("ends[{text}]"), what));
            }
            start = end;
        }
        if start as usize != ids.len() {
            return Err(Error::request("ends", format!("the last text ends at {start} of {}", ids.len())));
        }
        Ok(TokenBatch { ids, ends })
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.ends.len()
    }

    /// The ids of all texts, one after another.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each text ends in [`ids`](Self::ids).
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The ids of each text.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.ids[start as usize..end as usize])
    }
}

/// Turns token ids into one vector of unit length per text.
#[allow(
    async_fn_in_trait,
    reason = "encoders live on the thread that made them: a GPU's handles do in browsers"
)]
pub trait Encoder {
    /// The length of a vector.
    fn dimensions(&self) -> usize;

    /// The vectors of a batch, `[texts × dimensions]`, in its order.
    async fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_its_texts() {
        let batch = TokenBatch::new(vec![101, 7, 102, 101, 102], vec![3, 5]).unwrap();
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&[101, 7, 102][..], &[101, 102]]);
        assert_eq!(TokenBatch::new(vec![], vec![]).unwrap().texts(), 0);
    }

    #[test]
    fn ends_that_do_not_ascend_to_the_last_id_are_refused() {
        for ends in [vec![], vec![2], vec![4], vec![3, 3], vec![2, 1, 3], vec![0, 3]] {
            let error = TokenBatch::new(vec![1, 2, 3], ends.clone()).unwrap_err();
            assert_eq!(error.code(), "bad_request", "{ends:?}");
        }
    }
}
