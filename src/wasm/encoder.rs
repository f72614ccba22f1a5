//! The encoder on the CPU, as JavaScript holds it.

use js_sys::{Array, Float32Array, Uint32Array};
use serde::Serialize;
use serde_wasm_bindgen::preserve;
use wasm_bindgen::prelude::*;

use crate::artifact::checksum;
use crate::encode::{Encoder, EncoderTokenizer, OnnxEncoder, TokenBatch};
use crate::error::{Error, Result};

use super::convert::{bytes, in_row, read_requests, write};

/// A tokenizer and, where there is an ONNX file, the network over its tokens.
#[wasm_bindgen(js_name = Encoder)]
pub struct JsEncoder {
    tokenizer: EncoderTokenizer,
    network: Option<OnnxEncoder>,
}

#[wasm_bindgen(js_class = Encoder)]
impl JsEncoder {
    /// An encoder of an ONNX file, or without one only its tokenizer.
    #[wasm_bindgen(constructor)]
    pub fn new(onnx: &JsValue, vocab: &str, max_tokens: usize) -> Result<JsEncoder> {
        let tokenizer = EncoderTokenizer::new(vocab, max_tokens)?;
        let network = if onnx.is_undefined() {
            None
        } else {
            let file =
                bytes(onnx).ok_or_else(|| Error::artifact("encoder.onnx", "must be given as bytes"))?;
            Some(OnnxEncoder::new(&file)?)
        };
        Ok(JsEncoder { tokenizer, network })
    }

    /// The tokens of the texts that requests are routed on.
    pub fn tokenize(&self, requests: &Array) -> Result<JsValue> {
        let requests = read_requests(requests, "requests")?;
        let text = |(i, request): (usize, &crate::router::RouteRequest)| {
            request.text().map_err(in_row("requests", i))
        };
        let texts = requests.iter().enumerate().map(text).collect::<Result<Vec<String>>>()?;
        let batch = self.tokenizer.batch(texts.iter().map(String::as_str))?;
        write(&Tokens { ids: Uint32Array::from(batch.ids()), ends: Uint32Array::from(batch.ends()) })
    }

    /// The vectors of tokenized texts, one after another.
    pub fn embed(&self, ids: Vec<u32>, ends: Vec<u32>) -> Result<Float32Array> {
        let vectors = self.network()?.vectors(&TokenBatch::new(ids, ends)?)?;
        Ok(Float32Array::from(vectors.as_slice()))
    }

    /// The length of a vector.
    #[wasm_bindgen(getter)]
    pub fn dimensions(&self) -> Result<usize> {
        Ok(self.network()?.dimensions())
    }

    /// SHA-256 in hexadecimal, for pages that have no `crypto.subtle`.
    pub fn sha256(bytes: &[u8]) -> String {
        checksum(bytes)
    }
}

impl JsEncoder {
    fn network(&self) -> Result<&OnnxEncoder> {
        self.network
            .as_ref()
            .ok_or_else(|| Error::request("onnx", "was not given: this encoder only cuts tokens"))
    }
}

#[derive(Serialize)]
struct Tokens {
    #[serde(with = "preserve")]
    ids: Uint32Array,
    #[serde(with = "preserve")]
    ends: Uint32Array,
}
