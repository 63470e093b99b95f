//! Reproducible output, and other platforms.

use std::path::{Path, PathBuf};

use crate::common::{json_lines, mbvc};
use crate::folder::{SPEC, folder, shell};
use crate::library::STRICT;
use crate::web;

fn bytes(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
#[ignore = "compiles eight times"]
fn builds_are_reproducible() {
    let native = [("program", "tiny"), ("static", "libtiny.a"), ("shared", "libtiny.so")];
    let web = web::tools().then_some(("web", "tiny/tiny.wasm"));
    // One runtime: with `portable` there is one module.
    for (kind, file) in native.into_iter().chain(web) {
        let folders = [folder(), folder()];
        let built = [0, 1].map(|at| {
            let folder = folders[at].path();
            let cache = folder.join("cache");
            let mut command =
                mbvc(folder, &["build", SPEC, "--weights", "w.safetensors", "-o", "tiny", "--kind", kind]);
            if kind == "web" {
                command.args(["--isa", "portable"]).env("RUSTC", web::rustc());
            }
            let output = command.env("MBVC_CACHE", &cache).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let left = std::fs::read_dir(&cache).unwrap().count();
            assert_eq!(left, 2, "the runtime and its checksum");
            let built = bytes(folder.join(file));
            for place in [folder.to_str().unwrap(), env!("CARGO_MANIFEST_DIR"), ".building-"] {
                assert!(!holds(&built, place), "the {kind} contains {place}");
            }
            built
        });
        assert!(built[0] == built[1], "the {kind} differs");
    }
}

/// 64-bit Arm, with the compiler and the emulator of `scripts/install-cross.sh`.
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
    // Strict kernels with fused multiply-adds compute the same bits on every instruction set.
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
    assert!(said.contains("no-such-linker") && said.contains("--linker"), "{said}");
    assert!(!folder.join("x").exists());
}
