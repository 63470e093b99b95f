//! Libraries that the process has loaded. They are never unloaded, because threads of their pools may run their code at
//! any time.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use libloading::{Library, Symbol};
use mbvc_runtime::NetworkInfo;
use sha2::{Digest, Sha256};

use super::facts::{self, NetworkFacts, Tables};
use super::{Build, Describe, DescribeModel, Embed, Free, FromPacked, Pack, Run, collect};
use crate::cache::hex;
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::temporary::Folder;

/// The C functions of a library.
pub struct Functions {
    pub model: DescribeModel,
    pub build: Build,
    pub pack: Pack,
    pub from_packed: FromPacked,
    pub free: Free,
    pub run: Run<f32>,
    pub run_pixels: Run<u8>,
    pub embed_pixels: Embed,
}

/// A loaded library and the facts of its network.
pub struct Loaded {
    /// Path in the cache, or hash of the bytes.
    key: OsString,
    pub functions: Functions,
    facts: NetworkFacts,
    tables: Tables,
    _library: Library,
}

/// All loaded libraries.
static LOADED: Chain<Loaded> = Chain::new();

impl Loaded {
    /// Loads a library that the cache has compiled and checked, unless it is already loaded.
    ///
    /// # Errors
    /// If it cannot be loaded, or was not compiled with this version's driver.
    pub fn open(path: &Path) -> Result<&'static Self> {
        let key = path.as_os_str();
        if let Some(loaded) = LOADED.iter().find(|loaded| loaded.key == key) {
            return Ok(loaded);
        }
        // SAFETY: the cache compiled this file from code without initializers, and has verified its checksum. Its name is a
        // hash of the driver's source too.
        unsafe { Self::load(path, key) }
    }

    /// Loads a library from memory, unless one with the same bytes is already loaded.
    ///
    /// # Errors
    /// If it cannot be written to a temporary file or loaded.
    ///
    /// # Safety
    /// As [`load`](Self::load), for the bytes.
    pub unsafe fn from_bytes(bytes: &[u8]) -> Result<&'static Self> {
        let key = OsString::from(hex(&Sha256::digest(bytes)));
        if let Some(loaded) = LOADED.iter().find(|loaded| loaded.key == key) {
            return Ok(loaded);
        }
        let place = std::env::temp_dir();
        // Only this user can replace the file before it is loaded.
        let folder = Folder::new(&place, ".mbvc-load-").map_err(|cause| Error::io("write into", &place, &cause))?;
        let path = folder.path().join("network");
        std::fs::write(&path, bytes).map_err(|cause| Error::io("write", &path, &cause))?;
        // SAFETY: the caller's guarantee. The library stays mapped when the file is deleted.
        unsafe { Self::load(&path, &key) }.map_err(|error| {
            error
                .help("if it was compiled on a newer system, save the model on the older one")
                .help("if the folder is mounted with noexec, set TMPDIR to another one")
        })
    }

    /// # Safety
    /// The file must be a library that `Cache::library` compiled with this version's driver.
    unsafe fn load(path: &Path, key: &OsStr) -> Result<&'static Self> {
        let fail = |cause: libloading::Error| Error::new(format!("cannot load {}: {cause}", path.display()));
        // SAFETY: the caller guarantees that the library has no initializers.
        let library = unsafe { Library::new(path) }.map_err(fail)?;
        // SAFETY: the caller guarantees that the functions are those of `carried/driver.rs` and have these types.
        let (describe, functions) = unsafe {
            let describe: Symbol<Describe> = library.get(b"mbvc_network\0").map_err(fail)?;
            let functions = Functions {
                model: *library.get(b"mbvc_model\0").map_err(fail)?,
                build: *library.get(b"mbvc_build\0").map_err(fail)?,
                pack: *library.get(b"mbvc_pack\0").map_err(fail)?,
                from_packed: *library.get(b"mbvc_from_packed\0").map_err(fail)?,
                free: *library.get(b"mbvc_free\0").map_err(fail)?,
                run: *library.get(b"mbvc_run\0").map_err(fail)?,
                run_pixels: *library.get(b"mbvc_run_pixels\0").map_err(fail)?,
                embed_pixels: *library.get(b"mbvc_embed_pixels\0").map_err(fail)?,
            };
            (*describe, functions)
        };
        let mut encoded = Vec::new();
        // SAFETY: the sink's context is a `Vec<u8>`.
        unsafe { describe(collect, (&raw mut encoded).cast()) };
        let facts = NetworkFacts::decode(&encoded).map_err(|cause| {
            Error::new(format!("cannot read the description of the network in {}: {cause}", path.display()))
        })?;
        Ok(LOADED.push(Self { key: key.to_owned(), functions, facts, tables: Tables::default(), _library: library }))
    }

    /// Returns an identifier of the code.
    pub fn key(&self) -> String {
        self.key.to_string_lossy().into_owned()
    }

    /// Returns the facts of the network.
    pub fn info(&'static self) -> &'static NetworkInfo {
        facts::info(&self.facts, &self.tables)
    }
}
