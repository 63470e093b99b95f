//! The networks of the feature `carry` are found by their spec.
#![cfg(feature = "carry")]

use mbvc_compiler::SourceFile;
use mbvc_compiler::spec::{self, Fusion, Overrides, Words};
use mbvc_networks::{SPEC, find};

#[test]
fn the_spec_is_found_under_any_name_and_no_other_is() {
    let parse = |text: &str, key: &str, value: &str| {
        let mut overrides = Overrides::new(Words::Command);
        overrides.set(key, value);
        spec::parse_with(&SourceFile::new("other.yaml", text), &overrides).unwrap()
    };
    let renamed = SPEC.replace("name: MobileNetV2", "# A comment.\nname: Other");
    for precision in ["f32", "int8", "uint8"] {
        assert!(find(&parse(&renamed, "precision", precision), Fusion::Block).is_some(), "{precision}");
    }
    assert!(find(&parse(SPEC, "precision", "int8"), Fusion::Deep).is_none());
    for (key, value) in [("width", "0.5"), ("classes", "1000"), ("threads", "2"), ("numerics", "strict")] {
        assert!(find(&parse(SPEC, key, value), Fusion::Block).is_none(), "{key}");
    }
}
