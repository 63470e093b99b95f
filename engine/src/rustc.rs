//! The user's Rust compiler: version, target, and the flags of a call.

mod failure;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};
use failure::Failure;

/// Flags of every call: those of Cargo's release profile, so that measurements hold for users' builds too.
pub(crate) const FLAGS: [&str; 4] = ["--edition=2024", "-Copt-level=3", "-Cdebuginfo=0", "--cap-lints=allow"];

/// A Rust compiler, and the target that it compiles for.
#[derive(Clone)]
pub struct Compiler {
    program: OsString,
    /// Output of `rustc -vV`.
    version: String,
    target: Option<String>,
    linker: Option<PathBuf>,
    /// Features of the target's processor, such as `+simd128`.
    features: &'static str,
}

impl Compiler {
    /// Finds the compiler: `RUSTC`, or `rustc`. `purpose` is the work that requires it, for messages.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn find(purpose: &str) -> Result<Self> {
        let program = std::env::var_os("RUSTC").filter(|name| !name.is_empty()).unwrap_or_else(|| "rustc".into());
        let ran = Command::new(&program).arg("-vV").output();
        let Some(ran) = ran.ok().filter(|ran| ran.status.success()) else {
            let shown = program.display();
            return Err(Error::new(format!("{purpose} requires a Rust compiler, but `{shown}` was not found"))
                .help("install Rust from https://rustup.rs, or set RUSTC=/path/to/rustc"));
        };
        Ok(Self { program, version: text(&ran.stdout), target: None, linker: None, features: "" })
    }

    /// Sets the target and the linker; `None` keeps the compiler's default.
    ///
    /// # Errors
    /// If the compiler does not know the target, or its standard library is not installed.
    pub fn with(mut self, target: Option<&str>, linker: Option<&Path>) -> Result<Self> {
        self.linker = linker.map(Path::to_owned);
        let Some(target) = target else { return Ok(self) };
        self.target = Some(target.to_owned());
        let libraries = self.check_target()?;
        let installed = |start: &str| {
            let entries = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(start))
        };
        match (installed("libcore-"), installed("libstd-")) {
            (_, true) => Ok(self),
            (true, false) => Err(Error::new(format!("the target {target} does not support Rust's standard library"))
                .help(
                    "generate a microcontroller project with `--kind embedded`, or a crate for any target with \
                     `mbvc emit --standalone DIR`",
                )),
            (false, false) => Err(Error::new(format!("Rust's standard library for {target} is not installed"))
                .help(format!("install it with `rustup target add {target}`"))),
        }
    }

    /// Sets a target for which nothing is compiled here, so that its standard library need not be installed.
    ///
    /// # Errors
    /// If the compiler does not know the target.
    pub fn with_sources_for(mut self, target: &str) -> Result<Self> {
        self.target = Some(target.to_owned());
        self.check_target()?;
        Ok(self)
    }

    /// Returns the folder of the target's standard library.
    fn check_target(&self) -> Result<PathBuf> {
        let ran = self.ask(&["--print", "target-libdir"])?;
        if !ran.status.success() {
            return Err(Error::new(format!("the Rust compiler does not support the target `{}`", self.target()))
                .help("list the targets with `rustc --print target-list`"));
        }
        Ok(PathBuf::from(text(&ran.stdout).trim()))
    }

    /// Adds features of the target's processor, which the code then requires.
    pub(crate) fn with_features(&self, features: &'static str) -> Self {
        Self { features, ..self.clone() }
    }

    /// The target triple.
    pub fn target(&self) -> &str {
        self.target.as_deref().unwrap_or_else(|| self.host())
    }

    /// Whether the target is this machine's.
    pub fn is_native(&self) -> bool {
        self.target() == self.host()
    }

    /// The C compiler of the target: the linker, without its folder, or `cc`.
    pub fn c_compiler(&self) -> String {
        let linker = self.linker.as_deref().and_then(Path::file_name);
        linker.map_or_else(|| "cc".to_owned(), |linker| linker.to_string_lossy().into_owned())
    }

    fn host(&self) -> &str {
        self.version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("unknown")
    }

    /// What compiled code depends on, besides its text and the flags.
    pub(crate) fn key(&self) -> [&str; 3] {
        [&self.version, self.target(), self.features]
    }

    /// Value of `name`, such as `target_arch`, in `--print cfg`; empty if it has none.
    ///
    /// # Errors
    /// If the compiler cannot be run.
    pub fn cfg(&self, name: &str) -> Result<String> {
        let said = text(&self.ask(&["--print", "cfg"])?.stdout);
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"')?.to_owned());
        Ok(said.lines().find_map(value).unwrap_or_default())
    }

    /// File name of a crate called `stem` of a type such as `cdylib`.
    ///
    /// # Errors
    /// If the compiler cannot be run, or the target does not support the type.
    pub fn file_name(&self, crate_type: &str, stem: &str) -> Result<String> {
        const PLACEHOLDER: &str = "mbvc_name";
        let arguments = ["--print", "file-names", "--crate-name", PLACEHOLDER, "--crate-type", crate_type, "-"];
        let said = text(&self.ask(&arguments)?.stdout);
        let name = said.lines().find(|line| line.contains(PLACEHOLDER));
        let name =
            name.ok_or_else(|| Error::new(format!("{} does not support the crate type {crate_type}", self.target())))?;
        Ok(name.replace(PLACEHOLDER, stem))
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
        if !self.features.is_empty() {
            command.arg(format!("-Ctarget-feature={}", self.features));
        }
        command
    }

    /// Compiles `source`, a file in the folder `work`, to the file `output`. The output contains no path of this
    /// machine.
    ///
    /// # Errors
    /// If the compiler rejects the code, cannot link it, or the disk is full.
    pub(crate) fn compile(
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
        let folder = work.parent().unwrap_or(work);
        let is_cross = !self.is_native() || self.linker.is_some();
        let failure = Failure { status: ran.status, said: &text(&ran.stderr), target: self.target(), is_cross, folder };
        Err(failure.error())
    }
}

/// `--extern name=path`, for [`Compiler::compile`].
pub(crate) fn external(name: &str, library: &Path) -> [OsString; 2] {
    ["--extern".into(), joined(format!("{name}=").as_ref(), library)]
}

fn joined(start: &OsStr, end: impl AsRef<OsStr>) -> OsString {
    let mut whole = start.to_owned();
    whole.push(end);
    whole
}

fn cannot_run(cause: &std::io::Error) -> Error {
    Error::new(format!("cannot run the Rust compiler: {cause}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
