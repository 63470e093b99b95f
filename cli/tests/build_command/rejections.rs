//! Invalid builds are rejected before the compilation.

use crate::common::{bad, mbvc};
use crate::folder::{SPEC, folder};

/// The compiler does not exist: every other error has precedence over that.
#[test]
fn errors_are_reported_before_compilation() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("taken"), "mine").unwrap();
    let fails = |arguments: &[&str], code: i32| {
        let mut command = mbvc(folder, &[&["build"], arguments].concat());
        let output = command.env("RUSTC", "no-such-rustc").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    };
    let whole = [SPEC, "--weights", "w.safetensors", "--output", "tiny"];
    let fails_with = |further: &[&str], expected: &[&str]| {
        let said = fails(&[&whole, further].concat(), 1);
        assert!(expected.iter().all(|word| said.contains(word)), "{further:?}: {said}");
    };
    fails_with(&[], &["building a program requires a Rust compiler, but `no-such-rustc` was not found", "rustup.rs"]);
    fails_with(&["--classes", "11"], &["w.safetensors does not fit", "classes: expected 11, found 10"]);
    fails_with(&["--precision", "int8"], &["precision: expected int8, found f32"]);
    fails_with(&["--example"], &["--example", "--kind static"]);
    let said = fails(&["--weights", "w.safetensors", "--output", "tiny"], 1);
    assert!(said.contains("does not fit the network MobileNetV2 of width 1.0 (built in)"), "{said}");
    assert!(said.contains("mbvc build SPEC"), "{said}");
    let said = fails(&[SPEC, "--output", "tiny"], 1);
    assert!(said.contains("--weights") && said.contains("mbvc import"), "{said}");
    std::fs::write(folder.join("broken.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    let said = fails(&[SPEC, "--weights", "broken.safetensors", "--output", "tiny"], 1);
    assert!(said.contains("broken.safetensors: "), "{said}");
    let said = fails(&[SPEC, "--weights", "w.safetensors", "--output", "libtiny.so", "--kind", "shared"], 1);
    assert!(said.contains("--output tiny"), "{said}");
    fails(&[SPEC, "--weights", "w.safetensors"], 2);
    fails(&[&whole[..], &["--threads", "0"]].concat(), 2);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 11, "no file is left");
}

/// These run the compiler only for its version and targets.
#[test]
fn files_and_targets_are_checked_before_compilation() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("taken"), "mine").unwrap();
    let fails = |output: &str, further: &[&str]| {
        let whole = ["build", SPEC, "--weights", "w.safetensors", "--output", output];
        bad(folder, &[&whole, further].concat(), 1).1
    };
    let said = fails("taken", &[]);
    assert!(said.contains("taken already exists") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(folder.join("taken")).unwrap(), b"mine");
    let said = fails("w.safetensors", &["--force"]);
    assert!(said.contains("the output w.safetensors would overwrite an input file"), "{said}");
    assert!(fails("no/such/folder", &[]).contains("its folder does not exist"));
    std::fs::write(folder.join("net.h"), "mine").unwrap();
    assert!(fails("net", &["--kind", "static"]).contains("net.h already exists"));
    let said = fails("new", &["--target", "pdp11-dec-rsx"]);
    assert!(said.contains("does not support the target `pdp11-dec-rsx`") && said.contains("target-list"), "{said}");
    let said = fails("new", &["--target", "sparcv9-sun-solaris"]);
    assert!(said.contains("rustup target add sparcv9-sun-solaris"), "{said}");
    let absent = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let said = fails("new", &["--isa", absent]);
    assert!(said.contains(&format!("{absent} is not available on ")) && said.contains("portable"), "{said}");
    assert!(!folder.join("new").exists());
}
