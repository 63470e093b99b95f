//! Projects for microcontrollers: their network computes what the macro's does. `scripts/cross-bare.sh` runs a project
//! in QEMU.

use std::fs;
use std::path::Path;
use std::process::Command;

use mbvc::Isa;

use crate::common::bad;
use crate::folder::{LABELS, SPEC, TinyNet, build, folder};

/// A program for the host that calls the network of a project as its `main.rs` does.
const HOST: &str = "
use tiny_net::TinyNet;

fn main() {
    let pixels = std::fs::read(\"../../b.rgb\").unwrap();
    let pixels = pixels.as_slice().try_into().unwrap();
    let (model, mut scratch) = (TinyNet::embedded().unwrap(), TinyNet::scratch());
    let mut call = model.steps(&mut scratch, pixels);
    while call.advance() {}
    for logit in call.finish() {
        println!(\"{}\", logit.to_bits());
    }
}
";

#[test]
fn the_network_of_a_project_computes_the_same_bits() {
    let folder = folder();
    let folder = folder.path();
    let report = build(folder, &["--kind", "embedded", "-o", "net"]);
    assert_eq!(report["target"], "thumbv7em-none-eabihf");
    for file in report["files"].as_array().unwrap() {
        let written = fs::metadata(folder.join(file["path"].as_str().unwrap())).unwrap();
        assert_eq!(written.len(), file["bytes"].as_u64().unwrap(), "{file}");
    }
    let read = |path: &str| fs::read_to_string(folder.join("net").join(path)).unwrap();
    let labels = read("src/labels.rs");
    assert!(LABELS.lines().all(|label| labels.contains(&format!("{label:?}"))), "{labels}");
    let texts = ["README.md", "Cargo.toml", ".cargo/config.toml", "memory.x", "src/main.rs"].map(read).concat();
    let word = |text: &str| text.len() > 2 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    assert!(!texts.split('@').skip(1).step_by(2).any(word), "words that are not filled in: {texts}");

    let network = folder.join("net/network");
    fs::write(network.join("examples/host.rs"), HOST).unwrap();
    let run = Command::new(env!("CARGO"))
        .current_dir(&network)
        // The configuration of the project selects another target.
        .args(["run", "--offline", "--quiet", "--example", "host", "--target", &host()])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let found: Vec<u32> = String::from_utf8(run.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let weights = mbvc::Weights::open(folder.join("w.safetensors")).unwrap();
    let model = TinyNet::with_isa(&weights, Isa::Portable).unwrap();
    let pixels = fs::read(folder.join("b.rgb")).unwrap();
    let expected = model.run_pixels(&mut TinyNet::scratch(), pixels.as_slice().try_into().unwrap());
    assert_eq!(found, expected.map(f32::to_bits));
}

#[test]
fn invalid_projects_are_rejected() {
    let folder = folder();
    let folder: &Path = folder.path();
    let fails = |further: &[&str]| {
        let whole = ["build", SPEC, "--weights", "w.safetensors", "--kind", "embedded"];
        bad(folder, &[&whole, further].concat(), 1).1
    };
    let said = fails(&["--target", "riscv32imc-unknown-none-elf", "-o", "net"]);
    assert!(said.contains("expected a Cortex-M target") && said.contains("--standalone"), "{said}");
    assert!(fails(&["--target", "thumbv9", "-o", "net"]).contains("does not support the target `thumbv9`"));
    assert!(fails(&["--threads", "2", "-o", "net"]).contains("one thread"));
    assert!(fails(&["--isa", "avx2", "-o", "net"]).contains("avx2 is not available"));
    assert!(fails(&["--embed", "-o", "net"]).contains("--embed requires --kind web"));
    assert!(fails(&["-o", "7seg"]).contains("`7seg` is not a valid crate name"));
    assert!(fails(&["-o", "no/such/net"]).contains("the parent folder does not exist"));
    assert!(!folder.join("net").exists());
    fs::create_dir(folder.join("net")).unwrap();
    fs::write(folder.join("net/notes"), "kept").unwrap();
    assert!(fails(&["-o", "net"]).contains("net is not empty"));
    assert_eq!(fs::read_dir(folder.join("net")).unwrap().count(), 1);
}

/// The triple of this machine.
fn host() -> String {
    let said = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}
