//! The variants of `v2.yaml` behind a C interface, so that `run.py` runs them in the process of the peers.

mod interface;

use std::ffi::CStr;

use mbvc::{Isa, Network, Weights};

/// `numerics = "fast"` where the name says nothing else.
macro_rules! variants {
    ($($type:ident $name:literal { $($key:ident = $value:tt),* })*) => {
        $(mbvc::mobilenet_v2!("specs/v2.yaml", name = $type $(, $key = $value)*);)*

        pub const VARIANTS: &CStr = match CStr::from_bytes_with_nul(concat!($($name, ","),*, "\0").as_bytes()) {
            Ok(names) => names,
            Err(_) => panic!("a name has a null"),
        };

        pub fn build(variant: &str, weights: &Weights, isa: Isa) -> Result<Box<dyn Network>, String> {
            match variant {
                $($name => Ok(Box::new($type::with_isa(weights, isa).map_err(|error| error.to_string())?)),)*
                _ => Err(format!("there is no variant {variant}")),
            }
        }
    };
}

variants! {
    Blocks "block" { fusion = "block", numerics = "fast", isa = ["avx512", "avx2"] }
    Epilogues "relu6" { fusion = "relu6", numerics = "fast", isa = ["avx512", "avx2"] }
    Unfused "none" { fusion = "none", numerics = "fast", isa = ["avx512", "avx2"] }
    BlocksStrict "block-strict" { fusion = "block", numerics = "strict", isa = ["avx512", "avx2"] }
    EpiloguesStrict "relu6-strict" { fusion = "relu6", numerics = "strict", isa = ["avx512", "avx2"] }
    UnfusedStrict "none-strict" { fusion = "none", numerics = "strict", isa = ["avx512", "avx2"] }
    BlocksOfTwo "block-2t" { fusion = "block", numerics = "fast", isa = ["avx512", "avx2"], threads = 2 }
    BlocksStrictOfTwo "block-strict-2t" { fusion = "block", numerics = "strict", isa = ["avx512", "avx2"], threads = 2 }
}
