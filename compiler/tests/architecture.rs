//! The files of the compiler import each other in one direction: ir, spec, target, schedule, passes, codegen.

use std::path::Path;

use architecture::Imports;

#[path = "../../tests/architecture/mod.rs"]
mod architecture;

/// Modules of this crate, each of which may use those before it.
const ORDER: [&str; 8] = ["diagnostic", "ir", "spec", "lower", "target", "schedule", "passes", "codegen"];

fn imports() -> Imports {
    let imports = Imports::of_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(imports.all().len() > 100, "{:?}", imports.all());
    imports
}

#[test]
fn modules_use_earlier_modules_only() {
    assert_eq!(imports().against(&ORDER), []);
}

/// A module and its own submodules may name each other's items.
#[test]
fn no_files_import_each_other() {
    assert_eq!(imports().without_submodules().circles(), []);
}
