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

use std::ops::Range;

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

    /// Refuses texts that an encoder of so many words and positions cannot read.
    pub(crate) fn check(&self, words: usize, positions: usize) -> Result<()> {
        for (text, ids) in self.iter().enumerate() {
            if ids.len() > positions {
                let what = format!("text {text} has {} tokens, the encoder takes {positions}", ids.len());
                return Err(Error::request("ids", what));
            }
            if let Some(id) = ids.iter().find(|&&id| id as usize >= words) {
                let what = format!("text {text} has the id {id}, the encoder knows {words} words");
                return Err(Error::request("ids", what));
            }
        }
        Ok(())
    }

    /// The batch in parts of at most so many tokens, or of one text that has more.
    #[cfg(feature = "router")]
    pub(crate) fn runs(&self, tokens: usize) -> impl Iterator<Item = TokenBatch> {
        let mut first = 0;
        std::iter::from_fn(move || {
            let start = self.start(first);
            let fitting =
                self.ends[first..].iter().take_while(|&end| (end - start) as usize <= tokens).count();
            let texts = first..self.texts().min(first + fitting.max(1));
            first = texts.end;
            (!texts.is_empty()).then(|| self.part(texts))
        })
    }

    /// The batch in parts of at most so many texts.
    ///
    /// # Panics
    ///
    /// If `texts` is 0.
    pub fn parts(&self, texts: usize) -> impl Iterator<Item = TokenBatch> {
        let starts = (0..self.texts()).step_by(texts);
        starts.map(move |first| self.part(first..self.texts().min(first + texts)))
    }

    /// Some of the texts.
    fn part(&self, texts: Range<usize>) -> TokenBatch {
        let (start, end) = (self.start(texts.start), self.start(texts.end));
        let ends = self.ends[texts].iter().map(|end| end - start).collect();
        TokenBatch { ids: self.ids[start as usize..end as usize].to_vec(), ends }
    }

    /// Where a text starts in [`ids`](Self::ids): where the one before it ends.
    fn start(&self, text: usize) -> u32 {
        text.checked_sub(1).map_or(0, |before| self.ends[before])
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
    fn parts_hold_the_same_texts() {
        let batch = TokenBatch::new((0..9).collect(), vec![1, 4, 5, 9]).unwrap();
        let parts: Vec<TokenBatch> = batch.parts(3).collect();
        assert_eq!(parts.iter().map(TokenBatch::texts).collect::<Vec<_>>(), [3, 1]);
        assert!(parts.iter().flat_map(TokenBatch::iter).eq(batch.iter()));
        assert_eq!(TokenBatch::default().parts(3).count(), 0);
    }

    #[cfg(feature = "router")]
    #[test]
    fn runs_are_full_and_a_long_text_is_alone() {
        let batch = TokenBatch::new((0..20).collect(), vec![2, 5, 6, 14, 15, 20]).unwrap();
        let runs: Vec<TokenBatch> = batch.runs(6).collect();
        assert_eq!(runs.iter().map(|run| run.ids().len()).collect::<Vec<_>>(), [6, 8, 6]);
        assert!(runs.iter().flat_map(TokenBatch::iter).eq(batch.iter()));
        assert_eq!(TokenBatch::default().runs(6).count(), 0);
    }

    #[test]
    fn ends_that_do_not_ascend_to_the_last_id_are_refused() {
        for ends in [vec![], vec![2], vec![4], vec![3, 3], vec![2, 1, 3], vec![0, 3]] {
            let error = TokenBatch::new(vec![1, 2, 3], ends.clone()).unwrap_err();
            assert_eq!(error.code(), "bad_request", "{ends:?}");
        }
    }
}
