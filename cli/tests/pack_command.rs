//! `mbvc pack`, and its files in other commands.

mod common;

use std::path::Path;

use common::{bad, good, json_lines, mbvc as command, tiny};
use mbvc::info::Numerics;
use mbvc::{Isa, Weights};

mbvc::mobilenet_v2!("tests/tiny.yaml");

const PACK: [&str; 6] = ["pack", "tiny.safetensors", "--spec", "tiny.yaml", "-o", "tiny.packed"];

fn pack(folder: &Path, further: &[&str]) -> Vec<serde_json::Value> {
    json_lines(&good(folder, &[&PACK[..], &["--json", "--force"], further].concat()))
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// Leaks a copy that is aligned to 64 bytes.
fn aligned(bytes: &[u8]) -> &'static mut [u8] {
    let memory = vec![0; bytes.len() + 64].leak();
    let start = memory.as_ptr().align_offset(64);
    let file = &mut memory[start..start + bytes.len()];
    file.copy_from_slice(bytes);
    file
}

/// The file that the network packs with its own plan.
fn by_the_network(weights: &Weights, isa: Isa) -> Vec<u8> {
    let file = aligned(&vec![0; Tiny::packed_bytes_for(&weights.container(), isa).unwrap()]);
    Tiny::pack(&weights.container(), isa, file).unwrap();
    file.to_vec()
}

#[test]
fn files_are_equal_to_those_of_the_network() {
    let folder = tiny();
    let folder = folder.path();
    let weights = Weights::open(folder.join("tiny.safetensors")).unwrap();
    for isa in Isa::FLOAT.into_iter().filter(|isa| Tiny::packed_bytes_for(&weights.container(), *isa).is_some()) {
        // The network chooses the numerics for this processor.
        let numerics = Numerics::Fast.choose().unwrap();
        let report = &pack(folder, &["--isa", isa.name(), "--numerics", numerics.name()])[0];
        let packed = bytes(folder, "tiny.packed");
        assert!(packed == by_the_network(&weights, isa), "{isa}");
        assert_eq!(report["isa"], isa.name());
        assert_eq!((&report["bytes"], &report["network"]), (&packed.len().into(), &"Tiny".into()));
        if isa.detect().is_none() {
            continue;
        }
        let model = Tiny::from_packed(aligned(&packed)).unwrap();
        let pixels: [u8; 32 * 32 * 3] = std::array::from_fn(|at| (at * 91 % 241) as u8);
        let (packed, opened) = (
            model.run_pixels(&mut Tiny::scratch(), &pixels),
            Tiny::with_isa(&weights, isa).unwrap().run_pixels(&mut Tiny::scratch(), &pixels),
        );
        assert_eq!(packed.map(f32::to_bits), opened.map(f32::to_bits), "{isa}");
    }
}

/// With `--isa` the file does not depend on this processor.
#[test]
fn numerics_depend_on_this_processor_only_where_the_instruction_set_does() {
    let folder = tiny();
    let folder = folder.path();
    let packed = |further: &[&str], numerics: &str| {
        let output = command(folder, &[&PACK[..], &["--force"], further].concat())
            .env("MBVC_NUMERICS", numerics)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        bytes(folder, "tiny.packed")
    };
    let strict = packed(&["--isa", "avx512"], "fast");
    assert_eq!(strict, packed(&["--isa", "avx512", "--numerics", "strict"], "fast"));
    let fast = packed(&["--isa", "avx512", "--numerics", "fast"], "strict");
    assert_ne!(strict, fast);
    if Isa::Avx512.detect().is_some() {
        assert_eq!(packed(&[], "strict"), strict);
        assert_eq!(packed(&[], "fast"), fast);
    }
    let reports = pack(folder, &["--isa", "neon,avx512", "--numerics", "fast"]);
    let of = |at: usize| (reports[at]["isa"].as_str().unwrap(), reports[at]["numerics"].as_str().unwrap());
    assert_eq!([of(0), of(1)], [("neon", "strict"), ("avx512", "fast")], "NEON has no kernels for it");
    assert_eq!(bytes(folder, "tiny.avx512.packed"), fast);
    assert_eq!(reports[0]["file"], "tiny.neon.packed");
}

