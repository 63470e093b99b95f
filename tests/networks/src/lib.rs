//! Networks that several test files run: compiled once, instead of in each of them.
//!
//! A network belongs here if two test files use it with all its instruction sets, or if it is too large to run
//! unoptimized: development builds optimize only this crate. Others stay in the file of their test.

#[path = "../../common/network.rs"]
mod network;

/// `specs/tiny.yaml`, 32x32, 10 classes.
pub mod tiny {
    use crate::network::network;

    network!(everyday ["avx2", "neon", "portable"], pub "../../specs/tiny.yaml", name = Unfused, fusion = "none");
    network!(everyday ["avx2", "neon", "portable"], pub "../../specs/tiny.yaml", name = Epilogues, fusion = "relu6");
    network!(everyday "all", pub "../../specs/tiny.yaml");
    network!(everyday "all", pub "../../specs/tiny.yaml", name = Int8, precision = "int8");
}

/// `specs/v2.yaml`, MobileNetV2 1.0 at 224x224 as published.
pub mod published {
    use crate::network::network;

    network!(everyday ["avx512", "avx2", "neon"], pub "../../specs/v2.yaml");
    network!(everyday ["amxbf16", "avx512bf16", "avx2", "neon"], pub "../../specs/v2.yaml", name = Bf16, precision = "bf16");

    /// Each fusion level, with strict numerics.
    pub mod strict {
        use crate::network::network;

        network!(everyday ["avx2", "neon"], pub "../../specs/v2.yaml", name = Unfused, fusion = "none", numerics = "strict");
        network!(everyday ["avx2", "neon"], pub "../../specs/v2.yaml", name = Epilogues, fusion = "relu6", numerics = "strict");
        network!(everyday ["avx2", "neon"], pub "../../specs/v2.yaml", name = Blocks, fusion = "block", numerics = "strict");
    }
}
