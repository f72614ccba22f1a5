//! Values between JavaScript and Rust.

use js_sys::{Array, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::money::Moment;
use crate::router::RouteRequest;

pub(super) fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}

pub(super) fn read<T: DeserializeOwned>(
    value: JsValue,
    error: impl FnOnce(String, String) -> Error,
) -> Result<T> {
    let de = serde_wasm_bindgen::Deserializer::from(value);
    serde_path_to_error::deserialize(de).map_err(|e| error(e.path().to_string(), message(e.inner())))
}

// serde-wasm-bindgen wraps its message in a JavaScript `Error`, which prints as "Error: …".
fn message(error: &serde_wasm_bindgen::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("Error: ").map(str::to_owned).unwrap_or(text)
}

pub(super) fn read_request(value: JsValue) -> Result<RouteRequest> {
    read(value, Error::request)
}

/// All requests of an array, or the first error with the row's number.
pub(super) fn read_requests(requests: &Array, list: &'static str) -> Result<Vec<RouteRequest>> {
    let read = |(i, request)| read_request(request).map_err(in_row(list, i));
    requests.iter().enumerate().map(read).collect()
}

/// An error about a field of row `i` of a list.
pub(super) fn in_row(list: &'static str, i: usize) -> impl Fn(Error) -> Error + Copy {
    move |error| match error {
        Error::Request { field, what } => Error::request(format!("{list}[{i}].{field}"), what),
        Error::Number { place, value, expected } => {
            Error::Number { place: format!("{list}[{i}].{place}"), value, expected }
        }
        other => other,
    }
}

pub(super) fn read_catalog(value: JsValue) -> Result<Catalog> {
    let catalog: Catalog = read(value, Error::catalog)?;
    catalog.validate()?;
    Ok(catalog)
}

pub(super) fn moment(at: JsValue, now_ms: f64) -> Result<Moment> {
    match read::<Option<String>>(at, |_, what| Error::request("at", what))? {
        Some(at) => Moment::parse(&at),
        None => Moment::from_unix_ms(now_ms),
    }
}

pub(super) fn write(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|e| Error::Internal { what: e.to_string() })
}

/// The same for values without typed arrays and infinities: the host's JSON parser builds an object of
/// hundreds of fields several times as fast as as many calls out of wasm.
pub(super) fn write_json(value: &impl Serialize) -> Result<JsValue> {
    let internal = |what: String| Error::Internal { what };
    let json = serde_json::to_string(value).map_err(|e| internal(e.to_string()))?;
    js_sys::JSON::parse(&json).map_err(|e| internal(format!("{e:?}")))
}
