//! Generated code against the reference interpreter, step by step and bit by bit.
//!
//! Each network runs with every instruction set of this processor, in a scratch and an output that are full of NaN
//! before, so that nothing can be right by what was left there.

#[path = "../common/mod.rs"]
mod common;

use common::{isas, network};
use mbvc::info::{NetworkInfo, Precision};
use mbvc::{Bf16, Isa, Network, Observer, Unobserved, Weights};
use mbvc_compiler::ir::{Graph, Op, Shape};
use mbvc_compiler::passes::choose_products;
use mbvc_compiler::spec::{Numerics, Overrides};
use mbvc_interpreter::{Mode, random_input, run};

/// A network built with the kernels of one instruction set.
type Build = fn(&Weights, Isa) -> Result<Box<dyn Network>, mbvc::errors::ModelError>;

/// How far a target without fused multiply-add may be from the interpreter, relative to the largest value of the tensor:
/// each of the chain's products is rounded once more. In a bf16 network, a different sum may round to the adjacent
/// bf16 number, which differs by up to 2^-7.
fn tolerance(precision: Precision) -> f32 {
    if precision == Precision::Bf16 { 0.02 } else { 2e-5 }
}

/// Keeps every step's value.
#[derive(Default)]
struct Steps(Vec<Vec<f32>>);

impl Observer for Steps {
    fn step(&mut self, step: usize, output: &[f32]) {
        assert_eq!(step, self.0.len(), "steps come in order");
        self.0.push(output.to_vec());
    }

    fn bf16(&mut self, step: usize, output: &[Bf16]) {
        assert_eq!(step, self.0.len(), "steps come in order");
        self.0.push(output.iter().map(|value| value.to_f32()).collect());
    }
}

/// Keeps every step's value, and runs the network again in the first `calls` stage callbacks. The inner calls reconfigure the
/// tile registers.
struct Nested<'n> {
    steps: Steps,
    network: &'n dyn Network,
    input: &'n [f32],
    calls: usize,
}

impl Observer for Nested<'_> {
    fn stage(&mut self, _: usize, _: usize) {
        if self.calls > 0 {
            self.calls -= 1;
            let info = self.network.info();
            let (mut scratch, mut logits) = (vec![0.0; info.scratch_bytes / 4], vec![0.0; info.classes]);
            self.network.run_into(&mut scratch, self.input, &mut logits, &mut Unobserved).expect("the same lengths");
        }
    }

    fn step(&mut self, step: usize, output: &[f32]) {
        self.steps.step(step, output);
    }

    fn bf16(&mut self, step: usize, output: &[Bf16]) {
        self.steps.bf16(step, output);
    }
}

/// The last value of each step, by the interpreter on the unfused graph.
fn expected(graph: &Graph, weights: &Weights, input: &[f32]) -> Vec<Vec<f32>> {
    let container = weights.container();
    let bindings: std::collections::BTreeMap<String, Vec<f32>> = container
        .tensors()
        .map(|tensor| (tensor.name.to_string(), tensor.f32s().expect("float32").iter().collect()))
        .collect();
    let mut steps: Vec<Vec<f32>> = Vec::new();
    let mut last = None;
    run(graph, &bindings, input, Mode::Strict, &mut |origin, _, values| {
        if origin.name == "input" {
            return;
        }
        if last != Some(origin.step) {
            steps.push(Vec::new());
            last = Some(origin.step);
        }
        *steps.last_mut().expect("pushed above") = values.to_vec();
    })
    .expect("the interpreter runs what was lowered");
    steps
}

fn check(spec: &str, resolution: [usize; 2], info: &NetworkInfo, build: Build) {
    let path = format!("{}/tests/differential/specs/{spec}.yaml", env!("CARGO_MANIFEST_DIR"));
    let source = mbvc_compiler::spec::read(path.as_ref(), &path).expect("a spec of this folder");
    let mut overrides = Overrides::none();
    let [height, width] = resolution;
    let precision = info.conventions.precision;
    overrides.set("resolution", &format!("[{height}, {width}]")).set("fusion", "none").set("isa", "portable");
    overrides.set("precision", precision.word());
    let compiled = mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let graph = &compiled.graph;
    let params: Vec<_> = graph.used_params().into_iter().map(|id| graph.param(id)).collect();
    let tensors = params.iter().map(|param| (&*param.name, mbvc::weights::Dtype::F32, &*param.shape));
    let weights = Weights::random(tensors, compiled.conventions(), 7).expect("unique names");
    let input = random_input(Shape::new(height, width, compiled.spec.input.channels()), 11);
    let adds = graph.order().expect("acyclic").into_iter().filter(|id| matches!(graph.node(*id).op, Op::Add)).count();
    assert!(adds > 0, "{spec}: a residual is among what is tested");

    for isa in isas(info) {
        // The summation order depends on the instruction set, so the expected values do too.
        let mut graph = graph.clone();
        choose_products(&mut graph, Numerics::Strict, isa);
        let expected = expected(&graph, &weights, &input);
        let network = build(&weights, isa).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((info.input, network.isa()), ([height, width, compiled.spec.input.channels()], isa));
        let mut scratch = vec![f32::NAN; info.scratch_bytes / 4];
        let mut logits = vec![f32::NAN; info.classes];
        let mut nested = Nested { steps: Steps::default(), network: &*network, input: &input, calls: 7 };
        network.run_into(&mut scratch, &input, &mut logits, &mut nested).expect("the lengths are the network's");
        let steps = nested.steps;
        assert_eq!(steps.0.len(), expected.len(), "{spec} {}: steps", info.fusion);
        for (at, (found, expected)) in steps.0.iter().zip(&expected).enumerate() {
            let what =
                format!("{spec} {height}x{width} {precision} {} {isa}, step {}", info.fusion, info.steps[at].name);
            compare(&what, found, expected, isa, precision);
        }
        assert_eq!(steps.0.last(), Some(&logits), "the last step makes the logits");
    }
}

