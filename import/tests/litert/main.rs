//! Quantized models, imported and interpreted, against LiteRT, run beside them: every tensor, bit for bit.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/litert.rs"]
mod engine;

use common::{fixture, has, photographs, shared};
use engine::{Compared, PACKAGES, compare};
use mbvc_compiler::spec::Rounding;

const INT8: &str = "models/mobilenet_v2_1.0_224_int8_ptq.tflite";
const UINT8: &str = "models/mobilenet_v2_1.0_224_uint8_qat.tflite";

/// 53 convolutions, 10 adds, the pool and the softmax.
const TENSORS: usize = 65;
/// What TensorFlow's converter makes of a network of odd sizes: 26 convolutions, 3 adds, the pool and the softmax.
const CONVERTED: &str = "converted_int8.tflite";
const CONVERTED_TENSORS: usize = 31;
/// A dense layer before the classifier: 10 convolutions, 2 adds, the pool, two dense products and the softmax.
const DENSE: &str = "heads/tflite/dense_int8.tflite";
const DENSE_TENSORS: usize = 16;
/// A gray image: 6 convolutions and dense products, the pool and the softmax.
const GRAY: &str = "heads/gray/plain_int8.tflite";
const GRAY_TENSORS: usize = 8;

#[test]
fn a_photograph_and_flat_images_have_the_bits_of_litert() {
    let Some(photographs) = photographs().filter(|_| has(PACKAGES)) else { return };
    let Some((int8, uint8)) = shared(INT8).zip(shared(UINT8)) else { return };
    compare(&int8, Compared::All(TENSORS), "xnnpack", Rounding::Xnnpack, &photographs[..1]);
    compare(&uint8, Compared::All(TENSORS), "reference", Rounding::TfliteReference, &photographs[..1]);
}

#[test]
fn what_the_converter_makes_has_the_bits_of_litert() {
    if has(PACKAGES) {
        for (file, tensors) in [(CONVERTED, CONVERTED_TENSORS), (DENSE, DENSE_TENSORS), (GRAY, GRAY_TENSORS)] {
            compare(&fixture(file), Compared::All(tensors), "xnnpack", Rounding::Xnnpack, &[]);
            compare(&fixture(file), Compared::All(tensors), "reference", Rounding::TfliteReference, &[]);
        }
    }
}

#[test]
#[ignore = "minutes"]
fn all_tensors_of_all_images_have_the_bits_of_litert() {
    let Some(photographs) = photographs().filter(|_| has(PACKAGES)) else { return };
    for model in [INT8, UINT8].into_iter().filter_map(shared) {
        compare(&model, Compared::All(TENSORS), "xnnpack", Rounding::Xnnpack, &photographs);
        compare(&model, Compared::All(TENSORS), "reference", Rounding::TfliteReference, &photographs);
    }
}
