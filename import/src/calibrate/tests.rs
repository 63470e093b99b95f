//! Quantization from float32 weights to an int8 container, checked with the exact interpreter.

use mbvc_compiler::spec::{NetworkSpec, Precision, Rounding};

use super::network::tests::{float_weights, spec};
use super::*;

const PREPROCESS: Preprocess = Preprocess { scale: [1.0 / 127.5; 3], offset: [-1.0; 3] };

/// Smooth pictures, which are closer to photographs than noise is.
fn picture(seed: usize) -> Vec<u8> {
    let wave = |x: f64| (x.sin() * 0.5 + 0.5) * 255.0;
    (0..16 * 16 * 3)
        .map(|at| {
            let (pixel, channel) = (at / 3, at % 3);
            let [y, x] = [pixel / 16, pixel % 16].map(|place| place as f64);
            wave(x * 0.3 * (seed % 3 + 1) as f64 + y * 0.2 * (seed % 5) as f64 + channel as f64 + seed as f64) as u8
        })
        .collect()
}

struct Case {
    preprocess: Preprocess,
    network: Network,
    weights: Container,
    statistics: Statistics,
}

fn case() -> Case {
    of(&spec(""), PREPROCESS)
}

fn of(spec: &NetworkSpec, preprocess: Preprocess) -> Case {
    let network = Network::new(spec).unwrap();
    let weights = float_weights(&network);
    let mut statistics = Statistics::new(&network);
    for seed in 0..8 {
        let mut input = vec![0.0; 16 * 16 * 3];
        preprocess.apply(&picture(seed), &mut input);
        statistics.merge(&Statistics::of(&network, &weights, &input).unwrap());
    }
    Case { preprocess, network, weights, statistics }
}

impl Case {
    fn quantized(&self, options: Options) -> Container {
        let container = quantize(&self.network, &self.weights, &self.statistics, &self.preprocess, options).unwrap();
        // As read from a file.
        Container::from_bytes(&container.to_bytes(), "int8").unwrap()
    }

    fn compared(&self, container: &Container, seeds: std::ops::Range<usize>) -> Comparison {
        let mut comparison = Comparison::new(&self.network);
        for seed in seeds {
            let one = Comparison::of(&self.network, &self.weights, container, &self.preprocess, &picture(seed));
            comparison.merge(&one.unwrap());
        }
        comparison
    }
}

fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for method in [Method::MinMax, Method::Percentile(99.99), Method::Mse] {
        for weight_scales in [WeightScales::Max, WeightScales::Mse] {
            for correct_bias in [false, true] {
                all.push(Options { method, weight_scales, correct_bias });
            }
        }
    }
    all
}

#[test]
fn every_method_is_close_to_float32() {
    let case = case();
    for options in all_options() {
        let comparison = case.compared(&case.quantized(options), 20..30);
        assert_eq!(comparison.pictures(), 10);
        for (value, fidelity) in case.network.values().iter().zip(comparison.values()) {
            assert!(fidelity.cosine > 0.99, "{options:?} {}: {fidelity:?}", value.name);
        }
    }
}

/// Activations without upper bound, PyTorch's padding and preprocessing, gemmlowp's arithmetic.
#[test]
fn other_conventions_are_close_to_float32() {
    let torch = Preprocess { scale: [0.017_124_75, 0.017_507, 0.017_429_2], offset: [-2.117_9, -2.035_7, -1.804_4] };
    let gemmlowp = "precision: int8\nrounding: tflite-reference\n";
    for (more, preprocess) in [("activation: relu\npadding: symmetric\n", torch), (gemmlowp, PREPROCESS), ("", torch)] {
        let case = of(&spec(more), preprocess);
        let options = Options { method: Method::Mse, weight_scales: WeightScales::Mse, correct_bias: true };
        let comparison = case.compared(&case.quantized(options), 20..30);
        for (value, fidelity) in case.network.values().iter().zip(comparison.values()) {
            assert!(fidelity.cosine > 0.99, "{more} {}: {fidelity:?}", value.name);
        }
    }
}

#[test]
fn the_container_fits_the_int8_network() {
    let case = case();
    let container = case.quantized(all_options()[0]);
    let int8 = NetworkSpec { precision: Precision::Int8, rounding: Some(Rounding::Xnnpack), ..spec("") };
    container.check_against(&int8).unwrap();
    assert_eq!(container.parameters(), case.weights.parameters());
    assert_eq!(container.metadata["mbvc.pool"], "mean");
    assert_eq!(container.metadata["mbvc.calibration"], "minmax over 8 pictures");
    // The stem reads pixels without rounding.
    let recorded = Preprocess::parse(&container.metadata["mbvc.preprocessing"]).unwrap();
    assert_eq!((recorded.scale, recorded.offset), (PREPROCESS.scale, [-127.0 * PREPROCESS.scale[0]; 3]));
    // The range of ReLU6 starts at the zero point, and its step is at most 6 / 255.
    let data = |name: &str| container.tensor(name).unwrap().data.to_f64()[0];
    for value in case.network.values().iter().filter(|value| matches!(value.role, Role::Activated(_))) {
        assert_eq!(data(&format!("{}.zero_point", value.name)), -128.0);
        assert!(data(&format!("{}.scale", value.name)) <= 6.0 / 255.0 + 1e-9, "{}", value.name);
    }
    assert_eq!(container.to_bytes(), case.quantized(all_options()[0]).to_bytes(), "the result is deterministic");
}

#[test]
fn bias_correction_reduces_the_error() {
    let case = case();
    let noise = |correct_bias| {
        let options = Options { method: Method::MinMax, weight_scales: WeightScales::Max, correct_bias };
        let comparison = case.compared(&case.quantized(options), 0..8);
        comparison.values().map(|value| value.signal_to_noise_db).sum::<f64>()
    };
    assert!(noise(true) > noise(false), "{} is not more than {}", noise(true), noise(false));
}

#[test]
fn rejects_unquantizable_networks() {
    let Case { network, mut weights, statistics, .. } = case();
    let options = all_options()[0];
    let none = quantize(&network, &weights, &Statistics::new(&network), &PREPROCESS, options).unwrap_err();
    assert!(none.to_string().contains("no picture"), "{none}");
    let flat = Preprocess { scale: [0.0; 3], offset: [0.0; 3] };
    let flat = quantize(&network, &weights, &statistics, &flat, options).unwrap_err();
    assert!(flat.to_string().contains("scale 0 0 0"), "{flat}");

    check_float(&weights).unwrap();
    let made = quantize(&network, &weights, &statistics, &PREPROCESS, options).unwrap();
    assert!(check_float(&made).unwrap_err().to_string().contains("already quantized"));
    weights.tensors[2].data = Data::F32(vec![1.0, f32::NAN]);
    let odd = check_float(&weights).unwrap_err().to_string();
    assert!(odd.contains("element 1 of tensor"), "{odd}");
}