/// The same bits where products are not rounded, close values elsewhere.
fn compare(what: &str, found: &[f32], expected: &[f32], isa: Isa, precision: Precision) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let equal = match isa {
            Isa::Portable | Isa::Wasm128 => (found - expected).abs() <= tolerance(precision) * largest,
            _ => found.to_bits() == expected.to_bits(),
        };
        assert!(equal, "{what}: element {at} is {found:e}, not {expected:e}");
    }
}

/// A test for each spec and size, over the three fusion levels.
macro_rules! differential {
    ($($(#[$attribute:meta])* $test:ident: $spec:literal at $path:literal, $size:tt, $precision:literal, everyday $isa:tt;)*) => { $(
        $(#[$attribute])*
        #[test]
        fn $test() {
            network!(everyday $isa, $path, name = Unfused, fusion = "none", numerics = "strict", precision = $precision, resolution = $size);
            network!(everyday $isa, $path, name = Epilogues, fusion = "relu6", numerics = "strict", precision = $precision, resolution = $size);
            network!(everyday $isa, $path, name = Blocks, fusion = "block", numerics = "strict", precision = $precision, resolution = $size);
            check($spec, $size, Unfused::INFO, |weights, isa| Ok(Box::new(Unfused::with_isa(weights, isa)?)));
            check($spec, $size, Epilogues::INFO, |weights, isa| Ok(Box::new(Epilogues::with_isa(weights, isa)?)));
            check($spec, $size, Blocks::INFO, |weights, isa| Ok(Box::new(Blocks::with_isa(weights, isa)?)));
        }
    )* };
}

differential! {
    same_odd: "same" at "tests/differential/specs/same.yaml", [33, 27], "f32", everyday ["avx512", "avx2", "neon", "wasm128", "wasm128relaxed"];
    same_one_pixel: "same" at "tests/differential/specs/same.yaml", [1, 1], "f32", everyday ["avx2", "portable", "neon", "wasm128", "wasm128relaxed"];
    same_wide_is_streamed: "same" at "tests/differential/specs/same.yaml", [60, 225], "f32", everyday ["avx512", "portable", "neon", "wasm128", "wasm128relaxed"];
    same_tall: "same" at "tests/differential/specs/same.yaml", [71, 6], "f32", everyday ["avx2", "neon", "wasm128", "wasm128relaxed"];
    symmetric_odd: "symmetric" at "tests/differential/specs/symmetric.yaml", [33, 27], "f32", everyday ["avx512", "portable", "neon", "wasm128", "wasm128relaxed"];
    symmetric_wide_is_streamed: "symmetric" at "tests/differential/specs/symmetric.yaml", [61, 226], "f32", everyday ["avx2", "neon", "wasm128", "wasm128relaxed"];
    narrow_odd_is_streamed: "narrow" at "tests/differential/specs/narrow.yaml", [25, 129], "f32", everyday ["avx512", "avx2", "neon", "wasm128", "wasm128relaxed"];
    bf16_same_odd: "same" at "tests/differential/specs/same.yaml", [33, 27], "bf16", everyday ["amxbf16", "avx512bf16", "avx512", "neon", "wasm128", "wasm128relaxed"];
    bf16_symmetric_wide_is_streamed: "symmetric" at "tests/differential/specs/symmetric.yaml", [61, 226], "bf16",
        everyday ["amxbf16", "avx512bf16", "avx2", "neon", "wasm128", "wasm128relaxed"];
    bf16_narrow_odd: "narrow" at "tests/differential/specs/narrow.yaml", [25, 129], "bf16",
        everyday ["amxbf16", "avx512bf16", "portable", "neon", "wasm128", "wasm128relaxed"];
    gray_odd: "gray" at "tests/differential/specs/gray.yaml", [33, 27], "f32", everyday ["avx512", "avx2", "portable", "neon", "wasm128", "wasm128relaxed"];
}

// The slow tests have more.
#[cfg(not(debug_assertions))]
differential! {
    #[ignore = "takes long to compile"]
    same_even: "same" at "tests/differential/specs/same.yaml", [32, 32], "f32", everyday "all";
    #[ignore = "takes long to compile"]
    symmetric_even: "symmetric" at "tests/differential/specs/symmetric.yaml", [32, 32], "f32", everyday "all";
    #[ignore = "takes long to compile"]
    narrow_even: "narrow" at "tests/differential/specs/narrow.yaml", [24, 24], "f32", everyday "all";
    #[ignore = "takes long to compile"]
    bf16_same_even: "same" at "tests/differential/specs/same.yaml", [32, 32], "bf16", everyday "all";
    #[ignore = "takes long to compile"]
    gray_wide_is_streamed: "gray" at "tests/differential/specs/gray.yaml", [60, 225], "f32", everyday "all";
}
