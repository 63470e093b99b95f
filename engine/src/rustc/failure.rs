//! Causes of a failed compilation, found in the output of the compiler.

use std::path::Path;
use std::process::ExitStatus;

use crate::error::Error;

/// A run of the compiler that failed.
pub(super) struct Failure<'a> {
    pub(super) status: ExitStatus,
    /// Standard error.
    pub(super) said: &'a str,
    /// Target triple.
    pub(super) target: &'a str,
    /// Whether the target is another machine, or the caller selected a linker.
    pub(super) is_cross: bool,
    /// Folder of the cache, in which the compiler writes.
    pub(super) folder: &'a Path,
}

/// Messages of operating systems for a disk, quota or file size that is exhausted.
const FULL: [&str; 5] = [
    "No space left on device",
    "There is not enough space on the disk",
    "Disk quota exceeded",
    "File too large",
    // A linker writes through a memory mapping, which has no other way to report a full disk.
    "signal 7 [Bus error]",
];

/// Number of lines of a compiler's error that are kept.
const LINES: usize = 40;

impl Failure<'_> {
    /// The error with its remedy, and the output as details.
    pub(super) fn error(&self) -> Error {
        let error = self.full_disk().or_else(|| self.terminated()).or_else(|| self.link());
        error.unwrap_or_else(|| self.rejected()).details(self.details())
    }

    fn full_disk(&self) -> Option<Error> {
        let line = self.said.lines().find(|line| FULL.iter().any(|text| line.contains(text)))?;
        let temporary = std::env::temp_dir();
        let in_temporary = line.contains(&*temporary.to_string_lossy()) && !self.folder.starts_with(&temporary);
        let (folder, variable) =
            if in_temporary { (&*temporary, TEMPORARY_VARIABLE) } else { (self.folder, "MBVC_CACHE") };
        let message = format!("the disk is full: the Rust compiler cannot write into {}", folder.display());
        Some(Error::new(message).help(format!("free space on this disk, or set {variable}=FOLDER to use another one")))
    }

    /// The error for a compiler that did not exit but was terminated.
    fn terminated(&self) -> Option<Error> {
        if self.status.code().is_some() {
            return None;
        }
        let message = format!("the Rust compiler was terminated ({})", self.status);
        Some(Error::new(message).help("it may have run out of memory: close other programs and run the command again"))
    }

    fn link(&self) -> Option<Error> {
        let mut lines = self.said.lines().filter_map(|line| line.strip_prefix("error: "));
        let problem = lines.find(|line| line.starts_with("linker `") || line.starts_with("linking with `"))?;
        let error = Error::new(format!("cannot link for {}: {problem}", self.target));
        Some(match self.is_cross {
            true => error.help(format!(
                "pass the linker of the target, usually its C compiler: --linker {}",
                c_compiler(self.target)
            )),
            false => error.help("install a C compiler such as gcc or clang, which the Rust compiler uses to link"),
        })
    }

    fn rejected(&self) -> Error {
        let first = self.said.lines().find(|line| line.starts_with("error")).unwrap_or("no error was reported");
        Error::new(format!("the Rust compiler rejected the generated code: {first}"))
            .help("generated code requires Rust 1.95 or newer: run `rustup update`")
            .help("if the compiler is new enough, this is a bug in mbvc: please report it with the spec")
    }

    /// The output without the linker's command line, which is a kilobyte of temporary names.
    fn details(&self) -> String {
        let is_command = |line: &&str| line.trim_start().starts_with("= note: ") && line.len() > 1000;
        let lines = self.said.lines().filter(|line| !is_command(line));
        lines.take(LINES).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(windows)]
const TEMPORARY_VARIABLE: &str = "TEMP";
#[cfg(not(windows))]
const TEMPORARY_VARIABLE: &str = "TMPDIR";

/// Usual name of a target's C compiler: `aarch64-linux-gnu-gcc` of `aarch64-unknown-linux-gnu`.
fn c_compiler(target: &str) -> String {
    match target.split('-').collect::<Vec<_>>().as_slice() {
        [architecture, _, "linux", environment] => format!("{architecture}-linux-{environment}-gcc"),
        _ => "PROGRAM".to_owned(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn error(said: &str, status: i32, is_cross: bool) -> (String, Vec<String>, String) {
        let status = ExitStatus::from_raw(status);
        let target = "aarch64-unknown-linux-gnu";
        match (Failure { status, said, target, is_cross, folder: Path::new("/cache") }).error() {
            Error::Failed { message, help, details } => (message, help, details.unwrap_or_default()),
            other => panic!("{other}"),
        }
    }

    const EXIT_1: i32 = 1 << 8;

    #[test]
    fn full_disks_name_the_folder() {
        for said in [
            "error: failed to write /cache/.building-x/y.rcgu.o: No space left on device (os error 28)",
            "LLVM ERROR: IO failure on output stream: No space left on device",
            "error: linking with `cc` failed: exit status: 1\n  = note: ld: final link failed: No space left on device",
            "error: linking with `cc` failed\n  = note: collect2: fatal error: ld terminated with signal 7 [Bus error]",
            "error: failed to write version: File too large (os error 27)",
        ] {
            for status in [EXIT_1, 6] {
                let (message, help, details) = error(said, status, false);
                assert_eq!(message, "the disk is full: the Rust compiler cannot write into /cache");
                assert!(help[0].contains("MBVC_CACHE=FOLDER"), "{help:?}");
                assert_eq!(details, said);
            }
        }
        let temporary = std::env::temp_dir();
        let said = format!("error: couldn't create {}/rustc: No space left on device", temporary.display());
        let (message, help, _) = error(&said, EXIT_1, false);
        assert!(message.ends_with(&format!("cannot write into {}", temporary.display())), "{message}");
        assert!(help[0].contains("TMPDIR=FOLDER"), "{help:?}");
    }

    #[test]
    fn linker_errors_are_one_line_with_a_remedy() {
        let command = format!("  = note:  \"cc\" {}", "x".repeat(1000));
        let said = format!(
            "error: linking with `cc` failed: exit status: 1\n  |\n{command}\n  = note: ld: file in wrong format\n\n\
             error: aborting due to 1 previous error\n"
        );
        let (message, help, details) = error(&said, EXIT_1, true);
        assert_eq!(message, "cannot link for aarch64-unknown-linux-gnu: linking with `cc` failed: exit status: 1");
        assert!(help[0].ends_with("--linker aarch64-linux-gnu-gcc"), "{help:?}");
        assert!(details.contains("file in wrong format") && !details.contains("xxx"), "{details}");
        let (message, help, _) = error("error: linker `cc` not found\n", EXIT_1, false);
        assert!(message.ends_with("linker `cc` not found"), "{message}");
        assert!(help[0].starts_with("install a C compiler"), "{help:?}");
    }

    #[test]
    fn other_failures_are_not_a_full_disk() {
        let (message, help, _) = error("", 9, false);
        assert!(message.contains("was terminated (signal: 9") && help[0].contains("memory"), "{message}: {help:?}");
        let (message, help, details) = error("warning: x\nerror[E0658]: unstable\n --> a.rs", EXIT_1, false);
        assert_eq!(message, "the Rust compiler rejected the generated code: error[E0658]: unstable");
        assert!(help[0].contains("Rust 1.95") && details.contains("a.rs"), "{help:?}");
    }
}
