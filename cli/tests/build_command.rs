//! `build`: programs, and libraries for C.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use common::{bad, good, json_lines, mbvc, picture, shared};
use image::ImageFormat;
use serde_json::Value;

mbvc::mobilenet_v2!("../specs/tiny.yaml");

const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/tiny.yaml");
const SIDE: usize = TinyNet::INPUT[0];

/// Labels that need care in C, in JSON, and nowhere else; one is empty.
const LABELS: &str = "background\nsay \"cat\"\n\\\nchat é\n5 %d %s\n\nseven\neight\nnine\nten";

/// Weights for the tiny network.
fn weights() -> Vec<u8> {
    let info = TinyNet::INFO;
    let tensors = info.parameters.iter().map(|tensor| (tensor.name, tensor.dtype, tensor.shape));
    let weights = mbvc::Weights::random(tensors, info.conventions, 11).unwrap();
    let mut container = mbvc_import::Container::from_bytes(weights.as_bytes(), "random").unwrap();
    container.metadata.insert("mbvc.framing".to_owned(), "crop 40/32 bicubic".to_owned());
    container.metadata.insert("mbvc.labels".to_owned(), LABELS.to_owned());
    container.to_bytes()
}

/// A folder with weights, and with pictures in each format: `a.*` of any size, `b.*` of the network's.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("w.safetensors"), weights()).unwrap();
    picture(&at("a.png"), 1);
    let a = image::open(at("a.png")).unwrap().into_rgb8();
    let b = image::imageops::crop_imm(&a, 3, 5, SIDE as u32, SIDE as u32).to_image();
    for (name, image) in [("a", a), ("b", b)] {
        image.save_with_format(at(&format!("{name}.png")), ImageFormat::Png).unwrap();
        image.save_with_format(at(&format!("{name}.bmp")), ImageFormat::Bmp).unwrap();
        std::fs::write(at(&format!("{name}.rgb")), image.as_raw()).unwrap();
        let header = format!("P6\n{} {}\n255\n", image.width(), image.height());
        std::fs::write(at(&format!("{name}.ppm")), [header.as_bytes(), image.as_raw()].concat()).unwrap();
    }
    folder
}

/// `mbvc build` of the tiny network; its report.
fn build(folder: &Path, arguments: &[&str]) -> Value {
    let given = [&["build", SPEC, "--weights", "w.safetensors", "--json"], arguments].concat();
    json_lines(&good(folder, &given)).remove(0)
}

/// A program for the tests that run one.
static PROGRAM: LazyLock<(tempfile::TempDir, Value)> = LazyLock::new(|| {
    let folder = folder();
    let report = build(folder.path(), &["--output", "tiny"]);
    (folder, report)
});

fn program() -> PathBuf {
    PROGRAM.0.path().join(format!("tiny{}", std::env::consts::EXE_SUFFIX))
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program())
        .current_dir(PROGRAM.0.path())
        .args(arguments)
        .env_remove("MBVC_ISA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails before it reads has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn answers(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let output = run(&[arguments, &["--json"]].concat(), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json_lines(&String::from_utf8(output.stdout).unwrap())
}

/// What `mbvc classify` makes of a picture.
fn classified(folder: &Path, picture: &str, further: &[&str]) -> Value {
    let arguments = ["classify", picture, "--weights", "w.safetensors", "--spec", SPEC, "--json"];
    json_lines(&good(folder, &[&arguments, further].concat())).remove(0)["predictions"].take()
}

