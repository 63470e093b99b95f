//! Packs random weights for the target's kernels, and notes the logits that they give on the host.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use mbvc::{Activation, Conventions, Isa, ModelError, Padding, Precision, Weights};

#[path = "src/image.rs"]
mod image;

mbvc::mobilenet_v2!("../../specs/tiny.yaml");

fn main() -> Result<(), Box<dyn Error>> {
    let weights = weights()?;
    let bytes = TinyNet::packed_bytes_for(Isa::Portable).ok_or("the network has no portable kernels")?;
    let mut memory = vec![0u8; bytes + 63];
    let start = memory.as_ptr().align_offset(64);
    let file = memory.get_mut(start..start + bytes).ok_or("no aligned memory")?;
    TinyNet::pack(&weights.container(), Isa::Portable, file)?;

    let model = TinyNet::with_isa(&weights, Isa::Portable)?;
    let logits = model.run_pixels(&mut TinyNet::scratch(), &image::pixels());
    if logits.iter().any(|logit| !logit.is_finite()) || logits.iter().all(|logit| *logit == logits[0]) {
        return Err(format!("such logits would prove nothing: {logits:?}").into());
    }
    let logits: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();

    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("tiny.packed"), file)?;
    fs::write(Path::new(&out).join("tiny.logits"), logits)?;
    if env::var("CARGO_CFG_TARGET_ARCH")? == "arm" {
        let script = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("cortex_m.ld");
        println!("cargo::rustc-link-arg-examples=-T{}", script.display());
        println!("cargo::rerun-if-changed={}", script.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/image.rs");
    Ok(())
}

/// Random weights of the shapes that the network asks for when it is given none.
fn weights() -> Result<Weights, Box<dyn Error>> {
    let conventions = Conventions {
        activation: Activation::Relu6,
        padding: Padding::Same,
        precision: Precision::F32,
        classes: TinyNet::CLASSES,
    };
    let nothing = Weights::random([], conventions, 0)?;
    let Err(ModelError::Mismatch { mismatches, .. }) = TinyNet::new(&nothing) else {
        return Err("a network without weights should not be built".into());
    };
    let mut tensors = Vec::new();
    for mismatch in &mismatches {
        let dims = mismatch.expected.strip_prefix("F32 [").and_then(|text| text.strip_suffix(']'));
        let dims: Result<Vec<usize>, _> = dims.ok_or("no shape")?.split(", ").map(str::parse).collect();
        tensors.push((mismatch.field.as_str(), dims?));
    }
    Ok(Weights::random(tensors.iter().map(|(name, shape)| (*name, shape.as_slice())), conventions, 7)?)
}
