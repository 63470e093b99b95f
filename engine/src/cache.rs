//! Cache of compiled networks, by a hash of all their inputs. Its subfolder `packed` holds [packed weights](crate::shared).
//!
//! Each compiled file has a checksum file, because loading a truncated or damaged library could crash the process.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mbvc_runtime::sources::SOURCES;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::modules::{DRIVER, FACTS};
use crate::progress::{Progress, Report};
use crate::rustc::{Compiler, FLAGS, external};
use crate::temporary::Folder;

/// A folder of compiled files.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder in `MBVC_CACHE`, or `mbvc` in the user's cache folder. It is created when a file is stored.
    ///
    /// # Errors
    /// If `MBVC_CACHE` is not set and the user has no cache folder.
    pub fn open() -> Result<Self> {
        let folder = std::env::var_os("MBVC_CACHE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| dirs::cache_dir().map(|folder| folder.join("mbvc")))
            .ok_or_else(|| {
                Error::new("found no folder to cache the compiled network in").help("set MBVC_CACHE=FOLDER")
            })?;
        Ok(Self::at(&folder))
    }

    /// Opens another folder.
    pub fn at(folder: &Path) -> Self {
        // The loader and rustc must not depend on the current folder.
        Self { folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    /// Creates a temporary folder to compile in. Results are renamed out of it, so that two processes that compile the
    /// same network both get a complete file.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn work(&self) -> Result<Folder> {
        let failed = |verb: &str, cause: &std::io::Error| {
            let error = Error::io(verb, &self.folder, cause);
            match cause.kind() {
                ErrorKind::PermissionDenied => error.help("set MBVC_CACHE=FOLDER to compile in another folder"),
                _ => error,
            }
        };
        std::fs::create_dir_all(&self.folder).map_err(|cause| failed("create", &cause))?;
        Folder::new(&self.folder, ".building-").map_err(|cause| failed("write into", &cause))
    }

    /// Returns the folder of shared packed weights, which may not exist.
    pub(crate) fn packed(&self) -> PathBuf {
        self.folder.join("packed")
    }

    /// Returns the runtime as an `rlib`, compiled if the cache does not hold it.
    ///
    /// # Errors
    /// If it cannot be compiled or written.
    pub fn runtime(&self, compiler: &Compiler) -> Result<PathBuf> {
        const FEATURES: [&str; 2] = ["--cfg=feature=\"std\"", "--cfg=feature=\"alloc\""];
        let runtime = self.folder.join(format!("libmbvc_runtime-{}.rlib", runtime_key(compiler)));
        if !is_intact(&runtime) {
            let work = self.work()?;
            for (name, text) in SOURCES {
                write(&work.path().join(name), text)?;
            }
            let output = work.path().join("libmbvc_runtime.rlib");
            let flags = ["--crate-name=mbvc_runtime", "--crate-type=rlib"];
            compiler.compile(work.path(), "lib.rs", &output, flags.into_iter().chain(FEATURES))?;
            store(&output, &runtime)?;
        }
        Ok(runtime)
    }

    /// Returns the dynamic library of generated code, which defines `Generated`, compiled if the cache does not hold
    /// it. `what` describes the network in progress messages.
    ///
    /// # Errors
    /// If there is no Rust compiler, it rejects the code, or the cache cannot be written.
    pub fn library(&self, code: &str, what: &str, progress: &dyn Progress) -> Result<PathBuf> {
        let compiler = Compiler::find("compiling this spec")?;
        let (start, end) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let key = key([runtime_key(&compiler).as_str(), DRIVER, FACTS, code]);
        let library = self.folder.join(format!("{start}{key}{end}"));
        if is_intact(&library) {
            return Ok(library);
        }
        let _report = Report::begin(progress, &format!("compiling {what} for this machine (once)"));
        let runtime = self.runtime(&compiler)?;
        let work = self.work()?;
        let root = format!("{code}\nuse mbvc_runtime as rt; mod driver; mod facts;\n");
        for (name, text) in [("network.rs", root.as_str()), ("driver.rs", DRIVER), ("facts.rs", FACTS)] {
            write(&work.path().join(name), text)?;
        }
        let output = work.path().join("network.out");
        let flags = ["--crate-name=mbvc_network", "--crate-type=cdylib", "-Cstrip=debuginfo"].map(OsString::from);
        let flags = flags.into_iter().chain(external("mbvc_runtime", &runtime));
        compiler.compile(work.path(), "network.rs", &output, flags)?;
        store(&output, &library)?;
        Ok(library)
    }
}

fn runtime_key(compiler: &Compiler) -> String {
    let texts = SOURCES.iter().flat_map(|(name, text)| [*name, *text]);
    key(texts.chain(FLAGS).chain(compiler.key()))
}

fn write(path: &Path, text: &str) -> Result {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|cause| Error::io("create", folder, &cause))?;
    }
    std::fs::write(path, text).map_err(|cause| Error::io("write", path, &cause))
}

/// Returns the path of the checksum of `path`.
fn checksum_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Returns the content of a checksum file: length and SHA-256 of a file.
fn checksum(content: &[u8]) -> String {
    format!("{} {}\n", content.len(), hex(&Sha256::digest(content)))
}

/// Whether `path` exists with the content that was stored.
fn is_intact(path: &Path) -> bool {
    let Ok(expected) = std::fs::read_to_string(checksum_file(path)) else { return false };
    std::fs::read(path).is_ok_and(|content| checksum(&content) == expected)
}

/// Moves a complete file to the cache. If a process ends between the two renames, the file is not intact, and the next
/// process compiles it again. A file that another process has stored meanwhile is kept: a compiler may be reading it.
fn store(from: &Path, to: &Path) -> Result {
    if is_intact(to) {
        return Ok(());
    }
    let content = std::fs::read(from).map_err(|cause| Error::io("read", from, &cause))?;
    let written = checksum_file(from);
    std::fs::write(&written, checksum(&content)).map_err(|cause| Error::io("write", &written, &cause))?;
    for (from, to) in [(from, to), (&*written, &*checksum_file(to))] {
        std::fs::rename(from, to).map_err(|cause| Error::io("write", to, &cause))?;
    }
    Ok(())
}

/// Returns a hash of texts and their lengths.
pub(crate) fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    // 128 bits are enough for the name of a file.
    hex(&hash.finalize()[..16])
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_where_texts_end() {
        let keys = [key(["ab", "c"]), key(["a", "bc"]), key(["abc"]), key([])];
        for (at, one) in keys.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(keys[..at].iter().all(|other| other != one));
        }
        assert_eq!(keys[0], key(["ab", "c"]));
    }

    #[test]
    fn corrupt_files_are_not_intact() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("new"), folder.path().join("stored"));
        let content: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let fresh = || {
            std::fs::write(&from, &content).unwrap();
            store(&from, &to).unwrap();
        };
        assert!(!is_intact(&to), "absent");
        fresh();
        assert!(is_intact(&to));
        let mut damaged = content.clone();
        damaged[4000] ^= 1;
        for bad in [&content[..0], &content[..100], &content[..2500], &[&content[..], &[0]].concat(), &damaged] {
            std::fs::write(&to, bad).unwrap();
            assert!(!is_intact(&to), "{} bytes", bad.len());
            fresh();
            assert!(is_intact(&to));
        }
        std::fs::write(checksum_file(&to), "").unwrap();
        assert!(!is_intact(&to), "an empty checksum");
        std::fs::remove_file(checksum_file(&to)).unwrap();
        assert!(!is_intact(&to), "no checksum");
    }
}
