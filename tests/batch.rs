//! The logits of an image in a batch are bit-identical to those of a single call.

mod common;

use common::{bits, isas, network, random_bytes, random_image, random_weights};
use mbvc::errors::LengthError;
use mbvc_runtime::{helped_calls, set_processors};
use mbvc_test_networks::tiny::TinyNet as Single;

/// Networks whose images share the classifier: groups of four, and a remainder.
macro_rules! batches {
    ($($name:ident: $path:literal, everyday $isa:tt, $($key:ident = $value:tt),*;)*) => { $(
        mod $name {
            use super::*;

            network!(everyday $isa, $path, name = Four, batch = 4, resolution = [37, 50], $($key = $value),*);

            const N: usize = 37 * 50 * 3;

            #[test]
            fn each_image_has_its_own_logits() {
                assert_eq!(Four::BATCH, 4);
                set_processors(3);
                let weights = random_weights(Four::INFO, 1);
                let images: [_; 9] = std::array::from_fn(|seed| random_image::<N>(seed as u64));
                let pixels: [_; 9] = std::array::from_fn(|seed| random_bytes::<N>(seed as u64));
                for isa in isas(Four::INFO) {
                    let model = Four::with_isa(&weights, isa).expect("the weights fit the network");
                    let mut scratch = Four::scratch();
                    let alone = images.each_ref().map(|image| model.run(&mut scratch, image));
                    let seen = pixels.each_ref().map(|image| model.run_pixels(&mut scratch, image));
                    let helped = helped_calls();
                    for count in 0..=images.len() {
                        scratch.floats_mut().fill(f32::NAN);
                        let mut logits = vec![[f32::NAN; Four::CLASSES]; count];
                        model.run_batch(&mut scratch, &images[..count], &mut logits).expect("equal lengths");
                        assert_eq!(bits(logits.as_flattened()), bits(alone[..count].as_flattened()), "{isa}, {count}");
                        model.run_batch_pixels(&mut scratch, &pixels[..count], &mut logits).expect("equal lengths");
                        assert_eq!(bits(logits.as_flattened()), bits(seen[..count].as_flattened()), "{isa}, {count}");
                    }
                    assert!(Four::INFO.threads == 1 || helped_calls() > helped, "{isa}");
                }
            }
        }
    )* };
}

batches! {
    unfused: "specs/tiny.yaml", everyday ["avx2", "neon"], fusion = "none", numerics = "strict";
    epilogues: "specs/tiny.yaml", everyday ["avx512", "portable"], fusion = "relu6", numerics = "fast";
    blocks: "specs/tiny.yaml", everyday ["avx512", "avx2", "neon"], fusion = "block", numerics = "fast";
    // Channels before the classifier, and classes, that are not whole vectors.
    odd: "tests/differential/specs/same.yaml", everyday ["avx512", "avx2", "neon"], fusion = "block", numerics = "strict", classes = 37;
    shared: "specs/tiny.yaml", everyday ["avx2", "neon"], fusion = "block", numerics = "fast", threads = 3;
}

#[test]
fn a_spec_without_batch_runs_images_one_by_one() {
    const N: usize = 32 * 32 * 3;
    assert_eq!(Single::BATCH, 1);
    let model = Single::new(&random_weights(Single::INFO, 1)).expect("the weights fit the network");
    let mut scratch = Single::scratch();
    let images: [_; 3] = std::array::from_fn(|seed| random_image::<N>(seed as u64));
    let mut logits = [[f32::NAN; Single::CLASSES]; 3];
    // The images need not be contiguous.
    let references: Vec<&[f32; N]> = images.iter().map(|image| &**image).collect();
    model.run_batch(&mut scratch, &references, &mut logits).expect("equal lengths");
    for (image, logits) in images.iter().zip(&logits) {
        assert_eq!(bits(logits), bits(&model.run(&mut scratch, image)), "a batch differs from a single call");
    }
}

#[test]
fn rejects_a_batch_of_another_length() {
    let model = Single::new(&random_weights(Single::INFO, 1)).expect("the weights fit the network");
    let images = [*random_image::<{ 32 * 32 * 3 }>(1)];
    let mut logits = [[7.0; Single::CLASSES]; 2];
    let error = model.run_batch(&mut Single::scratch(), &images, &mut logits);
    assert_eq!(error, Err(LengthError { what: "logits", expected: 1, found: 2 }));
    assert!(logits.as_flattened().iter().all(|value| *value == 7.0), "logits were written despite the error");
}

/// The scratch of a batch is that of a call plus one vector per image.
#[test]
fn a_batch_costs_a_vector_for_each_image() {
    let (single, four) = (Narrow::SCRATCH_BYTES, Wide::SCRATCH_BYTES);
    assert!(four > single && four <= single + 4 * Wide::EMBEDDING.next_multiple_of(16) * 4, "{single} and {four}");
}

mbvc::mobilenet_v2!("specs/tiny.yaml", name = Narrow, isa = portable);
mbvc::mobilenet_v2!("specs/tiny.yaml", name = Wide, batch = 4, isa = portable);
