//! Results of the exact interpreter for a quantized network.

use std::collections::BTreeMap;

use mbvc::Weights;
use mbvc::weights::Dtype;
use mbvc_compiler::ir::Graph;
use mbvc_compiler::spec::Rounding;
use mbvc_interpreter::{QuantBindings, Values, run_quantized};
use mbvc_runtime::quantized::arithmetic::PoolKind;

/// The tensors of a container, for the interpreter.
struct Bound(BTreeMap<String, Stored>);

enum Stored {
    F32(Vec<f32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I32(Vec<i32>),
}

impl Bound {
    fn new(weights: &Weights) -> Self {
        let tensors = weights.container().tensors().map(|tensor| {
            let words = tensor.data.as_chunks::<4>().0;
            let stored = match tensor.dtype {
                Dtype::F32 => Stored::F32(words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
                Dtype::I32 => Stored::I32(words.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()),
                Dtype::I8 => Stored::I8(tensor.data.iter().map(|byte| byte.cast_signed()).collect()),
                _ => Stored::U8(tensor.data.to_vec()),
            };
            (tensor.name.to_string(), stored)
        });
        Self(tensors.collect())
    }
}

impl QuantBindings for Bound {
    fn values(&self, name: &str) -> Option<Values<'_>> {
        Some(match self.0.get(name)? {
            Stored::F32(values) => Values::F32(values),
            Stored::I8(values) => Values::I8(values),
            Stored::U8(values) => Values::U8(values),
            Stored::I32(values) => Values::I32(values),
        })
    }

    fn pool(&self) -> PoolKind {
        PoolKind::Mean
    }
}

/// The last value of each part of the network, such as `block2`, as bytes, by the interpreter on the unfused graph.
pub fn expected(
    graph: &Graph,
    weights: &Weights,
    rounding: Rounding,
    image: &[u8],
    low: i32,
) -> BTreeMap<String, Vec<u8>> {
    let image: Vec<i32> = image.iter().map(|byte| i32::from(*byte) + low).collect();
    let mut parts = BTreeMap::new();
    run_quantized(graph, &Bound::new(weights), rounding, &image, &mut |origin, _, values| {
        let part = origin.name.split('.').next().unwrap_or_default().to_owned();
        parts.insert(part, values.iter().map(|value| (value - low) as u8).collect());
    })
    .expect("the interpreter runs what was lowered");
    parts
}
