//! Results are bit-identical for any number of threads.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{bits, isas, random_image, random_weights, run_filled};
use mbvc::info::NetworkInfo;
use mbvc::{Bf16, Isa, Network, Observer, Weights};
use mbvc_runtime::{helped_calls, set_processors};

/// More threads than any network here uses. They outnumber the processors, so they are interrupted at any point.
const PROCESSORS: usize = 16;

/// The process has one pool: calls of two tests at once would run alone.
fn pool() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    set_processors(PROCESSORS);
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Build = fn(&Weights, Isa) -> Vec<Box<dyn Network>>;

/// A network for one and for seven threads; in the slow tests for two as well.
macro_rules! teams {
    ($($name:ident: $path:literal, [$height:literal, $width:literal], everyday $isa:tt, $($key:ident = $value:tt),*;)*) => { $(
        mod $name {
            use crate::common::network;

            network!(everyday $isa, pub $path, name = One, resolution = [$height, $width], threads = 1, $($key = $value),*);
            #[cfg(not(debug_assertions))]
            network!(everyday $isa, pub $path, name = Two, resolution = [$height, $width], threads = 2, $($key = $value),*);
            // More threads than a small image has rows or a layer has panels, and counts that they do not divide
            // evenly.
            network!(everyday $isa, pub $path, name = Seven, resolution = [$height, $width], threads = 7, $($key = $value),*);

            fn build(weights: &mbvc::Weights, isa: mbvc::Isa) -> Vec<Box<dyn mbvc::Network>> {
                vec![
                    Box::new(One::with_isa(weights, isa).expect("the weights fit the network")),
                    #[cfg(not(debug_assertions))]
                    Box::new(Two::with_isa(weights, isa).expect("the weights fit the network")),
                    Box::new(Seven::with_isa(weights, isa).expect("the weights fit the network")),
                ]
            }

            #[test]
            fn same_bits() {
                super::compare(One::INFO, build, &super::random_image::<{ $height * $width * 3 }>(5)[..]);
            }
        }
    )* };
}

teams! {
    unfused: "specs/tiny.yaml", [37, 50], everyday ["avx512", "portable"],
        fusion = "none", numerics = "fast", width = 0.75;
    epilogues: "specs/tiny.yaml", [37, 50], everyday ["avx2", "neon"],
        fusion = "relu6", numerics = "strict", width = 0.75;
    blocks: "specs/tiny.yaml", [37, 50], everyday ["avx512", "avx2", "portable"],
        fusion = "block", numerics = "strict", width = 0.75;
    streamed: "tests/differential/specs/same.yaml", [60, 225], everyday ["avx2", "neon"],
        fusion = "block", numerics = "strict";
    fast: "tests/differential/specs/symmetric.yaml", [61, 113], everyday ["avx512", "avx2", "neon"],
        fusion = "block", numerics = "fast", width = 1.4;
    one_pixel: "tests/differential/specs/same.yaml", [1, 1], everyday ["avx2", "neon"],
        fusion = "block", numerics = "strict";
    bf16: "tests/differential/specs/symmetric.yaml", [61, 113], everyday ["amxbf16", "avx512bf16", "avx2", "neon"],
        fusion = "block", numerics = "strict", precision = "bf16", width = 1.4;
    int8: "tests/differential/specs/same.yaml", [60, 225], everyday ["avx512vnni", "avx2", "neon"],
        fusion = "block", numerics = "strict", precision = "int8";
    int8_one_pixel: "tests/differential/specs/same.yaml", [1, 1], everyday ["avx2", "neon"],
        fusion = "block", numerics = "strict", precision = "int8";
    uint8_stem_apart: "tests/differential/specs/narrow.yaml", [45, 130], everyday ["avx2", "neon"],
        fusion = "block", numerics = "strict", precision = "uint8", width = 1.0;
}

/// The output of every step, of a call in a scratch full of NaN.
fn steps(network: &dyn Network, input: &[f32]) -> Vec<Vec<u32>> {
    #[derive(Default)]
    struct Steps(Vec<Vec<u32>>);
    impl Observer for Steps {
        fn step(&mut self, _: usize, output: &[f32]) {
            self.0.push(bits(output));
        }

        fn bf16(&mut self, _: usize, output: &[Bf16]) {
            self.0.push(output.iter().map(|value| value.to_f32().to_bits()).collect());
        }

        fn bytes(&mut self, _: usize, output: &[u8]) {
            self.0.push(output.iter().map(|byte| u32::from(*byte)).collect());
        }
    }
    let info = network.info();
    let mut scratch = vec![f32::NAN; info.scratch_bytes / 4];
    let mut logits = vec![f32::NAN; info.classes];
    let mut steps = Steps::default();
    network.run_into(&mut scratch, input, &mut logits, &mut steps).expect("the lengths are the network's");
    steps.0.push(bits(&logits));
    steps.0
}

