//! Packs the weights of both networks for the target, and adds the folder of `memory.x` to the linker's search path.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::Overrides;
use mbvc_engine::{Source, pack, random_weights};
use mbvc_runtime::{Isa, Numerics, Weights};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    // The precision of the first network is not in its spec, as in `src/lib.rs`.
    let isa = if env::var("TARGET")?.starts_with("thumbv7em") { Isa::Dsp } else { Isa::Portable };
    let color = compiled("../../specs/demo.yaml", Some("int8"), isa)?;
    let weights = Weights::open("../../demo/model-int8.safetensors")?;
    write(&folder.join("color.packed"), &color, &weights)?;
    let gray = compiled("gray.yaml", None, Isa::Dsp)?;
    let weights = random_weights(&gray)?;
    write(&folder.join("gray.packed"), &gray, &weights)?;

    fs::copy("memory.x", folder.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", folder.display());
    for path in ["memory.x", "gray.yaml", "../../specs/demo.yaml", "../../demo/model-int8.safetensors"] {
        println!("cargo::rerun-if-changed={path}");
    }
    Ok(())
}

/// Compiles a spec for an instruction set.
fn compiled(path: &str, precision: Option<&str>, isa: Isa) -> Result<mbvc_compiler::Compiled, Box<dyn Error>> {
    let mut overrides = Overrides::none();
    if let Some(precision) = precision {
        overrides.set("precision", precision);
    }
    let source = Source::new(SourceFile::new(path, fs::read_to_string(path)?), overrides)?;
    Ok(source.compile(source.spec.fusion, &[isa])?)
}

/// Packs weights in the layout of the network's kernels.
fn write(path: &Path, compiled: &mbvc_compiler::Compiled, weights: &Weights) -> Result<(), Box<dyn Error>> {
    let [program] = &*compiled.programs else { return Err("expected one instruction set".into()) };
    let (packed, _) = pack(compiled, program, Numerics::Strict, weights)?;
    Ok(fs::write(path, packed)?)
}
