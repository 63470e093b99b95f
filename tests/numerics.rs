//! `fast` numerics: their error relative to exact arithmetic, and their fallback.
//!
//! The default depends on the processor, so each test runs in a separate process with `MBVC_NUMERICS` set.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{bits, network, random_bytes, random_weights, run_filled, shared};
use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::spec::{self, Overrides};
use mbvc_interpreter::{Mode, run};
use mbvc_test_networks::published::MobileNetV2 as Whole;

// Only AVX-512 has fast kernels; the others fall back to strict ones.
network!(everyday ["avx512", "avx2", "neon"], "specs/v2_0.35_96.yaml", name = Narrow);
network!(everyday ["avx512", "avx2", "neon"], "specs/v2_0.35_96.yaml", name = NarrowUnfused, fusion = "none");
network!(everyday ["avx512", "avx2", "neon"], "specs/v2_0.35_96.yaml", name = NarrowStrict, numerics = "strict");
network!(everyday ["avx512", "avx2", "neon"], "specs/v2_0.5_128.yaml", name = Half);

/// Largest error of a logit, relative to the largest logit.
const LOGITS: f64 = 1e-4;

/// The same for pixels of 0 to 255 that were not preprocessed, beyond the range that scales are derived from.
const UNPREPROCESSED: f64 = 1e-3;

/// Whether this process has the required numerics. If not, the test runs again in a process that has, and must pass
/// there.
fn in_process_with(numerics: &str, test: &str) -> bool {
    if std::env::var("MBVC_NUMERICS").is_ok_and(|value| value == numerics) {
        return true;
    }
    let myself = std::env::current_exe().expect("the test's own program");
    let output = Command::new(myself)
        .args(["--exact", test, "--nocapture"])
        .env("MBVC_NUMERICS", numerics)
        .output()
        .expect("it runs now");
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test} with MBVC_NUMERICS={numerics}");
    false
}

/// The values of every step in exact arithmetic (float64), by the interpreter on the unfused graph.
fn exact(spec: &str, weights: &Weights, input: &[f32]) -> Vec<Vec<f32>> {
    let path = format!("{}/specs/{spec}", env!("CARGO_MANIFEST_DIR"));
    let source = spec::read(path.as_ref(), spec).expect("a spec of the project");
    let mut overrides = Overrides::none();
    overrides.set("fusion", "none").set("isa", "portable");
    let compiled = mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let bindings: BTreeMap<String, Vec<f32>> = weights
        .container()
        .tensors()
        .map(|tensor| (tensor.name.to_string(), tensor.f32s().expect("float32").iter().collect()))
        .collect();
    let mut steps: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
    run(&compiled.graph, &bindings, input, Mode::F64, &mut |origin, _, values| {
        if origin.name != "input" {
            steps.insert(origin.step, values.to_vec());
        }
    })
    .expect("the interpreter runs what was lowered");
    steps.into_values().collect()
}

/// The largest difference, relative to the largest expected value.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let distance = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
    let worst = found.iter().zip(expected).map(distance).fold(0.0_f64, |worst, distance| match distance.abs() {
        distance if distance.is_finite() => worst.max(distance),
        _ => f64::INFINITY,
    });
    worst / largest.max(f64::MIN_POSITIVE)
}

/// Errors of all steps; the last is that of the logits.
fn errors(network: &dyn Network, spec: &str, weights: &Weights, input: &[f32]) -> Vec<f64> {
    let expected = exact(spec, weights, input);
    let info = network.info();
    let (mut scratch, mut logits) = (vec![f32::NAN; info.scratch_bytes / 4], vec![f32::NAN; info.classes]);
    let mut found: Vec<Vec<f32>> = Vec::new();
    network
        .run_into(&mut scratch, input, &mut logits, &mut |_, values: &[f32]| found.push(values.to_vec()))
        .expect("the lengths are the network's");
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).map(|(found, expected)| error(found, expected)).collect()
}

fn noise(info: &NetworkInfo, seed: u64) -> Vec<f32> {
    let floats: usize = info.input.iter().product();
    let bytes = random_bytes::<{ 224 * 224 * 3 }>(seed);
    bytes[..floats].iter().map(|byte| f32::from(*byte) / 127.5 - 1.0).collect()
}

