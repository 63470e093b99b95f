//! Packs random weights for the target's kernels, and records what the host computes with them.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use mbvc::info::{Parameter, Precision};
use mbvc::{Isa, Weights};
use mbvc_compiler::spec::Overrides;
use mbvc_compiler::target::IsaFacts;
use mbvc_runtime::Numerics;

#[path = "src/image.rs"]
mod image;

mbvc::mobilenet_v2!("../../specs/tiny.yaml", numerics = "strict", isa = [avx2, neon, portable]);
mbvc::mobilenet_v2!("../../specs/tiny.yaml", name = TinyInt8, precision = "int8", isa = portable);
mbvc::mobilenet_v2!("../../specs/tiny.yaml", name = TinyUint8, precision = "uint8", isa = portable);
mbvc::mobilenet_v2!(
    "../../specs/tiny.yaml",
    name = TinyReference,
    precision = "uint8",
    rounding = "tflite-reference",
    resolution = [29, 27],
    isa = portable
);

fn main() -> Result<(), Box<dyn Error>> {
    let isa = target_isa(Precision::F32)?;
    // Every instruction set gives the same bits with fused multiply-adds, and every one without.
    let alike = |host: &Isa| host.has_fma() == isa.has_fma() && host.detect().is_some();
    let host = TinyNet::INFO
        .isas
        .iter()
        .copied()
        .rfind(alike)
        .ok_or("the host has no instruction set with fused multiply-adds")?;

    let weights = random(TinyNet::INFO.parameters, TinyNet::INFO.conventions)?;
    pack("f32", &[("name", "TinyNet"), ("precision", "f32")], isa, &weights)?;
    let logits = TinyNet::with_isa(&weights, host)?.run_pixels(&mut TinyNet::scratch(), &image::pixels());
    record("f32", logits.map(f32::to_bits))?;

    // Quantized networks give the same bytes everywhere.
    let isa = target_isa(Precision::Int8)?;
    let weights = random(TinyInt8::INFO.parameters, TinyInt8::INFO.conventions)?;
    pack("int8", &[("name", "TinyInt8"), ("precision", "int8")], isa, &weights)?;
    let logits = TinyInt8::with_isa(&weights, Isa::Portable)?.run_pixels(&mut TinyInt8::scratch(), &image::pixels());
    record("int8", logits.map(|logit| u32::from(logit.cast_unsigned())))?;

    let weights = random(TinyUint8::INFO.parameters, TinyUint8::INFO.conventions)?;
    pack("uint8", &[("name", "TinyUint8"), ("precision", "uint8")], isa, &weights)?;
    let logits = TinyUint8::with_isa(&weights, Isa::Portable)?.run_pixels(&mut TinyUint8::scratch(), &image::pixels());
    record("uint8", logits.map(u32::from))?;

    let weights = random(TinyReference::INFO.parameters, TinyReference::INFO.conventions)?;
    let keys = [
        ("name", "TinyReference"),
        ("precision", "uint8"),
        ("rounding", "tflite-reference"),
        ("resolution", "[29, 27]"),
    ];
    pack("reference", &keys, isa, &weights)?;
    let model = TinyReference::with_isa(&weights, Isa::Portable)?;
    let logits = model.run_pixels(&mut TinyReference::scratch(), &image::pixels());
    record("reference", logits.map(u32::from))?;

    if env::var("CARGO_CFG_TARGET_ARCH")? == "arm" {
        let script = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("cortex_m.ld");
        println!("cargo::rustc-link-arg-examples=-T{}", script.display());
        println!("cargo::rerun-if-changed={}", script.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/image.rs");
    Ok(())
}

/// The best instruction set of the features that the target is compiled with.
fn target_isa(precision: Precision) -> Result<Isa, Box<dyn Error>> {
    let (architecture, target) = (env::var("CARGO_CFG_TARGET_ARCH")?, env::var("TARGET")?);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let has = |feature| architecture == "wasm32" && features.split(',').any(|name| name == feature);
    let is_present = |isa: &Isa| match isa {
        Isa::Portable => true,
        // Of every target of this architecture.
        Isa::Dsp => target.starts_with("thumbv7em"),
        Isa::Wasm128 => has("simd128"),
        Isa::Wasm128Relaxed => has("relaxed-simd"),
        _ => false,
    };
    Ok(Isa::of(precision).iter().copied().rfind(is_present).unwrap_or(Isa::Portable))
}

fn random(parameters: &[Parameter<'_>], conventions: mbvc::weights::Conventions) -> Result<Weights, Box<dyn Error>> {
    let parameters = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Ok(Weights::random(parameters, conventions, 7)?)
}

/// Packs `weights` of the network with these keys for an instruction set that the host may lack.
fn pack(file: &str, keys: &[(&str, &str)], isa: Isa, weights: &Weights) -> Result<(), Box<dyn Error>> {
    let path = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../specs/tiny.yaml");
    let mut overrides = Overrides::none();
    overrides.set("isa", isa.name());
    for (key, value) in keys {
        overrides.set(key, value);
    }
    let compiled =
        mbvc_compiler::compile_file(&path, "tiny.yaml", &overrides).map_err(|mistakes| mistakes.to_string())?;
    let [program] = &*compiled.programs else { return Err("one program for one instruction set".into()) };
    let (packed, _) = mbvc_engine::pack(&compiled, program, Numerics::Strict, weights)?;
    Ok(fs::write(Path::new(&env::var("OUT_DIR")?).join(format!("{file}.packed")), packed)?)
}

/// Writes the bits of the host's logits.
fn record(file: &str, logits: [u32; 10]) -> Result<(), Box<dyn Error>> {
    if logits.iter().all(|logit| *logit == logits[0]) {
        return Err(format!("such logits would prove nothing: {logits:?}").into());
    }
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    Ok(fs::write(Path::new(&env::var("OUT_DIR")?).join(format!("{file}.logits")), bytes)?)
}