fn compare(info: &'static NetworkInfo, build: Build, input: &[f32]) {
    let _pool = pool();
    let weights = random_weights(info, 23);
    for isa in isas(info) {
        let networks = build(&weights, isa);
        let expected = steps(&*networks[0], input);
        assert!(expected.iter().flatten().any(|bits| f32::from_bits(*bits) != 0.0), "{isa}: all is zero");
        for network in &networks[1..] {
            let info = network.info();
            // Threads are interrupted elsewhere in each call.
            for call in 0..6 {
                let before = helped_calls();
                let found = steps(&**network, input);
                assert_eq!(helped_calls(), before + 1, "the call ran alone");
                for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!(found == expected, "{isa}, {} threads, call {call}: step {step} differs", info.threads);
                }
                assert_eq!(found.len(), expected.len());
            }
        }
    }
}

#[test]
fn teams_smaller_than_the_network_allows() {
    let _pool = pool();
    let weights = random_weights(blocks::One::INFO, 23);
    let input = &random_image::<{ 37 * 50 * 3 }>(5)[..];
    let expected = run_filled(&blocks::One::new(&weights).expect("the weights fit the network"), input, 0.0);
    let network = blocks::Seven::new(&weights).expect("the weights fit the network");
    for processors in [1, 2, 4, PROCESSORS] {
        set_processors(processors);
        // After a call that finds all processors busy, the next calls run alone, too.
        for _ in 0..40 {
            assert_eq!(bits(&run_filled(&network, input, f32::NAN)), bits(&expected), "{processors} processors");
        }
    }
}

#[test]
fn concurrent_callers_get_their_own_results() {
    let _pool = pool();
    set_processors(3);
    let weights = random_weights(blocks::One::INFO, 23);
    let one = blocks::One::new(&weights).expect("the weights fit the network");
    let team = blocks::Seven::new(&weights).expect("the weights fit the network");
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (one, team) = (&one, &team);
            scope.spawn(move || {
                let input = random_image::<{ 37 * 50 * 3 }>(seed);
                let expected = run_filled(one, &input[..], 0.0);
                for _ in 0..30 {
                    assert_eq!(bits(&run_filled(team, &input[..], f32::NAN)), bits(&expected));
                }
            });
        }
    });
}

#[test]
fn an_observer_can_panic_and_call_networks() {
    let _pool = pool();
    let weights = random_weights(blocks::One::INFO, 23);
    let network = blocks::Seven::new(&weights).expect("the weights fit the network");
    let input = random_image::<{ 37 * 50 * 3 }>(5);
    let mut scratch = blocks::Seven::scratch();
    let expected = network.run(&mut scratch, &input);
    let last = blocks::Seven::STEPS.len() - 1;
    for at in 0..=last {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            network.run_with(&mut scratch, &input, |step, _: &[f32]| assert_ne!(step, at, "seen enough"))
        }));
        let cause = caught.expect_err("the observer's panic reaches the caller");
        assert!(cause.downcast_ref::<String>().is_some_and(|text| text.contains("seen enough")));
    }
    let mut inner = blocks::Seven::scratch();
    let mut nested = Vec::new();
    let outer = network.run_with(&mut scratch, &input, |step, _: &[f32]| {
        if step == 1 {
            nested = network.run(&mut inner, &input).to_vec();
        }
    });
    assert_eq!((bits(&outer), bits(&nested)), (bits(&expected), bits(&expected)));
}

#[test]
fn embeddings_and_pixels_agree() {
    let _pool = pool();
    let weights = random_weights(epilogues::One::INFO, 23);
    let input = random_image::<{ 37 * 50 * 3 }>(5);
    let pixels = common::random_bytes::<{ 37 * 50 * 3 }>(6);
    let one = epilogues::One::new(&weights).expect("the weights fit the network");
    let seven = epilogues::Seven::new(&weights).expect("the weights fit the network");
    let (mut a, mut b) = (epilogues::One::scratch(), epilogues::Seven::scratch());
    assert_eq!(bits(&one.embed(&mut a, &input)), bits(&seven.embed(&mut b, &input)));
    assert_eq!(bits(&one.run_pixels(&mut a, &pixels)), bits(&seven.run_pixels(&mut b, &pixels)));
    assert_eq!((one.info().threads, seven.info().threads), (1, 7));
}
