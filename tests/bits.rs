//! In float32, `strict` numerics are bit-identical at every fusion level and on every instruction set with fused multiply-add, for
//! any content of the scratch.

mod common;

use common::{bits, isas, random_image, random_weights, run_filled};
use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network, Weights};

/// Tolerance of plain Rust without fused multiply-add, relative to the largest logit.
const TOLERANCE: f32 = 2e-5;

/// A network at three fusion levels, built with the kernels of one instruction set.
type Build = fn(&Weights, Isa) -> [Box<dyn Network>; 3];

macro_rules! levels {
    ($name:ident: $path:literal, everyday $isa:tt $(, $key:ident = $value:tt)*) => {
        mod $name {
            use crate::common::network;

            network!(everyday $isa, pub $path, name = Unfused, fusion = "none", numerics = "strict" $(, $key = $value)*);
            network!(everyday $isa, pub $path, name = Epilogues, fusion = "relu6", numerics = "strict" $(, $key = $value)*);
            network!(everyday $isa, pub $path, name = Blocks, fusion = "block", numerics = "strict" $(, $key = $value)*);

            pub fn build(weights: &mbvc::Weights, isa: mbvc::Isa) -> [Box<dyn mbvc::Network>; 3] {
                [
                    Box::new(Unfused::with_isa(weights, isa).expect("the weights fit the network")),
                    Box::new(Epilogues::with_isa(weights, isa).expect("the weights fit the network")),
                    Box::new(Blocks::with_isa(weights, isa).expect("the weights fit the network")),
                ]
            }
        }
    };
}

levels!(tiny: "specs/tiny.yaml", everyday "all");
levels!(narrow: "specs/v2_0.35_96.yaml", everyday ["avx512", "avx2", "neon"]);
// An odd height, and an even width that halves to odd ones.
levels!(odd: "specs/tiny.yaml", everyday ["avx512", "avx2", "neon"], width = 0.75, resolution = [37, 50]);

/// Runs all levels and instruction sets on `input` and compares with the first that fuses multiply and add.
fn compare(info: &'static NetworkInfo, build: Build, input: &[f32], fill: f32) {
    let weights = random_weights(info, 17);
    let mut expected: Option<Vec<f32>> = None;
    // The widest first: the reference has fused multiply-add, if any instruction set has.
    for isa in isas(info).into_iter().rev() {
        for network in build(&weights, isa) {
            let what = format!("{} {isa}, scratch full of {fill}", network.info().fusion);
            let found = run_filled(&*network, input, fill);
            let clean = run_filled(&*network, input, 0.0);
            assert_eq!(bits(&found), bits(&clean), "{what}: a value was read that the call did not write");
            let expected = expected.get_or_insert_with(|| found.clone());
            if isa == Isa::Portable {
                let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
                let close = expected.iter().zip(&found).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest);
                assert!(close, "{what}");
            } else {
                assert_eq!(bits(&found), bits(expected), "{what}");
            }
        }
    }
    let expected = expected.expect("at least the portable kernels ran");
    assert!(expected.iter().all(|v| v.is_finite()) && expected.windows(2).any(|two| two[0] != two[1]));
}

#[test]
fn the_scratch_does_not_matter() {
    for fill in [f32::NAN, f32::INFINITY, -f32::MAX, f32::from_bits(0xffff_ffff)] {
        compare(tiny::Blocks::INFO, tiny::build, &random_image::<{ 32 * 32 * 3 }>(1)[..], fill);
    }
}

#[test]
fn the_published_blocks_at_a_third_of_the_width() {
    compare(narrow::Blocks::INFO, narrow::build, &random_image::<{ 96 * 96 * 3 }>(2)[..], f32::NAN);
}

#[test]
fn odd_sizes_and_channels_that_fill_no_vector() {
    compare(odd::Blocks::INFO, odd::build, &random_image::<{ 37 * 50 * 3 }>(3)[..], f32::NAN);
}

/// A call returns for any input, and does not affect the next call.
#[test]
fn not_a_number_is_no_trap() {
    const N: usize = 32 * 32 * 3;
    let weights = random_weights(tiny::Blocks::INFO, 17);
    let good = random_image::<N>(4);
    for isa in isas(tiny::Blocks::INFO) {
        for network in tiny::build(&weights, isa) {
            let info = network.info();
            let expected = run_filled(&*network, &good[..], 0.0);
            let mut scratch = vec![0.0; info.scratch_bytes / 4];
            let mut logits = vec![0.0; info.classes];
            let mut run = |input: &[f32]| {
                network.run_into(&mut scratch, input, &mut logits, &mut mbvc::Unobserved).expect("right lengths");
                logits.clone()
            };
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0] {
                run(&[bad; N]);
                let mut one = good.clone();
                one[N / 2] = bad;
                run(&one[..]);
                let what = format!("{} {isa} after {bad}", info.fusion);
                assert_eq!(bits(&run(&good[..])), bits(&expected), "{what}");
            }
        }
    }
}
