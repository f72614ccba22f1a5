//! The encoder on the GPU, as JavaScript holds it.

use std::rc::Rc;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::encode::{Encoder, TokenBatch};
use crate::error::Result;
use crate::gpu::GpuEncoder;

/// An encoder on the GPU.
#[wasm_bindgen(js_name = GpuEncoder)]
pub struct JsGpuEncoder {
    // Shared with calls that are under way, so that `free()` cannot pull it from under them.
    encoder: Rc<GpuEncoder>,
}

#[wasm_bindgen(js_class = GpuEncoder)]
impl JsGpuEncoder {
    /// Opens a packed encoder on the GPU.
    pub async fn create(packed: Vec<u8>) -> Result<JsGpuEncoder> {
        Ok(JsGpuEncoder { encoder: Rc::new(GpuEncoder::new(&packed).await?) })
    }

    /// Promises the embeddings of texts, one after another: `ends[i]` is where text `i` ends in `ids`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Float32Array>")]
    pub fn embed(&self, ids: Vec<u32>, ends: Vec<u32>) -> Promise {
        let encoder = Rc::clone(&self.encoder);
        future_to_promise(async move {
            let batch = TokenBatch::new(ids, ends)?;
            Ok(js_sys::Float32Array::from(encoder.embed(&batch).await?.as_slice()).into())
        })
    }

    /// The adapter's vendor, architecture and description, as far as the browser tells.
    #[wasm_bindgen(getter)]
    pub fn adapter(&self) -> String {
        let Some(device) = self.encoder.webgpu_device() else { return String::new() };
        let get = |object: &JsValue, name: &str| Reflect::get(object, &name.into()).ok();
        let info = get(device, "adapterInfo").unwrap_or_default();
        let parts = ["vendor", "architecture", "description"]
            .map(|name| get(&info, name).and_then(|part| part.as_string()));
        let told: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        told.join(" ")
    }

    /// In what format the weights are kept: `int8`, `f16` or `f32`.
    #[wasm_bindgen(getter)]
    pub fn precision(&self) -> String {
        self.encoder.precision().name().to_owned()
    }

    /// The length of an embedding.
    #[wasm_bindgen(getter)]
    pub fn dimensions(&self) -> usize {
        self.encoder.dimensions()
    }

    /// Loses the device, for tests of what happens then.
    #[wasm_bindgen(js_name = destroyDevice)]
    pub fn destroy_device(&self) {
        self.encoder.destroy_device();
    }
}
