//! The crate that `cargo publish` would send: its sources and the trained artifacts, and no more.

use std::path::Path;
use std::process::Command;

/// The registry's limit on a crate, compressed.
const MOST_BYTES: u64 = 10 << 20;

#[test]
fn the_crate_holds_what_it_needs_and_no_more() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let files: Vec<&str> = list.lines().collect();

    // What its Rust is built from, and cargo's own additions.
    let meant = |file: &str| {
        let extension = Path::new(file).extension().and_then(|it| it.to_str()).unwrap_or_default();
        match file.split_once('/') {
            Some(("src", _)) => extension == "rs" || extension == "wgsl",
            Some(("models", name)) => !name.contains('/'),
            Some(_) => false,
            None => {
                extension == "md"
                    || file.starts_with("LICENSE-")
                    || file.starts_with("Cargo.")
                    || file == ".cargo_vcs_info.json"
            }
        }
    };
    let strangers: Vec<&&str> = files.iter().filter(|file| !meant(file)).collect();
    assert!(strangers.is_empty(), "not meant to be published: {strangers:?}");

    let manifest = std::fs::read_to_string(root.join("models/manifest.json")).expect("there is a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    let artifacts = manifest["files"].as_object().expect("it names files").values();
    for file in artifacts.map(|entry| format!("models/{}", entry["path"].as_str().expect("by path"))) {
        assert!(files.contains(&file.as_str()), "{file} is missing");
    }
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "models/manifest.json", "src/lib.rs"] {
        assert!(files.contains(&file), "{file} is missing");
    }

    let size = |file: &&str| std::fs::metadata(root.join(file)).map_or(0, |it| it.len());
    let bytes: u64 = files.iter().map(size).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes, which may still compress to fewer than {MOST_BYTES}");
}
