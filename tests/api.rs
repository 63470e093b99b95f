//! Facts of a generated network, and agreement of its methods.

mod common;

use std::process::Command;

use common::{bits, isas, random_bytes, random_image, random_weights};
use mbvc::errors::LengthError;
use mbvc::{Isa, Network, Unobserved};
use mbvc_test_networks::published::MobileNetV2;
use mbvc_test_networks::tiny::{Epilogues, TinyNet as Blocks, Unfused};

const TINY: usize = 32 * 32 * 3;

#[test]
fn the_published_network_reports_its_facts() {
    assert_eq!(MobileNetV2::INPUT, [224, 224, 3]);
    assert_eq!((MobileNetV2::CLASSES, MobileNetV2::EMBEDDING), (1001, 1280));
    const { assert!(MobileNetV2::SCRATCH_BYTES <= 1_300_000) };
    let info = MobileNetV2::INFO;
    assert_eq!((info.name, info.fusion), ("MobileNetV2", "block"));
    assert_eq!(info.scratch_bytes, MobileNetV2::SCRATCH_BYTES);

    let parameters: usize = info.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
    assert_eq!(parameters, 3_489_097, "the folded count at 1001 classes");
}

#[test]
fn layers_are_those_of_the_published_table() {
    let layers = MobileNetV2::LAYERS;
    assert_eq!(layers.len(), 53);
    assert!(layers.iter().enumerate().all(|(at, layer)| layer.number == at + 1));
    let macs: usize = layers.iter().map(|layer| layer.macs).sum();
    assert_eq!(macs / 100_000, 3007, "300.8 M multiply-accumulates, of which {macs} were counted");
    assert_eq!((layers[0].name, layers[0].output), ("stem", [112, 112, 32]));
    assert_eq!((layers[51].name, layers[51].output), ("head", [7, 7, 1280]));
    assert_eq!((layers[52].name, layers[52].output), ("classifier", [1, 1, 1001]));
    let spec = include_str!("../specs/v2.yaml");
    for layer in layers {
        let line = spec.lines().nth(layer.line - 1).expect("a line of the spec");
        let key = match layer.name {
            "stem" => "stem:",
            "head" | "classifier" => "head:",
            _ => "t:",
        };
        assert!(line.contains(key), "{} comes from line {}: {line}", layer.name, layer.line);
    }
}

#[test]
fn steps_are_what_runs() {
    let names: Vec<&str> = MobileNetV2::STEPS.iter().map(|step| step.name).collect();
    let blocks: Vec<String> = (2..=17).map(|block| format!("block{block}")).collect();
    let expected: Vec<&str> =
        std::iter::once("stem+block1").chain(blocks.iter().map(String::as_str)).chain(["head", "classifier"]).collect();
    assert_eq!(names, expected);
    for layer in MobileNetV2::LAYERS {
        let step = MobileNetV2::STEPS[layer.step].name;
        assert!(step.split('+').any(|part| layer.name.split('.').next() == Some(part)), "{} in {step}", layer.name);
    }
    let names = |steps: &[mbvc::info::Step]| steps.iter().map(|step| (step.name, step.output)).collect::<Vec<_>>();
    assert_eq!(names(Unfused::STEPS), names(Blocks::STEPS), "steps are the same on every fusion level");
    assert_eq!(names(Epilogues::STEPS), names(Blocks::STEPS), "steps are the same on every fusion level");
}

/// All methods that run a network, with every instruction set.
macro_rules! ways {
    ($($test:ident: $network:ident;)*) => { $(
        #[test]
        fn $test() {
            let weights = random_weights($network::INFO, 3);
            let image = random_image::<TINY>(4);
            for isa in isas($network::INFO) {
                let model = $network::with_isa(&weights, isa).expect("the weights fit the network");
                assert_eq!((model.isa(), Network::isa(&model)), (isa, isa));
                let mut scratch = $network::scratch();
                let logits = model.run(&mut scratch, &image);
                assert!(logits.iter().all(|logit| logit.is_finite()) && logits[0] != logits[1], "{logits:?}");

                let sliced = model.run_slice(&mut scratch, &image[..]).expect("the length is the network's");
                assert_eq!(bits(&sliced), bits(&logits), "run_slice, {isa}");

                let mut shown = Vec::new();
                let observed = model.run_with(&mut scratch, &image, |step: usize, output: &[f32]| {
                    let [height, width, channels] = $network::STEPS[step].output;
                    assert_eq!((step, output.len()), (shown.len(), height * width * channels));
                    shown.push(output.to_vec());
                });
                assert_eq!(bits(&observed), bits(&logits), "run_with, {isa}");
                assert_eq!(bits(shown.last().expect("steps were shown")), bits(&logits), "the last step, {isa}");

                let mut into = [f32::NAN; $network::CLASSES];
                model.run_into(scratch.floats_mut(), &image[..], &mut into, &mut Unobserved).expect("right lengths");
                assert_eq!(bits(&into), bits(&logits), "run_into, {isa}");

                let vector = model.embed(&mut scratch, &image);
                assert_eq!(bits(&vector), bits(&shown[shown.len() - 2]), "embed is the step before the last, {isa}");
                let classified = classify(&weights, &vector);
                let close = classified.iter().zip(&logits).all(|(a, b)| match isa {
                    Isa::Portable => (a - b).abs() < 1e-5,
                    _ => a.to_bits() == b.to_bits(),
                });
                assert!(close, "classifying the vector gives the logits, {isa}: {classified:?} {logits:?}");

                let pixels = random_bytes::<TINY>(9);
                let mut values = [0.0; TINY];
                weights.preprocessing().apply(&pixels[..], &mut values);
                let (seen, given) = (model.run_pixels(&mut scratch, &pixels), model.run(&mut scratch, &values));
                assert_eq!(bits(&seen), bits(&given), "run_pixels, {isa}");
                let mut call = model.steps(&mut scratch, &pixels);
                for position in 0..$network::STEPS.len() {
                    assert_eq!(call.position(), position);
                    assert!(call.advance(), "step {position} is left, {isa}");
                }
                assert!(!call.advance(), "no step is left, {isa}");
                assert_eq!(bits(&call.finish()), bits(&given), "steps, one by one, {isa}");
                let mut call = model.steps(&mut scratch, &pixels);
                assert!(call.advance());
                assert_eq!(bits(&call.finish()), bits(&given), "steps, the rest at once, {isa}");
                let (seen, given) = (model.embed_pixels(&mut scratch, &pixels), model.embed(&mut scratch, &values));
                assert_eq!(bits(&seen), bits(&given), "embed_pixels, {isa}");
            }
        }

    )* };
}

