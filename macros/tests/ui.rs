//! Errors in calls of the macro, as rustc reports them.
//!
//! `TRYBUILD=overwrite cargo test -p mbvc-macros --test ui` updates the expected output.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::leaked;
use mbvc::info::{NetworkInfo, Precision};
use mbvc::weights::{Dtype, Padding};
use mbvc::{Isa, Weights};

mbvc::mobilenet_v2!("../specs/tiny.yaml", isa = [portable]);
mbvc::mobilenet_v2!("../specs/tiny.yaml", name = Other, isa = [portable], classes = 11);

#[test]
fn errors_point_at_the_call() {
    // trybuild compiles the cases in a separate package; paths of specs are relative to its folder.
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tests/trybuild").join(env!("CARGO_PKG_NAME"));
    let specs = package.join("specs");
    fs::create_dir_all(&specs).expect("a folder below the target folder");
    for folder in ["tests/ui/specs", "../specs"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(folder).expect("a folder of this package") {
            let from = entry.expect("an entry").path();
            let name = from.file_name().expect("a file");
            fs::copy(&from, specs.join(name)).expect("a copy of a small file");
        }
    }
    weights(&package.join("weights"));
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// Writes weights files that do not match `tiny.yaml`.
fn weights(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder below the target folder");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("written");
    write("other.safetensors", changed(TinyNet::INFO, Padding::Symmetric, Precision::F32).as_bytes());
    write("int8.safetensors", changed(TinyNet::INFO, Padding::Same, Precision::Int8).as_bytes());

    let good = common::random_weights(TinyNet::INFO, 1);
    write("cut.safetensors", &good.as_bytes()[..good.as_bytes().len() - 1]);
    let other = common::random_weights(Other::INFO, 1);
    let bytes = Other::packed_bytes_for(&other.container(), Isa::Portable).expect("compiled in");
    let packed = leaked(bytes, 0);
    Other::pack(&other.container(), Isa::Portable, packed).expect("its own weights");
    write("other.packed", packed);
    packed[8..12].copy_from_slice(&3u32.to_le_bytes());
    write("old.packed", packed);
}

/// The tensors of a network, with one missing, one of another shape, and an additional one.
fn changed(info: &NetworkInfo, padding: Padding, precision: Precision) -> Weights {
    let mut tensors: Vec<(&str, Dtype, Vec<usize>)> =
        info.parameters.iter().map(|one| (one.name, one.dtype, one.shape.to_vec())).collect();
    tensors.retain(|(name, ..)| *name != "stem.bias");
    tensors[0].2[3] += 8;
    tensors.push(("head.scale", Dtype::F32, vec![64]));
    let conventions = mbvc::weights::Conventions { padding, precision, ..info.conventions };
    let tensors = tensors.iter().map(|(name, dtype, shape)| (*name, *dtype, &shape[..]));
    Weights::random(tensors, conventions, 1).expect("names are unique")
}
