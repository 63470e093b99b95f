//! Model files (`.mbvc`): a network with its weights in one file, which another machine runs without a Rust compiler.
//!
//! A model file is a zip archive of stored members: `spec.yaml`, `weights.safetensors`, `manifest.json` with the lengths and
//! SHA-256 checksums of the others, and `network.library`, the library compiled for one platform, unless the binary that saved
//! the file carries the network.
//! The library is machine code and is run: a model file must come from a trusted source, like a program.

mod manifest;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{Overrides, Words};
use mbvc_runtime::{Isa, Network, Weights};
use sha2::{Digest, Sha256};
use zip::read::{ArchiveOffset, Config};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::cache::{Cache, hex};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::program::{Program, Unbound, describe};
use crate::progress::Progress;
use crate::shared;
use crate::source::{Source, module};
use manifest::{Entry, FORMAT, LibraryEntry, Manifest};

/// Largest size of a model file in bytes.
const MAX_FILE: u64 = (1 << 30) + (1 << 28);

const MANIFEST: &str = "manifest.json";
const SPEC: &str = "spec.yaml";
const WEIGHTS: &str = "weights.safetensors";
const LIBRARY: &str = "network.library";

/// A network with its weights, as a model file contains it.
#[derive(Clone)]
pub struct Bundle {
    /// The spec, with the overrides that it was compiled with.
    pub source: Source,
    /// The weights.
    pub weights: Weights,
    /// The compiled library for this platform; `None` if the network is compiled on first use, or is one that the binary
    /// carries.
    library: Option<Vec<u8>>,
}

impl Bundle {
    /// Combines a spec and weights, without a compiled library.
    pub fn new(source: Source, weights: Weights) -> Self {
        Self { source, weights, library: None }
    }

