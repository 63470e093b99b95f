//! The files of this crate import each other in one direction; a module and its own submodules may name each other's items.

use std::path::Path;

use architecture::Imports;

#[path = "../../tests/architecture/mod.rs"]
mod architecture;

#[test]
fn no_files_import_each_other() {
    let imports = Imports::of_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(imports.all().len() > 10, "{:?}", imports.all());
    assert_eq!(imports.without_submodules().circles(), []);
}
