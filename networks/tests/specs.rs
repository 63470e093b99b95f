//! The package has copies of specs, because it cannot include files of another folder.

use std::path::Path;

#[test]
fn specs_are_those_of_the_repository() {
    for name in ["v2.yaml", "v2_torchvision.yaml", "demo.yaml"] {
        let read = |folder: &str| {
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name)).unwrap()
        };
        assert!(read("../specs") == read("specs"), "cp specs/{name} networks/specs/{name}");
    }
}
