//! Crates of carried sources and a network's code, from which binaries are compiled.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::rustc::{Compiler, external};
use crate::temporary::Folder;

/// A module of a crate: its name and its text.
pub type Module = (&'static str, Cow<'static, str>);

/// Modules of every crate.
const MODEL: Module = ("model", Cow::Borrowed(include_str!("../carried/model.rs")));
const WEIGHTS: Module = ("weights", Cow::Borrowed(include_str!("../carried/weights.rs")));

/// A crate that defines the network's type as `Generated`.
pub struct SourceCrate<'a> {
    /// The network's code: [`crate::module`].
    pub code: &'a str,
    /// Modules besides the network and its model.
    pub modules: Vec<Module>,
    /// The main function of a program, or nothing.
    pub main: &'static str,
    /// Bytes of the module `weights`, if they are part of the binary.
    pub weights: Option<&'a [u8]>,
    /// The crate type, as rustc spells it.
    pub crate_type: &'static str,
    /// Name that distinguishes the symbols of crates with the same code.
    pub name: &'a str,
    /// Whether the network is quantized.
    pub quantized: bool,
}

/// A temporary folder with a compiled binary.
pub struct Binary {
    work: Folder,
    file: OsString,
}

impl Binary {
    /// The folder with the compiler's outputs only: a linker may write more than one file.
    pub fn folder(&self) -> PathBuf {
        self.work.path().join("output")
    }

    /// Path of the binary.
    pub fn path(&self) -> PathBuf {
        self.folder().join(&self.file)
    }

    /// Folder of the sources, and of further files that flags name.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Content of the binary.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn content(&self) -> Result<Vec<u8>> {
        let path = self.path();
        std::fs::read(&path).map_err(|cause| Error::io("read", &path, &cause))
    }
}

impl SourceCrate<'_> {
    /// Compiles the crate to a file called `file`. `flags` are further flags, given the folder of the sources.
    ///
    /// # Errors
    /// If it cannot be compiled or linked.
    pub fn compile(
        &self,
        cache: &Cache,
        compiler: &Compiler,
        file: OsString,
        flags: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Binary> {
        let runtime = cache.runtime(compiler)?;
        let binary = Binary { work: cache.work()?, file };
        let work = binary.work.path();
        self.write(work)?;
        let outputs = binary.folder();
        std::fs::create_dir(&outputs).map_err(|cause| Error::io("create", &outputs, &cause))?;
        let flags = self.flags().into_iter().chain(flags(work)).chain(external("mbvc_runtime", &runtime));
        compiler.compile(work, "main.rs", &binary.path(), flags)?;
        Ok(binary)
    }

    /// Writes the sources and the weights that they include.
    fn write(&self, work: &Path) -> Result {
        let write = |name: &str, content: &[u8]| {
            let path = work.join(name);
            std::fs::write(&path, content).map_err(|cause| Error::io("write", &path, &cause))
        };
        let weights = self.weights.map(|_| WEIGHTS);
        let modules: Vec<_> = [MODEL].iter().chain(&weights).chain(&self.modules).cloned().collect();
        let declarations: String = modules.iter().map(|(name, _)| format!("mod {name};\n")).collect();
        let (code, main, version) = (self.code, self.main, env!("CARGO_PKG_VERSION"));
        let root =
            format!("{code}\nuse mbvc_runtime as rt;\nconst VERSION: &str = \"{version}\";\n{declarations}{main}\n");
        write("main.rs", root.as_bytes())?;
        if let Some(bytes) = self.weights {
            write("weights.bin", bytes)?;
        }
        modules.iter().try_for_each(|(name, text)| write(&format!("{name}.rs"), text.as_bytes()))
    }

    fn flags(&self) -> Vec<OsString> {
        // Two libraries of the same network may be linked into one program: their Rust symbols must differ.
        let metadata = cache::key([self.code, self.name]);
        let mut flags: Vec<OsString> = vec![
            "--crate-name=mbvc_network".into(),
            format!("--crate-type={}", self.crate_type).into(),
            format!("-Cmetadata={metadata}").into(),
            "-Cpanic=abort".into(),
            "-Cstrip=symbols".into(),
        ];
        if self.quantized {
            flags.push("--cfg=quantized".into());
        }
        if self.weights.is_some() {
            flags.push("--cfg=embedded".into());
        }
        flags
    }
}
