//! Post-training quantization: from float32 weights and pictures to int8 weights.
//!
//! ```text
//! spec --Network--> values, layers, adds
//! pictures --observe (float64 interpreter)--> Statistics --ranges--> scale and zero point of each value
//! float weights --weights--> int8 weights, scales per output channel, biases in units of input scale * weight scale
//! int8 weights --compare (exact integer interpreter)--> Comparison
//! ```
//! The result follows TensorFlow Lite's quantization specification
//! (<https://www.tensorflow.org/lite/performance/quantization_spec>): weights are symmetric in -127..=127 and quantized per
//! output channel, each value has one scale and one zero point, and the range of an activated value starts at its zero
//! point. XNNPACK's arithmetic therefore applies, as for an imported model.

mod adds;
mod compare;
mod histogram;
mod input;
mod network;
mod observe;
mod range;
mod values;
mod weights;

use mbvc_runtime::Preprocess;

pub use compare::{Comparison, Fidelity};
pub use histogram::Histogram;
pub use input::Input;
pub use network::{Network, Role, Value};
pub use observe::Statistics;
pub use range::{Method, Range};
pub use weights::WeightScales;

use crate::container::Container;
use crate::error::{ImportError, Result};
use crate::tensor::{Data, Tensor};

/// Options of post-training quantization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Selects the range of a value from its histogram.
    pub method: Method,
    /// Selects the scale of a channel's weights.
    pub weight_scales: WeightScales,
    /// Whether biases compensate the shift of each output channel's mean that rounding of weights causes
    /// (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with observed means).
    pub correct_bias: bool,
}

/// Quantizes the weights of `network`, given statistics of its values.
///
/// `weights` are float32 weights that fit the network, `preprocess` their preprocessing. The preprocessing of the
/// result maps pixels to the integers of its input: see [`Input::new`].
///
/// # Errors
/// If no picture was observed, or a layer cannot be represented by the integers of the format.
pub fn quantize(
    network: &Network,
    weights: &Container,
    statistics: &Statistics,
    preprocess: &Preprocess,
    options: Options,
) -> Result<Container> {
    if statistics.pictures() == 0 {
        return Err(ImportError::unsupported("no picture was observed, so the ranges of values are unknown"));
    }
    let input = Input::new(preprocess)?;
    let mut quants = values::quants(network, statistics, &input, options.method)?;
    adds::limit_ratios(network, &mut quants)?;
    let mut tensors = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, data: Data| tensors.push(Tensor { name, shape, data });
    // In order of execution, as in `mbvc import`: a layer, then its output.
    for (at, (value, quant)) in network.values().iter().zip(&quants).enumerate() {
        for layer in network.layers().iter().filter(|layer| layer.output == at) {
            let reads_input = network.values()[layer.input].role == Role::Input;
            let around = weights::Surroundings {
                input: quants[layer.input],
                output: *quant,
                means: options.correct_bias.then(|| statistics.means(layer.input)),
                shift: if reads_input { input.shift() } else { 0.0 },
            };
            let quantized = weights::quantize(layer, weights, &around, options.weight_scales)
                .map_err(|error| error.role(value.name.clone()))?;
            let (name, channels) = (&layer.name, quantized.bias.len());
            push(format!("{name}.weight"), layer.shape.clone(), Data::I8(quantized.weight));
            push(format!("{name}.bias"), vec![channels], Data::I32(quantized.bias));
            push(format!("{name}.weight.scale"), vec![channels], Data::F32(quantized.scales));
        }
        push(format!("{}.scale", value.name), vec![1], Data::F32(vec![quant.scale()]));
        push(format!("{}.zero_point", value.name), vec![1], Data::I32(vec![quant.zero_point()]));
    }
    let mut metadata = weights.metadata.clone();
    metadata.insert("mbvc.precision".into(), "int8".into());
    metadata.insert("mbvc.pool".into(), "mean".into());
    metadata.insert("mbvc.preprocessing".into(), input.preprocess().to_string());
    let pictures = statistics.pictures();
    let calibration = format!("{} over {pictures} picture{}", options.method, if pictures == 1 { "" } else { "s" });
    metadata.insert("mbvc.calibration".into(), calibration);
    let container = Container { tensors, metadata };
    crate::quantized::check(&container.tensors, &container.metadata)?;
    Ok(container)
}

/// Checks that `weights` are finite float32 numbers.
///
/// # Errors
/// If they are quantized, or one of them is NaN or infinite.
pub fn check_float(weights: &Container) -> Result<()> {
    if let Some(precision) = weights.metadata.get("mbvc.precision").filter(|precision| *precision != "f32") {
        return Err(ImportError::unsupported("the weights are already quantized")
            .expected("mbvc.precision = f32")
            .found(format!("mbvc.precision = {}", crate::text::shorten(precision)))
            .help("use them as they are, or quantize the float model"));
    }
    weights.check_finite()
}

#[cfg(test)]
mod tests;
