//! The sources of this crate, which are copied to code that is compiled without Cargo or a registry.

/// Includes each file under its path.
macro_rules! sources {
    ($($path:literal)*) => { &[$(($path, include_str!($path))),*] };
}

/// Every file of `src` except for tests and the modules for tools: its path, with `/` between folders, and its text.
#[rustfmt::skip]
pub static SOURCES: &[(&str, &str)] = sources! {
    "bf16.rs"
    "buffers.rs"
    "build.rs"
    "cfg.rs"
    "classify.rs"
    "conventions.rs"
    "fit.rs"
    "float/mod.rs"
    "float/model.rs"
    "float/pack.rs"
    "float/pack/error.rs"
    "float/pack/fast.rs"
    "float/pack/pairs.rs"
    "formats/checksum.rs"
    "formats/container.rs"
    "formats/container/error.rs"
    "formats/container/header.rs"
    "formats/container/index.rs"
    "formats/container/limits.rs"
    "formats/container/tensor.rs"
    "formats/json.rs"
    "formats/magic.rs"
    "formats/metadata.rs"
    "formats/mod.rs"
    "formats/packed.rs"
    "isa.rs"
    "lazy.rs"
    "lib.rs"
    "network.rs"
    "number.rs"
    "numerics.rs"
    "picture/filter.rs"
    "picture/framing.rs"
    "picture/guess.rs"
    "picture/metadata.rs"
    "picture/mod.rs"
    "picture/resample.rs"
    "picture/rgb.rs"
    "picture/strips.rs"
    "picture/taps.rs"
    "pool.rs"
    "pool/barrier.rs"
    "pool/dispatch.rs"
    "pool/model.rs"
    "pool/process.rs"
    "pool/sync.rs"
    "preprocess.rs"
    "quantized/arithmetic/add.rs"
    "quantized/arithmetic/fixed.rs"
    "quantized/arithmetic/float.rs"
    "quantized/arithmetic/mod.rs"
    "quantized/arithmetic/pool.rs"
    "quantized/arithmetic/requantize.rs"
    "quantized/arithmetic/softmax.rs"
    "quantized/average.rs"
    "quantized/bounds.rs"
    "quantized/dot_form.rs"
    "quantized/edges.rs"
    "quantized/header.rs"
    "quantized/image.rs"
    "quantized/mod.rs"
    "quantized/model.rs"
    "quantized/outlier_checks.rs"
    "quantized/outliers.rs"
    "quantized/pack/mod.rs"
    "quantized/pack/order.rs"
    "quantized/pack/weights.rs"
    "quantized/plan.rs"
    "quantized/tensors.rs"
    "quantized/weight_sums.rs"
    "scratch.rs"
    "scratch/line.rs"
    "scratch/pages.rs"
    "simd/amx.rs"
    "simd/area.rs"
    "simd/bytes.rs"
    "simd/float/amxbf16.rs"
    "simd/float/avx2.rs"
    "simd/float/avx512.rs"
    "simd/float/avx512bf16.rs"
    "simd/float/avx512bf16_half.rs"
    "simd/float/mod.rs"
    "simd/float/neon.rs"
    "simd/float/portable.rs"
    "simd/float/wasm128.rs"
    "simd/float/wasm128relaxed.rs"
    "simd/mod.rs"
    "simd/quantized/arm.rs"
    "simd/quantized/avx2.rs"
    "simd/quantized/avx512.rs"
    "simd/quantized/avx512vnni.rs"
    "simd/quantized/avx512vnni_half.rs"
    "simd/quantized/avxvnni.rs"
    "simd/quantized/dsp/instructions.rs"
    "simd/quantized/dsp/mod.rs"
    "simd/quantized/dsp/tile.rs"
    "simd/quantized/dsp/window.rs"
    "simd/quantized/header.rs"
    "simd/quantized/mod.rs"
    "simd/quantized/neon.rs"
    "simd/quantized/neondot.rs"
    "simd/quantized/portable.rs"
    "simd/quantized/wasm128.rs"
    "simd/quantized/wasm128dot.rs"
    "simd/quantized/wasm128pairs.rs"
    "simd/quantized/x86.rs"
    "simd/quantized/xmm.rs"
    "simd/quantized/ymm.rs"
    "simd/quantized/zmm.rs"
    "simd/view.rs"
    "steps.rs"
    "stream.rs"
    "team.rs"
    "weights.rs"
    "weights/bytes.rs"
    "weights/random.rs"
};

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::SOURCES;

    /// Modules for tools; only crates that are built by Cargo can enable them.
    const TOOLS: [&str; 2] = ["peak.rs", "sources.rs"];

    fn collect(folder: &Path, below: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = std::format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &std::format!("{name}/"), found);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && !TOOLS.contains(&name.as_str()) {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_is_listed() {
        let mut found = Vec::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
        found.sort_unstable();
        let listed: Vec<String> = SOURCES.iter().map(|(path, _)| (*path).to_string()).collect();
        assert_eq!(listed, found, "list the files of src in sources.rs, in order");
    }
}
