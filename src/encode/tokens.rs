//! Texts as an encoder of BERT's family reads them.

use crate::error::{Error, Result};
use crate::wordpiece::Tokenizer;

use super::TokenBatch;

/// Cuts texts into `[CLS]`, their first pieces, and `[SEP]`, as sentence-transformers does.
pub struct EncoderTokenizer {
    pieces: Tokenizer,
    cls: u32,
    sep: u32,
    max_tokens: usize,
}

impl EncoderTokenizer {
    /// A tokenizer over `vocab`, one piece per line, whose line number is its id; no text has more than
    /// `max_tokens` tokens, the two special ones included.
    pub fn new(vocab: &str, max_tokens: usize) -> Result<Self> {
        if max_tokens < 3 {
            return Err(Error::artifact("vocab", format!("{max_tokens} tokens are too few for a text")));
        }
        let special = |name: &str| {
            let id = vocab.lines().position(|piece| piece == name);
            id.map(|id| id as u32).ok_or_else(|| Error::artifact("vocab", format!("has no {name}")))
        };
        let (cls, sep) = (special("[CLS]")?, special("[SEP]")?);
        Ok(EncoderTokenizer { pieces: Tokenizer::new(vocab, max_tokens)?, cls, sep, max_tokens })
    }

    /// The tokens of texts, in their order.
    pub fn batch<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<TokenBatch> {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for text in texts {
            ids.push(self.cls);
            let pieces = self.pieces.pieces(text).into_iter().take(self.max_tokens - 2);
            ids.extend(pieces.map(|id| id as u32));
            ids.push(self.sep);
            ends.push(ids.len() as u32);
        }
        TokenBatch::new(ids, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhi\nyou\n,\n";

    #[test]
    fn texts_stand_between_their_special_tokens_and_lose_their_ends() {
        let tokenizer = EncoderTokenizer::new(VOCAB, 5).unwrap();
        let batch = tokenizer.batch(["Hi, you", "", "hi , hi you you you", "[SEP]"]).unwrap();
        let texts: Vec<_> = batch.iter().collect();
        assert_eq!(texts, [&[2, 4, 6, 5, 3][..], &[2, 3], &[2, 4, 6, 4, 3], &[2, 1, 1, 1, 3]]);
    }

    #[test]
    fn a_vocabulary_without_special_tokens_is_refused() {
        let error = EncoderTokenizer::new("[UNK]\n[CLS]\nhi\n", 8).err().unwrap();
        assert_eq!(error.to_string(), "artifact `vocab`: has no [SEP]");
        assert!(EncoderTokenizer::new(VOCAB, 2).is_err());
    }
}
