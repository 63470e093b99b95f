//! Programs and C libraries.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use mbvc_runtime::Isa;

use super::c::{Library, Linking};
use super::source_crate::{Binary, Module, SourceCrate};
use super::{Artifact, Built, Kind};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::file::NewFile;
use crate::rustc::Compiler;
use crate::source::module;

/// Modules of a program.
const PROGRAM: [(&str, &str); 3] = [
    ("program", include_str!("../carried/program.rs")),
    ("arguments", include_str!("../carried/arguments.rs")),
    ("picture", include_str!("../carried/picture.rs")),
];

/// Main function of a program.
const MAIN: &str = "fn main() -> std::process::ExitCode { program::run(std::env::args_os()) }";

/// Module of a library, where `NAME_` is replaced by its prefix.
const LIBRARY: (&str, &str) = ("boundary", include_str!("../carried/boundary.rs"));

/// File in the folder of the sources to which the compiler prints the system libraries of a static library.
const SYSTEM: &str = "system-libraries";

/// Compiles a program or a library.
///
/// # Errors
/// If it cannot be compiled or linked, or rejects its weights when it is run.
pub fn build(artifact: &Artifact<'_>, compiler: &Compiler) -> Result<Built> {
    let Artifact { kind, names, compiled, weights, .. } = artifact;
    let output = names.binary(*kind, compiler)?;
    let name = output.file_name().map(ToOwned::to_owned).unwrap_or_default();
    let shown = name.to_string_lossy();
    let (modules, main) = sources(*kind, &names.prefix);
    let source = SourceCrate {
        code: &module(compiled),
        modules,
        main,
        weights: Some(weights.as_bytes()),
        crate_type: kind.crate_type(),
        name: &names.prefix,
        quantized: compiled.spec.precision.is_quantized(),
    };
    let os = compiler.cfg("target_os")?;
    let binary = source.compile(&Cache::open()?, compiler, name.clone(), |work| flags(*kind, work, &os, &shown))?;
    if *kind == Kind::Program && compiler.is_native() && runs_here(artifact) {
        try_out(&binary.path())?;
    }
    let mut files = collect(*kind, &binary, &output)?;
    if !kind.is_library() {
        return Ok(Built { files, compile: None });
    }
    let system = std::fs::read_to_string(binary.work().join(SYSTEM)).unwrap_or_default();
    let linking = Linking {
        kind: *kind,
        compiler: &compiler.c_compiler(),
        library: &shown,
        stem: &names.stem,
        system: system.trim(),
        platform: [&os, &compiler.cfg("target_env")?],
    };
    let compile = linking.command();
    let library = Library { compiled, weights, names, target: compiler.target(), compile: &compile };
    files.push(NewFile::text(names.header(), library.header()));
    let main = if artifact.example { &names.stem } else { "main" };
    if artifact.example {
        files.push(NewFile::text(names.example(), library.example()));
    }
    Ok(Built { files, compile: Some(compile.replace("@main@", main)) })
}

/// Modules and main function.
fn sources(kind: Kind, prefix: &str) -> (Vec<Module>, &'static str) {
    if kind.is_library() {
        let (name, text) = LIBRARY;
        return (vec![(name, text.replace("NAME_", &format!("{prefix}_")).into())], "");
    }
    (PROGRAM.map(|(name, text)| (name, text.into())).into(), MAIN)
}

/// Whether this processor supports one of the instruction sets.
fn runs_here(artifact: &Artifact<'_>) -> bool {
    let mut isas = artifact.compiled.spec.isas.iter();
    isas.any(|isa| Isa::from_name(isa.name()).is_some_and(|isa| isa.detect().is_some()))
}

fn flags(kind: Kind, work: &Path, os: &str, file: &str) -> Vec<OsString> {
    match (kind, os) {
        (Kind::Static, _) => {
            let mut print = OsString::from("--print=native-static-libs=");
            print.push(work.join(SYSTEM));
            vec![print]
        }
        // Programs load the library by this name, not by the path at link time.
        (Kind::Shared, "macos" | "ios") => vec![format!("-Clink-arg=-Wl,-install_name,@rpath/{file}").into()],
        (Kind::Shared, "windows") | (Kind::Program | Kind::Web | Kind::Embedded, _) => Vec::new(),
        (Kind::Shared, _) => vec![format!("-Clink-arg=-Wl,-soname,{file}").into()],
    }
}

/// Returns the compiler's outputs: the binary, and on Windows the import library of a shared library.
fn collect(kind: Kind, built: &Binary, output: &Path) -> Result<Vec<NewFile>> {
    let mut files = Vec::new();
    let folder = built.folder();
    let entries = std::fs::read_dir(&folder).map_err(|cause| Error::io("read", &folder, &cause))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_binary = Some(name.as_os_str()) == output.file_name();
        let shown = name.to_string_lossy();
        if is_binary || kind == Kind::Shared && (shown.ends_with(".dll.lib") || shown.ends_with(".dll.a")) {
            let content = std::fs::read(&path).map_err(|cause| Error::io("read", &path, &cause))?;
            let executable = is_binary && kind != Kind::Static;
            files.push(NewFile { path: output.with_file_name(&name), content, executable });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
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
