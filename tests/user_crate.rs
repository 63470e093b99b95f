//! A user's crate outside the workspace: nothing but a spec, one dependency under another name, and a strict library.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

const LIBRARY: &str = r#"//! A crate whose author wants to be told everything.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs)]

vision::mobilenet_v2!(
    /// What the camera sees.
    pub "specs/net.yaml", crate = vision
);

/// Printed by the compiler if the network is not the spec's.
pub const CHECK: () = assert!(Net::CLASSES == CLASSES);

"#;

/// The crate, in a folder of this test's own.
struct User {
    folder: PathBuf,
    target: PathBuf,
}

impl User {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user_target");
        fs::create_dir_all(folder.join("src")).expect("a folder below the target folder");
        fs::create_dir_all(folder.join("specs")).expect("a folder below the target folder");
        // A workspace of its own; the versions of dependencies are those of this one, so that nothing is downloaded.
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             vision = {{ package = \"mbvc\", path = {root:?} }}\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).expect("written");
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("copied");
        let user = Self { folder, target };
        user.spec(10);
        user.library(10);
        user
    }

    fn spec(&self, classes: usize) {
        let spec = include_str!("../specs/tiny.yaml").replace("classes: 10", &format!("classes: {classes}"));
        self.write("specs/net.yaml", &spec.replace("name: TinyNet", "name: Net"));
    }

    fn library(&self, classes: usize) {
        self.write("src/lib.rs", &format!("{LIBRARY}const CLASSES: usize = {classes};\n"));
    }

    /// Writes a file that is newer than anything that was built from the one before, whatever the clock's steps.
    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        let before = fs::metadata(&path).and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        fs::write(&path, text).expect("written");
        let file = fs::File::options().append(true).open(&path).expect("just written");
        file.set_modified(SystemTime::now().max(before) + Duration::from_secs(2)).expect("a time can be set");
    }

    fn cargo(&self, arguments: &[&str]) -> Output {
        Command::new(std::env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")))
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("RUSTFLAGS")
            .output()
            .expect("cargo runs this test too")
    }

    fn check(&self) -> Result<(), String> {
        let output = self.cargo(&["check", "--color=never"]);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

#[test]
fn a_strict_crate_with_a_renamed_dependency_follows_its_spec() {
    let user = User::new("follows");
    user.check().unwrap_or_else(|error| panic!("{error}"));

    user.spec(11);
    let error = user.check().expect_err("the spec has changed, the library has not");
    assert!(error.contains("assertion failed: Net::CLASSES == CLASSES"), "{error}");
    user.library(11);
    user.check().unwrap_or_else(|error| panic!("{error}"));

    user.write("specs/net.yaml", "name: Net\n");
    let error = user.check().expect_err("the spec is no network any more");
    assert!(error.contains("--> specs/net.yaml:1:1"), "{error}");
}

#[test]
fn a_missing_spec_is_told_with_the_folder_that_was_searched() {
    let user = User::new("missing");
    user.write("src/lib.rs", "vision::mobilenet_v2!(\"specs/nett.yaml\", crate = vision);\n");
    let error = user.check().expect_err("there is no such spec");
    let folder = user.folder.canonicalize().expect("made above");
    let expected = [
        "there is no file `specs/nett.yaml`".to_owned(),
        "did you mean `specs/net.yaml`?".to_owned(),
        format!("the path is relative to `{}`", folder.display()),
        "`mbvc init specs/nett.yaml` writes a spec to start from".to_owned(),
        "--> src/lib.rs:1:23".to_owned(),
    ];
    for part in expected {
        assert!(error.contains(&part), "no `{part}` in\n{error}");
    }
    assert_eq!(error.matches("error:").count(), 2, "the mistake and cargo's conclusion, nothing else:\n{error}");
}
