//! Mistakes in a call of the macro, as the compiler shows them.
//!
//! `TRYBUILD=overwrite cargo test --test macro_ui` writes the expected texts anew.

use std::path::Path;

#[test]
fn mistakes_are_shown_at_the_literal() {
    // trybuild compiles the cases in a package of its own, to whose folder the paths of specs are relative.
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tests/trybuild").join(env!("CARGO_PKG_NAME"));
    let specs = package.join("specs");
    std::fs::create_dir_all(&specs).expect("a folder below the target folder");
    for folder in ["tests/ui/specs", "specs"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).expect("a folder of this package") {
            let from = entry.expect("an entry").path();
            let name = from.file_name().expect("a file");
            std::fs::copy(&from, specs.join(name)).expect("a copy of a small file");
        }
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
