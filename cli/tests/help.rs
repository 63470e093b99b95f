//! What the command says of itself.

mod common;

use common::{bad, good};

const COMMANDS: [&str; 14] = [
    "init", "check", "dump", "emit", "import", "inspect", "quantize", "verify", "pack", "classify", "evaluate",
    "build", "bench", "profile",
];

#[test]
fn every_command_has_help_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    let whole = good(folder.path(), &["--help"]);
    for command in COMMANDS {
        assert!(whole.contains(&format!("\n  {command} ")), "{whole}");
        let help = good(folder.path(), &[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  mbvc {command}")), "{help}");
        assert!(!help.contains('\x1b'), "no colour where nobody sees it: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100 || line.contains("  mbvc ")), "{help}");
    }
}

#[test]
fn alone_it_says_where_to_start() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(good(folder.path(), &[]).replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r"
    mbvc VERSION  Compiles networks of the MobileNetV2 family from a YAML table into specialised SIMD Rust

      Write a spec, and check it    mbvc init network.yaml && mbvc check network.yaml
      Look at the compiler's work   mbvc dump --svg network.svg
      Read the code it generates    mbvc emit --block 2
      Take over trained weights     mbvc import model.onnx --output weights.safetensors --labels labels.txt
      Classify photographs          mbvc classify photos/ --weights weights.safetensors
      Make a program of it          mbvc build --weights weights.safetensors --output whatsthis
      Measure                       mbvc bench

    mbvc --help lists all commands, mbvc COMMAND --help explains one
    ");
}

#[test]
fn misuse_has_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = bad(folder.path(), &["clasify"], 2);
    assert!(said.contains("classify"), "the near one is proposed: {said}");
    bad(folder.path(), &["--colour"], 2);
    assert!(good(folder.path(), &["--version"]).starts_with("mbvc "));
}
