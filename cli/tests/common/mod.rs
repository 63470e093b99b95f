//! Shared by the tests of the command: runs it, and creates its input files.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mbvc_compiler::ir::{Graph, Op};
use mbvc_compiler::spec::{Overrides, Words};
use serde_json::Value;

/// Width 0.25 at 32x32 with ten classes, which compiles and runs fast.
pub const TINY: &str = include_str!("../tiny.yaml");

/// The command in `folder`, without color, with a cache for tests.
pub fn mbvc(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("mbvc").unwrap();
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1").env_remove("MBVC_ISA");
    command.env("MBVC_CACHE", cache());
    command
}

/// Folder of compiled networks, which all tests share.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("networks")
}

/// Runs the command, which must succeed; returns its standard output.
pub fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = mbvc(folder, arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the command, which must exit with `code`; returns its standard output and standard error.
pub fn bad(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let output = mbvc(folder, arguments).output().unwrap();
    let (out, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    (out, said)
}

/// Parses JSON lines.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"))).collect()
}

/// A folder with `tiny.yaml` and weights for it, `tiny.safetensors`.
pub fn tiny() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.yaml"), TINY).unwrap();
    let source = mbvc_compiler::SourceFile::new("tiny.yaml", TINY);
    let mut overrides = Overrides::new(Words::Command);
    overrides.set("fusion", "none").set("isa", "[portable]");
    let compiled = mbvc_compiler::compile(&source, &overrides).unwrap();
    let parameters = parameters(&compiled.graph);
    let tensors = parameters.iter().map(|(name, shape)| (name.as_str(), mbvc::weights::Dtype::F32, shape.as_slice()));
    let weights = mbvc::Weights::random(tensors, compiled.conventions(), 7).unwrap();
    std::fs::write(folder.path().join("tiny.safetensors"), weights.as_bytes()).unwrap();
    folder
}

fn parameters(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let of = |op: &Op| match op {
        Op::Conv2d(conv) => vec![Some(conv.weight), conv.bias],
        Op::DepthwiseConv2d(conv) => vec![Some(conv.weight), conv.bias],
        Op::Dense(dense) => vec![Some(dense.weight), Some(dense.bias)],
        _ => Vec::new(),
    };
    let ids = graph.order().unwrap().into_iter().flat_map(|id| of(&graph.node(id).op)).flatten();
    ids.map(|id| graph.param(id)).map(|param| (param.name.clone(), param.shape.clone())).collect()
}

/// Writes a PNG of noise.
pub fn picture(path: &Path, seed: u32) {
    let mut state = seed | 1;
    let picture = image::RgbImage::from_fn(50, 40, |_, _| {
        image::Rgb(std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    picture.save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// A file of the shared folder; `None`, with a note, if it is absent. Panics if it is required.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MBVC_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1");
    assert!(!required, "{} is required here", path.display());
    println!("skipped: no {}", path.display());
    None
}
