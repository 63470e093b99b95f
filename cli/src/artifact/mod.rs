//! Programs and libraries that hold a network and its weights, for people who have no Rust code.
//!
//! The sources in `carried/` are put beside the generated code and the container, and compiled with the runtime that the
//! cache holds. Nothing of this machine gets into the result, so that it is the same wherever it is made.

mod c;
mod names;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc::Weights;
use mbvc_compiler::Compiled;

use crate::cache::{self, Cache};
use crate::error::{CliError, Result};
use crate::files::NewFile;
use crate::rustc::{Compiler, external};
use c::{Library, Linking};
pub use names::{Kind, Names};

/// Rust that every built thing is made of.
const COMMON: [(&str, &str); 2] =
    [("model.rs", include_str!("../carried/model.rs")), ("weights.rs", include_str!("../carried/weights.rs"))];

/// What a program has beside it.
const PROGRAM: [(&str, &str); 3] = [
    ("program.rs", include_str!("../carried/program.rs")),
    ("arguments.rs", include_str!("../carried/arguments.rs")),
    ("picture.rs", include_str!("../carried/picture.rs")),
];

/// What a library has beside it; `NAME_` stands for its prefix.
const LIBRARY: (&str, &str) = ("boundary.rs", include_str!("../carried/boundary.rs"));

/// What is to be built.
pub struct Artifact<'a> {
    pub kind: Kind,
    pub names: Names,
    pub compiled: &'a Compiled,
    /// The generated code, which defines `Generated`.
    pub code: &'a str,
    pub weights: &'a Weights,
    /// Whether a library comes with an example in C.
    pub example: bool,
}

/// What was built, in memory: nothing is written before all of it is there.
pub struct Built {
    pub files: Vec<NewFile>,
    /// How a C program is compiled with the library, in its folder.
    pub compile: Option<String>,
}

impl Artifact<'_> {
    /// The files that will be written, as far as they are known before.
    ///
    /// # Errors
    /// If the target has no files of that kind.
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

    /// Compiles it.
    ///
    /// # Errors
    /// If it cannot be compiled or linked, or what was built refuses its weights.
    pub fn build(&self, compiler: &Compiler) -> Result<Built> {
        let cache = Cache::open()?;
        let runtime = cache.runtime(compiler)?;
        let work = cache.work()?;
        let work = work.path();
        self.write_sources(work)?;
        let binary = self.names.binary(self.kind, compiler)?;
        let binary_name = binary.file_name().map(ToOwned::to_owned).unwrap_or_default();
        // The linker may write files beside it; the sources lie in the same folder.
        let made = work.join("made");
        std::fs::create_dir(&made).map_err(|cause| CliError::io("create", &made, &cause))?;
        let system = work.join("system-libraries");
        let flags = self.flags(compiler, &system, &binary_name.to_string_lossy())?;
        let output = made.join(&binary_name);
        compiler.compile(work, "main.rs", &output, flags.into_iter().chain(external("mbvc_runtime", &runtime)))?;
        if self.kind == Kind::Program && compiler.is_native() && self.runs_here() {
            try_out(&output)?;
        }
        let mut files = self.collect(&made, &binary)?;
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

    /// Whether this processor has one of the instruction sets.
    fn runs_here(&self) -> bool {
        self.compiled.spec.isas.iter().any(|isa| isa.detect().is_some())
    }

    /// Writes the crate, and the container that it embeds.
    fn write_sources(&self, work: &Path) -> Result {
        let write = |name: &str, content: &[u8]| {
            let path = work.join(name);
            std::fs::write(&path, content).map_err(|cause| CliError::io("write", &path, &cause))
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
        // Libraries for one program may be of the same network: their Rust symbols have to differ.
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
            // Programs ask for the library by this name, not by the path that they were linked with.
            Kind::Shared => match compiler.cfg("target_os")?.as_str() {
                "macos" | "ios" => flags.push(format!("-Clink-arg=-Wl,-install_name,@rpath/{file}").into()),
                "windows" => {}
                _ => flags.push(format!("-Clink-arg=-Wl,-soname,{file}").into()),
            },
        }
        Ok(flags)
    }

    /// What the compiler made: the file that was asked for, and on Windows the import library of a shared one.
    fn collect(&self, made: &Path, binary: &Path) -> Result<Vec<NewFile>> {
        let mut files = Vec::new();
        let entries = std::fs::read_dir(made).map_err(|cause| CliError::io("read", made, &cause))?;
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let wanted = Some(name.as_os_str()) == binary.file_name();
            let shown = name.to_string_lossy();
            if wanted || self.kind == Kind::Shared && (shown.ends_with(".dll.lib") || shown.ends_with(".dll.a")) {
                let content = std::fs::read(&path).map_err(|cause| CliError::io("read", &path, &cause))?;
                let executable = wanted && self.kind != Kind::Static;
                files.push(NewFile { path: binary.with_file_name(&name), content, executable });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

/// Lets a program build its model: weights whose names and shapes fit may still hold scales that do not.
fn try_out(program: &Path) -> Result {
    let ran = Command::new(program).arg("--about").env_remove("MBVC_ISA").env_remove("MBVC_NUMERICS").output();
    let ran = ran.map_err(|cause| CliError::new(format!("the program that was built does not run: {cause}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(CliError::new(said.trim().trim_start_matches("error: ").to_owned()))
}
