//! llvm-mca, which predicts how many cycles a loop takes on a model of a processor.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::loops::Architecture;

/// Older versions lack models of processors.
const OLDEST: usize = 19;

/// Iterations of each loop. The first ones, which fill the pipeline, take a share of less than 1 %.
const ITERATIONS: usize = 500;

/// An installed llvm-mca.
pub struct Tool {
    path: PathBuf,
    /// Version of LLVM, such as `22.1.8`.
    pub version: String,
}

impl Tool {
    /// The newest llvm-mca of `PATH`, under its own name or with a version as Debian installs it. If there is none, prints
    /// a note, or panics if it is required.
    pub fn find() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found: BTreeSet<PathBuf> = std::env::split_paths(&folders)
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-mca")))
            .collect();
        let major = |tool: &Self| tool.version.split('.').next().and_then(|major| major.parse::<usize>().ok());
        let tools = found.into_iter().filter_map(Self::new).filter(|tool| major(tool) >= Some(OLDEST));
        let tool = tools.max_by_key(major);
        if tool.is_none() {
            let reason = format!("no llvm-mca of version {OLDEST} or newer; scripts/install-llvm-mca.sh installs one");
            assert!(!Self::is_required(), "{reason}");
            eprintln!("skipped: {reason}");
        }
        tool
    }

    /// Whether tests fail that cannot predict (`MBVC_REQUIRE_LLVM_MCA=1`).
    pub fn is_required() -> bool {
        std::env::var_os("MBVC_REQUIRE_LLVM_MCA").is_some_and(|value| value == "1")
    }

    fn new(path: PathBuf) -> Option<Self> {
        let found = Command::new(&path).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&found.stdout);
        let (_, rest) = text.split_once("LLVM version ")?;
        let version = rest.split_whitespace().next()?.to_owned();
        Some(Self { path, version })
    }

    /// The cycles of one iteration of each loop, on a processor by its name in LLVM.
    pub fn cycles(&self, architecture: Architecture, processor: &str, loops: &[Vec<&str>]) -> Vec<f64> {
        let (triple, comment, syntax) = match architecture {
            Architecture::X86 => ("x86_64-unknown-linux-gnu", "#", ".intel_syntax noprefix\n"),
            Architecture::Arm => ("aarch64-unknown-linux-gnu", "//", ""),
        };
        let mut text = syntax.to_owned();
        for (number, instructions) in loops.iter().enumerate() {
            text += &format!(
                "{comment} LLVM-MCA-BEGIN {number}\n{}\n{comment} LLVM-MCA-END {number}\n",
                instructions.join("\n")
            );
        }
        let input = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loops_{processor}.s"));
        fs::write(&input, text).expect("written below the target folder");
        let done = Command::new(&self.path)
            .arg(format!("-mtriple={triple}"))
            .arg(format!("-mcpu={processor}"))
            .arg(format!("-iterations={ITERATIONS}"))
            .args(["-instruction-info=false", "-resource-pressure=false"])
            .arg(&input)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        assert!(done.status.success(), "{processor}: {}", String::from_utf8_lossy(&done.stderr));
        let cycles: Vec<f64> = String::from_utf8_lossy(&done.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix("Total Cycles:")?.trim().parse::<f64>().ok())
            .map(|cycles| cycles / ITERATIONS as f64)
            .collect();
        assert_eq!(cycles.len(), loops.len(), "{processor}: one summary for each loop");
        cycles
    }
}
