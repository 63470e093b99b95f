//! The layers after the pool: up to 8 dense layers with ReLU or ReLU6, then the classifier. Layers without an activation
//! between them are merged.

use mbvc_compiler::spec::MAX_DENSE;

use super::layer::Layer;
use super::walk::Walk;
use crate::error::{ImportError, Result};
use crate::source::{Node, Op, Value};

const EXPECTED: &str = "a dense layer (or 1x1 convolution)";

/// Returns the error for an embedding model, which ends with features.
pub fn no_classifier(after: &str) -> Box<ImportError> {
    ImportError::unsupported(format!("the network ends with features after {after}: it has no classifier"))
        .role("classifier")
        .help(
            "pass the whole classifier, not the backbone (in Keras, use `include_top=True` or add a head); for an embedding \
             model, add a classifier with any weights: `embed` returns the features before it",
        )
}

/// The layers after the pool.
#[derive(Debug)]
pub struct DenseLayers<'g> {
    /// Activated layers before the classifier.
    pub hidden: Vec<Layer<'g>>,
    pub classifier: Layer<'g>,
    pub logits: Value,
}

impl<'g> Walk<'g> {
    /// Reads the layers after the pooled value.
    pub fn dense_layers(&mut self, mut value: Value) -> Result<DenseLayers<'g>> {
        let mut hidden: Vec<Layer<'g>> = Vec::new();
        // A layer without an activation after it.
        let mut linear: Option<Layer<'g>> = None;
        let mut merged = 0;
        loop {
            let (mut layer, node) = self.dense_layer(value)?;
            if let Some(before) = linear.take() {
                merged += 1;
                layer = self.merge(before, layer, merged)?;
            }
            let last = layer.steps.last().copied().unwrap_or(node.output);
            if !self.has_more(last) {
                return Ok(DenseLayers { hidden, classifier: layer, logits: last });
            }
            layer.role = format!("dense{}", hidden.len() + 1);
            if hidden.len() == MAX_DENSE {
                return Err(ImportError::unsupported("too many dense layers")
                    .at(layer.place)
                    .expected(format!("at most {MAX_DENSE} before the classifier"))
                    .found(format!("more than {MAX_DENSE}")));
            }
            let clamped = self.clamped(node, &mut layer.steps);
            value = self.flattened(clamped.value);
            let is_linear = clamped.bounds.is_none();
            // The rounding between quantized layers is part of the model.
            if is_linear && self.quants.is_empty() {
                linear = Some(layer);
                continue;
            }
            clamped.add_to(&mut self.dense_activation, self.quants, &layer.role, true).map_err(|error| {
                let error = error.role(layer.role.clone());
                match is_linear {
                    true => error.help("merge the two layers into one: multiply their weights"),
                    false => error,
                }
            })?;
            layer.shape.splice(0..0, [1, 1]);
            layer.activated = true;
            hidden.push(layer);
        }
    }

    /// Returns `layer` with the linear layer `before` it.
    fn merge(&mut self, before: Layer<'g>, layer: Layer<'g>, merged: usize) -> Result<Layer<'g>> {
        /// Most multiplications, those of two layers of 1280 channels and 2000 classes.
        const MOST: u64 = 1 << 32;
        let (inputs, between, outputs) = (before.shape.first(), before.out_channels(), layer.out_channels());
        let inputs = inputs.copied().unwrap_or(0);
        let products = [between, outputs].iter().fold(inputs as u64, |all, count| all.saturating_mul(*count as u64));
        if products > MOST || merged > MAX_DENSE {
            return Err(ImportError::unsupported("the dense layers without an activation between them are too large")
                .at(layer.place)
                .expected(format!("at most {MAX_DENSE} layers, with at most {MOST} multiplications to merge them"))
                .help("merge them into one: multiply their weights"));
        }
        let shape = vec![inputs, outputs];
        self.spend(&shape)?;
        Ok(Layer { shape, merged: Some(Box::new(before)), ..layer })
    }

    /// Whether another dense layer follows `value`, directly or after activations, reshapes and normalizations. An unknown
    /// operation after an activation is reported as such a layer.
    fn has_more(&self, value: Value) -> bool {
        let (mut value, mut activated) = (value, false);
        while let Some(node) = self.only(value) {
            match node.op {
                Op::Clamp { .. } | Op::Flatten | Op::BatchNorm(_) | Op::Affine(_) => value = node.output,
                Op::Dense(_) | Op::Conv(_) => return true,
                Op::Other => return activated,
                _ => return false,
            }
            activated |= matches!(node.op, Op::Clamp { .. });
        }
        false
    }

    /// Reads one layer: normalization of its input, and a dense layer or a 1x1 convolution, with its own normalization.
    fn dense_layer(&mut self, value: Value) -> Result<(Layer<'g>, &'g Node<'g>)> {
        const ROLE: &str = "classifier";
        let mut inputs = vec![value];
        let before = self.norms(&mut inputs).map_err(|error| error.role(ROLE))?;
        let features = self.flattened(inputs.last().copied().unwrap_or(value));
        if self.is_end(features) {
            return Err(no_classifier("the pool").expected(EXPECTED));
        }
        let node = self.next(features, ROLE, EXPECTED, false)?;
        let (kernel, bias) = match &node.op {
            Op::Dense(dense) => (&dense.kernel, &dense.bias),
            Op::Conv(conv) if conv.groups == 1 && conv.kernel.shape().starts_with(&[1, 1]) => {
                (&conv.kernel, &conv.bias)
            }
            _ => return Err(Self::unexpected(node, ROLE, EXPECTED)),
        };
        let shape = kernel.shape();
        let (&[.., inputs, outputs], true) = (shape.as_slice(), shape.len() >= 2) else {
            return Err(Self::unexpected(node, ROLE, EXPECTED));
        };
        if inputs != self.channels || outputs == 0 {
            return Err(ImportError::unsupported("the weight does not match its input features")
                .at(node.place.text())
                .role(ROLE)
                .expected(format!("{} features", self.channels))
                .found(format!("a weight of {inputs} by {outputs}")));
        }
        self.spend(&shape)?;
        self.channels = outputs;
        let mut steps = vec![self.flattened(node.output)];
        let norms = self.norms(&mut steps).map_err(|error| error.role(ROLE))?;
        let (role, place, bias) = (ROLE.to_owned(), node.place.text(), bias.as_deref());
        let (shape, stride, activated) = (vec![inputs, outputs], 1, false);
        let (merged, copies) = (None, None);
        Ok((Layer { role, place, kernel, bias, copies, merged, before, norms, shape, stride, activated, steps }, node))
    }
}
