//! WordPiece as BERT's uncased models use it: the text is cleaned, accents are stripped, letters
//! lowered, words and punctuation split, and each word is cut into the longest pieces known.
//!
//! The reference is Hugging Face's `BertNormalizer`, `BertPreTokenizer` and `WordPiece`; the parity
//! test compares ids with theirs.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::error::{Error, Result};

/// Words of more characters than this are not cut but unknown.
const MAX_WORD_CHARS: usize = 100;

/// Cuts a text into ids of a fixed vocabulary.
pub struct Tokenizer {
    /// Pieces that start a word.
    starts: HashMap<Box<str>, i64>,
    /// Pieces that continue one, without their `##`.
    continuations: HashMap<Box<str>, i64>,
    /// Bytes of the longest piece: no match is longer.
    longest: usize,
    unknown: i64,
    max_tokens: usize,
}

impl Tokenizer {
    /// A tokenizer over `vocab`, one piece per line, whose line number is its id.
    pub fn new(vocab: &str, max_tokens: usize) -> Result<Self> {
        let mut starts = HashMap::new();
        let mut continuations = HashMap::new();
        for (id, piece) in vocab.lines().enumerate() {
            match piece.strip_prefix("##") {
                Some(rest) if !rest.is_empty() => continuations.insert(rest.into(), id as i64),
                _ => starts.insert(piece.into(), id as i64),
            };
        }
        let unknown = *starts.get("[UNK]").ok_or_else(|| Error::artifact("vocab", "has no [UNK]"))?;
        let longest = vocab.lines().map(str::len).max().unwrap_or_default();
        Ok(Tokenizer { starts, continuations, longest, unknown, max_tokens })
    }

    /// The ids of `text`, at least one: of a text with more than `max_tokens` the first and the
    /// last half of as many, of one without any the unknown piece.
    pub fn ids(&self, text: &str) -> Vec<i64> {
        let mut ids = self.pieces(text);
        if ids.len() > self.max_tokens {
            let half = self.max_tokens / 2;
            ids.drain(half..ids.len() - (self.max_tokens - half));
        }
        if ids.is_empty() {
            ids.push(self.unknown);
        }
        ids
    }

    /// The ids of all pieces of `text`; of a text without any, none.
    pub fn pieces(&self, text: &str) -> Vec<i64> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        let mut word = String::new();
        for c in text.chars().filter_map(clean) {
            if is_ideograph(c) {
                self.cut(&mut word, &mut ids);
                word.push(c);
                self.cut(&mut word, &mut ids);
            } else if c.is_ascii() {
                self.feed(c.to_ascii_lowercase(), &mut word, &mut ids);
            } else {
                for c in c.nfd().filter(|c| c.general_category() != GeneralCategory::NonspacingMark) {
                    c.to_lowercase().for_each(|c| self.feed(c, &mut word, &mut ids));
                }
            }
        }
        self.cut(&mut word, &mut ids);
        ids
    }

    /// Takes one normalised character: a space ends a word, punctuation is a word of its own.
    fn feed(&self, c: char, word: &mut String, ids: &mut Vec<i64>) {
        if c.is_whitespace() {
            self.cut(word, ids);
        } else if is_punctuation(c) {
            self.cut(word, ids);
            word.push(c);
            self.cut(word, ids);
        } else {
            word.push(c);
        }
    }

    /// Appends the pieces of `word`, longest match first, and empties it.
    fn cut(&self, word: &mut String, ids: &mut Vec<i64>) {
        if word.is_empty() {
            return;
        }
        let before = ids.len();
        let mut rest = word.as_str();
        let mut pieces = &self.starts;
        if word.len() > MAX_WORD_CHARS && word.chars().count() > MAX_WORD_CHARS {
            ids.push(self.unknown);
            rest = "";
        }
        while !rest.is_empty() {
            let mut reach = rest.len().min(self.longest);
            while !rest.is_char_boundary(reach) {
                reach -= 1;
            }
            let ends = rest[..reach].char_indices().rev().map(|(at, c)| at + c.len_utf8());
            let found = ends.into_iter().find_map(|end| pieces.get(&rest[..end]).map(|&id| (end, id)));
            let Some((end, id)) = found else {
                // A word with any unknown part is unknown as a whole.
                ids.truncate(before);
                ids.push(self.unknown);
                break;
            };
            ids.push(id);
            rest = &rest[end..];
            pieces = &self.continuations;
        }
        word.clear();
    }
}

/// Drops what carries no text and turns white space into spaces.
fn clean(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' => Some(' '),
        '\0' | '\u{FFFD}' => None,
        c if c.is_ascii() => (!c.is_ascii_control()).then_some(c),
        c if c.is_whitespace() => Some(' '),
        // Controls, formats and private use; what Unicode has not assigned stays, as in the reference.
        c if c.general_category_group() == GeneralCategoryGroup::Other
            && c.general_category() != GeneralCategory::Unassigned =>
        {
            None
        }
        c => Some(c),
    }
}

/// Ideographs are words of one character; the ranges are those of BERT's tokenizer.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    c.general_category_group() == GeneralCategoryGroup::Punctuation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(max_tokens: usize) -> Tokenizer {
        let vocab = "[PAD]\n[UNK]\nun\n##aff\n##able\n,\ncafe\n漢\n字\nhi\n";
        Tokenizer::new(vocab, max_tokens).unwrap()
    }

    #[test]
    fn words_are_cut_into_the_longest_known_pieces() {
        assert_eq!(tokenizer(64).ids("Unaffable, CAFÉ"), [2, 3, 4, 5, 6]);
        assert_eq!(tokenizer(64).ids("漢字hi\u{0}\u{200B}"), [7, 8, 9]);
        assert_eq!(tokenizer(64).ids("unaffablex hi"), [1, 9]);
        assert_eq!(tokenizer(64).ids(&"x".repeat(101)), [1]);
    }

    #[test]
    fn there_is_always_a_token_and_never_too_many() {
        assert_eq!(tokenizer(64).ids(""), [1]);
        assert_eq!(tokenizer(64).ids(" \n\u{FFFD}"), [1]);
        assert_eq!(tokenizer(4).ids("hi hi hi , un un un"), [9, 9, 2, 2]);
    }

    #[test]
    fn a_vocabulary_without_unknown_is_refused() {
        assert_eq!(Tokenizer::new("a\nb", 4).err().map(|e| e.code()), Some("bad_artifact"));
    }
}
