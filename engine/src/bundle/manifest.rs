//! The manifest of a model file, and the platform that its library was compiled for.

use serde::{Deserialize, Serialize};

use super::digest;
use crate::error::{Error, Result};
use crate::modules::{DRIVER, FACTS};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// Content of `manifest.json`. Unknown keys are errors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// Version of mbvc that saved the file.
    pub mbvc: String,
    /// Name of the spec in messages.
    pub name: String,
    /// Keys and values that override those of the spec.
    pub overrides: Vec<(String, String)>,
    pub spec: Entry,
    pub weights: Entry,
    pub library: Option<LibraryEntry>,
}

impl Manifest {
    /// Reads the manifest of the model file `name`.
    ///
    /// # Errors
    /// If it is invalid, or a later version wrote it.
    pub fn read(text: &[u8], name: &str) -> Result<Self> {
        let invalid = |cause: serde_json::Error| {
            Error::new(format!("{name}: cannot read the manifest: {cause}"))
                .help("the file may be from a later version of mbvc; save the model again with this version")
        };
        // The format first: a later one may have other keys.
        let Version { format, mbvc } = serde_json::from_slice(text).map_err(invalid)?;
        if format != FORMAT {
            return Err(Error::new(format!("{name}: expected format {FORMAT} of model files, found {format}"))
                .help(format!("it was saved by mbvc {mbvc}; save the model again with this version")));
        }
        serde_json::from_slice(text).map_err(invalid)
    }
}

/// The keys that every format has.
#[derive(Deserialize)]
struct Version {
    format: u32,
    mbvc: String,
}

/// Length and checksum of a member.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    length: usize,
    sha256: String,
}

impl Entry {
    pub fn of(content: &[u8]) -> Self {
        Self { length: content.len(), sha256: digest(content) }
    }
}

/// A compiled library.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryEntry {
    /// Platform that it was compiled for, see [`platform`].
    platform: String,
    /// Hash of the source of its boundary, which the loading process must share.
    interface: String,
    pub entry: Entry,
}

impl LibraryEntry {
    pub fn of(library: &[u8]) -> Self {
        Self { platform: platform(), interface: interface(), entry: Entry::of(library) }
    }

    /// Checks that this process can load the library of the model file `name`, which version `mbvc` saved.
    ///
    /// # Errors
    /// If it was compiled for another platform, or with another interface.
    pub fn check(&self, name: &str, mbvc: &str) -> Result {
        let here = platform();
        if self.platform != here {
            return Err(Error::new(format!("{name} was compiled for {}, but this machine is {here}", self.platform))
                .help("save the model on a machine of this platform, or build it here from its weights and its spec"));
        }
        if self.interface != interface() {
            let here = env!("CARGO_PKG_VERSION");
            return Err(Error::new(format!(
                "{name} was saved by mbvc {mbvc}; its compiled network is incompatible with mbvc {here}"
            ))
            .help("save the model again with this version"));
        }
        Ok(())
    }
}

/// The platform of this process: architecture, operating system and C library, such as `x86_64-linux-gnu`.
pub fn platform() -> String {
    let library = match () {
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "gnu") => "-gnu",
        () if cfg!(target_env = "msvc") => "-msvc",
        () => "",
    };
    format!("{}-{}{library}", std::env::consts::ARCH, std::env::consts::OS)
}

fn interface() -> String {
    digest([DRIVER, FACTS].concat().as_bytes())
}
