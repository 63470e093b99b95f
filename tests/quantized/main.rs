//! Quantized code against the exact interpreter, step by step and bit by bit, on every instruction set of this processor,
//! with weights that lead through every way of finishing a sum.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/quantized.rs"]
mod interpreted;

use common::{Steps, isas, network, random_weights};
use interpreted::expected;
use mbvc::info::NetworkInfo;
use mbvc::{Isa, Weights};
use mbvc_compiler::ir::Op;
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{self, Overrides};
use mbvc_runtime::Number as _;
use mbvc_runtime::quantized::Integral;

/// A call of a network built with the kernels of one instruction set, on an image of bytes.
type Call = fn(&Weights, Isa, &[u8], &mut Steps);

/// Overwrites the numbers of every tensor whose name ends so; `change` gets the name, the index and the number's bytes.
fn altered(weights: &Weights, end: &str, change: impl Fn(&str, usize, &mut [u8])) -> Weights {
    let mut bytes = weights.as_bytes().to_vec();
    let container = weights.container();
    for tensor in container.tensors().filter(|tensor| tensor.name.to_string().ends_with(end)) {
        let start = tensor.data.as_ptr() as usize - weights.as_bytes().as_ptr() as usize;
        let name = tensor.name.to_string();
        let numbers = bytes[start..start + tensor.data.len()].chunks_exact_mut(tensor.dtype.bytes());
        numbers.enumerate().for_each(|(index, number)| change(&name, index, number));
    }
    Weights::from_bytes(bytes).expect("the numbers alone were changed")
}

/// Weights that lead through every kind of kernel, each with the reason.
fn cases(weights: Weights, low: i32) -> Vec<(&'static str, Weights)> {
    let is_activated = |name: &str| {
        ![".project.", ".add.", "input.", "classifier.", ".weight."].iter().any(|part| name.contains(part))
            && !name.starts_with("classifier.")
    };
    let padded = altered(&weights, ".zero_point", |name, _, number| {
        if is_activated(name) {
            number.copy_from_slice(&(low + 37).to_le_bytes());
        }
    });
    let far = altered(&weights, ".bias", |_, index, number| {
        if index % 5 == 0 {
            number.copy_from_slice(&(if index % 2 == 0 { i32::MIN + 9 } else { i32::MAX - 9 }).to_le_bytes());
        }
    });
    let low_ceiling = altered(&weights, ".scale", |name, _, number| {
        if is_activated(name) {
            number.copy_from_slice(&(6.0_f32 / 150.0).to_le_bytes());
        }
    });
    let dead = altered(&weights, "depthwise.weight", |_, _, number| number.fill(if low < 0 { 0 } else { 128 }));
    let large = altered(&weights, ".weight.scale", |name, _, number| {
        if name.contains("depthwise") {
            number.copy_from_slice(&3.0_f32.to_le_bytes());
        }
    });
    vec![
        ("sums that carry a bias", weights),
        ("factors above 1", large),
        ("activated values with a zero point amid their range", padded),
        ("sums beyond 2^23 on both sides", far),
        ("six below the largest number", low_ceiling),
        ("channels that see nothing of their input", dead),
    ]
}

