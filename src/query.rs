//! The unit of work: what is asked, how long it is and what it needs from a model.
//!
//! # Which text is routed on
//!
//! From a list of messages, the text of the **last user turn** decides. Where that turn is shorter
//! than [`SHORT_TURN`] characters ("yes please", "and in French?"), the turns before it, newest
//! first and the assistant's included, are put in front of it until there are [`CONTEXT`]
//! characters or no more turns. Text parts of multi-part content are joined by line breaks. The
//! system prompt, earlier turns, tool calls and tool definitions always count as input tokens. A
//! conversation without any user turn is routed on an empty text.

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A last user turn of fewer characters than this is read together with the turns before it.
pub const SHORT_TURN: usize = 40;

/// Characters of context after which no further turn is put before a short one.
pub const CONTEXT: usize = 200;

/// Input tokens that one image is counted as; providers bill some 250 to 1,600 by size and detail.
pub const IMAGE_TOKENS: f64 = 1000.0;

/// Tokens of role and separators around each message.
pub const MESSAGE_TOKENS: f64 = 4.0;

/// What a query asks and what its answer needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// The text that is routed on.
    pub text: String,
    /// The encoder's vector of that text, for a predictor that takes one.
    pub embedding: Option<Vec<f32>>,
    /// Counts over the text that only adds input tokens: system prompt, earlier turns, tools.
    pub rest: TextCounts,
    /// Number of messages; 0 for a bare prompt.
    pub messages: usize,
    /// Number of images.
    pub images: usize,
    /// Input tokens as counted by the caller; `None`: estimated from the text.
    pub input_tokens: Option<u64>,
    /// The caller's limit on output tokens.
    pub max_output_tokens: Option<u64>,
    /// Capabilities a candidate must have.
    pub needs: Needs,
}

/// Capabilities that a query asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of independent capabilities")]
pub struct Needs {
    /// Calls tools.
    pub tools: bool,
    /// Answers in JSON.
    pub json: bool,
    /// Reads images.
    pub image: bool,
    /// Listens to audio.
    pub audio: bool,
    /// Reads documents.
    pub pdf: bool,
}

impl Query {
    /// A bare prompt.
    pub fn from_prompt(prompt: impl Into<String>) -> Self {
        Query { text: prompt.into(), ..Query::default() }
    }

    /// A conversation; see the module's documentation for the text that is routed on.
    pub fn from_messages(messages: &[Message]) -> Self {
        let mut query = Query { messages: messages.len(), ..Query::default() };
        let texts: Vec<String> = messages.iter().map(Message::text).collect();
        let last_user = messages.iter().rposition(|m| m.role == "user");
        let mut routed = last_user.map(|i| vec![i]).unwrap_or_default();
        if let Some(last) = last_user {
            let mut chars = texts[last].chars().take(CONTEXT).count();
            let short = chars < SHORT_TURN;
            for i in (0..last).rev().filter(|&i| is_turn(&messages[i]) && !texts[i].is_empty()) {
                if !short || chars >= CONTEXT {
                    break;
                }
                chars += texts[i].chars().take(CONTEXT).count();
                routed.insert(0, i);
            }
        }
        let parts: Vec<&str> = routed.iter().map(|&i| texts[i].as_str()).collect();
        query.text = parts.join("\n");
        for (i, message) in messages.iter().enumerate() {
            if !routed.contains(&i) {
                query.rest.add(&texts[i]);
            }
            for function in message.tool_calls.iter().flatten().filter_map(|call| call.function.as_ref()) {
                query.rest.add(&function.name);
                query.rest.add(&function.arguments);
            }
            if let Content::Parts(parts) = &message.content {
                for part in parts {
                    match part.kind.as_str() {
                        "image_url" | "input_image" | "image" => {
                            query.images += 1;
                            query.needs.image = true;
                        }
                        "input_audio" | "audio" => query.needs.audio = true,
                        "file" | "input_file" | "document" => query.needs.pdf = true,
                        _ => {}
                    }
                }
            }
        }
        query
    }
}

fn is_turn(message: &Message) -> bool {
    matches!(message.role.as_str(), "user" | "assistant")
}

/// One message of an OpenAI-style conversation; fields that routing does not read are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What it says.
    #[serde(default)]
    pub content: Content,
    /// The tools it calls; they count as input tokens.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
}

/// A call of a tool in a conversation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ToolCall {
    /// What is called; absent for kinds of tools that routing does not know.
    #[serde(default)]
    pub function: Option<CalledFunction>,
}

/// The function of a [`ToolCall`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CalledFunction {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its arguments, as JSON text.
    #[serde(default)]
    pub arguments: String,
}

impl Message {
    /// The text of the message, its text parts joined by line breaks.
    pub fn text(&self) -> String {
        match &self.content {
            Content::None => String::new(),
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => {
                let texts: Vec<&str> = parts.iter().filter_map(|p| p.text.as_deref()).collect();
                texts.join("\n")
            }
        }
    }
}

/// The content of a message: absent or null, a string, or a list of parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Content {
    /// Nothing (an assistant message that only calls tools).
    #[default]
    None,
    /// Plain text.
    Text(String),
    /// Typed parts.
    Parts(Vec<Part>),
}

/// One part of a multi-part message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Part {
    /// `text`, `image_url`, `input_audio`, `file`, or a type that routing does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its text, for text parts.
    #[serde(default)]
    pub text: Option<String>,
}

// By hand, because serde's untagged enums lose the place and the reason of an error.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, a list of parts or null")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::None)
            }
            fn visit_none<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::None)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Counts of characters by kind over a text, in Unicode scalar values.
