//! Networks that the command compiles: the cache, and errors of the compiler and the linker.

mod common;

use common::{mbvc, picture, tiny};

#[test]
fn reports_a_missing_compiler_and_repairs_a_corrupt_cache() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let cache = folder.path().join("cache");
    let arguments = ["classify", "a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];
    let run = |compiler: Option<&str>| {
        let mut command = mbvc(folder.path(), &arguments);
        command.env("MBVC_CACHE", &cache);
        if let Some(compiler) = compiler {
            command.env("RUSTC", compiler);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(Some("no-such-rustc"));
    assert_eq!(code, Some(1));
    assert!(said.contains("requires a Rust compiler") && said.contains("rustup.rs"), "{said}");
    assert!(!cache.exists(), "no folder is left");

    assert_eq!(run(None).0, Some(0));
    let library = std::fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(std::env::consts::DLL_SUFFIX))
        .unwrap();
    let whole = std::fs::metadata(&library).unwrap().len();
    for length in [100, whole / 2] {
        std::fs::OpenOptions::new().write(true).open(&library).unwrap().set_len(length).unwrap();
        assert_eq!(run(None), (Some(0), String::new()), "{length} of {whole} bytes");
        assert!(std::fs::metadata(&library).unwrap().len() > whole / 2, "compiled again");
    }
}

/// Writes an executable that answers `rustc -vV` and fails otherwise with these lines of a shell script.
#[cfg(unix)]
fn fake_compiler(folder: &std::path::Path, script: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("fake-rustc");
    let text = format!("#!/bin/sh\nif [ \"$1\" = -vV ]; then echo 'host: test'; exit 0; fi\n{script}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_not_a_compiler_bug() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let cache = folder.path().join("cache");
    let fails = |script: &str, further: &[&str]| {
        let arguments = ["classify", "a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];
        let mut command = mbvc(folder.path(), &[&arguments[..], further].concat());
        command.env("MBVC_CACHE", &cache).env("RUSTC", fake_compiler(folder.path(), script));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0, "no file is left");
        String::from_utf8(output.stderr).unwrap()
    };
    let full = "echo 'LLVM ERROR: IO failure on output stream: No space left on device' >&2; kill -ABRT $$";
    let said = fails(full, &[]);
    let expected = format!("error: the disk is full: the Rust compiler cannot write into {}\n", cache.display());
    assert!(said.starts_with(&expected) && said.contains("MBVC_CACHE=FOLDER"), "{said}");
    assert!(!said.contains("bug") && !said.contains("Rust 1.95") && !said.contains("LLVM"), "{said}");
    assert!(fails(full, &["--verbose"]).ends_with("IO failure on output stream: No space left on device\n"));
    // The limit of a file's size fails the compiler in the same way.
    let said = fails("(ulimit -f 1; trap '' XFSZ; head -c 100000 /dev/zero > limited); exit 1", &["--verbose"]);
    assert!(said.contains("the disk is full"), "{said}");

    let link = "printf 'error: linking with `cc` failed: exit status: 1\\n  = note: ld: wrong format\\n' >&2; exit 1";
    let said = fails(link, &[]);
    assert!(said.contains("linking with `cc` failed") && !said.contains("wrong format"), "{said}");
    assert!(fails(link, &["-v"]).contains("ld: wrong format"));
}

/// A killed process leaves its folder in the cache; the next one deletes it.
#[cfg(unix)]
#[test]
fn interrupted_compilations_are_cleaned_up() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let cache = folder.path().join("cache");
    let arguments = ["classify", "a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];
    let compiler = fake_compiler(folder.path(), "touch started; exec sleep 20");
    let mut started = std::process::Command::new(assert_cmd::cargo::cargo_bin("mbvc"));
    started.current_dir(folder.path()).args(arguments).env("MBVC_CACHE", &cache).env("RUSTC", &compiler);
    let mut started = started.spawn().unwrap();
    let left = || std::fs::read_dir(&cache).map_or(0, Iterator::count);
    for _ in 0..1200 {
        if folder.path().join("started").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    started.kill().unwrap();
    started.wait().unwrap();
    assert_eq!(left(), 1);
    fake_compiler(folder.path(), "exit 1");
    let mut command = mbvc(folder.path(), &arguments);
    command.env("MBVC_CACHE", &cache).env("RUSTC", &compiler).assert().failure();
    assert_eq!(left(), 0);
}