#[test]
fn a_program_classifies_as_the_command_does() {
    let (folder, report) = &*PROGRAM;
    let bytes = std::fs::metadata(program()).unwrap().len();
    assert_eq!((&report["kind"], &report["network"]), (&"program".into(), &"TinyNet".into()));
    assert_eq!(report["files"][0]["bytes"], bytes);
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 10, "nothing else is left behind: {left:?}");

    for name in ["a", "b"] {
        let expected = classified(folder.path(), &format!("{name}.png"), &[]);
        let bytes = std::fs::read(folder.path().join(format!("{name}.ppm"))).unwrap();
        let (ppm, bmp) = (format!("{name}.ppm"), format!("{name}.bmp"));
        let found = answers(&[&ppm, &bmp, "-"], &bytes);
        let images: Vec<_> = found.iter().map(|answer| answer["image"].as_str().unwrap()).collect();
        assert_eq!(images, [&ppm, &bmp, "-"]);
        assert!(found.iter().all(|answer| answer["predictions"] == expected), "{found:?}\n{expected}");
        assert!(found.iter().all(|answer| answer["ms"].as_f64().unwrap() > 0.0));
    }
    // Raw pixels: of the network's size, or of one that is told.
    let expected = [classified(folder.path(), "b.png", &["--top", "10"]), classified(folder.path(), "a.png", &[])];
    let raw = std::fs::read(folder.path().join("b.rgb")).unwrap();
    for answer in answers(&["b.rgb", "-", "--top=12"], &raw) {
        assert_eq!(answer["predictions"], expected[0], "all there are");
    }
    assert_eq!(answers(&["--size", "50x40", "a.rgb"], b"")[0]["predictions"], expected[1]);
    let labels: Vec<_> = LABELS.lines().collect();
    for prediction in expected[0].as_array().unwrap() {
        let index = prediction["index"].as_u64().unwrap() as usize;
        assert_eq!(prediction["label"], labels[index]);
    }

    let output = run(&["a.ppm", "--top", "2"], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let [title, first, _] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(title.starts_with("a.ppm  ") && title.ends_with(" ms"), "{text}");
    assert!(first.ends_with(expected[1][0]["label"].as_str().unwrap()) && first.contains(" %  "), "{text}");
}

#[test]
fn a_program_tells_what_it_is_and_what_is_wrong() {
    let text = |arguments: &[&str], code: i32| {
        let output = run(arguments, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        String::from_utf8(output.stdout).unwrap() + &said
    };
    let help = text(&["--help"], 0);
    assert!(help.starts_with("tiny: ") && help.contains("TinyNet at 32x32, 10 classes"), "{help}");
    let about = text(&["--about"], 0);
    for word in ["TinyNet, [32, 32, 3] to 10 classes (10 names)", "crop 40/32 bicubic", "numerics", "ISA", "portable"] {
        assert!(about.contains(word), "{about}");
    }
    assert_eq!(text(&["--version"], 0), about);
    assert!(text(&[], 2).contains("expected an image\n       see tiny --help"));
    assert!(text(&["--color"], 2).contains("unknown option --color"));
    assert!(text(&["a.png"], 1).contains("a.png is a PNG image"));
    assert!(text(&["absent.ppm"], 1).contains("absent.ppm cannot be read"));
    assert!(text(&["."], 1).contains(". cannot be read"));
    assert!(text(&["-"], 1).contains("expected 3072 bytes, found 0"));
    assert!(text(&["--size", "50x41", "a.rgb"], 1).contains("6000 bytes are no picture of 50x41"));
    assert!(text(&["--size", "9999999999999x9999999999999", "a.rgb"], 1).contains("no picture of"));

    // The good ones are classified, the others told.
    let folder = tempfile::tempdir().unwrap();
    let [huge, cut] = ["huge.bmp", "cut.ppm"].map(|name| folder.path().join(name));
    let mut bmp = std::fs::read(PROGRAM.0.path().join("a.bmp")).unwrap();
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80]);
    std::fs::write(&huge, &bmp).unwrap();
    std::fs::write(&cut, &std::fs::read(PROGRAM.0.path().join("a.ppm")).unwrap()[..500]).unwrap();
    let said = text(&[huge.to_str().unwrap(), "a.ppm", cut.to_str().unwrap()], 1);
    assert!(said.contains("huge.bmp is 2147483647x2147483648 pixels; the limit is"), "{said}");
    assert!(said.contains("cut.ppm is truncated") && said.contains("cannot read 2 of 3 images"), "{said}");
    assert!(said.contains("a.ppm  "), "{said}");

    let output = Command::new(program()).arg("--about").env("MBVC_ISA", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MBVC_ISA names no instruction set"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_ends_a_program_quietly() {
    let mut child = Command::new(program())
        .current_dir(PROGRAM.0.path())
        .args(["a.ppm"; 50])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""));
}

