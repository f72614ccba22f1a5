//! Turns the compiled wasm into a module for JavaScript and its glue: `bindgen INPUT.wasm OUT_DIR`.
//!
//! wasm-bindgen's own command, reduced to what the package needs and pinned to the version that the
//! library was compiled with; installing the command takes three times as long.

use std::env;
use std::error::Error;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, out_dir] = arguments.as_slice() else {
        return Err("usage: bindgen INPUT.wasm OUT_DIR".into());
    };
    Bindgen::new()
        .input_path(input)
        .out_name("pennyroute")
        .web(true)?
        // Types are written by hand in src/js/index.d.ts; where the .wasm lies is each entry's business.
        .typescript(false)
        .omit_default_module_path(true)
        .remove_producers_section(true)
        .generate(out_dir)?;
    Ok(())
}
