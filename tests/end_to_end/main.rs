//! Real weights and photographs: the generated code against ONNX Runtime and LiteRT, run beside it.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/python.rs"]
mod python;

use std::path::Path;
use std::process::Command;

use common::{bits, isas, photographs, run_filled, shared};
use mbvc::{Isa, Network, Unobserved, Weights, softmax, top_k};
use mbvc_test_networks::published::strict::{Blocks, Epilogues, Unfused};
use mbvc_test_networks::published::{Bf16, MobileNetV2 as Fast};
use python::{has, python};

const PIXELS: usize = 224 * 224 * 3;

/// Between engines, which add in different orders.
const LOGITS: f32 = 1e-4;
const PROBABILITIES: f32 = 1e-5;
/// Largest difference of the logits of bf16 networks, relative to the largest logit of the image: bf16 has 8 significant
/// bits, and 53 layers add errors. The first is for photographs, the second for images without contrast or content, where
/// all logits are small.
const BF16_LOGITS: [f32; 2] = [0.03, 0.15];

/// What the other engines say of one image.
struct Case {
    name: String,
    pixels: Box<[u8; PIXELS]>,
    input: Vec<f32>,
    onnx_logits: Vec<f32>,
    onnx_probabilities: Vec<f32>,
    litert_probabilities: Vec<f32>,
}

/// Python packages that the script requires.
const ENGINES: &str = "numpy, PIL, onnxruntime, ai_edge_litert";

