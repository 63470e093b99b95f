//! Post-training quantization: from a float32 container and photographs to an int8 container.
//!
//! ```text
//! spec --Network--> values, layers, adds
//! photographs --observe (float64 interpreter)--> Statistics --ranges--> scale and zero point of each value
//! float weights --weights--> int8, a scale for each output channel; biases in steps of input scale * weight scale
//! int8 container --compare (exact integer interpreter)--> Comparison
//! ```
//! The result keeps to TensorFlow Lite's quantization specification
//! (<https://www.tensorflow.org/lite/performance/quantization_spec>): weights are symmetric in -127..=127 along the
//! output channels, values have one scale and one zero point each, and an activation's result starts at its zero
//! point. So XNNPACK's arithmetic applies to it, as it does to an imported model.

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

/// How a network is quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How the range of a value follows from what was observed of it.
    pub method: Method,
    /// How the scale of a channel's weights follows from them.
    pub weight_scales: WeightScales,
    /// Whether biases make up for what rounded weights do to the mean of each output channel
    /// (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with observed means).
    pub correct_bias: bool,
}

/// Quantizes the weights of `network` by what was observed of its values.
///
/// `weights` is a float32 container that fits the network, `preprocess` what its images go through. The result has a
/// preprocessing of its own, by which pixels are the numbers that it reads: see [`Input::new`].
///
/// # Errors
/// Where nothing was observed, or a layer's numbers cannot be held by the integers of the format.
pub fn quantize(
    network: &Network,
    weights: &Container,
    statistics: &Statistics,
    preprocess: &Preprocess,
    options: Options,
) -> Result<Container> {
    if statistics.pictures() == 0 {
        return Err(ImportError::unsupported("no picture was observed, so no value has a range"));
    }
    let input = Input::new(preprocess)?;
    let mut quants = values::quants(network, statistics, &input, options.method)?;
    adds::bring_together(network, &mut quants)?;
    let mut tensors = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, data: Data| tensors.push(Tensor { name, shape, data });
    // In order of execution, as `mbvc import` writes them: a layer, then what it makes.
    for (at, (value, quant)) in network.values().iter().zip(&quants).enumerate() {
        for layer in network.layers().iter().filter(|layer| layer.output == at) {
            let of_input = network.values()[layer.input].role == Role::Input;
            let around = weights::Surroundings {
                input: quants[layer.input],
                output: *quant,
                means: options.correct_bias.then(|| statistics.means(layer.input)),
                shift: if of_input { input.shift() } else { 0.0 },
            };
            let made = weights::quantize(layer, weights, &around, options.weight_scales)
                .map_err(|error| error.role(value.name.clone()))?;
            let (name, channels) = (&layer.name, made.bias.len());
            push(format!("{name}.weight"), layer.shape.clone(), Data::I8(made.weight));
            push(format!("{name}.bias"), vec![channels], Data::I32(made.bias));
            push(format!("{name}.weight.scale"), vec![channels], Data::F32(made.scales));
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
/// Where they are quantized already, or one of them is NaN or infinite.
pub fn check_float(weights: &Container) -> Result<()> {
    if let Some(precision) = weights.metadata.get("mbvc.precision").filter(|precision| *precision != "f32") {
        return Err(ImportError::unsupported("the weights are quantized already")
            .expected("mbvc.precision = f32")
            .found(format!("mbvc.precision = {}", crate::text::shorten(precision)))
            .help("use them as they are, or quantize the float model that they came from"));
    }
    for tensor in &weights.tensors {
        let odd = tensor.data.f32s().unwrap_or_default().iter().position(|value| !value.is_finite());
        if let Some(at) = odd {
            return Err(ImportError::unsupported(format!(
                "element {at} of tensor '{}' is NaN or infinite",
                tensor.name
            ))
            .expected("finite weights")
            .help("import the model again; if it is so there, it was not trained to an end"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
