//! The code of quantized networks against LiteRT, run beside it: every block's output, the pool, the logits and the
//! softmax, bit for bit, with LiteRT's delegate as it comes and with its reference kernels.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Steps, isas, network, photographs, shared};
use mbvc::{Isa, Weights};
use mbvc_compiler::ir::Op;
use mbvc_compiler::lower::lower;
use mbvc_import::ReadOptions;
use mbvc_runtime::Number as _;
use mbvc_runtime::quantized::Integral;
use mbvc_runtime::quantized::arithmetic::Softmax;
use python::{has, python};

mbvc::mobilenet_v2!("tests/litert/converted.yaml");
network!(
    everyday ["portable", "avx2", "neon"], "tests/litert/converted.yaml", name = ConvertedReference,
    rounding = "tflite-reference"
);
mbvc::mobilenet_v2!("tests/litert/gray.yaml");
network!(everyday ["portable", "avx2", "neon"], "tests/litert/gray.yaml", name = GrayReference, rounding = "tflite-reference");
network!(everyday ["avx512vnni", "avx2", "neon"], "specs/v2.yaml", name = Signed, precision = "int8");
network!(everyday ["avx2", "neon"], "specs/v2.yaml", name = Unsigned, precision = "uint8");
// The slow tests, which are optimized, have more.
#[cfg(not(debug_assertions))]
mbvc::mobilenet_v2!("specs/v2.yaml", name = SignedReference, precision = "int8", rounding = "tflite-reference");
#[cfg(not(debug_assertions))]
mbvc::mobilenet_v2!("specs/v2.yaml", name = UnsignedReference, precision = "uint8", rounding = "tflite-reference");

const INT8: &str = "models/mobilenet_v2_1.0_224_int8_ptq.tflite";
const UINT8: &str = "models/mobilenet_v2_1.0_224_uint8_qat.tflite";
const GRAY: &str = "import/tests/fixtures/heads/gray/plain_int8.tflite";
const CONVERTED: &str = "import/tests/fixtures/converted_int8.tflite";

/// Runs a network on an image of bytes; returns the steps and the softmax.
type Call = Box<dyn Fn(&[u8]) -> (Steps, Vec<u8>)>;

/// Binds weights to a network of numbers of that type: `fn(&Weights, Isa) -> Call`.
macro_rules! call {
    ($network:ident, $number:ty) => {
        |weights, isa| {
            let model = $network::with_isa(weights, isa).unwrap_or_else(|error| panic!("{error}"));
            Box::new(move |image| {
                let image: Vec<$number> = image.iter().map(|byte| <$number>::from_element(*byte)).collect();
                let image = image.as_slice().try_into().unwrap();
                let mut steps = Steps::default();
                let logits = model.run_with(&mut $network::scratch(), image, &mut steps);
                let mut softmax = vec![0; logits.len()];
                let arithmetic = Softmax::new(<$number>::INTEGER, model.edges().logits.scale());
                let logits = logits.iter().map(|logit| i32::from(*logit));
                arithmetic.apply(logits, |at, value| softmax[at] = (value as $number).to_byte());
                (steps, softmax)
            })
        }
    };
}

