//! What a built thing is called: its files, and in C its functions.

use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};
use crate::rustc::Compiler;

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A program that classifies pictures
    Program,
    /// A static library and a C header
    Static,
    /// A shared library and a C header
    Shared,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Static => "static",
            Self::Shared => "shared",
        }
    }

    /// Rust's name of such a crate.
    pub fn crate_type(self) -> &'static str {
        match self {
            Self::Program => "bin",
            Self::Static => "staticlib",
            Self::Shared => "cdylib",
        }
    }

    pub fn is_library(self) -> bool {
        self != Self::Program
    }
}

/// What a user calls the thing, and where it is to lie.
#[derive(Debug)]
pub struct Names {
    folder: PathBuf,
    /// `NAME` of `libNAME.a`.
    pub stem: String,
    /// What the names of C functions start with.
    pub prefix: String,
}

/// Endings that the names of libraries and headers get by themselves.
const ENDINGS: [&str; 7] = [".a", ".so", ".dylib", ".dll", ".lib", ".h", ".c"];

/// `pthread_create` and the like are functions of C's own library.
const TAKEN: [&str; 4] = ["pthread", "timer", "thrd", "epoll"];

impl Names {
    /// Of the path that `--output` gives.
    ///
    /// # Errors
    /// If it is no name for a thing of that kind.
    pub fn new(output: &Path, kind: Kind) -> Result<Self> {
        let shown = output.display();
        let stem = output.file_name().and_then(|name| name.to_str());
        let Some(stem) = stem.filter(|_| !output.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
            return Err(CliError::new(format!("`{shown}` is no name for a file"))
                .help("write a name in UTF-8, with a folder before it where it is not to lie in this one"));
        };
        let folder = output.parent().unwrap_or(Path::new("")).to_owned();
        let prefix = prefix(stem);
        if kind.is_library() {
            let letters = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if stem.starts_with('-') || !stem.chars().all(letters) {
                return Err(CliError::new(format!("`{stem}` is no name for a library"))
                    .help("it may hold Latin letters, digits, and _ . - within"));
            }
            if let Some(ending) = ENDINGS.iter().find(|ending| stem.ends_with(*ending)) {
                let bare = stem.trim_end_matches(ending);
                let bare = bare.strip_prefix("lib").filter(|bare| !bare.is_empty()).unwrap_or(bare);
                return Err(CliError::new(format!("`{stem}` is the name of a file, not of a library"))
                    .help(format!("write --output {bare}; the files get their usual names")));
            }
            if TAKEN.contains(&prefix.as_str()) {
                return Err(CliError::new(format!(
                    "a library cannot be called {stem}: C has a function {prefix}_create"
                ))
                .help("choose another name"));
            }
        }
        Ok(Self { folder, stem: stem.to_owned(), prefix })
    }

    /// The path of the file that is built.
    ///
    /// # Errors
    /// If the target has no such files.
    pub fn binary(&self, kind: Kind, compiler: &Compiler) -> Result<PathBuf> {
        let usual = compiler.file_name(kind.crate_type(), &self.stem)?;
        // `cat.exe` is as good as `cat` where programs are called so.
        let whole = kind == Kind::Program && usual.strip_prefix(&self.stem).is_some_and(|end| self.stem.ends_with(end));
        Ok(self.folder.join(if whole { &self.stem } else { &usual }))
    }

    pub fn header(&self) -> PathBuf {
        self.beside(".h")
    }

    pub fn example(&self) -> PathBuf {
        self.beside(".c")
    }

    /// `NAME` with an ending.
    fn beside(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", self.stem))
    }
}

/// A C identifier: other characters become `_`, and one that would start with a digit or `_` gets a letter before.
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
    fn names_that_would_mislead_are_refused() {
        for (output, told) in [
            ("out/", "no name for a file"),
            ("..", "no name for a file"),
            ("a b", "no name for a library"),
            ("-lcat", "no name for a library"),
            ("libcat.a", "--output cat;"),
            ("x/cat.dylib", "--output cat;"),
            ("lib.so", "--output lib;"),
            ("timer", "timer_create"),
        ] {
            let error = format!("{:?}", Names::new(Path::new(output), Kind::Static).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
        let names = Names::new(Path::new("x/my-net"), Kind::Shared).unwrap();
        assert_eq!((names.header(), names.example()), ("x/my-net.h".into(), "x/my-net.c".into()));
        assert!(Names::new(Path::new("a b.so"), Kind::Program).is_ok());
    }
}