///
/// They are the source of the predictor's surface features and of the estimate of input tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TextCounts {
    /// All of them.
    pub chars: u64,
    /// Maximal runs of ASCII letters.
    pub words: u64,
    /// ASCII letters.
    pub letters: u64,
    /// ASCII digits.
    pub digits: u64,
    /// ASCII punctuation and symbols.
    pub punctuation: u64,
    /// Maximal runs of these.
    pub marks: u64,
    /// Line breaks.
    pub newlines: u64,
    /// Chinese, Japanese and Korean.
    pub cjk: u64,
    /// Everything else outside ASCII.
    pub other: u64,
    /// Arithmetic and comparison signs.
    pub operators: u64,
    /// Backslashes and dollar signs.
    pub latex: u64,
    /// Braces, parentheses, semicolons, underscores and backticks.
    pub code: u64,
}

impl TextCounts {
    /// Counts over one text.
    pub fn of(text: &str) -> Self {
        let mut counts = TextCounts::default();
        counts.add(text);
        counts
    }

    /// Adds the counts of a further text, which starts a new word.
    pub fn add(&mut self, text: &str) {
        let (mut in_word, mut in_mark) = (false, false);
        for c in text.chars() {
            self.chars += 1;
            let (letter, mark) = (c.is_ascii_alphabetic(), c.is_ascii_punctuation());
            if letter {
                self.letters += 1;
                self.words += u64::from(!in_word);
            } else if c.is_ascii_digit() {
                self.digits += 1;
            } else if mark {
                self.punctuation += 1;
                self.marks += u64::from(!in_mark);
                self.operators += u64::from("+-*/=<>^%".contains(c));
                self.latex += u64::from("\\$".contains(c));
                self.code += u64::from("{}();_`".contains(c));
            } else if c == '\n' {
                self.newlines += 1;
            } else if !c.is_ascii() {
                match u32::from(c) {
                    0x2E80..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF => self.cjk += 1,
                    _ => self.other += 1,
                }
            }
            (in_word, in_mark) = (letter, mark);
        }
    }
}

/// Replaces the unpaired surrogate escapes of a JSON text (`\ud83d` without its other half) by
/// `\ufffd`, as JavaScript does when it turns a string into UTF-8; Rust's strings cannot hold them.
pub fn replace_lone_surrogates(json: &str) -> std::borrow::Cow<'_, str> {
    let unit = |at: usize| -> Option<u32> {
        let bytes = json.as_bytes();
        (bytes.get(at..at + 2)? == br"\u").then_some(())?;
        u32::from_str_radix(json.get(at + 2..at + 6)?, 16).ok()
    };
    let mut fixed = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                fixed.push_str(&json[copied..at]);
                fixed.push_str(r"\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Any other escape: a backslash and the character after it (which may itself be one).
            None => at += 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    if copied == 0 {
        return json.into();
    }
    fixed.push_str(&json[copied..]);
    fixed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(json: &str) -> Vec<Message> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_last_user_turn_decides() {
        let query = Query::from_messages(&messages(
            r#"[{"role":"system","content":"You are terse."},
                {"role":"user","content":"Hello"},
                {"role":"assistant","content":"Hi!"},
                {"role":"user","content":"Prove that the square root of two is irrational."}]"#,
        ));
        assert_eq!(query.text, "Prove that the square root of two is irrational.");
        assert_eq!(query.rest.words, 3 + 1 + 1);
        assert_eq!(query.messages, 4);
    }

    #[test]
    fn a_short_turn_is_read_with_the_turns_before_it() {
        let query = Query::from_messages(&messages(
            r#"[{"role":"system","content":"You are terse."},
                {"role":"user","content":"Translate: good morning"},
                {"role":"assistant","content":"Buongiorno"},
                {"role":"user","content":"and in French?"}]"#,
        ));
        assert_eq!(query.text, "Translate: good morning\nBuongiorno\nand in French?");
        assert_eq!(query.rest.words, 3);
    }

    #[test]
    fn parts_are_joined_and_state_what_they_need() {
        let query = Query::from_messages(&messages(
            r#"[{"role":"user","content":[{"type":"text","text":"What is on"},
                {"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"these pictures?"}]},
                {"role":"assistant","content":null}]"#,
        ));
        assert_eq!(query.text, "What is on\nthese pictures?");
        assert_eq!((query.images, query.needs.image, query.needs.audio), (1, true, false));
    }

    #[test]
    fn tool_calls_count_as_input() {
        let query = Query::from_messages(&messages(
            r#"[{"role":"user","content":"What is the weather in Paris, and should I take a coat?"},
                {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function",
                 "function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}},{"type":"custom"}]}]"#,
        ));
        assert_eq!(query.rest.words, 3);
    }

    #[test]
    fn an_error_in_content_names_what_was_expected() {
        let error = serde_json::from_str::<Message>(r#"{"role":"user","content":7}"#).unwrap_err();
        assert!(error.to_string().contains("a string, a list of parts or null"), "{error}");
    }

    #[test]
    fn counts_are_over_scalar_values() {
        let c = TextCounts::of("Ab1 {\n}+é漢🙂");
        assert_eq!((c.chars, c.words, c.letters, c.digits), (11, 1, 2, 1));
        assert_eq!((c.punctuation, c.marks, c.code, c.operators), (3, 2, 2, 1));
        assert_eq!((c.newlines, c.cjk, c.other), (1, 1, 2));
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        let fix = |json: &str| serde_json::from_str::<String>(&replace_lone_surrogates(json)).unwrap();
        assert_eq!(fix(r#""a\ud83db""#), "a\u{FFFD}b");
        assert_eq!(fix(r#""\ude00\ud83d\ude00\ud83d""#), "\u{FFFD}😀\u{FFFD}");
        assert_eq!(fix(r#""\\ud83d \u00e9 \"""#), "\\ud83d é \"");
        assert_eq!(fix(r#""plain""#), "plain");
    }
}
