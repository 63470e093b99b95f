//! What the tests of generated networks share.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};

use mbvc::{Isa, Network, NetworkInfo, Unobserved, Weights};

/// A network built with the kernels of one instruction set.
pub type Build = fn(&Weights, Isa) -> Box<dyn Network>;

/// Random weights of the tensors and conventions that a network needs.
pub fn random_weights(info: &NetworkInfo, seed: u64) -> Weights {
    let tensors = info.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Weights::random(tensors, info.conventions, seed).expect("no two parameters have the same name")
}

/// Random bytes, the same for the same seed (Marsaglia's xorshift).
pub fn random_bytes<const N: usize>(seed: u64) -> Box<[u8; N]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = (0..N)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    bytes.into_boxed_slice().try_into().expect("N bytes were made")
}

/// A random image with values in -1..1.
pub fn random_image<const N: usize>(seed: u64) -> Box<[f32; N]> {
    let values: Vec<f32> = random_bytes::<N>(seed).iter().map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
    values.into_boxed_slice().try_into().expect("N values were made")
}

/// The instruction sets that both the network and this processor have.
pub fn isas(info: &NetworkInfo) -> Vec<Isa> {
    let isas: Vec<Isa> = info.isas.iter().copied().filter(|isa| isa.detect().is_some()).collect();
    assert!(!isas.is_empty(), "the network has no kernels for this processor");
    isas
}

/// Runs a network in a scratch full of `fill`.
pub fn run_filled(network: &dyn Network, input: &[f32], fill: f32) -> Vec<f32> {
    let info = network.info();
    let mut scratch = vec![fill; info.scratch_bytes / 4];
    let mut logits = vec![fill; info.classes];
    network.run_into(&mut scratch, input, &mut logits, &mut Unobserved).expect("the lengths are the network's");
    logits
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A file of the shared data; `None`, with a line on stderr, where it is absent and may be.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MBVC_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    skip(&format!("{} is absent", file.display()));
    None
}

/// Says that a test cannot run here; where it must (`MBVC_REQUIRE_SHARED=1`), it fails.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("MBVC_REQUIRE_SHARED").is_none_or(|value| value != "1"), "{reason}");
    eprintln!("skipped: {reason}");
}