/// `weights` with every value of the tensors selected by `which` multiplied by `factor`.
fn scaled(weights: &Weights, factor: f32, which: impl Fn(&str) -> bool) -> Weights {
    let mut bytes = weights.as_bytes().to_vec();
    let container = weights.container();
    for tensor in container.tensors().filter(|tensor| which(&tensor.name.to_string())) {
        let at = tensor.data.as_ptr().addr() - weights.as_bytes().as_ptr().addr();
        for value in bytes[at..at + tensor.data.len()].as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) * factor).to_le_bytes();
        }
    }
    Weights::from_bytes(bytes).expect("the same header")
}

fn fast_layers(network: &dyn Network) -> [usize; 2] {
    let layers = 0..network.info().layers.len();
    let count = |fast| layers.clone().filter(|layer| network.is_fast(*layer) == Some(fast)).count();
    [count(true), count(false)]
}

#[test]
fn random_networks_are_close_to_exact_arithmetic() {
    if !in_process_with("fast", "random_networks_are_close_to_exact_arithmetic") {
        return;
    }
    let check = |what: &str, network: &dyn Network, spec: &str, weights: &Weights, input: &[f32]| {
        let errors = errors(network, spec, weights, input);
        let (logits, steps) = errors.split_last().expect("a network has steps");
        let worst = steps.iter().fold(0.0_f64, |worst, error| worst.max(*error));
        let [fast, plain] = fast_layers(network);
        println!("{what} {}: {fast} fast layers, {plain} plain; logits {logits:.1e}, steps {worst:.1e}", network.isa());
        assert!(*logits <= LOGITS, "{what}: {logits:e}");
        assert!(network.isa() != Isa::Avx512 || fast > 0, "{what}");
    };
    for seed in 0..16 {
        let weights = random_weights(Narrow::INFO, seed);
        let network = Narrow::new(&weights).expect("weights for this network");
        // Flat images add the same error everywhere.
        let input = match seed % 4 {
            3 => vec![if seed > 8 { 1.0 } else { -1.0 }; 96 * 96 * 3],
            _ => noise(Narrow::INFO, seed),
        };
        check(&format!("narrow, seed {seed}"), &network, "v2_0.35_96.yaml", &weights, &input);
    }
    for seed in 0..3 {
        let weights = random_weights(Half::INFO, seed);
        let network = Half::new(&weights).expect("weights for this network");
        check(&format!("half, seed {seed}"), &network, "v2_0.5_128.yaml", &weights, &noise(Half::INFO, seed));
    }
    let large = |factor| scaled(&random_weights(Narrow::INFO, 3), factor, |name| name.ends_with("project.weight"));
    let (weights, input) = (large(2.0), noise(Narrow::INFO, 3));
    let network = Narrow::new(&weights).expect("weights for this network");
    check("narrow, large projections", &network, "v2_0.35_96.yaml", &weights, &input);
    // Larger ones drive nearly every activation to 0 or 6, and rounding errors of any kind grow from block to block.
    for factor in [5.0, 10.0] {
        let weights = large(factor);
        let networks: [Box<dyn Network>; 2] = [
            Box::new(Narrow::new(&weights).expect("weights for this network")),
            Box::new(NarrowStrict::new(&weights).expect("weights for this network")),
        ];
        let [fast, strict] = networks.map(|network| errors(&*network, "v2_0.35_96.yaml", &weights, &input));
        for (step, (fast, strict)) in Narrow::INFO.steps.iter().zip(fast.iter().zip(&strict)) {
            assert!(*fast <= 4.0 * strict, "projections times {factor}, {}: {fast:e}, strict {strict:e}", step.name);
        }
    }
}

