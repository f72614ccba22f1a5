//! Errors, and panics, as JavaScript sees them.

use wasm_bindgen::prelude::*;

use crate::error::Error;

#[wasm_bindgen(raw_module = "./error.js")]
extern "C" {
    type PennyrouteError;
    #[wasm_bindgen(constructor)]
    fn new(code: &str, message: &str) -> PennyrouteError;
    #[cfg(feature = "gpu-wasm")]
    fn panicked(message: &str);
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        PennyrouteError::new(error.code(), &error.to_string()).into()
    }
}

/// A panic ends this instance; the least it can do is to say where in words. On the GPU, what was promised will never come:
/// whoever waits for it is told too.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let message = format!("pennyroute: internal error: {panic}");
        web_sys::console::error_1(&message.as_str().into());
        #[cfg(feature = "gpu-wasm")]
        panicked(&message);
    }));
}
