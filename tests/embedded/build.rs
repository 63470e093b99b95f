//! Packs random weights for the target's kernels, and records their logits on the host.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use mbvc::{Isa, Weights};

#[path = "src/image.rs"]
mod image;

mbvc::mobilenet_v2!("../../specs/tiny.yaml");

fn main() -> Result<(), Box<dyn Error>> {
    let parameters =
        TinyNet::INFO.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    let weights = Weights::random(parameters, TinyNet::INFO.conventions, 7)?;
    let bytes = TinyNet::packed_bytes_for(&weights.container(), Isa::Portable);
    let bytes = bytes.ok_or("the network has no portable kernels")?;
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
