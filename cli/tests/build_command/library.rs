//! Libraries: the results of C programs are bit-identical to those of the network that the macro defines.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{good, json_lines};
use crate::folder::{SPEC, TinyNet, build, classified, folder, shell};

/// Compiler flags of the C programs.
pub const STRICT: &str = "-Wall -Wextra -Wconversion -Wshadow -Werror -std=c99 -pedantic";

/// Compiles the example with the command of the report, and compares its logits with those of the macro's network.
fn example_agrees(folder: &Path, report: &Value, name: &str) {
    let compile = report["compile"].as_str().unwrap();
    shell(folder, &format!("{compile} {STRICT}"));
    shell(folder, &format!("./{name} b.ppm logits > /dev/null"));
    let found: Vec<u32> = std::fs::read(folder.join("logits"))
        .unwrap()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .collect();
    let weights = mbvc::Weights::open(folder.join("w.safetensors")).unwrap();
    let model = TinyNet::new(&weights).unwrap();
    let pixels = std::fs::read(folder.join("b.rgb")).unwrap();
    let expected = model.run_pixels(&mut TinyNet::scratch(), pixels.as_slice().try_into().unwrap());
    assert_eq!(found, expected.map(f32::to_bits));

    let text = shell(folder, &format!("./{name} a.ppm"));
    let expected = classified(folder, "a.png", &[]);
    let expected: String = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let (score, index, label) = (one["score"].as_f64().unwrap(), &one["index"], one["label"].as_str().unwrap());
            format!("{score:9.6}  {:>4}  {label}\n", index.to_string())
        })
        .collect();
    assert_eq!(text, expected);
    let failed = Command::new(folder.join(name)).current_dir(folder).args(["a.ppm", "logits"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("a length does not match the network"));
}

/// The best instruction set of this machine: libraries for all of them take twice as long to compile.
fn best() -> &'static str {
    let isas = mbvc::Isa::FLOAT.into_iter().filter(|isa| isa.detect().is_some());
    isas.max().map_or("portable", mbvc::Isa::name)
}

/// Bytes of the scratch of a network that is compiled for one instruction set.
fn scratch_bytes(isa: &str) -> usize {
    let mut overrides = mbvc_compiler::spec::Overrides::none();
    overrides.set("isa", isa);
    let compiled = mbvc_compiler::compile_file(std::path::Path::new(SPEC), "tiny.yaml", &overrides);
    compiled.unwrap_or_else(|mistakes| panic!("{mistakes}")).programs[0].scratch_bytes.next_multiple_of(64)
}

