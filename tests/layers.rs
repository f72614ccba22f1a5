//! Imports point down only, and each given package has one place that names it.
//!
//! The layers are those of ARCHITECTURE.md. The check reads the sources as text, so that it also
//! sees code behind features that this build leaves out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules of the crate by layer, lowest first. Within a layer a module may import those to its
/// left in the same row where `chained` says so, and never otherwise.
const LAYERS: &[(&[&str], bool)] = &[
    (&["error", "money", "query", "estimate", "catalog", "artifact"], true),
    (&["wordpiece", "onnx"], false),
    (&["encode", "gpu"], true),
    (&["predict", "retrieve", "optimize", "learn"], false),
    (&["router"], false),
    (&["eval", "wasm"], false),
];

/// Packages that one file, or one folder, alone may name.
const OWNERS: &[(&str, &str)] = &[
    ("tract_onnx", "onnx/"),
    ("instant_distance", "retrieve/hnsw.rs"),
    ("wgpu", "gpu/"),
    ("safetensors", "gpu/weights.rs"),
    ("wasm_bindgen", "wasm/"),
    ("js_sys", "wasm/"),
    ("wasm_bindgen_futures", "wasm/"),
    ("web_sys", "wasm/"),
    ("serde_wasm_bindgen", "wasm/"),
];

/// What `source`, a file of module `module`, imports although it must not.
fn upward_imports(module: &str, source: &str) -> Vec<String> {
    let position = |name: &str| {
        LAYERS.iter().enumerate().find_map(|(layer, (names, chained))| {
            names.iter().position(|n| *n == name).map(|place| (layer, place, *chained))
        })
    };
    let (layer, place, chained) =
        position(module).unwrap_or_else(|| panic!("module `{module}` is in no layer"));
    let mut found = Vec::new();
    for imported in imports(source).into_iter().filter(|name| name != module) {
        let Some((other, other_place, _)) = position(&imported) else { continue };
        if other > layer || (other == layer && !(chained && other_place < place)) {
            found.push(imported);
        }
    }
    found
}

/// The modules of this crate that a source names, tests at its foot left out.
fn imports(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        names.extend(list.iter().map(|item| {
            item.trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit())
                .collect()
        }));
    }
    names.retain(|name: &String| !name.is_empty());
    names
}

fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let name =
        |path: &Path| path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("readable source"))).collect()
}

#[test]
fn no_module_imports_upwards() {
    let sources = sources();
    assert!(sources.len() > 10, "the sources were not found");
    for (path, source) in &sources {
        if path == "lib.rs" || path.starts_with("bin/") {
            continue;
        }
        let module = path.split(['/', '.']).next().expect("a path has a first part");
        let upward = upward_imports(module, source);
        assert!(upward.is_empty(), "src/{path} imports {upward:?}, which lie above or beside it");
    }
}

#[test]
fn each_package_is_named_in_one_place() {
    for (path, source) in sources() {
        for (package, owner) in OWNERS {
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let named = code.into_iter().any(|line| {
                line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == *package)
            });
            let owned = path == *owner || (owner.ends_with('/') && path.starts_with(owner));
            assert!(!named || owned, "src/{path} names {package}; only src/{owner} may");
        }
    }
}

#[test]
fn the_check_sees_what_it_must() {
    assert_eq!(upward_imports("predict", "use crate::router::Router;"), ["router"]);
    assert_eq!(upward_imports("predict", "use crate::retrieve::Index;"), ["retrieve"]);
    assert_eq!(upward_imports("money", "let x = crate::catalog::Model;"), ["catalog"]);
    assert_eq!(upward_imports("router", "use crate::{eval, predict::Predictor};"), ["eval"]);
    assert!(
        upward_imports(
            "catalog",
            "use crate::money::Rates;\n// crate::router\n#[cfg(test)]\nuse crate::router::R;"
        )
        .is_empty()
    );
}
