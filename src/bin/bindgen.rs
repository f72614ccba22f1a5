//! Turns compiled wasm into a module for JavaScript and its glue: `bindgen INPUT.wasm OUT_DIR NAME [--cut]`
//! writes `NAME.js` and `NAME_bg.wasm`.
//!
//! wasm-bindgen's own command, reduced to what the package needs and pinned to the version that the
//! library was compiled with; installing the command takes three times as long. Before that, with `--cut`,
//! code of tract's that our networks cannot reach is cut out.

use std::env;
use std::error::Error;

use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module};
use wasm_bindgen_cli_support::Bindgen;

/// Parts of tract that the linker keeps, because a table of theirs names them, and that nothing calls:
/// the operators of `onnx::operators` need none of it. A call would trap, and become an error of code
/// `internal`; the parity tests run every path that there is.
const UNREACHED: [&[&str]; 16] = [
    &["rustfft"],
    &["tract_nnef"],
    &["tract_core", "ops", "cnn"],
    &["tract_core", "ops", "fft"],
    &["tract_core", "ops", "scan"],
    &["tract_core", "ops", "gru_seq"],
    &["tract_core", "ops", "downsample"],
    &["tract_core", "ops", "nn", "resize"],
    &["tract_core", "ops", "array", "cumsum"],
    &["tract_core", "ops", "array", "gather_elements"],
    &["tract_core", "ops", "array", "gather_nd"],
    &["tract_core", "ops", "array", "one_hot"],
    &["tract_core", "ops", "array", "scatter_elements"],
    &["tract_core", "ops", "array", "scatter_nd"],
    &["tract_core", "ops", "array", "topk"],
    &["tract_core", "ops", "array", "trilu"],
];

/// Instructions of a function from which on it may be cut. Small ones are left: the compiler merges equal functions
/// under one of their names, and the others may well be called.
const LEAST_SIZE: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (input, out_dir, name, cuts) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [input, out_dir, name] => (input, out_dir, name, false),
        [input, out_dir, name, "--cut"] => (input, out_dir, name, true),
        _ => return Err("usage: bindgen INPUT.wasm OUT_DIR NAME [--cut]".into()),
    };
    let mut module = Module::from_file(input)?;
    if cuts {
        cut(&mut module)?;
    }
    Bindgen::new()
        .input_bytes(name, module.emit_wasm())
        .web(true)?
        // Types are written by hand in src/js/index.d.ts; where the .wasm lies is each entry's business.
        .typescript(false)
        .omit_default_module_path(true)
        .remove_producers_section(true)
        .generate(out_dir)?;
    Ok(())
}

/// Empties the functions of [`UNREACHED`]; what only they call goes with the next optimizer.
fn cut(module: &mut Module) -> Result<(), Box<dyn Error>> {
    for path in UNREACHED {
        let found: Vec<FunctionId> = module
            .funcs
            .iter_local()
            .filter(|(id, body)| {
                let name = module.funcs.get(*id).name.as_deref();
                body.size() >= LEAST_SIZE && name.is_some_and(|name| mentions(name, path))
            })
            .map(|(id, _)| id)
            .collect();
        if found.is_empty() {
            return Err(format!(
                "no function is named after {}: the list of what is unreached is out of date",
                path.join("::")
            )
            .into());
        }
        for id in found {
            let signature = module.types.get(module.funcs.get(id).ty());
            let (params, results) = (signature.params().to_vec(), signature.results().to_vec());
            let arguments = params.iter().map(|&ty| module.locals.add(ty)).collect();
            let mut body = FunctionBuilder::new(&mut module.types, &params, &results);
            body.func_body().unreachable();
            module.funcs.get_mut(id).kind = FunctionKind::Local(body.local_func(arguments));
        }
    }
    Ok(())
}

/// Whether a mangled name holds a path, written as a path or as a type's (`a..b`). Constructors do not count: they
/// run before anything else, and only register.
fn mentions(name: &str, path: &[&str]) -> bool {
    if name.contains("__ctor") {
        return false;
    }
    let nested = path.iter().fold(String::new(), |nested, part| format!("{nested}{}{part}", part.len()));
    name.contains(&nested) || name.contains(&format!("{}..", path.join("..")))
}
