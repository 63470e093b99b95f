//! Shared by the tests of generated networks.

#![allow(dead_code, unused_imports, unused_macros, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};

use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network, Observer, Unobserved, Weights};

mod network;
pub(crate) use network::network;

/// A network built with the kernels of one instruction set.
pub type Build = fn(&Weights, Isa) -> Box<dyn Network>;

/// Random weights with the tensors and conventions of a network.
pub fn random_weights(info: &NetworkInfo, seed: u64) -> Weights {
    let tensors = info.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Weights::random(tensors, info.conventions, seed).expect("no two parameters have the same name")
}

/// The same weights with other metadata; the header is JSON text after its length.
pub fn with_metadata(weights: &Weights, more: &[(&str, String)]) -> Weights {
    let bytes = weights.as_bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).expect("JSON");
    let added: String = more.iter().map(|(key, value)| format!("\"{key}\":\"{value}\",")).collect();
    let mut header = header.replacen("\"__metadata__\":{", &format!("\"__metadata__\":{{{added}"), 1).into_bytes();
    header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend(header);
    changed.extend(&bytes[8 + length..]);
    Weights::from_bytes(changed).unwrap_or_else(|error| panic!("{error}"))
}

/// `bytes` of leaked memory, `shift` bytes after an address that is a multiple of 64.
pub fn leaked(bytes: usize, shift: usize) -> &'static mut [u8] {
    let memory: &'static mut [u8] = vec![0; bytes + shift + 64].leak();
    let start = memory.as_ptr().align_offset(64) + shift;
    &mut memory[start..start + bytes]
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
    bytes.into_boxed_slice().try_into().expect("N bytes")
}

/// A random image with values in -1..1.
pub fn random_image<const N: usize>(seed: u64) -> Box<[f32; N]> {
    let values: Vec<f32> = random_bytes::<N>(seed).iter().map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
    values.into_boxed_slice().try_into().expect("N values")
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

/// Keeps the output of every step of a quantized network.
#[derive(Default)]
pub struct Steps(pub Vec<Vec<u8>>);

impl Observer for &mut Steps {
    fn bytes(&mut self, step: usize, output: &[u8]) {
        assert_eq!(step, self.0.len(), "a step is out of order");
        self.0.push(output.to_vec());
    }
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A file of the shared data. If it is absent and not required, prints a note and returns `None`.
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

/// The shared photographs, in order.
pub fn photographs() -> Option<Vec<PathBuf>> {
    let folder = shared("images")?;
    let entries = std::fs::read_dir(&folder).expect("cannot read the folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("cannot read an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    Some(paths)
}

/// Prints that a test cannot run here. Panics if it is required (`MBVC_REQUIRE_SHARED=1`).
pub fn skip(reason: &str) {
    assert!(std::env::var_os("MBVC_REQUIRE_SHARED").is_none_or(|value| value != "1"), "{reason}");
    eprintln!("skipped: {reason}");
}
