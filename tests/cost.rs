//! Cost of a network in a user's build.

use std::time::Instant;

use mbvc_compiler::spec::Overrides;
use mbvc_compiler::{Naming, compile_file};
use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

/// Limit of the tokens of a whole expansion, for all instruction sets. The goal is 200 000; the excess is the kernels
/// for NEON, which are also unrolled by lane.
const LIMIT: usize = 250_000;

/// Identifiers, literals and punctuation, at any depth.
fn count(tokens: TokenStream) -> usize {
    let one = |token| match token {
        TokenTree::Group(group) => count(group.stream()),
        _ => 1,
    };
    tokens.into_iter().map(one).sum()
}

fn expand(fusion: &str, isa: &str) -> TokenStream {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/v2.yaml");
    let mut overrides = Overrides::none();
    overrides.set("fusion", fusion).set("isa", isa);
    let compiled = compile_file(path.as_ref(), "specs/v2.yaml", &overrides).unwrap_or_else(|error| panic!("{error}"));
    let naming = Naming::public(&compiled.spec.name, quote!(::mbvc::__runtime));
    compiled.tokens(&naming)
}

const EVERY: &str = "[avx512, avx2, neon, portable]";

#[test]
fn expansions_are_small() {
    let mut largest = 0;
    for fusion in ["none", "relu6", "block"] {
        let start = Instant::now();
        let tokens = count(expand(fusion, EVERY));
        let took = start.elapsed().as_millis();
        let each = ["avx512", "avx2", "neon", "portable"].map(|isa| format!("{isa} {}", count(expand(fusion, isa))));
        eprintln!("specs/v2.yaml, {fusion}: {tokens} tokens in {took} ms; alone: {}", each.join(", "));
        assert!(tokens > 10_000, "{fusion}: {tokens} tokens are too few for a network");
        largest = largest.max(tokens);
    }
    assert!(largest < LIMIT, "{largest} tokens");
}

#[test]
fn the_same_spec_gives_the_same_code() {
    for fusion in ["none", "relu6", "block"] {
        // Each hash table iterates in a different order.
        let [first, second] = [(); 2].map(|()| expand(fusion, EVERY).to_string());
        assert!(first == second, "{fusion}: two expansions differ");
    }
}

/// A program with the command's picture decoders, a network for three instruction sets, and no weights.
#[test]
#[ignore = "optimizes a whole network"]
fn the_smallest_example_is_small() {
    const LIMIT: u64 = 2_000_000;
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
    let built = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--profile=dist", "--offline", "--package", "mbvc", "--example", "photo"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo runs this test too");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = target.join("dist/examples").join(format!("photo{}", std::env::consts::EXE_SUFFIX));
    let stripped = target.join("photo");
    let status = std::process::Command::new("strip").arg("-o").args([&stripped, &program]).status();
    assert!(status.expect("binutils").success());
    let bytes = std::fs::metadata(stripped).expect("it was written").len();
    eprintln!("the stripped example has {bytes} bytes");
    assert!(bytes < LIMIT, "{bytes} bytes");
}