fn check(path: &str, [precision, rounding]: [&str; 2], resolution: [usize; 2], info: &NetworkInfo, call: Call) {
    let file = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let source = spec::read(file.as_ref(), path).expect("a spec of this folder");
    let mut overrides = Overrides::none();
    let [height, width] = resolution;
    overrides.set("resolution", &format!("[{height}, {width}]")).set("precision", precision).set("rounding", rounding);
    let spec = spec::parse_with(&source, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let graph = lower(&spec);
    let adds = graph.order().expect("acyclic").into_iter().filter(|id| matches!(graph.node(*id).op, Op::Add)).count();
    assert!(adds > 0, "a residual is among what is tested");
    let low = if precision == "int8" { -128 } else { 0 };
    let mut state = 11_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let noise: Vec<u8> = (0..height * width * spec.input.channels()).map(noise).collect();
    for (case, weights) in cases(random_weights(info, 7), low) {
        let images = [("noise", noise.clone()), ("black", vec![0; noise.len()]), ("white", vec![255; noise.len()])];
        for (kind, image) in images.into_iter().take(if cfg!(emulated) { 1 } else { 3 }) {
            let expected = expected(&graph, &weights, spec.rounding.expect("quantized"), &image, low);
            for isa in isas(info) {
                let mut steps = Steps::default();
                call(&weights, isa, &image, &mut steps);
                assert_eq!(steps.0.len(), info.steps.len());
                for (found, step) in steps.0.iter().zip(info.steps) {
                    let step = step.name;
                    let expected = &expected[step.rsplit('+').next().unwrap_or_default()];
                    let differing = found.iter().zip(expected).filter(|(a, b)| a != b).count();
                    assert!(
                        found == expected,
                        "{path} {precision} {rounding} {isa}, {case}, {kind}, {step}: {differing} of {} differ",
                        expected.len()
                    );
                }
            }
        }
    }
}

/// A test for each spec, size, precision, rounding and fusion.
macro_rules! quantized {
    ($($(#[$attribute:meta])* $test:ident: $path:literal, [$height:literal, $width:literal] in $precision:literal,
       $number:ty, $rounding:literal, $fusion:literal, everyday $isa:tt;)*) => { $(
        $(#[$attribute])*
        #[test]
        fn $test() {
            network!(
                everyday $isa, $path, name = Net, precision = $precision, rounding = $rounding, fusion = $fusion,
                resolution = [$height, $width]
            );
            check($path, [$precision, $rounding], [$height, $width], Net::INFO, |weights, isa, image, steps| {
                let image: [u8; $height * $width * Net::INPUT[2]] = image.try_into().expect("the network's size");
                let model = Net::with_isa(weights, isa).unwrap_or_else(|error| panic!("{error}"));
                let logits = model.run_with(&mut Net::scratch(), &image.map(<$number>::from_element), &mut *steps);
                assert_eq!(steps.0.last().map(Vec::as_slice), Some(&logits.map(Integral::to_byte)[..]));
            });
        }
    )* };
}

#[cfg(not(emulated))]
quantized! {
    same_odd: "tests/differential/specs/same.yaml", [33, 27] in "int8", i8, "xnnpack", "block",
        everyday ["avx512vnni", "avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp", "portable"];
    symmetric_even: "tests/differential/specs/symmetric.yaml", [32, 32] in "uint8", u8, "xnnpack", "block",
        everyday ["avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp"];
    narrow_odd: "tests/differential/specs/narrow.yaml", [25, 129] in "int8", i8, "xnnpack", "block",
        everyday ["avx512vnni", "avxvnni", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp", "portable"];
    reference_narrow: "tests/differential/specs/narrow.yaml", [24, 24] in "uint8", u8, "tflite-reference", "block",
        everyday ["avx512", "avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp"];
    chained: "tests/differential/specs/deep.yaml", [114, 118] in "int8", i8, "xnnpack", "block",
        everyday ["avx512vnni", "avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp"];
    chained_in_strips: "tests/differential/specs/deep.yaml", [54, 66] in "uint8", u8, "tflite-reference", "deep",
        everyday "dsp";
    apart_odd: "tests/differential/specs/same.yaml", [33, 27] in "int8", i8, "xnnpack", "relu6",
        everyday ["avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp"];
    gray_odd: "tests/differential/specs/gray.yaml", [33, 27] in "int8", i8, "xnnpack", "block",
        everyday ["avx512vnni", "avxvnni", "avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp", "portable"];
    gray_reference_apart: "tests/differential/specs/gray.yaml", [17, 22] in "uint8", u8, "tflite-reference", "relu6",
        everyday ["avx512", "avx2", "neon", "wasm128", "wasm128pairs", "wasm128dot", "dsp"];
}

// The slow tests, which are optimized, have more: the code takes long to compile.
#[cfg(not(any(emulated, debug_assertions)))]
quantized! {
    #[ignore = "takes long to compile"]
    same_even: "tests/differential/specs/same.yaml", [32, 32] in "int8", i8, "xnnpack", "block", everyday "all";
    #[ignore = "takes long to compile"]
    same_one_pixel: "tests/differential/specs/same.yaml", [1, 1] in "int8", i8, "xnnpack", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    same_wide: "tests/differential/specs/same.yaml", [60, 225] in "int8", i8, "xnnpack", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    same_tall: "tests/differential/specs/same.yaml", [71, 6] in "uint8", u8, "xnnpack", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    symmetric_odd: "tests/differential/specs/symmetric.yaml", [33, 27] in "int8", i8, "xnnpack", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    narrow_even: "tests/differential/specs/narrow.yaml", [24, 24] in "uint8", u8, "xnnpack", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    gray_deep: "tests/differential/specs/gray.yaml", [32, 31] in "uint8", u8, "xnnpack", "deep", everyday "all";
    #[ignore = "takes long to compile"]
    gray_deep_pairs: "tests/differential/specs/gray.yaml", [32, 31] in "uint8", u8, "xnnpack", "deep", everyday "dsp";
    #[ignore = "takes long to compile"]
    gray_reference: "tests/differential/specs/gray.yaml", [19, 18] in "int8", i8, "tflite-reference", "none", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    apart_even: "tests/differential/specs/symmetric.yaml", [32, 32] in "uint8", u8, "xnnpack", "none", everyday "all";
    #[ignore = "takes long to compile"]
    reference_apart: "tests/differential/specs/narrow.yaml", [25, 129] in "int8", i8, "tflite-reference", "relu6", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
    #[ignore = "takes long to compile"]
    reference_same: "tests/differential/specs/same.yaml", [19, 18] in "int8", i8, "tflite-reference", "block", everyday ["avx512vnni", "avxvnni", "avx512", "avx2", "neondot", "neon", "wasm128dot", "wasm128", "dsp", "portable"];
}

// Small networks for emulated processors, which cover most kernels.
#[cfg(emulated)]
quantized! {
    same_small: "tests/differential/specs/same.yaml", [17, 15] in "int8", i8, "xnnpack", "block", everyday "all";
    narrow_small: "tests/differential/specs/narrow.yaml", [12, 12] in "uint8", u8, "xnnpack", "block", everyday "all";
    apart_small: "tests/differential/specs/same.yaml", [13, 12] in "int8", i8, "xnnpack", "relu6", everyday "all";
    gray_small: "tests/differential/specs/gray.yaml", [13, 11] in "int8", i8, "xnnpack", "block", everyday "all";
    reference_small: "tests/differential/specs/same.yaml", [11, 10] in "int8", i8, "tflite-reference", "block", everyday "all";
}
