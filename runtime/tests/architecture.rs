//! The files of the runtime import each other in one direction.

use std::path::Path;

use architecture::Imports;

#[path = "../../tests/architecture/mod.rs"]
mod architecture;

/// Modules of the runtime, each of which may use those before it.
const ORDER: [&str; 14] = [
    "scratch",
    "preprocess",
    "conventions",
    "isa",
    "numerics",
    "formats::json",
    "formats::magic",
    "formats::container",
    "picture::metadata",
    "network",
    "picture::guess",
    "formats::metadata",
    "weights",
    "build",
];

fn imports() -> Imports {
    Imports::of_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn files_import_each_other_in_no_circle() {
    assert_eq!(imports().without_submodules().circles(), []);
}

#[test]
fn modules_use_earlier_ones() {
    assert_eq!(imports().against(&ORDER), []);
}
