//! Generates the network that the environment describes, packs random weights for its instruction set, and records what
//! the interpreter computes with them.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use mbvc::Weights;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Fusion, Isa, Overrides, Precision};
use mbvc_compiler::{Compiled, Embedded, Form, Naming, Program, compile};
use mbvc_engine::pack;
use mbvc_runtime::Numerics;
use quote::quote;

#[path = "../../tests/common/quantized.rs"]
mod interpreted;

/// Keys of the spec that variables `COUNT_KEY` override, and their defaults.
const KEYS: [(&str, &str); 8] = [
    ("width", "0.35"),
    ("resolution", "96"),
    ("classes", "3"),
    ("precision", "int8"),
    ("rounding", "xnnpack"),
    ("fusion", "block"),
    ("isa", "dsp"),
    ("name", "Net"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).to_owned();
    let out = Path::new(&env::var("OUT_DIR")?).to_owned();
    let mut overrides = Overrides::none();
    for (key, default) in KEYS {
        let variable = format!("COUNT_{}", key.to_uppercase());
        println!("cargo::rerun-if-env-changed={variable}");
        overrides.set(key, &env::var(variable).unwrap_or_else(|_| default.to_owned()));
    }
    println!("cargo::rerun-if-env-changed=COUNT_INPUT");
    println!("cargo::rerun-if-env-changed=COUNT_STAGES");
    println!("cargo::rustc-check-cfg=cfg(count_stages)");
    if env::var_os("COUNT_STAGES").is_some() {
        println!("cargo::rustc-cfg=count_stages");
    }
    let input = env::var("COUNT_INPUT").unwrap_or_else(|_| "rgb".to_owned());
    let spec = fs::read_to_string(folder.join("../../specs/v2_0.35_96.yaml"))?;
    let source = SourceFile::new("count.yaml", format!("{spec}\ninput: {input}\n"));
    let compiled = compile(&source, &overrides).map_err(|mistakes| mistakes.to_string())?;

    let parameters = compiled.parameters();
    let tensors = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    let weights = Weights::random(tensors, compiled.conventions(), 7)?;
    let [program] = &*compiled.programs else { return Err("expected one program for one instruction set".into()) };
    let (packed, _) = pack(&compiled, program, Numerics::Strict, &weights)?;
    fs::write(out.join("weights.packed"), packed)?;
    write_expected(&compiled, &weights, &out)?;
    fs::write(out.join("predicted.rs"), predicted(&compiled, program)?)?;

    let naming = Naming::public("Net", quote!(::mbvc::__runtime));
    let embedded = Embedded {
        form: Form::Packed(program.isa),
        name: "weights.packed".to_owned(),
        bytes: quote!(include_bytes!(concat!(env!("OUT_DIR"), "/weights.packed"))),
    };
    fs::write(out.join("network.rs"), compiled.tokens_with(&naming, &embedded).to_string())?;

    let script = folder.join("../../tests/embedded/cortex_m.ld");
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    Ok(())
}

/// Returns the predicted instruction count of each stage as a slice. The slice is empty if the model does not apply: for
/// uint8, whose counts depend on the weights; without block fusion; and at optimization levels other than 3.
///
/// # Errors
/// If the model applies, but there is no prediction.
fn predicted(compiled: &Compiled, program: &Program) -> Result<String, Box<dyn Error>> {
    let fused = matches!(compiled.spec.fusion, Fusion::Block | Fusion::Deep);
    let optimized = env::var("OPT_LEVEL").is_ok_and(|level| level == "3");
    if program.isa != Isa::Dsp || compiled.spec.precision != Precision::Int8 || !fused || !optimized {
        return Ok("&[]".to_owned());
    }
    let mut table = String::from("&[");
    for stage in program.steps.iter().flat_map(|step| &step.stages) {
        let instructions = stage.instructions.ok_or_else(|| format!("no prediction for {}", stage.name))?;
        write!(table, "({:?}, {}),", stage.name, u32::try_from(instructions)?)?;
    }
    Ok(table + "]")
}

/// Writes the image, and what the interpreter computes in each part of the network, as bytes.
fn write_expected(compiled: &Compiled, weights: &Weights, out: &Path) -> Result<(), Box<dyn Error>> {
    let graph = lower(&compiled.spec);
    let rounding = compiled.spec.rounding.ok_or("expected a quantized network")?;
    let low = if env::var("COUNT_PRECISION").is_ok_and(|word| word == "uint8") { 0 } else { -128 };
    let [height, width] = compiled.spec.resolution;
    let image: Vec<u8> =
        (0..height * width * compiled.spec.input.channels()).map(|at| (at * 37 + at / 96 * 11) as u8).collect();
    let parts = interpreted::expected(&graph, weights, rounding, &image, low);
    let mut table = String::from("&[");
    for (name, bytes) in &parts {
        fs::write(out.join(name), bytes)?;
        write!(table, "({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\")) as &[u8]),")?;
    }
    fs::write(out.join("expected.rs"), table + "]")?;
    fs::write(out.join("image"), &image)?;
    Ok(())
}
