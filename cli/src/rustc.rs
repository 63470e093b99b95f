//! The user's Rust compiler: what it is, what it compiles for, and how it is called.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{CliError, Result};

/// As Cargo's release profile compiles, so that what is measured is what users get.
pub const FLAGS: [&str; 4] = ["--edition=2024", "-Copt-level=3", "-Cdebuginfo=0", "--cap-lints=allow"];

/// A Rust compiler, and the platform that it is to compile for.
pub struct Compiler {
    program: OsString,
    /// What `rustc -vV` says.
    version: String,
    target: Option<String>,
    linker: Option<PathBuf>,
}

impl Compiler {
    /// `RUSTC`, or `rustc`; `purpose` is what needs it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(purpose: &str) -> Result<Self> {
        let program = std::env::var_os("RUSTC").filter(|name| !name.is_empty()).unwrap_or_else(|| "rustc".into());
        let ran = Command::new(&program).arg("-vV").output();
        let Some(ran) = ran.ok().filter(|ran| ran.status.success()) else {
            let shown = program.display();
            return Err(CliError::new(format!("{purpose} needs a Rust compiler, and `{shown}` was not found"))
                .help("install Rust from https://rustup.rs, or name the compiler with RUSTC=/path/to/rustc"));
        };
        Ok(Self { program, version: text(&ran.stdout), target: None, linker: None })
    }

    /// The same compiler for the platform `target`, linking with `linker`, where they are given.
    ///
    /// # Errors
    /// If the compiler does not know the target, or its standard library is not installed.
    pub fn with(mut self, target: Option<&str>, linker: Option<&Path>) -> Result<Self> {
        self.linker = linker.map(Path::to_owned);
        let Some(target) = target else { return Ok(self) };
        self.target = Some(target.to_owned());
        let ran = self.ask(&["--print", "target-libdir"])?;
        if !ran.status.success() {
            return Err(CliError::new(format!("the Rust compiler knows no target `{target}`"))
                .help("`rustc --print target-list` lists those that it knows"));
        }
        let libraries = PathBuf::from(text(&ran.stdout).trim());
        let installed = |start: &str| {
            let entries = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(start))
        };
        match (installed("libcore-"), installed("libstd-")) {
            (_, true) => Ok(self),
            (true, false) => Err(CliError::new(format!("Rust's standard library does not exist for {target}"))
                .help("`mbvc emit --standalone DIR` writes a crate that needs none")),
            (false, false) => Err(CliError::new(format!("Rust's standard library for {target} is not installed"))
                .help(format!("`rustup target add {target}` fetches it"))),
        }
    }

    /// The platform that is compiled for.
    pub fn target(&self) -> &str {
        self.target.as_deref().unwrap_or_else(|| self.host())
    }

    /// Whether what is compiled runs on this machine.
    pub fn is_native(&self) -> bool {
        self.target() == self.host()
    }

    /// The C compiler that goes with the target: a linker that was named, without its folder, is one.
    pub fn c_compiler(&self) -> String {
        let linker = self.linker.as_deref().and_then(Path::file_name);
        linker.map_or_else(|| "cc".to_owned(), |linker| linker.to_string_lossy().into_owned())
    }

    fn host(&self) -> &str {
        self.version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("unknown")
    }

    /// All that compiled code depends on, beside its text and the flags.
    pub fn key(&self) -> [&str; 2] {
        [&self.version, self.target()]
    }

    /// The value of `--print cfg` that `name` has, such as `target_arch`; empty if it has none.
    ///
    /// # Errors
    /// If the compiler cannot be run.
    pub fn cfg(&self, name: &str) -> Result<String> {
        let said = text(&self.ask(&["--print", "cfg"])?.stdout);
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"')?.to_owned());
        Ok(said.lines().find_map(value).unwrap_or_default())
    }

    /// The usual name of the file of a crate `stem` of a type such as `cdylib`.
    ///
    /// # Errors
    /// If the compiler cannot be run, or the target has no such files.
    pub fn file_name(&self, crate_type: &str, stem: &str) -> Result<String> {
        const PLACEHOLDER: &str = "mbvc_name";
        let arguments = ["--print", "file-names", "--crate-name", PLACEHOLDER, "--crate-type", crate_type, "-"];
        let said = text(&self.ask(&arguments)?.stdout);
        let name = said.lines().find(|line| line.contains(PLACEHOLDER));
        let name = name.ok_or_else(|| CliError::new(format!("there is no {crate_type} for {}", self.target())))?;
        Ok(name.replacen(PLACEHOLDER, stem, 1))
    }

    fn ask(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        command.output().map_err(|cause| cannot_run(&cause))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(target) = &self.target {
            command.arg("--target").arg(target);
        }
        command
    }

    /// Compiles `source`, which lies in the folder `work`, to the file `output`. No path of this machine gets into it.
    ///
    /// # Errors
    /// If the compiler refuses the code, or cannot link it.
    pub fn compile(
        &self,
        work: &Path,
        source: &str,
        output: &Path,
        flags: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result {
        let mut command = self.command();
        command.args(FLAGS).args(flags).arg("--remap-path-prefix").arg(joined(work.as_os_str(), "=mbvc"));
        if let Some(linker) = &self.linker {
            command.arg(joined("-Clinker=".as_ref(), linker));
        }
        command.arg("-o").arg(output).arg(work.join(source));
        let ran = command.output().map_err(|cause| cannot_run(&cause))?;
        if ran.status.success() {
            return Ok(());
        }
        let said = text(&ran.stderr);
        // The linker's command line, a kilobyte of temporary names, says nothing to users.
        let lines = said.lines().filter(|line| !line.trim_start().starts_with("= note: "));
        let first = lines.take(20).collect::<Vec<_>>().join("\n");
        if said.contains("error: linker `") || said.contains("error: linking with `") {
            let notes = said.lines().filter(|line| line.contains("= note: ") && line.len() < 1000);
            let notes = notes.take(8).collect::<Vec<_>>().join("\n");
            return Err(CliError::new(format!(
                "the program cannot be linked for {}:\n{first}\n{notes}",
                self.target()
            ))
            .help("--linker names the linker of a target: a C compiler for it does, such as aarch64-linux-gnu-gcc"));
        }
        Err(CliError::new(format!("the Rust compiler refused the generated code:\n{first}"))
            .help("Rust 1.95 or newer is needed; `rustup update` fetches the newest")
            .help("if it is new enough this is a mistake of mbvc: please report it with the spec"))
    }
}

/// `--extern name=path`, to be given to [`Compiler::compile`].
pub fn external(name: &str, library: &Path) -> [OsString; 2] {
    ["--extern".into(), joined(format!("{name}=").as_ref(), library)]
}

fn joined(start: &OsStr, end: impl AsRef<OsStr>) -> OsString {
    let mut whole = start.to_owned();
    whole.push(end);
    whole
}

fn cannot_run(cause: &std::io::Error) -> CliError {
    CliError::new(format!("cannot run the Rust compiler: {cause}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
