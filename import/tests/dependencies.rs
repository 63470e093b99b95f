//! The dependencies of the macro contain no reader of model files.

use std::path::Path;
use std::process::Command;

#[test]
fn the_macro_does_not_depend_on_the_importer() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../macros/Cargo.toml");
    if !manifest.exists() {
        eprintln!("skipped: outside of the workspace");
        return;
    }
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.contains("mbvc-compiler"), "{tree}");
    for name in ["mbvc-import", "prost", "safetensors", "serde_json", "zip", "flate2"] {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is in\n{tree}");
    }
}
