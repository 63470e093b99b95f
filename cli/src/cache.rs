//! Networks compiled on demand, kept by a hash of all that goes into them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::{CliError, Result};
use crate::{standalone, ui};

/// The functions that a library shows to the command, appended to the generated code.
const DRIVER: &str = include_str!("driver.rs");
/// As Cargo's release profile compiles, so that what is measured is what users get.
const FLAGS: [&str; 5] = ["--edition=2024", "-Copt-level=3", "-Cdebuginfo=0", "--cap-lints=allow", "-Cstrip=debuginfo"];

/// Compiles generated code, which defines `Generated`, to a dynamic library, or finds the one compiled before.
///
/// `what` is told to the user, who has to wait.
///
/// # Errors
/// If there is no Rust compiler, it refuses the code, or the cache cannot be written.
pub fn library(code: &str, what: &str) -> Result<PathBuf> {
    let folder = folder()?;
    let rustc = std::env::var_os("RUSTC").filter(|name| !name.is_empty()).unwrap_or_else(|| "rustc".into());
    let version = version(Path::new(&rustc))?;
    let sources = standalone::runtime_sources();
    let texts = sources.iter().flat_map(|(name, text)| [*name, *text]);
    let runtime_key = key(texts.chain(FLAGS).chain([version.as_str()]));
    let library_key = key([runtime_key.as_str(), DRIVER, code]);
    let library = folder.join(format!("{}{library_key}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    if library.is_file() {
        return Ok(library);
    }
    std::fs::create_dir_all(&folder).map_err(|cause| CliError::io("create", &folder, &cause))?;
    // Compiled aside and renamed: two commands at once both end with a whole file.
    let work = tempfile::Builder::new()
        .prefix(".building-")
        .tempdir_in(&folder)
        .map_err(|cause| CliError::io("write into", &folder, &cause))?;
    let spinner = ui::spinner(format!("compiling {what} for this machine (once)"));
    let runtime = folder.join(format!("libmbvc_runtime-{runtime_key}.rlib"));
    if !runtime.is_file() {
        let source = work.path().join("runtime");
        standalone::write_runtime_sources(&source)?;
        let mut command = Command::new(&rustc);
        command.args([
            "--crate-name=mbvc_runtime",
            "--crate-type=rlib",
            "--cfg=feature=\"std\"",
            "--cfg=feature=\"alloc\"",
        ]);
        compile(command.arg(source.join("lib.rs")), &work.path().join("libmbvc_runtime.rlib"), &runtime)?;
    }
    let source = work.path().join("network.rs");
    std::fs::write(&source, format!("{code}\n{DRIVER}")).map_err(|cause| CliError::io("write", &source, &cause))?;
    let mut command = Command::new(&rustc);
    command.args(["--crate-name=mbvc_network", "--crate-type=cdylib"]).arg("--extern").arg({
        let mut dependency = std::ffi::OsString::from("mbvc_runtime=");
        dependency.push(&runtime);
        dependency
    });
    compile(command.arg(&source), &work.path().join("network.out"), &library)?;
    spinner.finish_and_clear();
    Ok(library)
}

fn compile(command: &mut Command, output: &Path, target: &Path) -> Result {
    command.args(FLAGS).arg("-o").arg(output);
    let ran = command.output().map_err(|cause| CliError::new(format!("cannot run the Rust compiler: {cause}")))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let first: Vec<&str> = said.lines().take(20).collect();
        return Err(CliError::new(format!("the Rust compiler refused the generated code:\n{}", first.join("\n")))
            .help("Rust 1.95 or newer is needed; `rustup update` fetches the newest")
            .help("if it is new enough this is a mistake of mbvc: please report it with the spec"));
    }
    std::fs::rename(output, target).map_err(|cause| CliError::io("write", target, &cause))
}

fn version(rustc: &Path) -> Result<String> {
    let missing = || {
        CliError::new("compiling this spec needs a Rust compiler, and `rustc` was not found")
            .help("install Rust from https://rustup.rs, or name the compiler with RUSTC=/path/to/rustc")
            .help("the built-in network (no spec, no overrides) needs none")
    };
    let ran = Command::new(rustc).arg("-vV").output().map_err(|_| missing())?;
    if ran.status.success() { Ok(String::from_utf8_lossy(&ran.stdout).into_owned()) } else { Err(missing()) }
}

/// `MBVC_CACHE`, or `mbvc` in the user's cache folder.
fn folder() -> Result<PathBuf> {
    std::env::var_os("MBVC_CACHE")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| dirs::cache_dir().map(|folder| folder.join("mbvc")))
        .map(|folder| std::path::absolute(&folder).unwrap_or(folder))
        .ok_or_else(|| {
            CliError::new("there is no cache folder to keep the compiled network in")
                .help("name one with MBVC_CACHE=FOLDER")
        })
}

/// A hash of texts and of where each ends.
fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    // Half of the digest names a file well enough.
    hash.finalize().iter().take(16).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_texts_and_their_ends_apart() {
        let keys = [key(["ab", "c"]), key(["a", "bc"]), key(["abc"]), key([])];
        for (at, one) in keys.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(keys[..at].iter().all(|other| other != one));
        }
        assert_eq!(keys[0], key(["ab", "c"]));
    }
}
