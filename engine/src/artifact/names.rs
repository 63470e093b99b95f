//! Names of a built artifact: its files, and the prefix of its C functions.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::rustc::Compiler;

/// Kind of artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program that classifies pictures.
    Program,
    /// A static library and a C header.
    Static,
    /// A shared library and a C header.
    Shared,
    /// An npm package for browsers and Node.
    Web,
    /// A Cargo project for microcontrollers.
    Embedded,
}

impl Kind {
    /// `program`, `static`, `shared`, `web` or `embedded`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Static => "static",
            Self::Shared => "shared",
            Self::Web => "web",
            Self::Embedded => "embedded",
        }
    }

    /// The crate type, as rustc spells it.
    pub fn crate_type(self) -> &'static str {
        match self {
            Self::Program | Self::Embedded => "bin",
            Self::Static => "staticlib",
            Self::Shared | Self::Web => "cdylib",
        }
    }

    /// Whether it is a folder of files.
    pub fn is_folder(self) -> bool {
        matches!(self, Self::Web | Self::Embedded)
    }

    /// Whether it is a library for C.
    pub fn is_library(self) -> bool {
        matches!(self, Self::Static | Self::Shared)
    }
}

/// Folder and names of an artifact.
#[derive(Debug)]
pub struct Names {
    folder: PathBuf,
    /// `NAME` of `libNAME.a` or of a package.
    pub stem: String,
    /// Prefix of the C functions, a C identifier.
    pub prefix: String,
}

/// Extensions that are added to the name of a library or header.
const ENDINGS: [&str; 7] = [".a", ".so", ".dylib", ".dll", ".lib", ".h", ".c"];

/// Prefixes whose functions, such as `pthread_create`, are those of the C library.
const TAKEN: [&str; 4] = ["pthread", "timer", "thrd", "epoll"];

impl Names {
    /// Splits an output path into folder and name.
    ///
    /// # Errors
    /// If the name is not valid for that kind.
    pub fn new(output: &Path, kind: Kind) -> Result<Self> {
        let shown = output.display();
        let stem = output.file_name().and_then(|name| name.to_str());
        let Some(stem) = stem.filter(|_| !output.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
            return Err(
                Error::new(format!("`{shown}` is not a file name")).help("expected NAME or FOLDER/NAME, in UTF-8")
            );
        };
        let folder = output.parent().unwrap_or(Path::new("")).to_owned();
        let prefix = prefix(stem);
        match kind {
            Kind::Web => check_package(stem)?,
            Kind::Embedded => check_crate(stem)?,
            Kind::Program | Kind::Static | Kind::Shared => {}
        }
        if kind.is_library() {
            let letters = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if stem.starts_with('-') || !stem.chars().all(letters) {
                return Err(Error::new(format!("`{stem}` is not a library name"))
                    .help("expected ASCII letters, digits, `_`, `.` and `-`, not starting with `-`"));
            }
            if let Some(ending) = ENDINGS.iter().find(|ending| stem.ends_with(*ending)) {
                let bare = stem.trim_end_matches(ending);
                let bare = bare.strip_prefix("lib").filter(|bare| !bare.is_empty()).unwrap_or(bare);
                return Err(Error::new(format!("`{stem}` is the name of a file, not of a library"))
                    .help(format!("write `--output {bare}`; extensions are added")));
            }
            if TAKEN.contains(&prefix.as_str()) {
                return Err(Error::new(format!(
                    "`{stem}` is not a library name: the C library has a function {prefix}_create"
                ))
                .help("choose another name with --output"));
            }
        }
        Ok(Self { folder, stem: stem.to_owned(), prefix })
    }

    /// Path of the program or library.
    ///
    /// # Errors
    /// If the target does not support the kind.
    pub fn binary(&self, kind: Kind, compiler: &Compiler) -> Result<PathBuf> {
        let usual = compiler.file_name(kind.crate_type(), &self.stem)?;
        // On Windows `cat` and `cat.exe` name the same program.
        let whole = kind == Kind::Program && usual.strip_prefix(&self.stem).is_some_and(|end| self.stem.ends_with(end));
        Ok(self.folder.join(if whole { &self.stem } else { &usual }))
    }

    /// Folder of a package or project.
    pub fn package(&self) -> PathBuf {
        self.folder.join(&self.stem)
    }

    /// Path of the C header.
    pub fn header(&self) -> PathBuf {
        self.with_ending(".h")
    }

    /// Path of the example in C.
    pub fn example(&self) -> PathBuf {
        self.with_ending(".c")
    }

    /// `NAME` with an ending.
    fn with_ending(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", self.stem))
    }
}

/// Checks a name against the rules of npm for new packages.
fn check_package(stem: &str) -> Result {
    const LENGTH: usize = 214;
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    let first = stem.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if first && stem.len() <= LENGTH && stem.chars().all(letters) && stem != "node_modules" {
        return Ok(());
    }
    Err(Error::new(format!("`{stem}` is not a valid npm package name")).help(
        "expected at most 214 lowercase ASCII letters, digits, `_`, `.` and `-`, starting with a letter or digit",
    ))
}

/// Checks a name against the rules of Cargo, and against the crate that a project depends on.
fn check_crate(stem: &str) -> Result {
    let letters = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let first = stem.starts_with(|c: char| c.is_ascii_alphabetic());
    if first && stem.chars().all(letters) && !["network", "test", "core"].contains(&stem) {
        return Ok(());
    }
    Err(Error::new(format!("`{stem}` is not a valid crate name")).help(
        "expected ASCII letters, digits, `_` and `-`, starting with a letter; `network`, `test` and `core` are \
         reserved",
    ))
}

/// A C identifier: other characters become `_`, and `n` is prepended to a leading digit or `_`.
fn prefix(stem: &str) -> String {
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("n{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_identifiers() {
        for (stem, expected) in
            [("cat", "cat"), ("my-net.2", "my_net_2"), ("7seg", "n7seg"), ("_x", "n_x"), ("Ünet", "n_net")]
        {
            assert_eq!(prefix(stem), expected);
        }
    }

    #[test]
    fn rejects_misleading_names() {
        for (output, part) in [
            ("out/", "not a file name"),
            ("..", "not a file name"),
            ("a b", "not a library name"),
            ("-lcat", "not a library name"),
            ("libcat.a", "--output cat`"),
            ("x/cat.dylib", "--output cat`"),
            ("lib.so", "--output lib`"),
            ("timer", "timer_create"),
        ] {
            let error = format!("{:?}", Names::new(Path::new(output), Kind::Static).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        let names = Names::new(Path::new("x/my-net"), Kind::Shared).unwrap();
        assert_eq!((names.header(), names.example()), ("x/my-net.h".into(), "x/my-net.c".into()));
        assert!(Names::new(Path::new("a b.so"), Kind::Program).is_ok());
        for output in ["Cat", "-cat", ".cat", "a b", "node_modules"] {
            let error = format!("{:?}", Names::new(Path::new(output), Kind::Web).unwrap_err());
            assert!(error.contains("not a valid npm package name"), "{error}");
        }
        for output in ["7seg", "a b", "a.b", "network"] {
            let error = format!("{:?}", Names::new(Path::new(output), Kind::Embedded).unwrap_err());
            assert!(error.contains("not a valid crate name"), "{error}");
        }
        assert_eq!(Names::new(Path::new("x/cat-net"), Kind::Web).unwrap().package(), Path::new("x/cat-net"));
    }
}
