//! Web packages: in Node and in a browser they compute what the command does.

mod pages;

use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc::Isa;
use serde_json::Value;

use crate::common::{bad, good, json_lines, mbvc, shared};
use crate::folder::{LABELS, SPEC, TinyNet, classified, folder};

const TARGET: &str = "wasm32-unknown-unknown";

/// The compiler of the packages.
pub fn rustc() -> PathBuf {
    std::env::var_os("MBVC_WEB_RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// Whether the compiler has a library for WebAssembly and `node` runs; where `MBVC_REQUIRE_WEB` is set, they must.
pub fn tools() -> bool {
    let output = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let libraries = output(&rustc(), &["--print", "target-libdir", "--target", TARGET]);
    let has_target = libraries.is_some_and(|path| Path::new(&path).is_dir());
    let there = has_target && output("node".as_ref(), &["--version"]).is_some();
    let required = std::env::var_os("MBVC_REQUIRE_WEB").is_some_and(|value| value == "1");
    assert!(there || !required, "a Rust library for {TARGET} and node are required here");
    if !there {
        println!("skipped: no Rust library for {TARGET}, or no node; see scripts/web.sh");
    }
    there
}

/// Builds the package `name` of weights for a spec; returns the report.
fn package(folder: &Path, name: &str, [weights, spec]: [&str; 2], further: &[&str]) -> Value {
    let given = ["build", spec, "--weights", weights, "--kind", "web", "--output", name, "--json"];
    let output = mbvc(folder, &[&given, further].concat()).env("RUSTC", rustc()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0)
}

/// The tiny network.
const TINY: [&str; 2] = ["w.safetensors", SPEC];

/// Runs a script of this folder; returns its line of JSON.
fn node(folder: &Path, flags: &[&str], script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build_command/web").join(script);
    let mut command = Command::new("node");
    let output = command.current_dir(folder).args(flags).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0)
}

/// Returns the flag that enables relaxed SIMD in node, or one without effect if it needs none.
fn relaxed_simd() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/relaxed-simd.sh");
    let output = Command::new(script).arg("node").output().unwrap();
    let flag = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    if flag.is_empty() { "--no-warnings".to_owned() } else { flag }
}

