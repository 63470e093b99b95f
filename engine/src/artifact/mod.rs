//! Programs and C libraries that contain a network and its weights.
//!
//! The sources in `carried/`, the generated code and the weights file are compiled against the runtime of the cache.
//! The result contains no path of this machine, so that it is the same on every machine.

mod c;
mod names;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc_compiler::Compiled;
use mbvc_runtime::{Isa, Weights};

use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::file::NewFile;
use crate::rustc::{Compiler, external};
use c::{Library, Linking};
pub use names::{Kind, Names};

/// Sources of every artifact.
const COMMON: [(&str, &str); 2] =
    [("model.rs", include_str!("../carried/model.rs")), ("weights.rs", include_str!("../carried/weights.rs"))];

/// Further sources of a program.
const PROGRAM: [(&str, &str); 3] = [
    ("program.rs", include_str!("../carried/program.rs")),
    ("arguments.rs", include_str!("../carried/arguments.rs")),
    ("picture.rs", include_str!("../carried/picture.rs")),
];

/// Further source of a library, where `NAME_` is replaced by its prefix.
const LIBRARY: (&str, &str) = ("boundary.rs", include_str!("../carried/boundary.rs"));

/// An artifact to be built.
pub struct Artifact<'a> {
    /// Program or library.
    pub kind: Kind,
    /// Names of the output.
    pub names: Names,
    /// The network.
    pub compiled: &'a Compiled,
    /// The network's code: [`crate::module`].
    pub code: &'a str,
    /// Weights that fit it.
    pub weights: &'a Weights,
    /// Whether to add an example in C to a library.
    pub example: bool,
}

/// A built artifact in memory. Nothing is written before all of it is complete.
pub struct Built {
    /// The binary and, of a library, the header and the example.
    pub files: Vec<NewFile>,
    /// Command that compiles a C program with the library, in its folder.
    pub compile: Option<String>,
}