#[test]
fn pack_rejects_what_no_network_accepts() {
    let folder = tiny();
    let folder = folder.path();
    let refused = |further: &[&str]| bad(folder, &[&PACK[..], further].concat(), 1).1;
    for (further, expected) in [
        (&["--classes", "11"][..], &["tiny.safetensors does not fit", "classes: expected 11"][..]),
        (&["--isa", "neondot"], &["no f32 kernels for neondot", " | --isa neondot\n"]),
        (&["--isa", "portable", "--precision", "int8", "--numerics", "fast"], &["int8 networks sum integers"]),
        (&["--threads", "0"], &["command line", "--threads 0"]),
        (&["--threads", "-1"], &["command line", "--threads -1"]),
        (&["--batch", "-1"], &["command line", "--batch -1"]),
        (&["--precision", "uint8"], &["precision: expected uint8, found f32"]),
    ] {
        let said = refused(further);
        for part in expected {
            assert!(said.contains(part), "{further:?}: no `{part}` in\n{said}");
        }
    }
    let (_, said) = bad(folder, &["pack", "tiny.safetensors", "-o", "tiny.packed"], 1);
    assert!(
        said.contains("tiny.safetensors does not fit") && said.contains("next to the weights: --spec FILE"),
        "{said}"
    );
    assert!(!folder.join("tiny.packed").exists());

    let spec = std::fs::read_to_string(folder.join("tiny.yaml")).unwrap();
    std::fs::write(folder.join("tiny.yaml"), spec + "isa: avx2\nnumerics: strict\n").unwrap();
    let said = refused(&["--isa", "portable"]);
    assert!(
        said.contains("not compiled for portable") && said.contains("add `portable` to `isa` in tiny.yaml"),
        "{said}"
    );
    let said = refused(&["--isa", "avx2", "--numerics", "fast"]);
    assert!(said.contains("the spec has `numerics: strict`"), "{said}");

    let (_, said) =
        bad(folder, &["pack", "tiny.safetensors", "--output", "tiny.safetensors", "--spec", "tiny.yaml"], 1);
    assert!(said.contains("tiny.safetensors would overwrite an input file"), "{said}");
    std::fs::write(folder.join("taken.packed"), "mine").unwrap();
    let (_, said) = bad(folder, &["pack", "tiny.safetensors", "-o", "taken.packed", "--spec", "tiny.yaml"], 1);
    assert!(said.contains("taken.packed already exists") && said.contains("--force"), "{said}");
    assert_eq!(bytes(folder, "taken.packed"), b"mine");
    let (_, said) = bad(folder, &["pack", "tiny.safetensors", "-o", "no/tiny.packed", "--spec", "tiny.yaml"], 1);
    assert!(said.contains("its folder does not exist"), "{said}");
    let (_, said) = bad(folder, &["pack", "tiny.yaml", "-o", "tiny.packed"], 1);
    assert!(said.contains("not a weights file"), "{said}");
}

#[test]
fn inspect_shows_what_a_file_was_packed_for() {
    let folder = tiny();
    let folder = folder.path();
    let said = good(folder, &[&PACK[..], &["--isa", "neon"]].concat());
    assert!(said.contains("wrote tiny.packed: Tiny for neon, strict"), "{said}");
    assert!(said.contains("mobilenet_v2!(\"tiny.yaml\", weights = \"tiny.packed\")"), "{said}");

    let spec = ["inspect", "tiny.packed", "--spec", "tiny.yaml"];
    let said = good(folder, &spec);
    for part in
        ["version 7", "Tiny: tiny.yaml, precision f32, fusion block", "neon", "squash bilinear", "softmax", "none"]
    {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    let value = &json_lines(&good(folder, &[&spec[..], &["--json"]].concat()))[0];
    assert_eq!((&value["format"], &value["isa"]), (&"packed".into(), &"neon".into()));
    assert_eq!(value["file_bytes"], bytes(folder, "tiny.packed").len());
    assert_eq!(value["fits"]["fusion"], serde_json::json!(["block"]));
    let value = &json_lines(&good(folder, &[&spec[..], &["--json", "--classes", "11"]].concat()))[0];
    assert!(value["fits"].is_null(), "{value}");
    pack(folder, &["--isa", "neon", "--fusion", "none"]);
    let value = &json_lines(&good(folder, &[&spec[..], &["--json"]].concat()))[0];
    // Both levels have the same layout of weights.
    assert_eq!(value["fits"]["fusion"], serde_json::json!(["none", "relu6"]));
    let value = &json_lines(&good(folder, &["inspect", "tiny.packed", "--json"]))[0];
    assert!(value["fits"].is_null(), "the name differs from that of the built-in network");
}

#[test]
fn rejects_corrupt_packed_files() {
    let folder = tiny();
    let folder = folder.path();
    pack(folder, &["--isa", "portable"]);
    let whole = bytes(folder, "tiny.packed");
    let inspected = |content: &[u8]| {
        std::fs::write(folder.join("bad.packed"), content).unwrap();
        bad(folder, &["inspect", "bad.packed"], 1).1
    };
    let with = |at: usize, other: &[u8]| {
        let mut content = whole.clone();
        content[at..at + other.len()].copy_from_slice(other);
        content
    };
    for (content, expected) in [
        (whole[..whole.len() - 1].to_vec(), "does not match their header"),
        (whole[..20].to_vec(), "does not match their header"),
        ([&whole[..], &[0; 64]].concat(), "does not match their header"),
        (with(8, &6u32.to_le_bytes()), "packed weights of version 6, expected version 7"),
        (with(24, &u64::MAX.to_le_bytes()), "does not match their header"),
        (with(56, &u32::MAX.to_le_bytes()), "does not match their header"),
        (with(whole.len() - 64, b"\xff"), "are damaged"),
        (with(640, &[whole[640] ^ 1]), "are damaged"),
    ] {
        let said = inspected(&content);
        assert!(said.contains("bad.packed: ") && said.contains(expected), "no `{expected}` in\n{said}");
    }
    // Commands that expect a weights file recognize packed weights.
    std::fs::write(folder.join("bad.packed"), &whole).unwrap();
    let (_, said) = bad(folder, &["classify", "a.png", "--weights", "bad.packed", "--spec", "tiny.yaml"], 1);
    assert!(said.contains("found packed weights"), "{said}");
}