/// Compares the predictions of a package with those of `mbvc classify`.
fn agree(found: &Value, expected: &Value, tolerance: f64) {
    let [found, expected] = [found, expected].map(|value| value.as_array().unwrap());
    assert_eq!(found.len(), expected.len());
    for (one, other) in found.iter().zip(expected) {
        assert_eq!((&one["index"], &one["label"]), (&other["index"], &other["label"]));
        let scores = [one, other].map(|guess| guess["score"].as_f64().unwrap());
        assert!((scores[0] - scores[1]).abs() <= tolerance, "{one} {other}");
    }
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn close(found: &Value, expected: &[f32]) {
    let found = floats(found);
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (one, other) in found.iter().zip(expected) {
        assert!((one - other).abs() <= 1e-4 * largest, "{one} {other}");
    }
}

#[test]
fn packages_compute_what_the_command_does() {
    if !tools() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let report = package(folder, "tiny-net", TINY, &[]);
    assert_eq!((&report["kind"], &report["target"]), (&"web".into(), &TARGET.into()));
    assert_eq!((&report["resolution"], &report["classes"]), (&serde_json::json!([32, 32]), &10.into()));
    assert!(report["compile"].is_null());
    let files: Vec<_> = report["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    for name in ["tiny-net.wasm", "tiny-net.weights", "index.js", "package.json", "demo.html"] {
        assert!(files.contains(&&*format!("tiny-net/{name}")), "{files:?}");
        assert!(folder.join("tiny-net").join(name).exists(), "{name}");
    }
    for file in files.iter().filter(|name| !name.ends_with(".wasm") && !name.ends_with(".weights")) {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let words = text.split('@').skip(1).step_by(2);
        assert!(words.into_iter().all(|word| word.contains([' ', '\n', '/', '.'])), "{file}: a word is not replaced");
    }
    // `tiny.wasm` of 32x32 has a fifth of the code of an ImageNet network.
    let module = std::fs::read(folder.join("tiny-net/tiny-net.wasm")).unwrap();
    assert!(module.len() < 150_000, "{}", module.len());
    let count = |instruction: &[u8]| module.windows(instruction.len()).filter(|bytes| *bytes == instruction).count();
    let [pseudo_minima, selections] = [&[0xfd, 0xea, 0x01][..], &[0xfd, 0x52]].map(count);
    assert!(pseudo_minima > 4 * selections, "ReLU6: {pseudo_minima} f32x4.pmin, {selections} v128.bitselect");

    let results = node(folder, &[], "node.mjs", &["tiny-net", ".", "tiny-net"]);
    let labels: Vec<&str> = LABELS.lines().collect();
    assert_eq!(results["labels"], serde_json::json!(labels));
    let info = &results["info"];
    assert_eq!((&info["precision"], &info["activation"]), (&"f32".into(), &"softmax".into()));
    assert_eq!((&info["framing"], &info["input"]), (&"crop 40/32 bicubic".into(), &serde_json::json!([32, 32, 3])));
    agree(&results["a"], &classified(folder, "a.png", &["--top", "100"]), 1e-4);
    agree(&results["b"], &classified(folder, "b.png", &[]), 1e-4);

    let weights = mbvc::Weights::open(folder.join("w.safetensors")).unwrap();
    let model = TinyNet::with_isa(&weights, Isa::Portable).unwrap();
    let mut scratch = TinyNet::scratch();
    let pixels = std::fs::read(folder.join("b.rgb")).unwrap();
    close(&results["logits"], &model.run_pixels(&mut scratch, pixels.as_slice().try_into().unwrap()));
    let image = std::array::from_fn(|at| (at * at % 251) as f32 / 125.0 - 1.0);
    close(&results["floats"], &model.run(&mut scratch, &image));
    // `embed` frames the picture, like `classify`.
    let picture = mbvc::Rgb::new(pixels, [32, 32]).unwrap();
    let framed = model.frame(&picture).unwrap();
    close(&results["embedding"], &model.embed_pixels(&mut scratch, &framed));
}

#[test]
#[ignore = "imports, and compiles two packages"]
fn other_packages_compute_what_the_command_does() {
    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/qdq_channels.onnx");
    if !tools() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    good(folder, &["import", MODEL, "--output", "int8.safetensors", "--write-spec", "int8.yaml"]);
    let report = package(folder, "bytes", ["int8.safetensors", "int8.yaml"], &[]);
    assert_eq!(report["precision"], "int8");
    let classify = ["classify", "a.png", "--weights", "int8.safetensors", "--spec", "int8.yaml", "--json"];
    let expected = json_lines(&good(folder, &classify)).remove(0);
    let multiplies_bytes = |results: &Value| {
        let isa = results["info"]["isa"].as_str().unwrap();
        ["wasm128pairs", "wasm128dot"].contains(&isa) || !cfg!(target_arch = "x86_64")
    };
    let flag = relaxed_simd();
    for flags in [&[][..], &[flag.as_str()]] {
        let results = node(folder, flags, "node.mjs", &["bytes", ".", "bytes"]);
        assert_eq!(results["info"]["precision"], "int8");
        assert!(flags.is_empty() || multiplies_bytes(&results), "{}", results["info"]);
        assert!(results["labels"].as_array().unwrap().is_empty());
        let best = &results["a"].as_array().unwrap()[..expected["predictions"].as_array().unwrap().len()];
        agree(&best.into(), &expected["predictions"], 1e-7);
    }
    if let Some((playwright, chromium)) = browser() {
        let tools = [&playwright, &chromium].map(|path| path.to_str().unwrap());
        let results = node(folder, &[], "browser.mjs", &[&["bytes", ".", "bytes"][..], &tools, &["a.png"]].concat());
        assert!(multiplies_bytes(&results), "{}", results["info"]);
        agree(&results["pictures"]["a.png"]["guesses"], &expected["predictions"], 1e-7);
    }

    package(folder, "whole", TINY, &["--embed"]);
    assert!(!folder.join("whole/whole.weights").exists());
    let results = node(folder, &[], "node.mjs", &["whole", ".", "whole"]);
    agree(&results["a"], &classified(folder, "a.png", &["--top", "100"]), 1e-4);
}

#[test]
fn invalid_packages_are_rejected() {
    let folder = folder();
    let folder = folder.path();
    let fails = |further: &[&str]| {
        let whole = ["build", SPEC, "--weights", "w.safetensors"];
        bad(folder, &[&whole, further].concat(), 1).1
    };
    let said = fails(&["--kind", "shared", "--target", "wasm32-unknown-unknown", "-o", "net"]);
    assert!(said.contains("not supported for wasm32") && said.contains("--kind web"), "{said}");
    let said = fails(&["--kind", "web", "--target", "x86_64-unknown-linux-gnu", "-o", "net"]);
    assert!(said.contains("--kind web is built for wasm32-unknown-unknown"), "{said}");
    let said = fails(&["--embed", "-o", "net"]);
    assert!(said.contains("--embed requires --kind web"), "{said}");
    let said = fails(&["--kind", "web", "--example", "-o", "net"]);
    assert!(said.contains("--example requires a library"), "{said}");
    let said = fails(&["--kind", "web", "--threads", "2", "-o", "net"]);
    assert!(said.contains("one thread") && said.contains("pool.js"), "{said}");
    let said = fails(&["--kind", "web", "-o", "Net"]);
    assert!(said.contains("`Net` is not a valid npm package name"), "{said}");
    assert!(fails(&["--kind", "web", "-o", "no/such/net"]).contains("the parent folder does not exist"));
    assert!(!folder.join("net").exists());
}

/// A compiler whose libraries are in an empty folder.
#[cfg(unix)]
#[test]
fn a_missing_target_is_named_with_its_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let folder = folder.path();
    let compiler = folder.join("bare-rustc");
    std::fs::write(&compiler, "#!/bin/sh\nexec rustc --sysroot /nowhere \"$@\"\n").unwrap();
    std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = mbvc(folder, &["build", SPEC, "--weights", "w.safetensors", "--kind", "web", "-o", "net"]);
    let output = command.env("RUSTC", &compiler).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("rustup target add wasm32-unknown-unknown"), "{said}");
}

