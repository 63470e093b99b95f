//! Weights without a configuration, as `tensorflow.keras.applications` publishes and `save_weights` writes them.
//!
//! They contain no strides, residuals or activations. If the layer names are those of `keras.applications.MobileNetV2`, the
//! network is that of this function (Keras, `applications/mobilenet_v2.py`), with shapes from the weights.

use serde_json::{Value as Json, json};

use super::config::Layer;
use super::stored::Stored;
use super::weights::Weights as _;
use crate::error::{ImportError, Result};
use crate::text::shorten;

pub const NOTE: &str = "the file contains weights without a network; its layer names are those of keras.applications' \
                        MobileNetV2, whose strides and activations are assumed";

/// Strides of blocks 0 to 16.
const STRIDES: [usize; 17] = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
/// Layer names that identify the function.
const NAMES: [&str; 3] = ["Conv1", "expanded_conv_project", "block_16_project"];

const HELP: &str = "build the model in Python, `model.load_weights(...)`, then `model.save(\"model.keras\")`";

/// The error for weights with other names.
pub fn unknown() -> Box<ImportError> {
    ImportError::unsupported("the file contains weights without a network (from `save_weights`)")
        .expected("a whole model, or the weights of keras.applications' MobileNetV2")
        .help(HELP)
}

/// Returns the configuration of the network of `weights`.
pub fn config(weights: &Stored<'_>) -> Result<Json> {
    for name in NAMES {
        if !weights.knows(name)? {
            return Err(unknown());
        }
    }
    // The name of the classifier depends on the version. Blocks that keep size and channels have a residual.
    let classifier = if weights.knows("Logits")? { "Logits" } else { "predictions" };
    let plain = network(classifier, &[]);
    let layers: Vec<Layer<'_>> =
        plain["config"]["layers"].as_array().into_iter().flatten().map(Layer::new).collect::<Result<_>>()?;
    let scope = weights.root(&layers)?;
    if let Some(unused) = weights.first_unused() {
        return Err(ImportError::unsupported(format!("the layer '{}' is not part of MobileNetV2", shorten(&unused)))
            .expected("only the layers of keras.applications' MobileNetV2, in a file without a network")
            .help(HELP));
    }
    let mut residuals = Vec::new();
    let mut input = None;
    for (number, stride) in STRIDES.into_iter().enumerate() {
        let variables = weights.variables(&scope, &format!("{}_project", block(number)))?;
        let output = weights.find(&variables, &["kernel"], 0)?.shape().last().copied();
        if stride == 1 && output == input {
            residuals.push(number);
        }
        input = output;
    }
    Ok(network(classifier, &residuals))
}

fn block(number: usize) -> String {
    if number == 0 { "expanded_conv".into() } else { format!("block_{number}") }
}

/// Returns the network in the notation of Keras 2, with this name of the classifier and residuals around these blocks.
fn network(classifier: &str, residuals: &[usize]) -> Json {
    let mut chain = Chain { layers: Vec::new(), last: "input".into() };
    chain.layers.push(json!({"class_name": "InputLayer", "name": "input", "inbound_nodes": [],
                             "config": {"batch_input_shape": [null, null, null, 3]}}));
    chain.convolution("Conv2D", "Conv1", "bn_Conv1", 2, true);
    for (number, stride) in STRIDES.into_iter().enumerate() {
        let (input, name) = (chain.last.clone(), block(number));
        if number > 0 {
            chain.convolution("Conv2D", &format!("{name}_expand"), &format!("{name}_expand_BN"), 1, true);
        }
        let [depthwise, project] = ["depthwise", "project"].map(|part| format!("{name}_{part}"));
        chain.convolution("DepthwiseConv2D", &depthwise, &format!("{depthwise}_BN"), stride, true);
        chain.convolution("Conv2D", &project, &format!("{project}_BN"), 1, false);
        if residuals.contains(&number) {
            let inputs = [input, chain.last.clone()];
            chain.add("Add", &format!("{name}_add"), &inputs, json!({}));
        }
    }
    chain.convolution("Conv2D", "Conv_1", "Conv_1_bn", 1, true);
    chain.follow("GlobalAveragePooling2D", "global_average_pooling2d", json!({}));
    chain.follow("Dense", classifier, json!({"activation": "softmax"}));
    json!({"class_name": "Functional", "config": {
        "name": "mobilenetv2", "layers": chain.layers,
        "input_layers": [["input", 0, 0]], "output_layers": [[classifier, 0, 0]],
    }})
}

struct Chain {
    layers: Vec<Json>,
    last: String,
}

impl Chain {
    fn add(&mut self, class: &str, name: &str, inputs: &[String], config: Json) {
        let inputs: Vec<Json> = inputs.iter().map(|input| json!([input, 0, 0, {}])).collect();
        self.layers.push(json!({"class_name": class, "name": name, "config": config, "inbound_nodes": [inputs]}));
        name.clone_into(&mut self.last);
    }

    fn follow(&mut self, class: &str, name: &str, config: Json) {
        let input = self.last.clone();
        self.add(class, name, &[input], config);
    }

    fn convolution(&mut self, class: &str, name: &str, norm: &str, stride: usize, activated: bool) {
        let config = json!({"strides": stride, "padding": "same", "use_bias": false});
        self.follow(class, name, config);
        self.follow("BatchNormalization", norm, json!({"epsilon": 1e-3}));
        if activated {
            self.follow("ReLU", &format!("{name}_relu"), json!({"max_value": 6.0}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keras::stored::Order;

    /// The files have a few layers, of which one is empty (written by `tests/fixtures/keras_files.py`).
    #[test]
    fn a_layer_of_another_network_is_named() {
        let named: &[u8] = include_bytes!("../../tests/fixtures/weights_extra_named.h5");
        let numbered: &[u8] = include_bytes!("../../tests/fixtures/weights_extra_numbered.h5");
        for (bytes, order) in [(named, Order::NamedAtRoot), (numbered, Order::Numbered)] {
            let error = config(&Stored::open(bytes, order).unwrap()).unwrap_err().to_string();
            assert!(error.contains("the layer 'fc' is not part of MobileNetV2"), "{error}");
            assert!(error.contains("load_weights"), "{error}");
        }
    }
}