impl Artifact<'_> {
    /// Returns the paths of the files that are known before the build.
    ///
    /// # Errors
    /// If the target does not support the kind.
    pub fn outputs(&self, compiler: &Compiler) -> Result<Vec<PathBuf>> {
        let mut outputs = vec![self.names.binary(self.kind, compiler)?];
        if self.kind.is_library() {
            outputs.push(self.names.header());
        }
        if self.example {
            outputs.push(self.names.example());
        }
        Ok(outputs)
    }

    /// Compiles the artifact.
    ///
    /// # Errors
    /// If it cannot be compiled or linked, or rejects its weights when it is run.
    pub fn build(&self, compiler: &Compiler) -> Result<Built> {
        let cache = Cache::open()?;
        let runtime = cache.runtime(compiler)?;
        let work = cache.work()?;
        let work = work.path();
        self.write_sources(work)?;
        let binary = self.names.binary(self.kind, compiler)?;
        let binary_name = binary.file_name().map(ToOwned::to_owned).unwrap_or_default();
        // A folder without the sources: the linker may write more than one file.
        let output_folder = work.join("output");
        std::fs::create_dir(&output_folder).map_err(|cause| Error::io("create", &output_folder, &cause))?;
        let system = work.join("system-libraries");
        let flags = self.flags(compiler, &system, &binary_name.to_string_lossy())?;
        let output = output_folder.join(&binary_name);
        compiler.compile(work, "main.rs", &output, flags.into_iter().chain(external("mbvc_runtime", &runtime)))?;
        if self.kind == Kind::Program && compiler.is_native() && self.runs_here() {
            try_out(&output)?;
        }
        let mut files = self.collect(&output_folder, &binary)?;
        if !self.kind.is_library() {
            return Ok(Built { files, compile: None });
        }
        let system = std::fs::read_to_string(&system).unwrap_or_default();
        let linking = Linking {
            kind: self.kind,
            compiler: &compiler.c_compiler(),
            library: &binary_name.to_string_lossy(),
            stem: &self.names.stem,
            system: system.trim(),
            platform: [&compiler.cfg("target_os")?, &compiler.cfg("target_env")?],
        };
        let compile = linking.command();
        let Self { compiled, weights, names, .. } = self;
        let library = Library { compiled, weights, names, target: compiler.target(), compile: &compile };
        files.push(NewFile::text(names.header(), library.header()));
        let main = if self.example { &names.stem } else { "main" };
        if self.example {
            files.push(NewFile::text(names.example(), library.example()));
        }
        Ok(Built { files, compile: Some(compile.replace("@main@", main)) })
    }

    /// Whether this processor supports one of the instruction sets.
    fn runs_here(&self) -> bool {
        let mut isas = self.compiled.spec.isas.iter();
        isas.any(|isa| Isa::from_name(isa.name()).is_some_and(|isa| isa.detect().is_some()))
    }

    /// Writes the crate and the weights file that it embeds.
    fn write_sources(&self, work: &Path) -> Result {
        let write = |name: &str, content: &[u8]| {
            let path = work.join(name);
            std::fs::write(&path, content).map_err(|cause| Error::io("write", &path, &cause))
        };
        let version = env!("CARGO_PKG_VERSION");
        let (modules, main) = match self.kind {
            Kind::Program => (
                "mod arguments; mod picture; mod program;",
                "fn main() -> std::process::ExitCode { program::run(std::env::args_os()) }",
            ),
            Kind::Static | Kind::Shared => ("mod boundary;", ""),
        };
        let code = self.code;
        let root = format!(
            "{code}\nuse mbvc_runtime as rt;\nconst VERSION: &str = \"{version}\";\nmod model; mod weights; {modules}\n{main}\n"
        );
        write("main.rs", root.as_bytes())?;
        write("weights.safetensors", self.weights.as_bytes())?;
        let (library, boundary) = LIBRARY;
        write(library, boundary.replace("NAME_", &format!("{}_", self.names.prefix)).as_bytes())?;
        COMMON.iter().chain(&PROGRAM).try_for_each(|(name, text)| write(name, text.as_bytes()))
    }

    fn flags(&self, compiler: &Compiler, system: &Path, file: &str) -> Result<Vec<OsString>> {
        // Two libraries of the same network may be linked into one program: their Rust symbols must differ.
        let metadata = cache::key([self.code, self.names.prefix.as_str()]);
        let mut flags: Vec<OsString> = vec![
            "--crate-name=mbvc_network".into(),
            format!("--crate-type={}", self.kind.crate_type()).into(),
            format!("-Cmetadata={metadata}").into(),
            "-Cpanic=abort".into(),
            "-Cstrip=symbols".into(),
        ];
        if self.compiled.spec.precision.is_quantized() {
            flags.push("--cfg=quantized".into());
        }
        match self.kind {
            Kind::Program => {}
            Kind::Static => {
                let mut print = OsString::from("--print=native-static-libs=");
                print.push(system);
                flags.push(print);
            }
            // Programs load the library by this name, not by the path at link time.
            Kind::Shared => match compiler.cfg("target_os")?.as_str() {
                "macos" | "ios" => flags.push(format!("-Clink-arg=-Wl,-install_name,@rpath/{file}").into()),
                "windows" => {}
                _ => flags.push(format!("-Clink-arg=-Wl,-soname,{file}").into()),
            },
        }
        Ok(flags)
    }

    /// Returns the compiler's outputs: the binary, and on Windows the import library of a shared library.
    fn collect(&self, folder: &Path, binary: &Path) -> Result<Vec<NewFile>> {
        let mut files = Vec::new();
        let entries = std::fs::read_dir(folder).map_err(|cause| Error::io("read", folder, &cause))?;
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_binary = Some(name.as_os_str()) == binary.file_name();
            let shown = name.to_string_lossy();
            if is_binary || self.kind == Kind::Shared && (shown.ends_with(".dll.lib") || shown.ends_with(".dll.a")) {
                let content = std::fs::read(&path).map_err(|cause| Error::io("read", &path, &cause))?;
                let executable = is_binary && self.kind != Kind::Static;
                files.push(NewFile { path: binary.with_file_name(&name), content, executable });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

/// Runs a program so that it builds its model: weights whose names and shapes fit may still have invalid scales.
fn try_out(program: &Path) -> Result {
    let ran = Command::new(program).arg("--about").env_remove("MBVC_ISA").env_remove("MBVC_NUMERICS").output();
    let ran = ran.map_err(|cause| Error::new(format!("cannot run the built program: {cause}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(Error::new(said.trim().trim_start_matches("error: ").to_owned()))
}