#[cfg(unix)]
#[test]
fn c_programs_call_a_static_library() {
    let folder = folder();
    let folder = folder.path();
    let report = build(folder, &["--kind", "static", "--output", "tiny", "--example", "--isa", best()]);
    let files: Vec<_> = report["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["libtiny.a", "tiny.h", "tiny.c"]);
    example_agrees(folder, &report, "tiny");
    let header = std::fs::read_to_string(folder.join("tiny.h")).unwrap();
    let compile = report["compile"].as_str().unwrap().replace("tiny.c", "main.c").replace("-o tiny", "-o main");
    assert!(header.contains(&compile) && compile.contains("libtiny.a -l"), "{compile}\n{header}");
    assert!(!header.contains('@') && header.contains("#define TINY_CLASSES 10\n"), "{header}");
    assert!(header.contains(&format!("#define TINY_EMBEDDING {}\n", TinyNet::EMBEDDING)), "{header}");
    assert!(header.contains(&format!("#define TINY_SCRATCH_BYTES {}\n", scratch_bytes(best()))), "{header}");
    let c = format!("cc -fsyntax-only {} -x c tiny.h", STRICT.replace("c99", "c89"));
    shell(folder, &c.replace("-pedantic", "-pedantic -Wno-long-long"));
    if Command::new("g++").arg("--version").output().is_ok() {
        shell(folder, "g++ -fsyntax-only -Wall -Wextra -Werror -std=c++11 -pedantic -x c++ tiny.h");
    } else {
        println!("skipped in part: no g++");
    }
}

#[cfg(unix)]
#[test]
fn c_programs_call_a_shared_library() {
    let folder = folder();
    let folder = folder.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    // The name of the library is not a valid C identifier.
    let shared = ["--kind", "shared", "--output", "out/my-tiny.2", "--example", "--isa", best()];
    let report = build(folder, &shared);
    let out = folder.join("out");
    for file in ["w.safetensors", "a.png", "a.ppm", "b.ppm", "b.rgb"] {
        std::fs::copy(folder.join(file), out.join(file)).unwrap();
    }
    example_agrees(&out, &report, "my-tiny.2");
    let header = std::fs::read_to_string(out.join("my-tiny.2.h")).unwrap();
    assert!(header.contains("my_tiny_2_model *my_tiny_2_create(const char **error);"), "{header}");
}

#[test]
#[ignore = "imports, and compiles three times"]
fn quantized_networks_and_threads_are_built_too() {
    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/qdq_channels.onnx");
    let folder = folder();
    let folder = folder.path();
    good(folder, &["import", MODEL, "--output", "int8.safetensors", "--write-spec", "int8.yaml"]);
    let given = ["build", "int8.yaml", "--weights", "int8.safetensors", "--json"];
    good(folder, &[&given[..], &["--output", "int8"]].concat());
    let run = shell(folder, "./int8 a.ppm --json");
    let classify = ["classify", "a.png", "--weights", "int8.safetensors", "--spec", "int8.yaml", "--json"];
    let expected = json_lines(&good(folder, &classify)).remove(0);
    assert_eq!(json_lines(&run)[0]["predictions"], expected["predictions"]);

    assert!(shell(folder, "./int8 a.ppm").contains(" %  class "), "numbers replace missing labels");

    let library = [&given[..], &["--output", "bytes", "--kind", "static", "--example"]].concat();
    let report = json_lines(&good(folder, &library)).remove(0);
    assert_eq!(report["precision"], "int8");
    shell(folder, &format!("{} {STRICT}", report["compile"].as_str().unwrap()));
    let first = shell(folder, "./bytes a.ppm").lines().next().unwrap().to_owned();
    let best = &expected["predictions"][0];
    assert!(first.starts_with(&format!("{:9.6}  {:>4}", best["score"].as_f64().unwrap(), best["index"].to_string())));
    assert!(!std::fs::read_to_string(folder.join("bytes.h")).unwrap().contains("bytes_embed("));

    build(folder, &["--output", "two", "--threads", "2", "--numerics", "strict", "--isa", "portable"]);
    assert!(shell(folder, "./two --about").contains("threads   2\n"));
    let found = json_lines(&shell(folder, "MBVC_ISA=portable ./two a.ppm --json")).remove(0);
    let expected = classified(folder, "a.png", &["--isa", "portable"]);
    assert_eq!(found["predictions"], expected, "portable kernels are strict, and threads do not change bits");
}

/// Both libraries contain Rust's standard library, whose symbols must not clash.
#[cfg(unix)]
#[test]
#[ignore = "compiles twice"]
fn two_static_libraries_link_into_one_program() {
    let folder = folder();
    let folder = folder.path();
    let report = build(folder, &["--output", "one", "--kind", "static"]);
    build(folder, &["--output", "other", "--kind", "static", "--fusion", "none", "--numerics", "strict"]);
    let main = r#"
#include <stdio.h>
#include <string.h>
#include "one.h"
#include "other.h"
int main(void) {
    static const uint8_t pixels[ONE_IMAGE_LENGTH] = {1, 2, 3};
    float a[ONE_CLASSES], b[OTHER_CLASSES];
    one_model *one = one_create(NULL);
    other_model *other = other_create(NULL);
    one_scratch *scratch = one_scratch_create();
    other_scratch *more = other_scratch_create();
    printf("%d %d ", one_run_pixels(one, scratch, pixels, sizeof pixels, a, ONE_CLASSES),
        other_run_pixels(other, more, pixels, sizeof pixels, b, OTHER_CLASSES));
    printf("%d\n", memcmp(a, b, sizeof a));
    one_free(one), other_free(other), one_scratch_free(scratch), other_scratch_free(more);
    return 0;
}
"#;
    std::fs::write(folder.join("main.c"), main).unwrap();
    let compile = report["compile"].as_str().unwrap().replace("libone.a", "libone.a libother.a");
    shell(folder, &format!("{compile} {STRICT}"));
    assert_eq!(shell(folder, "MBVC_NUMERICS=strict ./main"), "0 0 0\n", "every fusion level computes the same bits");
}