ways! {
    ways_agree_layer_by_layer: Unfused;
    ways_agree_with_epilogues: Epilogues;
    ways_agree_in_blocks: Blocks;
}

/// The classifier: one chain of fused multiply-adds for each class, from its bias.
fn classify(weights: &mbvc::Weights, vector: &[f32]) -> Vec<f32> {
    let values = |name| -> Vec<f32> {
        let container = weights.container();
        let tensor = container.tensor(name).expect("a classifier");
        tensor.f32s().expect("float32").iter().collect()
    };
    let (weight, bias) = (values("classifier.weight"), values("classifier.bias"));
    let row = |at: usize| &weight[at * bias.len()..];
    let class = |class: usize| (0..vector.len()).fold(bias[class], |sum, at| vector[at].mul_add(row(at)[class], sum));
    (0..bias.len()).map(class).collect()
}

#[test]
fn wrong_lengths_are_reported() {
    let model = Blocks::new(&random_weights(Blocks::INFO, 3)).expect("the weights fit the network");
    let (mut scratch, image) = (Blocks::scratch(), random_image::<TINY>(4));
    let short = model.run_slice(&mut scratch, &image[1..]).expect_err("one value is missing");
    assert_eq!(short, LengthError { what: "input", expected: TINY, found: TINY - 1 });
    assert_eq!(short.to_string(), "`input` has length 3071, expected 3072");
    assert!(model.run_slice(&mut scratch, &[]).is_err());

    let floats = Blocks::SCRATCH_BYTES / 4;
    let lengths = |scratch: usize, input: usize, logits: usize| {
        let (mut memory, input, mut logits) = (vec![0.0; scratch], vec![0.0; input], vec![7.0; logits]);
        let result = model.run_into(&mut memory, &input, &mut logits, &mut Unobserved);
        assert!(result.is_ok() || logits.iter().all(|logit| *logit == 7.0), "nothing runs on wrong lengths");
        result.map_err(|error| error.what)
    };
    assert_eq!(lengths(floats, TINY, 10), Ok(()));
    assert_eq!(lengths(floats - 1, TINY, 10), Err("scratch"));
    assert_eq!(lengths(floats, TINY + 1, 10), Err("input"));
    assert_eq!(lengths(floats, TINY, 9), Err("logits"));
    assert_eq!(lengths(0, 0, 0), Err("input"));
}

/// Scratch in a `static`, for targets without a heap.
#[test]
fn scratch_can_be_static() {
    use std::sync::Mutex;
    static SCRATCH: Mutex<mbvc::Scratch<{ Blocks::SCRATCH_BYTES / 64 }>> = Mutex::new(Blocks::static_scratch());
    let model = Blocks::new(&random_weights(Blocks::INFO, 3)).expect("the weights fit the network");
    let image = random_image::<TINY>(4);
    let logits = model.run(&mut SCRATCH.lock().expect("not poisoned"), &image);
    assert_eq!(bits(&logits), bits(&model.run(&mut Blocks::scratch(), &image)));
}

/// Result of `new` in the environment of this process. The test below runs it in separate processes.
#[test]
fn new_in_this_process() {
    match Blocks::new(&random_weights(Blocks::INFO, 3)) {
        Ok(model) => println!("kernels: {}", model.isa()),
        Err(error) => println!("error: {error}"),
    }
}

#[test]
fn the_environment_chooses_the_kernels() {
    let with = |isa: Option<&str>| {
        let mut child = Command::new(std::env::current_exe().expect("this test's own path"));
        child.args(["--exact", "new_in_this_process", "--nocapture"]).env_remove("MBVC_ISA");
        if let Some(isa) = isa {
            child.env("MBVC_ISA", isa);
        }
        String::from_utf8(child.output().expect("the test runs itself").stdout).expect("UTF-8")
    };
    let best = isas(Blocks::INFO).into_iter().max().expect("portable at least");
    for unset in [None, Some("")] {
        assert!(with(unset).contains(&format!("kernels: {best}")), "the best is used if none is requested");
    }
    for isa in Isa::FLOAT {
        let said = with(Some(isa.name()));
        let expected = match isa.detect() {
            Some(_) => format!("kernels: {isa}"),
            None => format!(
                "error: this processor does not support {isa}; unset MBVC_ISA to use the best supported instruction set"
            ),
        };
        assert!(said.contains(&expected), "{isa}: {said}");
    }
    let said = with(Some("sse9"));
    assert!(said.contains("error: MBVC_ISA is not an instruction set; expected one of portable, dsp, neon"), "{said}");
}