/// Warnings that C programs are compiled with here.
const STRICT: &str = "-Wall -Wextra -Wconversion -Wshadow -Werror -std=c99 -pedantic";

fn shell(folder: &Path, command: &str) -> String {
    let output = Command::new("sh").current_dir(folder).args(["-c", command]).env_remove("MBVC_ISA").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles the example as the report says, runs it, and compares what it finds with the network that the macro makes.
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

/// The one instruction set that runs here: libraries for all of them take twice as long to compile.
fn best() -> &'static str {
    let isas = mbvc::Isa::FLOATS.into_iter().filter(|isa| isa.detect().is_some());
    isas.max().map_or("portable", mbvc::Isa::name)
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
    assert!(header.contains(&format!("#define TINY_SCRATCH_BYTES {}\n", TinyNet::SCRATCH_BYTES)), "{header}");
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
    // The name of the library is not that of the example's symbols.
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

/// Whatever stops a build is told before the compiler is asked: the one that is named here is none.
#[test]
fn what_cannot_be_built_is_told_before_anything_is_compiled() {
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
    let fails_with = |further: &[&str], told: &[&str]| {
        let said = fails(&[&whole, further].concat(), 1);
        assert!(told.iter().all(|word| said.contains(word)), "{further:?}: {said}");
    };
    fails_with(&[], &["building a program needs a Rust compiler, and `no-such-rustc` was not found", "rustup.rs"]);
    fails_with(&["--classes", "11"], &["w.safetensors does not fit", "the network needs 11, the file has 10"]);
    fails_with(&["--precision", "int8"], &["precision: the network needs int8, the file has f32"]);
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
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 11, "nothing is left behind");
}

/// These ask the compiler what it is, and compile nothing.
#[test]
fn files_and_targets_are_checked_before_the_long_work() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("taken"), "mine").unwrap();
    let fails = |output: &str, further: &[&str]| {
        let whole = ["build", SPEC, "--weights", "w.safetensors", "--output", output];
        bad(folder, &[&whole, further].concat(), 1).1
    };
    let said = fails("taken", &[]);
    assert!(said.contains("taken is there already") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(folder.join("taken")).unwrap(), b"mine");
    let said = fails("w.safetensors", &["--force"]);
    assert!(said.contains("w.safetensors would be overwritten"), "{said}");
    assert!(fails("no/such/folder", &[]).contains("its folder does not exist"));
    std::fs::write(folder.join("net.h"), "mine").unwrap();
    assert!(fails("net", &["--kind", "static"]).contains("net.h is there already"));
    let said = fails("new", &["--target", "pdp11-dec-rsx"]);
    assert!(said.contains("no target `pdp11-dec-rsx`") && said.contains("target-list"), "{said}");
    let said = fails("new", &["--target", "sparcv9-sun-solaris"]);
    assert!(said.contains("rustup target add sparcv9-sun-solaris"), "{said}");
    let absent = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let said = fails("new", &["--isa", absent]);
    assert!(said.contains(&format!("has {absent}")) && said.contains("portable"), "{said}");
    assert!(!folder.join("new").exists());
}

