//! How the files of this crate depend on each other.

use std::path::Path;

use architecture::Imports;

#[path = "../../tests/architecture/mod.rs"]
mod architecture;

/// Modules of this crate, each of which may use those before it.
const ORDER: [&str; 9] = ["error", "real", "kernels", "params", "memory", "machine", "float", "quantized", "random"];

fn of_this_crate() -> Imports {
    let imports = Imports::of_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(imports.all().len() > 10, "{:?}", imports.all());
    imports
}

#[test]
fn no_files_import_each_other() {
    assert_eq!(of_this_crate().circles(), []);
}

#[test]
fn modules_use_earlier_modules_only() {
    assert_eq!(of_this_crate().against(&ORDER), []);
}
