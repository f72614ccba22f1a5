//! How a batch is laid out for the GPU: cut into chunks of whole texts, and each chunk's attention into blocks.

use crate::encode::TokenBatch;

/// Queries of one text that one workgroup of the attention shader takes.
const QUERIES: u32 = 32;

/// Whole texts that are computed together, in the buffers' layouts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Id and position of every token.
    pub tokens: Vec<[u32; 2]>,
    /// Where each text ends in `tokens`.
    pub ends: Vec<u32>,
    /// Up to [`QUERIES`] queries of one text: the first, where the text starts and ends, and 0.
    pub blocks: Vec<[u32; 4]>,
    /// The chunk's first text in the batch.
    pub first_text: u32,
}

impl Chunk {
    fn push(&mut self, ids: &[u32]) {
        let start = self.tokens.len() as u32;
        self.tokens.extend(ids.iter().zip(0..).map(|(&id, position)| [id, position]));
        let end = self.tokens.len() as u32;
        self.ends.push(end);
        self.blocks.extend((start..end).step_by(QUERIES as usize).map(|first| [first, start, end, 0]));
    }
}

/// Chunks of at most `most` tokens, and about as long as each other; no text is longer than `most`.
pub(super) fn chunks(batch: &TokenBatch, most: usize) -> Vec<Chunk> {
    let tokens = batch.ids().len();
    let aim = tokens.div_ceil(tokens.div_ceil(most).max(1));
    let mut chunks: Vec<Chunk> = Vec::new();
    for (text, ids) in batch.iter().enumerate() {
        debug_assert!(ids.len() <= most);
        let fits = |chunk: &Chunk| chunk.tokens.len() < aim && chunk.tokens.len() + ids.len() <= most;
        if let Some(chunk) = chunks.last_mut().filter(|chunk| fits(chunk)) {
            chunk.push(ids);
        } else {
            let mut chunk = Chunk { first_text: text as u32, ..Chunk::default() };
            chunk.push(ids);
            chunks.push(chunk);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[u32]) -> TokenBatch {
        let mut end = 0;
        let ends: Vec<u32> = lengths.iter().map(|n| (end += n, end).1).collect();
        TokenBatch::new((0..end).collect(), ends).unwrap()
    }

    #[test]
    fn a_chunk_lists_positions_ends_and_blocks() {
        let chunks = chunks(&batch(&[2, 33]), 100);
        let [chunk] = chunks.as_slice() else { panic!("{chunks:?}") };
        assert_eq!(chunk.tokens[..3], [[0, 0], [1, 1], [2, 0]]);
        assert_eq!(chunk.ends, [2, 35]);
        assert_eq!(chunk.blocks, [[0, 0, 2, 0], [2, 2, 35, 0], [34, 2, 35, 0]]);
    }

    #[test]
    fn chunks_hold_every_text_once_and_stay_below_the_limit() {
        for lengths in [vec![5; 41], vec![1, 7, 10, 3, 3, 10, 10, 1], vec![10], vec![]] {
            let batch = batch(&lengths);
            let chunks = chunks(&batch, 10);
            let ids = chunks.iter().flat_map(|chunk| chunk.tokens.iter().map(|token| token[0]));
            assert_eq!(ids.collect::<Vec<_>>(), batch.ids());
            let mut text = 0;
            for chunk in &chunks {
                assert!(chunk.tokens.len() <= 10);
                assert_eq!(chunk.first_text, text);
                text += chunk.ends.len() as u32;
            }
            assert_eq!(text as usize, batch.texts());
        }
    }

    #[test]
    fn chunks_are_about_as_long_as_each_other() {
        let lengths: Vec<usize> = chunks(&batch(&[10; 110]), 1000).iter().map(|c| c.tokens.len()).collect();
        assert_eq!(lengths, [550, 550]);
    }
}
