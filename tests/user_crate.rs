//! A user's crate outside the workspace: a spec and weights, one renamed dependency, and a library with strict lints.

#[allow(unused)]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use common::{leaked, random_weights, with_metadata};
use mbvc::{Isa, Weights};
use mbvc_test_networks::tiny::{Int8, TinyNet as Net};

const LIBRARY: &str = r#"//! A crate with all lints enabled.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs)]

vision::mobilenet_v2!(
    /// Classifies the images of a camera.
    pub "specs/net.yaml", crate = vision
);

/// Fails to compile if the network is not the spec's.
pub const CHECK: () = assert!(Net::CLASSES == CLASSES);

"#;

/// Prints the results of the embedded weights, one line per network.
const PROGRAM: &str = r#"//! A program that needs no file.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs)]

vision::mobilenet_v2!("specs/net.yaml", weights = "model.safetensors", crate = vision);
vision::mobilenet_v2!("specs/net.yaml", name = Int8, precision = "int8", weights = "int8.safetensors", crate = vision);
vision::mobilenet_v2!("specs/net.yaml", name = Packed, isa = portable, weights = "model.packed", crate = vision);
vision::mobilenet_v2!("specs/net.yaml", name = Built, isa = portable, weights = "$OUT_DIR/built.packed", crate = vision);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pixels: [u8; 32 * 32 * 3] = std::array::from_fn(|at| (at * 37 % 251) as u8);
    let model = Net::embedded()?;
    println!("{:?} {:?}", model.run_pixels(&mut Net::scratch(), &pixels).map(f32::to_bits), model.labels());
    let model = Int8::embedded()?;
    println!("{:?} {:?}", model.run_pixels(&mut Int8::scratch(), &pixels), model.labels());
    let model = Packed::embedded()?;
    println!("{:?} {:?}", model.run_pixels(&mut Packed::scratch(), &pixels).map(f32::to_bits), model.labels());
    let model = Built::embedded()?;
    println!("{:?} {:?}", model.run_pixels(&mut Built::scratch(), &pixels).map(f32::to_bits), model.labels());
    assert_eq!(std::thread::spawn(Net::embedded).join().expect("no panic")?.isa(), Net::embedded()?.isa());
    Ok(())
}
"#;

/// Copies the packed file to the output folder, as a build script that creates it would.
const BUILD: &str = r#"//! Makes a packed file.
fn main() {
    let to = std::env::var("OUT_DIR").expect("Cargo gives it") + "/built.packed";
    std::fs::copy("model.packed", to).expect("copied");
    println!("cargo::rerun-if-changed=model.packed");
}
"#;

/// The crate, in a temporary folder.
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
        // A separate workspace with the same versions of dependencies, so that nothing is downloaded.
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
        self.write("specs/net.yaml", spec.replace("name: TinyNet", "name: Net"));
    }

    fn library(&self, classes: usize) {
        self.write("src/lib.rs", format!("{LIBRARY}const CLASSES: usize = {classes};\n"));
    }

    /// Writes a file with a later modification time than anything built from its previous version.
    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        let before = fs::metadata(&path).and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        fs::write(&path, content).expect("written");
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
#[ignore = "builds mbvc again, as the dependency of another workspace"]
fn a_strict_crate_with_a_renamed_dependency_follows_its_spec() {
    let user = User::new("follows");
    user.check().unwrap_or_else(|error| panic!("{error}"));

    user.spec(11);
    let error = user.check().expect_err("the spec has changed, the library has not");
    assert!(error.contains("assertion failed: Net::CLASSES == CLASSES"), "{error}");
    user.library(11);
    user.check().unwrap_or_else(|error| panic!("{error}"));

    user.write("specs/net.yaml", "name: Net\n");
    let error = user.check().expect_err("the spec is invalid");
    assert!(error.contains("--> specs/net.yaml:1:1"), "{error}");
}

#[test]
#[ignore = "checks mbvc again, as the dependency of another workspace"]
fn reports_a_missing_spec_with_the_folder_that_was_searched() {
    let user = User::new("missing");
    user.write("src/lib.rs", "vision::mobilenet_v2!(\"specs/nett.yaml\", crate = vision);\n");
    let error = user.check().expect_err("the spec does not exist");
    let folder = user.folder.canonicalize().expect("created above");
    let expected = [
        "file `specs/nett.yaml` not found".to_owned(),
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

/// Weights of the network of `specs/net.yaml`, with labels.
fn named_weights(seed: u64) -> [Weights; 2] {
    let labels: Vec<String> = (0..Net::CLASSES).map(|class| format!("kind {class} of {seed}")).collect();
    let metadata = [("mbvc.labels", labels.join("\\n"))];
    [Net::INFO, Int8::INFO].map(|info| with_metadata(&random_weights(info, seed), &metadata))
}

/// The expected output of the program, computed here from the opened weights.
fn expected([float, int8]: &[Weights; 2]) -> String {
    let pixels: [u8; 32 * 32 * 3] = std::array::from_fn(|at| (at * 37 % 251) as u8);
    let net = |model: Net| {
        format!("{:?} {:?}", model.run_pixels(&mut Net::scratch(), &pixels).map(f32::to_bits), model.labels())
    };
    let best = net(Net::new(float).expect("they fit"));
    let portable = net(Net::with_isa(float, Isa::Portable).expect("they fit"));
    let int8 = Int8::new(int8).expect("they fit");
    let int8 = format!("{:?} {:?}", int8.run_pixels(&mut Int8::scratch(), &pixels), int8.labels());
    [best, int8, portable.clone(), portable, String::new()].join("\n")
}

#[test]
#[ignore = "builds mbvc again, as the dependency of another workspace"]
fn embedded_weights_give_the_bits_of_opened_ones_and_are_followed() {
    let user = User::new("carries");
    fs::remove_file(user.folder.join("src/lib.rs")).expect("written above");
    user.write("src/main.rs", PROGRAM);
    user.write("build.rs", BUILD);
    for seed in [1, 2] {
        let weights = named_weights(seed);
        let [float, int8] = &weights;
        let packed = leaked(Net::packed_bytes_for(&float.container(), Isa::Portable).expect("compiled in"), 0);
        Net::pack(&float.container(), Isa::Portable, packed).expect("the network's own weights");
        user.write("model.safetensors", float.as_bytes());
        user.write("int8.safetensors", int8.as_bytes());
        user.write("model.packed", packed);
        let output = user.cargo(&["run", "--quiet", "--color=never"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected(&weights), "seed {seed}: {error}");
    }

    fs::remove_file(user.folder.join("int8.safetensors")).expect("written above");
    let error = user.check().expect_err("the weights are gone");
    for part in [
        "the weights cannot be embedded",
        "file `int8.safetensors` not found",
        "did you mean `model.safetensors`?",
        &format!("the path is relative to `{}`", user.folder.canonicalize().expect("created above").display()),
        "--> src/main.rs:6:",
    ] {
        assert!(error.contains(part), "no `{part}` in\n{error}");
    }
}
