//! Networks compiled on demand, kept by a hash of all that goes into them.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::error::{CliError, Result};
use crate::rustc::{Compiler, FLAGS, external};
use crate::{standalone, ui};

/// The functions that a library shows to the command, appended to the generated code.
const DRIVER: &str = include_str!("carried/driver.rs");

/// The folder of what was compiled before.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `MBVC_CACHE`, or `mbvc` in the user's cache folder; made if it is not there.
    ///
    /// # Errors
    /// If there is no such folder, or it cannot be made.
    pub fn open() -> Result<Self> {
        let folder = std::env::var_os("MBVC_CACHE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| dirs::cache_dir().map(|folder| folder.join("mbvc")))
            .map(|folder| std::path::absolute(&folder).unwrap_or(folder))
            .ok_or_else(|| {
                CliError::new("there is no cache folder to keep the compiled network in")
                    .help("name one with MBVC_CACHE=FOLDER")
            })?;
        std::fs::create_dir_all(&folder).map_err(|cause| CliError::io("create", &folder, &cause))?;
        Ok(Self { folder })
    }

    /// A folder to compile in, which vanishes. What is done is renamed out of it: two commands at once both end with a
    /// whole file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn work(&self) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(".building-").tempdir_in(&self.folder);
        made.map_err(|cause| CliError::io("write into", &self.folder, &cause))
    }

    /// The runtime as a library for Rust, compiled now or before.
    ///
    /// # Errors
    /// If it cannot be compiled or written.
    pub fn runtime(&self, compiler: &Compiler) -> Result<PathBuf> {
        const FEATURES: [&str; 2] = ["--cfg=feature=\"std\"", "--cfg=feature=\"alloc\""];
        let runtime = self.folder.join(format!("libmbvc_runtime-{}.rlib", runtime_key(compiler)));
        if !runtime.is_file() {
            let work = self.work()?;
            standalone::write_runtime_sources(work.path())?;
            let output = work.path().join("libmbvc_runtime.rlib");
            let flags = ["--crate-name=mbvc_runtime", "--crate-type=rlib"];
            compiler.compile(work.path(), "lib.rs", &output, flags.into_iter().chain(FEATURES))?;
            rename(&output, &runtime)?;
        }
        Ok(runtime)
    }
}

/// Compiles generated code, which defines `Generated`, to a dynamic library, or finds the one compiled before.
///
/// `what` is told to the user, who has to wait.
///
/// # Errors
/// If there is no Rust compiler, it refuses the code, or the cache cannot be written.
pub fn library(code: &str, what: &str) -> Result<PathBuf> {
    let compiler = Compiler::find("compiling this spec")
        .map_err(|error| error.help("the built-in network (no spec, no overrides) needs none"))?;
    let cache = Cache::open()?;
    let (start, end) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = cache.folder.join(format!("{start}{}{end}", key([runtime_key(&compiler).as_str(), DRIVER, code])));
    if library.is_file() {
        return Ok(library);
    }
    let spinner = ui::spinner(format!("compiling {what} for this machine (once)"));
    let runtime = cache.runtime(&compiler)?;
    let work = cache.work()?;
    let source = work.path().join("network.rs");
    std::fs::write(&source, format!("{code}\n{DRIVER}")).map_err(|cause| CliError::io("write", &source, &cause))?;
    let output = work.path().join("network.out");
    let flags = ["--crate-name=mbvc_network", "--crate-type=cdylib", "-Cstrip=debuginfo"].map(OsString::from);
    compiler.compile(
        work.path(),
        "network.rs",
        &output,
        flags.into_iter().chain(external("mbvc_runtime", &runtime)),
    )?;
    rename(&output, &library)?;
    spinner.finish_and_clear();
    Ok(library)
}

fn runtime_key(compiler: &Compiler) -> String {
    let texts = standalone::runtime_sources().iter().flat_map(|(name, text)| [*name, *text]);
    key(texts.chain(FLAGS).chain(compiler.key()))
}

fn rename(from: &Path, to: &Path) -> Result {
    std::fs::rename(from, to).map_err(|cause| CliError::io("write", to, &cause))
}

/// A hash of texts and of where each ends.
pub fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
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
