//! Compiles networks to assembly as users do: optimized, in a crate that needs the runtime alone.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc_compiler::spec::{self, Overrides};
use mbvc_compiler::{Naming, compile};
use quote::quote;

use super::loops::Architecture;

const ARM: &str = "aarch64-unknown-linux-gnu";

/// A compiler for an architecture.
pub struct Compiler {
    architecture: Architecture,
    /// A `rustc` other than the default.
    rustc: Option<PathBuf>,
}

impl Compiler {
    /// The compiler for this processor.
    pub fn native() -> Self {
        Self { architecture: Architecture::X86, rustc: None }
    }

    /// A compiler for 64-bit Arm: the default one if it has the target's standard library, or that of Debian
    /// (`scripts/install-cross.sh`). No linker is needed for assembly.
    pub fn arm() -> Option<Self> {
        let default = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let debian = PathBuf::from("/usr/bin/rustc");
        let [is_default, is_debian] = [&default, &debian].map(|rustc| has_library(rustc));
        let rustc = if is_default { None } else { Some(debian).filter(|_| is_debian) };
        (is_default || is_debian).then_some(Self { architecture: Architecture::Arm, rustc })
    }

    /// Compiles the network of a spec in `specs/` to assembly. `case` is the name of the crate.
    pub fn assembly_of(&self, case: &str, spec: &str, overrides: &Overrides) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = spec::read(&root.join("specs").join(spec), spec).expect("a spec of the crate");
        let compiled = compile(&source, overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let naming = Naming::public("Network", quote!(::mbvc_runtime));
        let name = format!("assembly_{case}");
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (folder, target) = (temporary.join(&name), temporary.join("assembly_target"));
        fs::create_dir_all(folder.join("src")).expect("a folder below the target folder");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             mbvc-runtime = {{ path = {:?} }}\n",
            root.join("runtime")
        );
        write(&folder.join("Cargo.toml"), &manifest);
        write(&folder.join("src/lib.rs"), &compiled.tokens(&naming).to_string());
        let output = folder.join("network.s");
        let mut command = Command::new(std::env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
        command.args(["rustc", "--release", "--lib", "--offline", "--color=never"]);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        match self.architecture {
            Architecture::X86 => command.args(["--", "-C", "llvm-args=-x86-asm-syntax=intel"]),
            Architecture::Arm => command.args(["--target", ARM, "--"]),
        };
        let done = command
            .args(["-C", "codegen-units=1", &format!("--emit=asm={}", output.display())])
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", target)
            .env_remove("RUSTFLAGS")
            .output()
            .expect("cargo runs this test too");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::read_to_string(output).expect("the compiler wrote it")
    }
}

/// Writes a file unless it has this text: cargo compiles what is newer than the last output.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return;
    }
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Whether a compiler has the standard library for 64-bit Arm.
fn has_library(rustc: &Path) -> bool {
    let found = Command::new(rustc).args(["--print", "target-libdir", "--target", ARM]).output();
    found.is_ok_and(|found| {
        let folder = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        found.status.success() && folder.is_dir()
    })
}
