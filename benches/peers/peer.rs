//! The variants of `v2.yaml` behind a C interface, so that `run.py` runs them in the process of the peers.

#[macro_use]
mod interface;

// `numerics = "fast"` where the name says nothing else.
variants! {
    "specs/v2.yaml";
    Blocks "block" { fusion = "block", numerics = "fast", isa = ["avx512", "avx2"] }
    Epilogues "relu6" { fusion = "relu6", numerics = "fast", isa = ["avx512", "avx2"] }
    Unfused "none" { fusion = "none", numerics = "fast", isa = ["avx512", "avx2"] }
    BlocksStrict "block-strict" { fusion = "block", numerics = "strict", isa = ["avx512", "avx2"] }
    EpiloguesStrict "relu6-strict" { fusion = "relu6", numerics = "strict", isa = ["avx512", "avx2"] }
    UnfusedStrict "none-strict" { fusion = "none", numerics = "strict", isa = ["avx512", "avx2"] }
    BlocksOfTwo "block-2t" { fusion = "block", numerics = "fast", isa = ["avx512", "avx2"], threads = 2 }
    BlocksStrictOfTwo "block-strict-2t" { fusion = "block", numerics = "strict", isa = ["avx512", "avx2"], threads = 2 }
}