#[test]
fn the_real_network_is_close_to_exact_arithmetic() {
    let Some(model) = shared("models/mobilenet_v2_1.0_224_f32.onnx") else { return };
    let Some(cat) = shared("images/cat.bmp") else { return };
    if !in_process_with("fast", "the_real_network_is_close_to_exact_arithmetic") {
        return;
    }
    let imported =
        mbvc_import::read(&model, &mbvc_import::ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let weights = Weights::from_bytes(imported.container.to_bytes()).expect("a valid container");
    let network = Whole::new(&weights).expect("the spec of these weights");
    let photograph = image::open(cat).expect("a picture").resize_exact(224, 224, image::imageops::FilterType::Triangle);
    let photograph: Vec<f32> = photograph.to_rgb8().iter().map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
    let images = [("photograph", photograph), ("noise", noise(Whole::INFO, 1)), ("white", vec![1.0; 224 * 224 * 3])];
    let pixels = |input: &[f32]| input.iter().map(|value| (value + 1.0) * 127.5).collect::<Vec<_>>();
    let unpreprocessed = images.clone().map(|(name, input)| (name, pixels(&input), UNPREPROCESSED));
    for (name, input, bound) in images.map(|(name, input)| (name, input, LOGITS)).into_iter().chain(unpreprocessed) {
        let errors = errors(&network, "v2.yaml", &weights, &input);
        let shown: Vec<String> =
            Whole::INFO.steps.iter().zip(&errors).map(|(step, error)| format!("{} {error:.1e}", step.name)).collect();
        println!("{name}: {}", shown.join(", "));
        let logits = errors.last().expect("a network has steps");
        assert!(*logits <= bound, "{name}: {logits:e}, expected at most {bound:e}");
    }
}

#[test]
fn fast_bits_are_those_of_every_fusion_level() {
    if !in_process_with("fast", "fast_bits_are_those_of_every_fusion_level") {
        return;
    }
    let weights = random_weights(Narrow::INFO, 5);
    let input = noise(Narrow::INFO, 5);
    let fused = Narrow::new(&weights).expect("weights for this network");
    let unfused = NarrowUnfused::new(&weights).expect("weights for this network");
    assert_eq!(bits(&run_filled(&fused, &input, f32::NAN)), bits(&run_filled(&unfused, &input, f32::NAN)));
}

#[test]
fn a_fast_network_that_must_be_strict_has_the_strict_bits() {
    if !in_process_with("strict", "a_fast_network_that_must_be_strict_has_the_strict_bits") {
        return;
    }
    let weights = random_weights(Narrow::INFO, 5);
    let input = noise(Narrow::INFO, 5);
    let (fast, strict) = (
        Narrow::new(&weights).expect("weights for this network"),
        NarrowStrict::new(&weights).expect("weights for this network"),
    );
    assert_eq!(fast_layers(&fast)[0], 0);
    assert_eq!(bits(&run_filled(&fast, &input, f32::NAN)), bits(&run_filled(&strict, &input, f32::NAN)));
}

#[test]
fn a_layer_that_would_lose_too_much_is_packed_plain() {
    if !in_process_with("fast", "a_layer_that_would_lose_too_much_is_packed_plain") {
        return;
    }
    let weights = random_weights(Narrow::INFO, 5);
    let tame = Narrow::new(&weights).expect("weights for this network");
    if tame.isa() != Isa::Avx512 {
        assert_eq!(fast_layers(&tame), [0, 0], "no other instruction set has fast kernels");
        return;
    }
    let (at, layer) = Narrow::LAYERS
        .iter()
        .enumerate()
        .find(|(index, layer)| layer.name.ends_with("expand") && tame.is_fast(*index) == Some(true))
        .expect("most layers are fast");
    let wild = scaled(&weights, 1e6, |name| name.strip_suffix(".weight") == Some(layer.name));
    let wild = Narrow::new(&wild).expect("the same shapes");
    for (index, layer) in Narrow::LAYERS.iter().enumerate() {
        let expected = if index == at { Some(false) } else { tame.is_fast(index) };
        assert_eq!(wild.is_fast(index), expected, "{}", layer.name);
    }
}

#[test]
fn rejects_other_words_for_numerics() {
    if !in_process_with("quick", "rejects_other_words_for_numerics") {
        return;
    }
    let error = Narrow::new(&random_weights(Narrow::INFO, 1)).expect_err("no such numerics");
    assert!(error.to_string().contains("MBVC_NUMERICS"), "{error}");
}