fn bytes(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
#[ignore = "compiles six times"]
fn what_is_built_is_the_same_everywhere() {
    for (kind, file) in [("program", "tiny"), ("static", "libtiny.a"), ("shared", "libtiny.so")] {
        let folders = [folder(), folder()];
        let built = [0, 1].map(|at| {
            let folder = folders[at].path();
            let cache = folder.join("cache");
            let mut command =
                mbvc(folder, &["build", SPEC, "--weights", "w.safetensors", "-o", "tiny", "--kind", kind]);
            let output = command.env("MBVC_CACHE", &cache).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let left = std::fs::read_dir(&cache).unwrap().count();
            assert_eq!(left, 2, "the runtime and its checksum");
            let built = bytes(folder.join(file));
            for place in [folder.to_str().unwrap(), env!("CARGO_MANIFEST_DIR"), ".building-"] {
                assert!(!holds(&built, place), "{place} is in the {kind}");
            }
            built
        });
        assert!(built[0] == built[1], "the {kind} differs");
    }
}

#[test]
#[ignore = "imports, and compiles three times"]
fn quantized_networks_and_threads_work_alike() {
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

    assert!(shell(folder, "./int8 a.ppm").contains(" %  class "), "without names, by number");

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
    assert_eq!(found["predictions"], expected, "portable kernels are strict, and threads change no bit");
}

/// Both libraries hold Rust's own; only one of each symbol may be there in the end.
#[cfg(unix)]
#[test]
#[ignore = "compiles twice"]
fn two_static_libraries_live_in_one_program() {
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
    assert_eq!(shell(folder, "MBVC_NUMERICS=strict ./main"), "0 0 0\n", "every fusion level gives the same bits");
}

/// 64-bit Arm, by the compiler and the emulator that `scripts/install-cross.sh` installs.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "compiles twice for another platform"]
fn other_platforms_are_built_for() {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    const COMPILER: &str = "/usr/bin/rustc";
    let there = Path::new("/usr/lib/rustlib").join(TARGET).exists() && Path::new(COMPILER).exists();
    if !there {
        let required = std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1");
        assert!(!required, "a compiler for {TARGET} is required here");
        println!("skipped: no compiler for {TARGET}");
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let build = |further: &[&str]| {
        let whole = ["build", SPEC, "--weights", "w.safetensors", "--json", "--target", TARGET];
        let linker = ["--linker", "aarch64-linux-gnu-gcc"];
        let mut command = mbvc(folder, &[&whole[..], &linker, further].concat());
        let output = command.env("RUSTC", COMPILER).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0)
    };
    let report = build(&["--output", "tiny"]);
    assert_eq!((&report["isas"], &report["target"]), (&serde_json::json!(["portable", "neon"]), &TARGET.into()));
    let found = json_lines(&shell(folder, "qemu-aarch64-static ./tiny a.ppm --json")).remove(0);
    // Instruction sets with fused multiply-adds give the same bits, if they are strict.
    let mut classify = mbvc(folder, &["classify", "a.png", "--weights", "w.safetensors", "--spec", SPEC, "--json"]);
    let output = classify.env("MBVC_NUMERICS", "strict").output().unwrap();
    let expected = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(found["predictions"], expected["predictions"]);

    let report = build(&["--output", "lib", "--kind", "static", "--example"]);
    let compile = report["compile"].as_str().unwrap();
    assert!(compile.starts_with("aarch64-linux-gnu-gcc lib.c liblib.a"), "{compile}");
    shell(folder, &format!("{compile} {STRICT}"));
    let first = shell(folder, "qemu-aarch64-static ./lib a.ppm").lines().next().unwrap().to_owned();
    assert!(first.ends_with(expected["predictions"][0]["label"].as_str().unwrap()), "{first}");

    let failed = mbvc(folder, &["build", SPEC, "--weights", "w.safetensors", "-o", "x", "--linker", "no-such-linker"])
        .output()
        .unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("no-such-linker") && said.contains("--linker names"), "{said}");
    assert!(!folder.join("x").exists());
}

/// The published network, float and int8, on a photograph.
#[test]
#[ignore = "compiles MobileNetV2 for all instruction sets, twice"]
fn the_cat_is_an_egyptian_cat() {
    let (Some(models), Some(images)) = (shared("models"), shared("images")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let labels = models.join("imagenet_labels_1001.txt");
    let cat = images.join("cat.bmp");
    for (model, name) in [("f32.onnx", "float"), ("int8_ptq.tflite", "int8")] {
        let model = models.join(format!("mobilenet_v2_1.0_224_{model}"));
        let import = ["import", model.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
        good(folder, &[&import[..], &["--output", "w.safetensors"]].concat());
        good(folder, &["build", "--weights", "w.safetensors", "--output", name]);
        let output = Command::new(folder.join(name)).args([cat.to_str().unwrap(), "--json"]).output().unwrap();
        let found = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
        let classify = ["classify", cat.to_str().unwrap(), "--weights", "w.safetensors", "--json"];
        let expected = json_lines(&good(folder, &classify)).remove(0);
        assert_eq!(found["predictions"], expected["predictions"]);
        assert_eq!(found["predictions"][0]["label"], "Egyptian cat");
        std::fs::remove_file(folder.join("w.safetensors")).unwrap();
    }
}