    /// Reads a model file. `name` is used in messages.
    ///
    /// # Errors
    /// If the bytes are not a model file, are damaged, or the library was compiled for another platform or by another
    /// version. The library is not run.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        let mut members = Members::open(bytes, name)?;
        let text = members.read(MANIFEST, None)?;
        let manifest = Manifest::read(&text, name)?;
        let library = match &manifest.library {
            Some(library) => {
                library.check(name, &manifest.mbvc)?;
                Some(members.read(LIBRARY, Some(&library.entry))?)
            }
            None => None,
        };
        let spec = String::from_utf8(members.read(SPEC, Some(&manifest.spec))?)
            .map_err(|_| damaged(name, "its spec is not UTF-8"))?;
        let mut overrides = Overrides::new(Words::Command);
        for (key, value) in &manifest.overrides {
            overrides.set(key, value);
        }
        let source = Source::new(SourceFile::new(manifest.name, spec), overrides)?;
        let weights = members.read(WEIGHTS, Some(&manifest.weights))?;
        let weights = Weights::from_bytes(weights).map_err(|cause| Error::new(format!("{name}: {cause}")))?;
        Ok(Self { source, weights: weights.with_source(name), library })
    }

    /// Reads a model file of at most 1.25 GiB.
    ///
    /// # Errors
    /// If the file cannot be read, and as [`from_bytes`](Self::from_bytes).
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |cause: std::io::Error| match cause.kind() {
            std::io::ErrorKind::NotFound => Error::new(format!("cannot read {name}: no such file")),
            _ => Error::new(format!("cannot read {name}: {cause}")),
        };
        // Before the file is opened: a pipe blocks, and a device may have no end.
        let about = std::fs::metadata(path).map_err(failed)?;
        if !about.is_file() {
            return Err(Error::new(format!("cannot read {name}: not a regular file")));
        }
        if about.len() > MAX_FILE {
            return Err(Error::new(format!("{name} has {} bytes, the limit is {MAX_FILE}", about.len())));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(&bytes, &name)
    }

    /// Whether a machine without a Rust compiler can run the network: it is compiled, or this binary carries it.
    pub fn is_complete(&self) -> bool {
        self.library.is_some() || Program::is_carried(&self.source)
    }

    /// Returns the bundle with its compiled library for all instruction sets of this platform, unless it is complete.
    ///
    /// # Errors
    /// If the network cannot be compiled.
    pub fn completed(&self, progress: &dyn Progress) -> Result<Cow<'_, Self>> {
        if self.is_complete() {
            return Ok(Cow::Borrowed(self));
        }
        let compiled = self.source.compile(self.source.spec.fusion, &[])?;
        let what = format!("{}, all instruction sets", describe(&compiled));
        let path = Cache::open()?.library(&module(&compiled), &what, progress)?;
        let library = std::fs::read(&path).map_err(|cause| Error::io("read", &path, &cause))?;
        Ok(Cow::Owned(Self { library: Some(library), ..self.clone() }))
    }

    /// Returns the model file.
    ///
    /// # Errors
    /// If a member is too large for a zip archive.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Source { file, overrides, .. } = &self.source;
        let library = self.library.as_deref().map(LibraryEntry::of);
        let manifest = Manifest {
            format: FORMAT,
            mbvc: env!("CARGO_PKG_VERSION").to_owned(),
            name: file.name.clone(),
            overrides: overrides.given().to_vec(),
            spec: Entry::of(file.text.as_bytes()),
            weights: Entry::of(self.weights.as_bytes()),
            library,
        };
        let failed = |cause: &dyn std::fmt::Display| Error::new(format!("cannot write the model file: {cause}"));
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(|cause| failed(&cause))?;
        let members = [
            (MANIFEST, Some(&*manifest)),
            (SPEC, Some(file.text.as_bytes())),
            (WEIGHTS, Some(self.weights.as_bytes())),
            (LIBRARY, self.library.as_deref()),
        ];
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            if let Some(content) = content {
                zip.start_file(name, options).map_err(|cause| failed(&cause))?;
                zip.write_all(content).map_err(|cause| failed(&cause))?;
            }
        }
        Ok(zip.finish().map_err(|cause| failed(&cause))?.into_inner())
    }

    /// Binds the weights to the network: that of the library, one that this binary carries, or one that is compiled now. By
    /// default its kernels are those of the best instruction set of this processor.
    ///
    /// # Errors
    /// If the weights do not fit, the processor does not support the instruction set, or the network cannot be compiled or
    /// loaded.
    ///
    /// # Safety
    /// The library is machine code: the bytes that the bundle was read from must come from a trusted source.
    pub unsafe fn network(&self, isa: Option<Isa>, progress: &dyn Progress) -> Result<Box<dyn Network>> {
        // SAFETY: the caller's guarantee.
        unsafe { self.unbound(isa, progress) }?.build(&self.weights, isa)
    }

    /// Like [`network`](Self::network), but maps the packed weights from a file in the cache, so that all processes that run the
    /// model share one copy. If the cache is not usable, packs them into private memory.
    ///
    /// # Errors
    /// As `network`.
    ///
    /// # Safety
    /// As `network`. In addition, nothing but mbvc may write in the cache folder, and it must be on a local disk: a mapped file that
    /// shrinks or disappears ends the process.
    pub unsafe fn shared_network(&self, isa: Option<Isa>, progress: &dyn Progress) -> Result<Box<dyn Network>> {
        // SAFETY: the caller's guarantee.
        let unbound = unsafe { self.unbound(isa, progress) }?;
        let shared = || shared::network(&Cache::open().ok()?, &unbound, &self.weights, isa);
        shared().map_or_else(|| unbound.build(&self.weights, isa), Ok)
    }

    /// Returns the network without weights: that of the library, one that this binary carries, or one that is compiled now.
    ///
    /// # Safety
    /// As [`network`](Self::network).
    unsafe fn unbound(&self, isa: Option<Isa>, progress: &dyn Progress) -> Result<Unbound> {
        match &self.library {
            // SAFETY: the caller guarantees that the library can be trusted; it was checked to be complete, and compiled with
            // this version's driver.
            Some(library) => unsafe { Library::from_bytes(library) }.map(Unbound::Library),
            None => Program::find(&self.source, self.source.spec.fusion, isa, None)?.unbound(&self.weights, progress),
        }
    }
}

/// The members of a model file.
struct Members<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    length: u64,
    name: &'a str,
}

impl<'a> Members<'a> {
    fn open(bytes: &'a [u8], name: &'a str) -> Result<Self> {
        if !bytes.starts_with(b"PK\x03\x04") {
            return Err(Error::new(format!("{name} is not a model file of mbvc")).help(
                "open a file that `Model.save` wrote, or import a model of another framework with `mbvc.import_model`",
            ));
        }
        // Nothing is before the archive.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip =
            ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|cause| damaged(name, &cause.to_string()))?;
        Ok(Self { zip, length: bytes.len() as u64, name })
    }

    /// Reads a member, which has the length and the checksum of `entry`.
    fn read(&mut self, member: &str, entry: Option<&Entry>) -> Result<Vec<u8>> {
        let name = self.name;
        let wrong = |cause: &dyn std::fmt::Display| damaged(name, &format!("cannot read {member}: {cause}"));
        let mut file = self.zip.by_name(member).map_err(|cause| wrong(&cause))?;
        if file.compression() != CompressionMethod::Stored || file.size() > self.length {
            return Err(wrong(&"expected an uncompressed member"));
        }
        let mut content = Vec::new();
        file.by_ref().take(self.length).read_to_end(&mut content).map_err(|cause| wrong(&cause))?;
        match entry {
            Some(entry) if *entry != Entry::of(&content) => Err(wrong(&"the checksum does not match")),
            _ => Ok(content),
        }
    }
}

fn damaged(name: &str, cause: &str) -> Error {
    Error::new(format!("{name} is a damaged model file: {cause}")).help("copy the file again, or save the model again")
}

/// SHA-256 as text.
fn digest(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}