/// The folder of `playwright-core`, and a browser; `None` with a note if they are absent.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    let found = from("MBVC_PLAYWRIGHT").zip(from("MBVC_CHROMIUM"));
    if found.is_none() {
        println!("skipped: MBVC_PLAYWRIGHT and MBVC_CHROMIUM do not name a browser; see scripts/web.sh");
    }
    found
}

/// The pixels are those that the page sees, because decoders of JPEG differ.
#[test]
#[ignore = "starts a browser"]
fn browsers_compute_what_the_command_does() {
    let Some((playwright, chromium)) = browser().filter(|_| tools()) else { return };
    let folder = folder();
    let folder = folder.path();
    let report = package(folder, "net", TINY, &[]);
    let isas = report["isas"].as_array().unwrap();
    let mut pictures = vec!["a.png"];
    if let Some(photograph) = shared("images/hot_dog.jpg") {
        std::fs::copy(photograph, folder.join("photograph.jpg")).unwrap();
        pictures.push("photograph.jpg");
    }
    let tools = [&playwright, &chromium].map(|path| path.to_str().unwrap());
    let results = node(folder, &[], "browser.mjs", &[&["net", ".", "net"][..], &tools, &pictures].concat());
    let has_relaxed = folder.join("net/net.relaxed.wasm").exists();
    assert_eq!((&results["info"]["relaxed"], &results["info"]["isa"]), (&has_relaxed.into(), isas.last().unwrap()));
    for picture in pictures {
        let result = &results["pictures"][picture];
        let [width, height] = [0, 1].map(|at| result["size"][at].as_u64().unwrap() as u32);
        let pixels = std::fs::read(folder.join(format!("{picture}.rgba"))).unwrap();
        let image = image::DynamicImage::from(image::RgbaImage::from_raw(width, height, pixels).unwrap());
        image.into_rgb8().save(folder.join("seen.png")).unwrap();
        agree(&result["guesses"], &classified(folder, "seen.png", &[]), 1e-4);
    }
}