/// Compares all images: the photographs, noise, black and white. `mode` is that of the script.
fn compare<T: Integral>(
    model: &Path,
    mode: &str,
    bind: fn(&Weights, Isa) -> Call,
    photographs: &[PathBuf],
    isas: &[Isa],
) {
    let path = model.file_stem().unwrap().to_string_lossy();
    if !has("numpy, PIL, ai_edge_litert") {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("steps-{mode}-{}-{path}", photographs.len()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/import/tests/litert/reference.py");
    let ran =
        Command::new(python()).args([Path::new(script), &folder, Path::new(mode), model]).args(photographs).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let imported =
        mbvc_import::read(model, &ReadOptions::keep_quantization()).unwrap_or_else(|error| panic!("{error}"));
    let weights = Weights::from_bytes(imported.container.to_bytes()).unwrap();
    let [height, width] = imported.spec().resolution;
    let image_bytes = height * width * imported.spec().input.channels();
    // The values that LiteRT reports, in order: each with its step and its size.
    let graph = lower(imported.spec());
    let nodes = graph.order().unwrap().into_iter().map(|id| graph.node(id));
    let reported: Vec<(usize, usize)> = nodes
        .filter(|node| !matches!(node.op, Op::Input | Op::Activation(_)))
        .map(|node| (node.origin.step, node.tensor.shape.elements()))
        .collect();
    let (names, pixels) = (String::from_utf8(read("names")).unwrap(), read("pixels"));
    assert_eq!(names.lines().count(), photographs.len() + 3);
    let calls: Vec<(Isa, Call)> = isas.iter().map(|isa| (*isa, bind(&weights, *isa))).collect();
    for (at, (name, image)) in names.lines().zip(pixels.chunks_exact(image_bytes)).enumerate() {
        let values: Vec<u8> = read(&at.to_string()).into_iter().map(|byte| byte ^ T::default().to_byte()).collect();
        let mut expected: Vec<&[u8]> = Vec::new();
        let mut rest = &values[..];
        for (step, size) in &reported {
            let (value, after) = rest.split_at(*size);
            expected.resize(step + 1, value);
            expected[*step] = value;
            rest = after;
        }
        for (isa, call) in &calls {
            let (steps, softmax) = call(image);
            assert_eq!(steps.0.len(), expected.len());
            for (step, (found, expected)) in steps.0.iter().zip(&expected).enumerate() {
                let differing = found.iter().zip(*expected).filter(|(a, b)| a != b).count();
                assert!(
                    found == expected,
                    "{path}, {mode}, {isa}, {name}, step {step}: {differing} of {}",
                    expected.len()
                );
            }
            assert!(softmax == rest, "{path}, {mode}, {isa}, {name}: softmax");
        }
    }
}

/// The published models.
fn published(photographs: &[PathBuf]) {
    let Some((int8, uint8)) = shared(INT8).zip(shared(UINT8)) else { return };
    compare::<i8>(&int8, "xnnpack", call!(Signed, i8), photographs, &isas(Signed::INFO));
    compare::<u8>(&uint8, "xnnpack", call!(Unsigned, u8), photographs, &isas(Unsigned::INFO));
}

#[test]
fn steps_have_the_bits_of_litert() {
    let Some(photographs) = photographs() else { return };
    published(&photographs[..1]);
}

/// Odd sizes and few channels, as TensorFlow's converter quantizes them.
#[test]
fn steps_of_a_converted_network_have_the_bits_of_litert() {
    let converted = Path::new(env!("CARGO_MANIFEST_DIR")).join(CONVERTED);
    compare::<i8>(&converted, "xnnpack", call!(Converted, i8), &[], &isas(Converted::INFO));
    compare::<i8>(&converted, "reference", call!(ConvertedReference, i8), &[], &isas(ConvertedReference::INFO));
}

#[test]
fn steps_of_a_gray_network_have_the_bits_of_litert() {
    let gray = Path::new(env!("CARGO_MANIFEST_DIR")).join(GRAY);
    compare::<i8>(&gray, "xnnpack", call!(Gray, i8), &[], &isas(Gray::INFO));
    compare::<i8>(&gray, "reference", call!(GrayReference, i8), &[], &isas(GrayReference::INFO));
}

#[test]
#[ignore = "a minute"]
fn steps_of_all_images_have_the_bits_of_litert() {
    let Some(photographs) = photographs() else { return };
    published(&photographs);
}

#[test]
#[cfg(not(debug_assertions))]
#[ignore = "a minute"]
fn steps_of_all_images_have_the_bits_of_the_reference_kernels() {
    let (Some(photographs), Some(int8), Some(uint8)) = (photographs(), shared(INT8), shared(UINT8)) else { return };
    compare::<i8>(&int8, "reference", call!(SignedReference, i8), &photographs, &isas(SignedReference::INFO));
    compare::<u8>(&uint8, "reference", call!(UnsignedReference, u8), &photographs, &isas(UnsignedReference::INFO));
}