/// Runs the other engines on every image; `None` where something is absent.
fn cases(onnx: &Path, tflite: &Path) -> Option<Vec<Case>> {
    let photographs = photographs()?;
    if !has(ENGINES) {
        return None;
    }
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end_to_end");
    std::fs::create_dir_all(&output).expect("a folder for the results");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/reference.py");
    let ran = Command::new(python())
        .arg(script)
        .args([onnx, tflite, &output])
        .args(photographs)
        .output()
        .expect("it ran a moment ago");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let read = |name: &str| std::fs::read(output.join(name)).expect("the script wrote it");
    let floats = |name: &str| -> Vec<f32> {
        read(name).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let [inputs, logits, onnx, litert] =
        ["inputs", "onnx_logits", "onnx_probabilities", "litert_probabilities"].map(floats);
    let (pixels, names) = (read("pixels"), String::from_utf8(read("names")).expect("UTF-8"));
    let row = |values: &[f32], at: usize| values[at * 1001..][..1001].to_vec();
    let case = |(at, name): (usize, &str)| Case {
        name: name.to_owned(),
        pixels: pixels[at * PIXELS..][..PIXELS].to_vec().into_boxed_slice().try_into().expect("an image's length"),
        input: inputs[at * PIXELS..][..PIXELS].to_vec(),
        onnx_logits: row(&logits, at),
        onnx_probabilities: row(&onnx, at),
        litert_probabilities: row(&litert, at),
    };
    Some(names.lines().enumerate().map(case).collect())
}

fn weights(path: &Path) -> Weights {
    let imported =
        mbvc_import::read(path, &mbvc_import::ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    Weights::from_bytes(imported.container.to_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn networks(weights: &Weights, isa: Isa) -> [Box<dyn Network>; 3] {
    let fits = "the imported weights are those of the spec";
    [
        Box::new(Unfused::with_isa(weights, isa).expect(fits)),
        Box::new(Epilogues::with_isa(weights, isa).expect(fits)),
        Box::new(Blocks::with_isa(weights, isa).expect(fits)),
    ]
}

fn furthest(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    // A value that is no number must not be lost in a maximum.
    let distance = |(a, b): (&f32, &f32)| if a.is_finite() && b.is_finite() { (a - b).abs() } else { f32::INFINITY };
    found.iter().zip(expected).map(distance).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_other_engines() {
    let Some(onnx) = shared("models/mobilenet_v2_1.0_224_f32.onnx") else { return };
    let Some(tflite) = shared("models/mobilenet_v2_1.0_224_f32.tflite") else { return };
    let Some(cases) = cases(&onnx, &tflite) else { return };
    let weights = weights(&onnx);
    assert_eq!(cases.iter().filter(|case| case.name == "noise" || case.name == "gray").count(), 2);
    let mut strict: Vec<Option<Vec<u32>>> = vec![None; cases.len()];
    for isa in isas(Blocks::INFO) {
        for network in networks(&weights, isa) {
            let info = network.info();
            let mut scratch = vec![0.0; info.scratch_bytes / 4];
            let mut worst = [0.0_f32; 3];
            for (case, strict) in cases.iter().zip(&mut strict) {
                let mut logits = vec![f32::NAN; info.classes];
                network.run_into(&mut scratch, &case.input, &mut logits, &mut Unobserved).expect("right lengths");
                let what = format!("{} {isa}, {}", info.fusion, case.name);
                let mut probabilities = logits.clone();
                softmax(&mut probabilities);
                let distances = [
                    furthest(&logits, &case.onnx_logits),
                    furthest(&probabilities, &case.onnx_probabilities),
                    furthest(&probabilities, &case.litert_probabilities),
                ];
                assert!(distances[0] <= LOGITS, "{what}: {} from ONNX Runtime's logits", distances[0]);
                assert!(distances[1] <= PROBABILITIES, "{what}: {} from ONNX Runtime", distances[1]);
                assert!(distances[2] <= PROBABILITIES, "{what}: {} from LiteRT", distances[2]);
                worst = std::array::from_fn(|at| worst[at].max(distances[at]));
                if isa != Isa::Portable {
                    let strict = strict.get_or_insert_with(|| bits(&logits));
                    assert_eq!(&bits(&logits), strict, "{what}: other bits");
                }
            }
            let [logits, onnx, litert] = worst;
            println!(
                "{} {isa}: {logits:e} from ONNX Runtime's logits; probabilities {onnx:e}, LiteRT {litert:e}",
                info.fusion
            );
        }
    }

    let fast = Fast::new(&weights).expect("the imported weights are those of the spec");
    let mut worst = 0.0_f32;
    for case in &cases {
        let logits = run_filled(&fast, &case.input, f32::NAN);
        let largest = case.onnx_logits.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
        let distance = furthest(&logits, &case.onnx_logits) / largest;
        assert!(distance <= LOGITS, "fast, {}: {distance} of the largest logit from ONNX Runtime's", case.name);
        worst = worst.max(distance);
    }
    println!("fast {}: {worst:e} of the largest logit from ONNX Runtime's", fast.isa());

    halves_are_close(&weights, &cases);

    let cat = cases.iter().find(|case| case.name == "cat.bmp").expect("the shared cat");
    let labels = std::fs::read_to_string(shared("models/imagenet_labels_1001.txt").expect("beside the model"));
    let labels = labels.expect("UTF-8");
    for isa in isas(Blocks::INFO) {
        let model = Blocks::with_isa(&weights, isa).expect("built above");
        let mut scores = model.run_pixels(&mut Blocks::scratch(), &cat.pixels);
        softmax(&mut scores);
        let mut best = [(0, 0.0); 2];
        top_k(&scores, &mut best);
        let named = best.map(|(class, score)| (labels.lines().nth(class).unwrap_or_default(), score));
        let [(first, score), (second, next)] = named;
        assert_eq!((first, second), ("Egyptian cat", "tabby, tabby cat"), "{isa}");
        assert!((score - 0.6723).abs() < 1e-3 && (next - 0.1178).abs() < 1e-3, "{isa}: {named:?}");
    }
}

/// bf16: the same bits on every instruction set with fused multiply-add, except for AMX, which has a different summation order;
/// close to ONNX Runtime's float32, and the same class for every photograph.
fn halves_are_close(weights: &Weights, cases: &[Case]) {
    let best = |logits: &[f32]| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    for case in cases {
        let is_photograph = case.name.contains('.');
        let mut expected: Option<Vec<u32>> = None;
        for isa in isas(Bf16::INFO).into_iter().rev() {
            let network = Bf16::with_isa(weights, isa).expect("the weights of a float32 network");
            let logits = run_filled(&network, &case.input, f32::NAN);
            let largest = case.onnx_logits.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
            let distance = furthest(&logits, &case.onnx_logits) / largest;
            println!("bf16 {isa}, {}: {distance:e} of the largest logit from ONNX Runtime's", case.name);
            let tolerated = BF16_LOGITS[usize::from(!is_photograph)];
            assert!(distance <= tolerated, "bf16 {isa}, {}: {distance} of the largest logit", case.name);
            if is_photograph {
                assert_eq!(best(&logits), best(&case.onnx_logits), "bf16 {isa}, {}", case.name);
            }
            if ![Isa::Portable, Isa::AmxBf16].contains(&isa) {
                let expected = expected.get_or_insert_with(|| bits(&logits));
                assert_eq!(&bits(&logits), expected, "bf16 {isa}, {}: other bits", case.name);
            }
        }
    }
}

#[test]
fn both_files_of_the_model_give_the_same_weights() {
    let Some(onnx) = shared("models/mobilenet_v2_1.0_224_f32.onnx") else { return };
    let Some(tflite) = shared("models/mobilenet_v2_1.0_224_f32.tflite") else { return };
    let (onnx, tflite) = (weights(&onnx), weights(&tflite));
    assert_eq!(onnx.conventions(), tflite.conventions());
    for parameter in Blocks::INFO.parameters {
        let values = |weights: &Weights| -> Vec<u32> {
            let container = weights.container();
            let tensor = container.tensor(parameter.name).expect("a tensor of the network");
            assert_eq!(tensor.shape.dims(), parameter.shape, "{}", parameter.name);
            tensor.f32s().expect("float32").iter().map(f32::to_bits).collect()
        };
        assert!(values(&onnx) == values(&tflite), "{} differs", parameter.name);
    }
}
