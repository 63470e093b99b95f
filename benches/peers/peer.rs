//! Variants of `v2.yaml` with a C interface, for `run.py`.

#[macro_use]
mod interface;

// The numerics are `fast` unless the name ends in `strict`.
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
